"""The secret that accounts are hashed and cookies signed with.

It is `secret_key` of the settings, else made once and kept in `data_dir`, readable by this user only; where that cannot
be written, in shared memory until the machine starts anew. Workers that start together agree on one: the first to link
its file into place wins. Each purpose gets a key of its own, so that
what is signed for one means nothing for another.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
import threading
from pathlib import Path
from typing import Final

from launchkit.settings import Settings

logger = logging.getLogger("launchkit")

FILE_NAME: Final = "secret_key"
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # the key is this user's alone, see `_kept_at`
_BYTES: Final = 32


class SecretKey:
    """Derives keys. Touches no file before the first is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.secret_key
        self._folder = settings.data_dir
        self._lock = threading.Lock()
        self._master: bytes | None = None

    def derive(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose. Never raises."""
        with self._lock:
            if self._master is None:
                self._master = self._read()
        return hashlib.blake2b(purpose.encode(), key=self._master, digest_size=_BYTES).digest()

    def _read(self) -> bytes:
        if self._given is not None:
            return hashlib.sha256(self._given.get_secret_value().encode()).digest()
        kept, shared = self._places()
        try:
            return _kept_at(kept)
        except (OSError, ValueError) as error:
            logger.warning(
                "No secret key can be kept in %s (%s): limits by account and known devices are forgotten with the next "
                "start. Set LAUNCHKIT_SECRET_KEY.",
                self._folder,
                type(error).__name__,
            )
        try:
            return _kept_at(shared, is_shared=True)
        except (OSError, ValueError):
            return secrets.token_bytes(_BYTES)

    def _places(self) -> tuple[Path, Path]:
        """Return where the key may be: in `data_dir`, else where at least all workers of this machine find it."""
        named = hashlib.blake2b(os.fsencode(self._folder.absolute()), digest_size=8).hexdigest()
        return self._folder / FILE_NAME, SHARED_MEMORY / f"launchkit-key-{os.geteuid()}-{named}"


def _kept_at(path: Path, *, is_shared: bool = False) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | (os.O_NOFOLLOW if is_shared else 0))) as file:
        status = os.fstat(file.fileno())
        is_ours = status.st_uid == os.geteuid() and not status.st_mode & 0o077
        if not stat.S_ISREG(status.st_mode) or (is_shared and not is_ours):  # anybody may put anything there
            raise PermissionError(f"{path} is no file of this user's alone")
        key = bytes.fromhex(file.read().strip())
    if len(key) != _BYTES:
        raise ValueError(f"{path} holds no key")
    return key


def _put(path: Path) -> None:
    """Write a new key beside its place and link it there, which fails where another worker was faster."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
