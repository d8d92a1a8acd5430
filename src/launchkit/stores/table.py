"""A table in shared memory that all processes of one machine use: its file, its layout and its lock.

The rules:

- A file is found by its path, which carries layout and size. It is this user's, readable by nobody else, and no link:
  in a folder that everyone may write to, another's file of that name is refused.
- A file that is mapped is never shortened: touching what is gone from it would end the process (SIGBUS). One that is
  damaged, or from before the machine's last start, is unlinked and made anew. For the same reason it is allocated in
  full at once.
- Slots are in sets of eight. A random key of the table decides which set a name belongs to, so that nobody who chooses
  names can aim at a set. In a full set the victim is one that has expired, else the one not protected that was written
  longest ago, else the one protected for the shortest time.
- The lock is `flock` on an open file of this process alone, which the system releases however the process ends. Only
  its holder reads or writes slots. What is written goes to a journal first: a process that dies while it copies leaves
  the whole of it there, and the next one to get the lock copies it again.
- Python's `mmap` keeps a duplicate of its descriptor, which a forked child would inherit with any lock on it. So the
  lock has an open file of its own, and a child closes it at once: tables do not survive a fork.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
import weakref
from pathlib import Path
from typing import Final, TypeAlias

from launchkit.stores.shared_file import (
    CHECKSUM,
    OPEN,
    identity_of_own,
    is_at,
    lock,
    open_at_first,
    sealed,
)

VERSION: Final = 1
"""Of the layout, and of what the rate limits keep in a slot."""

PAYLOAD: Final = 264
"""Bytes that a slot holds at most."""

_WAYS: Final = 8
_DIGEST: Final = 16
_FIRST_HALF: Final = struct.Struct("=Q8x")
_HEAD: Final = struct.Struct("=dddQ")  # protected until, expires, written (monotonic seconds), bytes of payload
_RECORD: Final = _HEAD.size + PAYLOAD
_DIGESTS: Final = _WAYS * _DIGEST
_SET: Final = _DIGESTS + _WAYS * _RECORD

_IDENTITY: Final = 96
_KEY: Final = 16
_HEADER: Final = _IDENTITY + _KEY + CHECKSUM
_PENDING: Final = 1024  # one byte: whether the journal holds something that may not have been copied yet
_JOURNAL: Final = 1032
_ENTRY: Final = struct.Struct("=QQ16sdddQ")  # where the digest goes, where the record goes, the digest, the head
_ADDRESSING: Final = _ENTRY.size - _HEAD.size
_SLOTS_AT: Final = 4096

Address: TypeAlias = tuple[bytes, int]
"""The digest of a name, and where its set begins."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def places(data_dir: Path, shared_memory: Path = Path("/dev/shm")) -> tuple[Path, ...]:  # noqa: S108  # see `Table`
    """Return where the table of a `data_dir` may be, the best first: in memory, else on the disk.

    Linux keeps files in `/dev/shm` in memory alone: no disk is written to, and they are gone with the next start.
    """
    directory = hashlib.blake2b(os.fsencode(data_dir.resolve()), digest_size=8).hexdigest()
    on_disk = data_dir / "rate-limits"
    return (shared_memory / f"launchkit-{os.geteuid()}-{directory}", on_disk) if shared_memory.is_dir() else (on_disk,)


def open_table(paths: tuple[Path, ...], slots: int, *, patience: float = 5.0) -> Table:
    """Return the table that is at one of these paths, else make it at the first that takes it; see `Table`.

    One that exists comes first wherever it is, because others are using it.

    Raises:
        OSError: as for the last path.
    """
    return open_at_first(paths, lambda path, create: Table(path, slots, create=create, patience=patience))


class Table:
    """Payloads by name, for all processes that open the same path with the same number of slots.

    Times are seconds of a monotonic clock that the processes share, as Linux' is. A payload from the future is from
    before that clock's last start: it is taken for expired.

    Args:
        path: to which layout and size are added.
        slots: how many payloads are kept at most, rounded up to a multiple of eight.
        create: make the file where there is none that can be used.
        patience: seconds to wait, asleep, for another process that is just making it.

    Raises:
        OSError: if there is no such table, it cannot be made, or the platform lacks what that takes.
    """

    def __init__(self, path: Path, slots: int, *, create: bool = True, patience: float = 5.0) -> None:
        self._lock_file = -1
        if not hasattr(os, "posix_fallocate"):
            raise OSError(errno.ENOTSUP, "this platform cannot allocate a file in full")
        self._sets = -(-slots // _WAYS)
        self._size = _SLOTS_AT + self._sets * _SET
        self._path = path.with_name(f"{path.name}-{VERSION}-{self._sets * _WAYS}")
        self._threads = threading.Lock()
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(10):  # once is enough unless the file is replaced at this moment
            if self._open(patience, create=create):
                break
        else:
            raise OSError(errno.EAGAIN, "is replaced again and again", str(self._path))
        self._hash = hashlib.blake2b(digest_size=_DIGEST, key=self._memory[_IDENTITY : _IDENTITY + _KEY])
        _tables.add(self)

    # --- the file ----------------------------------------------------------------------------------------------------

    def _open(self, patience: float, *, create: bool) -> bool:
        """Open and map the file; return False if it turned out to be another one than a moment ago."""
        file = os.open(self._path, OPEN | (os.O_CREAT if create else 0), 0o600)
        try:
            self._identity = identity_of_own(file, self._path)
            if not self._is_table(file) and not self._prepare(file, patience, create=create):
                return False
            if not self._map() or not self.is_current():
                return False
            self._lock_file, file = file, -1
            return True
        finally:
            if file >= 0:
                os.close(file)

    def _is_table(self, file: int) -> bool:
        """Tell whether a file can be used: its header, which is written last, is whole and says so."""
        status = os.fstat(file)
        header = os.pread(file, _HEADER, 0)
        return (
            status.st_size == self._size
            and not status.st_mode & 0o077
            and header[:_IDENTITY] == self._says()
            and header == sealed(header[:-CHECKSUM])
        )

    def _says(self) -> bytes:
        return (b"launchkit table %d %d %b" % (VERSION, self._sets, _boot_id()))[:_IDENTITY].ljust(_IDENTITY, b"\0")

    def _prepare(self, file: int, patience: float, *, create: bool) -> bool:
        """Make an empty file a table; unlink one that cannot be used and return False."""
        if not lock(file, patience):
            raise BlockingIOError(errno.EAGAIN, "is locked", str(self._path))
        if not self.is_current():
            return False
        if not self._is_table(file):  # or else another process has just made it
            if not create:
                raise FileNotFoundError(errno.ENOENT, "is no table of this start of the machine", str(self._path))
            if os.fstat(file).st_size > 0:
                self._path.unlink()
                return False
            self._allocate(file)
        fcntl.flock(file, fcntl.LOCK_UN)
        return True

    def _allocate(self, file: int) -> None:
        try:
            os.posix_fallocate(file, 0, self._size)
            os.pwrite(file, sealed(self._says() + os.urandom(_KEY)), 0)
        except OSError:
            self._path.unlink()
            raise

    def _map(self) -> bool:
        """Map the file through a descriptor of its own, which is never locked."""
        file = os.open(self._path, OPEN)
        try:
            self._memory = mmap.mmap(file, self._size)
            return identity_of_own(file, self._path) == self._identity
        finally:
            os.close(file)

    def touch(self) -> None:
        """Say that this table is in use: the system does not count writing to memory as such."""
        with contextlib.suppress(OSError):
            os.utime(self._lock_file)

    def is_current(self) -> bool:
        """Tell whether this is still the file that a process which starts now would open."""
        return is_at(self._path, self._identity)

    @property
    def closed(self) -> bool:
        """Whether this table cannot be used any more, as in the child of a fork."""
        return self._lock_file < 0

    def close(self) -> None:
        """Give the lock up, and the file; the memory goes with the object."""
        file, self._lock_file = self._lock_file, -1
        if file >= 0:
            os.close(file)

    __del__ = close

    # --- the lock ----------------------------------------------------------------------------------------------------

    def try_lock(self) -> bool:
        """Lock the table, or return False at once."""
        if not self._threads.acquire(False):  # by position, which is faster
            return False
        return self._lock_for_processes(0)

    def lock(self, patience: float) -> bool:
        """Lock the table, or return False after so many seconds, asleep: not for the event loop."""
        until = time.monotonic() + patience  # of the machine, as sleep is, whatever clock the payloads have
        if not self._threads.acquire(timeout=patience):
            return False
        return self._lock_for_processes(until - time.monotonic())

    def _lock_for_processes(self, patience: float) -> bool:
        locked = False
        try:
            locked = lock(self._lock_file, patience)
            if locked and self._memory[_PENDING]:
                self._repair()
        finally:
            if not locked:
                self._threads.release()
        return locked

    def unlock(self) -> None:
        """Unlock what was locked."""
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    # --- payloads: for the lock's holder -----------------------------------------------------------------------------

    def address(self, name: bytes) -> Address:
        """Return what a name is known by in this table. Needs no lock."""
        keyed = self._hash.copy()
        keyed.update(name)
        digest = keyed.digest()
        return digest, _SLOTS_AT + _FIRST_HALF.unpack(digest)[0] % self._sets * _SET

    def fetch(self, address: Address, now: float) -> bytes:
        """Return the payload at an address; empty if there is none or it has expired."""
        digest, first = address
        found = self._memory.find(digest, first, first + _DIGESTS)
        if found < 0:
            return b""
        record = first + _DIGESTS + (found - first) // _DIGEST * _RECORD
        _, expires, written, length = _HEAD.unpack_from(self._memory, record)
        if expires <= now or written > now:
            return b""
        record += _HEAD.size
        return self._memory[record : record + length]

    def store(self, address: Address, payload: bytes, now: float, expires: float, protected: float) -> None:
        """Keep a payload, in place of the one at that address or of the set's victim.

        Args:
            address: of the payload's name.
            payload: at most `PAYLOAD` bytes.
            now: the time.
            expires: when the payload does not matter any more.
            protected: until when others go before this one.
        """
        memory = self._memory
        digest, first = address
        found = memory.find(digest, first, first + _DIGESTS)
        way = (found - first) // _DIGEST if found >= 0 else self._victim(first, now)
        target = first + way * _DIGEST
        record_target = first + _DIGESTS + way * _RECORD
        entry = _ENTRY.pack(target, record_target, digest, protected, expires, now, len(payload)) + payload
        memory[_JOURNAL : _JOURNAL + len(entry)] = entry
        memory[_PENDING] = 1
        memory[target : target + _DIGEST] = digest
        memory[record_target : record_target + len(entry) - _ADDRESSING] = entry[_ADDRESSING:]
        memory[_PENDING] = 0

    def _repair(self) -> None:
        """Copy the journal's entry, whatever of that was done already, for a process that did not get to the end."""
        memory = self._memory
        target, record_target, digest, *_ = _ENTRY.unpack_from(memory, _JOURNAL)
        record = memory[_JOURNAL + _ADDRESSING : _JOURNAL + _ADDRESSING + _RECORD]
        memory[target : target + _DIGEST] = digest
        memory[record_target : record_target + _RECORD] = record
        memory[_PENDING] = 0

    def _victim(self, first: int, now: float) -> int:
        """Return the slot of a set that matters least."""
        ranks = []
        for way in range(_WAYS):
            protected, expires, written, _ = _HEAD.unpack_from(self._memory, first + _DIGESTS + way * _RECORD)
            if expires <= now or written > now:
                return way
            ranks.append((1, protected, way) if protected > now else (0, written, way))
        return min(ranks)[2]


def _boot_id() -> bytes:
    """Return what tells this start of the machine from others; empty where the system does not say."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b""


_tables: Final[weakref.WeakSet[Table]] = weakref.WeakSet()


def _close_in_child() -> None:
    for table in tuple(_tables):
        table.close()


os.register_at_fork(after_in_child=_close_in_child)
