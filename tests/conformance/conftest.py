from __future__ import annotations

from tests.stores.valkey_server import _valkey, _valkey_process

__all__ = ["_valkey", "_valkey_process"]
