"""`launchkit worker module:name`: an app's handlers in a process of their own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_world import LAUNCHKIT, delivery, put, run
from tests.support.servers import wait_until

APP = """
import asyncio, time
from pathlib import Path
from launchkit import LaunchKit, Settings

kit = LaunchKit(Settings(webhooks={"sources": {"stripe": {"secrets": ["whsec_sixteen_letters"]}}}))

@kit.webhook("stripe")
async def on_stripe(delivery):
    Path(f"begun-{delivery.id}").touch()
    if delivery.event == "hangs":
        await asyncio.sleep(600)
    if delivery.event == "waits":
        while not Path("go").exists():
            await asyncio.sleep(0.01)
    if delivery.event == "blocks":
        time.sleep(600)
    Path(f"handled-{delivery.id}").touch()
"""


@contextmanager
def working(name: str = "shop:kit") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([LAUNCHKIT, "worker", name], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def states() -> dict[str, tuple[str, int, bool]]:
    shown = json.loads(run("webhooks", "list", "--json").stdout)["deliveries"]
    return {one["id"]: (one["state"], one["attempts"], one["is_leased"]) for one in shown}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_handles_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """It says what it handles, and where from; what it has not finished is due again at once. Exit status 0."""
    Path("shop.py").write_text(APP)
    put(delivery("evt_1"), delivery("evt_2", event="hangs"), delivery("push_1", source="github"))
    with working() as process:
        wait_until(lambda: Path("handled-evt_1").exists() and Path("begun-evt_2").exists())
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == (
            f"launchkit: handling stripe from the inbox in {Path.cwd()}/.launchkit\n"
            "launchkit: stopping, once more ends it at once\n"
        )
    assert states() == {
        "evt_1": ("done", 1, False),
        "evt_2": ("pending", 0, False),
        "push_1": ("pending", 0, False),
    }


@pytest.mark.real_server
def test_a_handler_that_is_nearly_done_may_finish() -> None:
    """SIGTERM gives it a moment: what a deploy interrupts is mostly about to end."""
    Path("shop.py").write_text(APP)
    put(delivery("evt_1", event="waits"))
    with working() as process:
        wait_until(lambda: Path("begun-evt_1").exists())
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        process.stderr.readline()
        assert process.stderr.readline() == "launchkit: stopping, once more ends it at once\n"
        Path("go").touch()
        assert process.wait(20) == 0
    assert Path("handled-evt_1").exists()
    assert states() == {"evt_1": ("done", 1, False)}


def test_a_second_signal_ends_it_at_once() -> None:
    """While handlers have their moment to finish; the lease ends by itself."""
    Path("shop.py").write_text(APP)
    put(delivery("evt_1", event="hangs"))
    with working() as process:
        wait_until(lambda: Path("begun-evt_1").exists())
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        process.stderr.readline()
        assert process.stderr.readline() == "launchkit: stopping, once more ends it at once\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT
    assert states() == {"evt_1": ("pending", 1, True)}


def test_a_handler_that_holds_up_the_loop_does_not_hold_up_the_second_signal() -> None:
    """The process ends although its event loop does not run."""
    Path("shop.py").write_text(APP)
    put(delivery("evt_1", event="blocks"))

    def is_over() -> bool:
        process.send_signal(signal.SIGTERM)  # the first may still be on its way when the next is sent
        return process.poll() is not None

    with working() as process:
        wait_until(lambda: Path("begun-evt_1").exists())
        wait_until(is_over)
        assert process.returncode == -signal.SIGTERM


def test_an_app_without_a_handler_needs_no_worker() -> None:
    """Exit status 1, in a line; so for handlers whose source has no secret. What cannot be imported: 2."""
    Path("bare.py").write_text("from launchkit import LaunchKit\nkit = LaunchKit()\n")
    Path("closed.py").write_text(APP.replace('"whsec_sixteen_letters"', ""))
    for name in ("bare:kit", "closed:kit"):
        result = run("worker", name)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("launchkit: there is no handler")
        assert len(result.stderr.splitlines()) == 1
    assert run("worker", "absent:kit").returncode == 2
