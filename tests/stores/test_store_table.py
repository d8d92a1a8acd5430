"""The table in shared memory: whose file it is, what a slot outlives, and that a lock ends with its process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import pytest

from launchkit.stores import table as module
from launchkit.stores.table import PAYLOAD, Table, open_table, places

NOW = 1000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "counts"


@pytest.fixture
def table(path: Path) -> Iterator[Table]:
    table = Table(path, 8)
    yield table
    table.close()


def keep(table: Table, name: str, payload: bytes, *, now: float = NOW, lasts: float = 60, protects: float = 0) -> None:
    assert table.lock(1)
    table.store(table.address(name.encode()), payload, now, now + lasts, now + protects)
    table.unlock()


def kept(table: Table, name: str, now: float = NOW) -> bytes:
    assert table.lock(1)
    payload = table.fetch(table.address(name.encode()), now)
    table.unlock()
    return payload


def file_of(path: Path, slots: int = 8) -> Path:
    (file,) = path.parent.glob(f"{path.name}-*-{slots}")
    return file


class TestPayloads:
    def test_what_one_table_keeps_another_of_the_same_file_has(self, table: Table, path: Path) -> None:
        """Two openings of one path are one table."""
        keep(table, "a", b"x" * PAYLOAD)
        other = Table(path, 8)
        assert kept(other, "a") == b"x" * PAYLOAD
        keep(other, "a", b"shorter")
        assert kept(table, "a") == b"shorter"
        assert kept(table, "b") == b""

    def test_payloads_outlive_every_process(self, path: Path) -> None:
        """A restart of all workers forgets nothing."""
        first = Table(path, 8)
        keep(first, "a", b"before")
        first.close()
        assert kept(Table(path, 8), "a") == b"before"

    def test_a_payload_expires(self, table: Table) -> None:
        """It is there before that moment, and not from then on."""
        keep(table, "a", b"x", lasts=60)
        assert kept(table, "a", NOW + 59.9) == b"x"
        assert kept(table, "a", NOW + 60) == b""

    def test_a_payload_from_the_future_is_none(self, table: Table) -> None:
        """Monotonic time began anew where the system does not tell its starts apart."""
        keep(table, "a", b"x")
        assert kept(table, "a", NOW - 0.1) == b""

    @pytest.mark.parametrize("other", [("other", 8), ("counts", 16)])
    def test_another_path_or_size_is_another_table(self, table: Table, path: Path, other: tuple[str, int]) -> None:
        """Two apps do not share, nor do two settings of the size."""
        keep(table, "a", b"x")
        assert kept(Table(path.with_name(other[0]), other[1]), "a") == b""

    def test_nobody_can_aim_at_a_set(self, tmp_path: Path) -> None:
        """Which names share a set is another matter in every table."""
        names = [b"%d" % number for number in range(20)]
        first, second = (Table(tmp_path / name, 80_000) for name in "ab")
        assert [first.address(name)[1] for name in names] != [second.address(name)[1] for name in names]


class TestVictims:
    """Eight slots are one set, so that the ninth name pushes another out."""

    def fill(self, table: Table, protected: int = 0) -> None:
        for number in range(8):
            keep(table, str(number), b"x", now=NOW + number, protects=50 - number if number < protected else 0)

    def survivors(self, table: Table, now: float) -> str:
        return "".join(str(number) for number in range(8) if kept(table, str(number), now))

    def test_the_one_written_longest_ago_goes(self, table: Table) -> None:
        """Writing a name again keeps it for longer."""
        self.fill(table)
        keep(table, "0", b"again", now=NOW + 8)
        keep(table, "new", b"x", now=NOW + 9)
        assert self.survivors(table, NOW + 9) == "0234567"

    def test_an_expired_one_goes_first(self, table: Table) -> None:
        """Even if it was protected and is the youngest."""
        self.fill(table)
        keep(table, "7", b"x", now=NOW + 8, lasts=1, protects=100)
        keep(table, "new", b"x", now=NOW + 9)
        assert self.survivors(table, NOW + 9) == "0123456"
        assert kept(table, "new", NOW + 9) == b"x"

    def test_a_protected_one_stays_while_another_can_go(self, table: Table) -> None:
        """However often new names come."""
        self.fill(table, protected=7)
        for number in range(20):
            keep(table, f"new {number}", b"x", now=NOW + 8 + number)
        assert self.survivors(table, NOW + 28) == "0123456"

    def test_of_protected_ones_the_one_with_the_least_time_left_goes(self, table: Table) -> None:
        """When there is no other, one of them has to."""
        self.fill(table, protected=8)
        keep(table, "new", b"x", now=NOW + 8, protects=50)
        assert self.survivors(table, NOW + 8) == "1234567"

    def test_protection_ends(self, table: Table) -> None:
        """Then the oldest goes, as if it had never been protected."""
        self.fill(table, protected=1)
        keep(table, "new", b"x", now=NOW + 55)
        assert self.survivors(table, NOW + 55) == "1234567"


class Stop(Exception):
    pass


def stopped_at(table: Table, opcode: int, name: str, payload: bytes) -> bool:
    """Leave `store` in the midst, as a kill would; tell whether it was still running."""
    passed = 0

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal passed
        if frame.f_code is not Table.store.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed == opcode:
                raise Stop
        return trace

    before = sys.gettrace()
    assert table.lock(1)
    sys.settrace(trace)  # type: ignore[arg-type]  # returns itself
    try:
        table.store(table.address(name.encode()), payload, NOW, NOW + 60, 0)
    except Stop:
        return True
    finally:
        sys.settrace(before)
        table.unlock()
    return False


class TestBrokenOff:
    @pytest.mark.parametrize("name", ["3", "new"])
    def test_a_write_is_whole_wherever_it_was_broken_off(self, path: Path, name: str) -> None:
        """After any instruction, the next process finds the old payload or the new one, and the others unharmed."""
        found = []
        stopped_at(Table(path, 8), 1, name, b"")  # Python 3.12 tells of instructions only from the second time on
        for opcode in range(1, 10_000):
            table = Table(path.with_name(str(opcode)), 8)
            for number in range(8):
                keep(table, str(number), b"old" * 80, now=NOW - 8 + number)
            if not stopped_at(table, opcode, name, b"newer"):
                break
            other = Table(path.with_name(str(opcode)), 8)
            written = kept(other, name)
            assert written in (b"newer", b"old" * 80 if name == "3" else b"")
            gone = {"0"} if name == "new" and written else {name}
            assert {str(number) for number in range(8) if kept(other, str(number)) == b"old" * 80} | gone == {
                *map(str, range(8)),
                *gone,
            }
            found.append(written)
        assert len(found) > 50
        assert set(found[:10]).isdisjoint({b"newer"})
        assert found[-1] == b"newer"

    def test_half_a_copy_is_made_whole(self, path: Path) -> None:
        """A kill within the copying leaves any part of it done: the journal has all."""
        for opcode in range(1, 10_000):
            table = Table(path, 8)
            keep(table, "a", b"old payload")
            assert stopped_at(table, opcode, "a", b"new payload")
            if table._memory[module._PENDING]:
                break
        _, record, *_ = module._ENTRY.unpack_from(table._memory, module._JOURNAL)
        with file_of(path).open("r+b") as file:
            file.seek(record)
            file.write(os.urandom(module._HEAD.size + 4))
        assert kept(Table(path, 8), "a") == b"new payload"


class TestFile:
    def test_it_is_allocated_in_full_and_private(self, table: Table, path: Path) -> None:
        """No access to it can fail for want of space, and nobody else reads it."""
        status = file_of(path).stat()
        assert status.st_size == table._size
        assert status.st_blocks * 512 >= status.st_size
        assert status.st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700

    def test_the_default_size_is_about_thirty_megabytes(self, path: Path) -> None:
        """A hundred thousand keys fit into the 64 MB of shared memory that a container has by default."""
        Table(path, 100_000)
        assert 29e6 < file_of(path, 100_000).stat().st_size < 32e6

    @pytest.mark.parametrize("damage", ["identity", "key", "shorter", "longer", "readable"])
    def test_a_damaged_file_is_replaced_and_never_changed(self, table: Table, path: Path, damage: str) -> None:
        """Processes that have it mapped go on undisturbed; new ones get a new file."""
        keep(table, "a", b"x")
        file = file_of(path)
        content = file.read_bytes()
        at = {"identity": 3, "key": 100}.get(damage)
        if at is not None:
            with file.open("r+b") as opened:
                opened.seek(at)
                opened.write(bytes([content[at] ^ 1]))
        elif damage == "readable":
            file.chmod(0o644)
        else:
            os.truncate(file, len(content) + (4096 if damage == "longer" else -1))
        inode = file.stat().st_ino
        other = Table(path, 8)
        assert file_of(path).stat().st_ino != inode
        assert kept(other, "a") == b""
        assert kept(table, "a") == b"x"
        assert not table.is_current()
        assert other.is_current()

    def test_a_file_from_before_the_last_start_is_replaced(
        self, table: Table, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Monotonic times of another start of the machine mean nothing."""
        keep(table, "a", b"x")
        monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "none")
        assert kept(open_table((path,), 8), "a") == b""

    def test_a_link_is_refused(self, path: Path, tmp_path: Path) -> None:
        """A link in a folder that everyone may write to could lead to anything."""
        Table(path, 8)
        file = file_of(path)
        target = file.rename(tmp_path / "elsewhere")
        file.symlink_to(target)
        with pytest.raises(OSError, match="symbolic links"):
            Table(path, 8)

    def test_somebody_elses_file_is_refused(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who made a file of this name first could read and write it; it stays as it is."""
        Table(path, 8)
        content = file_of(path).read_bytes()
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(PermissionError, match="somebody else's"):
            Table(path, 8)
        assert file_of(path).read_bytes() == content

    def test_what_is_no_file_is_refused(self, path: Path) -> None:
        """Neither is it opened for ever."""
        Table(path, 8)
        file = file_of(path)
        file.unlink()
        os.mkfifo(file, 0o600)
        with pytest.raises(PermissionError, match="somebody else's"):
            Table(path, 8)

    def test_a_file_that_is_just_being_made_is_waited_for_and_not_longer(self, path: Path) -> None:
        """An empty file that another process keeps locked is that process's."""
        Table(path, 8)
        maker = os.open(file_of(path), os.O_RDWR)
        os.truncate(file_of(path), 0)
        module.fcntl.flock(maker, module.fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            Table(path, 8, patience=0.01)
        os.close(maker)
        assert kept(Table(path, 8, patience=0.01), "a") == b""

    def test_an_endlessly_replaced_file_is_given_up(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Opening ends, whatever somebody does to the file meanwhile."""
        real = os.pread

        def pread_and_replace(file: int, length: int, offset: int) -> bytes:
            for name in path.parent.iterdir():
                name.unlink()
            return real(file, length, offset)

        monkeypatch.setattr(os, "pread", pread_and_replace)
        with pytest.raises(OSError, match="again and again"):
            Table(path, 8)

    def test_processes_that_start_at_once_have_one_table(self, path: Path) -> None:
        """Whoever comes first makes it; the others wait and use it."""
        with ThreadPoolExecutor(8) as pool:
            for number in range(20):
                here = path.with_name(f"round {number}")
                tables = list(pool.map(lambda _, here=here: Table(here, 80_000), range(8)))
                assert len({table._identity for table in tables}) == 1
                assert all(table.is_current() for table in tables)


class TestPlaces:
    def test_memory_comes_before_the_disk(self, tmp_path: Path) -> None:
        """The name in memory tells user and folder; two folders have two names, two spellings of a folder one."""
        memory = tmp_path / "memory"
        memory.mkdir()
        first, on_disk = places(tmp_path / "data", memory)
        assert first.parent == memory
        assert str(os.geteuid()) in first.name
        assert on_disk.parent == tmp_path / "data"
        assert places(tmp_path / "other", memory)[0] != first
        assert places(tmp_path / "other" / ".." / "data", memory)[0] == first

    def test_without_shared_memory_there_is_the_disk(self, tmp_path: Path) -> None:
        """On macOS there is no /dev/shm."""
        assert places(tmp_path, tmp_path / "none") == (tmp_path / "rate-limits",)

    def test_where_there_is_no_space_the_next_place_is_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that could not be allocated is not left behind. Once made elsewhere, the table stays there."""
        real = os.posix_fallocate
        calls: list[int] = []

        def full_at_first(file: int, offset: int, length: int) -> None:
            calls.append(file)
            if len(calls) == 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(file, offset, length)

        monkeypatch.setattr(os, "posix_fallocate", full_at_first)
        where = (tmp_path / "memory" / "table", tmp_path / "disk" / "table")
        table = open_table(where, 8)
        assert list((tmp_path / "memory").iterdir()) == []
        keep(table, "a", b"x")
        assert kept(open_table(where, 8), "a") == b"x"

    def test_where_nothing_can_be_allocated_that_is_said(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The caller counts in another way then."""

        def full(file: int, offset: int, length: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space left"):
            open_table((path, path.with_name("other")), 8)

    def test_a_platform_that_cannot_allocate_says_so(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A sparse file on a full disk would end the process."""
        monkeypatch.delattr(os, "posix_fallocate")
        with pytest.raises(OSError, match="allocate"):
            Table(path, 8)


KILLED = """
import os, signal, sys
from pathlib import Path
from launchkit.stores.table import Table

table = Table(Path(sys.argv[1]), 8)
assert table.lock(1)
if os.fork() == 0:
    print(table.closed, flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdout.flush()
signal.pause()
"""


class TestLock:
    def test_one_holder_at_a_time(self, table: Table, path: Path) -> None:
        """Neither another opening of the file gets it, as of another process, nor another thread."""
        other = Table(path, 8)
        assert table.try_lock()
        assert not other.try_lock()
        assert not other.lock(0.01)
        assert not table.try_lock()
        assert not table.lock(0.01)
        table.unlock()
        assert other.try_lock()
        other.unlock()

    def test_a_closed_table_has_given_its_lock_up(self, table: Table, path: Path) -> None:
        """Closing twice is once."""
        assert table.try_lock()
        table.close()
        table.close()
        assert table.closed
        assert Table(path, 8).try_lock()

    def test_a_killed_process_holds_nothing_up_though_its_child_lives(self, table: Table, path: Path) -> None:
        """A child does not inherit the lock: not by the lock's descriptor, and not by that which the mapping keeps."""
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"  # the child is there
        assert not table.try_lock()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert table.try_lock()
        process.stdin.close()  # now the child ends
        assert process.stdout.read() == ""
        process.stdout.close()


def test_tables_of_releases_that_are_gone_are_removed(tmp_path: Path) -> None:
    """A table in memory that nobody has touched for hours goes when another one is made; one in use stays."""
    abandoned, in_use = (open_table((tmp_path / f"launchkit-{os.geteuid()}-{name}",), 8) for name in ("a", "b"))
    for table in (abandoned, in_use):
        os.utime(table._path, (0, 0))
    in_use.touch()
    open_table((tmp_path / f"launchkit-{os.geteuid()}-c",), 8)
    assert (abandoned.is_current(), in_use.is_current()) == (False, True)
