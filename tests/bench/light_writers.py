# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A writer for each of many masters, all in one process: `python -m bench.light_writers` with its configuration as its argument.

Each finds its master through the first Sentinel that answers, writes a number, waits for the answer, and writes the next some milliseconds later.
What was acknowledged is printed as JSON when the standard input ends. It is as light as can be: on two cores, a process for each would be the load.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

KEY = "bench:written"
BACKOFF_S = 0.002
ANSWER_S = 5.0


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


@dataclass
class _Writer:
    sentinels: Sequence[tuple[str, int]]
    name: str
    pause_s: float
    acknowledged: list[int] = field(default_factory=list)
    acknowledged_at_s: list[float] = field(default_factory=list)
    refused: int = 0
    unknown: int = 0
    sent: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)
    sentinel: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def write(self, ended: asyncio.Event) -> None:
        """Until the end, and then once more."""
        while not ended.is_set():
            with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError, ValueError):
                reader, writer = await self._connect()
                try:
                    await self._write_on(reader, writer, ended)
                finally:
                    writer.close()
            if not ended.is_set():
                await asyncio.sleep(BACKOFF_S)

    async def _write_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: asyncio.Event) -> None:
        answered = True
        try:
            while True:
                last = ended.is_set()
                self.sent += 1
                writer.write(_packed("SADD", KEY, str(self.sent)))
                answered = False
                line = await asyncio.wait_for(reader.readuntil(b"\r\n"), ANSWER_S)
                answered = True
                if not line.startswith(b":"):
                    self.refused += 1
                    return
                self.acknowledged.append(self.sent)
                self.acknowledged_at_s.append(time.monotonic())
                self.began.set()
                if last:
                    return
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(ended.wait(), self.pause_s)
        finally:
            self.unknown += not answered

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.sentinel is None:
            self.sentinel = await _first(self.sentinels)
        reader, writer = self.sentinel
        try:
            writer.write(_packed("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name))
            words = [line async for line in _lines(reader, 5)]
        except (OSError, EOFError):
            self.sentinel = None
            raise
        return await asyncio.open_connection(words[2].decode(), int(words[4]))


async def _lines(reader: asyncio.StreamReader, count: int) -> Any:
    for _line in range(count):
        yield (await reader.readuntil(b"\r\n"))[:-2]


async def _first(sentinels: Sequence[tuple[str, int]]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for host, port in sentinels:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(host, port)
    raise OSError("no Sentinel answers")


def _packed(*words: str) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


def _parsed(addresses: Sequence[str]) -> Iterator[tuple[str, int]]:
    for address in addresses:
        host, _colon, port = address.rpartition(":")
        yield host, int(port)


async def _main(configuration: dict[str, Any]) -> None:
    ended = asyncio.Event()
    sentinels = list(_parsed(configuration["sentinels"]))
    writers = [_Writer(sentinels, name, configuration["pause_ms"] / 1000) for name in configuration["names"]]
    tasks = [asyncio.create_task(writer.write(ended)) for writer in writers]
    await asyncio.gather(*(writer.began.wait() for writer in writers))
    print("writing", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    ended.set()
    await asyncio.gather(*tasks)
    names = ("acknowledged", "acknowledged_at_s", "refused", "unknown")
    print(json.dumps({writer.name: {name: getattr(writer, name) for name in names} for writer in writers}))


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
