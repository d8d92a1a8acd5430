"""Every way by which a record reaches a handler: none shows a secret."""

from __future__ import annotations

import copy
import functools
import io
import json
import logging
import logging.handlers
import queue
import secrets
import traceback
from collections.abc import Callable, Iterator

import pytest
from gunicorn.glogging import SafeAtoms
from uvicorn.logging import AccessFormatter

from launchkit.redaction import logs
from launchkit.redaction.attributes import Wrapping
from launchkit.redaction.engine import Redactor
from launchkit.redaction.exceptions import HIDDEN
from launchkit.redaction.logs import install
from launchkit.settings import RedactionSettings

ORIGINAL = logging.Logger.callHandlers
SEEN_BY_OTHERS: list[str] = []


class Collector(logging.Handler):
    """Keeps records, and everything that any formatter could print of them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s [%(request_id)s] %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(copy.copy(record))

    @property
    def record(self) -> logging.LogRecord:
        assert len(self.records) == 1
        return self.records[0]

    @property
    def text(self) -> str:
        return "\n".join(f"{self.format(record)}\n{vars(record)!r}" for record in self.records)


class Broken(Redactor):
    """A redactor with a bug."""

    def redact(self, text: str) -> str:
        raise RecursionError

    def redact_data(self, value: object) -> object:
        raise RecursionError


@functools.cache
def redactor() -> Redactor:
    return Redactor(RedactionSettings(), mask_emails=True)


def untouched() -> Wrapping:
    return Wrapping(logging.Logger, "callHandlers", logs._wrap)


@pytest.fixture(name="hook", autouse=True)
def _hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts from a logging module that nobody has touched."""
    monkeypatch.setattr(logging.Logger, "callHandlers", ORIGINAL)
    monkeypatch.setattr(logs, "_CALL_HANDLERS", untouched())
    yield
    logging.setLogRecordFactory(logging.LogRecord)


@pytest.fixture(name="logger")
def _logger() -> Iterator[logging.Logger]:
    name = f"redaction-{secrets.token_hex(4)}"
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()


@pytest.fixture(name="seen")
def _seen(logger: logging.Logger) -> Collector:
    install(redactor(), lambda: "request-1")
    seen = Collector()
    logger.addHandler(seen)
    return seen


def received(**attributes: object) -> logging.LogRecord:
    """Return a record as it comes from another process."""
    return logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", **attributes})


def secret() -> str:
    return "S3" + secrets.token_hex(12)


# --- channels ------------------------------------------------------------------------------------------------------


def test_the_root_logger_is_redacted():
    """Its own records too, not only those that come up to it."""
    install(redactor(), lambda: "")
    value, seen, root = secret(), Collector(), logging.getLogger()
    root.addHandler(seen)
    try:
        root.warning("password=%s", value)
    finally:
        root.removeHandler(seen)
    assert value not in seen.text
    assert seen.record.getMessage() == "password=[redacted:password]"


def test_child_loggers_are_redacted(logger, seen):
    """A filter on the parent would never see their records."""
    value = secret()
    logger.getChild("deep.down").info(f"password={value}")
    assert value not in seen.text


def test_loggers_that_do_not_propagate_are_redacted(logger):
    """A server's loggers keep their records to themselves."""
    install(redactor(), lambda: "")
    value, seen, child = secret(), Collector(), logger.getChild("own")
    child.propagate = False
    child.addHandler(seen)
    child.info("password=%s", value)
    assert value not in seen.text


def test_handlers_added_later_are_redacted(logger, seen):
    """Servers configure logging after the app was imported."""
    value, late = secret(), Collector()
    logger.addHandler(late)
    logger.info("password=%s", value)
    assert value not in late.text
    assert value not in seen.text


def test_queues_between_threads_are_redacted(logger):
    """The record is redacted before it is queued."""
    install(redactor(), lambda: "")
    value, seen, records = secret(), Collector(), queue.SimpleQueue[object]()
    logger.addHandler(logging.handlers.QueueHandler(records))
    listener = logging.handlers.QueueListener(records, seen)
    listener.start()
    logger.info("password=%s", value)
    listener.stop()
    assert value not in seen.text
    assert "password=[redacted:password]" in seen.text


def test_extra_text_is_redacted_by_name_and_by_content(logger, seen):
    """Formatters of JSON print every attribute."""
    value = secret()
    logger.info("hello", extra={"api_key": value, "note": f"password={value}", "user": "bob"})
    assert value not in seen.text
    assert vars(seen.record)["api_key"] == "[redacted:api-key]"
    assert vars(seen.record)["user"] == "bob"


def test_extra_dictionaries_are_redacted_in_a_copy(logger, seen):
    """The app's own stays as it is."""
    value = secret()
    headers = {"headers": [("Authorization", f"Bearer {value}")]}
    logger.info("hello", extra={"context": headers})
    assert value not in seen.text
    assert headers == {"headers": [("Authorization", f"Bearer {value}")]}


def test_tracebacks_are_redacted_with_their_chain(logger, seen):
    """Causes and contexts are printed with them; the exception itself is not touched."""
    value = secret()
    try:
        try:
            raise ValueError(f"password={value}")
        except ValueError as cause:
            raise RuntimeError("no connection") from cause
    except RuntimeError as error:
        raised = error
        logger.exception("failed")
    assert value not in seen.text
    assert value in str(raised.__cause__)
    assert "ValueError: password=[redacted:password]" in seen.format(seen.record)
    assert "RuntimeError: no connection" in seen.format(seen.record)


def test_a_handler_that_formats_the_exception_itself_finds_a_stand_in(logger, seen):
    """Its type, text and stack are there, for reports that are grouped by them."""
    value = secret()
    try:
        raise LookupError(f"password={value}")
    except LookupError:
        logger.exception("failed")
    kind, shown, stack = seen.record.exc_info
    assert seen.record.exc_text is None
    assert kind is LookupError
    assert type(shown).__name__ == "LookupError"
    assert shown.args == ("password=[redacted:password]",)
    assert [frame.name for frame in traceback.extract_tb(stack)] == [
        "test_a_handler_that_formats_the_exception_itself_finds_a_stand_in"
    ]


def test_an_exception_without_a_secret_stays(logger, seen):
    """Handlers may format it as they like."""
    try:
        raise ValueError("too short")
    except ValueError as error:
        raised = error
        logger.exception("failed")
    assert seen.record.exc_info == (ValueError, raised, raised.__traceback__)
    assert seen.record.exc_text is None


def test_an_exception_that_somebody_has_formatted_already_is_redacted(logger, seen):
    """A record may have been through other handlers."""
    value = secret()
    logger.handle(received(exc_text=f"Error: password={value}", exc_info=(None, None, None)))
    assert value not in seen.text
    assert seen.record.exc_text == "Error: password=[redacted:password]"


def test_stack_traces_are_redacted(logger, seen):
    """A line of source may hold a secret."""
    value = secret()
    stack = f"Stack (most recent call last):\n  connect('postgres://bob:{value}@db')"
    logger.handle(received(msg="here", stack_info=stack))
    logger.info("here", stack_info=True)
    assert value not in seen.text
    assert "postgres://bob:[redacted:url-password]@db" in seen.text


@pytest.mark.parametrize(
    "template", ["password=%s", "%s is the api_key=%s", "Authorization: Bearer %s", "%r", "sk_live_%s"]
)
def test_secrets_that_only_the_arguments_complete_are_redacted(logger, seen, template):
    """Neither template nor argument is a secret by itself."""
    value = secret()
    arguments = (value,) if template.count("%") == 1 else ("this", value)
    logger.info(template, *arguments if template != "%r" else ({"password": value},))
    assert value not in seen.text


def test_a_template_stays_where_arguments_are_redacted_by_themselves(logger, seen):
    """Records are grouped by it."""
    value = secret()
    logger.info("calling %s in %d s", f"postgres://bob:{value}@db", 3)
    assert value not in seen.text
    assert seen.record.msg == "calling %s in %d s"
    assert seen.record.args == ("postgres://bob:[redacted:url-password]@db", 3)


def test_arguments_by_name_are_redacted(logger, seen):
    """Their names are keys; they stay where they are, for formatters that read them."""
    value = secret()
    logger.info("100 %% %(user)s %(password)s", {"user": "bob", "password": value})
    assert value not in seen.text
    assert seen.record.getMessage() == "100 % bob [redacted:password]"
    logger.info("100 %% pwd=%(x)s", {"x": value})
    assert value not in seen.records[1].getMessage()
    assert seen.records[1].getMessage() == "100 % pwd=[redacted:password]"


def test_logger_adapters_are_redacted(logger, seen):
    """What they add to the message and as extra."""

    class Adapter(logging.LoggerAdapter):  # type: ignore[type-arg]  # generic only for checkers before Python 3.12
        def process(self, msg, kwargs):
            return f"{msg} {self.extra['note']}", {**kwargs, "extra": self.extra}

    value = secret()
    Adapter(logger, {"note": f"token={value}", "api_key": value}).info("password=%s", value)
    assert value not in seen.text


def test_records_of_a_factory_of_the_apps_own_are_redacted(logger, seen):
    """What it has added, and a message that it formats in its own way."""

    class Braces(logging.LogRecord):
        def getMessage(self) -> str:
            return str(self.msg).format(*self.args) if self.args else str(self.msg)

    def factory(*args, **kwargs):
        record = Braces(*args, **kwargs)
        record.session_token = value
        return record

    value = secret()
    logging.setLogRecordFactory(factory)
    logger.info("password={} {}", value, "{}")
    assert value not in seen.text
    assert seen.record.getMessage() == "password=[redacted:password] {}"


def test_records_handled_without_a_call_are_redacted(logger, seen):
    """They come from other processes."""
    value = secret()
    logger.handle(received(msg=f"password={value}", message=f"password={value}"))
    assert value not in seen.text


def test_uvicorns_access_log_keeps_its_five_arguments():
    """Its formatter unpacks them, and drops the record otherwise."""
    install(redactor(), lambda: "")
    value, stream = secret(), io.StringIO()
    logger = logging.getLogger("uvicorn.access")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(AccessFormatter('%(client_addr)s "%(request_line)s" %(status_code)s', use_colors=False))
    logger.addHandler(handler)
    try:
        logger.warning('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", f"/callback?token={value}&x=1", "1.1", 200)
        logger.warning('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/items?page=2", "1.1", 200)
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue().splitlines() == [
        '1.2.3.4:5 "GET /callback?token=[redacted:token]&x=1 HTTP/1.1" 200 OK',
        '1.2.3.4:5 "GET /items?page=2 HTTP/1.1" 200 OK',
    ]


def test_gunicorns_access_log_keeps_its_atoms(logger, seen):
    """Unknown names give a dash there, which only their own kind of dictionary does."""
    value = secret()
    atoms = SafeAtoms({"r": f"GET /x?api_key={value} HTTP/1.1", "{cookie}i": f"a={value}", "s": "200"})
    logger.info('"%(r)s" %(s)s %({cookie}i)s %({missing}i)s', atoms)
    assert value not in seen.text
    assert seen.record.getMessage() == '"GET /x?api_key=[redacted:api-key] HTTP/1.1" 200 a=[redacted:cookie] -'
    assert seen.record.args["r"] == "GET /x?api_key=[redacted:api-key] HTTP/1.1"


def test_messages_that_are_no_text_are_redacted(logger, seen):
    """Some formatters print a dictionary as JSON."""
    value = secret()
    logger.info({"password": value, "user": "bob"})
    logger.info(ValueError(f"password={value}"))
    assert value not in seen.text
    assert seen.records[0].msg == {"password": "[redacted:password]", "user": "bob"}


def test_e_mail_addresses_are_masked(logger, seen):
    """As the redactor says."""
    logger.info("sent to %s", "bob@example.com")
    assert seen.record.getMessage() == "sent to [redacted:email]@example.com"


# --- request ids ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("current", "expected"), [("abc", "abc"), ("", "-")])
def test_records_carry_the_request_id(logger, current, expected):
    """And a dash outside of any request, also where nothing is redacted."""
    install(None, lambda: current)
    seen = Collector()
    logger.addHandler(seen)
    logger.info("password=hunter2")
    assert seen.format(seen.record) == f"INFO {logger.name} [{expected}] password=hunter2"


def test_a_request_id_of_the_apps_own_wins(logger, seen):
    """It knows better."""
    logger.info("hello", extra={"request_id": "own"})
    assert vars(seen.record)["request_id"] == "own"


def test_a_record_whose_request_id_cannot_be_read_is_logged_without(logger):
    """Logging must not fail."""

    def unknown() -> str:
        raise LookupError

    install(redactor(), unknown)
    seen = Collector()
    logger.addHandler(seen)
    logger.info("hello")
    assert seen.format(seen.record) == f"INFO {logger.name} [-] hello"


# --- nothing is lost -----------------------------------------------------------------------------------------------


def test_a_template_that_does_not_fit_its_arguments_is_logged_with_them(logger, seen):
    """Handlers would print both raw to standard error, and drop the record."""
    value = secret()
    logger.info("two %s %s", f"password={value}")
    logger.info("number %d", "password=" + value, extra={"a": 1})
    logger.info("%(otp)d", {"otp": 123456})
    assert value not in seen.text
    assert [record.getMessage() for record in seen.records] == [
        "two %s %s ('password=[redacted:password]',)",
        "number %d ('password=[redacted:password]',)",
        "%(otp)d {'otp': '[redacted:otp]'}",
    ]


def test_a_record_that_cannot_be_redacted_is_hidden_and_not_lost(logger):
    """What is unknown is not shown; level, logger and place are."""
    install(Broken(RedactionSettings(), mask_emails=False), lambda: "request-1")
    value, seen = secret(), Collector()
    logger.addHandler(seen)
    try:
        raise ValueError(value)
    except ValueError:
        logger.exception("failed with %s", value, extra={"note": value}, stack_info=True)
    assert value not in seen.text
    assert seen.record.getMessage() == HIDDEN
    assert vars(seen.record)["note"] == HIDDEN
    assert seen.format(seen.record) == f"ERROR {logger.name} [request-1] {HIDDEN}"


def test_a_record_of_an_access_log_that_cannot_be_redacted_keeps_its_shape():
    """Otherwise its formatter would drop it."""
    install(Broken(RedactionSettings(), mask_emails=False), lambda: "")
    seen, logger = Collector(), logging.getLogger("uvicorn.access")
    logger.addHandler(seen)
    try:
        logger.warning('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/x", "1.1", 200)
    finally:
        logger.removeHandler(seen)
    assert seen.record.args == (HIDDEN, HIDDEN, HIDDEN, HIDDEN, 200)
    assert seen.record.getMessage().endswith(" 200")


def test_arguments_that_cannot_be_read_are_hidden(logger, seen):
    """Their `__str__` is the app's code."""

    class Unreadable:
        def __str__(self) -> str:
            raise RuntimeError

    logger.info("got %s", Unreadable())
    assert seen.record.getMessage() == "got [redacted:unreadable]"


# --- living with others --------------------------------------------------------------------------------------------


def wrap() -> Callable[[], None]:
    """Wrap `callHandlers` as Sentry does, and return what undoes it."""
    inner = logging.Logger.callHandlers

    def outer(self: logging.Logger, record: logging.LogRecord) -> None:
        inner(self, record)
        SEEN_BY_OTHERS.append(record.getMessage())

    logging.Logger.callHandlers = outer

    def undo() -> None:
        logging.Logger.callHandlers = inner

    return undo


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_who_else_wraps_logging_sees_redacted_records(logger, first):
    """Whoever came first."""
    SEEN_BY_OTHERS.clear()
    for step in (install, wrap) if first == "ours" else (wrap, install):
        _ = step(redactor(), lambda: "") if step is install else step()
    logger.info("password=%s", secret())
    assert SEEN_BY_OTHERS == ["password=[redacted:password]"]


def test_uninstalling_leaves_logging_as_it_was(logger):
    """Once and for all: a second time does nothing."""
    uninstall = install(redactor(), lambda: "")
    uninstall()
    uninstall()
    assert logging.Logger.callHandlers is ORIGINAL


def test_uninstalling_under_somebody_elses_wrapper_leaves_theirs(logger, seen):
    """Ours passes records through then, and the next installation goes on top, where it can be taken away."""
    SEEN_BY_OTHERS.clear()
    logs._CALL_HANDLERS = untouched()
    uninstall = install(redactor(), lambda: "")
    wrap()
    theirs = logging.Logger.callHandlers
    uninstall()
    assert logging.Logger.callHandlers is theirs
    again = install(redactor(), lambda: "")
    logger.info("password=%s", "hunter2")
    again()
    assert logging.Logger.callHandlers is theirs
    assert SEEN_BY_OTHERS == ["password=[redacted:password]"]


def test_an_uninstalled_redactor_sees_no_records(logger):
    """Also where its wrapper could not be taken away."""
    SEEN_BY_OTHERS.clear()
    uninstall = install(redactor(), lambda: "")
    wrap()
    uninstall()
    logger.info("password=%s", "hunter2")
    assert SEEN_BY_OTHERS == ["password=hunter2"]


def test_of_two_installations_the_newest_treats_the_records(logger):
    """Two kits do not wrap logging twice; each may end first."""
    seen = Collector()
    logger.addHandler(seen)
    first = install(None, lambda: "first")
    wrapper = logging.Logger.callHandlers
    second = install(None, lambda: "second")
    assert logging.Logger.callHandlers is wrapper
    logger.info("a")
    second()
    logger.info("b")
    third = install(None, lambda: "third")
    first()
    logger.info("c")
    third()
    logger.info("d")
    assert [vars(record).get("request_id") for record in seen.records] == ["second", "first", "third", None]
    assert logging.Logger.callHandlers is ORIGINAL


def test_a_json_formatter_finds_nothing_to_leak(logger, seen):
    """Everything that a record has, as JSON."""
    value = secret()
    try:
        raise ValueError(f"password={value}")
    except ValueError:
        logger.exception("pwd=%s", value, extra={"scope": {"headers": [(b"cookie", value.encode())]}})
    assert value not in json.dumps(vars(seen.record), default=repr)
