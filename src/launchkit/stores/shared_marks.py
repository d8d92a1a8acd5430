"""The marks that all workers of one machine share: a change that one makes is known to all of them at once.

The rules:

- The file is made under another name and linked to its own, so that nobody ever sees half of one. It is allocated in
  full at once: touching what a full disk has no space for would end the process (SIGBUS).
- One that cannot be used is unlinked, never changed, by one process at a time. So is one whose latest mark is in the
  future: it is from before the machine's last start, when the clock began anew. (One that is from before and not in the
  future does no harm: what it remembers is older than any look-up.)
- A file that was removed while it is used (systemd's RemoveIPC does that to `/dev/shm` when a user logs out) is found
  out within a second, and before every mark, and opened anew; what was looked up before is not current then.
- The map outlives a fork: parent and child go on sharing it.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from launchkit.pipeline.clock import Clock
from launchkit.stores.marks import CELLS, KEY_BYTES, SLOTS, Marks, announce, moment_at, table_of
from launchkit.stores.shared_file import (
    CHECKSUM,
    OPEN,
    Identity,
    identity_of_own,
    is_at,
    lock,
    open_at_first,
    sealed,
)

VERSION: Final = 1
"""Of the layout."""

_SAYS: Final = (b"launchkit marks %d %d" % (VERSION, SLOTS)).ljust(48, b"\0")
_HEADER: Final = len(_SAYS) + KEY_BYTES + CHECKSUM
_CELLS_AT: Final = 4096
_SIZE: Final = _CELLS_AT + 8 * CELLS
_WORD: Final = struct.Struct("=q")
_TRIES: Final = 10
_LOOK_SECONDS: Final = 1.0
_FUTURE_SECONDS: Final = 1.0
_PATIENCE: Final = 0.01
_NEVER: Final = 2**63


class _File(NamedTuple):
    path: Path
    identity: Identity
    key: bytes
    cells: memoryview[int]


class SharedMarks(Marks):
    """For each name, when it was last marked by any process of this machine that is given the same places.

    Nothing is opened, and this process is alone, before `share` is called.

    Args:
        places: where the file may be, the best first; see `launchkit.stores.table.places`.
        clock: only its monotonic time is asked, which must be the machine's.
    """

    def __init__(self, places: tuple[Path, ...], clock: Clock) -> None:
        super().__init__(clock)
        self._paths = tuple([path.with_name(f"{path.name}-marks-{VERSION}-{SLOTS}") for path in places])
        self._file: _File | None = None

    def share(self) -> None:
        """Open the file, or make it. What was looked up before is not current then.

        Raises:
            OSError: if there can be no such file here; then this process stays alone.
        """
        now = self._now()
        if self._file is None:
            self._open(now)
        self._look_at = now + _LOOK_SECONDS

    def mark(self, names: Iterable[str]) -> None:
        """Let no moment up to now be current for these names, in any process."""
        if self._file is not None:
            self._look(self._now())
        super().mark(names)

    def _look(self, now: float) -> None:
        self._look_at = now + _LOOK_SECONDS
        file = self._file
        with contextlib.suppress(OSError):  # or else go on with what the other processes have, too
            if file is not None and is_at(file.path, file.identity):
                os.utime(file.path)  # because the system does not count writing to memory as a change
            else:
                self._open(now)

    def _open(self, now: float) -> None:
        """Go over to the file. No moment is current until one can be taken that is after all before."""
        file = open_at_first(self._paths, lambda path, create: _open_at(path, now, create=create))
        before = self.moment()
        self._table = table_of(file.cells, file.key, since=_NEVER)
        self._table = table_of(file.cells, file.key, since=announce(file.cells, max(before, self.moment())))
        self._file = file


def _open_at(path: Path, now: float, *, create: bool) -> _File:
    for _ in range(_TRIES):  # once is enough unless the file is replaced at this moment
        try:
            file = os.open(path, OPEN)
        except FileNotFoundError:
            if not create:
                raise
            _make(path)
            continue
        try:
            identity = identity_of_own(file, path)
            if _is_usable(file, now):
                cells = memoryview(mmap.mmap(file, _SIZE))[_CELLS_AT:].cast("q")
                return _File(path, identity, os.pread(file, KEY_BYTES, len(_SAYS)), cells)
            if lock(file, _PATIENCE) and is_at(path, identity):
                path.unlink()
        finally:
            os.close(file)
    raise OSError(errno.EAGAIN, "is replaced again and again", str(path))


def _is_usable(file: int, now: float) -> bool:
    status = os.fstat(file)
    if status.st_size != _SIZE or status.st_mode & 0o077:
        return False
    header = os.pread(file, _HEADER, 0)
    (latest,) = _WORD.unpack(os.pread(file, _WORD.size, _CELLS_AT))
    return (
        header.startswith(_SAYS) and header == sealed(header[:-CHECKSUM]) and latest < moment_at(now + _FUTURE_SECONDS)
    )


def _make(path: Path) -> None:
    if not hasattr(os, "posix_fallocate"):
        raise OSError(errno.ENOTSUP, "this platform cannot allocate a file in full", str(path))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
    file = os.open(unfinished, OPEN | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(file, 0, _SIZE)
        os.pwrite(file, sealed(_SAYS + os.urandom(KEY_BYTES)), 0)
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(unfinished, path)
    finally:
        os.close(file)
        unfinished.unlink()
