"""The rule set, as data: what a secret looks like, and which key names give one away.

The rules about rules:

- A rule names what it hides by its id, which is all that a reader of the log gets to see: `[redacted:<id>]`.
- It is tried only on text that contains one of its triggers, spelled exactly so.
- It must take linear time on any text. Hence no match starts with a repetition, a run that could fail late is
  possessive, and a run that must be followed by something cannot be entered in its middle (`_RUN_START`).
- What tells a secret from a word is said by `accept`, after the match, and never by a second look at the same run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of secret that is recognised by its own form.

    `pattern` matches the secret, or has a group `secret` around it. `accept` tells whether what was matched is one.
    """

    id: str
    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    accept: Callable[[str], bool] | None = None


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _is_credential(text: str) -> bool:
    """Tell `Bearer 6b1f...` from `Bearer authentication`."""
    return len(text) >= 24 or _has_digit(text) or re.search("[a-z][A-Z]", text) is not None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- secrets with a form of their own ------------------------------------------------------------------------------

_AFTER_ESCAPE: Final = r"(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2})|(?<=\[[0-9]m)|(?<=\[[0-9]{2}m)"
"""Where a word starts although a letter stands before it: an escaped line break, a percent escape, a colour code."""

_START: Final = rf"(?:(?<![A-Za-z0-9])|{_AFTER_ESCAPE})"
_RUN_START: Final = rf"(?:(?<![\w-])|{_AFTER_ESCAPE})"


def _provider_key(id: str, triggers: str, expression: str, *, needs_digit: bool = False) -> Rule:  # noqa: A002  # the field's name
    return Rule(id, tuple(triggers.split()), re.compile(_START + expression), _has_digit if needs_digit else None)


STRUCTURES: Final[tuple[Rule, ...]] = (
    Rule(  # RFC 7468, whole or cut off, with real or escaped line breaks
        "private-key",
        ("PRIVATE KEY",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[A-Za-z0-9+/=:,\\\s]|-(?!----))*+(?:-----END [A-Z0-9 ]{0,60}-----)?"
        ),
    ),
    Rule("url-token", ("://",), re.compile(r"://(?P<secret>[\w-]{20,})(?=:?@|:x-oauth-basic@)"), _has_digit),
    Rule(  # RFC 3986 section 3.2.1; an @ within the password too
        "url-password",
        ("://",),
        re.compile(
            r"://[^\s:/?#@\"'<>\[]*+:"
            r"(?:(?P<secret>(?:[^\s:/?#@\"'<>]++|[:@](?!//))+)@"
            r"|(?!\d{1,5}[/?#])(?P<malformed>(?:[^\s:@\"'<>]++|:(?!//))+)@)"
        ),
    ),
)
"""Secrets that are part of something larger; hidden before key names are looked at."""

TOKENS: Final[tuple[Rule, ...]] = (
    Rule(  # RFC 6750
        "bearer",
        ("earer", "EARER"),
        re.compile(r"\b[Bb](?:earer|EARER)(?:[ \t]{1,4}|%20)(?P<secret>[\w.~+/=-]{6,})"),
        _is_credential,
    ),
    Rule(  # RFC 7617
        "basic",
        ("asic ", "ASIC ", "asic%20"),
        re.compile(r"\b[Bb](?:asic|ASIC)(?:[ \t]{1,4}|%20)(?P<secret>[A-Za-z0-9+/_-]{8,}={0,2})"),
        _is_credential,
    ),
    Rule("jwt", ("eyJ",), re.compile(_RUN_START + r"eyJ[\w-]{8,}+(?:\.[\w-]*+){1,4}")),  # RFC 7519, RFC 7516
    _provider_key("anthropic-key", "sk-ant-", r"sk-ant-[\w-]{16,}"),
    _provider_key("openai-key", "sk-", r"sk-[\w-]{20,}", needs_digit=True),
    _provider_key("stripe-key", "k_live_ k_test_", r"[rs]k_(?:live|test)_[A-Za-z0-9]{10,}"),
    _provider_key("stripe-webhook-secret", "whsec_", r"whsec_[A-Za-z0-9+/=]{16,}"),
    _provider_key("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{20,}"),
    _provider_key("github-token", "github_pat_", r"github_pat_\w{20,}"),
    _provider_key("gitlab-token", "glpat- gldt- glrt- glptt-", r"gl(?:pat|dt|rt|ptt)-[\w.-]{20,}"),
    _provider_key("slack-token", "xox xapp-", r"x(?:ox[abeoprs]|app)-[\w-]{10,}", needs_digit=True),
    _provider_key(
        "slack-webhook", "hooks.slack.com/", r"hooks\.slack\.com/(?P<secret>(?:services|workflows)/[\w/]{20,})"
    ),
    _provider_key("aws-access-key-id", "AKIA ASIA", r"A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _provider_key("google-api-key", "AIza", r"AIza[\w-]{30,}"),
    _provider_key("google-oauth-secret", "GOCSPX-", r"GOCSPX-[\w-]{20,}"),
    _provider_key("google-oauth-token", "ya29.", r"ya29\.[\w-]{20,}"),
    _provider_key("sendgrid-key", "SG.", r"SG\.[\w-]{16,64}\.[\w-]{16,}"),
    _provider_key("resend-key", "re_", r"re_[A-Za-z0-9]{6,}_[A-Za-z0-9]{16,}", needs_digit=True),
    _provider_key("twilio-key", "SK", r"SK[0-9a-f]{32}(?![0-9A-Za-z])"),
    _provider_key("mailgun-key", "key-", r"key-[0-9a-f]{32}(?![0-9A-Za-z])"),
    _provider_key("hugging-face-token", "hf_", r"hf_[A-Za-z0-9]{30,}"),
    _provider_key("npm-token", "npm_", r"npm_[A-Za-z0-9]{30,}"),
    _provider_key("pypi-token", "pypi-", r"pypi-[\w-]{40,}", needs_digit=True),
    _provider_key("supabase-key", "sb_secret_ sbp_", r"sb(?:_secret_[\w-]{16,}|p_[0-9a-f]{32,})"),
    _provider_key("replicate-token", "r8_", r"r8_[A-Za-z0-9]{30,}"),
    _provider_key("groq-key", "gsk_", r"gsk_[A-Za-z0-9]{30,}"),
    _provider_key("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[0-9a-f]{40,}"),
    _provider_key("shopify-token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32,}"),
    _provider_key("square-token", "sq0", r"sq0[a-z]{3}-[\w-]{20,}"),
    _provider_key("telegram-bot-token", ":AA", r"[0-9]{8,10}:AA[\w-]{32,}"),
    _provider_key("docker-token", "dckr_pat_", r"dckr_pat_[\w-]{20,}"),
    _provider_key("vault-token", "hvs.", r"hvs\.[\w-]{20,}"),
    _provider_key("brevo-key", "xkeysib-", r"xkeysib-[\w-]{40,}"),
)
"""Secrets that are words by themselves; hidden after key names were looked at."""

EMAIL: Final = Rule(
    "email",
    ("@", "%40"),
    re.compile(
        r"(?<![\w.+%-])(?<!://)(?P<secret>(?:[\w.+-]|%(?!40)[0-9A-Fa-f]{2})++)(?:@|%40)"
        r"(?:[A-Za-z0-9-]++\.)+[A-Za-z]{2,24}(?![\w-])"
    ),
)
"""The local part of an e-mail address (RFC 5321 section 4.1.2); the domain stays."""

# --- key names -----------------------------------------------------------------------------------------------------
# A key name is read as words: X-Api-Key, apiKey and API_KEY are all (api, key).

SECRET_WORDS: Final = {
    **dict.fromkeys(("password", "passwords", "passwd", "passphrase", "passcode", "pwd"), "password"),
    **dict.fromkeys(("secret", "secrets", "pepper"), "secret"),
    **dict.fromkeys(("credential", "credentials"), "credentials"),
    **dict.fromkeys(("apikey", "authkey"), "api-key"),
    **dict.fromkeys(("csrf", "xsrf", "csrftoken"), "csrf-token"),
    **dict.fromkeys(("otp", "totp"), "otp"),
}
"""Words that make any key secret, wherever they stand in it."""

SECRET_COMPOUNDS: Final = {
    "password": "password",
    "passwd": "password",
    "passphrase": "password",
    "apikey": "api-key",
    "secretkey": "secret",
    "clientsecret": "secret",
    "privatekey": "private-key",
    "accesskey": "api-key",
    "accesstoken": "token",
    "authtoken": "token",
    "refreshtoken": "token",
}
"""The same, grown together with other words: dbpassword."""

SECRET_ENDINGS: Final[dict[tuple[str, ...], str]] = {
    **dict.fromkeys(
        (("api", "key"), ("access", "key"), ("account", "key"), ("app", "key"), ("auth", "key"), ("admin", "key")),
        "api-key",
    ),
    **dict.fromkeys((("secret", "key"), ("master", "key"), ("signing", "key"), ("encryption", "key")), "secret"),
    ("private", "key"): "private-key",
    ("secret", "id"): "secret",
    ("connection", "string"): "connection-string",
    ("webhook", "url"): "webhook-url",
    ("code", "verifier"): "code-verifier",
    **{(word, "code"): "otp" for word in ("mfa", "verification", "recovery", "backup")},
    **{(word, "code"): "code" for word in ("auth", "authorization", "device")},
    ("saml", "response"): "saml",
    ("saml", "request"): "saml",
    ("saml", "assertion"): "saml",
}
"""Pairs of words that make a key secret which ends with them."""

QUALIFIED_WORDS: Final = {"token": "token", "pass": "password"}
"""Words that make a key secret which ends with them and has more words: access_token, smtp_pass."""

WEAK_WORDS: Final = {
    **{word: word for word in ("key", "token", "code", "auth", "session", "salt", "pass")},
    **dict.fromkeys(("sid", "sessid", "sessionid", "phpsessid", "jsessionid"), "session"),
    **dict.fromkeys(("sig", "signature"), "signature"),
}
"""Words that make a key secret which ends with them, if the value looks random as well."""

HARMLESS_ENDINGS: Final = _words(
    "age at attempts count enabled errors expires expiry field file format id length limit max min name path policy "
    "required reset status strength timeout ttl type url valid version"
)
"""Words at the end of a key that speak of a secret and do not hold it: password_reset, token_type."""

HARMLESS_TOKENS: Final = _words("bos cancellation cls continuation eos mask next pad page sep special stop sync unk")
"""Tokens that open nothing: next_page_token, eos_token."""

HARMLESS_KEYS: Final = _words(
    "cache foreign idempotency index object partition primary public publishable routing sort"
)
"""Keys that open nothing: primary_key, cache_key."""

KEY_TRIGGERS: Final = _words(
    "pass pwd secret pepper credential srf otp key token code auth cookie sess sid sig salt saml webhook connection"
)
"""One of these is in every key that can be secret, in lower case."""

AUTHORIZATION_SCHEMES: Final = _words(
    "Basic Bearer Digest DPoP GNAP Hawk HOBA Mutual Negotiate NTLM OAuth SCRAM-SHA-1 SCRAM-SHA-256 vapid Token ApiKey "
    "Api-Key Key JWT Bot Splunk SharedAccessSignature SharedKey AWS4-HMAC-SHA256 Signature"
)
"""Authentication schemes that stay readable: the IANA registry, and those that services made up."""

# --- values --------------------------------------------------------------------------------------------------------

NO_SECRETS: Final = _words(
    "none null nil undefined true false yes no ok on off required missing invalid incorrect wrong expired must should "
    "is was has not empty set unset changed updated failed failure error for from the and with header field str bytes "
    "int bool string secretstr redacted filtered hidden"
)
"""Words that stand where a secret could stand, in prose and in code; compared in lower case."""

PLACEHOLDER: Final = re.compile(
    r"\*+|\.{3}|x{3,}|<[^<>]*>|\$[A-Z_]+|\$\{[^{}]*\}|\$\([^()]*\)|\{+\w*(?:[.!:]\w+)*\}+|%(?:\(\w*\))?[-0-9.]*[sdrif]"
    r"|SecretStr\('\**'\)"
)
"""What stands for a secret and is none: `***`, `<token>`, `${TOKEN}`, `{token}`, `%s`."""

CODE: Final = re.compile(
    r"(?:self|cls|os|settings|config|request|form|data|args|kwargs|params|payload|body|env|environ)[.\[(].*"
    r"|(?:[a-z]+(?:[_.][a-z]+)+|(?:[A-Z][a-z]+)+|str|getenv|getpass|input)[(\[].*",
    re.DOTALL,
)
"""An expression in a line of source, as tracebacks show it: `os.environ[`, `get_token(`."""

ORDINARY: Final = re.compile(
    r"(?:(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)\d{0,3}|\d{1,4})(?:[-_.:/,](?:(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)\d{0,3}|\d{1,4}))+"
    r"|0x[0-9A-Fa-f]+|\d{4}-\d\d-\d\d[T ].*|(?:/|\./|\.\./|~/|\w{2,10}://).*",
    re.DOTALL,
)
"""Long values with digits that are not random: dashed words, addresses in memory, times, paths."""

IDENTIFIER: Final = re.compile(
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|(?:acct|ch|cs|cus|evt|in|pi|pm|price|prod|req|seti|si|sub)_(?:live_|test_)?[A-Za-z0-9]+"
)
"""Names of things: a UUID (RFC 9562), an object of Stripe's."""
