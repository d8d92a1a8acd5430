"""What comes out of a text that comes in pieces, and when."""

from __future__ import annotations

import base64
import secrets
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchkit.redaction.engine import Redactor
from launchkit.redaction.stream import LONGEST_KEY, LONGEST_LINE, OVERLAP, Hidden, StreamRedactor
from launchkit.settings import RedactionSettings

REDACTOR = Redactor(RedactionSettings(), mask_emails=True)
DASHES = "-" * 5
KEY_KINDS = ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "]


def secret() -> str:
    return "s3" + secrets.token_hex(16)


def key_lines(kind: str = "", size: int = 1_200, headers: tuple[str, ...] = ()) -> list[str]:
    body = base64.b64encode(secrets.token_bytes(size)).decode()
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return [f"{DASHES}BEGIN {kind}PRIVATE KEY{DASHES}", *headers, *lines, f"{DASHES}END {kind}PRIVATE KEY{DASHES}"]


def streamed(pieces: list[str], redactor: Redactor = REDACTOR) -> str:
    stream = StreamRedactor(redactor)
    return "".join([*map(stream.feed, pieces), stream.close()])


def cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


FRAGMENTS = [
    "password=hunter", "password: ", "token", "Authorization: Bearer ", "=", '"', "'", "\n", "\r\n", "\r", " ", "é",
    f"{DASHES}BEGIN PRIVATE KEY{DASHES}", f"{DASHES}BEGIN RSA PRIVATE KEY{DASHES}", f"{DASHES}END PRIVATE KEY{DASHES}",
    f"{DASHES}END RSA PRIVATE KEY{DASHES}", DASHES, "PRIVATE KEY", "MIIEvQIBADANBgkqhkiG9w0", "Proc-Type: 4,ENCRYPTED",
    "INFO started", "https://bob:x1y2z3a4@host/", "ann@example.com", "\udcff", "\0",
]  # fmt: skip

texts = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=20).map("".join))


@given(texts, st.data())
def test_cutting_a_text_anywhere_changes_nothing(text: str, data: st.DataObject) -> None:
    """Within a secret, a line ending or a key, in empty pieces, and character by character."""
    whole = streamed([text])
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    assert streamed(pieces) == whole
    assert streamed(list(text)) == whole


@given(st.lists(texts.map(lambda text: text.replace("\n", "").replace("PRIVATE KEY", "")), max_size=5))
def test_a_line_comes_out_as_redact_returns_it(lines: list[str]) -> None:
    """Whatever stands before and after it."""
    lines = [line.rstrip("\r") for line in lines]
    assert streamed(["".join(f"{line}\n" for line in lines)]) == "".join(f"{REDACTOR.redact(line)}\n" for line in lines)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_endings_stay(ending: str) -> None:
    """Also where the end of a line was hidden, and where the last line has none."""
    text = ending.join([f"password={secret()}", "", "one", f'password="{secret()}'])
    hidden = ending.join(["password=[redacted:password]", "", "one", 'password="[redacted:password]'])
    assert streamed(cut(text, 7)) == hidden
    assert streamed([text + ending]) == hidden + ending


def test_a_line_comes_out_with_its_end() -> None:
    """Whoever watches a log sees its lines as they come."""
    stream = StreamRedactor(REDACTOR)
    assert stream.feed("one") == ""
    assert stream.feed(" line\ntwo") == "one line\n"
    assert stream.feed("\n") == "two\n"
    assert stream.close() == ""


def test_a_stream_may_be_used_again_once_closed() -> None:
    """Nothing of the first text is left, not even a key that has not ended."""
    stream = StreamRedactor(REDACTOR)
    key = key_lines()
    stream.feed(f"{key[0]}\n{key[1]}\n")
    assert stream.close() == "[redacted:private-key]\n"
    assert stream.feed(f"{key[2]}\n") == f"{REDACTOR.redact(key[2])}\n"


@pytest.mark.parametrize("kind", KEY_KINDS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_private_key_is_hidden_as_one(kind: str, ending: str) -> None:
    """All its lines with it; what stands around it in its first and last line stays."""
    text = ending.join(["before", *key_lines(kind), "after"])
    assert streamed(cut(text, 100)) == ending.join(["before", "[redacted:private-key]", "after"])
    nested = text.replace(DASHES + "BEGIN", "k: " + DASHES + "BEGIN").replace(
        "KEY-----" + ending + "after", "KEY-----;"
    )
    assert streamed([nested]) == ending.join(["before", "k: [redacted:private-key];"])


def test_headers_belong_to_a_private_key() -> None:
    """RFC 1421 and RFC 9580 have them before the base64."""
    key = key_lines("RSA ", headers=("Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC,0A1B", ""))
    assert streamed(["\n".join(key)]) == "[redacted:private-key]"


def test_two_private_keys_in_a_row_are_both_hidden() -> None:
    """Files of certificates hold several."""
    shown = streamed(["\n".join([*key_lines("RSA "), *key_lines("EC "), "after", ""])])
    assert shown == "[redacted:private-key]\n[redacted:private-key]\nafter\n"


def test_a_private_key_that_was_cut_off_ends_with_its_material() -> None:
    """The log goes on after it."""
    key = key_lines()
    text = "\n".join([*key[:5], "2026-11-20 INFO started [main]", "more", ""])
    assert streamed([text]) == "[redacted:private-key]\n2026-11-20 INFO started [main]\nmore\n"


def test_what_looks_like_a_private_key_in_one_line_holds_nothing_back() -> None:
    """A whole key with escaped line breaks, or only its end."""
    stream = StreamRedactor(REDACTOR)
    key = key_lines()
    assert stream.feed("\\n".join(key) + "\n") == "[redacted:private-key]\n"
    assert stream.feed(f"no PRIVATE KEY here\n{key[-1]}\n") == f"no PRIVATE KEY here\n{key[-1]}\n"


@pytest.mark.parametrize("after", ["after", '", "more": 1'])
def test_a_private_key_without_measure_is_hidden_to_its_end(after: str) -> None:
    """It is not held back, so that memory stays bounded; what follows its end is shown."""
    key = key_lines(size=4 * LONGEST_KEY)
    text = "\n".join([f"before {key[0]}", *key[1:-1], key[-1] + after, "more"])
    shown = f"before [redacted:private-key]{after}\nmore"
    assert streamed([text]) == shown
    assert streamed(cut(text, 1_000)) == shown
    assert StreamRedactor(REDACTOR).feed(text[: 2 * LONGEST_KEY]) == "before [redacted:private-key]"


def test_a_private_key_without_measure_may_be_cut_off() -> None:
    """Then the first line of something else is shown again."""
    key = key_lines(size=2 * LONGEST_KEY)
    assert streamed(["\n".join([*key[:-1], "(main) started", ""])]) == "[redacted:private-key]\n(main) started\n"
    assert streamed(["\n".join([*key[:-1], ""])]) == "[redacted:private-key]\n"


def test_key_material_that_the_app_allows_stays_whatever_its_length() -> None:
    """Only what the redactor hides is kept back for good."""
    redactor = Redactor(RedactionSettings(allow=(r"(?s)-+BEGIN.*",)), mask_emails=False)
    text = "\n".join(["x " * (LONGEST_KEY // 8), *key_lines(size=2 * LONGEST_KEY), "after", ""])
    allowed = text.replace("+", "a").replace("/", "b")
    assert streamed([allowed], redactor) == allowed


class TestLongLines:
    """Lines of more than `LONGEST_LINE` characters, which come out in windows."""

    FILLING = "lorem ipsum dolor sit amet "

    def filled(self, length: int) -> str:
        return (self.FILLING * (length // len(self.FILLING) + 1))[:length]

    @pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
    def test_they_come_out_whole(self, ending: str) -> None:
        """Nothing is lost or doubled at the borders of windows, whatever the length."""
        for length in (LONGEST_LINE - 1, LONGEST_LINE, LONGEST_LINE + 1, 2 * LONGEST_LINE + 17):
            text = f"one\n{self.filled(length)}{ending}"
            assert streamed(cut(text, 50_001)) == text

    @pytest.mark.parametrize("shift", [1, 10, 20, 50, OVERLAP])
    def test_a_secret_at_the_border_of_windows_is_hidden(self, shift: int) -> None:
        """With what stands before and behind it: half of a token is not known for one."""
        value = secret()
        for border in (LONGEST_LINE - OVERLAP, LONGEST_LINE):
            before = self.filled(border - shift)
            after = f" password={value} {self.filled(2 * OVERLAP)}"
            for first, shown in (("g" + f"hp_{secret()}{secret()[:2]}", "[redacted:github-token]"), ("x", "x")):
                text = f"{before} {first}{after}"
                hidden = f"{before} {shown}{after}".replace(value, "[redacted:password]")
                assert streamed(cut(text, 9_999)) == hidden

    @settings(max_examples=5)
    @given(st.integers(-80, 80), st.integers(1, 70_000))
    def test_cutting_them_anywhere_changes_nothing(self, shift: int, size: int) -> None:
        """Windows begin and end at places of the line."""
        before = self.filled(LONGEST_LINE - OVERLAP + shift)
        text = f"{before} token={secret()} {self.filled(OVERLAP)}\r\nnext"
        whole = streamed([text])
        assert "[redacted:token]" in whole
        assert streamed(cut(text, size)) == whole

    def test_a_secret_that_is_longer_than_windows_is_hidden_once(self) -> None:
        """What stands before it tells that its rest is secret, too."""
        value = "".join(f"{secret()} " for _ in range(3 * LONGEST_LINE // 34))
        text = f'{{"user": "bob", "password": "{value}", "more": "{self.filled(500)}"}}\nnext\n'
        shown = f'{{"user": "bob", "password": "[redacted:password]", "more": "{self.filled(500)}"}}\nnext\n'
        assert streamed([text]) == shown
        assert streamed(cut(text, 65_537)) == shown

    def test_a_key_before_them_is_let_out(self) -> None:
        """A line of that length is no line of a key."""
        key = key_lines()
        text = "\n".join([*key[:3], self.filled(LONGEST_LINE + 5), "after"])
        assert streamed([text]) == "\n".join(["[redacted:private-key]", self.filled(LONGEST_LINE + 5), "after"])


def test_each_secret_is_told_with_its_place() -> None:
    """Lines and columns from 1, also after a private key and within long lines."""
    told: list[Hidden] = []
    stream = StreamRedactor(REDACTOR, told.append)
    filling = "lorem " * (LONGEST_LINE // 6)
    value = secret()
    key = key_lines()
    text = "\n".join(
        ["clean", f"  password={value}", "x: " + key[0], *key[1:], f"{filling}pwd={value} {filling}", f"pwd={value}"]
    )
    for piece in cut(text, 10_000):
        stream.feed(piece)
    stream.close()
    lines = len(key)
    assert [(hidden.line, hidden.column, hidden.rule) for hidden in told] == [
        (2, 12, "password"),
        (3, 4, "private-key"),
        (3 + lines, len(filling) + 5, "password"),
        (4 + lines, 5, "password"),
    ]
    assert [hidden.length for hidden in told] == [len(value), len("\n".join(key)), len(value), len(value)]
    assert value not in str(told)


def test_places_within_a_held_back_text_are_lines_of_it() -> None:
    """What follows the end of a key in its last line stands in that line."""
    told: list[Hidden] = []
    stream = StreamRedactor(REDACTOR, told.append)
    key = key_lines()
    stream.feed("\n".join([*key[:-1], f"{key[-1]} pwd={secret()}\n"]))
    assert [(hidden.line, hidden.column) for hidden in told] == [(1, 1), (len(key), len(key[-1]) + 6)]


@pytest.mark.parametrize(
    ("text", "size"),
    [("x", 1), ("said hello\n", 1), (f"{DASHES}BEGIN PRIVATE KEY{DASHES}\n", 1_024), ("MIIE\n", 1_024)],
)
def test_the_time_is_linear_in_the_length(text: str, size: int) -> None:
    """Eight times the text takes about eight times as long, however small the pieces are."""

    def seconds(length: int) -> float:
        pieces = cut(f"{DASHES}BEGIN PRIVATE KEY{DASHES}\n" + text * (length // len(text)), size)
        before = time.process_time()
        streamed(pieces)
        return time.process_time() - before

    def grows_linearly(tries: int) -> bool:
        short, long = (min(seconds(length) for _ in range(tries)) for length in (25_000, 200_000))
        return long < 0.1 or long < 24 * short  # quadratic work takes 64 times as long

    assert any(grows_linearly(tries) for tries in (1, 2, 4))  # other processes only ever add to a time


def test_memory_is_bounded() -> None:
    """A line without an end and a key without an end are not held."""
    stream = StreamRedactor(REDACTOR)
    piece = "lorem ipsum " * 1_000
    tracemalloc.start()
    try:
        for _ in range(100):
            stream.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 16 * LONGEST_LINE
    finally:
        tracemalloc.stop()
