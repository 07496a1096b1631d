# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process in which the recorder's redis-py writers run; started by ``recorder.py``, never by hand.

It reads its configuration as one line of JSON from standard input, prints when it began, writes until the recorder says
``end`` there or has died (the input closes without that word) or its time is up, and prints a summary. Every write is one line of
``writer-N.jsonl``: sequence number, start and end (monotonic nanoseconds), outcome, code of the refusal. Live counts
stand in the file ``counters``: for each writer the writes acknowledged and the writes failed, eight bytes each.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypedDict

from redis import ConnectionPool, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import Connection, SSLConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection

ACKNOWLEDGED, REFUSED, NOT_SENT, UNKNOWN = "acknowledged", "refused", "not_sent", "unknown"
COUNTERS_BYTES = 16
RECORDS_BUFFER_BYTES = 64 * 1024
END = b"end\n"
NAMELESS: dict[str, Any] = (
    {"driver_info": None} if find_spec("redis.driver_info") else {"lib_name": None, "lib_version": None}
)
"""Else every connection reads in redis-py's metadata which version it is. What redis-py calls that depends on its own version."""


class Configuration(TypedDict):
    """What the recorder tells a writing process, in whichever language it is written."""

    client: str
    sentinels: list[tuple[str, int]]
    nodes: list[tuple[str, int]]
    master_name: str
    writers: int
    pause_ms: float
    backoff_ms: float
    max_s: float
    reply_timeout_s: float
    key_prefix: str
    directory: str
    address_map: dict[str, str]
    redis_username: str | None
    redis_password: str | None
    sentinel_username: str | None
    sentinel_password: str | None
    tls: bool
    sentinel_tls: bool
    validate_certs: bool
    ca_certs: str | None
    client_cert_file: str | None
    client_key_file: str | None


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[IPv6]:port``."""
    host, _colon, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def format_address(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str, port: int, address_map: Mapping[str, str]) -> tuple[str, int]:
    """Where a node that is announced as host and port is reached from here."""
    mapped = address_map.get(format_address(host, port))
    return parse_address(mapped) if mapped else (address_map.get(host, host), port)


def connection_options(configuration: Configuration, *, to_sentinel: bool) -> dict[str, Any]:
    """redis-py's options for connections to Sentinels or to nodes.

    Library retries are off, or a write whose reply was lost would be sent twice. RESP2 is what every server version
    speaks alike.
    """
    options: dict[str, Any] = {
        "username": configuration["sentinel_username" if to_sentinel else "redis_username"],
        "password": configuration["sentinel_password" if to_sentinel else "redis_password"],
        "socket_connect_timeout": 1.0,
        "socket_timeout": 1.0 if to_sentinel else configuration["reply_timeout_s"],
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        **NAMELESS,
    }
    if configuration["sentinel_tls" if to_sentinel else "tls"]:
        options |= {
            "ssl": True,
            "ssl_ca_certs": configuration["ca_certs"],
            "ssl_certfile": configuration["client_cert_file"],
            "ssl_keyfile": configuration["client_key_file"],
            "ssl_cert_reqs": "required" if configuration["validate_certs"] else "none",
            "ssl_check_hostname": configuration["validate_certs"],
        }
    return options


@dataclass
class Exchange:
    """What is known of the write under way: whether it was sent, and the error with which the server answered it."""

    sent: bool = False
    refusal: RedisError | None = None

    def begin(self) -> None:
        self.sent = False
        self.refusal = None

    def outcome(self) -> str:
        """How a write ended that raised an error."""
        if self.refusal is not None:
            return REFUSED
        return UNKNOWN if self.sent else NOT_SENT

    def refusal_code(self) -> str:
        """The server's error code, as it stands before the message."""
        if isinstance(self.refusal, ReadOnlyError):
            return "READONLY"
        return str(getattr(self.refusal, "status_code", None) or str(self.refusal).partition(" ")[0])


class _Observing:
    """Stands below redis-py's Sentinel-managed connection, which turns -READONLY into a lost connection.

    Only the write itself is observed: what the library sends while it connects is no write.
    """

    def __init__(self, *, exchange: Exchange, **options: Any) -> None:
        self._exchange = exchange
        super().__init__(**options)

    def send_command(self, *args: Any, **options: Any) -> None:
        below: Any = super()
        if args[0] != "SET":
            below.send_command(*args, **options)
            return
        try:
            below.send_command(*args, **options)
        except TimeoutError:
            # Part of it may have gone. Any other error means that the one call of send() was refused as a whole.
            self._exchange.sent = True
            raise
        self._exchange.sent = True

    def read_response(self, *args: Any, **options: Any) -> Any:
        below: Any = super()
        try:
            return below.read_response(*args, **options)
        except (ResponseError, BusyLoadingError, AuthenticationError) as error:
            if self._exchange.sent:
                self._exchange.refusal = error
            raise


class _ObservedConnection(SentinelManagedConnection, _Observing, Connection):
    pass


class _ObservedPlainConnection(_Observing, Connection):
    pass


class _ObservedTLSConnection(SentinelManagedConnection, _Observing, SSLConnection):
    pass


class _MappedSentinel(Sentinel):
    """redis-py's Sentinel client, for masters that are announced under another address than they have from here."""

    def __init__(self, *args: Any, address_map: Mapping[str, str], **options: Any) -> None:
        self._address_map = address_map
        Sentinel.__init__(self, *args, **options)

    def discover_master(self, service_name: str) -> tuple[str, int]:
        host, port = Sentinel.discover_master(self, service_name)
        return reachable(host, port, self._address_map)


class Application(Protocol):
    """What writes, and what it does after a write that failed."""

    def set(self, key: str, value: int) -> object:
        """Write a key."""

    def recover(self) -> object:
        """Drop its connections, so that the next write looks for the master again."""


class _OfSentinel:
    """Finds its master through Sentinel."""

    def __init__(self, client: Redis) -> None:
        self.set = client.set
        self.recover = client.connection_pool.disconnect


class _OfNodes:
    """Knows the nodes themselves, and goes on to the next one after a write that failed."""

    def __init__(self, configuration: Configuration, exchange: Exchange) -> None:
        options = connection_options(configuration, to_sentinel=False)
        self._clients = [
            Redis(
                connection_pool=ConnectionPool(
                    connection_class=_ObservedPlainConnection, exchange=exchange, host=host, port=port, **options
                )
            )
            for host, port in configuration["nodes"]
        ]

    def set(self, key: str, value: int) -> object:
        return self._clients[0].set(key, value)

    def recover(self) -> None:
        self._clients[0].connection_pool.disconnect()
        self._clients.append(self._clients.pop(0))


class _OfCluster:
    """Knows a node of a cluster; the library follows a slot to where it is, with its own settings."""

    def __init__(self, configuration: Configuration, exchange: Exchange) -> None:
        self._exchange = exchange
        self._client = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in configuration["nodes"]],
            protocol=2,
        )

    def set(self, key: str, value: int) -> object:
        # Anything that the library could not cope with by itself may have been sent.
        self._exchange.sent = True
        try:
            return self._client.set(key, value)
        except ResponseError as error:
            self._exchange.refusal = error
            raise

    def recover(self) -> None:
        """The library does that."""


def application(configuration: Configuration, exchange: Exchange) -> Application:
    """A client of its own, as each of several applications has one."""
    if configuration["client"] == "redis-py nodes":
        return _OfNodes(configuration, exchange)
    if configuration["client"] == "redis-py cluster":
        return _OfCluster(configuration, exchange)
    sentinel: Sentinel = _MappedSentinel(
        [tuple(address) for address in configuration["sentinels"]],
        sentinel_kwargs=connection_options(configuration, to_sentinel=True),
        address_map=configuration["address_map"],
    )
    options = connection_options(configuration, to_sentinel=False)
    connection_class = _ObservedTLSConnection if options.pop("ssl", False) else _ObservedConnection
    client: Redis = sentinel.master_for(
        configuration["master_name"], connection_class=connection_class, exchange=exchange, **options
    )
    return _OfSentinel(client)


def write_until(stop: threading.Event, configuration: Configuration, writer: int, attempts: list[int]) -> None:
    """Writes unique keys, one after another, and records what became of each."""
    exchange = Exchange()
    client = application(configuration, exchange)
    key_prefix = f"{configuration['key_prefix']}{writer}:"
    pause_s, backoff_s = configuration["pause_ms"] / 1000, configuration["backoff_ms"] / 1000
    directory = Path(configuration["directory"])
    counters = os.open(directory / "counters", os.O_WRONLY)
    acknowledged = failed = sequence = 0
    with (directory / f"writer-{writer}.jsonl").open("w", buffering=RECORDS_BUFFER_BYTES) as records:
        while not stop.is_set():
            exchange.begin()
            began_ns = time.monotonic_ns()
            try:
                client.set(f"{key_prefix}{sequence}", sequence)
            except (RedisError, OSError):
                ended_ns = time.monotonic_ns()
                outcome = exchange.outcome()
                code = f',"{exchange.refusal_code()}"' if outcome == REFUSED else ""
                records.write(f'[{sequence},{began_ns},{ended_ns},"{outcome}"{code}]\n')
                failed += 1
                os.pwrite(counters, failed.to_bytes(8, "little"), COUNTERS_BYTES * writer + 8)
                client.recover()
                stop.wait(backoff_s)
            else:
                records.write(f'[{sequence},{began_ns},{time.monotonic_ns()},"acknowledged"]\n')
                acknowledged += 1
                os.pwrite(counters, acknowledged.to_bytes(8, "little"), COUNTERS_BYTES * writer)
                time.sleep(pause_s)
            sequence += 1
            attempts[writer] = sequence
    os.close(counters)


def _end_the_process(error: threading.ExceptHookArgs) -> None:
    """A recording that lacks one writer would be read as one in which nothing went wrong."""
    threading.__excepthook__(error)
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Runs the writers until the recorder says so or has died, or the time is up."""
    configuration: Configuration = json.loads(sys.stdin.buffer.readline())
    stop = threading.Event()
    attempts = [0] * configuration["writers"]

    threading.excepthook = _end_the_process
    threads = [
        threading.Thread(target=write_until, args=(stop, configuration, writer, attempts))
        for writer in range(configuration["writers"])
    ]
    began_ns = time.monotonic_ns()
    for thread in threads:
        thread.start()
    print(json.dumps({"began_ns": began_ns}), flush=True)
    asked, _writable, _failed = select.select([sys.stdin], [], [], configuration["max_s"])
    stop.set()
    ended_ns = time.monotonic_ns()
    died = bool(asked) and sys.stdin.buffer.readline() != END
    for thread in threads:
        thread.join()
    summary = {"ended_ns": ended_ns, "timed_out": not asked, "cpu_s": time.process_time(), "attempts": attempts}
    if died or not _told(summary):
        # Nobody will read what was recorded.
        shutil.rmtree(configuration["directory"])


def _told(summary: dict[str, Any]) -> bool:
    """Whether the recorder can still be told; where the time was up, it may have died since."""
    try:
        print(json.dumps(summary), flush=True)
    except BrokenPipeError:
        # What is left in the buffer has no reader either when the interpreter flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


if __name__ == "__main__":
    main()
