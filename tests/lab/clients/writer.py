# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One application that writes with a client library of Python; started by ``run.py`` in the libraries' own environment.

Its arguments are the file with the configuration and the number of the writer. Every write is one line of ``writer-N.jsonl``: sequence number, start
and end (monotonic nanoseconds), `acknowledged`, or `error` with its text. It ends when the file ``stop`` is there, or after ``max_s``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COUNTERS_BYTES = 16
_BACKOFF_S = 0.01


@dataclass(frozen=True)
class Application:
    """How a library writes, how its connections are dropped, and what it raises."""

    set: Callable[[str, str], Awaitable[Any]]
    reset: Callable[[], Awaitable[Any]]
    errors: tuple[type[BaseException], ...]


def _in_this_thread(call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """A call that blocks: nothing else runs in this process."""

    async def blocking(*words: str) -> Any:
        return call(*words)

    return blocking


def _retry(library: str, settings: dict[str, Any], kind: str = "") -> dict[str, Any]:
    """The option of redis-py and valkey-py that says how often, and after how long, they try again by themselves."""
    if "retries" not in settings:
        return {}
    backoff = importlib.import_module(f"{library}.backoff")
    retry = importlib.import_module(f"{library}{kind}.retry")
    pauses = backoff.ExponentialBackoff(base=settings["base_s"], cap=settings["cap_s"]) if settings["retries"] else None
    options = {"retry": retry.Retry(pauses or backoff.NoBackoff(), settings["retries"])}
    if library == "valkey":
        # Without this it has retries, and makes none.
        errors = importlib.import_module("valkey.exceptions")
        options["retry_on_error"] = [errors.ConnectionError, errors.TimeoutError]
    return options


@asynccontextmanager
async def _blocking(configuration: dict[str, Any], library: str) -> AsyncIterator[Application]:
    settings = configuration["settings"]
    sentinel = importlib.import_module(f"{library}.sentinel")
    errors = importlib.import_module(f"{library}.exceptions")
    client = sentinel.Sentinel([tuple(address) for address in configuration["sentinels"]]).master_for(
        configuration["master_name"], **_retry(library, settings)
    )
    base = getattr(errors, f"{library.title()}Error")
    yield Application(_in_this_thread(client.set), _in_this_thread(client.connection_pool.disconnect), (base, OSError))


@asynccontextmanager
async def _asynchronous(configuration: dict[str, Any], library: str) -> AsyncIterator[Application]:
    settings = configuration["settings"]
    sentinel = importlib.import_module(f"{library}.asyncio.sentinel")
    errors = importlib.import_module(f"{library}.exceptions")
    client = sentinel.Sentinel([tuple(address) for address in configuration["sentinels"]]).master_for(
        configuration["master_name"], **_retry(library, settings, ".asyncio")
    )
    base = getattr(errors, f"{library.title()}Error")
    yield Application(client.set, client.connection_pool.disconnect, (base, OSError))


@asynccontextmanager
async def _coredis(configuration: dict[str, Any], _library: str) -> AsyncIterator[Application]:
    import coredis
    from coredis.connection import TCPLocation
    from coredis.exceptions import ReadOnlyError, RedisError
    from coredis.retry import ExponentialBackoffRetryPolicy

    settings = configuration["settings"]
    options: dict[str, Any] = {}
    if "retries" in settings:
        options["retry_policy"] = ExponentialBackoffRetryPolicy(
            (RedisError, ReadOnlyError, OSError),
            settings["retries"],
            base_delay=settings["base_s"],
            max_delay=settings["cap_s"],
        )
    sentinels = [TCPLocation(host, port) for host, port in configuration["sentinels"]]
    async with AsyncExitStack() as stack:
        sentinel = await stack.enter_async_context(coredis.Sentinel(sentinels, **options))
        opened: list[AsyncExitStack] = []

        async def open_client() -> Any:
            if opened:
                await opened.pop().aclose()
            opened.append(AsyncExitStack())
            return await opened[0].enter_async_context(sentinel.primary_for(configuration["master_name"]))

        client = await open_client()

        async def write(key: str, value: str) -> Any:
            return await client.set(key, value)

        async def reset() -> None:
            nonlocal client
            client = await open_client()

        yield Application(write, reset, (RedisError, OSError, ExceptionGroup))
        await opened.pop().aclose()


@asynccontextmanager
async def _proxied(configuration: dict[str, Any], _library: str) -> AsyncIterator[Application]:
    import redis

    host, port = configuration["proxy"]
    client = redis.Redis(host=host, port=port, **_retry("redis", configuration["settings"]))
    yield Application(
        _in_this_thread(client.set),
        _in_this_thread(client.connection_pool.disconnect),
        (redis.RedisError, OSError),
    )


@asynccontextmanager
async def _celery(configuration: dict[str, Any], _library: str) -> AsyncIterator[Application]:
    os.environ["LAB_CONFIGURATION"] = json.dumps(configuration)
    tasks = importlib.import_module("celery_tasks")

    yield Application(
        _in_this_thread(tasks.record.delay),
        _in_this_thread(lambda: None),
        # A channel that was closed under it raises whatever comes of that, AttributeError among others.
        (Exception,),
    )


APPLICATIONS: dict[str, tuple[Callable[[dict[str, Any], str], Any], str]] = {
    "redis-py": (_blocking, "redis"),
    "redis-py asyncio": (_asynchronous, "redis"),
    "valkey-py": (_blocking, "valkey"),
    "valkey-py asyncio": (_asynchronous, "valkey"),
    "coredis": (_coredis, ""),
    "HAProxy": (_proxied, ""),
    "Celery": (_celery, ""),
}


async def attempt(application: Application, key: str, value: str, settings: dict[str, Any]) -> None:
    """One write, made again by the application as often as the settings say."""
    for left in range(settings.get("again", 0), -1, -1):
        try:
            await application.set(key, value)
            return
        except application.errors:
            if settings.get("reset"):
                await application.reset()
            if not left:
                raise
            await asyncio.sleep(settings["again_ms"] / 1000)


async def write_until_stopped(configuration: dict[str, Any], writer: int) -> None:
    """Writes unique keys one after another and records what became of each."""
    directory = Path(configuration["directory"])
    stop, settings = directory / "stop", configuration["settings"]
    prefix = f"{configuration['key_prefix']}{writer}:"
    deadline_s = time.monotonic() + configuration["max_s"]
    counts = [0, 0]
    opened, library = APPLICATIONS[configuration["library"]]
    counters = os.open(directory / "counters", os.O_WRONLY)
    with (directory / f"writer-{writer}.jsonl").open("w", buffering=1) as records:
        async with opened(configuration, library) as application:
            sequence = 0
            while not stop.exists() and time.monotonic() < deadline_s:
                began_ns = time.monotonic_ns()
                try:
                    await attempt(application, f"{prefix}{sequence}", str(sequence), settings)
                    said: list[str] = ["acknowledged"]
                except application.errors as error:
                    said = ["error", f"{type(error).__name__}: {error}"]
                records.write(json.dumps([sequence, began_ns, time.monotonic_ns(), *said]) + "\n")
                failed = said[0] == "error"
                counts[failed] += 1
                os.pwrite(counters, counts[failed].to_bytes(8, "little"), COUNTERS_BYTES * writer + 8 * failed)
                await asyncio.sleep(_BACKOFF_S if failed else configuration["pause_ms"] / 1000)
                sequence += 1


if __name__ == "__main__":
    asyncio.run(write_until_stopped(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])))
