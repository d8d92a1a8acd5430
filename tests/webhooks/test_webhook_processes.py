"""What processes do to an inbox: they are killed, they fork, and several share it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from launchkit.testing import FrozenClock
from launchkit.webhooks.inbox import SqliteInbox

PUTTER = """
import itertools, sys
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import NewDelivery
from launchkit.webhooks.inbox import SqliteInbox

inbox, name = SqliteInbox(Path(sys.argv[1]), SystemClock()), sys.argv[2]
for number in itertools.count():
    key = f"{name}-{number}"
    assert inbox.put(NewDelivery("stripe", key, "", (), b"x" * 2000))
    print(key, flush=True)
"""

FORKER = """
import os, sys
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import NewDelivery
from launchkit.webhooks.inbox import SqliteInbox

inbox, unused = SqliteInbox(Path(sys.argv[1]), SystemClock()), SqliteInbox(Path(sys.argv[2]), SystemClock())
put = lambda key: inbox.put(NewDelivery("stripe", key, "", (), b""))
assert put("before")
child = os.fork()
if child == 0:
    os._exit(0 if put("child") and not put("before") else 1)
assert put("parent")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert inbox.stats().result().pending == 3
inbox.close()
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def pending(path: Path) -> set[str]:
    inbox = SqliteInbox(path, FrozenClock(unix_seconds=1e11))
    found = inbox.claim(1_000_000, sources=("stripe",), lease=1, attempts=9).result(60)
    inbox.close()
    return {lease.id for lease in found.leased}


def test_a_killed_process_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """SIGKILL in the midst of commits, twice: every key that was reported is there for the next process."""
    acknowledged: set[str] = set()
    for name in ("first", "second"):
        process = start(PUTTER, str(tmp_path / "inbox.sqlite3"), name)
        assert process.stdout is not None
        acknowledged |= {process.stdout.readline().strip() for _ in range(50)}
        process.send_signal(signal.SIGKILL)
        acknowledged |= set(process.stdout.read().rpartition("\n")[0].split())
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
    assert len(acknowledged) >= 100
    assert acknowledged <= pending(tmp_path / "inbox.sqlite3")


def test_several_processes_share_one_inbox(tmp_path: Path) -> None:
    """The workers of a server all take deliveries in, from the moment they all start at once."""
    processes = [start(PUTTER, str(tmp_path / "inbox.sqlite3"), str(number)) for number in range(3)]
    acknowledged: set[str] = set()
    for process in processes:
        assert process.stdout is not None
        acknowledged |= {process.stdout.readline().strip() for _ in range(50)}
    for process in processes:
        process.kill()
        process.communicate()
    assert len(acknowledged) == 150
    assert acknowledged <= pending(tmp_path / "inbox.sqlite3")


def test_parent_and_child_of_a_fork_both_go_on(tmp_path: Path) -> None:
    """An inbox that was in use before a fork works on both sides of it."""
    process = start(FORKER, str(tmp_path / "inbox.sqlite3"), str(tmp_path / "unused.sqlite3"))
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert pending(tmp_path / "inbox.sqlite3") == {"before", "child", "parent"}
