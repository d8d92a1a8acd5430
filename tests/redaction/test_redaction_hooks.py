"""What leaves the process past logging: uncaught exceptions, warnings and prints show no secret."""

from __future__ import annotations

import functools
import io
import os
import secrets
import subprocess
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterator

import pytest
from sentry_sdk.utils import event_from_exception

from launchkit.redaction.attributes import Wrapping
from launchkit.redaction.engine import Redactor
from launchkit.redaction.exceptions import HIDDEN, redact_exc_info, stand_in
from launchkit.redaction.hooks import install
from launchkit.redaction.prints import RedactedStream
from launchkit.settings import RedactionSettings


class Broken(Redactor):
    """A redactor with a bug."""

    def redact(self, text: str) -> str:
        raise RecursionError

    def redact_data(self, value: object) -> object:
        raise RecursionError


class Named(Redactor):
    """Hides one word."""

    def __init__(self, word: str) -> None:
        super().__init__(RedactionSettings(patterns=(word,)), mask_emails=False)


@functools.cache
def redactor() -> Redactor:
    return Redactor(RedactionSettings(), mask_emails=False)


@functools.cache
def broken() -> Redactor:
    return Broken(RedactionSettings(), mask_emails=False)


def secret() -> str:
    return "S3" + secrets.token_hex(12)


def raised(error: BaseException) -> tuple:
    """Return what `sys.exc_info()` is while an exception is under way."""
    try:
        throw(error)
    except BaseException:
        return sys.exc_info()


def throw(error: BaseException) -> None:
    raise error


def redact(exc_info: tuple) -> tuple:
    return redact_exc_info(redactor(), exc_info)


def printed(exc_info: tuple) -> str:
    return "".join(traceback.format_exception(*exc_info))


@pytest.fixture(name="installed")
def _installed() -> Iterator[Callable[..., Callable[[], None]]]:
    """Install, and end it after the test."""
    ends = []

    def put(given: Redactor | None = None, *, prints: bool = False) -> Callable[[], None]:
        ends.append(install(given or redactor(), prints=prints))
        return ends[-1]

    yield put
    for end in ends:
        end()


# --- stand-ins for exceptions --------------------------------------------------------------------------------------


class OwnError(Exception):
    """An app's exception, which cannot be made without knowing how."""

    def __init__(self, first: str, *, second: str) -> None:
        super().__init__(first)
        self.second = second

    def __str__(self) -> str:
        return f"password={self.second}"


def test_a_stand_in_has_type_text_notes_and_stack_of_the_exception():
    """And is another object: the exception belongs to the app."""
    value = secret()
    error = OwnError("first", second=value)
    error.add_note(f"token={value}")
    exc_info = raised(error)
    kind, shown, stack = redact_exc_info(redactor(), exc_info)
    assert kind is OwnError
    assert shown is not error
    assert (type(shown).__name__, type(shown).__module__) == ("OwnError", __name__)
    assert printed((kind, shown, stack)).splitlines()[-2:] == [
        f"{__name__}.OwnError: password=[redacted:password]",
        "token=[redacted:token]",
    ]
    assert [(line.filename, line.lineno, line.name, line.line) for line in traceback.extract_tb(stack)] == [
        (line.filename, line.lineno, line.name, line.line) for line in traceback.extract_tb(exc_info[2])
    ]
    assert str(error) == f"password={value}"


def test_a_stand_in_has_no_local_variables_and_no_callers():
    """Many print them, and climb up from frame to frame."""
    _, shown, stack = redact_exc_info(redactor(), raised(ValueError(f"password={secret()}")))
    frames = [frame for frame, _ in traceback.walk_tb(stack)]
    assert [frame.f_code.co_name for frame in frames] == ["raised", "throw"]
    assert [frame.f_locals for frame in frames] == [{}, {}]
    assert [frame.f_back for frame in frames] == [None, None]
    assert shown.__traceback__ is stack


def test_an_exception_that_shows_no_secret_is_the_same():
    """Whoever reports it gets all that he is used to."""
    exc_info = raised(ValueError("too short"))
    assert redact_exc_info(redactor(), exc_info) is exc_info
    for given in (redactor(), broken()):
        assert redact_exc_info(given, (None, None, None)) == (None, None, None)


def test_causes_contexts_and_suppressed_ones_keep_their_place():
    """A circle among them is no harm."""
    value = secret()
    first, second, third = (kind(f"password={value}") for kind in (KeyError, OSError, TypeError))
    first.__context__, second.__cause__, third.__context__ = second, third, first
    third.__suppress_context__ = True
    shown = redact_exc_info(redactor(), raised(first))[1]
    assert type(shown.__context__).__name__ == "OSError"
    assert type(shown.__context__.__cause__).__name__ == "TypeError"
    assert shown.__context__.__suppress_context__
    assert not shown.__suppress_context__
    assert shown.__context__.__cause__.__context__ is shown
    assert shown.__context__.__cause__.__suppress_context__
    assert value not in printed((None, shown, None))


@pytest.mark.parametrize("kind", [ExceptionGroup, BaseExceptionGroup])
def test_groups_keep_their_members(kind):
    """More than Python prints of them; each with its own causes."""
    values = [secret() for _ in range(40)]
    members = [raised(ValueError(f"password={value}"))[1] for value in values]
    members[3].__cause__ = OSError(f"token={values[0]}")
    group = kind(f"token={values[1]}", [*members, ExceptionGroup("inner", [KeyError(f"password={values[2]}")])])
    exc_info = redact_exc_info(redactor(), raised(group))
    shown = exc_info[1]
    assert len(shown.exceptions) == 41
    assert shown.message == "token=[redacted:token]"
    assert str(shown.exceptions[3].__cause__) == "token=[redacted:token]"
    event, _ = event_from_exception(exc_info)
    texts = [str(one["value"]) for one in event["exception"]["values"]]
    assert len(texts) == 44
    assert not [value for value in values if value in "".join(texts)]


def test_only_a_late_member_of_a_group_holds_a_secret():
    """Python prints fifteen; others send all."""
    group = ExceptionGroup("many", [*(ValueError("fine") for _ in range(20)), ValueError(f"password={secret()}")])
    assert redact_exc_info(redactor(), raised(group))[1] is not group


def test_sentry_groups_a_stand_in_as_it_does_the_exception():
    """By type, module and stack; its event shows no secret."""
    value = secret()
    exc_info = raised(OwnError("first", second=value))
    options = {"include_local_variables": True, "include_source_context": True, "max_value_length": None}
    before, after = (
        event_from_exception(one, client_options=options)[0]["exception"]["values"][0]
        for one in (exc_info, redact_exc_info(redactor(), exc_info))
    )
    assert {**after, "value": None, "stacktrace": None} == {**before, "value": None, "stacktrace": None}
    assert after["value"] == "password=[redacted:password]"
    for frames in (before["stacktrace"]["frames"], after["stacktrace"]["frames"]):
        for frame in frames:
            frame.pop("vars", None)
    assert after["stacktrace"] == before["stacktrace"]
    assert value not in repr(after)


def test_a_line_of_source_with_a_secret_is_not_shown():
    """The rest of the stack is."""
    word = secret()
    exc_info = raised(ValueError(f"password={word}"))
    shown = printed(redact_exc_info(Named("raise error"), exc_info))
    assert "raise error" in printed(exc_info)
    assert "raise error" not in shown
    assert "in throw" in shown


def test_a_loader_is_not_asked_for_a_line_of_source_with_a_secret():
    """Sentry asks it."""
    value = secret()
    source = f"def connect(error):\n    raise error  # password={value}"

    class Loader:
        def get_source(self, name: str) -> str:
            return source

    scope = {"__name__": "zipped", "__loader__": Loader()}
    exec(compile(source, "/app.zip/zipped.py", "exec"), scope)
    try:
        scope["connect"](ValueError(f"password={value}"))
    except ValueError:
        exc_info = sys.exc_info()
    before, after = (event_from_exception(one)[0]["exception"]["values"][0] for one in (exc_info, redact(exc_info)))
    assert value in repr(before["stacktrace"])
    assert value not in repr(after)
    assert after["stacktrace"]["frames"][-1]["function"] == "connect"


def test_what_still_shows_a_secret_is_hidden_but_for_its_type():
    """Here type and text are a key and its value."""
    value = secret()
    api_key = type("ApiKey", (Exception,), {"__module__": "builtins"})
    kind, shown, stack = redact_exc_info(redactor(), raised(api_key(value)))
    assert kind is api_key
    assert printed((kind, shown, stack)) == f"ApiKey: {HIDDEN}\n"


@pytest.mark.parametrize("treat", [redact_exc_info, stand_in])
@pytest.mark.parametrize("reason", ["redactor", "text"])
def test_what_cannot_be_redacted_is_hidden_but_for_its_type(treat, reason):
    """Texts are made by the app's code."""

    class Unreadable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    exc_info = raised(Unreadable("x") if reason == "text" else ValueError(secret()))
    if reason == "text" and treat is redact_exc_info:
        exc_info[1].add_note(f"password={secret()}")
    kind, shown, stack = treat(broken() if reason == "redactor" else redactor(), exc_info)
    assert (kind, str(shown), stack) == (exc_info[0], HIDDEN, None)


# --- hooks ---------------------------------------------------------------------------------------------------------


def test_uncaught_exceptions_reach_the_earlier_hook_once_and_redacted(monkeypatch, installed):
    """With their real type, for hooks that treat some in their own way."""
    seen: list[tuple] = []
    monkeypatch.setattr(sys, "excepthook", lambda *exc_info: seen.append(exc_info))
    installed()
    value = secret()
    sys.excepthook(*raised(KeyError(f"password={value}")))
    (exc_info,) = seen
    assert exc_info[0] is KeyError
    assert "KeyError: 'password=[redacted:password]'" in printed(exc_info)
    assert "in raised" in printed(exc_info)


def test_uncaught_exceptions_in_threads_reach_the_earlier_hook_redacted(monkeypatch, installed):
    """With the thread."""
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    installed()
    value = secret()
    thread = threading.Thread(target=raise_it, args=(value,))
    thread.start()
    thread.join()
    (arguments,) = seen
    assert arguments.thread is thread
    assert arguments.exc_type is LookupError
    assert "LookupError: password=[redacted:password]" in printed(arguments[:3])


def raise_it(value: str) -> None:
    raise LookupError(f"password={value}")


class Careless:
    """Fails while it is thrown away."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __del__(self) -> None:
        raise LookupError(f"password={self.value}")


@pytest.mark.parametrize("given", [redactor, broken])
def test_unraisable_exceptions_reach_the_earlier_hook_redacted(monkeypatch, installed, given):
    """In the form that Python's own insists on."""
    seen: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    installed(given())
    value = secret()
    Careless(value)
    (unraisable,) = seen
    sys.__unraisablehook__(unraisable)
    expected = "LookupError: password=[redacted:password]" if given is redactor else f"LookupError: {HIDDEN}"
    assert expected in stream.getvalue()
    assert value not in stream.getvalue()


def test_the_object_and_message_of_an_unraisable_exception_are_redacted(monkeypatch, installed):
    """They are printed, too."""
    seen: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    Careless("x")
    installed()
    value = secret()
    arguments = (ValueError, ValueError("x"), None, f"Ignored password={value}", {"password": value})
    sys.unraisablehook(type(seen[0])(arguments))
    assert seen[1].err_msg == "Ignored password=[redacted:password]"
    assert seen[1].object == {"password": "[redacted:password]"}
    assert seen[1].exc_value is arguments[1]


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("given", [redactor, broken])
def test_warnings_are_redacted(monkeypatch, installed, given):
    """Their text, and the line of source that is shown with them."""
    seen: list[tuple] = []
    monkeypatch.setattr(warnings, "showwarning", lambda *arguments: seen.append(arguments))
    installed(given())
    value = secret()
    warnings.warn(f"password={value}", UserWarning, stacklevel=1)
    warnings.showwarning(f"token={value}", UserWarning, __file__, 1, None, f"password = '{value}'")
    (message, category, filename, *_), (second, *_, line) = seen
    assert isinstance(message, Warning)
    assert (type(message).__name__, category, filename) == ("UserWarning", UserWarning, __file__)
    assert value not in f"{message} {second} {line}"
    expected = ["password=[redacted:password]", "token=[redacted:token]"] if given is redactor else [HIDDEN, HIDDEN]
    assert [str(message), str(second)] == expected


@pytest.mark.filterwarnings("always")
def test_a_warning_without_a_secret_is_the_same(monkeypatch, installed):
    """And whoever shows it looks its line up himself."""
    seen: list[tuple] = []
    monkeypatch.setattr(warnings, "showwarning", lambda *arguments: seen.append(arguments))
    installed()
    warning = UserWarning("fine")
    warnings.warn(warning, stacklevel=1)
    warnings.showwarning("fine", UserWarning, __file__, 1)
    assert seen[0][0] is warning
    assert seen[0][-1] is None
    assert seen[1][0] == "fine"


HOOKS = [(sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook"), (warnings, "showwarning")]


@pytest.mark.parametrize(("owner", "name"), [*HOOKS, (sys, "stdout"), (sys, "stderr")])
def test_uninstalling_leaves_everything_as_it_was(owner, name):
    """Once and for all: a second time does nothing."""
    before = getattr(owner, name)
    first, second = install(redactor(), prints=True), install(redactor(), prints=True)
    assert getattr(owner, name) is not before
    for end in (first, first, second, second):
        end()
    assert getattr(owner, name) is before


def test_only_the_latest_wrapper_of_an_attribute_is_at_work():
    """Of several under those of others; what is left when one ends is the newest of the rest."""
    owner = types.SimpleNamespace(list=list)
    wrapping = Wrapping(owner, "list", lambda original, newest: lambda: [*original(), newest()])
    first, second = wrapping.add("first"), wrapping.add("second")
    theirs = owner.list
    owner.list = lambda: [*theirs(), "theirs"]
    third = wrapping.add("third")
    assert owner.list() == [None, "theirs", "third"]
    third()
    assert owner.list() == [None, "theirs", "second"]
    first()
    second()
    assert owner.list() == [None, "theirs"]


def test_of_two_installations_the_newest_is_at_work(monkeypatch, installed):
    """Each may end first."""
    seen: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, stack: seen.append(str(value)))
    first = installed(Named("one"))
    installed(Named("two"))()
    second = installed(Named("two"))
    sys.excepthook(*raised(ValueError("one two")))
    first()
    sys.excepthook(*raised(ValueError("one two")))
    second()
    sys.excepthook(*raised(ValueError("one two")))
    assert seen == ["one [redacted:pattern]", "one [redacted:pattern]", "one two"]


def test_a_hook_that_was_set_later_stays_and_calls_ours(monkeypatch, installed):
    """After the end ours passes everything through, and the next installation goes on top."""
    seen: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, stack: seen.append(str(value)))
    end = installed()
    ours = sys.excepthook
    monkeypatch.setattr(sys, "excepthook", lambda *exc_info: ours(*exc_info))
    theirs = sys.excepthook
    value = secret()
    sys.excepthook(*raised(ValueError(f"password={value}")))
    end()
    assert sys.excepthook is theirs
    sys.excepthook(*raised(ValueError(f"password={value}")))
    again = installed()
    sys.excepthook(*raised(ValueError(f"password={value}")))
    again()
    assert sys.excepthook is theirs
    assert seen == ["password=[redacted:password]", f"password={value}", "password=[redacted:password]"]


@pytest.mark.parametrize("name", ["excepthook thread", "unraisablehook", "showwarning"])
def test_ours_passes_everything_through_once_it_is_over(monkeypatch, installed, name):
    """Also where somebody has kept it."""
    seen: list[object] = []
    owner, attribute = (threading, "excepthook") if "thread" in name else (sys, name)
    owner = warnings if name == "showwarning" else owner
    monkeypatch.setattr(owner, attribute, lambda *arguments: seen.append(arguments))
    end = installed()
    kept = getattr(owner, attribute)
    end()
    arguments = ("password=x", UserWarning, "f", 1, None, None) if name == "showwarning" else (object(),)
    kept(*arguments)
    assert seen == [arguments]


# --- prints --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = io.BytesIO()
        self.flushed = 0

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 7

    def flush(self) -> None:
        self.flushed += 1

    @property
    def encoding(self) -> str:
        return "latin-1"


@pytest.fixture(name="terminal", params=["stdout", "stderr"])
def _terminal(monkeypatch, request, installed) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(sys, request.param, terminal)
    installed(prints=True)
    terminal.stream = getattr(sys, request.param)
    return terminal


def test_what_is_printed_is_redacted_line_by_line(terminal):
    """Also where print writes a line in pieces."""
    value = secret()
    print("the", f"password={value}", "is", 1, file=terminal.stream)
    print("password=", value, sep="", file=terminal.stream)
    terminal.stream.writelines([f"token={value}\n", "end\n"])
    assert terminal.getvalue() == (
        "the password=[redacted:password] is 1\npassword=[redacted:password]\ntoken=[redacted:token]\nend\n"
    )


def test_a_flush_shows_what_there_is(terminal):
    """And so does a carriage return, with which progress is shown."""
    print("Working", end="", file=terminal.stream)
    assert terminal.getvalue() == ""
    print("...", end="", flush=True, file=terminal.stream)
    assert terminal.getvalue() == "Working..."
    assert terminal.flushed == 1
    print("\r50 %", end="\r", file=terminal.stream)
    assert terminal.getvalue() == "Working...\r50 %\r"
    print(" done", file=terminal.stream)
    assert terminal.getvalue() == "Working...\r50 %\r done\n"


def test_a_flush_does_not_part_a_key_from_its_value(terminal):
    """What it has shown counts as the beginning of the line."""
    value = secret()
    print("the password=", end="", flush=True, file=terminal.stream)
    print(value, end="", flush=True, file=terminal.stream)
    print(file=terminal.stream)
    assert value not in terminal.getvalue()
    assert terminal.getvalue().startswith("the password=")


def test_what_a_flush_has_shown_belongs_to_its_line_only(terminal):
    """The next one may begin alike."""
    print("one", end="", flush=True, file=terminal.stream)
    print("\none", file=terminal.stream)
    assert terminal.getvalue() == "one\none\n"


@pytest.mark.parametrize("flush", [False, True])
def test_a_line_without_end_is_shown(flush):
    """Neither memory nor time grow with it."""
    lengths: list[int] = []

    class Measuring(Redactor):
        def redact(self, text: str) -> str:
            lengths.append(len(text))
            return text

    terminal, measuring = Terminal(), Measuring(RedactionSettings(), mask_emails=False)
    stream = RedactedStream(terminal, lambda: measuring)
    for _ in range(3000):
        print("12345 ", end="", flush=flush, file=stream)
    assert len(terminal.getvalue()) >= 8192
    stream.flush()
    assert terminal.getvalue() == "12345 " * 3000
    assert max(lengths) < (2000 if flush else 9000)


def test_the_stream_is_otherwise_the_other_one(terminal):
    """Libraries ask for its descriptor, its encoding, its buffer, and whether it is a terminal."""
    assert terminal.stream.isatty()
    assert terminal.stream.fileno() == 7
    assert terminal.stream.encoding == "latin-1"
    assert terminal.stream.buffer is terminal.buffer
    assert terminal.stream.write("four") == 4
    with pytest.raises(TypeError):
        terminal.stream.write(b"bytes")
    with pytest.raises(AttributeError):
        _ = terminal.stream.unheard_of


def test_prints_are_left_alone_unless_they_are_asked_for(installed):
    """They cost time."""
    before = sys.stdout, sys.stderr
    installed(prints=False)
    assert (sys.stdout, sys.stderr) == before


def test_a_process_without_standard_output_is_left_without(monkeypatch, installed):
    """Services on some systems have none."""
    monkeypatch.setattr(sys, "stdout", None)
    installed(prints=True)
    assert sys.stdout is None


def test_what_cannot_be_redacted_is_not_printed():
    """Its line is."""
    terminal, value = Terminal(), secret()
    stream = RedactedStream(terminal, broken)
    print(value, file=stream)
    print(value, end="", flush=True, file=stream)
    assert terminal.getvalue() == f"{HIDDEN}\n{HIDDEN}"


def test_the_end_of_an_installation_shows_what_has_waited(monkeypatch):
    """Redacted still; what somebody prints through it afterwards passes at once."""
    terminal, value = Terminal(), secret()
    monkeypatch.setattr(sys, "stdout", terminal)
    end = install(redactor(), prints=True)
    kept = sys.stdout
    print(f"password={value}", end="")  # noqa: T201  # this is what is tested
    end()
    assert terminal.getvalue() == "password=[redacted:password]"
    kept.write(" more")
    assert terminal.getvalue() == "password=[redacted:password] more"


def test_lines_of_many_threads_stay_whole(terminal):
    """No text is lost or doubled."""

    def work(letter: str) -> None:
        for _ in range(200):
            terminal.stream.write(letter * 20 + "\n")

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(terminal.getvalue().split()) == sorted(letter * 20 for letter in "abcd" for _ in range(200))


# --- a process of its own ------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys, threading, warnings
import sentry_sdk
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.transport import Transport
from launchkit.redaction.attributes import Wrapping
from launchkit.redaction.engine import Redactor
from launchkit.redaction.hooks import install
from launchkit.settings import RedactionSettings

class Count(Transport):
    def capture_envelope(self, envelope):
        os.write(1, b"event sent\\n")

def ours():
    install(Redactor(RedactionSettings(), mask_emails=False), prints=True)

def theirs():
    sentry_sdk.init("https://key@sentry.invalid/1", transport=Count, default_integrations=False,
                    integrations=[ExcepthookIntegration()], auto_enabling_integrations=False)

for step in (ours, theirs) if sys.argv[1] == "ours first" else (theirs, ours):
    step()
value = os.environ["PLANTED"]

class Careless:
    def __del__(self):
        raise LookupError(f"password={value}")

def work():
    raise LookupError(f"password={value}")

Careless()
thread = threading.Thread(target=work)
thread.start()
thread.join()
warnings.warn(f"password={value}")
if os.fork() == 0:
    print(f"password={value}")
    sys.stdout.flush()
    os._exit(0)
os.wait()
print(f"password={value}", end="")
raise ValueError("outer") from LookupError(f"password={value}")
"""


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_a_whole_process_shows_no_secret_and_loses_nothing(order):
    """Whether Sentry has set its hook before or after; each exception is printed once, and the last line is flushed."""
    value = secret()
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, order],
        env={**os.environ, "PLANTED": value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert value not in process.stdout + process.stderr
    assert process.stdout.count("password=[redacted:password]") == 2
    assert process.stdout.count("event sent") == 1
    assert process.stderr.count("LookupError: password=[redacted:password]") == 3
    assert process.stderr.count("UserWarning: password=[redacted:password]") == 1
    assert process.stderr.count("ValueError: outer") == 1
    assert "Exception ignored in" in process.stderr
    assert "Exception in thread" in process.stderr
    assert "direct cause" in process.stderr
