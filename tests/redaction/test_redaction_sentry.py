"""Nothing secret leaves with Sentry: no item of any envelope, whichever of kit and `sentry_sdk.init` comes first."""

from __future__ import annotations

import copy
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from hypothesis import given
from hypothesis import strategies as st
from sentry_sdk.attachments import Attachment
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.transport import Transport

from launchkit.redaction.engine import Redactor
from launchkit.redaction.sentry import install
from launchkit.redaction.sentry_payloads import redacted_headers, redacted_payload
from launchkit.settings import RedactionSettings

REDACTOR = Redactor(RedactionSettings(), mask_emails=True)
SHOP = Path(__file__).with_name("sentry_shop.py")
RUNS = [("no-kit", "default"), ("kit-first", "pii"), ("init-first", "default")]

CLEAN_EVENT: dict[str, Any] = {
    "event_id": "9ec79c33ec9942ab8353589fcb2e04dc",
    "level": "error",
    "platform": "python",
    "timestamp": "2026-01-02T03:04:05.678901Z",
    "release": "shop@1.2.3",
    "server_name": "web-1",
    "transaction": "/orders/{order_id}",
    "modules": {"django-secrets": "1.0.2", "pyjwt-token": "2.10.1"},
    "sdk": {"name": "sentry.python.fastapi", "version": "2.75.0"},
    "logentry": {"message": "order %s failed", "params": ["1234"], "formatted": "order 1234 failed"},
    "contexts": {
        "trace": {"trace_id": "771a43a4192642f0b136d5159a501700", "span_id": "a1b2c3d4e5f60718", "op": "http.server"},
        "runtime": {"name": "CPython", "version": "3.11.7"},
    },
    "exception": {
        "values": [
            {
                "type": "KeyError",
                "module": "builtins",
                "value": "'quantity'",
                "mechanism": {"type": "starlette", "handled": False},
                "stacktrace": {
                    "frames": [
                        {
                            "filename": "shop/token.py",
                            "abs_path": "/srv/shop/token.py",
                            "function": "read_token",
                            "module": "shop.token",
                            "lineno": 12,
                            "in_app": True,
                            "context_line": "    quantity = order['quantity']",
                            "vars": {"order": {"sku": "'A-1'"}},
                        }
                    ]
                },
            }
        ]
    },
    "breadcrumbs": {"values": [{"type": "log", "level": "info", "message": "cart opened", "category": "shop.auth"}]},
    "request": {"url": "https://shop.example/orders/7", "method": "GET", "headers": {"host": "shop.example"}},
    "tags": {"region": "eu"},
    "_meta": {"request": {"": {"len": 4}}},
}


class Broken(Redactor):
    """A redactor with a mistake in it."""

    def redact_data(self, value: object) -> object:
        raise RuntimeError(str(value))


BROKEN = Broken(RedactionSettings(), mask_emails=False)


class Captured(Transport):
    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.sent: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope)


def opaque() -> str:
    return secrets.token_hex(16) + "x7"


def known() -> str:
    return "_".join(("sk", "live", secrets.token_hex(14)))


def client(**options: Any) -> tuple[sentry_sdk.Client, Captured]:
    transport = Captured()
    dsn = f"https://{'a' * 32}@o1.ingest.sentry.io/1"
    return sentry_sdk.Client(dsn=dsn, transport=transport, default_integrations=False, **options), transport


def redact(payload: Any, kind: str = "event") -> Any:
    return redacted_payload(payload, kind, REDACTOR)


def kept_places(value: Any, *path: object) -> Iterator[tuple[tuple[object, ...], object]]:
    """Return what stands in a payload, and where, but for what the app may have said."""
    said = ("value", "context_line", "vars", "message", "formatted", "params", "url", "headers", "tags", "_meta")
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if key not in said:
                yield from kept_places(item, *path, key)
    else:
        yield path, value


@pytest.fixture
def installed() -> Iterator[None]:
    remove = install(REDACTOR)
    yield
    remove()


@pytest.fixture(scope="module")
def runs() -> dict[tuple[str, str], dict[str, Any]]:
    """Run the app that has a secret in every place once for each order and option, all at the same time."""
    started = {
        run: subprocess.Popen([sys.executable, SHOP, *run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for run in RUNS
    }
    results = {run: (*process.communicate(timeout=60), process.returncode) for run, process in started.items()}
    assert all(code == 0 for *_, code in results.values()), results
    return {run: json.loads(out.splitlines()[-1]) for run, (out, _, _) in results.items()}


@pytest.mark.parametrize("run", RUNS[1:], ids="-".join)
def test_no_secret_leaves_a_fastapi_app(runs: dict[tuple[str, str], dict[str, Any]], run: tuple[str, str]) -> None:
    """Whichever of kit and init comes first, and also with personal data on, none of the planted secrets is sent."""
    assert runs[run]["planted"] >= 34
    assert runs[run]["leaks"] == []
    assert runs[run]["error"]


def test_the_app_would_leak_without_the_kit(runs: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The places are real: with Sentry's own scrubber nearly all of them come out."""
    assert len(runs["no-kit", "default"]["leaks"]) >= 30


def test_as_many_items_leave_with_the_kit_as_without(runs: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Redaction costs the app no error, transaction, log, metric, check-in or attachment."""
    assert {"event", "transaction", "log", "trace_metric", "check_in", "attachment"} <= set(runs[RUNS[0]]["types"])
    assert all(runs[run]["types"] == runs[RUNS[0]]["types"] for run in RUNS[1:])


def test_a_clean_event_is_the_same_object() -> None:
    """What holds no secret is sent byte for byte, and is not even copied."""
    before = copy.deepcopy(CLEAN_EVENT)
    assert redact(CLEAN_EVENT) is CLEAN_EVENT
    assert before == CLEAN_EVENT


def test_structure_survives_redaction() -> None:
    """Identifiers, times, types and stacks stay as they are, so that Sentry accepts and groups the event."""
    event = copy.deepcopy(CLEAN_EVENT)
    event["exception"]["values"][0]["value"] = f"password={opaque()}"
    event["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"]["password"] = opaque()
    redacted = redact(event)
    assert redacted is not event
    assert dict(kept_places(redacted)) == dict(kept_places(event))
    assert "_meta" not in redacted


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("session", {"sid": secrets.token_hex(16), "did": "42", "errors": 1, "attrs": {"release": "shop@1"}}),
        ("client_report", {"timestamp": 1.5, "discarded_events": [{"reason": "ratelimit_backoff", "quantity": 1}]}),
        ("profile_chunk", {"chunk_id": secrets.token_hex(16), "profile": {"frames": [{"function": "read_token"}]}}),
        ("check_in", {"check_in_id": secrets.token_hex(16), "monitor_slug": "nightly-token", "status": "ok"}),
        ("span", {"items": [{"trace_id": secrets.token_hex(16), "span_id": secrets.token_hex(8), "name": "GET /"}]}),
    ],
)
def test_identifiers_of_every_kind_of_item_are_kept(kind: str, payload: dict[str, Any]) -> None:
    """Random identifiers are not taken for secrets, whatever their keys are called."""
    assert redact(payload, kind) is payload


def test_the_app_s_event_is_not_changed() -> None:
    """Redaction copies: what the app or a hook of its own still holds stays as it was."""
    event = {"extra": {"password": opaque()}, "logentry": {"message": "key %s", "params": [known()]}}
    before = copy.deepcopy(event)
    assert redact(event) != before
    assert event == before


def test_clients_made_before_and_after_are_redacted() -> None:
    """The envelope is the waist: no client and no transport gets past it, whatever the order."""
    secret = known()
    early, early_transport = client()
    remove = install(REDACTOR)
    late, late_transport = client()
    for one in (early, late):
        one.capture_event({"message": f"paid with {secret}"})
    remove()
    for transport in (early_transport, late_transport):
        assert transport.sent
        assert secret not in transport.sent[0].serialize().decode()
        assert secret not in str(transport.sent[0].get_event())


def test_the_app_s_own_hook_runs_first_and_sees_everything(installed: None) -> None:
    """`before_send` belongs to the app: it gets the event as it is, and what it adds is redacted, too."""
    secret, added, seen = known(), opaque(), []

    def before_send(event: Any, hint: Any) -> Any:
        seen.append(event["message"])
        event["extra"] = {"password": added}
        return event

    one, transport = client(before_send=before_send)
    one.capture_event({"message": f"paid with {secret}"})
    assert seen == [f"paid with {secret}"]
    sent = transport.sent[0].serialize().decode()
    assert secret not in sent
    assert added not in sent


def test_redaction_ends_with_its_installation() -> None:
    """Afterwards the constructors are Sentry's own again."""
    before = (Envelope.__init__, Item.__init__)
    remove = install(REDACTOR)
    assert before != (Envelope.__init__, Item.__init__)
    remove()
    remove()
    assert before == (Envelope.__init__, Item.__init__)


def test_the_newest_installation_is_at_work() -> None:
    """A second kit takes over, and hands back when it ends."""
    word = opaque()
    remove_first = install(REDACTOR)
    remove_second = install(Redactor(RedactionSettings(), mask_emails=False, values=[word]))
    hidden = Item(PayloadRef(json={"message": word})).get_bytes()
    remove_second()
    shown = Item(PayloadRef(json={"message": word})).get_bytes()
    remove_first()
    assert word.encode() not in hidden
    assert word.encode() in shown


def test_a_payload_is_redacted_when_it_is_first_read() -> None:
    """The thread that met the error only wraps it; the transport's thread does the work."""

    class Counted(Redactor):
        calls = 0

        def redact_data(self, value: object) -> object:
            Counted.calls += 1
            return super().redact_data(value)

    remove = install(Counted(RedactionSettings(), mask_emails=False))
    item = Item(PayloadRef(json={"message": "hello"}), type="event")
    before = Counted.calls
    assert item.get_event() == {"message": "hello"}
    remove()
    assert before == 0
    assert Counted.calls > 0
    with pytest.raises(AttributeError):
        _ = item.payload.unknown  # type: ignore[attr-defined]  # that is the point


def test_a_payload_may_be_replaced_before_it_is_read(installed: None) -> None:
    """Sentry's payloads can be assigned to; ours, too."""
    item = Item(PayloadRef(json={"message": known()}), type="event")
    item.payload.json = {"message": "other"}
    assert json.loads(item.get_bytes()) == {"message": "other"}


@pytest.mark.parametrize("make", [Attachment, None])
def test_text_attachments_are_redacted(installed: None, tmp_path: Path, make: Any) -> None:
    """An attachment is text unless it has a zero byte, given as bytes or as a file; its name may hold a secret, too."""
    secret, name = opaque(), known()
    path = tmp_path / f"{name}.env"
    path.write_text(f"NOTE=Grüße\nAPI_KEY={secret}\n", encoding="utf-8")
    attachment = Attachment(path=str(path)) if make is None else Attachment(path.read_bytes(), path.name)
    item = attachment.to_envelope_item()
    sent = item.serialize().decode()
    assert secret not in sent
    assert name not in sent
    assert "NOTE=Grüße" in sent


def test_binary_attachments_stay_as_they_are(installed: None) -> None:
    """A picture is not text, and would be destroyed."""
    content = b"\x89PNG\0password=" + opaque().encode()
    assert Attachment(content, "picture.png").to_envelope_item().get_bytes() == content


@pytest.mark.parametrize("clean", [True, False])
def test_items_that_are_serialised_already_are_redacted(installed: None, clean: bool) -> None:
    """A payload of bytes that is JSON is read as such."""
    secret = opaque()
    content = json.dumps({"extra": {"password": "" if clean else secret}}).encode()
    sent = Item(content, type="event").get_bytes()
    assert (sent == content) is clean
    assert secret.encode() not in sent


@pytest.mark.parametrize("start", ["", "{"])
def test_items_that_are_no_json_are_redacted_as_text(installed: None, start: str) -> None:
    """Nothing gets past because of its format."""
    secret = opaque()
    assert secret.encode() not in Item(f"{start}password={secret}", type="statsd").get_bytes()


def test_a_parameter_is_hidden_with_its_place_in_the_message() -> None:
    """`password=%s` gives its parameter away, which would be shown beside it; other parameters stay."""
    secret = opaque()
    entry = {"message": "user %s password=%s", "params": ["ann", secret], "formatted": f"user ann password={secret}"}
    redacted = redact({"logentry": entry})["logentry"]
    assert secret not in str(redacted)
    assert redacted["params"][0] == "ann"
    assert redacted["message"] == entry["message"]


def test_a_message_without_its_text_is_formatted_for_the_look() -> None:
    """Some integrations send template and parameters only."""
    secret = opaque()
    assert secret not in str(redact({"logentry": {"message": "password=%s", "params": [secret]}}))


def test_a_named_parameter_is_hidden_in_the_message() -> None:
    """A parameter called `token` is secret, and so is what stands for it in the message."""
    secret = opaque()
    entry = {"message": "got %(token)s", "params": {"token": secret, "to": ""}, "formatted": f"got {secret}"}
    redacted = redact({"logentry": entry})["logentry"]
    assert secret not in str(redacted)
    assert list(redacted["params"]) == ["token", "to"]
    assert redacted["formatted"].startswith("got ")


def test_templates_of_another_kind_are_left_alone() -> None:
    """A template that does not take its parameters costs nothing."""
    event = {"logentry": {"message": "100 %", "params": ["yes"]}}
    assert redact(event) is event


def log_item(body: str, **attributes: Any) -> dict[str, Any]:
    typed = {name: {"value": value, "type": type(value).__name__} for name, value in attributes.items()}
    return {"version": 2, "items": [{"timestamp": 1.5, "level": "info", "body": body, "attributes": typed}]}


def test_attributes_are_judged_by_their_names() -> None:
    """A secret name counts although the value stands one level below it, and the attribute stays a valid one."""
    secret = opaque()
    item = redact(log_item("hello", **{"db.password": secret, "tokens.total": 12345}), "log")["items"][0]
    assert secret not in str(item)
    assert item["attributes"]["db.password"]["type"] == "string"
    assert item["attributes"]["tokens.total"] == {"value": 12345, "type": "int"}


def test_a_number_under_a_secret_name_becomes_text() -> None:
    """The type that is told is that of the marker."""
    item = redact(log_item("hello", password=12345678), "log")["items"][0]
    assert item["attributes"]["password"]["type"] == "string"


def test_a_clean_log_is_the_same_object() -> None:
    """As events are."""
    log = log_item("order 7 paid", **{"sentry.message.parameter.0": 7, "code.function": "pay"})
    assert redact(log, "log") is log


def test_parameters_of_a_log_are_hidden_with_their_place_in_the_body() -> None:
    """As those of a message are."""
    secret = opaque()
    log = log_item(
        f"password={secret} for ann", **{"sentry.message.parameter.0": secret, "sentry.message.parameter.1": "ann"}
    )
    before = copy.deepcopy(log)
    item = redact(log, "log")["items"][0]
    assert secret not in str(item)
    assert item["attributes"]["sentry.message.parameter.1"]["value"] == "ann"
    assert log == before


def test_the_name_of_a_transaction_in_the_headers_is_redacted() -> None:
    """It travels with every envelope of its trace; the public key, the trace's id and the event's are kept."""
    secret = known()
    trace = {"trace_id": secrets.token_hex(16), "public_key": secrets.token_hex(16), "transaction": f"reset {secret}"}
    headers = {"event_id": secrets.token_hex(16), "trace": trace}
    redacted = redacted_headers(headers, REDACTOR)
    assert secret not in str(redacted)
    assert redacted["event_id"] == headers["event_id"]
    assert all(redacted["trace"][key] == trace[key] for key in ("trace_id", "public_key"))


def test_a_mistake_of_ours_costs_the_details_and_not_the_event() -> None:
    """What cannot be redacted is not shown; Sentry still gets the error, its type and where it was."""
    event = copy.deepcopy(CLEAN_EVENT) | {"extra": {"note": opaque()}}
    redacted = redacted_payload(event, "event", BROKEN)
    frame = redacted["exception"]["values"][0]["stacktrace"]["frames"][0]
    assert event["extra"]["note"] not in str(redacted)
    assert "[redacted:failed]" in str(redacted)
    assert redacted["event_id"] == event["event_id"]
    assert redacted["exception"]["values"][0]["type"] == "KeyError"
    assert (frame["filename"], frame["function"], frame["lineno"]) == ("shop/token.py", "read_token", 12)


@pytest.mark.parametrize("kind", ["log", "trace_metric", "span", "session", "unheard-of"])
def test_a_mistake_of_ours_shows_nothing_of_other_items(kind: str) -> None:
    """Batches keep their number of entries, for the header tells it."""
    secret = opaque()
    payload = log_item(secret, **{"sentry.message.parameter.0": secret, secret: secret})
    redacted = redacted_payload(payload, kind, BROKEN)
    assert secret not in str(redacted)
    if kind in ("log", "trace_metric", "span"):
        assert len(redacted["items"]) == 1


def test_a_mistake_of_ours_hides_headers_and_attachments() -> None:
    """Here, too, nothing is shown that has not been looked at."""
    secret = opaque()
    headers = {"event_id": "e", "trace": {"trace_id": "t", "transaction": secret}}
    assert redacted_headers(headers, BROKEN) == {"event_id": "e", "trace": {"trace_id": "t"}}
    remove = install(BROKEN)
    sent = Attachment(secret.encode(), "notes.txt").to_envelope_item().get_bytes()
    remove()
    assert sent == b"[redacted:failed]"


@given(
    where=st.sampled_from(
        ["extra", "tags", "user", "request", "message", "breadcrumbs", "spans", "threads", "anything"]
    ),
    shape=st.sampled_from(["text", "dict", "list", "pairs", "json"]),
    extra=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
)
def test_no_shape_lets_a_secret_through(where: str, shape: str, extra: Any) -> None:
    """Whatever the app puts where, the secret is gone, what is left can be sent, and a second look changes nothing."""
    secret = known()
    shapes: dict[str, Callable[[], Any]] = {
        "text": lambda: f"with {secret}",
        "dict": lambda: {"values": [{"deep": secret, "extra": extra}]},
        "list": lambda: [extra, secret],
        "pairs": lambda: [["x-note", secret]],
        "json": lambda: json.dumps({"note": secret}),
    }
    redacted = redact({where: shapes[shape](), "contexts": extra})
    assert secret not in json.dumps(redacted)
    assert redact(redacted) == redacted
