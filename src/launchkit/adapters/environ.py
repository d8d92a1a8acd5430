"""What a WSGI environ tells features about a request, and what they change in it for the app."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from launchkit.pipeline.exchange import Exchange, Header, RequestHeaders

Environ = dict[str, Any]

IDENTITIES: Final = ("REMOTE_USER", "REMOTE_IDENT", "AUTH_TYPE", "SSL_CLIENT_S_DN", "SSL_CLIENT_CERT")
"""What servers put into the environ for an authenticated user (RFC 3875 section 4.1, Apache's mod_ssl)."""


class EnvironExchange(Exchange):
    """An exchange whose request is a WSGI environ. Those who subclass it set every slot."""

    __slots__ = ("_address", "_environ")

    _address: str
    _environ: Environ

    @property
    def peer(self) -> str | None:  # type: ignore[override]  # read when asked for
        """The address at the other end of the connection."""
        return self._address or None

    @property
    def is_identified(self) -> bool:
        """Whether the server has authenticated the user: by password, Kerberos or a client's certificate."""
        return any(self._environ.get(name) for name in IDENTITIES)

    @property
    def query(self) -> bytes:
        """The query string as received."""
        query: str = self._environ.get("QUERY_STRING", "")
        return encode(query)

    @property
    def target(self) -> bytes:
        """The path as received, where the server tells; else encoded anew."""
        raw: str | None = self._environ.get("RAW_URI") or self._environ.get("REQUEST_URI")
        if raw is not None and raw.startswith("/"):
            return encode(raw.partition("?")[0])
        return quote(self.path, safe="/:@!$&'()*+,;=~").encode("ascii")

    @property
    def resource(self) -> tuple[str, bytes, bytes]:
        """The scheme in the environ that the app is given, the path and the query as received."""
        return self._environ.get("wsgi.url_scheme", "http"), self.target, self.query

    def header(self, name: bytes) -> bytes | None:
        """Return one request header; servers join what was sent several times."""
        value: str | None = self._environ.get(_environ_key(name))
        return None if value is None else encode(value)

    def header_values(self, name: bytes) -> list[bytes]:
        """Return the joined value of a request header, if there is one."""
        value = self.header(name)
        return [] if value is None else [value]

    def request_headers(self) -> Iterable[Header]:
        """Return all request headers."""
        return self._headers_besides(frozenset())

    def request_headers_besides(self, names: frozenset[bytes]) -> Iterable[Header]:
        """Return the request headers that have none of these names, which mostly are few."""
        return self._headers_besides(_environ_keys(names))

    def _headers_besides(self, keys: frozenset[str]) -> Iterator[Header]:
        for key, value in self._environ.items():
            if key in keys:
                continue
            if key.startswith("HTTP_"):
                yield encode(key[5:].replace("_", "-").lower()), encode(value)
            elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
                yield encode(key.replace("_", "-").lower()), encode(value)

    def headers_named(self, names: frozenset[bytes]) -> tuple[Header, ...]:
        """Look the names up, of which there are fewer than of what an environ holds."""
        get = self._environ.get
        return tuple([(name, encode(value)) for name in names if (value := get(_environ_key(name))) is not None])

    def headers_as_received(self) -> RequestHeaders:
        """Return a copy of the environ, which costs less than one of the headers."""
        return _EnvironHeaders(self._environ.copy())

    def hide_request_headers(self, names: frozenset[bytes]) -> None:
        """Take headers out of the environ that the app is given."""
        for name in names:
            self._environ.pop(_environ_key(name), None)

    def set_request_headers(self, headers: Iterable[Header]) -> None:
        """Change them in the environ that the app is given."""
        for name, value in headers:
            self._environ[_environ_key(name)] = value.decode("latin-1")

    def present_to_app(self, client: str | None, scheme: str, host: bytes | None) -> None:
        """Change the environ that the app is given."""
        environ = self._environ
        if client is not None:
            environ["REMOTE_ADDR"] = client
        if host is not None:
            environ["HTTP_HOST"] = host.decode("latin-1")
        environ["wsgi.url_scheme"] = scheme
        environ.pop("HTTPS", None)
        if scheme == "https":
            environ["HTTPS"] = "on"


class _EnvironHeaders:
    """The request headers of an environ that nobody changes any more."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def header_values(self, name: bytes) -> list[bytes]:
        """Return the joined value of a request header, if there is one."""
        value: str | None = self._environ.get(_environ_key(name))
        return [] if value is None else [encode(value)]


def encode(text: str) -> bytes:
    """Return the bytes that a PEP 3333 string holds; what cannot be one is for the server to refuse, not for us."""
    return text.encode("latin-1", "replace")


def decode(text: str) -> str:
    """Return a PEP 3333 string, which holds bytes, as the text that the bytes encode."""
    return text if text.isascii() else encode(text).decode("utf-8", "replace")


_ENVIRON_KEYS: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


def _environ_key(name: bytes) -> str:
    key = _ENVIRON_KEYS.get(name)
    if key is None:
        key = _ENVIRON_KEYS[name] = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    return key


@lru_cache(64)
def _environ_keys(names: frozenset[bytes]) -> frozenset[str]:
    return frozenset(map(_environ_key, names))
