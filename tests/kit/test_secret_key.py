"""The key that accounts are hashed and cookies signed with."""

from __future__ import annotations

import logging
import os
import secrets
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launchkit import Settings
from launchkit.secret_key import FILE_NAME, SecretKey


def key(folder: Path, **settings: str) -> SecretKey:
    return SecretKey(Settings(data_dir=folder, **settings))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_nothing_is_touched_before_a_key_is_asked_for(tmp_path: Path) -> None:
    """An app that needs no key gets no file."""
    key(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    """Another process with the same folder derives the same, and nothing else is left there."""
    first = key(tmp_path / "a" / "data").derive("accounts")
    assert len(first) == 32
    assert key(tmp_path / "a" / "data").derive("accounts") == first
    assert key(tmp_path / "b").derive("accounts") != first
    assert names(tmp_path / "a" / "data") == [FILE_NAME]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_this_user_reads_the_file(tmp_path: Path, mask: int) -> None:
    """Whatever the umask says."""
    before = os.umask(mask)
    try:
        key(tmp_path / "data").derive("accounts")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "data" / FILE_NAME).stat().st_mode) == 0o600


def test_each_purpose_has_a_key_of_its_own(tmp_path: Path) -> None:
    """What is signed for one means nothing for another; and the kept key itself is none of them."""
    made = key(tmp_path)
    keys = {made.derive(purpose) for purpose in ("accounts", "devices", "", "account s", "\u00e9")}
    assert len(keys) == 5
    assert bytes.fromhex((tmp_path / FILE_NAME).read_text()) not in keys
    assert made.derive("accounts") in keys


def test_a_given_key_is_used_and_no_file_made(tmp_path: Path) -> None:
    """Several machines have the same one; its place matters to nobody."""
    given = secrets.token_urlsafe(16)
    here, there = (key(tmp_path / place, secret_key=given) for place in ("here", "there"))
    assert here.derive("accounts") == there.derive("accounts")
    assert here.derive("accounts") != here.derive("devices")
    assert key(tmp_path, secret_key=given + "x").derive("accounts") != here.derive("accounts")
    assert given.encode() not in here.derive("accounts")
    assert names(tmp_path) == []


def test_a_given_key_wins_over_the_kept_one(tmp_path: Path) -> None:
    """A setting is a setting."""
    kept = key(tmp_path).derive("accounts")
    given = secrets.token_urlsafe(16)
    assert key(tmp_path, secret_key=given).derive("accounts") == key(tmp_path / "x", secret_key=given).derive(
        "accounts"
    )
    assert key(tmp_path, secret_key=given).derive("accounts") != kept


def unwritable(folder: Path) -> Path:
    """A folder that cannot be made, not even by root: there is a file in its place."""
    folder.write_text("a file")
    return folder


@pytest.mark.usefixtures("_no_memory")
@pytest.mark.parametrize("damage", ["", "not hexadecimal", "ab" * 31, "ab" * 33, "\u00e9" * 64, "\0" * 64])
def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    """Keys are made for this process; the file may be what a user has to look at."""
    (tmp_path / FILE_NAME).write_text(damage)
    made = key(tmp_path)
    check_unkept(made, key(tmp_path), caplog)
    assert (tmp_path / FILE_NAME).read_text() == damage
    assert names(tmp_path) == [FILE_NAME]


@pytest.mark.usefixtures("_no_memory")
def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is no key."""
    (tmp_path / FILE_NAME).mkdir()
    check_unkept(key(tmp_path), key(tmp_path), caplog)


@pytest.mark.usefixtures("_no_memory")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Limits and cookies work, for as long as the process lives."""
    folder = unwritable(tmp_path / "data")
    check_unkept(key(folder), key(folder), caplog)


def test_workers_agree_where_only_memory_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only disk, as in many containers, must not make each worker count accounts by a key of its own."""
    monkeypatch.setattr("launchkit.secret_key.SHARED_MEMORY", tmp_path / "memory")
    folder = unwritable(tmp_path / "data")
    assert key(folder).derive("accounts") == key(folder).derive("accounts")
    assert key(unwritable(tmp_path / "other")).derive("accounts") != key(folder).derive("accounts")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize("planted", ["fifo", "link", "readable by all"])
def test_what_others_put_into_shared_memory_is_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    """Anybody may write there: a pipe must not hang the start, and a key that others can read is none."""
    memory = tmp_path / "memory"
    monkeypatch.setattr("launchkit.secret_key.SHARED_MEMORY", memory)
    folder = unwritable(tmp_path / "data")
    good = key(folder).derive("accounts")
    (path,) = memory.iterdir()
    if planted == "readable by all":
        path.chmod(0o644)
    elif planted == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
        os.mkfifo(path)
    assert key(folder).derive("accounts") != good


@pytest.fixture(name="_no_memory")
def _without_shared_memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launchkit.secret_key.SHARED_MEMORY", unwritable(tmp_path_factory.mktemp("shared") / "memory"))


def check_unkept(made: SecretKey, other: SecretKey, caplog: pytest.LogCaptureFixture) -> None:
    first = made.derive("accounts")
    assert len(first) == 32
    assert made.derive("accounts") == first
    assert made.derive("devices") != first
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "LAUNCHKIT_SECRET_KEY" in record.getMessage()
    assert first.hex() not in record.getMessage()
    assert other.derive("accounts") != first


def test_the_key_may_end_with_a_line_break(tmp_path: Path) -> None:
    """Whoever copies it with an editor gets one."""
    first = key(tmp_path).derive("accounts")
    path = tmp_path / FILE_NAME
    path.write_text(path.read_text().upper() + "\n")
    assert key(tmp_path).derive("accounts") == first


def test_a_half_written_draft_harms_nobody(tmp_path: Path) -> None:
    """A worker that was killed while it made a key leaves a file that no one reads."""
    (tmp_path / f"{FILE_NAME}.0123456789abcdef").write_text("ab")
    made = key(tmp_path)
    assert made.derive("accounts") == key(tmp_path).derive("accounts")


def test_threads_that_ask_together_get_one_key(tmp_path: Path) -> None:
    """Of one kit, and of several in one process."""
    kits = [key(tmp_path / "data") for _ in range(8)]
    together = threading.Barrier(32, timeout=20)

    def ask(number: int) -> bytes:
        together.wait()
        return kits[number % 8].derive("accounts")

    with ThreadPoolExecutor(32) as pool:
        assert len(set(pool.map(ask, range(32)))) == 1
    assert names(tmp_path / "data") == [FILE_NAME]


WORKER = """
import sys
from pathlib import Path
from launchkit.secret_key import SecretKey
from launchkit.settings import Settings
key = SecretKey(Settings(data_dir=Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
print(key.derive("accounts").hex(), flush=True)
"""


def test_workers_that_start_together_agree(tmp_path: Path) -> None:
    """Each is a process; all are let go at once; the first to link its file into place wins."""
    folder = tmp_path / "data"
    command = [sys.executable, "-c", WORKER, str(folder)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        answers = {worker.communicate(timeout=30)[0] for worker in workers}
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    (answer,) = answers
    assert len(answer.strip()) == 64
    assert names(folder) == [FILE_NAME]
