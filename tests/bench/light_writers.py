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
from dataclasses import dataclass, field
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
    """One writer: it asks for its master, writes, waits for the answer, pauses. It never blocks but to connect, which on loopback takes no time.

    It waits for one thing at a time: for a moment, for a Sentinel's answer, or for a node's. Whatever else happens puts that in its place.
    """

    def __init__(self, loop: _Loop, name: str) -> None:
        self.name = name
        self.acknowledged: list[int] = []
        self.acknowledged_at_s: list[float] = []
        self.refused = self.unknown = self._sent = 0
        self._loop = loop
        self._sentinel: socket.socket | None = None
        self._node: socket.socket | None = None
        self._received = b""
        self._moment = _Moment(0.0, 0)
        self._asking = self._writing = False
        self.ended = False

    def go_in(self, seconds: float) -> None:
        """Do what is next after a while."""
        self._moment.do = None
        self._moment = self._loop.later(seconds, self._go)

    def _go(self) -> None:
        if self._node is None:
            self._ask()
            return
        self._sent += 1
        try:
            self._node.sendall(_packed("SADD", KEY, str(self._sent)))
        except OSError:
            self._leave_node()
        else:
            self._writing = True

    def _ask(self) -> None:
        self._received = b""
        try:
            if self._sentinel is None:
                self._sentinel = self._loop.open_first(self._told)
            self._sentinel.sendall(_packed("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name))
        except OSError:
            self._leave_sentinel()
        else:
            self._asking = True

    def _told(self) -> None:
        """A Sentinel has answered, or gone."""
        assert self._sentinel is not None
        try:
            lines = self._lines(self._sentinel)
        except OSError:
            self._leave_sentinel()
            return
        if len(lines) < 5:
            return
        self._asking = False
        self._received = b""
        try:
            self._node = self._loop.open((lines[2].decode(), int(lines[4])), self._answered)
        except OSError:
            self.go_in(BACKOFF_S)
        else:
            self._go()

    def _answered(self) -> None:
        """The node has answered, or gone. What it says without having been asked is that it has gone."""
        assert self._node is not None
        try:
            lines = self._lines(self._node)
        except OSError:
            self.unknown += self._writing
            self._leave_node()
            return
        if not lines:
            return
        self._received = b""
        if not self._writing or not lines[0].startswith(b":"):
            self.refused += self._writing
            self._leave_node()
            return
        self._writing = False
        self.acknowledged.append(self._sent)
        self.acknowledged_at_s.append(time.monotonic())
        if self._loop.ending:
            self.ended = True
        else:
            self.go_in(self._loop.pause_s)

    def _lines(self, connection: socket.socket) -> list[bytes]:
        """What has come, if it ends with a line.

        Raises:
            OSError: The other side has closed the connection.
        """
        data = connection.recv(4096)
        if not data:
            raise OSError("closed")
        self._received += data
        return self._received.split(b"\r\n")[:-1] if self._received.endswith(b"\r\n") else []

    def _leave_node(self) -> None:
        self._loop.close(self._node)
        self._node = None
        self._writing = False
        self.go_in(BACKOFF_S)

    def _leave_sentinel(self) -> None:
        """Another Sentinel is asked, if this one was: a writer that has its master needs none."""
        self._loop.close(self._sentinel)
        self._sentinel = None
        if self._asking or self._node is None:
            self._asking = False
            self.go_in(BACKOFF_S)


@dataclass(order=True)
class _Moment:
    """When something is to be done, and what; nothing, once that has been put off."""

    at_s: float
    count: int
    do: Callable[[], None] | None = field(default=None, compare=False)


class _Loop:
    """Waits for sockets and for moments. A tenth of what asyncio takes of the processor."""

    def __init__(self, sentinels: Sequence[tuple[str, int]], pause_s: float) -> None:
        self.pause_s = pause_s
        self.ending = False
        self._sentinels = sentinels
        self._selector = selectors.DefaultSelector()
        self._moments: list[_Moment] = []
        self._count = itertools.count()

    def open_first(self, on_data: Callable[[], None]) -> socket.socket:
        """A connection to the first Sentinel that takes one.

        Raises:
            OSError: None does.
        """
        for address in self._sentinels:
            with contextlib.suppress(OSError):
                return self.open(address, on_data)
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

    def later(self, seconds: float, do: Callable[[], None]) -> _Moment:
        moment = _Moment(time.monotonic() + seconds, next(self._count), do)
        heapq.heappush(self._moments, moment)
        return moment

    def on_input(self, do: Callable[[], None]) -> None:
        self._selector.register(sys.stdin, selectors.EVENT_READ, do)

    def end(self) -> None:
        """Let each write once more."""
        self._selector.unregister(sys.stdin)
        self.ending = True

    def run(self, until: Callable[[], bool]) -> None:
        while not until():
            due_s = self._moments[0].at_s - time.monotonic() if self._moments else 0.1
            for key, _events in self._selector.select(max(0.0, due_s)):
                # What came before it may have closed it.
                if isinstance(key.fileobj, int) or key.fileobj.fileno() >= 0:
                    key.data()
            while self._moments and self._moments[0].at_s <= time.monotonic():
                if do := heapq.heappop(self._moments).do:
                    do()


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
        writer.go_in(loop.pause_s * number / len(writers))
    loop.run(until=lambda: all(writer.acknowledged for writer in writers))
    print("writing", flush=True)
    loop.on_input(loop.end)
    loop.run(until=lambda: all(writer.ended for writer in writers))
    names = ("acknowledged", "acknowledged_at_s", "refused", "unknown")
    print(json.dumps({writer.name: {name: getattr(writer, name) for name in names} for writer in writers}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
