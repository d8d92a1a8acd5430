"""Posts events to one server, each a new one and signed as Stripe signs (https://docs.stripe.com/webhooks/signature).

Run as a process of its own: `python -m benchmarks.webhook_load PORT PATH SECRET CONNECTIONS SECONDS` prints, as
JSON, the seconds that each answer took, and all of them. Nothing of the kit is imported, so that it starts soon.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Iterator

from benchmarks.load import drive
from benchmarks.webhook_events import HEADERS, body_of, new_id

_HEADERS = "".join(f"{name}: {value}\r\n" for name, value in HEADERS)


def signed_body(secret: str) -> tuple[str, bytes]:
    """Return a `Stripe-Signature` and a new event that it is for."""
    body, now = body_of(new_id()), int(time.time())
    signature = hmac.digest(secret.encode(), b"%d." % now + body, hashlib.sha256).hex()
    return f"t={now},v1={signature}", body


def posts(path: str, secret: str) -> Iterator[bytes]:
    """Return requests without end."""
    while True:
        signature, body = signed_body(secret)
        head = f"POST {path} HTTP/1.1\r\nhost: example.org\r\n{_HEADERS}stripe-signature: {signature}\r\n"
        yield f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    port, path, secret, connections, seconds = sys.argv[1:]
    load = asyncio.run(drive(int(port), posts(path, secret), int(connections), float(seconds)))
    print(json.dumps([load.latencies, load.seconds]))
