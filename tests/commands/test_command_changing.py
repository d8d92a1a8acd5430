"""`launchkit webhooks replay` and `discard`: nothing without saying how many, and never everything by accident."""

from __future__ import annotations

import json
import os
import pty
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from command_world import DAY, STATES, delivery, fill, forget_bodies, put

from launchkit.command import main
from launchkit.command.webhooks.changing import MOST_KEYS

Capture = pytest.CaptureFixture[str]


def states(capsys: Capture) -> dict[str, tuple[str, int]]:
    """Return the state and the attempts of every delivery."""
    capsys.readouterr()
    main(["webhooks", "list", "--json", "--limit", "9999"])
    found = json.loads(capsys.readouterr().out)["deliveries"]
    return {one["key"]: (one["state"], one["attempts"]) for one in found}


def test_dead_letters_are_replayed_with_all_their_attempts(capsys: Capture) -> None:
    """They alone, unless other states are named."""
    fill(*STATES)
    before = states(capsys)
    assert main(["webhooks", "replay", "--all", "--yes"]) == 0
    assert capsys.readouterr() == ("1 delivery replayed.\n", "")
    assert states(capsys) == before | {"stripe:evt_dead": ("pending", 0)}


def test_a_named_delivery_is_replayed_whatever_became_of_it(capsys: Capture) -> None:
    """With a warning where it is done, and a word about keys that mean nothing."""
    fill(*STATES)
    keys = ["stripe:evt_done", "stripe:evt_ignored", "stripe:evt_done", "stripe:evt_other"]
    assert main(["webhooks", "replay", *keys, "--yes"]) == 0
    assert capsys.readouterr() == (
        "2 deliveries replayed.\n",
        (
            "launchkit: 1 of these 3 keys: not there, or not in such a state\n"
            "launchkit: 1 of 2 done already: a replay runs the handler again\n"
        ),
    )
    after = states(capsys)
    assert (after["stripe:evt_done"], after["stripe:evt_ignored"]) == (("pending", 0), ("pending", 0))


def test_what_is_in_hands_is_left_alone_by_a_replay(capsys: Capture) -> None:
    """So is what waits for its next attempt; exit status 1 when there is nothing else."""
    fill("retrying", "leased")
    assert main(["webhooks", "replay", "stripe:evt_retrying", "stripe:evt_leased", "--yes"]) == 1
    assert capsys.readouterr() == ("", "launchkit: there is nothing to replay\n")


def test_what_has_no_body_any_more_is_counted(capsys: Capture) -> None:
    """It cannot be handled again and stays as it is; exit status 1 when that is all there was."""
    fill("done", age=8 * DAY)
    forget_bodies()
    fill("ignored")
    assert main(["webhooks", "replay", "--state", "done", "--yes"]) == 1
    assert capsys.readouterr().out == (
        "0 deliveries replayed.\n1 could not be: their bodies are no longer kept, or they are pending again.\n"
    )
    assert main(["webhooks", "replay", "--state", "done", "--state", "ignored", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"found": 2, "replayed": 1}
    assert states(capsys) == {"stripe:evt_done": ("done", 1), "stripe:evt_ignored": ("pending", 0)}


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["--all"], {"dead"}),
        (["--state", "pending"], {"retrying", "leased"}),
        (["--event", "dead.event"], {"dead"}),
        (["--source", "github"], set()),
        (["--event", "leased.event"], set()),
        (["--since", "1h"], set()),
        (["stripe:evt_leased", "stripe:evt_dead", "stripe:evt_done"], {"leased", "dead"}),
    ],
)
def test_what_is_discarded_is_handled_no_more(arguments: list[str], changed: set[str], capsys: Capture) -> None:
    """By default dead letters; what is pending only where it is named, by its state or key."""
    fill(*STATES)
    assert main(["webhooks", "discard", *arguments, "--yes"]) == (0 if changed else 1)
    after = states(capsys)
    assert {state for state in STATES if after[f"stripe:evt_{state}"][0] == "ignored"} == {"ignored"} | changed


def test_the_reason_is_kept(capsys: Capture) -> None:
    """Where the error was, for whoever looks later."""
    fill("dead")
    assert main(["webhooks", "discard", "--all", "--yes", "--reason", "refunded by hand"]) == 0
    assert main(["webhooks", "show", "stripe:evt_dead"]) == 0
    assert "\nerror     refunded by hand\n" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_nothing_is_changed_in_a_dry_run(verb: str, capsys: Capture) -> None:
    """It says how many would be, with the same warnings, and asks nothing; exit status 0."""
    fill(*STATES)
    before = states(capsys)
    assert main(["webhooks", verb, "--all", "--dry-run"]) == 0
    assert capsys.readouterr() == (f"1 delivery would be {verb}ed.\n", "")
    assert main(["webhooks", verb, "--all", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"found": 1, f"{verb}ed": 0}
    assert main(["webhooks", "replay", "--state", "done", "--dry-run"]) == 0
    assert "done already" in capsys.readouterr().err
    assert states(capsys) == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["replay"], "say what to replay: keys, conditions, or --all"),
        (["discard", "--yes"], "say what to discard: keys, conditions, or --all"),
        (["replay", "--all"], "Replay 1 delivery? Nobody is there to be asked: --yes says so"),
        (["discard", "--source", "stripe"], "Discard 1 delivery? Nobody is there to be asked: --yes says so"),
        (
            ["replay", *(f"stripe:evt_{number}" for number in range(MOST_KEYS + 1))],
            f"at most {MOST_KEYS} keys at a time: xargs -n {MOST_KEYS} makes several calls of many",
        ),
    ],
)
def test_a_call_that_is_not_explicit_is_refused(arguments: list[str], why: str, capsys: Capture) -> None:
    """Without anything named, or without anybody to ask and `--yes`; exit status 2, nothing changed."""
    fill("dead")
    assert main(["webhooks", *arguments]) == 2
    assert capsys.readouterr() == ("", f"launchkit: {why}\n")
    assert states(capsys) == {"stripe:evt_dead": ("dead", 1)}


def test_as_many_keys_as_are_allowed_can_be_looked_for(capsys: Capture) -> None:
    """In one condition."""
    fill("dead")
    keys = ["stripe:evt_dead", *(f"stripe:evt_{number}" for number in range(MOST_KEYS - 1))]
    assert main(["webhooks", "replay", *keys, "--yes"]) == 0
    assert capsys.readouterr().out == "1 delivery replayed.\n"


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, typed: bytes) -> Iterator[Callable[[str], str]]:
    """Put a terminal in place of standard input and error; give what it shows up to an end."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as read, os.fdopen(os.dup(theirs), "w") as written:
        monkeypatch.setattr(sys, "stdin", read)
        monkeypatch.setattr(sys, "stderr", written)
        os.write(ours, typed)

        def shown(end: str) -> str:
            text = ""
            while not text.endswith(end) and select.select([ours], [], [], 10)[0]:  # it comes in pieces
                text = (text + os.read(ours, 4096).decode()).replace("\r\n", "\n")
            return text

        yield shown
    os.close(ours)


@pytest.mark.parametrize(("typed", "status"), [(b"y\n", 0), (b"YES\n", 0), (b"\n", 1), (b"no\n", 1)])
def test_whoever_sits_at_a_terminal_is_asked(
    typed: bytes, status: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything but yes changes nothing; progress is one line."""
    put(*(delivery(f"evt_{number}") for number in range(3)))
    with terminal(monkeypatch, typed) as shown:
        assert main(["webhooks", "discard", "--state", "pending"]) == status
        end = "\r3 of 3\n" if status == 0 else "launchkit: nothing was changed\n"
        text = shown(end)
    assert "Discard 3 deliveries? [y/N] " in text
    assert text.endswith(end)
    assert capsys.readouterr().out == ("3 deliveries discarded.\n" if status == 0 else "")
    assert {state for state, _ in states(capsys).values()} == {"pending" if status else "ignored"}


def test_more_than_one_step_is_replayed(capsys: Capture) -> None:
    """A bulk replay goes in steps, and reaches all."""
    put(*(delivery(f"evt_{number}") for number in range(1_050)))
    assert main(["webhooks", "discard", "--state", "pending", "--yes"]) == 0
    assert main(["webhooks", "replay", "--state", "ignored", "--yes"]) == 0
    assert capsys.readouterr() == ("1050 deliveries discarded.\n1050 deliveries replayed.\n", "")
    assert {state for state, _ in states(capsys).values()} == {"pending"}
