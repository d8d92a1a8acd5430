"""What goes for every file that the processes of one machine share, in memory or on the disk.

The rules:

- A file is this user's and no link: in a folder that everyone may write to, another's file of that name is refused.
- One that exists is used wherever it is, because others are using it; else it is made at the first place that takes it.
- In shared memory, files that nobody has touched for long are removed: those of releases that are gone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

Identity: TypeAlias = tuple[int, int]
"""Device and inode: what tells a file from another one that took its place."""

OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC

ABANDONED_SECONDS: Final = 7 * 86_400.0
"""After so long without a touch a file in shared memory is removed by the next one to be made there."""

CHECKSUM: Final = 16
"""Bytes that `sealed` adds."""

_POLL_SECONDS: Final = 0.0002


def open_at_first(paths: tuple[Path, ...], open_at: Callable[[Path, bool], T]) -> T:
    """Return what is at one of these paths, else make it at the first that takes it.

    Args:
        paths: the best first.
        open_at: opens a path, and with True makes what is missing; raises OSError if it cannot.

    Raises:
        OSError: as for the last path.
    """
    for path in paths:
        with contextlib.suppress(OSError):
            return open_at(path, False)
    _remove_abandoned(paths[0])
    for path in paths[:-1]:
        with contextlib.suppress(OSError):
            return open_at(path, True)
    return open_at(paths[-1], True)


def _remove_abandoned(path: Path) -> None:
    for other in path.parent.glob(f"launchkit-{os.geteuid()}-*"):
        with contextlib.suppress(OSError):
            if time.time() - other.lstat().st_mtime > ABANDONED_SECONDS:
                other.unlink()


def identity_of_own(file: int, path: Path) -> Identity:
    """Return the identity of an open file.

    Raises:
        PermissionError: if it is another user's, or no file.
    """
    status = os.fstat(file)
    if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
        raise PermissionError(errno.EPERM, "is somebody else's", str(path))
    return status.st_dev, status.st_ino


def is_at(path: Path, identity: Identity) -> bool:
    """Tell whether this is the file that a process which starts now would open."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == identity


def lock(file: int, patience: float) -> bool:
    """Lock an open file, trying again for so many seconds of sleep."""
    sleeps = patience // _POLL_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if sleeps <= 0:
                return False
        else:
            return True
        sleeps -= 1
        time.sleep(_POLL_SECONDS)


def sealed(header: bytes) -> bytes:
    """Return a header with a checksum, by which one that was written in full is known."""
    return header + hashlib.blake2b(header, digest_size=CHECKSUM).digest()
