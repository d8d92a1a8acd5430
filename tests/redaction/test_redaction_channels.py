"""A secret planted in each channel of logging comes out of none, whether Sentry is initialised before or after."""

from __future__ import annotations

import functools
import io
import logging
import logging.handlers
import queue
import secrets
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator

import loguru
import pytest
import sentry_sdk
import structlog
from gunicorn.glogging import SafeAtoms
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport
from uvicorn.logging import AccessFormatter

from launchkit.redaction import hooks, logs
from launchkit.redaction.attributes import Wrapping
from launchkit.redaction.engine import Redactor
from launchkit.redaction.processors import loguru_patcher, structlog_processor
from launchkit.settings import RedactionSettings

ORIGINAL = logging.Logger.callHandlers
ENVELOPES: list[Envelope] = []


class Captured(Transport):
    """Keeps what would be sent."""

    def capture_envelope(self, envelope: Envelope) -> None:
        ENVELOPES.append(envelope)


class Printer(logging.Handler):
    """Prints everything that a record has, formatting its exception by itself."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        self.stream.write(f"{self.format(record)}\n{vars(record)!r}\n")
        if record.exc_info and record.exc_info[1] is not None:
            self.stream.write("".join(traceback.format_exception(*record.exc_info)))
            self.stream.write(repr([frame.f_locals for frame, _ in traceback.walk_tb(record.exc_info[2])]))


@functools.cache
def redactor() -> Redactor:
    return Redactor(RedactionSettings(), mask_emails=False)


@pytest.fixture(name="sent", params=["sentry first", "sentry last"], autouse=True)
def _sent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Envelope]]:
    """Install both in one order. Sentry's own part is repeated, because it does it once in a process."""
    sentry_sdk.init(
        "https://key@sentry.invalid/1",
        transport=Captured,
        enable_logs=True,
        include_local_variables=False,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration()],
    )
    monkeypatch.setattr(logging.Logger, "callHandlers", ORIGINAL)
    monkeypatch.setattr(logs, "_CALL_HANDLERS", Wrapping(logging.Logger, "callHandlers", logs._wrap))
    steps = [LoggingIntegration.setup_once, lambda: logs.install(redactor(), lambda: "request-1")]
    for step in steps if request.param == "sentry first" else reversed(steps):
        step()
    uninstall = hooks.install(redactor(), prints=True)
    ENVELOPES.clear()
    yield ENVELOPES
    uninstall()
    logging.captureWarnings(False)
    logging.setLogRecordFactory(logging.LogRecord)
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture(name="stream")
def _stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(name="logger")
def _logger(stream: io.StringIO) -> Iterator[logging.Logger]:
    logger, handler = logging.getLogger(f"channels-{secrets.token_hex(4)}"), Printer(stream)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def at(name: str, stream: io.StringIO, log: Callable[[logging.Logger], None], formatter: object = None) -> None:
    """Log to the logger of a name, printed by a handler of its own."""
    logger, handler = logging.getLogger(name), Printer(stream)
    if isinstance(formatter, logging.Formatter):
        handler.setFormatter(formatter)
    logger.addHandler(handler)
    try:
        log(logger)
    finally:
        logger.removeHandler(handler)


def root(logger, stream, value):
    at("", stream, lambda root: root.error("password=%s", value))


def child(logger, stream, value):
    logger.getChild("deep.down").error("password=%s", value)


def no_propagation(logger, stream, value):
    def log(own):
        own.propagate = False
        own.error("password=%s", value)

    at(f"{logger.name}.own", stream, log)


def late_handler(logger, stream, value):
    late = Printer(stream)
    logger.addHandler(late)
    logger.error("password=%s", value)
    logger.removeHandler(late)


def queue_handler(logger, stream, value):
    records = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, Printer(stream))
    handler = logging.handlers.QueueHandler(records)
    logger.addHandler(handler)
    listener.start()
    logger.error("password=%s", value)
    listener.stop()
    logger.removeHandler(handler)


def template(logger, stream, value):
    logger.error(f"password={value} %s", 1)  # noqa: G004  # what apps do


def arguments(logger, stream, value):
    logger.error("Authorization: Bearer %s", value)


def extra_text(logger, stream, value):
    logger.error("hello", extra={"api_key": value, "note": f"password={value}"})


def extra_nested(logger, stream, value):
    logger.error("hello", extra={"context": {"headers": [("authorization", f"Bearer {value}")], "password": value}})


def exception(logger, stream, value):
    try:
        raise LookupError(f"password={value}")
    except LookupError:
        logger.exception("failed")


def exception_group(logger, stream, value):
    try:
        raise ExceptionGroup("many", [LookupError(f"password={value}"), ValueError("fine")])
    except ExceptionGroup:
        logger.exception("failed")


def cause(logger, stream, value):
    try:
        raise RuntimeError("outer") from LookupError(f"password={value}")
    except RuntimeError:
        logger.exception("failed")


def stack(logger, stream, value):
    shown = f"Stack:\n  connect(password='{value}')"
    record = {"levelno": 40, "levelname": "ERROR", "name": logger.name, "msg": "[redacted:x]", "stack_info": shown}
    logger.handle(logging.makeLogRecord(record))


def record_factory(logger, stream, value):
    def factory(*args, **kwargs):
        record = logging.LogRecord(*args, **kwargs)
        record.session_token = value
        return record

    logging.setLogRecordFactory(factory)
    logger.error("hello")


def made_by_hand(logger, stream, value):
    logger.handle(
        logging.makeLogRecord({"levelno": 40, "levelname": "ERROR", "name": logger.name, "msg": f"password={value}"})
    )


def adapter(logger, stream, value):
    logging.LoggerAdapter(logger, {"api_key": value}).error("password=%s", value)


def uvicorn_access(logger, stream, value):
    formatter = AccessFormatter('%(client_addr)s "%(request_line)s" %(status_code)s', use_colors=False)
    path = f"/callback?token={value}"
    at(
        "uvicorn.access",
        stream,
        lambda access: access.error('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", path, "1.1", 200),
        formatter,
    )


def gunicorn_access(logger, stream, value):
    atoms = SafeAtoms({"r": f"GET /x?api_key={value} HTTP/1.1", "{cookie}i": f"session={value}", "s": "200"})
    at("gunicorn.access", stream, lambda access: access.error('"%(r)s" %(s)s %({cookie}i)s %({no}i)s', atoms))


def captured_warning(logger, stream, value):
    def log(_):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn(f"password={value}", stacklevel=1)

    at("py.warnings", stream, log)


def structlog_through_logging(logger, stream, value):
    wrap = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
    events = structlog.wrap_logger(logger, processors=[wrap], wrapper_class=structlog.stdlib.BoundLogger)
    try:
        raise LookupError(f"password={value}")
    except LookupError:
        events.bind(api_key=value).exception(f"token={value}")


def structlog_by_itself(logger, stream, value):
    processors = [structlog_processor(redactor()), structlog.processors.JSONRenderer()]
    events = structlog.wrap_logger(structlog.PrintLogger(stream), processors=processors)
    events.error(f"password={value}", api_key=value)
    logger.error("password=%s", value)


def loguru_by_itself(logger, stream, value):
    loguru.logger.remove()
    loguru.logger.configure(patcher=loguru_patcher(redactor()))
    loguru.logger.add(stream, format="{message} {extra}", diagnose=True)
    try:
        raise LookupError(f"password={value}")
    except LookupError:
        loguru.logger.bind(api_key=value).exception("failed")
    loguru.logger.remove()
    loguru.logger.configure(patcher=lambda record: None)
    logger.error("password=%s", value)


CHANNELS = [
    *(root, child, no_propagation, late_handler, queue_handler, template, arguments, extra_text, extra_nested),
    *(exception, exception_group, cause, stack, record_factory, made_by_hand, adapter, uvicorn_access),
    *(gunicorn_access, captured_warning, structlog_through_logging, structlog_by_itself, loguru_by_itself),
]


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.__name__)
def test_no_channel_shows_a_secret(channel, logger, stream, sent):
    """Neither a handler, nor an event, a breadcrumb or a log of Sentry's; and no record is lost."""
    value = "S3" + secrets.token_hex(12)
    channel(logger, stream, value)
    sentry_sdk.capture_message("with the breadcrumbs")
    sentry_sdk.flush()
    items = [(item.type, item.payload.get_bytes().decode()) for envelope in sent for item in envelope.items]
    assert value not in stream.getvalue()
    assert "[redacted:" in stream.getvalue()
    assert not [payload for _, payload in items if value in payload]
    assert {kind for kind, _ in items} == {"event", "log"}
    assert any("[redacted:" in payload for kind, payload in items if kind == "event")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_no_print_shows_a_secret(capsys, name):
    """Where they are asked for."""
    value = "S3" + secrets.token_hex(12)
    uninstall = hooks.install(redactor(), prints=True)
    print(f"password={value}", file=getattr(sys, name))
    uninstall()
    assert getattr(capsys.readouterr(), name.removeprefix("std")) == "password=[redacted:password]\n"


def test_sentry_groups_what_is_logged_by_type_and_stack(logger, sent):
    """As if nothing had been redacted."""
    exception(logger, io.StringIO(), "S3" + secrets.token_hex(12))
    (event,) = [item.payload.json for envelope in sent for item in envelope.items if item.type == "event"]
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("LookupError", "password=[redacted:password]")
    assert [frame["function"] for frame in error["stacktrace"]["frames"]] == ["exception"]
    assert error["stacktrace"]["frames"][0]["context_line"].strip().startswith("raise LookupError(")
