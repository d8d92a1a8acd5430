"""What in the payload of a Sentry item is the app's, and therefore redacted.

- What Sentry itself reads is kept, lest it refuse an event or group it differently: identifiers, times, levels,
  releases, and of a stack its files, functions, modules and lines (https://develop.sentry.dev/sdk/data-model/event-payloads/).
  All else is redacted by its keys and its content.
- Attributes of logs, metrics and spans, `{"name": {"value": ..., "type": ...}}`, are judged as if they were plain.
- A parameter of a message is hidden if redaction takes it out of the message, because `password=%s` gives it away and
  the parameter alone does not; and the other way round, because a parameter may have a name.
- `_meta`, where Sentry notes what was cut short, repeats the app's keys, and is left out of a payload that has changed.
- Of what cannot be redacted nothing of the app's is sent: an error keeps its type and its stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from launchkit.redaction.engine import Redactor
from launchkit.redaction.found import MARKER, marker

HIDDEN: Final = marker("failed")
"""What is sent in place of data that could not be redacted."""

_PARAMETER: Final = "sentry.message.parameter."

Hide = Callable[[object], object]
"""Takes the secrets out of the app's data: returns it itself if it holds none."""


def redacted_payload(payload: Any, kind: str | None, redactor: Redactor) -> Any:
    """Return the JSON payload of an item without secrets: itself if it holds none. Never raises.

    Args:
        payload: what is to be sent; it is not changed.
        kind: the item's type, `event` for one.
        redactor: takes the secrets out.
    """
    part = _PARTS.get(kind or "", _EVENT)
    try:
        redacted = part.walk(payload, redactor.redact_data)
    except Exception:  # noqa: BLE001  # a mistake of ours must neither show a secret nor cost the app its event
        return _explained(part.walk(payload, _hide_all), part)
    if redacted is not payload and isinstance(redacted, dict):
        redacted.pop("_meta", None)
    return redacted


def redacted_headers(headers: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return the headers of an envelope without secrets: the name of a transaction is the app's. Never raises."""
    try:
        redacted: dict[str, Any] = _HEADERS.walk(headers, redactor.redact_data)
    except Exception:  # noqa: BLE001  # see above
        redacted = _HEADERS.walk(headers, _hide_all)
    return redacted


def _hide_all(_said: object) -> object:
    return {}


def _explained(payload: Any, part: _Part) -> Any:
    """Say why a payload holds no more than what Sentry itself reads, and keep it valid."""
    if part is _EVENT:
        payload["logentry"] = {"formatted": HIDDEN}
    for item in payload.get("items", ()):
        item.update(body=HIDDEN) if part is _PARTS["log"] else item.update(name=HIDDEN)
    return payload


class _Part:
    """An object in a payload, or each object of a list.

    Args:
        kept: keys of what Sentry itself reads, by blanks.
        parts: keys of what Sentry reads in part.
    """

    def __init__(self, kept: str = "", parts: Mapping[str, _Part] | None = None) -> None:
        self._kept = frozenset(kept.split())
        self._parts = parts or {}

    def walk(self, value: Any, hide: Hide) -> Any:
        """Return the value with the app's data in it hidden: itself if there is nothing to hide."""
        if isinstance(value, list):
            items = [self.walk(item, hide) for item in value]
            return value if all(new is old for new, old in zip(items, value, strict=True)) else items
        return self._object(value, hide) if isinstance(value, dict) else hide(value)

    def _object(self, value: dict[str, Any], hide: Hide) -> Any:
        said = {name: item for name, item in value.items() if name not in self._kept and name not in self._parts}
        parts = {name: part.walk(value[name], hide) for name, part in self._parts.items() if name in value}
        hidden = hide(said)
        if hidden is said and all(parts[name] is value[name] for name in parts):
            return value
        kept = {name: item for name, item in value.items() if name in self._kept}
        return {**kept, **parts, **(hidden if isinstance(hidden, dict) else {})}


class _Message(_Part):
    """A message with its parameters: `message`, `params`, `formatted`."""

    def _object(self, value: dict[str, Any], hide: Hide) -> Any:
        hidden = super()._object(value, hide)
        whole = value.get("formatted") or _formatted(value)
        if not whole or not hidden.get("params"):
            return hidden
        before, after = _listed(value["params"]), _listed(hidden["params"])
        shown, parameters = _agreed(whole, str(hide(whole)), before, after)
        if shown == whole and parameters == before:
            return hidden
        if isinstance(hidden["params"], dict):
            return {**hidden, "formatted": shown, "params": dict(zip(hidden["params"], parameters, strict=True))}
        return {**hidden, "formatted": shown, "params": parameters}


class _Attributes(_Part):
    """Attributes with their types: `{"name": {"value": ..., "type": "string"}}`."""

    def _object(self, value: dict[str, Any], hide: Hide) -> Any:
        plain = {name: item["value"] for name, item in value.items()}
        hidden = hide(plain)
        if hidden is plain:
            return value
        if not isinstance(hidden, dict) or not hidden:
            return {}
        return {
            name: old if item is old["value"] else {**old, "value": item, "type": _type(item, old["type"])}
            for (name, item), old in zip(hidden.items(), value.values(), strict=True)
        }


class _Log(_Part):
    """An entry of the log, whose `attributes` have the parameters of its `body`."""

    def _object(self, value: dict[str, Any], hide: Hide) -> Any:
        hidden = super()._object(value, hide)
        if hidden is value and hide(value["body"]) is value["body"]:
            return value
        attributes = {**hidden.get("attributes", {})}
        names = [name for name in attributes if name.startswith(_PARAMETER) and name in value["attributes"]]
        before = [value["attributes"][name]["value"] for name in names]
        after = [attributes[name]["value"] for name in names]
        body, parameters = _agreed(value["body"], hidden.get("body", ""), before, after)
        for name, parameter in zip(names, parameters, strict=True):
            attributes[name] = {"value": parameter, "type": _type(parameter, attributes[name]["type"])}
        return {**hidden, "body": body, "attributes": attributes}


def _listed(parameters: Any) -> list[Any]:
    if isinstance(parameters, dict):
        return list(parameters.values())
    return parameters if isinstance(parameters, list) else []


def _formatted(entry: dict[str, Any]) -> str:
    parameters = entry.get("params")
    try:
        return str(entry["message"] % (tuple(parameters) if isinstance(parameters, list) else parameters))
    except Exception:  # noqa: BLE001  # not every template is one of this kind
        return ""


def _agreed(whole: str, shown: str, before: list[Any], after: list[Any]) -> tuple[str, list[Any]]:
    """Hide in a message what is hidden of its parameters, and of these what is hidden in the message.

    Args:
        whole: the message as it was.
        shown: the message without secrets.
        before: the parameters as they were.
        after: the parameters without secrets.
    """
    for parameter, hidden in zip(before, after, strict=True):
        if hidden is not parameter and parameter != "":
            shown = shown.replace(str(parameter), str(hidden))
    rest = MARKER.sub("", shown)
    return shown, [
        marker("parameter")
        if parameter != "" and whole.count(str(parameter)) > rest.count(str(parameter))
        else parameter
        for parameter in after
    ]


def _type(value: object, before: str) -> str:
    return "string" if isinstance(value, str) else before


class _Frame(_Part):
    """A frame of a stack, with its local variables."""

    def _object(self, value: dict[str, Any], hide: Hide) -> Any:
        if value.get("module") == "logging":  # its variables are the record's parts, without what tells a secret
            value = {name: item for name, item in value.items() if name != "vars"}
        return super()._object(value, hide)


_ATTRIBUTES: Final = _Attributes()
_FRAME: Final = _Frame("filename abs_path function module lineno colno in_app platform")
_STACKTRACE: Final = _Part(parts={"frames": _FRAME})
_MECHANISM: Final = _Part("type handled synthetic source is_exception_group exception_id parent_id")
_EXCEPTION: Final = _Part("type module thread_id", {"stacktrace": _STACKTRACE, "mechanism": _MECHANISM})
_THREAD: Final = _Part("id crashed current main", {"stacktrace": _STACKTRACE})
_BREADCRUMB: Final = _Part("timestamp type level")
_TRACE: Final = _Part("trace_id span_id parent_span_id op origin status type")
_SPAN: Final = _Part(
    "trace_id span_id parent_span_id op origin status start_timestamp timestamp end_timestamp is_segment hash",
    {"attributes": _ATTRIBUTES},
)
_LOG: Final = _Log("timestamp level trace_id span_id", {"attributes": _ATTRIBUTES})
_METRIC: Final = _Part("timestamp type value unit trace_id span_id", {"attributes": _ATTRIBUTES})
_EVENT: Final = _Part(
    "event_id type timestamp start_timestamp platform level release dist environment server_name sdk modules"
    " transaction_info measurements debug_meta check_in_id monitor_slug monitor_config duration status",
    {
        "exception": _Part(parts={"values": _EXCEPTION}),
        "threads": _Part(parts={"values": _THREAD}),
        "stacktrace": _STACKTRACE,
        "logentry": _Message(),
        "breadcrumbs": _Part(parts={"values": _BREADCRUMB}),
        "contexts": _Part(parts={"trace": _TRACE}),
        "spans": _SPAN,
    },
)
_SESSION: Final = _Part(
    "sid init started timestamp duration status errors seq aggregates", {"attrs": _Part("release environment")}
)
_PROFILE: Final = _Part(
    "event_id profile_id profiler_id chunk_id client_sdk version timestamp platform release environment device os"
    " runtime profile"
)
_PARTS: Final[Mapping[str, _Part]] = {
    "log": _Part("version", {"items": _LOG}),
    "trace_metric": _Part("version", {"items": _METRIC}),
    "span": _Part("version", {"items": _SPAN}),
    "session": _SESSION,
    "sessions": _SESSION,
    "profile": _PROFILE,
    "profile_chunk": _PROFILE,
    "client_report": _Part("timestamp discarded_events"),
}
"""By type of item; whatever is not named here is taken for an event."""

_HEADERS: Final = _Part(
    "event_id sent_at dsn sdk",
    {"trace": _Part("trace_id public_key org_id replay_id sample_rate sample_rand sampled release environment")},
)
