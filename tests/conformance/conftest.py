from __future__ import annotations

from tests.stores.valkey_server import _patient_redis, _valkey, _valkey_process

__all__ = ["_patient_redis", "_valkey", "_valkey_process"]
