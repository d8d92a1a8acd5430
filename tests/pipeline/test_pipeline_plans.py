"""Which hooks run for a method and path."""

from __future__ import annotations

import pytest

from launchkit.pipeline.exchange import EarlyResponse, Exchange
from launchkit.pipeline.interceptor import METHODS, Interceptor, Plan, Planner
from launchkit.pipeline.paths import PathPattern


class Silent(Interceptor):
    """Overrides nothing."""


class Requests(Interceptor):
    def on_request(self, exchange: Exchange) -> EarlyResponse | None:
        return None


class Responses(Interceptor):
    def on_response_start(self, exchange: Exchange) -> None:
        return None


class Everything(Requests, Responses):
    def on_complete(self, exchange: Exchange) -> None:
        return None

    def on_exit(self, exchange: Exchange) -> None:
        return None


class Selecting(Everything):
    """Wants to be told about its patterns, and remembers what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.patterns = tuple(PathPattern(text) for text in texts)
        self.asked: list[tuple[str, frozenset[PathPattern]]] = []

    def select(self, method: str, matched: frozenset[PathPattern]) -> Interceptor | None:
        self.asked.append((method, matched))
        return self if matched & set(self.patterns) else None


def test_a_hook_that_is_not_overridden_is_in_no_plan() -> None:
    """What a feature does not do costs nothing."""
    plan = Plan([Silent(), Silent()])
    assert plan.on_request == plan.on_response_start == plan.on_complete == plan.on_exit == ()
    assert plan.responses_from == {}


def test_hooks_of_the_base_do_nothing() -> None:
    """An interceptor may call any hook of the class above it."""
    exchange: Exchange = None  # type: ignore[assignment]  # none of these looks at it
    base = Interceptor()
    assert base.on_request(exchange) is None
    assert base.on_response_start(exchange) is None
    assert base.on_failure(exchange, RuntimeError()) is None
    base.on_complete(exchange)
    base.on_exit(exchange)
    assert base.select("GET", frozenset()) is base


def test_requests_run_outermost_first_and_responses_innermost_first() -> None:
    """Whoever is entered first is left last."""
    outer, inner = Everything(), Everything()
    plan = Plan([outer, inner])
    assert plan.on_request == (outer.on_request, inner.on_request)
    assert plan.on_response_start == (inner.on_response_start, outer.on_response_start)
    assert plan.on_complete == (inner.on_complete, outer.on_complete)
    assert plan.on_exit == (inner.on_exit, outer.on_exit)


def test_an_early_response_leaves_through_those_that_were_entered() -> None:
    """The hooks of interceptors further in never see a response that came before them."""
    outer, watcher, inner = Everything(), Responses(), Everything()
    plan = Plan([outer, watcher, inner])
    assert plan.responses_from == {
        outer.on_request: (outer.on_response_start,),
        inner.on_request: (inner.on_response_start, watcher.on_response_start, outer.on_response_start),
    }


def test_an_interceptor_of_requests_alone_has_the_responses_of_those_outside_it() -> None:
    """Who answers need not have a response hook."""
    outer, answering = Responses(), Requests()
    assert Plan([outer, answering]).responses_from == {answering.on_request: (outer.on_response_start,)}


def test_plans_are_interned_by_method_and_matching_patterns() -> None:
    """Requests of one kind share one plan; an interceptor is asked once for each kind."""
    selecting = Selecting("/login", "/api/*")
    planner = Planner([selecting])
    assert planner.plan("GET", "/api/1") is planner.plan("GET", "/api/2")
    assert planner.plan("GET", "/api/1") is planner.plan("GET", "//api/1/")
    assert planner.plan("GET", "/api/1") is not planner.plan("GET", "/login")
    assert planner.plan("GET", "/api/1") is not planner.plan("POST", "/api/1")
    assert planner.plan("GET", "/x") is planner.plan("GET", "/y")
    assert sorted(method for method, _ in selecting.asked) == ["GET", "GET", "GET", "POST"]


def test_who_is_not_selected_is_not_in_the_plan() -> None:
    """`select` returns None for requests that are none of its business."""
    planner = Planner([Selecting("/login")])
    assert planner.plan("GET", "/other").on_request == ()
    assert len(planner.plan("GET", "/login").on_request) == 1


def test_methods_that_nobody_knows_are_one() -> None:
    """Made-up methods cannot make plans."""
    selecting = Selecting("/login")
    planner = Planner([selecting])
    assert planner.plan("BREW", "/login") is planner.plan("PROPFIND", "/login")
    assert planner.plan("get", "/login") is planner.plan("GET", "/login")
    assert [method for method, _ in selecting.asked] == ["_OTHER", "GET"]
    for method in METHODS:
        planner.plan(method, "/login")
    assert {method for method, _ in selecting.asked} == METHODS | {"_OTHER"}


def test_made_up_paths_cannot_fill_memory() -> None:
    """The table that saves the match is emptied when full; plans stay the same few."""
    planner = Planner([Selecting("/login")])
    planner.TABLE_SIZE = 10  # type: ignore[misc]
    plans = set()
    for number in range(1000):
        plans.add(planner.plan("GET", f"/{number}"))
        assert len(planner.table) <= 10
    assert len(plans) == 1
    assert planner.plan("GET", "/login") not in plans


@pytest.mark.parametrize(
    ("path", "mount", "found"),
    [
        ("/shop/login", "/shop", True),
        ("/shop/login/", "/shop", True),
        ("/login", "", True),
        ("/login", "/shop", True),
        ("/shop/login", "", False),
        ("/shoplogin", "/shop", False),
        ("/shop", "/shop", False),
        ("/shop/shop/login", "/shop", False),
    ],
)
def test_a_rule_holds_with_and_without_the_mount_prefix(path: str, mount: str, found: bool) -> None:
    """A path may be written as the app or as the browser sees it."""
    assert bool(Planner([Selecting("/login")]).plan("POST", path, mount).on_request) is found


def test_a_rule_for_the_browsers_path_and_one_for_the_apps_both_hold() -> None:
    """Patterns of both spellings match together."""
    selecting = Selecting("/login", "/shop/*", "/")
    planner = Planner([selecting])
    planner.plan("POST", "/shop/login", "/shop")
    assert selecting.asked == [("POST", frozenset({PathPattern("/login"), PathPattern("/shop/*")}))]
    planner.plan("POST", "/shop", "/shop")
    assert selecting.asked[1] == ("POST", frozenset({PathPattern("/"), PathPattern("/shop/*")}))


def test_a_rule_for_the_browsers_path_holds_where_a_proxy_takes_the_prefix_off() -> None:
    """An app that knows its prefix only by its settings (`root_path`) is asked without it."""
    assert Planner([Selecting("/api/login")]).plan("POST", "/login", "/api").on_request != ()


def test_no_path_takes_the_place_of_another_in_the_table() -> None:
    """A client cannot write a path that is looked up as somebody else's path under a mount."""
    planner = Planner([Selecting("/login")])
    assert planner.plan("POST", "/shop\n/shop/login").on_request == ()
    assert planner.plan("POST", "/shop/login", "/shop").on_request != ()


def test_very_long_paths_are_not_remembered() -> None:
    """A table of few entries is not small if each is a megabyte."""
    planner = Planner([])
    for number in range(50):
        assert planner.plan("GET", f"/{number}" + "x" * 60_000) is planner.plan("GET", "/short")
    assert len(planner.table) == 1
