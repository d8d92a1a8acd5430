"""Spans and log records without secrets.

Redacted are names, attributes (by their names, too), events, links, the description of the status, the body of a log
record, and the attributes of resource and instrumentation scope. Kept are identifiers, times, kinds, severities and the
counts of what was dropped. The app's own objects are never changed: what holds a secret is made anew, with public
constructors only, so that a later version of the SDK cannot make it ineffective unnoticed.

What cannot be redacted keeps its place in the trace, its times, its service and its library, and nothing else.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from launchkit.redaction.engine import Redactor
from launchkit.redaction.found import marker

HIDDEN: Final = marker("failed")
"""What is exported in place of a name or body that could not be redacted."""

T = TypeVar("T")
Attributes = Mapping[str, Any] | None


class RecordRedactor:
    """Redacts what is exported together. Made for one export, so that a resource is redacted once for all its spans."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._done: dict[int, tuple[object, object]] = {}

    def span(self, span: ReadableSpan) -> ReadableSpan:
        """Return the span without secrets: itself if it holds none. Never raises."""
        try:
            return self._span(span)
        except Exception:  # noqa: BLE001  # a mistake of ours must neither show a secret nor cost the app its span
            return _bare_span(span)

    def log(self, record: ReadableLogRecord) -> ReadableLogRecord:
        """Return the log record without secrets: itself if it holds none. Never raises."""
        try:
            return self._log(record)
        except Exception:  # noqa: BLE001  # see above
            return _bare_log(record)

    def _span(self, span: ReadableSpan) -> ReadableSpan:
        name = self._redactor.redact(span.name)
        attributes = self._attributes(span.attributes, span.dropped_attributes)
        events = [self._event(event) for event in span.events]
        links = [self._link(link) for link in span.links]
        status = self._status(span.status)
        resource, scope = self._resource(span.resource), self._scope(span.instrumentation_scope)
        before = (span.name, *span.events, *span.links, span.status, span.resource, span.instrumentation_scope)
        after = (name, *events, *links, status, resource, scope)
        if attributes is None and all(new is old for new, old in zip(after, before, strict=True)):
            return span
        return ReadableSpan(
            name=name,
            context=span.get_span_context(),
            parent=span.parent,
            resource=resource,
            attributes=_bounded(span.attributes, span.dropped_attributes) if attributes is None else attributes,
            events=_listed(events, span.dropped_events),
            links=_listed(links, span.dropped_links),
            kind=span.kind,
            status=status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=scope,
        )

    def _log(self, record: ReadableLogRecord) -> ReadableLogRecord:
        said = record.log_record
        body = self._redactor.redact_data(said.body)
        attributes = self._attributes(said.attributes, record.dropped_attributes)
        name = said.event_name and self._redactor.redact(said.event_name)
        exception = self._redactor.redact_data(said.exception)
        resource, scope = self._resource(record.resource), self._scope(record.instrumentation_scope)
        before = (said.body, said.event_name, said.exception, record.resource, record.instrumentation_scope)
        after = (body, name, exception, resource, scope)
        if attributes is None and all(new is old for new, old in zip(after, before, strict=True)):
            return record
        redacted: Any = copy.copy(said)
        redacted.body, redacted.event_name = body, name
        redacted.attributes = said.attributes if attributes is None else attributes
        redacted.exception = said.exception if exception is said.exception else None  # attributes tell what it was
        return dataclasses.replace(record, log_record=redacted, resource=resource, instrumentation_scope=scope)

    def _attributes(self, attributes: Attributes, dropped: int) -> BoundedAttributes | None:
        """Return the attributes without secrets, None if they hold none."""
        plain = dict(attributes or {})
        redacted = self._redactor.redact_data(plain)
        if redacted is plain:
            return None
        return _bounded(redacted if isinstance(redacted, dict) else {}, dropped)

    def _event(self, event: Event) -> Event:
        name = self._redactor.redact(event.name)
        attributes = self._attributes(event.attributes, event.dropped_attributes)
        if attributes is None and name is event.name:
            return event
        return Event(name, event.attributes if attributes is None else attributes, event.timestamp)

    def _link(self, link: Link) -> Link:
        attributes = self._attributes(link.attributes, link.dropped_attributes)
        return link if attributes is None else Link(link.context, attributes)

    def _status(self, status: Status) -> Status:
        description = status.description and self._redactor.redact(status.description)
        return status if description is status.description else Status(status.status_code, description)

    def _resource(self, resource: Resource) -> Resource:
        def make() -> Resource:
            attributes = self._attributes(resource.attributes, 0)
            return resource if attributes is None else Resource(attributes, resource.schema_url)

        return self._once(resource, make)

    def _scope(self, scope: InstrumentationScope | None) -> InstrumentationScope | None:
        def make() -> InstrumentationScope | None:
            attributes = None if scope is None else self._attributes(scope.attributes, 0)
            if scope is None or attributes is None:
                return scope
            return InstrumentationScope(scope.name, scope.version, scope.schema_url, attributes)

        return self._once(scope, make)

    def _once(self, value: T, make: Callable[[], T]) -> T:
        """Return what stands for an object that many spans share; it is kept, so that its id stays its own."""
        if id(value) not in self._done:
            self._done[id(value)] = (value, make())
        return cast("T", self._done[id(value)][1])


def _bounded(attributes: Attributes, dropped: int) -> BoundedAttributes:
    bounded = BoundedAttributes(attributes=attributes)
    bounded.dropped = dropped
    return bounded


def _listed(items: Iterable[T], dropped: int) -> Sequence[T]:
    listed = BoundedList.from_seq(None, items)
    listed.dropped = dropped
    return listed


def _bare_span(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=HIDDEN,
        context=span.get_span_context(),
        parent=span.parent,
        resource=_bare_resource(span.resource),
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=_bare_scope(span.instrumentation_scope),
    )


def _bare_log(record: ReadableLogRecord) -> ReadableLogRecord:
    bare: Any = copy.copy(record.log_record)
    bare.body, bare.attributes, bare.event_name, bare.exception = HIDDEN, None, None, None
    return dataclasses.replace(
        record,
        log_record=bare,
        resource=_bare_resource(record.resource),
        instrumentation_scope=_bare_scope(record.instrumentation_scope),
    )


def _bare_resource(resource: Resource) -> Resource:
    return Resource({name: value for name, value in resource.attributes.items() if name == SERVICE_NAME})


def _bare_scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    return scope and InstrumentationScope(scope.name, scope.version)
