"""The lock that changes to what is installed and known are made under."""

from __future__ import annotations

import os
import threading


class Lock:
    """One for all, and a new one after a fork: the thread that held it may not have come along."""

    now = threading.RLock()

    @classmethod
    def renew(cls) -> None:
        """Forget the thread that holds it."""
        cls.now = threading.RLock()


os.register_at_fork(after_in_child=Lock.renew)
