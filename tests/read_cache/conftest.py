from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cache_driver import COLOURS, CachedSite

from launchkit.settings import CacheRule


@pytest.fixture(name="site", params=COLOURS)
def _site(request: pytest.FixtureRequest) -> Iterator[Callable[..., CachedSite]]:
    """Make cached sites: every test that asks for one runs in every colour, and none may break a hook."""
    made: list[CachedSite] = []

    def make(*rules: CacheRule, **options: Any) -> CachedSite:
        given = {"rules": rules} if rules else {}
        site = CachedSite(colour=request.param, **given, **options)
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()
        assert not site.failures.counts
