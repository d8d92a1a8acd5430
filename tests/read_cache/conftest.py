from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from cache_driver import CachedSite


@pytest.fixture(params=["sync", "async"])
def site(request: pytest.FixtureRequest) -> Callable[..., CachedSite]:
    """Make a cached site: every test that asks for one runs in both colours."""
    return partial(CachedSite, colour=request.param)
