"""The check proves that limits refuse, at every spelling of a path that reaches the same handler."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from check_world import NESTED, codes, fastapi_plain, flask_blueprint, found, kit_in, login, never, report_of
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.routing import Mount, Route
from werkzeug.routing import BaseConverter

from launchkit import LaunchKit, Settings
from launchkit.check.probe import Caller, Probe, Recorder, _Nothing
from launchkit.pipeline.effects import Charge, NewDelivery, Quota, StoreDown, StoredResponse
from launchkit.testing import FrozenClock

SECRET = f"whsec_{secrets.token_hex(16)}"


def limited(**rule: Any) -> dict[str, Any]:
    return {"rate_limit": {"rules": {"own": {"paths": "/login", "limit": "5/minute", **rule}}}}


# --- limits that work ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NESTED)
def test_limits_are_proved_wherever_the_route_is_nested(name: str) -> None:
    """Behind routers, mounts, sub-apps and blueprints; nothing of the app is run for it."""
    report = report_of(NESTED[name](), routes={"login": "/v1/auth/login"})
    (proved,) = report.proved
    assert report.findings == ()
    assert proved.startswith(
        "POST /v1/auth/login: throttles at request 61 of one address, failure 21 of one address, failure 6 of one "
        "account"
    )


def test_the_spellings_that_reach_the_handler_are_proved_to_share_the_count() -> None:
    """For a Flask route that takes a trailing slash: that one, a double one, an encoded letter, and a prefix."""
    (proved,) = report_of(flask_blueprint(), **limited(paths="/v1/auth/login")).proved
    assert proved.endswith("; 4 other spellings share the count")
    (proved,) = report_of(Starlette(routes=[Route("/a", login)]), **limited(paths="/a", methods="GET")).proved
    assert proved.endswith("; 4 other spellings share the count")  # line break, encoded letter, prefix, HEAD


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({}, "request 6 of one address"),
        ({"count": "failures"}, "failure 6 of one address"),
        ({"by": "account"}, "request 6 of one account"),
        ({"by": "ip+account"}, "request 6 of one address and account"),
        ({"by": "header:x-api-key"}, "request 6 of one x-api-key"),
        ({"by": "path"}, "request 6 of one path"),
        ({"by": ["ip", "account"]}, "request 6 of one address, request 6 of one account"),
        ({"by": ["ip", "ip+account"], "limit": "9/minute; 4/second"}, "request 5 of one address"),
        ({"limit": "199/minute"}, "request 200 of one address"),
        ({"limit": "100000/minute"}, "request 100001 of one address"),
    ],
)
def test_every_kind_of_limit_is_driven(rule: dict[str, Any], sentence: str) -> None:
    """What it counts by stays the same, everything else changes; a large one is proved by its keys."""
    report = report_of(fastapi_plain(), **limited(**rule))
    assert report.findings == ()
    assert re.search(rf"throttles at {sentence}[,;]", report.proved[0])


def test_a_function_that_a_rule_counts_by_is_not_called() -> None:
    """It is the app's; a header of the check's stands for what it returns."""
    report = report_of(fastapi_plain(), **limited(by=[never]))
    assert report.findings == ()
    assert "request 6 of one result of the rule's function" in report.proved[0]


def test_a_limit_that_another_one_binds_is_proved_at_that_one() -> None:
    """Of two rules on one path the smaller refuses first."""
    rules = {"wide": {"paths": "/*", "limit": "3/minute"}, "own": {"paths": "/login", "limit": "5/minute"}}
    report = report_of(fastapi_plain(), rate_limit={"rules": rules})
    assert report.findings == ()
    assert all("request 4 of one address" in sentence for sentence in report.proved)


def test_what_a_failure_was_taken_for_is_said() -> None:
    """Where only those count, and the app does not tell them by a function of its own."""
    assumed = "; assumed that the app answers a failure with 4xx, and a success with 2xx JSON"
    (login_proved,) = report_of(fastapi_plain(), routes={"login": "/login"}).proved
    (own,) = report_of(fastapi_plain(), **limited(count="failures")).proved
    (everything,) = report_of(fastapi_plain(), **limited()).proved
    (told,) = report_of(fastapi_plain(), **limited(count="failures", success=lambda _: False)).proved
    assert [assumed in sentence for sentence in (login_proved, own, everything, told)] == [True, True, False, False]


@pytest.mark.parametrize(
    "pattern", ["/items/{id}", "/items/{other}", "/items/*", "/*", "/items/00000000-0000-4000-8000-000000000000"]
)
def test_open_patterns_are_driven_at_the_routes_that_they_mean(pattern: str) -> None:
    """With values that the route's own types take."""
    app = FastAPI()
    app.post("/items/{key:uuid}")(login)
    report = report_of(app, **limited(paths=pattern))
    assert report.findings == ()
    assert report.proved[0].startswith("POST /items/00000000-0000-4000-8000-000000000000: throttles at request 6")


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/t/<any(alpha,beta):x>/login", "/t/alpha/login"),
        ("/t/<string(length=4):x>/login", "/t/xxxx/login"),
        ("/t/<int(fixed_digits=4):x>/login", "/t/0004/login"),
    ],
)
def test_values_are_read_from_the_arguments_of_flasks_converters(template: str, path: str) -> None:
    """Which says what the route takes."""
    app = Flask(__name__)
    app.post(template)(never)
    report = report_of(app, environment="test", routes={"login": "/t/{tenant}/login"})
    assert report.findings == ()
    assert report.proved[0].startswith(f"POST {path}: throttles")
    assert "share the count" in report.proved[0]


class FlaskSlug(BaseConverter):
    regex = "[a-z]{3}-[0-9]{4}"


class StarletteSlug(StringConvertor):
    regex = "[a-z]{3}-[0-9]{4}"


def flask_slug() -> Flask:
    app = Flask(__name__)
    app.url_map.converters["slug"] = FlaskSlug
    app.post("/t/<slug:x>/login")(never)
    return app


def starlette_slug() -> Starlette:
    route = Route("/t/{x:check_slug}/login", login, methods=["POST"])
    return Starlette(routes=[route])


def starlette_mounted_slug() -> Starlette:
    return Starlette(routes=[Mount("/t/{x:check_slug}", routes=[Route("/login", login, methods=["POST"])])])


@pytest.mark.parametrize("make", [flask_slug, starlette_slug, starlette_mounted_slug])
@pytest.mark.parametrize("pattern", ["/t/{tenant}/login", "/t/*"])
def test_a_route_whose_values_nobody_can_guess_is_met_by_its_template(make: Any, pattern: str) -> None:
    """The limit is driven as its path is written, and what was not tried is said."""
    register_url_convertor("check_slug", StarletteSlug())
    report = report_of(make(), routes={"login": pattern})
    assert report.findings == ()
    (proved,) = report.proved
    assert proved.startswith("POST /t/1/login: throttles at request 61 of one address")
    assert "; no value was found that the route takes there, so other spellings were not tried" in proved
    finding = found(report_of(make(), **limited(paths=pattern, methods="PUT")), "rule-never-applies")
    assert "did you mean" not in finding.remedy


def test_a_redirect_to_the_route_is_followed() -> None:
    """A rule for /login is right for a route /login/."""
    app = FastAPI()
    app.post("/login/")(login)
    assert report_of(app, **limited()).proved[0].startswith("POST /login/: throttles")


def test_all_methods_that_the_route_has_are_driven() -> None:
    """Of a rule for every method."""
    app = FastAPI()
    app.api_route("/login", methods=["GET", "PUT"])(login)
    proved = report_of(app, **limited(methods=[])).proved
    assert [sentence.partition(":")[0] for sentence in proved] == ["GET /login", "PUT /login"]


def test_the_apps_own_root_path_is_a_prefix_too() -> None:
    """As FastAPI tells it to the kit."""
    app = FastAPI()
    app.root_path = "/api"
    app.post("/enter")(login)
    report = report_of(app, **limited(paths="/api/enter"))
    assert report.findings == ()
    assert report.proved[0].startswith("POST /api/enter: throttles")


# --- limits that do not ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NESTED)
def test_a_mistyped_path_is_an_error_with_a_suggestion(name: str) -> None:
    """The route that the founder meant is named."""
    report = report_of(NESTED[name](), routes={"login": "/v1/auth/logn"})
    finding = found(report, "mistyped-path")
    assert finding.severity == "error"
    assert "login names /v1/auth/logn" in finding.message
    assert "did you mean /v1/auth/login?" in finding.remedy
    assert report.proved == ()


def test_a_path_without_its_prefix_is_mistyped() -> None:
    """The commonest mistake with routers."""
    finding = found(report_of(NESTED["fastapi routers"](), routes={"login": "/login"}), "mistyped-path")
    assert "did you mean /v1/auth/login?" in finding.remedy


def test_an_open_pattern_that_means_no_route_is_mistyped() -> None:
    """A suggestion is made only if there is a likely one, and without one it is a warning."""
    finding = found(report_of(fastapi_plain(), **limited(paths="/zzzzzzzz/{id}")), "mistyped-path")
    assert (finding.severity, "did you mean" in finding.remedy) == ("warning", False)


def with_frontend() -> FastAPI:
    app = fastapi_plain()
    app.get("/{path:path}")(never)
    return app


@pytest.mark.parametrize("make", [*NESTED.values(), with_frontend])
def test_a_path_that_middleware_may_serve_is_a_warning(make: Any) -> None:
    """No route is like it; one for any path, which has another method, is no sign of a mistake either."""
    report = report_of(make(), routes={"login": "/sessions/new"})
    finding = found(report, "mistyped-path")
    assert finding.severity == "warning"
    assert "middleware or a before_request function may answer there" in finding.message
    assert report.proved == ()


def test_a_route_that_a_rule_names_is_not_what_another_one_missed() -> None:
    """Here the app has its own signup, and middleware serves the login."""

    def severity(**routes: str) -> str:
        app = FastAPI()
        app.post("/auth/signup")(login)
        return found(report_of(app, routes={"login": "/auth/signin", **routes}), "mistyped-path").severity

    assert severity() == "error"
    assert severity(signup="/auth/signup") == "warning"


def test_a_rule_for_a_websocket_is_a_warning() -> None:
    """It would stop no start, and says that limits are for HTTP."""
    app = FastAPI()
    app.websocket("/ws")(never)
    finding = found(report_of(app, **limited(paths="/ws", methods="GET")), "mistyped-path")
    assert (finding.severity, "did you mean" in finding.remedy) == ("warning", False)
    assert "A WebSocket's path has no effect: limits are for HTTP requests." in finding.remedy


def test_a_path_below_a_prefix_of_its_own_is_a_warning() -> None:
    """It is right if the app is served there, which cannot be seen."""
    report = report_of(fastapi_plain(), routes={"login": "/api/v2/login"})
    finding = found(report, "path-under-prefix")
    assert (finding.severity, "served under /api/v2" in finding.message) == ("warning", True)
    assert report.proved[0].startswith("POST /api/v2/login: throttles")


def test_a_method_that_the_route_does_not_have_is_an_error() -> None:
    """The rule would never apply."""
    finding = found(report_of(fastapi_plain(), **limited(methods="PUT")), "rule-never-applies")
    assert (finding.severity, "PUT /login" in finding.message) == ("error", True)


def test_a_rule_for_a_webhooks_path_never_applies() -> None:
    """LaunchKit limits those by itself."""
    report = report_of(
        fastapi_plain(), webhooks={"sources": {"stripe": {"secrets": SECRET}}}, **limited(paths="/webhooks/stripe")
    )
    assert found(report, "rule-never-applies").severity == "warning"


def insensitive(path: str) -> Route:
    route = Route(path, login, methods=["POST"])
    route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
    return route


@pytest.mark.parametrize("limit", ["5/minute", "1000/minute"])
def test_a_spelling_that_escapes_the_rule_is_an_error(limit: str) -> None:
    """Here the router ignores case, and patterns do not."""
    report = report_of(Starlette(routes=[insensitive("/login")]), **limited(limit=limit))
    finding = found(report, "variant-escapes")
    assert finding.severity == "error"
    assert "'/LOGIN' (in capitals) reaches the handler of /login" in finding.message
    assert report.proved == ()


def test_a_second_route_to_the_handler_escapes_the_rule() -> None:
    """Until the rule names it too."""
    app = Flask(__name__)
    app.post("/enter")(app.post("/enter.json")(login))
    assert codes(report_of(app, **limited(paths="/enter")).findings) == ["variant-escapes"]
    app = Flask(__name__)
    app.post("/enter")(app.post("/enter.json")(login))
    assert report_of(app, **limited(paths=["/enter", "/enter.json"])).findings == ()


def fastapi_for_any_path() -> FastAPI:
    app = FastAPI()
    app.post("/{path:path}")(login)
    return app


def flask_for_any_path() -> Flask:
    app = Flask(__name__)
    app.post("/", defaults={"path": ""})(app.post("/<path:path>")(login))
    return app


@pytest.mark.parametrize("make", [fastapi_for_any_path, flask_for_any_path])
@pytest.mark.parametrize("limit", ["5/minute", "1000/minute"])
def test_a_route_for_any_path_has_spellings_that_are_no_login(make: Any, limit: str) -> None:
    """They reach its handler, which may take them for something else: one warning, and the limit is proved."""
    report = report_of(make(), **limited(limit=limit))
    finding = found(report, "variant-escapes")
    assert finding.severity == "warning"
    assert "takes '/LOGIN', '/login;x', '/login.json', '/login ' as well" in finding.message
    (proved,) = report.proved
    assert proved.startswith("POST /login: throttles at request ")
    assert re.search(r"; [3-6] other spellings share the count$", proved)


@pytest.mark.parametrize("by", ["ip", "path"])
def test_a_spelling_with_a_count_of_its_own_escapes(by: str) -> None:
    """A pattern that covers every spelling shares one count, unless the rule counts by path."""
    report = report_of(Starlette(routes=[insensitive("/login")]), **limited(paths="/*", by=by))
    assert ("variant-escapes" in codes(report.findings)) == (by == "path")


def test_a_rule_that_only_observes_is_reported_as_such() -> None:
    """It refuses nothing, whatever its limit; presets and own rules alike."""
    own = report_of(fastapi_plain(), **limited(mode="observe"))
    assert (codes(own.findings), own.proved) == (["rule-only-observes"], ())
    preset = report_of(fastapi_plain(), routes={"login": "/login"}, rate_limit={"login": {"mode": "observe"}})
    assert (codes(preset.findings), preset.proved) == (["rule-only-observes"], ())


def test_limits_that_are_switched_off_are_not_driven() -> None:
    """Nothing is proved then."""
    report = report_of(fastapi_plain(), rate_limit={"enabled": False}, routes={"login": "/logn"})
    assert (report.findings, report.proved) == ((), ())


def test_a_limit_that_lets_too_many_through_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown with a counter that forgets."""
    monkeypatch.setattr("launchkit.rate_limit.memory.Log.wait", lambda log, now: (0.0, 0))
    report = report_of(fastapi_plain(), **limited())
    finding = found(report, "does-not-throttle")
    assert (finding.severity, "request 6 was answered with 200" in finding.message) == ("error", True)
    assert report.proved == ()


def test_a_large_limit_that_counts_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown with a rule that is never selected."""
    monkeypatch.setattr("launchkit.rate_limit.interceptor.matching", lambda *arguments: ())
    report = report_of(fastapi_plain(), **limited(limit="1000/minute"))
    assert codes(report.findings) == ["does-not-throttle"]


# --- webhooks --------------------------------------------------------------------------------------------------------


def test_an_unsigned_delivery_is_proved_to_be_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also of a source that only a handler names, without storing or logging anything."""
    kit = kit_in(
        fastapi_plain(),
        data_dir=tmp_path / "data",
        routes={"login": "/login"},
        webhooks={"sources": {"stripe": {"secrets": SECRET}, "billing": {"scheme": "standard"}}},
    )
    kit.webhook("clerk")(never)
    report = kit.self_check.run()
    assert report.proved[1:] == ("POST /webhooks/stripe: refuses deliveries of stripe that are not signed",)
    (finding,) = report.findings
    assert (finding.code, finding.severity) == ("webhook-without-handler", "warning")
    assert "of stripe" in finding.message
    assert not (tmp_path / "data").exists()
    assert caplog.records == []
    assert kit.webhooks.counts.read() == {}


def test_an_unsigned_delivery_that_is_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown with an intake that answers something else."""
    monkeypatch.setattr("launchkit.check.probe.Rehearsal.refuses_unsigned", lambda self, path: 200)
    report = report_of(fastapi_plain(), webhooks={"sources": {"stripe": {"secrets": SECRET}}})
    assert found(report, "webhook-takes-unsigned").severity == "error"


# --- what a check leaves alone ---------------------------------------------------------------------------------------


def test_the_real_counters_metrics_and_files_are_left_alone(tmp_path: Path) -> None:
    """A check may run while the app serves; it works on an event loop as well."""
    kit = kit_in(fastapi_plain(), data_dir=tmp_path / "data", routes={"login": "/login"})

    async def check() -> tuple[Any, ...]:
        return kit.check()

    assert asyncio.run(check()) == ()
    assert kit.rate_limit.counts == {}
    assert len(kit._local_limiter) == 0
    assert kit.pipeline is None
    assert not (tmp_path / "data").exists()


class Running(FrozenClock):
    """A clock that is asked about once a second."""

    def monotonic(self) -> float:
        self.advance(1)
        return super().monotonic()


def test_a_check_ends_in_time_and_says_what_it_left(caplog: pytest.LogCaptureFixture) -> None:
    """After the deadline nothing more is begun."""
    app = fastapi_plain()
    kit = LaunchKit(Settings(routes={"login": "/login", "signup": "/sign"}), clock=Running())
    kit.install(app)
    (finding,) = kit.check()
    assert (finding.code, finding.severity) == ("not-checked", "warning")
    assert "2 of the places" in finding.message


@pytest.mark.real_time
def test_a_large_app_is_checked_within_two_seconds() -> None:
    """Six hundred routes, thirty rules."""
    app = FastAPI()
    for number in range(600):
        app.post(f"/items{number}/{{id}}/login")(login)
    rules = {f"r{number}": {"paths": f"/items{number}/{{id}}/login", "limit": "150/minute"} for number in range(30)}
    kit = kit_in(app, rate_limit={"rules": rules})
    begun = time.monotonic()
    kit.check()
    assert time.monotonic() - begun < 2


def test_an_app_that_breaks_the_check_is_a_finding() -> None:
    """Routes of a shape that nobody has thought of, for instance."""
    app = Starlette(routes=[Mount("/v1", routes=[])])
    kit = kit_in(app, routes={"login": "/login"})
    app.router.routes.append(None)  # type: ignore[arg-type]
    (finding,) = kit.check()
    assert (finding.code, finding.severity) == ("not-checked", "warning")


def test_an_app_of_an_unknown_kind_is_checked_as_its_rules_are_written() -> None:
    """Nobody can compare paths, but limits are driven."""
    kit = LaunchKit(Settings(routes={"login": ["/login", "/login/*"]}))
    kit.wsgi(lambda environ, start_response: [])
    report = kit.self_check.run()
    assert codes(report.findings) == ["app-unknown"]
    assert report.proved[0].startswith("POST /login: throttles at request 61")


def test_a_probe_is_an_exchange_that_reaches_no_store() -> None:
    """Whatever a feature may come to ask of one: it finds a stranger's request, and every store down."""
    probe = Probe("POST", "/v1/login", "/v1", Caller("2001:db8::1", "me@launchkit.invalid"), "email", 0.0)
    probe.hide_request_headers(frozenset({b"content-type"}))
    probe.set_request_headers([(b"content-type", b"text/plain")])
    assert (probe.is_identified, probe.query, probe.target) == (False, b"", b"/v1/login")
    assert list(probe.request_headers()) == [(b"content-type", b"application/json")]
    assert probe.header_values(b"content-type") == [b"application/json"]
    assert probe.read(5).too_large
    nothing, recorder = _Nothing(), Recorder()
    delivery = NewDelivery("stripe", "evt_1", "", (), b"")
    key = ("https", b"shop.example", "", b"/", b"")
    stored = StoredResponse(200, (), b"", 0.0, 0.0, 0.0, 0.0)
    for call in (
        lambda: nothing.fetch(key, probe),
        lambda: nothing.store(key, stored, (), 0),
        lambda: nothing.invalidate(()),
        lambda: nothing.put(delivery),
        nothing.probe,
        lambda: asyncio.run(nothing.afetch(key, probe)),
        lambda: asyncio.run(nothing.astore(key, stored, (), 0)),
        lambda: asyncio.run(nothing.ainvalidate(())),
        lambda: asyncio.run(nothing.aput(delivery)),
        lambda: asyncio.run(nothing.aprobe()),
    ):
        with pytest.raises(StoreDown):
            call()
    assert asyncio.run(recorder.ahit((Charge("key", Quota(((1, 1.0),))),))).allowed
    recorder.refund(())
    asyncio.run(recorder.arefund(()))
    assert recorder.keys == ["key"]


@pytest.mark.parametrize("observing", ["own", "preset"])
def test_a_check_logs_nothing(caplog: pytest.LogCaptureFixture, observing: str) -> None:
    """Its requests are not worth a line, where a rule that observes stands beside one that is driven least of all."""
    caplog.set_level(logging.DEBUG, "launchkit")
    settings: dict[str, Any] = {"routes": {"login": "/login"}, **limited(limit="50/minute", by="account")}
    if observing == "own":
        settings["rate_limit"]["rules"]["own"]["mode"] = "observe"
    else:
        settings["rate_limit"]["login"] = {"mode": "observe"}
    report = report_of(fastapi_plain(), **settings)
    assert codes(report.findings) == ["rule-only-observes"]
    assert len(report.proved) == 1
    assert caplog.records == []
