"""`launchkit webhooks list`, `show` and `stats`: looking into the inbox, never at what was sent unless asked."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from command_world import DAY, HOUR, STATES, delivery, fill, forget_bodies, put, run
from tests.support.servers import free_port

from launchkit.command import main

Capture = pytest.CaptureFixture[str]


def test_a_list_says_how_each_delivery_stands(capsys: Capture) -> None:
    """The latest first, with errors below; exit status 0."""
    fill(*STATES)
    put(delivery("push_1", source="github", event="push"), age=30)
    assert main(["webhooks", "list"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split() for line in out.splitlines()] == [
        ["KEY", "STATE", "ATTEMPTS", "AGE", "EVENT"],
        ["github:push_1", "waits", "0", "30", "s", "push"],
        ["stripe:evt_leased", "handled", "now", "1", "2", "h", "leased.event"],
        ["stripe:evt_retrying", "retry", "in", "4", "min", "1", "2", "h", "retrying.event"],
        ["ValueError", "in", "on"],
        ["stripe:evt_ignored", "ignored", "1", "2", "h", "ignored.event"],
        ["not", "for", "us"],
        ["stripe:evt_dead", "dead", "1", "2", "h", "dead.event"],
        ["ValueError", "in", "on"],
        ["stripe:evt_done", "done", "1", "2", "h", "done.event"],
    ]


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["--source", "github"], {"github:push_1"}),
        (["--event", "dead.event"], {"stripe:evt_dead"}),
        (["--state", "dead", "--state", "ignored"], {"stripe:evt_dead", "stripe:evt_ignored"}),
        (["--since", "1h"], {"github:push_1"}),
        (["--until", "1h", "--state", "done"], {"stripe:evt_done"}),
        (["--until", "1h", "--source", "github"], set()),
        (["--limit", "1"], {"github:push_1"}),
        (["--source", "github", "--state", "dead"], set()),
    ],
)
def test_conditions_narrow_a_list_down(arguments: list[str], keys: set[str], capsys: Capture) -> None:
    """Every one that is given has to be met; exit status 1 when nothing meets them."""
    fill(*STATES)
    put(delivery("push_1", source="github", event="push"))
    assert main(["webhooks", "list", "--json", *arguments]) == (0 if keys else 1)
    assert {one["key"] for one in json.loads(capsys.readouterr().out)["deliveries"]} == keys


def test_a_list_in_json_has_everything_but_what_was_sent(capsys: Capture) -> None:
    """Times as ISO 8601 in UTC."""
    fill("retrying")
    assert main(["webhooks", "list", "--json"]) == 0
    out = capsys.readouterr().out
    (shown,) = json.loads(out)["deliveries"]
    received, due = (datetime.fromisoformat(shown.pop(name)) for name in ("received_at", "due_at"))
    assert 7_200 <= (due - received).total_seconds() - 270 <= 7_201
    assert shown == {
        "key": "stripe:evt_retrying",
        "source": "stripe",
        "id": "evt_retrying",
        "event": "retrying.event",
        "state": "pending",
        "is_leased": False,
        "attempts": 1,
        "error": "ValueError in on",
        "order_key": None,
        "has_body": True,
    }
    assert "ann" not in out


def test_a_list_that_is_cut_off_says_so(capsys: Capture) -> None:
    """And how to see more."""
    put(delivery("a"), delivery("b"))
    assert main(["webhooks", "list", "--limit", "2"]) == 0
    assert capsys.readouterr().out.endswith("\nThe latest 2: --limit shows more.\n")
    assert main(["webhooks", "list", "--limit", "3"]) == 0
    assert "--limit" not in capsys.readouterr().out


def test_an_empty_list_is_told(capsys: Capture) -> None:
    """In words, and with exit status 1."""
    put()
    Path(".launchkit").mkdir()
    assert main(["webhooks", "list"]) == 1
    assert capsys.readouterr() == ("No deliveries.\n", "")


def test_a_place_without_an_inbox_is_told_from_an_empty_one(capsys: Capture) -> None:
    """In the wrong folder nothing seems to have come; none is made there. Exit status 3."""
    assert main(["webhooks", "list"]) == 3
    assert capsys.readouterr().err == (
        f"launchkit: there is no {Path.cwd()}/.launchkit: run this where the app runs, or set LAUNCHKIT_DATA_DIR\n"
    )
    assert not Path(".launchkit").exists()


def test_an_inbox_that_cannot_be_used_has_a_status_of_its_own() -> None:
    """3, with one line and no traceback."""
    Path(".launchkit").mkdir()
    Path(".launchkit/inbox.sqlite3").write_bytes(b"no database at all, " * 200)
    result = run("webhooks", "stats")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "launchkit: the inbox cannot be used: file is not a database\n"


def test_a_database_that_is_down_is_told_in_one_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many its driver has for it, and without the password."""
    port, password = free_port(), secrets.token_hex(16)
    monkeypatch.setenv("LAUNCHKIT_DATABASE_URL", f"postgresql://ann:{password}@127.0.0.1:{port}/shop")
    assert main(["webhooks", "stats"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("launchkit: the inbox cannot be used: connection failed")
    assert len(err.splitlines()) == 1
    assert password not in err


def test_the_settings_of_an_app_say_where_its_inbox_is(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --app; without it those of the environment. What cannot be imported, or settings that are wrong: 2."""
    put(delivery("evt_1"))
    Path(".launchkit").rename("elsewhere")
    app = "from launchkit import LaunchKit, Settings\nkit = LaunchKit(Settings(data_dir='elsewhere'))\n"
    Path("listed_app.py").write_text(app)
    monkeypatch.syspath_prepend(Path.cwd())
    assert main(["webhooks", "list"]) == 3
    assert main(["webhooks", "list", "--app", "listed_app:kit"]) == 0
    assert "stripe:evt_1" in capsys.readouterr().out
    assert main(["webhooks", "list", "--app", "absent:kit"]) == 2
    assert capsys.readouterr().err.startswith("launchkit: absent:kit cannot be imported: ModuleNotFoundError")
    monkeypatch.setenv("LAUNCHKIT_DATA_DIR", "elsewhere")
    assert main(["webhooks", "list"]) == 0
    monkeypatch.setenv("LAUNCHKIT_WRONG", "1")
    assert main(["webhooks", "list"]) == 2
    assert capsys.readouterr().err.startswith("launchkit: 1 setting needs attention:\n")


def test_one_delivery_is_shown_without_what_was_sent(capsys: Capture) -> None:
    """Everything else about it, one fact a line."""
    fill("dead", error="ValueError\nin on")
    assert main(["webhooks", "show", "stripe:evt_dead"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("received")] == [
        "key       stripe:evt_dead",
        "event     dead.event",
        "state     dead",
        "attempts  1",
        "error     ValueError in on",
        "body      kept",
    ]
    assert lines[4].endswith("Z, 2 h ago")


def test_a_pending_delivery_says_when_it_is_due(capsys: Capture) -> None:
    """Or when the lease ends of who is handling it; and what it is serial by."""
    fill("retrying", "leased")
    serial = delivery("evt_serial")
    put(replace(serial, order_key="stripe:cus_1"))
    for name, line in (("retrying", "due  "), ("leased", "lease ends  "), ("serial", "order key  stripe:cus_1")):
        assert main(["webhooks", "show", f"stripe:evt_{name}"]) == 0
        assert f"\n{line}" in capsys.readouterr().out


def test_what_was_sent_is_shown_on_request(capsys: Capture) -> None:
    """The body as it came, and the headers' names; their values never."""
    fill("done", body='{"who":  "ännchen"}'.encode())
    assert main(["webhooks", "show", "stripe:evt_done", "--body"]) == 0
    out = capsys.readouterr().out
    assert out.endswith('\nheaders   content-type, x-shop\n\n{"who":  "ännchen"}\n')
    assert "hidden" not in out
    assert main(["webhooks", "show", "stripe:evt_done", "--body", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["headers"], shown["body"], shown["body_base64"]) == (
        ["content-type", "x-shop"],
        '{"who":  "ännchen"}',
        None,
    )


def test_a_body_that_is_no_text_is_shown_in_base64(capsys: Capture) -> None:
    """So that it neither breaks the terminal nor loses a byte."""
    body = b"\x1b[2J\xff"
    fill("done", body=body)
    encoded = base64.b64encode(body).decode()
    assert main(["webhooks", "show", "stripe:evt_done", "--body"]) == 0
    assert capsys.readouterr().out.endswith(f"\nencoding  base64\n\n{encoded}\n")
    assert main(["webhooks", "show", "stripe:evt_done", "--body", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["body"], shown["body_base64"]) == (None, encoded)


def test_a_body_that_is_no_longer_kept_is_told(capsys: Capture) -> None:
    """The rest of the delivery is shown all the same."""
    fill("done")
    forget_bodies()
    assert main(["webhooks", "show", "stripe:evt_done", "--body"]) == 0
    assert capsys.readouterr().out.endswith("body      no longer kept\n")
    assert main(["webhooks", "show", "stripe:evt_done", "--body", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["headers"], shown["body"], shown["has_body"]) == (None, None, False)


def test_a_delivery_that_is_not_there_is_told(capsys: Capture) -> None:
    """Exit status 1."""
    fill("done")
    assert main(["webhooks", "show", "stripe:evt_other"]) == 1
    assert capsys.readouterr() == ("", "launchkit: there is no delivery stripe:evt_other\n")


def test_stats_count_what_is_to_be_done_and_everything(capsys: Capture) -> None:
    """The backlog first, then a table by source and event."""
    fill(*STATES)
    put(delivery("push_1", source="github", event="push"), age=3 * HOUR + 60)
    assert main(["webhooks", "stats"]) == 0
    assert capsys.readouterr().out == (
        "3 pending (1 handled now, 1 to be retried), 1 dead letter\n"
        "overdue for 3 h: nobody has taken up the oldest since then\n"
        "\n"
        "SOURCE  EVENT           PENDING  DONE  DEAD  IGNORED\n"
        "github  push                  1     0     0        0\n"
        "stripe  dead.event            0     0     1        0\n"
        "stripe  done.event            0     1     0        0\n"
        "stripe  ignored.event         0     0     0        1\n"
        "stripe  leased.event          1     0     0        0\n"
        "stripe  retrying.event        1     0     0        0\n"
    )


def test_stats_in_json_have_the_same(capsys: Capture) -> None:
    """With the oldest due time, in UTC."""
    fill("dead")
    put(delivery("push_1", source="github", event="push"), age=2 * DAY)
    assert main(["webhooks", "stats", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["backlog"].pop("oldest_due").endswith("Z")
    assert shown["backlog"] == {"pending": 1, "leased": 0, "retrying": 0, "dead": 1}
    assert shown["totals"] == [
        {"source": "github", "event": "push", "pending": 1, "done": 0, "dead": 0, "ignored": 0},
        {"source": "stripe", "event": "dead.event", "pending": 0, "done": 0, "dead": 1, "ignored": 0},
    ]


def test_stats_of_an_empty_inbox_are_one_line(capsys: Capture) -> None:
    """There is no table of nothing."""
    Path(".launchkit").mkdir()
    assert main(["webhooks", "stats"]) == 0
    assert capsys.readouterr().out == "0 pending (0 handled now, 0 to be retried), 0 dead letters\n"
    assert main(["webhooks", "stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["backlog"]["oldest_due"] is None


def test_an_interrupt_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was under way; the exit status is that of an interrupted program."""
    Path("interrupted_app.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(Path.cwd())
    assert main(["webhooks", "list", "--app", "interrupted_app:kit"]) == 130


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    """As `head` is: no traceback, exit status 0."""
    put(*(delivery(f"evt_{number}") for number in range(9)))
    command = [sys.executable, "-m", "launchkit.command", "webhooks", "list"]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(30)) == ("", 0)
    process.stderr.close()
