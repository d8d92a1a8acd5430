"""What can be known of the server that runs the app: its environment variables and command lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Self

SERVERS: Final = ("gunicorn", "uvicorn", "hypercorn", "granian", "fastapi")
"""Servers that take their number of processes from `--workers` or `-w`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a process runs.

    Attributes:
        environ: its environment variables.
        command_lines: the words of the commands that started it and its parent, which may be the server's master.
    """

    environ: Mapping[str, str]
    command_lines: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def here(cls) -> Self:
        """Return the surroundings of this process."""
        return cls(os.environ, (tuple(sys.orig_argv), _parents_command()))

    def workers(self) -> int:
        """Return how many processes the server has been told to run; 1 if nothing says so."""
        told = [count for words in self._servers() for count in _counts(words, "--workers", "-w")]
        told += _counts(tuple(self.environ.get("GUNICORN_CMD_ARGS", "").split()), "--workers", "-w")
        if not told:
            told = [_number(self.environ.get(name, "")) for name in ("UVICORN_WORKERS", "WEB_CONCURRENCY")]
        return max([1, *told])

    def server_knows_scheme(self) -> bool:
        """Tell whether the server ends TLS itself, or was told which proxies to believe about it."""
        if "FORWARDED_ALLOW_IPS" in self.environ or "UVICORN_FORWARDED_ALLOW_IPS" in self.environ:
            return True
        marks = ("--forwarded-allow-ips", "--ssl-", "--certfile", "--cert")
        return any(word.startswith(marks) for words in self._servers() for word in words)

    def _servers(self) -> Iterator[tuple[str, ...]]:
        return (words for words in self.command_lines if any(PurePath(word).stem in SERVERS for word in words))


def _parents_command() -> tuple[str, ...]:
    try:
        text = Path(f"/proc/{os.getppid()}/cmdline").read_text("utf-8", "replace")
    except OSError:  # Linux alone has it
        return ()
    return tuple(text.split("\0"))


def _counts(words: tuple[str, ...], long: str, short: str) -> list[int]:
    """Return the numbers given as `--workers 4`, `--workers=4`, `-w 4` or `-w4`."""
    found = []
    for word, following in zip(words, (*words[1:], ""), strict=False):
        if word in (long, short):
            found.append(_number(following))
        elif word.startswith((long + "=", short)):
            found.append(_number(word.removeprefix(long + "=").removeprefix(short)))
    return [count for count in found if count > 0]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
