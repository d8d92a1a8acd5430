"""The words that make a key name secret, doubtful or harmless, as data. `keys.py` says how they are put to use."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str, rule: str) -> dict[tuple[str, ...], str]:
    """Return `rule` for each pair of words, written with a dash between them."""
    return dict.fromkeys((tuple(pair.split("-")) for pair in text.split()), rule)


SECRET_WORDS: Final = {
    **dict.fromkeys(
        (
            "password",
            "passwords",
            "passwd",
            "passphrase",
            "passcode",
            "pwd",
            "passwort",
            "senha",
            "wachtwoord",
            "kennwort",
            "contrasena",
            "passe",
            "mdp",
            "parola",
            "haslo",
            "losenord",
            "salasana",
            "heslo",
            "jelszo",
            "sifre",
        ),
        "password",
    ),
    **dict.fromkeys(("secret", "secrets", "pepper", "mnemonic"), "secret"),
    **dict.fromkeys(("credential", "credentials", "creds"), "credentials"),
    **dict.fromkeys(("apikey", "apikeys", "authkey", "appkey"), "api-key"),
    **dict.fromkeys(("apitoken", "authtoken", "accesstoken", "bearertoken"), "token"),
    **dict.fromkeys(("csrf", "xsrf", "csrftoken", "csrfmiddlewaretoken"), "csrf-token"),
    **dict.fromkeys(("otp", "totp", "cvv", "cvc"), "otp"),
}
"""Words that make any key secret, wherever they stand in it."""

SECRET_COMPOUNDS: Final = {
    "password": "password",
    "passwd": "password",
    "passphrase": "password",
    "apikey": "api-key",
    "secretkey": "secret",
    "clientsecret": "secret",
    "keysecret": "secret",
    "apisecret": "secret",
    "tokensecret": "secret",
    "sharedsecret": "secret",
    "webhooksecret": "secret",
    "appsecret": "secret",
    "privatekey": "private-key",
    "accesskey": "api-key",
    "presharedkey": "secret",
    "accesstoken": "token",
    "authtoken": "token",
    "apitoken": "token",
    "refreshtoken": "token",
    "identitytoken": "token",
    "requirepass": "password",
    "masterauth": "password",
    "rootpw": "password",
    "bindpw": "password",
    **dict.fromkeys(
        ("sshpass", "storepass", "keypass", "dbpass", "smtppass", "userpass", "rootpass", "adminpass"), "password"
    ),
}
"""The same, grown together with other words: dbpassword."""

SECRET_ENDINGS: Final[dict[tuple[str, ...], str]] = {
    **_pairs("api-key access-key account-key app-key auth-key admin-key license-key integration-key", "api-key"),
    **_pairs("application-key service-key server-key consumer-key ingest-key write-key subscription-key", "api-key"),
    **_pairs("personal-key user-key project-key deploy-key functions-key function-key clave-api", "api-key"),
    **_pairs("secret-key master-key signing-key encryption-key shared-key preshared-key hmac-key", "secret"),
    **_pairs("decryption-key crypto-key storage-key recovery-key wrapping-key session-key cookie-key", "secret"),
    **_pairs("signing-salt security-answer seed-phrase jwt-key fernet-key", "secret"),
    **_pairs("private-key ssh-key ssl-key tls-key key-data key-pem key-material rsa-key", "private-key"),
    **_pairs("connection-string conn-string conn-str connection-str", "connection-string"),
    **_pairs("webhook-url hook-url", "webhook-url"),
    **_pairs("code-verifier", "code-verifier"),
    **_pairs(
        "mfa-code verification-code recovery-code backup-code recovery-codes backup-codes confirmation-code pin-code "
        "login-code mfa-seed",
        "otp",
    ),
    **_pairs("user-pin card-pin login-pin sms-code security-code passcode-code factor-code otp-code time-code", "otp"),
    **_pairs("auth-code authorization-code device-code oauth-code access-code", "code"),
    **_pairs("saml-response saml-request saml-assertion client-assertion", "saml"),
    **_pairs("access-jwt auth-jwt", "jwt"),
}
"""Pairs of words that make a key secret which ends with them."""

QUALIFIED_WORDS: Final = {
    "token": "token",
    "pass": "password",
    "pat": "token",
    "pw": "password",
    "psk": "secret",
    "pin": "otp",
}
"""Words that make a key secret which ends with them: access_token, smtp_pass. Doubtful ones need a word before them."""

WEAK_WORDS: Final = {
    **{word: word for word in ("key", "token", "code", "auth", "session", "salt", "jwt", "ticket", "hmac")},
    **dict.fromkeys(("sid", "sessid", "sessionid", "phpsessid", "jsessionid"), "session"),
    **dict.fromkeys(("sig", "signature"), "signature"),
    **dict.fromkeys(("pat", "assertion"), "token"),
    **dict.fromkeys(("keys", "dsn", "nonce", "verifier", "clave", "seed", "sesame"), "key"),
}
"""Words that make a key secret which ends with them, if the value looks random as well."""

HARMLESS_ENDINGS: Final = _words(
    "age algorithm arn at attempts backend backends bearer button callback changed class client column count dir "
    "directory domain enabled encryption encoding endpoint env error errors event events exists expired expires "
    "expiry expiration failure field fields file flow form format forms function generator handler hasher hashers "
    "header headers help hint host httponly id ids in index input interval invalid issuer kind label length level "
    "limit link links list manager map max message middleware min mixin mode model module name names ns origins "
    "page path paths policy prefix process provider prompt proxy ref regex required requirements reset resets "
    "rotated rounds rule rules samesite schema scope secure sent service size source state status store strategy "
    "strength suffix table template test tests text threshold timeout title ttl type types updated uri url urls "
    "usage used user users username valid validation validator validators verified version view views cfg css go "
    "htm html ini java js json jsx kt log md mjs php png py pyc pyi rb rs sh sql svg toml ts tsx txt xml yaml yml"
)
"""Words at the end of a key that speak of a secret and do not hold it: password_reset, token_type."""

HARMLESS_TOKENS: Final = _words(
    "added bos cancellation cls completion continuation cursor eos input mask max min next num output pad page "
    "pagination prev prompt sep special start stop sync total unk"
)
"""Tokens that open nothing: next_page_token, eos_token."""

HARMLESS_KEYS: Final = _words(
    "cache candidate composite dedup dict foreign gpg group idempotency idx index natural object order partition "
    "pgp primary public publishable registry routing shard site sort surrogate translation unique socket "
    "websocket"
)
"""Keys that open nothing: primary_key, cache_key."""

STEMS: Final = ("pass", "pw", "secret", "token", "key")
"""Parts of words that make a look at the keys worth it, in lower case; other words have to be there whole."""
