"""`launchkit redact FILE` takes the secrets out of a file, or out of what comes through a pipe.

The text may be anything: bytes that are no UTF-8 come out as they went in, and so do line endings. What is known as a
secret is what the app hides in its logs with the settings of this place. The app itself is not needed.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import dataclasses
import io
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, TextIO, cast

from launchkit.assembly import redactor
from launchkit.command.failure import DONE, MISUSED, REFUSED, Failed
from launchkit.command.parsers import AddParser
from launchkit.command.text import counted, plain
from launchkit.pipeline.clock import Clock, SystemClock
from launchkit.redaction.engine import Redactor
from launchkit.redaction.stream import Hidden, StreamRedactor
from launchkit.settings import Settings

_CHUNK: Final = 256 * 1024
_MEGABYTE: Final = 1_000_000
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def add(add_parser: AddParser) -> None:
    """Add the subcommand."""
    parser = add_parser(
        "redact",
        help="take the secrets out of a file",
        description="Print a file, or what comes through a pipe, without its secrets. What is secret beyond the rules "
        "for everyone is said by the settings of the environment and of .env in the working directory.",
        epilog="Exit status: 0 for done; 1 if --check is given and something was hidden; 2 for a file or settings that "
        "cannot be used.",
    )
    parser.add_argument("file", metavar="FILE", help="the file, - for standard input")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write to this file, once all of it is redacted")
    parser.add_argument("--explain", action="store_true", help="print what is hidden, where and why, not the text")
    parser.add_argument("--json", action="store_true", help="explain with one JSON object a line")
    parser.add_argument("--check", action="store_true", help="exit with 1 if anything is hidden")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    report = _Report(is_shown=options.explain or options.json, is_json=options.json)
    stream = StreamRedactor(_redactor(Settings()), report)
    try:
        with _source(options.file) as source, _sink(options.output, report) as sink:
            _pass_on(source, sink, stream)
    except BrokenPipeError:  # whoever reads has read enough
        raise
    except OSError as error:
        raise Failed(f"{error.filename or options.file}: {error.strerror}", MISUSED) from error
    return REFUSED if options.check and report.count else DONE


def _redactor(settings: Settings) -> Redactor:
    """Return what takes the secrets out, also where the app's logs are left alone."""
    switched_on = settings.redaction.model_copy(update={"enabled": True})
    return cast("Redactor", redactor(settings.model_copy(update={"redaction": switched_on})))


class _Report:
    """Counts what is hidden, and prints it if that is asked for."""

    def __init__(self, *, is_shown: bool, is_json: bool) -> None:
        self.is_shown = is_shown
        self._is_json = is_json
        self.count = 0

    def __call__(self, hidden: Hidden) -> None:
        self.count += 1
        if self.is_shown:
            sys.stdout.write(f"{json.dumps(dataclasses.asdict(hidden)) if self._is_json else _line(hidden)}\n")


def _line(hidden: Hidden) -> str:
    length = counted(hidden.length, "character", "characters")
    return f"{hidden.line}:{hidden.column}: {hidden.rule}, {length}: {plain(hidden.reason)}"


def _pass_on(source: BinaryIO, sink: BinaryIO | None, stream: StreamRedactor) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    progress = ByteProgress(sys.stderr, SystemClock(), _size(source))
    try:
        for chunk in _chunks(source):
            _put(sink, stream.feed(decoder.decode(chunk)))
            progress.add(len(chunk))
    finally:
        progress.end()
    _put(sink, stream.feed(decoder.decode(b"", final=True)) + stream.close())


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """Return what comes, as it comes: a pipe may stay open for long."""
    read = cast("io.BufferedReader", source).read1
    chunk = read(_CHUNK)
    if chunk.startswith(_UTF_16) and b"\0" in chunk[2:4]:
        raise Failed("this text is UTF-16, in which secrets are not found: convert it to UTF-8 first", MISUSED)
    while chunk:
        yield chunk
        chunk = read(_CHUNK)


def _put(sink: BinaryIO | None, text: str) -> None:
    if sink is not None and text:
        sink.write(text.encode("utf-8", "surrogateescape"))
        sink.flush()


@contextlib.contextmanager
def _source(name: str) -> Iterator[BinaryIO]:
    with open(0, "rb", closefd=False) if name == "-" else Path(name).open("rb") as file:
        yield file


@contextlib.contextmanager
def _sink(output: Path | None, report: _Report) -> Iterator[BinaryIO | None]:
    """Give what the text is written to: the output, else standard output unless something else is printed there."""
    if output is None:
        yield None if report.is_shown else sys.stdout.buffer
        return
    target = output.resolve()
    if target.exists() and not target.is_file():  # a device or a named pipe, which nothing can take the place of
        with target.open("wb") as file:
            yield file
        return
    part = target.with_name(f".launchkit-{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            if target.exists():
                shutil.copymode(target, part)
            yield file
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _size(source: BinaryIO) -> int:
    """Return the bytes of a file, 0 for what has no end yet."""
    status = os.fstat(source.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


class ByteProgress:
    """Says on a terminal, once a second, how much of a long text is done.

    Args:
        stream: where to say it; nothing is said on anything but a terminal.
        clock: tells the time.
        total: bytes of the text, 0 if nobody knows.
    """

    INTERVAL: Final = 1.0
    """Seconds between two updates."""

    def __init__(self, stream: TextIO, clock: Clock, total: int) -> None:
        self._stream = stream
        self._clock = clock
        self._of_total = f" of {total / _MEGABYTE:.1f}" if total else ""
        self._done = 0
        self._last = clock.monotonic()
        self._is_open = False

    def add(self, size: int) -> None:
        """Another `size` bytes are done."""
        self._done += size
        now = self._clock.monotonic()
        if now - self._last >= self.INTERVAL and self._stream.isatty():
            self._stream.write(f"\r{self._done / _MEGABYTE:.1f}{self._of_total} MB")
            self._stream.flush()
            self._last, self._is_open = now, True

    def end(self) -> None:
        """Leave the line."""
        if self._is_open:
            self._stream.write("\n")
