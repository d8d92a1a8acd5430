"""`launchkit redact`: what comes out, where it goes, and how it ends."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from tests.commands.command_world import LAUNCHKIT, run

from launchkit.command import main
from launchkit.command.redact import ByteProgress
from launchkit.testing import FrozenClock

LINE_LENGTH = 300 * 1024


def secret() -> str:
    return "s3" + secrets.token_hex(16)


def written(text: str | bytes, name: str = "app.log") -> str:
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return name


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


def redacted(text: str | bytes, capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> bytes:
    assert main(["redact", written(text), *arguments]) == 0
    return capsysbinary.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"one",
        b"one\ntwo\r\n\r\n\n",
        b"\0\xff\xfe\x80 binary \xc3(\n\xe2\x82",
        "é €".encode(),
        b"\xef\xbb\xbfmarked\n",
        b"\xff\xfeno UTF-16",
        b"long " * (LINE_LENGTH // 5),
    ],
    ids=["empty", "no end", "line endings", "binary", "UTF-8", "byte order mark", "odd start", "long line"],
)
def test_what_holds_no_secret_comes_out_as_it_went_in(text: bytes, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Byte for byte, whatever it is."""
    assert redacted(text, capsysbinary) == text


def test_secrets_do_not_come_out(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Nor does anything else change, bytes that are no UTF-8 included."""
    text = f"user=bob password={secret()}\r\nnext".encode() + b"\xff\n"
    assert redacted(text, capsysbinary) == b"user=bob password=[redacted:password]\r\nnext\xff\n"


def test_it_reads_standard_input() -> None:
    """And needs no app and no settings."""
    ended = run("redact", "-", stdin=f"password={secret()}\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "password=[redacted:password]\n", "")


def test_lines_come_out_as_they_come() -> None:
    """A pipe may stay open for long; Ctrl-C ends it, without a traceback."""
    with subprocess.Popen(
        [LAUNCHKIT, "redact", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(f"password={secret()}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline() == b"password=[redacted:password]\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b""


def test_who_has_read_enough_ends_it() -> None:
    """As `head` does: quietly."""
    Path("app.log").write_text("one line of many\n" * 20_000)
    with subprocess.Popen([LAUNCHKIT, "redact", "app.log"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"one line of many\n"
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_settings_say_what_else_is_secret(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Keys, patterns, what is allowed, and the values of secret settings, also where logs are not redacted."""
    value = secret()
    monkeypatch.setenv("LAUNCHKIT_REDACTION__ENABLED", "0")
    monkeypatch.setenv("LAUNCHKIT_REDACTION__KEYS", "favourite_colour")
    monkeypatch.setenv("LAUNCHKIT_REDACTION__PATTERNS", "code-[0-9]+")
    monkeypatch.setenv("LAUNCHKIT_REDACTION__ALLOW", "public-.*")
    monkeypatch.setenv("LAUNCHKIT_TOKEN", value)
    text = f"favourite_colour=ultramarine code-4711 password=public-demo see {value}\n"
    shown = "favourite_colour=[redacted:key] [redacted:pattern] password=public-demo see [redacted:setting]\n"
    assert redacted(text, capsysbinary).decode() == shown


def test_settings_that_are_wrong_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is let through with half of the settings."""
    monkeypatch.setenv("LAUNCHKIT_REDACTION__PATTERNS", "(")
    assert main(["redact", written("one")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "LAUNCHKIT_REDACTION__PATTERNS" in err


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.log", "No such file or directory"), (".", "Is a directory")],
    ids=["missing", "folder"],
)
def test_a_file_that_cannot_be_read_is_named(name: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    assert main(["redact", name]) == 2
    assert capsys.readouterr().err == f"launchkit: {name}: {reason}\n"


def test_an_input_that_breaks_off_is_named() -> None:
    """What is open as standard input may not be readable."""
    with Path("app.log").open("wb") as file:
        ended = subprocess.run([LAUNCHKIT, "redact", "-"], stdin=file, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "launchkit: -: Bad file descriptor\n")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_refused(encoding: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It would come out with its secrets: they are not found in it."""
    assert main(["redact", written(f"\ufeffpassword={secret()}".encode(encoding))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "convert it to UTF-8" in err


class TestOutput:
    """`--output` writes to a file."""

    def test_the_file_appears_when_it_is_complete(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        """With the rights of any new file, and nothing else beside it."""
        assert redacted(f"pwd={secret()}", capsysbinary, "--output", "out.log") == b""
        assert Path("out.log").read_text() == "pwd=[redacted:password]"
        Path("any").touch()
        assert Path("out.log").stat().st_mode == Path("any").stat().st_mode
        assert names() == {"any", "app.log", "out.log"}

    def test_the_input_may_be_replaced(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        """Its rights stay, and so does a link to it."""
        Path("link.log").symlink_to("app.log")
        written("")
        Path("app.log").chmod(0o640)
        redacted(f"pwd={secret()}\n" * 100, capsysbinary, "--output", "link.log")
        assert Path("app.log").read_text() == "pwd=[redacted:password]\n" * 100
        assert Path("app.log").stat().st_mode & 0o777 == 0o640
        assert Path("link.log").is_symlink()

    def test_what_fails_leaves_the_old_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        """And nothing half-way."""
        written("\ufeffutf".encode("utf-16-le"))
        Path("out.log").write_text("old")
        assert main(["redact", "app.log", "--output", "out.log"]) == 2
        assert Path("out.log").read_text() == "old"
        assert names() == {"app.log", "out.log"}

    @pytest.mark.parametrize(("output", "reason"), [("none/out.log", "No such file"), (".", "Is a directory")])
    def test_a_place_that_cannot_be_written_to_is_named(
        self, output: str, reason: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """In one line."""
        assert main(["redact", written("one"), "--output", output]) == 2
        err = capsys.readouterr().err
        assert reason in err
        assert err.count("\n") == 1

    def test_what_is_no_file_is_written_to(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        """Nothing takes the place of a device or a named pipe."""
        os.mkfifo("pipe")
        got: list[str] = []
        reader = threading.Thread(target=lambda: got.append(Path("pipe").read_text()))
        reader.start()
        redacted(f"pwd={secret()}", capsysbinary, "--output", "pipe")
        reader.join(30)
        assert got == ["pwd=[redacted:password]"]
        assert Path("pipe").is_fifo()


class TestExplain:
    """`--explain` and `--json` say what was hidden and why."""

    TEXT = "clean\n  password={} and pwd={}\n"

    def test_each_secret_has_a_line(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        """With its place, its length and the rule; never the secret, nor the text around it."""
        value = secret()
        lines = redacted(self.TEXT.format(value, "hunter-two"), capsysbinary, "--explain").decode().splitlines()
        assert [line.rpartition(":")[0] for line in lines] == [
            f"2:12: password, {len(value)} characters",
            f"2:{12 + len(value) + 9}: password, 10 characters",
        ]
        assert all(len(line.rpartition(": ")[2]) > 5 for line in lines)
        assert value not in str(lines)
        assert "hunter-two" not in str(lines)

    def test_machines_get_an_object_a_line(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        """Whole files of findings need not fit into memory."""
        value = secret()
        lines = redacted(self.TEXT.format(value, "hunter-two"), capsysbinary, "--json").decode().splitlines()
        first, second = map(json.loads, lines)
        assert first.pop("reason")
        assert first == {"line": 2, "column": 12, "length": len(value), "rule": "password"}
        assert second["length"] == 10

    def test_the_text_goes_where_it_is_told(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        """Both are to be had at once."""
        out = redacted(f"pwd={secret()}", capsysbinary, "--explain", "--output", "out.log")
        assert out.startswith(b"1:5: password")
        assert Path("out.log").read_text() == "pwd=[redacted:password]"

    def test_a_terminal_is_safe_from_the_text(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        """A reason may name a key of it."""
        shown = redacted(
            f"\x1b[31mpassword\x1b[0m={secret()} \x9bpassword={secret()}", capsysbinary, "--explain"
        ).decode()
        assert shown
        assert all(line.isprintable() for line in shown.splitlines())


def test_a_check_says_whether_anything_was_hidden(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """By its exit status, for continuous integration."""
    assert main(["redact", "--check", written(f"pwd={secret()}")]) == 1
    assert capsysbinary.readouterr().out == b"pwd=[redacted:password]"
    assert main(["redact", "--check", written("clean")]) == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("total", "shown"), [(8_000_000, "\r4.0 of 8.0 MB\r8.0 of 8.0 MB\n"), (0, "\r4.0 MB\r8.0 MB\n")]
)
def test_a_terminal_sees_how_far_a_long_text_has_come(total: int, shown: str) -> None:
    """Once a second, in a line that is rewritten, and ended at the end."""
    clock, stream = FrozenClock(), Terminal()
    progress = ByteProgress(stream, clock, total)
    for _ in range(4):
        clock.advance(0.5)
        progress.add(2_000_000)
    progress.end()
    assert stream.getvalue() == shown


def test_nobody_sees_how_far_a_short_text_has_come() -> None:
    """Nor does anything but a terminal."""
    clock, stream, file = FrozenClock(), Terminal(), io.StringIO()
    progress = ByteProgress(stream, clock, 10)
    progress.add(10)
    progress.end()
    progress = ByteProgress(file, clock, 10)
    clock.advance(5)
    progress.add(10)
    progress.end()
    assert stream.getvalue() == file.getvalue() == ""
