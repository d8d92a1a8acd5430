"""Marks: what was looked up before one is not current, in every process of the machine, and whose the file is."""

from __future__ import annotations

import errno
import fcntl
import gc
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchkit.pipeline.clock import SystemClock
from launchkit.stores import marks as module
from launchkit.stores import shared_marks
from launchkit.stores.marks import CELLS, SLOTS, Marks
from launchkit.stores.shared_file import sealed
from launchkit.stores.shared_marks import SharedMarks
from launchkit.testing import FrozenClock

NAMES = ("path:/items/1", "below:/", "below:/items", "tag:products", "all:")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "table"


def shared(path: Path, clock: FrozenClock | SystemClock | None = None) -> SharedMarks:
    marks = SharedMarks((path,), clock or FrozenClock())
    marks.share()
    return marks


def file_of(path: Path) -> Path:
    (file,) = path.parent.glob(f"{path.name}-marks-*-{SLOTS}")
    return file


@pytest.fixture(params=["in this process", "shared", "not shared yet"])
def make(request: pytest.FixtureRequest, path: Path) -> Callable[[FrozenClock], Marks]:
    if request.param == "in this process":
        return Marks
    return (
        (lambda clock: shared(path, clock)) if request.param == "shared" else lambda clock: SharedMarks((path,), clock)
    )


def is_current(marks: Marks, moment: int, *names: str) -> bool:
    return marks.is_current(tuple(map(marks.index, names)), moment)


def beside(marks: Marks, *names: str) -> str:
    """Return a name that has another slot than these."""
    taken = set(map(marks.index, names))
    return next(name for name in map(str, itertools.count()) if marks.index(name) not in taken)


class TestOrder:
    def test_what_was_looked_up_before_a_mark_is_not_current(self, make: Callable[[FrozenClock], Marks]) -> None:
        """Also when the clock has not moved; what was looked up after it is, and other names are not concerned."""
        marks = make(FrozenClock())
        for _ in range(100):
            before = marks.moment()
            marks.mark(["path:/items/1"])
            after = marks.moment()
            assert not is_current(marks, before, "path:/items/1")
            assert not is_current(marks, before, "below:/", "path:/items/1")
            assert is_current(marks, after, "path:/items/1")
            assert is_current(marks, before, beside(marks, "path:/items/1"))

    def test_marks_ahead_of_the_clock_change_nothing(self, make: Callable[[FrozenClock], Marks]) -> None:
        """Moments go on from the latest mark until the clock has caught up: the cache is not dead until then."""
        clock = FrozenClock()
        marks = make(clock)
        marks.mark(["a"])
        clock.advance(-500)
        before = marks.moment()
        assert is_current(marks, before, "a")
        marks.mark(["a"])
        assert not is_current(marks, before, "a")
        assert is_current(marks, marks.moment(), "a")

    def test_every_text_can_be_a_name(self, make: Callable[[FrozenClock], Marks]) -> None:
        """A path that is no UTF-8 is decoded to lone surrogates."""
        marks = make(FrozenClock())
        before = marks.moment()
        marks.mark(["path:/\udcff"])
        assert not is_current(marks, before, "path:/\udcff")

    def test_all_slots_are_used_and_the_latest_mark_is_none_of_them(self) -> None:
        """A name's slot is within the table, and names are spread over it."""
        marks = Marks(FrozenClock())
        indexes = {marks.index(str(number)) for number in range(5_000)}
        assert 0 < min(indexes) < SLOTS * 0.01
        assert SLOTS * 0.99 < max(indexes) < CELLS
        assert len(indexes) > 4_700

    def test_nobody_can_aim_at_a_slot(self, tmp_path: Path) -> None:
        """Which names share a slot is another matter in every table, but the same in all processes."""
        first, second, other = shared(tmp_path / "a"), shared(tmp_path / "a"), shared(tmp_path / "b")
        assert list(map(first.index, NAMES)) == list(map(second.index, NAMES))
        assert list(map(first.index, NAMES)) != list(map(other.index, NAMES))
        assert list(map(first.index, NAMES)) != list(map(Marks(FrozenClock()).index, NAMES))

    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["look up", "mark", "mark in the other", "wait"]),
                st.sets(st.sampled_from("abcdef"), min_size=1),
            ),
            max_size=60,
        )
    )
    def test_two_processes_agree_with_a_dictionary(
        self, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, set[str]]]
    ) -> None:
        """In any order of look-ups, marks and time, a look-up is current until a slot of its names is marked."""
        clock = FrozenClock()
        path = tmp_path_factory.mktemp("marks") / "table"
        marks, other = shared(path, clock), shared(path, clock)
        marked: dict[int, int] = {}
        look_ups: list[tuple[int, int, set[str]]] = []
        for number, (step, names) in enumerate(steps):
            if step == "look up":
                look_ups.append((number, (marks, other)[number % 2].moment(), names))
            elif step == "wait":
                clock.monotonic_seconds += 1e-9 * len(names)
            else:
                (marks if step == "mark" else other).mark(names)
                marked |= dict.fromkeys(map(marks.index, names), number)
            for looked_up, moment, of in look_ups:
                expected = all(marked.get(marks.index(name), -1) < looked_up for name in of)
                assert is_current(marks, moment, *of) is is_current(other, moment, *of) is expected


class TestWriters:
    """Two that mark at once, stopped at every instruction of the first."""

    @staticmethod
    def interrupted_at(opcode: int, interruption: Callable[[], None], run: Callable[[], None]) -> bool:
        """Let something else happen in the midst of a mark, as another process would; tell whether it did."""
        codes = {Marks.mark.__code__, Marks.moment.__code__, module._raise.__code__, module.announce.__code__}
        passed = 0

        def trace(frame: FrameType, event: str, argument: object) -> object:
            nonlocal passed
            if frame.f_code not in codes:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                passed += 1
                if passed == opcode:
                    sys.settrace(None)
                    interruption()
                    sys.settrace(trace)  # type: ignore[arg-type]  # returns itself
            return trace

        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type]  # returns itself
        try:
            run()
        finally:
            sys.settrace(before)
        return passed >= opcode

    def test_a_late_writer_never_undoes_another_mark(self) -> None:
        """Wherever one was held up, what was looked up before the other's mark is not current after both."""
        clock = FrozenClock()
        self.interrupted_at(1, list, lambda: Marks(clock).mark(["a"]))  # Python 3.12 tells of instructions from then on
        for opcode in range(1, 10_000):
            marks = Marks(clock)
            moments: list[int] = []

            def other_mark(marks: Marks = marks, moments: list[int] = moments) -> None:
                clock.advance(1)
                moments.append(marks.moment())
                clock.advance(1)
                marks.mark(["shared", "b"])
                clock.advance(1)

            if not self.interrupted_at(opcode, other_mark, lambda marks=marks: marks.mark(["a", "shared"])):
                break
            (between,) = moments
            assert not is_current(marks, between, "shared"), opcode
            assert not is_current(marks, between, "b"), opcode
            assert is_current(marks, marks.moment(), "a", "b", "shared")
        assert opcode > 60

    def test_threads_that_mark_at_once_lose_nothing(self) -> None:
        """What a thread looked up before its own mark is never current again, whatever the others do."""
        marks = Marks(SystemClock())
        indexes = tuple(map(marks.index, NAMES))

        def work(_: int) -> None:
            for _ in range(300):
                before = marks.moment()
                marks.mark(NAMES)
                assert not any(marks.is_current((index,), before) for index in indexes)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert marks.is_current(indexes, marks.moment())


MARKING = """
import sys
from pathlib import Path
from launchkit.pipeline.clock import SystemClock
from launchkit.stores.shared_marks import SharedMarks

marks = SharedMarks((Path(sys.argv[1]),), SystemClock())
marks.share()
names = [name for name in sys.argv[2:]]
print("ready", flush=True)
for line in sys.stdin:
    before = marks.moment()
    for _ in range(int(line)):
        marks.mark(names)
    print(before, flush=True)
"""


class Worker:
    """A process that marks names as often as it is told."""

    def __init__(self, path: Path, *names: str) -> None:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", MARKING, str(path), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def order(self, times: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def workers(path: Path) -> Iterator[list[Worker]]:
    workers = [Worker(path, "all:", f"tag:{number}") for number in range(3)]
    yield workers
    for worker in workers:
        worker.end()


class TestProcesses:
    def test_a_mark_in_one_is_known_in_all(self, path: Path, workers: list[Worker]) -> None:
        """Processes that start at once have one table, and one clock."""
        assert [worker.read() for worker in workers] == ["ready"] * 3
        marks = shared(path, SystemClock())
        for number, worker in enumerate(workers):
            before = marks.moment()
            worker.order(1)
            theirs = int(worker.read())
            assert before < theirs
            for moment in (before, theirs):
                assert not is_current(marks, moment, f"tag:{number}")
            assert is_current(marks, before, beside(marks, f"tag:{number}", "all:"))
            assert is_current(marks, marks.moment(), f"tag:{number}", "all:")

    def test_a_process_killed_while_it_marks_holds_nothing_up(self, path: Path, workers: list[Worker]) -> None:
        """There is no lock, and no state in which the table is of no use."""
        for worker in workers:
            assert worker.read() == "ready"
        marks = shared(path, SystemClock())
        for number, worker in enumerate(workers):
            before = marks.moment()
            worker.order(10_000_000)
            while is_current(marks, before, f"tag:{number}"):
                pass  # until it is in the midst of it
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
            before = marks.moment()
            marks.mark(["all:"])
            assert not is_current(marks, before, "all:")
            assert is_current(marks, marks.moment(), "all:", f"tag:{number}")

    def test_a_fork_shares_the_table(self, path: Path) -> None:
        """Workers that were forked from one process that had opened it hear of one another."""
        marks = shared(path, SystemClock())
        before = marks.moment()
        child = os.fork()
        if child == 0:
            marks.mark(["a"])
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert not is_current(marks, before, "a")
        assert is_current(marks, before, beside(marks, "a"))

    def test_marks_outlive_every_process(self, path: Path) -> None:
        """A worker that starts again agrees with those that did not."""
        first = shared(path)
        first.mark(["a"])
        index = first.index("a")
        del first
        gc.collect()
        again = shared(path)
        assert again._table.cells[index] > 0
        assert again.index("a") == index


class TestSharing:
    def test_nothing_is_opened_before_it_is_asked_for(self, path: Path) -> None:
        """A kit is made at import; its workers start later."""
        marks = SharedMarks((path,), FrozenClock())
        marks.mark(["a"])
        assert not path.parent.exists()
        marks.share()
        assert path.parent.exists()

    def test_what_was_looked_up_before_sharing_is_not_current(self, path: Path) -> None:
        """Its names had other slots then."""
        marks = SharedMarks((path,), FrozenClock())
        before = marks.moment()
        marks.share()
        assert not is_current(marks, before, "a")
        after = marks.moment()
        marks.share()
        assert is_current(marks, after, "a")

    def test_marks_of_one_process_share_nothing(self) -> None:
        """Asking them to is no mistake."""
        marks = Marks(FrozenClock())
        before = marks.moment()
        marks.share()
        assert is_current(marks, before, "a")

    def test_a_removed_file_is_found_out_within_a_second(self, path: Path) -> None:
        """Workers of different ages go on together, and nothing from before is current."""
        clock = FrozenClock()
        old = shared(path, clock)
        before = old.moment()
        file_of(path).unlink()
        new = shared(path, clock)
        assert is_current(old, before, "a")
        clock.advance(1)
        moment = old.moment()
        assert not is_current(old, before, "a")
        assert is_current(old, moment, "a")
        new.mark(["a"])
        assert not is_current(old, moment, "a")

    def test_a_mark_never_goes_to_a_removed_file(self, path: Path) -> None:
        """Whoever changes something looks first, however long ago the last look was."""
        clock = FrozenClock()
        old = shared(path, clock)
        file_of(path).unlink()
        new = shared(path, clock)
        before = new.moment()
        old.mark(["a"])
        assert not is_current(new, before, "a")

    def test_where_a_removed_file_cannot_be_made_again_the_old_one_is_used(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk is no reason to forget; the next look tries again."""
        clock = FrozenClock()
        marks, other = shared(path, clock), shared(path, clock)
        before = marks.moment()
        file_of(path).unlink()
        with monkeypatch.context() as patched:
            patched.setattr(os, "posix_fallocate", _full)
            marks.mark(["a"])
        assert not is_current(other, before, "a")
        assert is_current(other, before, beside(other, "a"))
        marks.mark(["a"])
        assert file_of(path).exists()

    def test_a_file_in_use_is_not_taken_for_abandoned(self, path: Path) -> None:
        """Marks, and looks once a second, touch it: the system does not count writing to memory."""
        clock = FrozenClock()
        marks = shared(path, clock)
        for use in (lambda: marks.mark(["a"]), lambda: clock.advance(1), marks.moment):
            os.utime(file_of(path), (0, 0))
            use()
        assert file_of(path).stat().st_mtime > 0


def _full(file: int, offset: int, length: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class TestFile:
    def test_it_is_allocated_in_full_and_private(self, path: Path) -> None:
        """No access to it can fail for want of space, and nobody else reads it. Nothing else is left behind."""
        shared(path)
        status = file_of(path).stat()
        assert status.st_size == shared_marks._SIZE
        assert status.st_blocks * 512 >= status.st_size
        assert status.st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert list(path.parent.iterdir()) == [file_of(path)]

    @pytest.mark.parametrize(
        "damage", ["another layout", "says", "key", "shorter", "longer", "readable", "from the future"]
    )
    def test_a_damaged_file_is_replaced_and_never_changed(self, path: Path, damage: str) -> None:
        """Processes that have it mapped go on undisturbed until they find out; new ones get a new file."""
        clock = FrozenClock()
        marks = shared(path, clock)
        file = file_of(path)
        content = file.read_bytes()
        if damage == "from the future":
            shared(path, FrozenClock(clock.monotonic() + 2)).mark(["a"])
        elif damage == "another layout":
            with file.open("r+b") as opened:
                opened.write(sealed(b"launchkit marks 0".ljust(64, b"\0")))
        elif damage == "readable":
            file.chmod(0o644)
        elif damage in ("shorter", "longer"):
            os.truncate(file, len(content) + (4096 if damage == "longer" else -1))
        else:
            with file.open("r+b") as opened:
                opened.seek({"says": 3, "key": 50}[damage])
                opened.write(b"\xff")
        damaged = file.read_bytes()
        with file.open("rb") as opened:
            other = shared(path, clock)
            assert opened.read() == damaged
            assert os.fstat(opened.fileno()).st_nlink == 0
        before = other.moment()
        marks.mark(["a"])
        assert not is_current(other, before, "a")

    def test_a_file_from_before_the_last_start_that_is_not_in_the_future_does_no_harm(self, path: Path) -> None:
        """What it remembers is older than any look-up."""
        shared(path, FrozenClock(500.0)).mark(["a"])
        marks = shared(path, FrozenClock(1_000.0))
        assert is_current(marks, marks.moment(), "a")

    @pytest.mark.parametrize("planted", ["link", "fifo", "somebody else's"])
    def test_what_is_planted_is_refused(self, path: Path, planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a folder that everyone may write to, a link could lead to anything, and another's file is the other's."""
        shared(path)
        file = file_of(path)
        if planted == "link":
            file.symlink_to(file.rename(path.with_name("elsewhere")))
        elif planted == "fifo":
            file.unlink()
            os.mkfifo(file, 0o600)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(OSError, match="symbolic links" if planted == "link" else "somebody else's"):
            shared(path)

    def test_half_a_file_is_never_seen(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever a process is doing when it is killed, the name leads to a whole file or to none."""
        seen = []
        real = os.link

        def link(source: Path, target: Path) -> None:
            seen.append((source.stat().st_size, target.exists()))
            real(source, target)

        monkeypatch.setattr(os, "link", link)
        shared(path)
        assert seen == [(shared_marks._SIZE, False)]

    def test_of_two_that_make_the_file_at_once_the_first_one_wins(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other throws its own away and uses that one."""
        real = os.link
        others: list[SharedMarks] = []

        def link(source: Path, target: Path) -> None:
            monkeypatch.setattr(os, "link", real)
            others.append(shared(path))
            real(source, target)

        monkeypatch.setattr(os, "link", link)
        marks = shared(path)
        before = marks.moment()
        others[0].mark(["a"])
        assert not is_current(marks, before, "a")
        assert list(path.parent.iterdir()) == [file_of(path)]

    def test_a_full_disk_says_so_and_leaves_nothing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The caller marks for its process alone then."""
        monkeypatch.setattr(os, "posix_fallocate", _full)
        marks = SharedMarks((path, path.with_name("other")), FrozenClock())
        with pytest.raises(OSError, match="No space left"):
            marks.share()
        assert list(path.parent.iterdir()) == []
        before = marks.moment()
        marks.mark(["a"])
        assert not is_current(marks, before, "a")
        assert is_current(marks, marks.moment(), "a")

    def test_a_platform_that_cannot_allocate_says_so(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A sparse file on a full disk would end the process."""
        monkeypatch.delattr(os, "posix_fallocate")
        with pytest.raises(OSError, match="allocate"):
            shared(path)

    def test_an_endlessly_replaced_file_is_given_up(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Opening ends, whatever somebody does to the file meanwhile."""
        real = os.link

        def link_and_damage(source: Path, target: Path) -> None:
            real(source, target)
            target.chmod(0o644)

        monkeypatch.setattr(os, "link", link_and_damage)
        with pytest.raises(OSError, match="again and again"):
            shared(path)

    def test_of_several_that_find_a_damaged_file_one_unlinks_it(self, path: Path) -> None:
        """The others must not unlink what that one makes; if it hangs, they mark for their processes alone."""
        shared(path)
        file = file_of(path)
        file.chmod(0o644)
        with file.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(OSError, match="again and again"):
                shared(path)
            assert file.stat().st_ino == os.fstat(other.fileno()).st_ino
        shared(path)

    def test_the_one_that_exists_is_used_wherever_it_is(self, tmp_path: Path) -> None:
        """Others are using it; only where there is none does the best place count."""
        clock = FrozenClock()
        there = shared(tmp_path / "on disk", clock)
        both = SharedMarks((tmp_path / "in memory", tmp_path / "on disk"), clock)
        both.share()
        before = both.moment()
        there.mark(["a"])
        assert not is_current(both, before, "a")
