"""Takes secrets out of the spans and log records that OpenTelemetry exports.

An ended span cannot be changed, and there is no hook between processor and exporter. So the exporter is wrapped, and is
given new objects in place of those that hold a secret.

`install` wraps exporters by itself: those of the SDK's processors, and of processors derived from them, when one is
made or is next given something. So it holds for providers that were set up before as well as after, and redaction runs
where the exporter does: in the thread of a batch processor. Where an exporter cannot be reached, its processor is given
redacted spans and records instead. Processors of another make need the wrappers made by hand.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

from launchkit.redaction.attributes import Wrapping
from launchkit.redaction.engine import Redactor
from launchkit.redaction.telemetry_records import RecordRedactor

Newest = Callable[[], Redactor | None]
"""Returns the redactor that is at work, if any is."""

Method = Callable[..., None]
"""What a processor's class does: its constructor, `on_end` or `on_emit`."""


def wrap_span_exporter(exporter: SpanExporter, redactor: Redactor) -> SpanExporter:
    """Return an exporter that hands spans on to `exporter` without secrets."""
    return RedactingSpanExporter(exporter, lambda: redactor)


def wrap_log_exporter(exporter: LogRecordExporter, redactor: Redactor) -> LogRecordExporter:
    """Return an exporter that hands log records on to `exporter` without secrets."""
    return RedactingLogRecordExporter(exporter, lambda: redactor)


class _Redacting:
    """In front of another exporter; in all but its export it is that exporter."""

    def __init__(self, exporter: Any, newest: Newest) -> None:
        self._exporter, self._newest = exporter, newest

    def _records(self) -> RecordRedactor | None:
        redactor = self._newest()
        return None if redactor is None else RecordRedactor(redactor)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Shut the other exporter down; not every one takes a time-out."""
        takes_timeout = "timeout_millis" in inspect.signature(self._exporter.shutdown).parameters
        self._exporter.shutdown(**({"timeout_millis": timeout_millis} if takes_timeout else {}))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Let the other exporter send what it holds."""
        return bool(self._exporter.force_flush(timeout_millis))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_exporter"], name)


class RedactingSpanExporter(_Redacting, SpanExporter):
    """Hands spans on to another exporter without secrets.

    Args:
        exporter: the other one.
        newest: returns what takes the secrets out; None leaves them in.
    """

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; see `SpanExporter.export`."""
        records = self._records()
        result: SpanExportResult = self._exporter.export(spans if records is None else [*map(records.span, spans)])
        return result


class RedactingLogRecordExporter(_Redacting, LogRecordExporter):
    """Hands log records on to another exporter without secrets.

    Args:
        exporter: the other one.
        newest: returns what takes the secrets out; None leaves them in.
    """

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Export log records; see `LogRecordExporter.export`."""
        records = self._records()
        result: LogRecordExportResult = self._exporter.export(batch if records is None else [*map(records.log, batch)])
        return result


def install(redactor: Redactor) -> Callable[[], None]:
    """Redact what the processors of OpenTelemetry's SDK export from this process, and return what ends that.

    Of several installations the newest is at work. Each may be ended at any time and more than once.
    """
    token = object()
    _INSTALLED[token] = redactor
    ends = [wrapping.add(redactor) for wrapping in _WRAPPINGS]

    def remove() -> None:
        _INSTALLED.pop(token, None)
        for end in ends:
            end()

    return remove


_INSTALLED: Final[dict[object, Redactor]] = {}


def _newest() -> Redactor | None:
    return next(reversed([*_INSTALLED.values()]), None)


def _wrap_exporter(processor: object, kind: type[_Redacting]) -> bool:
    """Put our exporter in front of the processor's, and tell whether it stands there."""
    holder = getattr(processor, "_batch_processor", processor)
    for name in ("span_exporter", "_exporter"):
        exporter = vars(holder).get(name)
        if isinstance(exporter, kind):
            return True
        if exporter is not None:
            setattr(holder, name, kind(exporter, _newest))
            return True
    return False


def _when_made(kind: type[_Redacting]) -> Callable[[Method, Newest], Method]:
    def wrap(make: Method, newest: Newest) -> Method:
        @functools.wraps(make)
        def make_processor(processor: object, *args: Any, **kwargs: Any) -> None:
            make(processor, *args, **kwargs)
            if newest() is not None:
                _wrap_exporter(processor, kind)

        return make_processor

    return wrap


def _when_given(
    kind: type[_Redacting], redacted: Callable[[RecordRedactor, Any], object]
) -> Callable[[Method, Newest], Method]:
    def wrap(process: Method, newest: Newest) -> Method:
        @functools.wraps(process)
        def process_redacted(processor: object, record: object) -> None:
            redactor = newest()
            if redactor is not None and not _wrap_exporter(processor, kind):
                record = redacted(RecordRedactor(redactor), record)
            process(processor, record)

        return process_redacted

    return wrap


_PROCESSORS: Final[tuple[tuple[type, str, type[_Redacting], Callable[[RecordRedactor, Any], object]], ...]] = (
    (BatchSpanProcessor, "on_end", RedactingSpanExporter, RecordRedactor.span),
    (SimpleSpanProcessor, "on_end", RedactingSpanExporter, RecordRedactor.span),
    (BatchLogRecordProcessor, "on_emit", RedactingLogRecordExporter, RecordRedactor.log),
    (SimpleLogRecordProcessor, "on_emit", RedactingLogRecordExporter, RecordRedactor.log),
)
_WRAPPINGS: Final = (
    *(Wrapping[Method, Redactor](owner, "__init__", _when_made(kind)) for owner, _, kind, _ in _PROCESSORS),
    *(
        Wrapping[Method, Redactor](owner, name, _when_given(kind, redacted))
        for owner, name, kind, redacted in _PROCESSORS
    ),
)
