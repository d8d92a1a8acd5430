"""The route template of a request, read from what the framework left in the scope after it had matched.

FastAPI and Starlette each leave a route; FastAPI's full template, with the prefixes of included routers, is in its own
part of the scope. A mount leaves only its concrete prefix in `root_path`, which must not become a label (it may hold a
customer's name): the mounts are walked once and the prefix is matched back to their templates.

Everything here reads by name what the frameworks set, so that it serves any ASGI app and imports none of them. What is
not recognised is no label, never a raw path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

AppRoute = tuple[frozenset[str], str]
"""The methods of a route, and its template."""

_CONVERTOR = re.compile(r":[^{}]*\}")


class RouteLabels:
    """Finds the route template of requests to one app."""

    MOUNT_TABLE_SIZE: Final = 1024

    def __init__(self, app: object) -> None:
        self._app = app
        self._mounts: list[tuple[re.Pattern[str], str]] | None = None
        self._by_prefix: dict[str, str | None] = {}

    def label(self, scope: Mapping[str, Any], mount: str) -> str | None:
        """Return the template, prefixed with `mount`, the root path the kit was entered with; None if unmatched."""
        template = _matched_template(scope)
        root = scope.get("root_path", "")
        if root == mount:
            return mount + template if template is not None and mount else template
        prefix = self._mount_template(root[len(mount) :])
        return None if prefix is None else f"{mount}{prefix}{template or '/*'}"

    def _mount_template(self, prefix: str) -> str | None:
        if prefix in self._by_prefix:
            return self._by_prefix[prefix]
        if self._mounts is None:
            self._mounts = list(_walk_mounts(self._app, "", "", frozenset()))
        found = next((template for pattern, template in self._mounts if pattern.fullmatch(prefix)), None)
        if len(self._by_prefix) < self.MOUNT_TABLE_SIZE:
            self._by_prefix[prefix] = found
        return found


def _matched_template(scope: Mapping[str, Any]) -> str | None:
    """Return the template of the innermost route, without the mounts that it is in; None where that is a mount."""
    fastapi = scope.get("fastapi")
    context = fastapi.get("effective_route_context") if fastapi else None
    if context is not None and (template := _template(context)) is not None:
        return template
    route = scope.get("route")
    return None if hasattr(route, "routes") else _template(route)


def _template(route: object) -> str | None:
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    return template if isinstance(template, str) else None


def _walk_mounts(
    app: object, expression: str, template: str, above: frozenset[int]
) -> Iterator[tuple[re.Pattern[str], str]]:
    """Walk an app's mounts and those below them; `above` are the lists of routes on the way: one may contain itself."""
    routes = getattr(app, "routes", None)
    if id(routes) in above:
        return
    above |= {id(routes)}
    for route in _routes(app):
        path = getattr(route, "path", None)
        inner = getattr(route, "app", None)
        if not isinstance(path, str) or inner is None or not hasattr(route, "routes"):
            continue
        text = _CONVERTOR.sub("}", path.rstrip("/"))
        pattern = expression + "[^/]+".join(re.escape(part) for part in re.split(r"\{[^{}]*\}", text))
        yield re.compile(pattern), template + text
        yield from _walk_mounts(route, pattern, template + text, above)


def _routes(app: object) -> list[object]:
    routes = getattr(app, "routes", None)
    return list(routes) if isinstance(routes, (list, tuple)) else []


def app_routes(app: object) -> Iterator[AppRoute]:
    """Return an ASGI app's routes, as far as the framework lists them."""
    yield from _app_routes(app, "", frozenset())


def _app_routes(app: object, prefix: str, above: frozenset[int]) -> Iterator[AppRoute]:
    if id(getattr(app, "routes", None)) in above:
        return
    above |= {id(getattr(app, "routes", None))}
    for route in _routes(app):
        contexts: Any = getattr(route, "effective_route_contexts", None)  # FastAPI's included routers
        for one in (route,) if contexts is None else contexts():
            methods = getattr(one, "methods", None)
            if methods:
                yield frozenset(methods), f"{prefix}{_template(one) or ''}"
            elif hasattr(one, "routes"):
                yield from _app_routes(one, prefix + str(getattr(one, "path", "")), above)
