"""Nothing secret leaves with OpenTelemetry's exporters, whether providers were set up before the kit or after."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from launchkit.redaction.engine import Redactor
from launchkit.redaction.telemetry import (
    RedactingLogRecordExporter,
    RedactingSpanExporter,
    install,
    wrap_log_exporter,
    wrap_span_exporter,
)
from launchkit.redaction.telemetry_records import RecordRedactor
from launchkit.settings import RedactionSettings

REDACTOR = Redactor(RedactionSettings(), mask_emails=True)
SPAN_PROCESSORS: list[Callable[[SpanExporter], SpanProcessor]] = [BatchSpanProcessor, SimpleSpanProcessor]
LOG_PROCESSORS: list[Callable[[Any], LogRecordProcessor]] = [BatchLogRecordProcessor, SimpleLogRecordProcessor]


class Broken(Redactor):
    """A redactor with a mistake in it."""

    def redact_data(self, value: object) -> object:
        raise RuntimeError(str(value))


BROKEN = Broken(RedactionSettings(), mask_emails=False)


class Closing(InMemorySpanExporter):
    """An exporter whose shutdown takes a time-out."""

    timeout: float | None = None

    def shutdown(self, timeout_millis: float = 1) -> None:
        self.timeout = timeout_millis


def opaque() -> str:
    return secrets.token_hex(16) + "x7"


def attributes_with(secret: str) -> dict[str, Any]:
    """Return attributes as the semantic conventions name them."""
    return {
        "http.request.header.authorization": (f"Bearer {secret}",),
        "url.full": f"https://u:{secret}@api.example/?access_token={secret}",
        "url.query": f"page=1&token={secret}",
        "db.query.text": f"ALTER USER shop WITH PASSWORD '{secret}'",
        "exception.message": f"api_key={secret}",
        "exception.stacktrace": f'File "shop.py", line 7\n    ValueError: password={secret}\n',
        "session.id": secret,
        "db.password": secret,
        "http.response.status_code": 200,
    }


def record_span(provider: TracerProvider, secret: str) -> None:
    tracer = provider.get_tracer("shop", "1.0", attributes={"api_key": secret})
    with tracer.start_as_current_span("before") as other:
        link = Link(other.get_span_context(), {"auth_token": secret})
    with tracer.start_as_current_span(f"GET /?token={secret}", links=[link]) as span:
        span.set_attributes(attributes_with(secret))
        span.add_event(f"signed in with password={secret}", {"secret": secret})
        span.set_status(Status(StatusCode.ERROR, f"password={secret}"))


def record_logs(provider: LoggerProvider, secret: str) -> None:
    logger = provider.get_logger("shop", "1.0", attributes={"api_key": secret})
    for body in (
        f"password={secret}",
        {"password": secret},
        [["authorization", f"Bearer {secret}"]],
        f"token={secret}".encode(),
    ):
        logger.emit(LogRecord(body=body, attributes=attributes_with(secret), severity_number=SeverityNumber.ERROR))
    logger.emit(LogRecord(body="refused", event_name=f"token={secret}"))


def resource_with(secret: str) -> Resource:
    return Resource({"service.name": "shop", "process.command_line": f"run --password={secret}"}, "https://schema")


def text_of_span(span: ReadableSpan) -> str:
    assert span.instrumentation_scope is not None
    return span.to_json() + str(dict(span.instrumentation_scope.attributes or {}))


def text_of_log(record: ReadableLogRecord) -> str:
    scope = record.instrumentation_scope
    said = record.log_record
    return record.to_json() + str(dict((scope and scope.attributes) or {})) + f"{said.exception!r} {said.body!r}"


@pytest.mark.parametrize("make", SPAN_PROCESSORS)
@pytest.mark.parametrize("kit_is_first", [True, False])
def test_spans_are_redacted_whichever_comes_first(
    make: Callable[[SpanExporter], SpanProcessor], kit_is_first: bool
) -> None:
    """Every part of a span that holds text of the app's is looked at, with providers made before and after the kit."""
    secret, exporter = opaque(), InMemorySpanExporter()
    provider = TracerProvider(resource=resource_with(secret))
    if kit_is_first:
        remove = install(REDACTOR)
        provider.add_span_processor(make(exporter))
    else:
        provider.add_span_processor(make(exporter))
        remove = install(REDACTOR)
    record_span(provider, secret)
    provider.shutdown()
    remove()
    spans = exporter.get_finished_spans()
    assert spans[0].name == "before"
    assert spans[1].attributes is not None
    assert set(spans[1].attributes) == set(attributes_with(secret))
    assert spans[1].attributes["http.response.status_code"] == 200
    assert not any(secret in text_of_span(span) for span in spans)


@pytest.mark.parametrize("make", LOG_PROCESSORS)
@pytest.mark.parametrize("kit_is_first", [True, False])
def test_log_records_are_redacted_whichever_comes_first(
    make: Callable[[Any], LogRecordProcessor], kit_is_first: bool
) -> None:
    """Bodies of every type, attributes, event names, resource and scope."""
    secret, exporter = opaque(), InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=resource_with(secret))
    if kit_is_first:
        remove = install(REDACTOR)
        provider.add_log_record_processor(make(exporter))
    else:
        provider.add_log_record_processor(make(exporter))
        remove = install(REDACTOR)
    record_logs(provider, secret)
    provider.shutdown()
    remove()
    records = exporter.get_finished_logs()
    assert len(records) == 5
    assert not any(secret in text_of_log(record) for record in records)
    assert all(record.resource.attributes["service.name"] == "shop" for record in records)


def span_of(exporter: InMemorySpanExporter, **arguments: Any) -> ReadableSpan:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("shop").start_span("GET /orders", **arguments).end()
    return exporter.get_finished_spans()[-1]


def log_of(**arguments: Any) -> ReadableLogRecord:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("shop").emit(LogRecord(**arguments))
    return exporter.get_finished_logs()[-1]


def test_clean_spans_and_records_are_the_same_objects() -> None:
    """What holds no secret is handed on as it is."""
    records = RecordRedactor(REDACTOR)
    span = span_of(InMemorySpanExporter(), attributes={"http.route": "/orders/{id}", "gen_ai.usage.total_tokens": 1234})
    record = log_of(body="order paid", attributes={"order.id": 7}, exception=ValueError("sold out"))
    assert records.span(span) is span
    assert records.log(record) is record


def test_what_a_redacted_span_is_otherwise_stays() -> None:
    """Identifiers, times, kind, status and the counts of what was dropped."""
    source = span_of(InMemorySpanExporter())
    attributes = BoundedAttributes(2, {"a": 1, "b": 2, "password": opaque()})
    span = ReadableSpan(
        name=source.name,
        context=source.context,
        parent=source.context,
        resource=source.resource,
        attributes=attributes,
        links=[Link(SpanContext(1, 2, is_remote=True), {"n": 1})],
        kind=source.kind,
        status=Status(StatusCode.ERROR, "refused"),
        start_time=source.start_time,
        end_time=source.end_time,
        instrumentation_scope=source.instrumentation_scope,
    )
    redacted = RecordRedactor(REDACTOR).span(span)
    assert redacted is not span
    for name in ("name", "context", "parent", "kind", "start_time", "end_time", "resource", "instrumentation_scope"):
        assert getattr(redacted, name) is getattr(span, name)
    assert redacted.status is span.status
    assert redacted.dropped_attributes == span.dropped_attributes == 1
    assert redacted.links == span.links
    assert redacted.get_span_context() is span.get_span_context()


def test_an_attribute_that_is_clean_stays_beside_a_name_that_is_not() -> None:
    """Of a part without secrets nothing is lost."""
    secret, exporter = opaque(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("shop").start_span(f"token={secret}", attributes={"http.route": "/"})
    span.add_event(f"token={secret}", {"n": 1})
    span.end()
    redacted = RecordRedactor(REDACTOR).span(exporter.get_finished_spans()[0])
    assert dict(redacted.attributes or {}) == {"http.route": "/"}
    assert dict(redacted.events[0].attributes or {}) == {"n": 1}
    assert secret not in redacted.to_json()


def test_the_app_s_own_record_is_not_changed() -> None:
    """Other processors, and the app, still have theirs."""
    secret = opaque()
    record = log_of(body=f"password={secret}", attributes={"n": 1}, exception=ValueError(f"password={secret}"))
    redacted = RecordRedactor(REDACTOR).log(record)
    assert record.log_record.body == f"password={secret}"
    assert record.log_record.exception is not None
    assert secret not in text_of_log(redacted)
    assert redacted.log_record.timestamp == record.log_record.timestamp
    assert dict(redacted.log_record.attributes or {})["n"] == 1


def test_a_resource_is_redacted_once_for_all_its_spans() -> None:
    """Exporters group spans by their resource, which has to stay one."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=resource_with(opaque()))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(2):
        provider.get_tracer("shop").start_span("work").end()
    records = RecordRedactor(REDACTOR)
    first, second = (records.span(span) for span in exporter.get_finished_spans())
    assert first.resource is second.resource
    assert first.resource.schema_url == "https://schema"


def test_a_mistake_of_ours_costs_the_details_and_not_the_span() -> None:
    """What cannot be redacted keeps its place in the trace and shows nothing of the app's."""
    secret, exporter = opaque(), InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "shop", "note": secret}))
    provider.add_span_processor(SimpleSpanProcessor(wrap_span_exporter(exporter, BROKEN)))
    record_span(provider, secret)
    bare = exporter.get_finished_spans()[-1]
    assert secret not in text_of_span(bare)
    assert bare.name == "[redacted:failed]"
    assert bare.context.is_valid
    assert bare.status.status_code is StatusCode.ERROR
    assert dict(bare.resource.attributes) == {"service.name": "shop"}


def test_a_mistake_of_ours_costs_the_details_and_not_the_record() -> None:
    """Severity and time are left."""
    secret = opaque()
    record = log_of(body=secret, attributes={"note": secret}, event_name=secret, severity_text="ERROR")
    bare = RecordRedactor(BROKEN).log(record)
    assert secret not in text_of_log(bare)
    assert bare.log_record.severity_text == "ERROR"


def test_exporters_can_be_wrapped_by_hand() -> None:
    """For processors of another make; one that is wrapped already is not wrapped again."""
    secret, spans, logs = opaque(), InMemorySpanExporter(), InMemoryLogRecordExporter()
    remove = install(REDACTOR)
    span_processor = SimpleSpanProcessor(wrapped := wrap_span_exporter(spans, REDACTOR))
    log_processor = SimpleLogRecordProcessor(wrap_log_exporter(logs, REDACTOR))
    tracers, loggers = TracerProvider(), LoggerProvider()
    tracers.add_span_processor(span_processor)
    loggers.add_log_record_processor(log_processor)
    record_span(tracers, secret)
    record_logs(loggers, secret)
    remove()
    assert span_processor.span_exporter is wrapped
    assert spans.get_finished_spans()
    assert logs.get_finished_logs()
    assert not any(secret in text_of_span(span) for span in spans.get_finished_spans())
    assert not any(secret in text_of_log(record) for record in logs.get_finished_logs())


def test_a_wrapped_exporter_is_otherwise_the_exporter() -> None:
    """Its own methods and attributes are reachable, and its shutdown gets its time-out if it takes one."""
    inner = Closing()
    spans = RedactingSpanExporter(inner, lambda: None)
    logs = RedactingLogRecordExporter(InMemoryLogRecordExporter(), lambda: REDACTOR)
    assert spans.get_finished_spans() == ()
    assert spans.force_flush() is True
    spans.shutdown(250)
    logs.shutdown(250)
    assert inner.timeout == 250
    with pytest.raises(AttributeError):
        _ = spans.unknown


@pytest.mark.parametrize("make", SPAN_PROCESSORS)
def test_redaction_ends_with_its_installation(make: Callable[[SpanExporter], SpanProcessor]) -> None:
    """The classes are as before, and exporters that were wrapped hand on what they get."""
    before = (BatchSpanProcessor.on_end, SimpleSpanProcessor.__init__, SimpleLogRecordProcessor.on_emit)
    secret, exporter = opaque(), InMemorySpanExporter()
    remove = install(REDACTOR)
    provider = TracerProvider()
    provider.add_span_processor(make(exporter))
    remove()
    remove()
    assert before == (BatchSpanProcessor.on_end, SimpleSpanProcessor.__init__, SimpleLogRecordProcessor.on_emit)
    record_span(provider, secret)
    provider.shutdown()
    assert any(secret in span.name for span in exporter.get_finished_spans())


def test_the_newest_installation_is_at_work() -> None:
    """Exporters that the first has wrapped serve the second, and the first again when that ends."""
    word = opaque()
    exporter = InMemorySpanExporter()
    remove_first = install(REDACTOR)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    remove_second = install(Redactor(RedactionSettings(), mask_emails=False, values=[word]))
    provider.get_tracer("shop").start_span(word).end()
    remove_second()
    provider.get_tracer("shop").start_span(word).end()
    remove_first()
    assert [span.name == word for span in exporter.get_finished_spans()] == [False, True]


class Hidden(SimpleSpanProcessor):
    """A processor whose exporter is kept where nobody looks for it."""

    @property
    def span_exporter(self) -> SpanExporter:
        return self.kept

    @span_exporter.setter
    def span_exporter(self, exporter: SpanExporter) -> None:
        self.kept = exporter


class HiddenLogs(SimpleLogRecordProcessor):
    """The same for log records."""

    @property
    def _exporter(self) -> Any:
        return self.kept

    @_exporter.setter
    def _exporter(self, exporter: Any) -> None:
        self.kept = exporter


def test_where_no_exporter_can_be_reached_its_processor_gets_redacted_records() -> None:
    """A later version that keeps it elsewhere shows nothing for that; other processors get theirs unchanged."""
    secret, hidden = opaque(), InMemorySpanExporter()
    logs = InMemoryLogRecordExporter()
    tracers, loggers = TracerProvider(), LoggerProvider()
    remove = install(REDACTOR)
    tracers.add_span_processor(Hidden(hidden))
    loggers.add_log_record_processor(HiddenLogs(logs))
    seen: list[Any] = []

    class Other(LogRecordProcessor):
        def on_emit(self, log_record: Any) -> None:
            seen.append(log_record.log_record.body)

        def shutdown(self) -> None: ...

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            return True

    loggers.add_log_record_processor(Other())
    record_span(tracers, secret)
    record_logs(loggers, secret)
    remove()
    assert len(hidden.get_finished_spans()) == 2
    assert len(logs.get_finished_logs()) == 5
    assert not any(secret in text_of_span(span) for span in hidden.get_finished_spans())
    assert not any(secret in text_of_log(record) for record in logs.get_finished_logs())
    assert seen[0] == f"password={secret}"


def test_what_an_exporter_answers_is_handed_on() -> None:
    """Failure stays failure; what it raises is left to its processor."""

    class Failing(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.FAILURE

    assert wrap_span_exporter(Failing(), REDACTOR).export([]) is SpanExportResult.FAILURE


@pytest.fixture(scope="module")
def plain_span() -> ReadableSpan:
    return span_of(InMemorySpanExporter())


@given(
    name=st.text(max_size=20),
    value=st.one_of(
        st.text(max_size=20), st.lists(st.text(max_size=8), max_size=3).map(tuple), st.integers(), st.booleans()
    ),
    place=st.sampled_from(["text", "sequence", "key", "status"]),
)
def test_no_attribute_lets_a_secret_through(plain_span: ReadableSpan, name: str, value: Any, place: str) -> None:
    """Whatever stands beside it, and a second look changes nothing."""
    secret = "_".join(("sk", "live", secrets.token_hex(14)))
    texts: dict[str, Any] = {"text": f"{value} {secret}", "sequence": (secret,), "key": 1, "status": 1}
    attributes = {name or "n": value, secret if place == "key" else "note": texts[place]}
    context = plain_span.context
    description = f"with {secret}" if place == "status" else "fine"
    span = ReadableSpan(
        name, context, attributes=attributes, resource=plain_span.resource, status=Status(StatusCode.ERROR, description)
    )
    redacted = RecordRedactor(REDACTOR).span(span)
    assert secret not in redacted.to_json()
    assert RecordRedactor(REDACTOR).span(redacted).to_json() == redacted.to_json()
