"""A sender that LaunchKit does not know by name, described by its documentation's few words on signatures."""

from __future__ import annotations

from string import Formatter
from typing import Final, Literal, cast

from launchkit.webhooks.schemes.hmac_format import BODY, ID, TIMESTAMP, HmacFormat, Part
from launchkit.webhooks.schemes.places import Field, Header

ALGORITHMS: Final = ("sha256", "sha1", "sha384", "sha512")
ENCODINGS: Final = ("hex", "base64")


def generic(
    header: str,
    *,
    algorithm: str = "sha256",
    encoding: str = "hex",
    prefix: str = "",
    template: str = "{body}",
    timestamp_header: str | None = None,
    id_header: str | None = None,
    id_field: str | None = None,
    event_header: str | None = None,
    event_field: str | None = None,
) -> HmacFormat:
    """Return the scheme of a sender that puts one HMAC of the body into a header.

    Args:
        header: the header with the signature.
        algorithm: `sha256`, `sha1`, `sha384` or `sha512`.
        encoding: `hex` or `base64`.
        prefix: what stands before the signature, such as `sha256=`.
        template: what is signed, of `{body}`, `{timestamp}`, `{id}`, `{url}` and fixed text: `v0:{timestamp}:{body}`.
        timestamp_header: the header with the signed time, in seconds since 1970.
        id_header: the header with the delivery's id.
        id_field: else the field of the JSON body with it, such as `data.id`; by default the body's SHA-256 is the id.
        event_header: the header with the kind of event.
        event_field: else the field of the JSON body with it.

    Raises:
        ValueError: for what does not fit together, with the remedy.
    """
    signed = _parts(template)
    _check(signed, algorithm, encoding, timestamp_header, id_header)
    return HmacFormat(
        signature=Header(header),
        prefix=prefix.encode(),
        algorithm=algorithm,
        encoding=cast("Literal['hex', 'base64']", encoding),
        signed=signed,
        timestamp=Header(timestamp_header) if timestamp_header else None,
        id=_place("id", id_header, id_field),
        event=_place("event", event_header, event_field),
    )


def _parts(template: str) -> tuple[Part | bytes, ...]:
    """Return what a template is made of."""
    names = [part.value for part in Part]
    parts: list[Part | bytes] = []
    try:
        parsed = list(Formatter().parse(template))
    except ValueError:
        raise ValueError("template has a brace too many: write braces that are signed twice, {{ and }}") from None
    for text, name, specification, conversion in parsed:
        parts += [text.encode()] if text else []
        if name is None:
            continue
        if name not in names or specification or conversion:
            raise ValueError(f"template knows only {', '.join(f'{{{known}}}' for known in names)}")
        parts.append(Part(name))
    return tuple(parts)


def _check(
    signed: tuple[Part | bytes, ...],
    algorithm: str,
    encoding: str,
    timestamp_header: str | None,
    id_header: str | None,
) -> None:
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm should be one of {', '.join(ALGORITHMS)}")
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding should be one of {', '.join(ENCODINGS)}")
    if BODY not in signed:
        raise ValueError("template should contain {body}: nothing else vouches for what is delivered")
    if (TIMESTAMP in signed) != (timestamp_header is not None):
        raise ValueError("template should contain {timestamp} if and only if timestamp_header names its header")
    if ID in signed and id_header is None:
        raise ValueError("template contains {id}: id_header should name its header")


def _place(what: str, header: str | None, field: str | None) -> Header | Field | None:
    if header and field:
        raise ValueError(f"{what}_header and {what}_field exclude each other: set one of them")
    if header:
        return Header(header)
    return Field(field) if field else None
