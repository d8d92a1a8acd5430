"""The secret that accounts are hashed and cookies signed with.

It is `secret_key` of the settings, else made once and kept in `data_dir`, readable by this user only. Workers that
start together agree on one: the first to link its file into place wins. Each purpose gets a key of its own, so that
what is signed for one means nothing for another.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Final

from launchkit.settings import Settings

logger = logging.getLogger("launchkit")

FILE_NAME: Final = "secret_key"
_BYTES: Final = 32


class SecretKey:
    """Derives keys. Touches no file before the first is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.secret_key
        self._folder = settings.data_dir
        self._lock = threading.Lock()
        self._master: bytes | None = None
        self.is_kept = True
        """Whether the key outlives this process: False once it had to be made without a place to keep it."""

    def derive(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose. Never raises."""
        with self._lock:
            if self._master is None:
                self._master = self._read()
        return hashlib.blake2b(purpose.encode(), key=self._master, digest_size=_BYTES).digest()

    def _read(self) -> bytes:
        if self._given is not None:
            return hashlib.sha256(self._given.get_secret_value().encode()).digest()
        try:
            return _kept_in(self._folder)
        except (OSError, ValueError) as error:
            self.is_kept = False
            logger.warning(
                "No secret key can be kept in %s (%s): account limits and device cookies start anew with each process. "
                "Set LAUNCHKIT_SECRET_KEY.",
                self._folder,
                type(error).__name__,
            )
            return secrets.token_bytes(_BYTES)


def _kept_in(folder: Path) -> bytes:
    path = folder / FILE_NAME
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _put(path)
    key = bytes.fromhex(path.read_text("ascii").strip())
    if len(key) != _BYTES:
        raise ValueError(f"{path} holds no key")
    return key


def _put(path: Path) -> None:
    """Write a new key beside its place and link it there, which fails where another worker was faster."""
    draft = path.with_name(f"{FILE_NAME}.{secrets.token_hex(8)}")
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
