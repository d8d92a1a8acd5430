"""The tokens of providers that are recognised by their own form, without a key name beside them.

The forms are those that the providers document, and that the public scanners look for: secret scanning of GitHub,
gitleaks, betterleaks, TruffleHog, Kingfisher. Each file has those of one field; `form.py` has the rules that they keep.
Where one prefix begins another, the form with the longer one comes first.
"""

from __future__ import annotations

from typing import Final

from launchkit.redaction.providers.ai import AI_FORMS
from launchkit.redaction.providers.cloud import CLOUD_FORMS
from launchkit.redaction.providers.form import ShapedForm, TokenForm
from launchkit.redaction.providers.messaging import MESSAGING_FORMS
from launchkit.redaction.providers.payment import PAYMENT_FORMS
from launchkit.redaction.providers.services import SERVICE_FORMS
from launchkit.redaction.providers.shaped import SHAPED_FORMS
from launchkit.redaction.providers.source import SOURCE_FORMS

__all__ = ["SHAPED_FORMS", "TOKEN_FORMS", "ShapedForm", "TokenForm"]

TOKEN_FORMS: Final[tuple[TokenForm, ...]] = (
    *AI_FORMS,
    *PAYMENT_FORMS,
    *MESSAGING_FORMS,
    *CLOUD_FORMS,
    *SOURCE_FORMS,
    *SERVICE_FORMS,
)
"""Every kind of token that is told by what it begins with."""
