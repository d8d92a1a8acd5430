"""A FastAPI app with Sentry in which every place holds a secret; run as a program, it prints which of them came out.

Arguments: `kit-first`, `init-first` or `no-kit`, and `pii` or `default`.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import warnings
from typing import Any

from launchkit.redaction.engine import Redactor
from launchkit.redaction.packages import install
from launchkit.settings import RedactionSettings

ORDER, PERSONAL = sys.argv[1:3]
PLANTED: dict[str, str] = {}

warnings.simplefilter("ignore")  # Sentry's own, about options that it will do without one day


def opaque(place: str) -> str:
    """Return a secret that only its surroundings give away."""
    PLANTED[place] = secrets.token_hex(16) + "x7"
    return PLANTED[place]


def known(place: str) -> str:
    """Return a secret that can be told by its look."""
    PLANTED[place] = "_".join(("sk", "live", secrets.token_hex(14)))
    return PLANTED[place]


def put_kit() -> None:
    install(Redactor(RedactionSettings(), mask_emails=True))


if ORDER == "kit-first":
    put_kit()

import sentry_sdk  # noqa: E402  # the order of things is what is tested
from fastapi import FastAPI, Request  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from sentry_sdk.crons import capture_checkin  # noqa: E402
from sentry_sdk.envelope import Envelope  # noqa: E402
from sentry_sdk.transport import Transport  # noqa: E402

SENT: list[bytes] = []


class Captured(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        SENT.append(envelope.serialize())


OPTIONS: dict[str, Any] = {
    "dsn": f"https://{'a' * 32}@o1.ingest.sentry.io/1",
    "transport": Captured,
    "traces_sample_rate": 1.0,
    "enable_logs": True,
    **({} if PERSONAL == "default" else {"send_default_pii": PERSONAL == "pii"}),
}

sentry_sdk.init(**OPTIONS)
if ORDER == "init-first":
    put_kit()

app = FastAPI()
log = logging.getLogger("shop.orders")


class Gateway:
    def __repr__(self) -> str:
        return f"Gateway(api_key='{PLANTED['representation']}')"


def refuse(password: str, config: object, headers: object, body: object, gateway: Gateway) -> None:
    """Raise with everything in sight."""
    try:
        raise ValueError(f"password={opaque('chained exception')}")
    except ValueError as error:
        raise RuntimeError(f"cannot open redis://:{opaque('exception')}@cache") from error


@app.post("/pay")
async def pay(request: Request) -> None:
    body = await request.json()
    password = opaque("local variable")
    config = {"db": {"password": opaque("local dictionary")}, "url": f"postgres://shop:{opaque('local URL')}@db/x"}
    headers = [(b"authorization", f"Bearer {opaque('local headers')}".encode())]
    sentry_sdk.set_tag("token", opaque("tag's name"))
    sentry_sdk.set_tag("note", known("tag's text"))
    sentry_sdk.set_context("billing", {"api_key": opaque("context")})
    sentry_sdk.set_extra("debug", f"Authorization: Bearer {opaque('extra text')}")
    sentry_sdk.set_extra("nested", {"client_secret": opaque("extra data")})
    sentry_sdk.set_user({"id": "42", "session_token": opaque("user")})
    sentry_sdk.add_breadcrumb(message=f"login with password={opaque('breadcrumb message')}", category="auth")
    url = f"https://api.example/v1?access_token={opaque('breadcrumb URL')}"
    sentry_sdk.add_breadcrumb(type="http", data={"url": url, "secret": opaque("breadcrumb data")})
    log.info("fetching with key %s", known("breadcrumb of a log record"))
    log.warning("using password=%s", opaque("log argument"))
    log.error("api_key=%s refused", opaque("parameter of a logged error"), extra={"auth_token": opaque("log extra")})
    sentry_sdk.capture_message(f"paid with {known('captured message')}")
    with sentry_sdk.start_span(op="http.client", name=f"GET https://u:{opaque('span name')}@api.example/") as span:
        span.set_data("url.query", f"page=1&token={opaque('span query')}")
        span.set_data("http.request.header.authorization", f"Bearer {opaque('span header')}")
        span.set_tag("api_key", opaque("span tag"))
    attributes = {"db.password": opaque("log attribute")}
    sentry_sdk.logger.info("signed in with {token}", token=opaque("named log parameter"), attributes=attributes)
    sentry_sdk.metrics.count("orders", 1, attributes={"api_key": opaque("metric attribute")})
    opaque("representation")
    refuse(password, config, headers, body, Gateway())


@app.get("/")
async def home() -> None:
    sentry_sdk.get_current_scope().set_transaction_name(f"reset {known('name of a transaction')}")


def use() -> None:
    sys.argv.append(f"--password={opaque('command line')}")
    attachment = f"API_KEY={opaque('attachment')}".encode()
    sentry_sdk.get_global_scope().add_attachment(bytes=attachment, filename=".env")
    client = TestClient(app, raise_server_exceptions=False, base_url="http://shop.example")
    client.cookies.set("sessionid", opaque("cookie"))
    client.cookies.set("csrftoken", opaque("second cookie"))
    client.post(
        f"/pay?access_token={opaque('query string')}&page=1",
        headers={
            "Authorization": f"Bearer {opaque('authorization header')}",
            "Proxy-Authorization": f"Basic {opaque('proxy header')}",
            "X-Api-Key": opaque("key header"),
        },
        json={"password": opaque("body"), "note": known("text in the body")},
    )
    client.get("/")
    with sentry_sdk.start_transaction(name=f"nightly {known('name in the headers of an envelope')}", op="task"):
        sentry_sdk.capture_message("done")
    capture_checkin(monitor_slug="nightly", status="ok")
    sentry_sdk.get_client().close()


def types() -> dict[str, int]:
    counts: dict[str, int] = {}
    for envelope in SENT:
        for item in Envelope.deserialize(envelope).items:
            counts[str(item.type)] = counts.get(str(item.type), 0) + 1
    return counts


if __name__ == "__main__":
    use()
    whole = b"".join(SENT).decode()
    leaks = [place for place, secret in PLANTED.items() if secret in whole]
    result = {"planted": len(PLANTED), "leaks": leaks, "types": types(), "error": "RuntimeError" in whole}
    sys.stdout.write(json.dumps(result))
