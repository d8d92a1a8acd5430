"""Start the marketplace under uvicorn, use it as the world would, and report what happened.

Run `python examples/demo.py` and stop it with Ctrl-C; with ONCE=1 in the environment it ends after the report, with
status 0 only if every step did what it should.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import stripe

APP = Path(__file__).parent / "fastapi_app"
WIDTH = 78


class Visitor:
    """The world: one browser, many times."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes, float]:
        """Return the response, its body and how many milliseconds it took."""
        started = time.perf_counter()
        self.connection.request(method, path, body, dict(headers or {}))
        response = self.connection.getresponse()
        content = response.read()
        return response, content, (time.perf_counter() - started) * 1000

    def post_json(self, path: str, data: object, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
        sent = {"content-type": "application/json", **(headers or {})}
        response, content, _ = self.send("POST", path, json.dumps(data).encode(), sent)
        return response.status, content, response.getheader("set-cookie", "")


class Report:
    """Prints what happened, and remembers whether all of it should have."""

    def __init__(self) -> None:
        self.good = True

    def step(self, title: str, good: bool, *lines: str) -> None:
        self.good = self.good and good
        print(f"\n{title} {'.' * (WIDTH - len(title) - 8)} {'ok' if good else 'FAILED'}", flush=True)
        for line in lines:
            print(f"  {line}", flush=True)


def free_port(preferred: int = 8000) -> int:
    """Return the preferred port, or another one when it is taken."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            taken: int = probe.getsockname()[1]
            return taken
    raise SystemExit("There is no free port.")


@contextmanager
def serving(port: int, folder: str, secret: str) -> Iterator[Path]:
    """Run the app, and give the file that its log goes to."""
    log = Path(folder) / "server.log"
    environment = os.environ | {
        "LAUNCHKIT_ENVIRONMENT": "development",
        "LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS": secret,
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "uvicorn", "main:app", "--app-dir", str(APP), "--port", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
        try:
            wait_until_up(port, server, log)
            yield log
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_until_up(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the app answers."""
    for _ in range(200):
        if server.poll() is not None:
            raise SystemExit(f"The app did not start:\n{log.read_text()}")
        try:
            if Visitor(port).send("GET", "/health/live")[0].status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"The app did not answer within 20 seconds:\n{log.read_text()}")


def place_order(visitor: Visitor) -> str:
    """Sign up, log in and buy; return the order."""
    person = {"email": "ada@example.org", "password": secrets.token_urlsafe(12)}
    visitor.post_json("/signup", person)
    _, _, cookie = visitor.post_json("/login", person)
    _, content, _ = visitor.post_json("/checkout", {"listing": 1}, {"cookie": cookie.partition(";")[0]})
    order: str = json.loads(content)["order"]
    return order


def bad_logins(visitor: Visitor, report: Report) -> None:
    """Guess a password thirty times; meanwhile the account's owner logs in from a browser that did so before."""
    owner = {"email": "grace@example.org", "password": secrets.token_urlsafe(12)}
    visitor.post_json("/signup", owner)
    _, _, cookies = visitor.post_json("/login", owner)
    device = re.findall(r"launchkit_device_[^;]+", cookies)
    counts: Counter[int] = Counter()
    retry_after = ""
    for number in range(30):
        guess = {"email": owner["email"], "password": f"guess {number}"}
        response, _, _ = visitor.send(
            "POST", "/login", json.dumps(guess).encode(), {"content-type": "application/json"}
        )
        counts[response.status] += 1
        retry_after = response.getheader("retry-after", retry_after)
    owner_status, _, _ = visitor.post_json("/login", owner, {"cookie": "".join(device)})
    report.step(
        "30 guesses at one account",
        counts == {401: 5, 429: 25} and retry_after.isdigit() and owner_status == 200,
        f"{counts[401]} got through to the app (401), {counts[429]} were refused (429, Retry-After {retry_after} s)",
        f"the owner, from a browser that has logged in before: {owner_status}",
    )


def reads(visitor: Visitor, report: Report) -> None:
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(200):
        response, _, milliseconds = visitor.send("GET", f"/listings?page={number % 10}")
        times[" hit;" in response.getheader("cache-status", "")].append(milliseconds)
    hits, misses = times[True], times[False]
    report.step(
        "200 reads of the listings (10 pages)",
        (len(hits), len(misses)) == (190, 10),
        f"{len(misses):3} misses, median {statistics.median(misses):5.2f} ms",
        f"{len(hits):3} hits,   median {statistics.median(hits):5.2f} ms",
    )


def webhooks(visitor: Visitor, report: Report, secret: str) -> None:
    order = place_order(visitor)
    event = {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "type": "checkout.session.completed",
        "data": {"object": {"object": "checkout.session", "client_reference_id": order}},
    }
    payload = json.dumps(event)

    def deliver(key: str) -> tuple[int, dict[str, str], float]:
        signature = stripe.WebhookSignature.generate_signature_header(payload, key)
        response, content, milliseconds = visitor.send(
            "POST", "/webhooks/stripe", payload.encode(), {"stripe-signature": signature}
        )
        return response.status, json.loads(content), milliseconds

    forged_status, _, _ = deliver(f"whsec_{secrets.token_hex(16)}")
    status, answer, milliseconds = deliver(secret)
    handled = wait_for_payment(visitor, order)
    again_status, again, _ = deliver(secret)
    report.step(
        "A webhook signed by Stripe's library",
        (status, answer["status"], again_status, again["status"], forged_status)
        == (200, "accepted", 200, "duplicate", 401)
        and handled is not None,
        f"forged signature: {forged_status}",
        f"genuine: {status} {answer['status']}, stored and answered in {milliseconds:.1f} ms",
        f"order {order}: " + (f"paid {handled:.0f} ms later" if handled is not None else "not paid"),
        f"sent again: {again_status} {again['status']}",
    )


def wait_for_payment(visitor: Visitor, order: str) -> float | None:
    """Return after how many milliseconds the order was paid, or None after ten seconds."""
    started = time.perf_counter()
    while (waited := time.perf_counter() - started) < 10:
        _, content, _ = visitor.send("GET", f"/orders/{order}")
        if json.loads(content)["state"] == "paid":
            return waited * 1000
        time.sleep(0.01)
    return None


def log_line(visitor: Visitor, report: Report, log: Path) -> None:
    secret = f"sk_live_{secrets.token_hex(16)}"
    mark = secrets.token_hex(4)
    path = f"/search?q={mark}&api_key={secret}"
    visitor.send("GET", path)
    text = log.read_text()
    after = next((line for line in text.splitlines() if mark in line), "")
    report.step(
        "A log line with a secret",
        bool(after) and secret not in text,
        f"before: GET {path}",
        f"after:  {after}",
    )


def health(visitor: Visitor, report: Report) -> None:
    lines = []
    good = True
    for method, path in (("GET", "/health/live"), ("GET", "/health/ready"), ("HEAD", "/health")):
        response, content, milliseconds = visitor.send(method, path)
        status = json.loads(content)["status"] if content else "-"
        good = good and response.status == 200 and status in ("pass", "warn", "-")
        lines.append(f"{method:4} {path:14} {response.status} {status}  {milliseconds:.2f} ms")
    report.step("Health", good, *lines)


def p95_by_route(visitor: Visitor, report: Report) -> None:
    response, content, _ = visitor.send("GET", "/metrics")
    found = re.findall(
        r'launchkit_http_p95_seconds\{method="(\w+)",route="([^"]+)",window="\w+"\} ([\d.e-]+)', content.decode()
    )
    lines = [f"{method:4} {route:22} {float(seconds) * 1000:8.2f} ms" for method, route, seconds in found]
    report.step("p95 by route", response.status == 200 and len(lines) >= 5, *lines)


def main() -> int:
    """Run the demo and return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is ended too
    secret = f"whsec_{secrets.token_hex(16)}"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="launchkit-demo-") as folder, serving(port, folder, secret) as log:
        print(f"The marketplace runs on http://127.0.0.1:{port}. It said at start:\n")
        print("\n".join(line for line in log.read_text().splitlines() if not line.startswith("INFO:")))
        visitor, report = Visitor(port), Report()
        webhooks(visitor, report, secret)
        bad_logins(visitor, report)
        reads(visitor, report)
        log_line(visitor, report, log)
        health(visitor, report)
        p95_by_route(visitor, report)
        print(f"\n{'Everything did what it should.' if report.good else 'Something did not do what it should.'}")
        if not os.environ.get("ONCE"):
            print("\nLook at it until Ctrl-C:")
            for path in ("/docs", "/listings", "/health", "/metrics"):
                print(f"  http://127.0.0.1:{port}{path}")
            try:
                signal.pause()
            except KeyboardInterrupt:
                print()
    return 0 if report.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
