"""What processes do to an inbox: they are killed, they fork, and several share it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from webhook_world import Store

from launchkit.testing import FrozenClock

PUTTER = """
import itertools, sys
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import NewDelivery
from webhook_world import Store

inbox, name = Store(Path(sys.argv[1]), SystemClock()).inbox, sys.argv[2]
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
from webhook_world import Store

store, unused = Store(Path(sys.argv[1]), SystemClock()), Store(Path(sys.argv[2]), SystemClock())
put = lambda key: store.inbox.put(NewDelivery("stripe", key, "", (), b""))
assert put("before")
child = os.fork()
if child == 0:
    os._exit(0 if put("child") and not put("before") else 1)
assert put("parent")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert store.pending() == 3
store.close()
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def pending(path: Path) -> set[str]:
    store = Store(path, FrozenClock(unix_seconds=1e11))
    found = {lease.delivery.id for lease in store.claim(1_000_000).leased}
    store.close()
    return found


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


FORKING_WHILE_SUBMITTING = """
import os, sys, threading
from pathlib import Path

def while_forking():  # hooks of before a fork run last in, first out: the writer has paused by now
    found.append(store.writer.submit(lambda session: session.execute("INSERT INTO done_by VALUES (?)", (os.getpid(),))))
    threading.Thread(target=hold_the_lock).start()
    assert held.wait(9)

def hold_the_lock():  # another thread is about to submit
    with store.writer._lock:
        held.set()
        assert forked.wait(9)

found, held, forked = [], threading.Event(), threading.Event()
os.register_at_fork(before=while_forking, after_in_parent=forked.set)

from launchkit.pipeline.clock import SystemClock
from webhook_world import Store, new_delivery

store = Store(Path(sys.argv[1]), SystemClock())
store.writer.submit(lambda session: session.execute("CREATE TABLE done_by (pid INTEGER)")).result(9)
child = os.fork()
if child == 0:
    os._exit(0 if store.put("child") == [True] and not found[0].done() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert found[0].result(9) == 1
assert store.put("parent") == [True]
assert store.writer.submit(lambda session: session.query("SELECT pid FROM done_by")).result(9) == [(os.getpid(),)]
store.close()
"""


def test_a_child_does_not_do_what_was_asked_of_its_parent(tmp_path: Path) -> None:
    """What another thread submits during a fork is carried out once, by the parent; neither waits for a lost lock."""
    process = start(FORKING_WHILE_SUBMITTING, str(tmp_path / "inbox.sqlite3"))
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert pending(tmp_path / "inbox.sqlite3") == {"child", "parent"}


FORKING_UNDER_LOAD = """
import os, sys, threading
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.pipeline.effects import NewDelivery
from webhook_world import Store

store, stop = Store(Path(sys.argv[1]), SystemClock()), threading.Event()
stored = []

def keep_putting(name):
    number = 0
    while not stop.is_set():
        assert store.inbox.put(NewDelivery("stripe", f"{name}-{number}", "", (), b""))
        stored.append(f"{name}-{number}")
        number += 1

threads = [threading.Thread(target=keep_putting, args=(name,)) for name in "abc"]
for thread in threads:
    thread.start()
children = []
for number in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if store.inbox.put(NewDelivery("stripe", f"child-{number}", "", (), b"")) else 1)
    children.append(child)
assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 5
stop.set()
for thread in threads:
    thread.join()
stored += [f"child-{number}" for number in range(5)]
print(*stored, sep="\\n")
store.close()
"""


def test_forks_in_the_midst_of_work_lose_nothing(tmp_path: Path) -> None:
    """As a server does that replaces its workers: threads go on storing in the parent, and each child stores too."""
    process = start(FORKING_UNDER_LOAD, str(tmp_path / "inbox.sqlite3"))
    stored, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert set(stored.split()) == pending(tmp_path / "inbox.sqlite3")
