"""What is wrong with settings and surroundings is found, and what is right is not."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import pytest

from launchkit import Finding, LaunchKit, Settings
from launchkit.check.place import place_findings
from launchkit.check.surroundings import Surroundings

PRODUCTION = {"environment": "production", "trusted_proxies": "private"}
LOGIN = {"routes": {"login": "/login"}}
STRIPE = {"webhooks": {"sources": {"stripe": {"secrets": f"whsec_{secrets.token_hex(16)}"}}}}
GOOD = secrets.token_urlsafe(32)


def findings(where: Surroundings | None = None, **settings: Any) -> list[Finding]:
    made = Settings(**settings)
    rules = LaunchKit(Settings(**{**settings, "check": "warn"})).rate_limit.rules
    return list(place_findings(made, rules, where or Surroundings({})))


def codes(where: Surroundings | None = None, **settings: Any) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in findings(where, **settings)]


def command(text: str) -> Surroundings:
    return Surroundings({}, (("python", "-m", "pytest"), tuple(text.split())))


# --- workers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "workers"),
    [
        (Surroundings({}), 1),
        (Surroundings({"WEB_CONCURRENCY": "3"}), 3),
        (Surroundings({"WEB_CONCURRENCY": "many"}), 1),
        (Surroundings({"UVICORN_WORKERS": "2"}), 2),
        (Surroundings({"GUNICORN_CMD_ARGS": "--bind :80 --workers=5"}), 5),
        (command("/venv/bin/gunicorn -w 4 main:app"), 4),
        (command("/usr/bin/python3 /venv/bin/gunicorn -w4 main:app"), 4),
        (command("uvicorn main:app --workers 2"), 2),
        (command("uvicorn main:app --workers=2"), 2),
        (command("uvicorn main:app --workers"), 1),
        (command("grep -w 4 file"), 1),
        (Surroundings({"WEB_CONCURRENCY": "8"}, (("uvicorn", "main:app", "--workers", "1"),)), 1),
    ],
)
def test_the_number_of_workers_is_read_off_the_server(where: Surroundings, workers: int) -> None:
    """From its command line, else from the environment."""
    assert where.workers() == workers


def test_the_surroundings_are_this_process_and_its_parent() -> None:
    """On Linux at least the own command line is known."""
    where = Surroundings.here()
    assert where.environ is os.environ
    assert where.command_lines[0] == tuple(sys.orig_argv)


def test_counting_in_memory_with_several_workers_is_found() -> None:
    """An error in production, where it was asked for; a warning in development, where it is the default."""
    several = Surroundings({"WEB_CONCURRENCY": "3"})
    found = ("memory-store-with-workers", "error")
    assert found in codes(several, **PRODUCTION, **LOGIN, rate_limit={"store": "memory"}, secret_key=GOOD)
    assert codes(several, **LOGIN) == [("memory-store-with-workers", "warning")]
    assert "every limit lets 3 times as many through" in findings(several, **LOGIN)[0].message


def test_several_workers_that_count_together_are_right() -> None:
    """In the machine's table, in Redis, or with nothing to count."""
    several = Surroundings({"WEB_CONCURRENCY": "3"})
    assert codes(several, **PRODUCTION, **LOGIN, secret_key=GOOD) == []
    assert codes(several, **LOGIN, rate_limit={"store": "machine"}) == []
    assert codes(several, **LOGIN, redis_url="redis://cache/0") == []
    assert codes(several) == []
    assert codes(several, **LOGIN, rate_limit={"enabled": False}) == []
    assert codes(**LOGIN) == []


CACHED: dict[str, object] = {"read_cache": {"rules": {"all": {"paths": "/items/*"}}}}


def test_invalidations_that_stay_in_one_worker_are_found(tmp_path: Path) -> None:
    """Several workers, rules, and neither a table that they share nor Redis."""
    several = Surroundings({"WEB_CONCURRENCY": "3"})
    assert codes(several, **CACHED) == [("invalidation-in-one-worker", "warning")]
    assert codes(several, **PRODUCTION, **CACHED, secret_key=GOOD, data_dir=tmp_path / "data") == []
    assert codes(several, **CACHED, rate_limit={"store": "machine"}, data_dir=tmp_path / "data") == []
    assert codes(several, **CACHED, redis_url="redis://cache/0") == []
    assert codes(several, read_cache={**CACHED["read_cache"], "enabled": False}) == []
    assert codes(**CACHED) == []


def test_workers_without_a_place_to_share_a_table_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or without a system that has such tables."""
    several = Surroundings({"WEB_CONCURRENCY": "2"})
    (tmp_path / "file").write_text("")
    machine = {**LOGIN, "rate_limit": {"store": "machine"}, "data_dir": tmp_path / "file" / "data"}
    monkeypatch.setattr("launchkit.stores.table.places", lambda data_dir: (data_dir / "rate-limits",))
    assert codes(several, **machine) == [("memory-store-with-workers", "warning")]
    assert codes(several, **{**machine, "data_dir": tmp_path / "data"}) == []
    monkeypatch.setitem(sys.modules, "launchkit.stores.table", None)
    assert codes(several, **{**machine, "data_dir": tmp_path / "data"}) == [("memory-store-with-workers", "warning")]


# --- where things are kept -------------------------------------------------------------------------------------------


def test_a_webhook_source_without_a_secret_is_an_error_in_production() -> None:
    """The variable is named; in development it is no mistake yet."""
    source = {"webhooks": {"sources": {"billing": {"scheme": "standard"}}}}
    (finding,) = findings(**PRODUCTION, **source)
    assert (finding.code, finding.severity) == ("webhook-without-secret", "error")
    assert finding.remedy == "Set LAUNCHKIT_WEBHOOKS__SOURCES__BILLING__SECRETS."
    assert codes(**source) == []
    assert codes(**PRODUCTION, webhooks={"enabled": False, **source["webhooks"]}) == []


def test_a_disk_that_is_thrown_away_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An error where webhooks are stored, a warning where only a key is kept there."""
    monkeypatch.setenv("DYNO", "web.1")
    assert codes(**PRODUCTION, **STRIPE) == [("ephemeral-data-dir", "error")]
    assert codes(**PRODUCTION, **LOGIN) == [("ephemeral-data-dir", "warning")]
    assert codes(**PRODUCTION, **LOGIN, secret_key=GOOD) == []
    assert codes(**PRODUCTION, **STRIPE, data_dir=tmp_path / "volume") == []
    assert codes(**PRODUCTION) == []


def test_a_data_dir_that_cannot_be_written_to_is_found(tmp_path: Path) -> None:
    """Here a file stands where the folder would be made."""
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "data"
    assert codes(**PRODUCTION, **STRIPE, data_dir=below) == [("data-dir-not-writable", "error")]
    assert codes(**PRODUCTION, **LOGIN, data_dir=below) == [("data-dir-not-writable", "warning")]
    assert codes(**PRODUCTION, data_dir=below) == []
    assert codes(**PRODUCTION, **STRIPE, data_dir=tmp_path / "data") == []
    assert not (tmp_path / "data").exists()


def test_several_machines_without_a_secret_key_are_an_error_in_production() -> None:
    """Each would make one of its own."""
    assert codes(**PRODUCTION, redis_url="redis://cache/0") == [("machines-without-secret-key", "error")]
    assert codes(**PRODUCTION, redis_url="redis://cache/0", secret_key=GOOD) == []
    assert codes(redis_url="redis://cache/0") == []


# --- what is in front ------------------------------------------------------------------------------------------------


def test_an_undeclared_proxy_is_a_warning_in_production() -> None:
    """Unless one is declared, or the platform is known."""
    assert codes(environment="production") == [("unresolved-proxy", "warning")]
    assert codes(**PRODUCTION) == []
    assert codes(Surroundings({"RENDER": "true"}), environment="production") == []
    assert codes() == []


@pytest.mark.parametrize(
    "where",
    [
        Surroundings({"FORWARDED_ALLOW_IPS": "10.0.0.1"}),
        command("uvicorn main:app --forwarded-allow-ips 10.0.0.1"),
        command("uvicorn main:app --ssl-keyfile key.pem"),
        command("gunicorn main:app --certfile cert.pem"),
    ],
)
def test_https_that_nothing_can_tell_is_a_warning(where: Surroundings) -> None:
    """Behind a proxy that ends TLS, browsers would be redirected for ever."""
    url = {"environment": "production", "edge": {"url": "https://example.com"}}
    loop = ("https-redirect-loop", "warning")
    assert loop in codes(**url)
    assert loop not in codes(where, **url)
    assert loop not in codes(**url, trusted_proxies="private")
    assert loop not in codes(environment="production", edge={"url": "http://example.com"})
    assert loop not in codes(edge=url["edge"])


# --- what belongs to development -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["secret_key", "token"])
@pytest.mark.parametrize(
    "weak", ["secret", "dev", "changeme", "please-CHANGE-ME-now-1234", "your-secret-goes-here", "x" * 40]
)
def test_a_default_or_short_secret_is_an_error_in_production(name: str, weak: str) -> None:
    """Its value is never told."""
    (finding,) = findings(**PRODUCTION, **{name: weak})
    assert (finding.code, finding.severity) == ("weak-secret", "error")
    assert finding.message.startswith(f"LAUNCHKIT_{name.upper()} ")
    assert weak not in finding.message
    assert codes(**{name: weak}) == []
    assert codes(**PRODUCTION, **{name: GOOD}) == []


@pytest.mark.parametrize(
    ("settings", "environ", "name"),
    [
        ({"redis_url": "redis://localhost:6379/0", "secret_key": GOOD}, {}, "LAUNCHKIT_REDIS_URL"),
        ({"edge": {"url": "http://127.0.0.1:8000"}}, {}, "LAUNCHKIT_EDGE__URL"),
        ({"edge": {"cors": {"origins": "http://localhost:3000"}}}, {}, "LAUNCHKIT_EDGE__CORS__ORIGINS"),
        ({}, {"DATABASE_URL": "postgresql://me:pw@localhost/app"}, "DATABASE_URL"),
        ({}, {"APP_DB_DSN": "mysql://127.0.0.1/app"}, "APP_DB_DSN"),
        ({}, {"CELERY_BROKER_URL": "redis://[::1]:6379"}, "CELERY_BROKER_URL"),
    ],
)
def test_an_address_on_this_machine_is_a_warning_in_production(
    settings: dict[str, Any], environ: dict[str, str], name: str
) -> None:
    """The variable is named, not what it holds."""
    (finding,) = findings(Surroundings(environ), **PRODUCTION, **settings)
    assert (finding.code, finding.severity) == ("localhost-address", "warning")
    assert finding.message.startswith(f"{name} ")
    assert "pw" not in repr(finding)
    assert codes(Surroundings(environ), **settings) == []


@pytest.mark.parametrize("value", ["postgresql://db.internal/app", "not a url", "http://[broken", ""])
def test_an_address_elsewhere_is_right(value: str) -> None:
    """So is what is no address at all, and a variable that is not about a database."""
    assert codes(Surroundings({"DATABASE_URL": value, "PUBLIC_URL": "http://localhost"}), **PRODUCTION) == []


@pytest.mark.parametrize("key", ["sk_test_", "pk_test_", "rk_test_", "whsec_test_"])
def test_a_key_for_tests_is_a_warning_in_production(key: str) -> None:
    """In the environment and in the settings; named, never told."""
    value = key + secrets.token_hex(12)
    (finding,) = findings(Surroundings({"STRIPE_KEY": value}), **PRODUCTION)
    assert (finding.code, finding.severity) == ("test-key", "warning")
    assert finding.message.startswith("STRIPE_KEY ")
    assert value not in repr(finding)
    assert codes(Surroundings({"STRIPE_KEY": value})) == []
    assert codes(Surroundings({"STRIPE_KEY": value.replace("test", "live")}), **PRODUCTION) == []
    if key == "whsec_test_":
        source = {"webhooks": {"sources": {"stripe": {"secrets": value}}}}
        assert "LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS" in findings(**PRODUCTION, **source)[0].message
