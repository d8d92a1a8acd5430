"""structlog and loguru: what they print shows no secret, not even in local variables."""

from __future__ import annotations

import copy
import functools
import io
import json
import logging
import re
import secrets
import sys
from collections.abc import Iterator

import loguru
import pytest
import structlog

from launchkit.redaction import logs
from launchkit.redaction.engine import Redactor
from launchkit.redaction.exceptions import HIDDEN
from launchkit.redaction.processors import loguru_patcher, structlog_processor
from launchkit.settings import RedactionSettings


class Broken(Redactor):
    """A redactor with a bug."""

    def redact(self, text: str) -> str:
        raise RecursionError

    def redact_data(self, value: object) -> object:
        raise RecursionError


@functools.cache
def redactor() -> Redactor:
    return Redactor(RedactionSettings(), mask_emails=False)


@functools.cache
def broken() -> Redactor:
    return Broken(RedactionSettings(), mask_emails=False)


def secret() -> str:
    return "S3" + secrets.token_hex(12)


def text_of(stream: io.StringIO) -> str:
    """Return what a stream holds without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def fail(plain: str) -> None:
    """Raise with a secret in the text, and with one in a local variable whose name says nothing."""
    raise LookupError(f"password={plain}")


# --- structlog -----------------------------------------------------------------------------------------------------


def console() -> structlog.typing.Processor:
    return structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.RichTracebackFormatter(show_locals=True, width=200)
    )


RENDERERS = {
    "console": [console()],
    "plain text": [structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
    "JSON": [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()],
}


def structlog_logger(stream: io.StringIO, *processors: structlog.typing.Processor) -> structlog.typing.BindableLogger:
    return structlog.wrap_logger(
        structlog.PrintLogger(stream), processors=list(processors), wrapper_class=structlog.BoundLogger
    )


@pytest.mark.parametrize("renderer", RENDERERS)
def test_structlogs_events_are_redacted_by_name_and_by_content(renderer):
    """Also what was bound before, and what is nested; the app's own stays as it is."""
    stream, values, nested = io.StringIO(), [secret() for _ in range(4)], {"headers": {}}
    nested["headers"]["authorization"] = f"Bearer {values[3]}"
    logger = structlog_logger(stream, structlog_processor(redactor()), *RENDERERS[renderer])
    logger = logger.bind(api_key=values[0], user="bob")
    logger.info(f"password={values[1]}", note=f"token={values[2]}", request=nested)  # noqa: G004  # what is tested
    shown = text_of(stream)
    assert not [value for value in values if value in shown]
    assert "password=[redacted:password]" in shown
    assert "bob" in shown
    assert nested["headers"]["authorization"].endswith(values[3])


@pytest.mark.parametrize("given", ["true", "exception", "exc_info"])
@pytest.mark.parametrize("renderer", RENDERERS)
def test_structlogs_exceptions_are_shown_without_secrets_and_locals(renderer, given):
    """With type and stack, whatever prints them."""
    stream, value = io.StringIO(), secret()
    logger = structlog_logger(stream, structlog_processor(redactor()), *RENDERERS[renderer])
    try:
        fail(value)
    except LookupError as error:
        logger.error("failed", exc_info={"true": True, "exception": error, "exc_info": sys.exc_info()}[given])
    shown = text_of(stream)
    assert value not in shown
    assert "[redacted:password]" in shown
    assert "LookupError" in shown
    assert "fail" in shown


def test_structlogs_tracebacks_that_are_data_already_lose_their_locals():
    """The processor comes last, so others may have made them before."""
    stream, value = io.StringIO(), secret()
    last = structlog_processor(redactor())
    logger = structlog_logger(stream, structlog.processors.dict_tracebacks, last, structlog.processors.JSONRenderer())
    try:
        fail(value)
    except LookupError:
        logger.error("failed", exc_info=True)  # noqa: G201  # structlog takes it as it is
    assert value not in stream.getvalue()
    (traceback,) = json.loads(stream.getvalue())["exception"]
    assert traceback["exc_type"] == "LookupError"
    assert traceback["exc_value"] == "password=[redacted:password]"
    assert [frame["name"] for frame in traceback["frames"]][-1] == "fail"


def test_an_exc_info_without_an_exception_shows_none():
    """As without the processor."""
    event = structlog_processor(redactor())(None, "info", {"event": "hello", "exc_info": True})
    assert event == {"event": "hello", "exc_info": None}


@pytest.fixture(name="stdlib")
def _stdlib() -> Iterator[tuple[logging.Logger, io.StringIO, logging.Handler]]:
    stream, logger = io.StringIO(), logging.getLogger(f"processors-{secrets.token_hex(4)}")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    yield logger, stream, handler
    logger.removeHandler(handler)


@pytest.mark.parametrize("place", ["before", "inside", "nowhere"])
@pytest.mark.parametrize("source", ["structlog", "logging"])
def test_processor_formatter_shows_no_secret_of_either_kind_of_record(stdlib, source, place):
    """The processor may stand in structlog's chain or in the formatter's; logging's own redaction does for both."""
    logger, stream, handler = stdlib
    processor, value = structlog_processor(redactor()), secret()
    inside = [processor] if place == "inside" else []
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[*inside, structlog.stdlib.ProcessorFormatter.remove_processors_meta, console()],
            foreign_pre_chain=[processor] if place == "before" else [],
        )
    )
    uninstall = logs.install(redactor() if place == "nowhere" else None, lambda: "")
    before = [processor] if place == "before" else []
    event_logger = structlog.wrap_logger(
        logger,
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        fail(value)
    except LookupError:
        (event_logger if source == "structlog" else logger).exception(f"token={value}")
    finally:
        uninstall()
    shown = text_of(stream)
    assert value not in shown
    assert "token=[redacted:token]" in shown
    assert "LookupError: password=[redacted:password]" in shown


def test_an_event_that_cannot_be_redacted_keeps_its_keys_only():
    """What is unknown is not shown; `ProcessorFormatter` finds its own."""
    record = logging.makeLogRecord({"msg": "x"})
    event = {"event": secret(), "user": "bob", "exc_info": True, "_record": record, "_from_structlog": True}
    redacted = structlog_processor(broken())(None, "info", event)
    assert redacted == {"event": HIDDEN, "user": HIDDEN, "_record": record, "_from_structlog": True}


# --- loguru --------------------------------------------------------------------------------------------------------


@pytest.fixture(name="loguru_logger")
def _loguru_logger() -> loguru.Logger:
    loguru.logger.remove()
    return copy.deepcopy(loguru.logger)


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_logurus_records_are_redacted_for_every_sink(loguru_logger, serialize, late):
    """Message, what was bound, and what the message was formatted with, also for sinks that were added before."""
    stream, values = io.StringIO(), [secret() for _ in range(3)]
    if late:
        loguru_logger.configure(patcher=loguru_patcher(redactor()))
    loguru_logger.add(stream, format="{message} {extra}", serialize=serialize)
    if not late:
        loguru_logger.configure(patcher=loguru_patcher(redactor()))
    loguru_logger.bind(api_key=values[0]).info("password={} {note}", values[1], note=f"token={values[2]}")
    loguru_logger.opt(colors=True).info("<red>password={}</red>", values[1])
    assert not [value for value in values if value in stream.getvalue()]
    assert stream.getvalue().count("password=[redacted:password]") >= 2
    assert "[redacted:api-key]" in stream.getvalue()


@pytest.mark.parametrize("serialize", [False, True])
def test_logurus_exceptions_are_shown_without_secrets_and_locals(loguru_logger, serialize):
    """Its diagnosis prints every variable in the lines of the stack; type, text and stack remain."""
    stream, value = io.StringIO(), secret()
    loguru_logger.add(stream, diagnose=True, backtrace=True, serialize=serialize)
    loguru_logger.configure(patcher=loguru_patcher(redactor()))
    try:
        fail(value)
    except LookupError:
        loguru_logger.exception("failed")
    assert value not in stream.getvalue()
    text = json.loads(stream.getvalue())["text"] if serialize else stream.getvalue()
    assert "LookupError: password=[redacted:password]" in text
    assert "fail(value)" in text
    if serialize:
        assert json.loads(stream.getvalue())["record"]["exception"]["type"] == "LookupError"


def test_loguru_without_an_exception_under_way_shows_none(loguru_logger):
    """As without the patcher."""
    stream = io.StringIO()
    loguru_logger.add(stream, format="{message}")
    loguru_logger.configure(patcher=loguru_patcher(redactor()))
    loguru_logger.exception("hello")  # noqa: LOG004  # what is tested
    assert stream.getvalue().startswith("hello\n")


def test_a_loguru_record_that_cannot_be_redacted_is_hidden_and_not_lost(loguru_logger):
    """Level, place and the type of the exception are shown."""
    stream, value = io.StringIO(), secret()
    loguru_logger.add(stream, format="{level} {message} {extra}", diagnose=True)
    loguru_logger.configure(patcher=loguru_patcher(broken()))
    try:
        fail(value)
    except LookupError:
        loguru_logger.bind(note=value).exception(value)
    assert value not in stream.getvalue()
    assert stream.getvalue().startswith(f"ERROR {HIDDEN} {{'note': '{HIDDEN}'}}")
    assert f"LookupError: {HIDDEN}" in stream.getvalue()
