"""The ways in which one path may be written that a router may take for the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from launchkit.check.routes import Place

ELSEWHERE: Final = "/launchkit-check"
"""A prefix under which an app might be served."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to ask for a place. `path` is as a server decodes it, and begins with `mount`."""

    what: str
    method: str
    path: str
    mount: str


def spellings(place: Place) -> Iterator[Spelling]:
    """Return other spellings of a place, each different from it but for the encoded letter, which servers decode."""
    method, path, mount = place.method, place.path, place.mount
    below = path[len(mount) :]
    written = {
        "with a trailing slash": path + "/",
        "without the trailing slash": path.rstrip("/") or "/",
        "with a double slash at the start": f"{mount}/{below}",
        "with a double slash at the end": path + "//",
        "with a double slash inside": mount + below[:1] + below[1:].replace("/", "//", 1),
        "in capitals": mount + below.upper(),
        "in small letters": mount + below.lower(),
        "with a line break (%0A)": path + "\n",
        "with a parameter (;x)": path + ";x",
        "with an extension (.json)": path + ".json",
        "with a space (%20)": path + " ",
    }
    for what, other in written.items():
        if other != path:
            yield Spelling(what, method, other, mount)
    yield Spelling("with an encoded letter (%6C)", method, path, mount)
    if not mount:
        yield Spelling(f"under the prefix {ELSEWHERE}", method, ELSEWHERE + path, ELSEWHERE)
    if method == "GET":
        yield Spelling("by HEAD", "HEAD", path, mount)
