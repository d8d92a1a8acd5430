"""`launchkit webhooks send`: a signed sample for the app that runs on this machine."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from command_world import run
from tests.support.servers import free_port, serving, wait_until

from launchkit.command import main
from launchkit.command.webhooks.posting import Address
from launchkit.webhooks.schemes.providers import SCHEMES, SENDERS
from launchkit.webhooks.schemes.scheme import Message, Refused, Verified

Capture = pytest.CaptureFixture[str]
STRIPE = "LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS"


def new_secret() -> str:
    return f"whsec_{secrets.token_hex(16)}"


class App(ThreadingHTTPServer):
    """Takes posts in and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.status = 202
        self.content = b'{"status":"accepted"}\n'
        self.received: list[tuple[str, bytes, dict[bytes, bytes]]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: App

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower().encode(): value.encode() for name, value in self.headers.items()}
        self.server.received.append((self.path, body, headers))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_request(self, *arguments: object) -> None:
        pass


@pytest.fixture(name="app")
def _app() -> Iterator[App]:
    with App() as app:
        thread = threading.Thread(target=app.serve_forever, args=(0.01,))
        thread.start()
        yield app
        app.shutdown()
        thread.join()


def judge(app: App, scheme: str, secret: str, url: str = "") -> Verified | Refused:
    """Return what somebody who has the secret makes of the last post."""
    _, body, headers = app.received[-1]
    chosen = SCHEMES[SENDERS[scheme]]
    verdict = chosen.verify(
        Message("POST", url, b"", headers.get, body, time.time(), 300.0), [chosen.parse_secret(secret)]
    )
    assert isinstance(verdict, Verified | Refused)
    return verdict


@pytest.mark.parametrize("source", sorted(SENDERS))
def test_every_known_sender_has_a_sample_that_verifies(
    source: str, app: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first secret of the settings, on the source's path; what is told is what the app will see."""
    secret = new_secret()
    monkeypatch.setenv(f"LAUNCHKIT_WEBHOOKS__SOURCES__{source.upper()}__SECRETS", f"{secret},{new_secret()}")
    monkeypatch.setenv("LAUNCHKIT_EDGE__URL", "https://shop.example")
    assert main(["webhooks", "send", source, "--to", app.address]) == 0
    verdict = judge(app, source, secret, f"https://shop.example/webhooks/{source}")
    assert isinstance(verdict, Verified)
    assert verdict.event
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:2] == [
        f"sent    {source}: {verdict.event}, id {verdict.dedupe_key}",
        f"to      {app.address}/webhooks/{source}",
    ]
    assert lines[2].startswith("answer  202 Accepted, after ")
    assert lines[3:] == ['{"status":"accepted"}']
    assert (err, secret in out) == ("", False)


def test_the_event_path_scheme_and_mount_are_as_asked(
    app: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event by argument, the path and the scheme by the settings, the mount by the address."""
    secret = new_secret()
    Path(".env").write_text(
        f"LAUNCHKIT_WEBHOOKS__SOURCES__SHOP__SECRETS={secret}\n"
        "LAUNCHKIT_WEBHOOKS__SOURCES__SHOP__SCHEME=stripe\n"
        "LAUNCHKIT_WEBHOOKS__SOURCES__SHOP__PATH=/hooks/shop\n"
    )
    assert main(["webhooks", "send", "shop", "customer.created", "--to", f"{app.address}/api/"]) == 0
    assert app.received[-1][0] == "/api/hooks/shop"
    verdict = judge(app, "stripe", secret)
    assert isinstance(verdict, Verified)
    assert verdict.event == "customer.created"


def test_a_body_of_ones_own_is_posted_as_it_is(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file; the signature covers its bytes."""
    secret = new_secret()
    monkeypatch.setenv(STRIPE, secret)
    Path("event.json").write_bytes(b'{"id": "evt_mine",  "type":"x"}\n')
    assert main(["webhooks", "send", "stripe", "--body", "event.json", "--to", app.address]) == 0
    assert app.received[-1][1] == b'{"id": "evt_mine",  "type":"x"}\n'
    assert judge(app, "stripe", secret) == Verified("evt_mine", "x")


def test_a_body_can_come_from_standard_input(app: App) -> None:
    """As `-`; without an event or an id it is told what the app will see."""
    result = run(
        "webhooks",
        "send",
        "meta",
        "--body",
        "-",
        "--to",
        app.address,
        stdin="{}",
        LAUNCHKIT_WEBHOOKS__SOURCES__META__SECRETS=new_secret(),
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert app.received[-1][1] == b"{}"
    assert result.stdout.startswith("sent    meta: no event, id 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c0")


def test_what_is_no_delivery_is_told(app: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake, or a body that the app will refuse for what it says itself."""
    monkeypatch.setenv("LAUNCHKIT_WEBHOOKS__SOURCES__SLACK__SECRETS", new_secret())
    monkeypatch.setenv("LAUNCHKIT_WEBHOOKS__SOURCES__LINEAR__SECRETS", new_secret())
    Path("slack.json").write_text('{"type": "url_verification", "challenge": "abc"}')
    Path("linear.json").write_text('{"webhookTimestamp": 1000}')
    for source, told in (("slack", "a handshake"), ("linear", "what will be refused as expired")):
        assert main(["webhooks", "send", source, "--body", f"{source}.json", "--to", app.address]) == 0
        assert capsys.readouterr().out.startswith(f"sent    {source}: {told}\n")


def test_a_secret_can_come_from_another_variable(app: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """For one that the settings do not have here; empty, missing or malformed it is refused, and never shown."""
    secret = new_secret()
    monkeypatch.setenv("OTHER", secret)
    assert main(["webhooks", "send", "stripe", "--secret-from", "OTHER", "--to", app.address]) == 0
    assert isinstance(judge(app, "stripe", secret), Verified)
    capsys.readouterr()
    for value, why in (
        (None, "there is no environment variable OTHER, or nothing in it"),
        ("", "there is no environment variable OTHER, or nothing in it"),
        ("sk_live_1", "the secret is a Stripe API key: the endpoint's signing secret starts with whsec_"),
    ):
        monkeypatch.delenv("OTHER") if value is None else monkeypatch.setenv("OTHER", value)
        assert main(["webhooks", "send", "stripe", "--secret-from", "OTHER", "--to", app.address]) == 2
        assert capsys.readouterr() == ("", f"launchkit: {why}\n")


def test_a_bad_signature_should_be_refused(app: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 0 for the 401 that it should get, and 1 for an app that takes it."""
    secret = new_secret()
    monkeypatch.setenv(STRIPE, secret)
    arguments = ["webhooks", "send", "stripe", "--bad-signature", "--to", app.address]
    assert main(arguments) == 1
    assert judge(app, "stripe", secret) == Refused("mismatch")
    app.status = 401
    capsys.readouterr()
    assert main(arguments) == 0
    assert "The app does not know" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, f"The app does not know this signature: has it the secret that is in {STRIPE} here?"),
        (404, "The app has nothing at /webhooks/stripe: give stripe a secret in its settings, or a handler."),
        (413, "The app takes no body of that size from stripe."),
        (503, "The app cannot take it in now; what it answers says why."),
        (500, '{"status":"accepted"}'),
        (307, '{"status":"accepted"}'),
    ],
)
def test_any_other_answer_is_a_failure(
    status: int, advice: str, app: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 1, with advice where there is one."""
    monkeypatch.setenv(STRIPE, new_secret())
    app.status = status
    assert main(["webhooks", "send", "stripe", "--to", app.address]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == advice


@pytest.mark.parametrize(
    ("content", "shown"), [(b"", []), (b"\x1b[2J", ["4 bytes that are no text"]), (b"fine\n\n", ["fine"])]
)
def test_an_answer_cannot_move_the_cursor(
    content: bytes, shown: list[str], app: App, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text is shown, anything else is counted."""
    monkeypatch.setenv(STRIPE, new_secret())
    app.content = content
    assert main(["webhooks", "send", "stripe", "--to", app.address]) == 0
    assert capsys.readouterr().out.splitlines()[3:] == shown


def test_an_app_that_does_not_run_is_told(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address that was tried; exit status 1, nothing was sent."""
    monkeypatch.setenv(STRIPE, new_secret())
    address = f"http://127.0.0.1:{free_port()}"
    assert main(["webhooks", "send", "stripe", "--to", address]) == 1
    why = f"no answer from {address} (Connection refused): is the app running there? --to says where"
    assert capsys.readouterr() == ("", f"launchkit: {why}\n")


def test_what_does_not_speak_http_is_told(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another program on that port."""
    monkeypatch.setenv(STRIPE, new_secret())
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["webhooks", "send", "stripe", "--to", f"http://127.0.0.1:{listening.getsockname()[1]}"]) == 1
        thread.join()
    assert "220 mail.example ESMTP): is the app running there?" in capsys.readouterr().err


def test_a_source_without_a_secret_is_offered_one(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one each time, that every scheme takes, with the variable to set; exit status 2."""
    offers = set()
    for source in sorted(SENDERS):
        assert main(["webhooks", "send", source]) == 2
        out, err = capsys.readouterr()
        told, _, offer = err.strip().rpartition(" ")
        variable = f"LAUNCHKIT_WEBHOOKS__SOURCES__{source.upper()}__SECRETS"
        assert (out, told) == (
            "",
            f"launchkit: {source} has no secret: set {variable}, for the app too; one for development:",
        )
        assert SCHEMES[SENDERS[source]].parse_secret(offer)
        offers.add(offer)
    assert len(offers) == len(SENDERS)


def test_a_source_that_nobody_knows_is_told(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """With those that are known; exit status 2."""
    monkeypatch.setenv("LAUNCHKIT_WEBHOOKS__SOURCES__MY_SHOP__SCHEME", "stripe")
    assert main(["webhooks", "send", "strpe"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(
        "launchkit: there is no source 'strpe' in the settings, nor is it known by name as these are: "
    )
    assert ", my_shop, " in err


def test_a_body_that_cannot_be_read_is_told(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2."""
    monkeypatch.setenv(STRIPE, new_secret())
    assert main(["webhooks", "send", "stripe", "--body", "absent.json"]) == 2
    assert capsys.readouterr() == ("", "launchkit: absent.json cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:8000", True),
        ("https://localhost:8443/api", True),
        ("http://192.168.1.2", False),
        ("http://example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1@example.com", False),
    ],
)
def test_another_machine_is_sent_to_only_on_request(
    address: str, is_loopback: bool, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample in somebody's production is a mistake: exit status 2 without `--yes`."""
    assert Address.parse(address).is_loopback == is_loopback
    if not is_loopback:
        assert main(["webhooks", "send", "stripe", "--to", address]) == 2
        assert capsys.readouterr() == ("", f"launchkit: {address} is not this machine: --yes sends it all the same\n")
        assert main(["webhooks", "send", "stripe", "--to", address, "--yes"]) == 2  # and goes on
        assert "stripe has no secret" in capsys.readouterr().err


APP = """
from typing import Any
from fastapi import FastAPI
from launchkit import Delivery, LaunchKit, Settings

class Own:
    def verify(self, message: Any, secrets: Any) -> Any: ...

app = FastAPI()
own = {"scheme": Own(), "secrets": ["sixteen letters!"]}
kit = LaunchKit(Settings(webhooks={"sources": {"stripe": {"path": "/paid"}, "own": own}}))
kit.install(app)

@kit.webhook("stripe")
def paid(delivery: Delivery) -> None:
    with open("handled", "a") as out:
        out.write(delivery.event + "\\n")
"""


def test_a_scheme_of_the_apps_own_cannot_be_signed_with(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the app knows how; exit status 2."""
    Path("own_shop.py").write_text(APP)
    monkeypatch.syspath_prepend(Path.cwd())
    assert main(["webhooks", "send", "own", "--app", "own_shop:app"]) == 2
    why = "own: a scheme of the app's own cannot be signed with from here"
    assert capsys.readouterr() == ("", f"launchkit: {why}\n")


@pytest.mark.real_server
def test_a_sample_reaches_the_handler_of_a_running_app(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent with the app's own settings, accepted, handled, and found in the inbox under the id that was told."""
    Path("sent_shop.py").write_text(APP)
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.setenv(STRIPE, new_secret())
    with serving(["uvicorn", "sent_shop:app", "--port", "{port}"], tmp_path, {}) as server:
        to = ["--app", "sent_shop:app", "--to", f"http://127.0.0.1:{server.port}"]
        assert main(["webhooks", "send", "stripe", "invoice.paid", *to]) == 0
        key = f"stripe:{capsys.readouterr().out.splitlines()[0].rpartition(' ')[2]}"
        assert main(["webhooks", "send", "stripe", "--bad-signature", *to]) == 0
        assert "answer  401 Unauthorized" in capsys.readouterr().out
        wait_until(Path("handled").exists)
    assert Path("handled").read_text() == "invoice.paid\n"
    assert main(["webhooks", "show", key, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
