"""The kit under the servers that people use: uvicorn, and gunicorn with threads."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe
from tests.support.servers import Server, serving, wait_until

pytestmark = pytest.mark.real_server

SECRET = f"whsec_{secrets.token_hex(16)}"
COMMANDS = {
    "uvicorn": ["uvicorn", "tests.servers.site_fastapi:app", "--port", "{port}"],
    "uvicorn h11": [
        "uvicorn",
        "tests.servers.site_fastapi:app",
        "--port",
        "{port}",
        "--http",
        "h11",
        "--loop",
        "asyncio",
    ],
    "gunicorn threads": ["gunicorn", "tests.servers.site_flask:app", "-b", "127.0.0.1:{port}", "--threads", "4"],
    "gunicorn preload": [
        "gunicorn",
        "tests.servers.site_flask:app",
        "-b",
        "127.0.0.1:{port}",
        "--threads",
        "4",
        "--workers",
        "2",
        "--preload",
    ],
}
ENVIRONMENT = {"LAUNCHKIT_WEBHOOKS__SOURCES__STRIPE__SECRETS": SECRET}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "file.bin").write_bytes(secrets.token_bytes(3_000_000))
    return tmp_path


@pytest.fixture(name="server", params=["uvicorn", "gunicorn threads"])
def _server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Server]:
    with serving(COMMANDS[request.param], folder, ENVIRONMENT) as server:
        yield server
        assert "launchkit_failures_total{" not in server.request("GET", "/metrics")[1].decode()


def deliver(server: Server, name: str) -> tuple[int, dict[str, str]]:
    body = json.dumps({"id": name, "object": "event", "type": "invoice.paid"})
    header = stripe.WebhookSignature.generate_signature_header(body, SECRET)
    response, content = server.request("POST", "/webhooks/stripe", body.encode(), {"stripe-signature": header})
    return response.status, json.loads(content)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_everything_works_under_a_real_server(server: Server, folder: Path) -> None:
    """Headers, 500s, limits, cache, health, files and metrics, in one go."""
    response, body = server.request("GET", "/hello")
    assert (response.status, body) == (200, b"hello")
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    response, _ = server.request("GET", "/boom")
    assert (response.status, bool(response.headers["x-request-id"])) == (500, True)
    statuses = [server.request("POST", "/login")[0].status for _ in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    assert [server.request("GET", "/counted")[1] for _ in range(3)] == [b"1"] * 3
    assert server.request("HEAD", "/health/ready")[0].status == 200
    assert server.request("GET", "/file")[1] == (folder / "file.bin").read_bytes()
    metrics = server.request("GET", "/metrics")[1].decode()
    assert 'route="/hello"' in metrics
    assert 'launchkit_rate_limit_total{rule="login",outcome="refused"} 5' in metrics


def test_a_stream_arrives_as_it_is_made(server: Server) -> None:
    """The first chunk is there while the app still waits to make the second."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/stream")
    response = connection.getresponse()
    assert response.read1(100) == b"first"
    server.request("GET", "/release")
    assert response.read() == b"second"
    connection.close()


def test_a_client_that_leaves_is_not_held_against_the_app(server: Server) -> None:
    """The server goes on; where it notices, the request is counted apart.

    Gunicorn does not: the one chunk that is left goes into the socket's buffer before the other end says no.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/stream")
    assert connection.getresponse().read1(100) == b"first"
    connection.close()
    server.request("GET", "/release")
    outcome = b'route="/stream",status="client_closed"' if "uvicorn" in server.name else b'route="/stream",status='
    wait_until(lambda: outcome in server.request("GET", "/metrics")[1])
    assert server.request("GET", "/hello")[1] == b"hello"


def test_an_upload_of_100_megabytes_passes_through_unbuffered(server: Server) -> None:
    """In parts, with the server's memory growing by far less than the upload."""
    part = b"x" * 1_000_000

    def resident_kilobytes() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]

    before = resident_kilobytes()
    headers = {"content-length": str(100 * len(part)), "content-type": "application/octet-stream"}
    response, body = server.request("POST", "/upload", (part for _ in range(100)), headers)
    assert (response.status, body) == (200, b"100000000")
    assert resident_kilobytes() - before < 50_000


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Request-ID: \xff\xfe\r\nX-Request-ID: two\r\nConnection: close\r\n\r\n",
        b"GET /%ff%fe%00?%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"BREW /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: <x>,,\r\nCookie: \xff\r\nConnection: close\r\n\r\n",
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: t=\xff\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n{}",
    ],
)
def test_garbage_gives_a_4xx_or_passes(server: Server, request_bytes: bytes) -> None:
    """Whatever a client sends, the kit makes no 500 of it."""
    import socket

    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(request_bytes)
        answer = client.recv(100)
    assert re.match(rb"HTTP/1\.[01] (2|4)\d\d ", answer), answer


@pytest.mark.parametrize("name", COMMANDS)
def test_a_delivery_survives_a_kill(folder: Path, name: str) -> None:
    """Acknowledged, begun, killed with its process, and handled by the next one."""
    with serving(COMMANDS[name], folder, ENVIRONMENT) as server:
        assert deliver(server, "evt_1") == (200, {"status": "accepted"})
        wait_until(lambda: lines(folder / "started") == ["evt_1 1"])
        server.kill()
    (folder / "go").touch()
    with serving(COMMANDS[name], folder, ENVIRONMENT) as server:
        wait_until(lambda: lines(folder / "handled") == ["evt_1 2"])
        assert deliver(server, "evt_1") == (200, {"status": "duplicate"})
        assert deliver(server, "evt_2") == (200, {"status": "accepted"})
        wait_until(lambda: lines(folder / "handled") == ["evt_1 2", "evt_2 1"])


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn threads"])
def test_a_server_with_work_under_way_stops_when_asked(folder: Path, name: str) -> None:
    """A handler that hangs does not keep the process from ending; its delivery is free at once."""
    with serving(COMMANDS[name], folder, ENVIRONMENT) as server:
        deliver(server, "evt_1")
        wait_until(lambda: lines(folder / "started"))
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15)
    assert "Traceback" not in server.log.read_text()
    assert server.log.read_text().count("LaunchKit ") == 1


def test_two_host_lines_leave_nothing_behind(server: Server) -> None:
    """RFC 9112 section 3.2 wants a 400; where the server lets the request through, its page is nobody else's."""
    import socket

    pages = []
    for hosts in ("Host: evil.example\r\nHost: {0}", "Host: {0}\r\nHost: evil.example"):
        lines = hosts.format(f"127.0.0.1:{server.port}")
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(f"GET /counted HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        head, _, page = answer.partition(b"\r\n\r\n")
        pages.append(page)
        assert b"HTTP/1.1 400" in head or b"cache-status: LaunchKit; fwd=bypass; detail=several-hosts" in head
    clean = [server.request("GET", "/counted")[1] for _ in range(2)]
    assert clean[0] == clean[1]
    assert clean[0] not in pages
