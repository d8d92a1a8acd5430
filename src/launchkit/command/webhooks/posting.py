"""One POST, by the standard library alone."""

from __future__ import annotations

import http.client
import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

TIMEOUT: Final = 30.0
"""Seconds to wait for the answer."""
LONGEST_ANSWER: Final = 10_000
"""Bytes that are read of an answer's body."""

_CONNECTIONS: Final = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


@dataclass(frozen=True, slots=True)
class Address:
    """Where an app is: scheme, host and port, and the path that it is mounted at."""

    text: str
    parts: SplitResult

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address like `http://127.0.0.1:8000`. Raises ValueError for anything else."""
        parts = urlsplit(text.rstrip("/"))
        if parts.scheme not in _CONNECTIONS or not parts.hostname or parts.query or parts.fragment or parts.port == 0:
            raise ValueError("no address")
        return cls(text.rstrip("/"), parts)

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, for certain."""
        host = self.parts.hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    reason: str
    body: bytes
    seconds: float
    """How long it took."""


def post(address: Address, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Post to a path below an address. Raises OSError or http.client.HTTPException when there is no answer."""
    parts = address.parts
    connection = _CONNECTIONS[parts.scheme](parts.hostname or "", parts.port, timeout=TIMEOUT)
    begun = time.perf_counter()
    try:
        connection.request("POST", parts.path + path, body, dict(headers))
        response = connection.getresponse()
        answer = response.read(LONGEST_ANSWER)
    finally:
        connection.close()
    return Answer(response.status, response.reason, answer, time.perf_counter() - begun)
