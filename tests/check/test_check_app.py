"""What is wrong with the app's own configuration is found, and what is right is not."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest
from check_world import codes, found, login, never, report_of
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount, Route

from launchkit.check.surroundings import Surroundings

PRODUCTION = {"environment": "production", "trusted_proxies": "private"}
GOOD = secrets.token_urlsafe(32)


def starlette(*middleware: Middleware, routes: Any = (), **options: Any) -> Starlette:
    return Starlette(middleware=list(middleware), routes=list(routes), **options)


def flask(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(config)
    return app


# --- CORS ------------------------------------------------------------------------------------------------------------

OPEN = [
    Middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True),
    Middleware(CORSMiddleware, ["*"], allow_credentials=True),
    Middleware(CORSMiddleware, allow_origin_regex=".*", allow_credentials=True),
    Middleware(CORSMiddleware, allow_origin_regex=r"https://.*", allow_credentials=True),
    Middleware(CORSMiddleware, allow_origin_regex=r"https?://localhost.*", allow_credentials=True),
]
NAMED = [
    Middleware(CORSMiddleware, allow_origins=["*"]),
    Middleware(CORSMiddleware, allow_origins=["https://app.example.com"], allow_credentials=True),
    Middleware(CORSMiddleware, allow_origin_regex=r"https://.*\.example\.com", allow_credentials=True),
]


@pytest.mark.parametrize("cors", OPEN)
def test_cors_for_everybody_with_credentials_is_an_error(cors: Middleware) -> None:
    """Any site could act as the app's users; in a mounted app too."""
    for app in (starlette(cors), Starlette(routes=[Mount("/api", app=starlette(cors))])):
        assert found(report_of(app), "cors-any-origin-with-credentials").severity == "error"


@pytest.mark.parametrize("cors", NAMED)
def test_cors_that_names_its_origins_hides_the_kits_answers(cors: Middleware) -> None:
    """No error, but a 429 passes outside of it: a warning until `edge.cors` is set."""
    assert codes(report_of(starlette(cors)).findings) == ["cors-hidden-answers"]
    edge = {"cors": {"origins": "https://app.example.com"}}
    assert report_of(starlette(cors), edge=edge).findings == ()


def test_no_cors_is_right() -> None:
    """Nothing has to be moved then."""
    assert report_of(starlette()).findings == report_of(flask()).findings == ()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"origins": "*", "supports_credentials": True}, "cors-any-origin-with-credentials"),
        ({"origins": r".*", "supports_credentials": True}, "cors-any-origin-with-credentials"),
        ({"origins": "*"}, None),
        ({"origins": "https://app.example.com", "supports_credentials": True}, None),
        ({"origins": re.compile(r"https://.*\.example\.com"), "supports_credentials": True}, None),
    ],
)
def test_flask_cors_is_read_too(options: dict[str, Any], code: str | None) -> None:
    """For every resource that it covers."""
    flask_cors = pytest.importorskip("flask_cors")
    app = flask()
    flask_cors.CORS(app, **options)
    assert codes(report_of(app).findings) == ([code] if code else []) + ["cors-hidden-answers"]


# --- hosts -----------------------------------------------------------------------------------------------------------

SITE = {"edge": {"url": "https://example.com"}}


@pytest.mark.parametrize(
    ("hosts", "refused"),
    [
        (["example.com"], False),
        (["EXAMPLE.com", "other"], False),
        (["*"], False),
        (None, False),
        (["*.example.com"], True),
        (["www.example.com"], True),
    ],
)
def test_a_host_check_that_refuses_the_site_is_an_error(hosts: list[str] | None, refused: bool) -> None:
    """Every visitor would get a 400, or be sent back and forth."""
    app = starlette(Middleware(TrustedHostMiddleware, allowed_hosts=hosts))
    assert ("host-check-refuses-site" in codes(report_of(app, **SITE).findings)) == refused
    assert report_of(starlette(Middleware(TrustedHostMiddleware, allowed_hosts=hosts))).findings == ()


@pytest.mark.parametrize(("host", "refused"), [("example.com", False), (".example.com", False), (".example.org", True)])
def test_flasks_trusted_hosts_are_a_host_check(host: str, refused: bool) -> None:
    """A leading dot means a host and all below it."""
    report = report_of(flask(TRUSTED_HOSTS=[host]), **SITE)
    assert codes(report.findings) == (["host-check-refuses-site"] if refused else [])


def health() -> Any:
    return never()


def test_probes_that_a_host_check_refuses_are_a_warning() -> None:
    """Of the app's own health paths only: the kit answers its own for any host."""
    routes = [Route("/healthz", health), Route("/health", health), Route("/page", health)]
    check = Middleware(TrustedHostMiddleware, allowed_hosts=["example.com"])
    finding = found(report_of(starlette(check, routes=routes), **PRODUCTION), "host-check-breaks-probes")
    assert finding.severity == "warning"
    assert "Probes of /healthz" in finding.message
    assert "/health/live" in finding.remedy
    by_edge = report_of(starlette(routes=routes), **PRODUCTION, edge={"hosts": "example.com"})
    assert codes(by_edge.findings) == ["host-check-breaks-probes"]
    assert report_of(starlette(routes=routes), **PRODUCTION).findings == ()
    assert report_of(starlette(check, routes=routes[1:]), **PRODUCTION).findings == ()
    assert report_of(starlette(check, routes=routes)).findings == ()
    both = report_of(starlette(check, routes=routes), **PRODUCTION, health={"enabled": False})
    assert codes(both.findings) == ["host-check-breaks-probes"] * 2


# --- routes without a limit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "setting"),
    [
        ("/login", "ROUTES__LOGIN=/login"),
        ("/auth/token", "ROUTES__LOGIN=/auth/token"),
        ("/users/sign-up", "ROUTES__SIGNUP=/users/sign-up"),
        ("/forgot", "ROUTES__PASSWORD_RESET=/forgot"),
        ("/hooks/webhook/{id}", "RATE_LIMIT__WEBHOOK__PATHS=/hooks/webhook/{id}"),
    ],
)
def test_a_form_without_a_limit_is_a_warning(path: str, setting: str) -> None:
    """With the setting that gives it one, which is then right."""
    app = FastAPI()
    app.post(path)(login)
    finding = found(report_of(app), "missing-limit")
    assert (finding.severity, finding.remedy) == ("warning", f"Set LAUNCHKIT_{setting}.")
    app = FastAPI()
    app.post(path)(login)
    own = {"paths": "/*", "limit": "9/minute"}
    assert report_of(app, rate_limit={"rules": {"own": own}}).findings == ()


def test_a_page_and_a_webhook_of_the_kits_need_no_limit() -> None:
    """Nor does anything where limits are off."""
    app = FastAPI()
    app.get("/login")(login)
    app.post("/items")(login)
    app.post("/webhooks/stripe")(login)
    sources = {"sources": {"stripe": {"secrets": f"whsec_{secrets.token_hex(16)}"}}}
    assert [finding.code for finding in report_of(app, webhooks=sources).findings] == ["webhook-without-handler"]
    app = FastAPI()
    app.post("/login")(login)
    assert report_of(app, rate_limit={"enabled": False}).findings == ()


# --- what belongs to development -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [lambda: FastAPI(debug=True), lambda: Starlette(debug=True), lambda: flask(DEBUG=True)]
)
def test_debug_mode_is_an_error_in_production(make: Any) -> None:
    """It shows source and variables."""
    assert found(report_of(make(), **PRODUCTION), "debug-mode").severity == "error"
    assert report_of(make()).findings == ()


@pytest.mark.parametrize("secret", ["secret", "dev", "changeme-changeme", ""])
def test_a_weak_session_secret_is_an_error_in_production(secret: str) -> None:
    """Whoever guesses it can sign in as anybody. The value is never told."""
    options = {"secret_key": secret, "https_only": True}
    finding = found(report_of(starlette(Middleware(SessionMiddleware, **options)), **PRODUCTION), "weak-secret")
    assert finding.severity == "error"
    assert len(secret) < 8 or secret not in finding.message
    assert report_of(starlette(Middleware(SessionMiddleware, **options))).findings == ()
    good = Middleware(SessionMiddleware, secret_key=GOOD, https_only=True)
    assert report_of(starlette(good), **PRODUCTION).findings == ()


@pytest.mark.parametrize(("secret", "count"), [("dev", 1), (b"dev", 1), (GOOD, 0), (GOOD.encode(), 0), (None, 0)])
def test_flasks_secret_key_is_looked_at(secret: Any, count: int) -> None:
    """Text or bytes; without one there are no sessions."""
    app = flask(SECRET_KEY=secret, SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax")
    assert codes(report_of(app, **PRODUCTION).findings) == ["weak-secret"] * count


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({}, "no Secure."),
        ({"https_only": True, "same_site": "none"}, "no SameSite."),
        ({"same_site": "none"}, "no Secure and no SameSite."),
        ({"https_only": True}, None),
    ],
)
def test_an_open_session_cookie_is_a_warning_in_production(options: dict[str, Any], missing: str | None) -> None:
    """It travels by HTTP, or with other sites' forms."""

    def app() -> Starlette:
        return starlette(Middleware(SessionMiddleware, secret_key=GOOD, **options))

    report = report_of(app(), **PRODUCTION)
    assert codes(report.findings) == (["session-cookie-open"] if missing else [])
    assert missing is None or report.findings[0].message.endswith(missing)
    assert report_of(app()).findings == ()


def test_flasks_session_cookie_is_looked_at() -> None:
    """Its defaults have neither."""
    finding = found(report_of(flask(SECRET_KEY=GOOD), **PRODUCTION), "session-cookie-open")
    assert finding.message == "The session cookie 'session' has no Secure and no SameSite."


def test_a_redirect_to_https_that_may_never_end_is_a_warning() -> None:
    """Unless a proxy is declared, whose word LaunchKit passes on to the app, or the server knows."""
    loop = "https-redirect-loop"

    def found_with(where: Surroundings | None = None, **settings: Any) -> bool:
        app = starlette(Middleware(HTTPSRedirectMiddleware))
        return loop in codes(report_of(app, where, **settings).findings)

    assert found_with(environment="production")
    assert not found_with(**PRODUCTION)
    assert not found_with(Surroundings({"DYNO": "web.1"}), environment="production", secret_key=GOOD)
    assert not found_with(Surroundings({"FORWARDED_ALLOW_IPS": "*"}), environment="production")
    assert not found_with()
    assert loop not in codes(report_of(starlette(), environment="production").findings)
