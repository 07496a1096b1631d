# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the workers of Celery do: each task writes its own key. Imported by the applications and by the worker."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

import redis
from celery import Celery
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

_CONFIGURATION = json.loads(os.environ["LAB_CONFIGURATION"])
_SETTINGS = _CONFIGURATION["settings"]

app = Celery("lab", broker=";".join(f"sentinel://{host}:{port}" for host, port in _CONFIGURATION["sentinels"]))
app.conf.update(
    broker_transport_options={"master_name": _CONFIGURATION["master_name"]},
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    **_SETTINGS.get("celery", {}),
)


@cache
def _client() -> Any:
    sentinel: Any = Sentinel([tuple(address) for address in _CONFIGURATION["sentinels"]])
    retry = {"retry": Retry(ExponentialBackoff(base=0.01, cap=0.1), 50)} if "task" in _SETTINGS else {}
    return sentinel.master_for(_CONFIGURATION["master_name"], **retry)


_OPTIONS: dict[str, Any] = _SETTINGS.get("task", {})
if _OPTIONS:
    _OPTIONS = {**_OPTIONS, "autoretry_for": (redis.RedisError, OSError)}


def _record(key: str, value: str) -> None:
    """Writes a key."""
    _client().set(key, value)


record: Any = app.task(name="record", **_OPTIONS)(_record)
