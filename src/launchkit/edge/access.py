"""Who may see what is not for everybody: figures and the details of health."""

from __future__ import annotations

import hmac

from pydantic import SecretStr

from launchkit.edge.client import ClientResolver
from launchkit.pipeline.exchange import Exchange


class Access:
    """Lets in whoever sends `Authorization: Bearer <token>`; in development also this machine itself."""

    def __init__(self, token: SecretStr | None, client: ClientResolver, *, development: bool) -> None:
        self._expected = None if token is None else b"Bearer " + token.get_secret_value().encode()
        self._client = client
        self._development = development

    def __call__(self, exchange: Exchange) -> bool:
        """Tell whether the caller may see it."""
        given = exchange.header(b"authorization")
        if self._expected is not None and given is not None and hmac.compare_digest(given, self._expected):
            return True
        return self._development and self._client.is_local(exchange)
