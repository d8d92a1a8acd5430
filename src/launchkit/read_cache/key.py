"""Under which key a response is stored, and by which names it can be invalidated.

The rules:

- The key is everything by which the app tells one resource from another: scheme, host, mount prefix, path and query as
  received (RFC 9111 section 2), and the path that the app is given, which a layer outside may have made another. The
  parts stay apart, so that no two requests share a key by running parts together.
- Where a request carries them, the scheme's part also holds what CORS layers echo (Origin), what absolute links are
  made from (X-Forwarded-Proto and the like) and what asks for a part of a page (HX-Request and the like), because apps
  heed these without an entry in Vary; on the paths of rules, any header that nobody knows.
- A response is named by its path, by each path above it, and by its tags: paths decoded and in the spelling that path
  patterns are compared in, with and without the mount prefix, because an app invalidates what it knows itself by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from launchkit.errors import LaunchKitError
from launchkit.pipeline.effects import CacheKey, Names
from launchkit.pipeline.exchange import Exchange, Header
from launchkit.pipeline.paths import normalise
from launchkit.read_cache.bypass import Asked

EVERYTHING: Final = "all:"
"""The name that every response has."""


def cache_key(exchange: Exchange, asked: Asked) -> CacheKey:
    """Return the key of a GET or HEAD request."""
    scheme, target, query = exchange.resource
    if asked.keyed:
        scheme = _with_headers(scheme, asked.keyed)
    mount, path = exchange.mount, exchange.path  # decoded, and what another layer may have made of them
    return (scheme, asked.host, f"{len(mount)}:{mount}{path}" if mount else path, target, query)


def _with_headers(scheme: str, headers: Iterable[Header]) -> str:
    parts = [
        f" {len(value)}:{name.decode('latin-1')}:{value.decode('latin-1')}"
        for name, value in headers
        if not (name == b"x-forwarded-proto" and value == scheme.encode())
    ]
    return scheme + "".join(sorted(parts))


def names_of(exchange: Exchange, tags: Iterable[str]) -> Names:
    """Return every name of the response to this request."""
    paths = _paths(exchange.path, exchange.mount)
    by_path = [name for path in paths for name in _names_of_path(path)]
    return (EVERYTHING, *by_path, *(f"tag:{tag}" for tag in tags))


def _paths(path: str, mount: str) -> tuple[str, ...]:
    path = normalise(path)
    if not mount:
        return (path,)
    mount = normalise(mount)
    is_below = path == mount or path.startswith(mount + "/")
    return path, (path[len(mount) :] or "/") if is_below else mount + path


def _names_of_path(path: str) -> Iterator[str]:
    yield f"path:{path}"
    yield "below:/"
    end = path.find("/", 1)
    while end > 0:
        yield f"below:{path[:end]}"
        end = path.find("/", end + 1)
    if path != "/":
        yield f"below:{path}"


def names_changed_by(exchange: Exchange) -> Names:
    """Return what an unsafe request has changed by succeeding (RFC 9111 section 4.4).

    That is its own path, with any query, and what Location and Content-Location name on the same host.
    """
    paths = list(_paths(exchange.path, exchange.mount))
    host = (exchange.header(b"host") or b"").decode("latin-1")
    for name, value in exchange.response_headers:
        if name.lower() in (b"location", b"content-location"):
            paths += _path_on_host(value.decode("latin-1"), exchange.path, host)
    return tuple(f"path:{path}" for path in dict.fromkeys(paths))


def _path_on_host(reference: str, path: str, host: str) -> list[str]:
    try:
        target = urlsplit(urljoin(f"//{host}{path}", reference.strip()))
    except ValueError:
        return []
    return [normalise(unquote(target.path))] if target.netloc.lower() == host.lower() else []


def names_to_invalidate(path: str | None, prefix: str | None, tag: str | None) -> Names:
    """Return the names that a call to `invalidate` means: everything, if nothing is given.

    Raises:
        LaunchKitError: for a path or prefix that does not begin with a slash.
    """
    names = []
    if path is not None:
        names += [f"path:{one}" for one in _spellings(path)]
    if prefix is not None:
        names += [f"below:{one}" for one in _spellings(prefix.removesuffix("*"))]
    if tag is not None:
        names.append(f"tag:{tag}")
    return tuple(names) or (EVERYTHING,)


def _spellings(path: str) -> tuple[str, ...]:
    """Return a path as it is and decoded: frameworks give either, and neither has a query."""
    path = path.partition("?")[0]
    if not path.startswith("/"):
        raise LaunchKitError(f"{path!r} cannot be invalidated: a path begins with a slash, like /items/1.")
    return tuple(dict.fromkeys((normalise(path), normalise(unquote(path)))))
