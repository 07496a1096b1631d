# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A writer for each of many masters, all in one process: `python -m bench.light_writers` with its configuration as its argument.

Each finds its master through the first Sentinel that answers, writes a number, waits for the answer, and writes the next some milliseconds later.
What was acknowledged is printed as JSON when the standard input ends. It is as light as can be: on two cores, a process for each would be the load.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

KEY = "bench:written"
BACKOFF_S = 0.002


@dataclass(frozen=True)
class Written:
    """What became of the writes to one master. Times are those of this machine's `time.monotonic()`."""

    name: str
    acknowledged: Sequence[int]
    acknowledged_at_s: Sequence[float]
    refused: int
    unknown: int

    def longest_gap_s(self) -> float:
        """The longest stretch without an acknowledgement."""
        moments = self.acknowledged_at_s
        return max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)

    def lost(self, client: redis.Redis) -> int:
        """How many acknowledged writes a master lacks."""
        kept = {int(number) for number in client.smembers(KEY)}
        return len(set(self.acknowledged) - kept)


class LightWriters:
    """The writers, in a process of their own. A context manager."""

    def __init__(self, sentinels: Sequence[str], names: Sequence[str], pause_ms: float) -> None:
        self._names = tuple(names)
        configuration = json.dumps({"sentinels": list(sentinels), "names": list(names), "pause_ms": pause_ms})
        tests = str(Path(__file__).resolve().parents[1])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.light_writers", configuration],
            env={**os.environ, "PYTHONPATH": tests},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "writing\n":
            raise RuntimeError("the writers did not begin")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def end(self, timeout_s: float = 60.0) -> dict[str, Written]:
        """Let them write once more each, and end; what became of the writes, by the name of the master."""
        output, _errors = self._process.communicate(timeout=timeout_s)
        return {name: Written(name, **fields) for name, fields in json.loads(output).items()}


class _Writer:
    """One writer: it asks for its master, writes, waits for the answer, pauses. It never blocks but to connect, which on loopback takes no time."""

    def __init__(self, loop: _Loop, name: str) -> None:
        self.name = name
        self.acknowledged: list[int] = []
        self.acknowledged_at_s: list[float] = []
        self.refused = self.unknown = self._sent = 0
        self._loop = loop
        self._sentinel: socket.socket | None = None
        self._node: socket.socket | None = None
        self._received = b""
        self.ended = False

    def go(self) -> None:
        """Do what is next: write, or ask for the master."""
        try:
            if self._node is None:
                self._ask()
                return
            self._sent += 1
            self._node.sendall(_packed("SADD", KEY, str(self._sent)))
        except OSError:
            self._start_over()

    def _ask(self) -> None:
        if self._sentinel is None:
            self._sentinel = self._loop.open(self._loop.sentinel(), self._told)
        self._sentinel.sendall(_packed("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name))

    def _told(self) -> None:
        """A Sentinel has answered, or gone."""
        try:
            lines = self._lines(self._sentinel)
            if len(lines) < 5:
                return
            self._received = b""
            self._node = self._loop.open((lines[2].decode(), int(lines[4])), self._answered)
        except OSError:
            self._loop.close(self._sentinel)
            self._sentinel = None
            self._start_over()
            return
        self.go()

    def _answered(self) -> None:
        """The node has answered, or gone. What it says without having been asked is that it has gone."""
        try:
            lines = self._lines(self._node)
        except OSError:
            self.unknown += 1
            self._start_over()
            return
        if not lines:
            return
        self._received = b""
        if not lines[0].startswith(b":"):
            self.refused += 1
            self._start_over()
            return
        self.acknowledged.append(self._sent)
        self.acknowledged_at_s.append(time.monotonic())
        if self._loop.ending:
            self.ended = True
        else:
            self._loop.later(self._loop.pause_s, self.go)

    def _lines(self, connection: socket.socket | None) -> list[bytes]:
        """What has come, if it ends with a line.

        Raises:
            OSError: The other side has closed the connection.
        """
        assert connection is not None
        data = connection.recv(4096)
        if not data:
            raise OSError("closed")
        self._received += data
        return self._received.split(b"\r\n")[:-1] if self._received.endswith(b"\r\n") else []

    def _start_over(self) -> None:
        self._received = b""
        self._loop.close(self._node)
        self._node = None
        self._loop.later(BACKOFF_S, self.go)


class _Loop:
    """Waits for sockets and for moments. A tenth of what asyncio takes of the processor."""

    def __init__(self, sentinels: Sequence[tuple[str, int]], pause_s: float) -> None:
        self.pause_s = pause_s
        self.ending = False
        self._sentinels = sentinels
        self._selector = selectors.DefaultSelector()
        self._moments: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def sentinel(self) -> tuple[str, int]:
        """The first Sentinel that takes a connection.

        Raises:
            OSError: None does.
        """
        for address in self._sentinels:
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1.0):
                return address
        raise OSError("no Sentinel answers")

    def open(self, address: tuple[str, int], on_data: Callable[[], None]) -> socket.socket:
        connection = socket.create_connection(address, timeout=1.0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, on_data)
        return connection

    def close(self, connection: socket.socket | None) -> None:
        if connection is not None:
            self._selector.unregister(connection)
            connection.close()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._moments, (time.monotonic() + seconds, next(self._count), do))

    def on_input(self, do: Callable[[], None]) -> None:
        self._selector.register(sys.stdin, selectors.EVENT_READ, do)

    def end(self) -> None:
        """Let each write once more."""
        self._selector.unregister(sys.stdin)
        self.ending = True

    def run(self, until: Callable[[], bool]) -> None:
        while not until():
            due_s = self._moments[0][0] - time.monotonic() if self._moments else 0.1
            for key, _events in self._selector.select(max(0.0, due_s)):
                # What came before it may have closed it.
                if isinstance(key.fileobj, int) or key.fileobj.fileno() >= 0:
                    key.data()
            while self._moments and self._moments[0][0] <= time.monotonic():
                heapq.heappop(self._moments)[2]()


def _packed(*words: str) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


def _parsed(addresses: Sequence[str]) -> Iterator[tuple[str, int]]:
    for address in addresses:
        host, _colon, port = address.rpartition(":")
        yield host, int(port)


def main(configuration: dict[str, Any]) -> None:
    """Write until the standard input ends, and print what was acknowledged."""
    loop = _Loop(list(_parsed(configuration["sentinels"])), configuration["pause_ms"] / 1000)
    writers = [_Writer(loop, name) for name in configuration["names"]]
    for number, writer in enumerate(writers):
        loop.later(loop.pause_s * number / len(writers), writer.go)
    loop.run(until=lambda: all(writer.acknowledged for writer in writers))
    print("writing", flush=True)
    loop.on_input(loop.end)
    loop.run(until=lambda: all(writer.ended for writer in writers))
    names = ("acknowledged", "acknowledged_at_s", "refused", "unknown")
    print(json.dumps({writer.name: {name: getattr(writer, name) for name in names} for writer in writers}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
