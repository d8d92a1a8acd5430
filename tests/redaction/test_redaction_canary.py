"""A canary is sent through every channel of the process: what shows it is reported, and nothing is sent outward."""

from __future__ import annotations

import contextlib
import io
import logging
import logging.handlers
import queue
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import sentry_sdk
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.transport import Transport

from launchkit import LaunchKit, Settings
from launchkit.check.selfcheck import Report, SelfCheck
from launchkit.check.surroundings import Surroundings
from launchkit.pipeline.clock import SystemClock
from launchkit.redaction import canary_telemetry, hooks, logs, packages
from launchkit.redaction.canary import _CANARIES, Leak, Proof, plant
from launchkit.redaction.engine import Redactor
from launchkit.settings import RedactionSettings
from launchkit.testing import assert_no_secret_leaks

SENT: list[object] = []
"""What a handler or transport was given to send outward."""


@pytest.fixture
def ends() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def nothing_is_sent_outward() -> Iterator[None]:
    SENT.clear()
    yield
    assert SENT == []


@pytest.fixture(scope="module")
def idle() -> Redactor:
    """Return a redactor that is not at work."""
    return Redactor(RedactionSettings(), mask_emails=False)


@pytest.fixture
def redactor(idle: Redactor, ends: contextlib.ExitStack) -> Redactor:
    """Return a redactor that is at work wherever one can be."""
    redactor = idle
    ends.callback(packages.install(redactor))
    ends.callback(logs.install(redactor, lambda: ""))
    ends.callback(hooks.install(redactor, prints=False))
    return redactor


@pytest.fixture
def logger(ends: contextlib.ExitStack) -> logging.Logger:
    return make_logger(ends, logging.Logger)


def make_logger(ends: contextlib.ExitStack, kind: type[logging.Logger]) -> logging.Logger:
    """Return a registered logger that passes nothing on, with a handler that must not emit."""
    name = f"canary.{secrets.token_hex(4)}"
    logger = kind(name)
    logger.propagate = False
    logger.addHandler(Silent())
    logging.root.manager.loggerDict[name] = logger
    ends.callback(logging.root.manager.loggerDict.pop, name)
    return logger


class Silent(logging.Handler):
    """A handler that must not be made to emit."""

    def emit(self, record: logging.LogRecord) -> None:
        SENT.append(record)


def leaks_of(proof: Proof, *words: str) -> list[Leak]:
    return [leak for leak in proof.leaks if all(word in leak.channel for word in words)]


# --- logging ---------------------------------------------------------------------------------------------------------


def test_a_process_in_which_redaction_is_at_work_shows_nothing(
    redactor: Redactor, logger: logging.Logger, ends: contextlib.ExitStack
) -> None:
    """Loggers that pass nothing on, handlers with formatters of their own, queues and buffers are all tried."""
    logger.handlers[0].setFormatter(logging.Formatter("%(canary)s %(message)s"))
    logger.addHandler(logging.handlers.MemoryHandler(9, target=Silent()))
    listener = logging.handlers.QueueListener(queue.Queue(), Silent())
    logger.addHandler(logging.handlers.QueueHandler(listener.queue))
    child = make_logger(ends, logging.Logger)
    child.parent, child.propagate = logger, True
    proof = plant(redactor)
    assert proof.leaks == ()
    assert " loggers, " in proof.channels
    assert plant(redactor) == proof


def test_what_was_there_is_there_afterwards(redactor: Redactor, logger: logging.Logger) -> None:
    """Loggers, hooks, standard error and the filters of warnings are as they were."""
    logger.disabled = True
    state = {**vars(logger)}, sys.stderr, sys.excepthook, warnings.showwarning, [*warnings.filters]
    plant(redactor)
    assert ({**vars(logger)}, sys.stderr, sys.excepthook, warnings.showwarning, [*warnings.filters]) == state


def test_without_redaction_every_logger_is_reported(idle: Redactor, logger: logging.Logger) -> None:
    """A redactor that is not installed leaves everything as it is; the report says nothing of the secrets."""
    proof = plant(idle)
    assert leaks_of(proof, logger.name) == [
        Leak(
            f"logger {logger.name!r}",
            "shows a password and a service's key and a registered value: redaction is not at work there",
        )
    ]
    assert leaks_of(proof, "root")


class OwnWay(logging.Logger):
    def callHandlers(self, record: logging.LogRecord) -> None:
        for handler in self.handlers:
            handler.handle(record)


class OtherEnd(logging.Logger):
    def callHandlers(self, record: logging.LogRecord) -> None:
        """Take records elsewhere."""


class Careful(logging.Logger):
    def callHandlers(self, record: logging.LogRecord) -> None:
        super().callHandlers(record)


@pytest.mark.parametrize(("kind", "leaks"), [(OwnWay, 1), (OtherEnd, 1), (Careful, 0)])
def test_a_logger_whose_class_replaces_call_handlers_is_reported(
    redactor: Redactor, ends: contextlib.ExitStack, kind: type[logging.Logger], leaks: int
) -> None:
    """Records that go round what redaction wraps are not redacted; those that go through it in the end are."""
    logger = make_logger(ends, kind)
    found = plant(redactor).leaks
    assert [leak.channel for leak in found] == [f"logger {logger.name!r}"] * leaks
    assert all("replaces handle or callHandlers" in leak.reason for leak in found)


def test_a_logger_that_replaces_its_own_call_handlers_is_reported_untried(
    redactor: Redactor, logger: logging.Logger
) -> None:
    """What is bound to the logger itself would send outward, so it is not called."""
    logger.callHandlers = SENT.append  # type: ignore[method-assign]
    assert [leak.channel for leak in plant(redactor).leaks] == [f"logger {logger.name!r}"]


def test_a_formatter_that_adds_secrets_is_reported(redactor: Redactor, logger: logging.Logger) -> None:
    """A formatter may know more than the record: what it makes is looked at, not what it is given."""

    class Remembering(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return _CANARIES[redactor].text

    logger.handlers[0].setFormatter(Remembering())
    (leak,) = plant(redactor).leaks
    assert leak.channel == f"handler Silent of logger {logger.name!r}"
    assert "its formatter adds them" in leak.reason


def test_a_formatter_that_fails_shows_nothing(redactor: Redactor, logger: logging.Logger) -> None:
    """A record that cannot be formatted does not come out."""
    logger.handlers[0].setFormatter(logging.Formatter("%(no_such_thing)s"))
    assert plant(redactor).leaks == ()


def test_access_records_have_the_shape_that_their_formatter_takes(
    redactor: Redactor, ends: contextlib.ExitStack
) -> None:
    """Uvicorn's formatter unpacks five arguments, and the canary is in the path."""
    formatting = pytest.importorskip("uvicorn.logging")
    shown: list[str] = []

    class Kept(formatting.AccessFormatter):  # type: ignore[misc,name-defined]
        def format(self, record: logging.LogRecord) -> str:
            shown.append(super().format(record))
            return shown[-1]

    access = logging.getLogger("uvicorn.access")
    handler = Silent()
    handler.setFormatter(Kept('%(client_addr)s - "%(request_line)s" %(status_code)s'))
    access.addHandler(handler)
    ends.callback(access.removeHandler, handler)
    assert plant(redactor).leaks == ()
    (line,) = shown
    assert "GET /?canary&password=[redacted:" in line


def test_what_the_app_has_allowed_is_said_once_and_looked_for_no_more(ends: contextlib.ExitStack) -> None:
    """An allowed pattern that takes in real keys is the reason, not the channels."""
    redactor = Redactor(RedactionSettings(allow=("sk_live_.*",)), mask_emails=False)
    ends.callback(logs.install(redactor, lambda: ""))
    ends.callback(hooks.install(redactor, prints=False))
    assert plant(redactor).leaks == (Leak("redaction itself", "shows a service's key: see redaction.allow"),)


# --- hooks -----------------------------------------------------------------------------------------------------------


def test_uncaught_exceptions_are_looked_at(redactor: Redactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that somebody puts in front of redaction prints what it is given."""

    def excepthook(kind: type[BaseException], value: BaseException, traceback: object) -> None:
        sys.stderr.write(str(value))

    monkeypatch.setattr(sys, "excepthook", excepthook)
    assert [leak.channel for leak in plant(redactor).leaks] == ["sys.excepthook"]


def test_warnings_are_looked_at_but_not_those_that_are_recorded(
    redactor: Redactor, ends: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test runners keep warnings, and a canary would come out as one of the app's."""

    def showwarning(message: str, category: type, name: str, line: int, file: io.StringIO, text: str) -> None:
        file.write(message)

    monkeypatch.setattr(warnings, "showwarning", showwarning)
    assert plant(redactor).leaks == ()
    implementation: Callable[..., None] = vars(warnings)["_showwarnmsg"]  # written in the module, like the usual one
    monkeypatch.setattr(warnings, "_showwarnmsg_impl", implementation)
    assert [leak.channel for leak in plant(redactor).leaks] == ["warnings"]


# --- Sentry ----------------------------------------------------------------------------------------------------------


class Outward(Transport):
    def capture_envelope(self, envelope: object) -> None:
        SENT.append(envelope)


@pytest.fixture
def sentry(ends: contextlib.ExitStack) -> Callable[..., None]:
    def start(**options: Any) -> None:
        before = sentry_sdk.Scope.get_global_scope().client
        call_handlers, excepthook = logging.Logger.callHandlers, sys.excepthook
        dsn = f"https://{secrets.token_hex(16)}@sentry.example.com/1"
        sentry_sdk.init(dsn, transport=Outward, auto_session_tracking=False, **options)
        ends.callback(sentry_sdk.Scope.get_global_scope().set_client, before)
        ends.callback(setattr, logging.Logger, "callHandlers", call_handlers)
        ends.callback(setattr, sys, "excepthook", excepthook)

    return start


def test_sentry_is_tried_without_sending_anything(
    redactor: Redactor, sentry: Callable[..., None], ends: contextlib.ExitStack
) -> None:
    """The client's own hooks run, and what would leave is looked at; breadcrumbs are left as they were."""
    seen: list[str] = []

    def before_send(event: Any, hint: Any) -> Any:
        seen.append(str(event))
        return event

    sentry(before_send=before_send, enable_logs=True)
    isolation = sentry_sdk.get_isolation_scope()
    isolation.start_session()
    ends.callback(isolation.end_session)
    proof = plant(redactor)
    assert isolation._session is not None
    assert isolation._session.errors == 0
    assert proof.leaks == ()
    assert proof.channels.endswith(", Sentry") or ", Sentry, " in proof.channels
    assert any("canary password=" in event for event in seen)
    assert not isolation._breadcrumbs
    sentry_sdk.flush()


def test_sentry_without_redaction_is_reported(idle: Redactor, sentry: Callable[..., None]) -> None:
    """An error is looked at even if the client would have left it out by chance."""
    sentry(sample_rate=0.0)
    assert leaks_of(plant(idle), "Sentry")


def test_sentry_without_a_client_is_no_channel(redactor: Redactor) -> None:
    """A package that is imported and not set up sends nothing."""
    assert "Sentry" not in plant(redactor).channels


# --- OpenTelemetry ---------------------------------------------------------------------------------------------------


class OtherMake(SpanProcessor):
    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.exporter = exporter


class Baggage(SpanProcessor):
    """A processor that exports nothing."""


@pytest.fixture
def telemetry(ends: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def start(spans: Sequence[Any] = (), records: Sequence[Any] = ()) -> None:
        traces, logged = TracerProvider(), LoggerProvider()
        for processor in spans:
            traces.add_span_processor(processor)
        for processor in records:
            logged.add_log_record_processor(processor)
        ends.callback(traces.shutdown)
        ends.callback(logged.shutdown)
        monkeypatch.setattr(canary_telemetry, "get_tracer_provider", lambda: traces)
        monkeypatch.setattr(canary_telemetry, "get_logger_provider", lambda: logged)

    return start


def test_telemetry_is_tried_without_exporting_anything(redactor: Redactor, telemetry: Callable[..., None]) -> None:
    """Each processor runs on a double that ends in memory."""
    spans, records = InMemorySpanExporter(), InMemoryLogRecordExporter()
    telemetry(
        [SimpleSpanProcessor(spans), BatchSpanProcessor(spans), Baggage()],
        [SimpleLogRecordProcessor(records), BatchLogRecordProcessor(records)],
    )
    proof = plant(redactor)
    assert proof.leaks == ()
    assert proof.channels.endswith(", OpenTelemetry")
    assert spans.get_finished_spans() == ()
    assert records.get_finished_logs() == ()


def test_telemetry_without_redaction_is_reported(idle: Redactor, telemetry: Callable[..., None]) -> None:
    """Each kind of processor is a channel."""
    spans, records = InMemorySpanExporter(), InMemoryLogRecordExporter()
    telemetry(
        [SimpleSpanProcessor(spans), BatchSpanProcessor(spans)],
        [SimpleLogRecordProcessor(records), BatchLogRecordProcessor(records)],
    )
    leaks = leaks_of(plant(idle), "OpenTelemetry")
    assert [leak.channel.rpartition(" ")[2] for leak in leaks] == [
        "SimpleSpanProcessor",
        "BatchSpanProcessor",
        "SimpleLogRecordProcessor",
        "BatchLogRecordProcessor",
    ]


def test_a_processor_of_another_make_is_reported_unless_its_exporter_redacts(
    redactor: Redactor, telemetry: Callable[..., None]
) -> None:
    """Where an exporter cannot be reached it has to be wrapped by hand."""
    telemetry([OtherMake(InMemorySpanExporter())])
    assert [leak.channel for leak in plant(redactor).leaks] == ["OpenTelemetry processor OtherMake"]
    from launchkit.redaction.telemetry import wrap_span_exporter

    telemetry([OtherMake(wrap_span_exporter(InMemorySpanExporter(), redactor))])  # type: ignore[arg-type]
    assert plant(redactor).leaks == ()


def test_packages_that_nobody_has_imported_are_not_imported(
    redactor: Redactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app that uses neither does not pay for them."""
    for name in ("sentry_sdk", "opentelemetry.sdk.trace", "opentelemetry.sdk._logs"):
        monkeypatch.delitem(sys.modules, name)
    assert plant(redactor).leaks == ()
    assert "sentry_sdk" not in sys.modules


def test_without_a_provider_telemetry_is_no_channel(redactor: Redactor) -> None:
    """The API alone exports nothing."""
    assert "OpenTelemetry" not in plant(redactor).channels


# --- for apps --------------------------------------------------------------------------------------------------------


def test_an_apps_test_fails_with_the_channels_that_leak(ends: contextlib.ExitStack) -> None:
    """The helper names every channel, and passes where there is none."""
    kit = LaunchKit(Settings())
    assert_no_secret_leaks(kit)
    logger = make_logger(ends, OwnWay)
    with pytest.raises(AssertionError, match=f"secrets leave through:\n- logger '{logger.name}' shows a password"):
        assert_no_secret_leaks(kit)


def test_an_apps_test_fails_where_redaction_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is switched off cannot be proved."""
    kit = LaunchKit(Settings(redaction=RedactionSettings(enabled=False)))
    with pytest.raises(AssertionError, match="switched off"):
        assert_no_secret_leaks(kit)


# --- the self-check --------------------------------------------------------------------------------------------------


def self_check(proof: Proof) -> Report:
    kit = LaunchKit(Settings())
    deliveries = kit._deliveries
    return SelfCheck(
        kit.settings,
        kit.rate_limit.rules,
        deliveries.intakes,
        deliveries.handlers,
        SystemClock(),
        Surroundings({}),
        lambda: proof,
    ).run()


def test_the_self_check_finds_channels_that_leak() -> None:
    """Each is an error."""
    report = self_check(Proof((Leak("logger 'app'", "shows a password"), Leak("handler X", "shows it")), "all"))
    found = [finding for finding in report.findings if finding.code == "secrets-shown"]
    assert [(finding.severity, finding.message) for finding in found] == [
        ("error", "Made-up secrets came out of logger 'app', which shows a password."),
        ("error", "Made-up secrets came out of handler X, which shows it."),
    ]
    assert not any("redacts" in sentence for sentence in report.proved)


def test_the_self_check_proves_that_every_channel_redacts() -> None:
    """What was tried is said, so that a missing channel is seen."""
    assert (
        "every channel redacts: 3 loggers, 1 handler, Sentry"
        in self_check(Proof((), "3 loggers, 1 handler, Sentry")).proved
    )
