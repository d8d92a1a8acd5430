"""OpenTelemetry's processors with their end in memory: for the proof that nothing secret leaves through them.

A processor is tried on a double that exports into memory. One of another make than the SDK's has no place where an
exporter is known to be; if it holds one that does not redact, what that would export is what the processor is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from opentelemetry._logs import LogRecord, get_logger_provider
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags, get_tracer_provider

from launchkit.redaction.telemetry import RedactingLogRecordExporter, RedactingSpanExporter

_REDACTING: Final = (RedactingSpanExporter, RedactingLogRecordExporter)
_EXPORTERS: Final = (SpanExporter, LogRecordExporter)
_PLACES: Final = ("_batch_processor", "span_exporter", "_exporter")
"""Where the SDK's processors keep an exporter, or what has one."""


def exported(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each processor of the global providers that exports, and what it exports of `text`."""
    spans = getattr(get_tracer_provider(), "_active_span_processor", None)
    for processor in _leaves(spans, "_span_processors"):
        yield from _exported(processor, "on_end", _span(text))
    logs = getattr(get_logger_provider(), "_multi_log_record_processor", None)
    for processor in _leaves(logs, "_log_record_processors"):
        yield from _exported(processor, "on_emit", _log_record(text))


def _leaves(processor: object, children: str) -> Iterator[object]:
    """Yield the processors of a tree of those that have several."""
    if processor is None:
        return
    inner = getattr(processor, children, None)
    if inner is None:
        yield processor
        return
    for child in inner:
        yield from _leaves(child, children)


def _exported(processor: object, method: str, record: ReadableSpan | ReadWriteLogRecord) -> Iterator[tuple[str, str]]:
    name = type(processor).__name__
    place = next((place for place in _PLACES if place in vars(processor)), None)
    if place is not None:
        double = object.__new__(type(processor))
        end = _End()
        vars(double).update({**vars(processor), place: end})
        getattr(double, method)(record)
        yield name, " ".join(end.texts)
    elif any(isinstance(held, _EXPORTERS) for held in vars(processor).values()):
        is_redacted = all(
            isinstance(held, _REDACTING) for held in vars(processor).values() if isinstance(held, _EXPORTERS)
        )
        yield name, "" if is_redacted else _text(record)


class _End:
    """What stands for an exporter, or for a batch with one, and keeps texts of what it is given."""

    shutdown = force_flush = None
    """Looked up by what wraps an exporter, and not called."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._exporter = self

    def emit(self, record: Any) -> None:
        self._exporter.export((record,))

    def export(self, records: Sequence[Any]) -> None:
        self.texts += map(_text, records)


def _text(record: Any) -> str:
    return f"{record.to_json()}"


def _span(text: str) -> ReadableSpan:
    context = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    event = Event("exception", {"exception.message": text}, 1)
    status = Status(StatusCode.ERROR, text)
    return ReadableSpan(
        text, context, attributes={"canary": text}, events=[event], status=status, start_time=1, end_time=2
    )


def _log_record(text: str) -> ReadWriteLogRecord:
    return ReadWriteLogRecord(LogRecord(timestamp=1, body=text, attributes={"canary": text}))
