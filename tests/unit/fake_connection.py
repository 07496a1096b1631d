# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program's own side of the model: its clients, on connections that can be told to fail in every way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import (
    Access,
    Client,
    ConnectionOptions,
    Fleet,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock
from redis import exceptions
from unit.answers import NodeAnswers, SentinelAnswers, error
from unit.fake_sentinel import FakeSentinel
from unit.faults import Command, Fault, Killed, text
from unit.world import Node, World

NO_FAULT = Fault("", "")


class FakeConnection:
    """What the collection uses of a connection of redis-py."""

    def __init__(self, world: World, address: Address, timeout_s: float) -> None:
        self._world = world
        self._address = address
        self.socket_connect_timeout = timeout_s
        self._replies: list[Any] = []
        self._queue: list[Command] | None = None
        self._mute = False
        self._ready_at_s = 0.0
        self.id = 0
        self.name = ""
        self.lost = False

    def connect(self) -> None:
        world = self._world
        if world.killed:
            raise Killed
        server = world.server(self._address)
        if self._address in world.cut_off:
            world.advance(self.socket_connect_timeout)
            raise exceptions.TimeoutError("Timeout connecting to server")
        if not server.alive:
            raise exceptions.ConnectionError("Error 111 connecting: Connection refused.") from ConnectionRefusedError(
                111, "Connection refused"
            )
        self.id = next(world._ids)
        self.lost, self._mute, self._queue = False, False, None
        server.connections.append(self)

    def disconnect(self) -> None:
        server = self._world.server(self._address)
        if self in server.connections:
            server.connections.remove(self)

    def pack_commands(self, commands: list[Command]) -> list[Command]:
        return list(commands)

    def send_command(self, *command: Any) -> None:
        self.send_packed_command([command])

    def send_packed_command(self, commands: list[Command], check_health: bool = True) -> None:
        world = self._world
        if world.killed:
            raise Killed
        fault = next((fault for fault in world.faults if fault.strikes(self._address, commands)), None) or NO_FAULT
        if fault.kind == "kill_before":
            world.kill_program()
        if fault.kind == "stall":
            world.advance(fault.delay_s)
        if fault.kind == "run" and fault.action:
            fault.action()
        world.exchanges.append((world.now_s, self._address, commands))
        self._replies = []
        if self._address in world.cut_off:
            self._mute = True
        elif self.lost or not world.server(self._address).alive:
            self.lost = True
        elif self._arrives(fault, commands):
            self._ready_at_s = world.clock_s() + world.latency_s
            self._run(commands, fault if fault.kind == "refuse" else None)
            self._strike_after(fault)

    def _arrives(self, fault: Fault, commands: list[Command]) -> bool:
        """Whether the server executes it now."""
        world, server = self._world, self._world.server(self._address)
        if fault.kind in ("lose_before", "die_before"):
            server.alive = server.alive and fault.kind != "die_before"
            self.lost = True
            return False
        if fault.kind == "late":
            world.at(world.now_s + fault.delay_s, lambda: self._run(commands))
        if isinstance(server, FakeSentinel) and fault.kind == "freeze":
            server.frozen = True
            world.at(world.now_s + fault.delay_s, partial(self._thaw, server, commands))
        stands_still = isinstance(server, FakeSentinel) and server.frozen
        self._mute = self._mute or stands_still or fault.kind in ("hang_before", "late")
        return not (stands_still or fault.kind in ("hang_before", "late"))

    def _strike_after(self, fault: Fault) -> None:
        if fault.kind == "kill_after":
            self._world.kill_program()
        if fault.kind == "die_after":
            self._world.server(self._address).alive = False
        self.lost = self.lost or fault.kind in ("lose_after", "die_after")
        self._mute = self._mute or fault.kind == "hang_after"

    def _thaw(self, sentinel: FakeSentinel, commands: list[Command]) -> None:
        sentinel.thaw()
        self._run(commands)

    def _run(self, commands: list[Command], refused: Fault | None = None) -> None:
        for command in commands:
            if refused is not None and refused.word in text(command):
                self._replies.append(error(refused.error))
                if self._queue is not None:
                    self._queue.append(("REFUSED",))
                continue
            self._replies.append(self._attempt(command))

    def _attempt(self, command: Command) -> Any:
        """The reply, or the error that is one."""
        try:
            return self._execute(command)
        except exceptions.RedisError as refusal:
            return refusal

    def can_read(self, timeout: float = 0) -> bool:
        if self._world.killed:
            raise Killed
        if self.lost:
            return True
        left_s = self._ready_at_s - self._world.clock_s()
        if self._mute or left_s > timeout:
            self._world.advance(timeout)
            return False
        self._world.advance(max(0.0, left_s))
        return True

    def read_response(self) -> Any:
        if self.lost or not self._replies:
            raise exceptions.ConnectionError("Connection closed by server.")
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _begin_stream_of(self, queue: Sequence[Command]) -> None:
        """Redis 6.0 puts SELECT and MULTI into its stream where INFO is asked for in a transaction."""
        server = self._world.server(self._address)
        if isinstance(server, Node) and server.is_master and not server.modern and any(it[0] == "INFO" for it in queue):
            server.set_offset(server.offset + 38)

    def _execute(self, command: Command) -> Any:
        world, words = self._world, [str(word) for word in command]
        if words[0] == "MULTI":
            self._queue = []
            return "OK"
        if words[0] in ("EXEC", "DISCARD") and self._queue is not None:
            queue, self._queue = self._queue, None
            if words[0] == "DISCARD":
                return "OK"
            if ("REFUSED",) in queue:
                raise exceptions.ExecAbortError("Transaction discarded because of previous errors.")
            self._begin_stream_of(queue)
            return [self._attempt(queued) for queued in queue]
        if self._queue is not None:
            self._queue.append(command)
            return "QUEUED"
        server = world.server(self._address)
        if isinstance(server, Node):
            return NodeAnswers(world, server, self).to(words)
        return SentinelAnswers(world, server).to(words)


class FakeClock(Clock):
    """The time of the model.

    Who has looked for something for long, again and again, is woken late from then on, as on a busy host: what comes then is seen a little later,
    and most of the looks are saved.
    """

    LONG_WAIT_S = 3.0
    LATE_STEP_S = 0.1

    def __init__(self, world: World) -> None:
        self._world = world
        self._step_s = self._slept_s = 0.0

    def now_s(self) -> float:
        return self._world.clock_s()

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self._world.clock_s()

    def sleep(self, seconds: float) -> None:
        if self._world.killed:
            raise Killed
        self._slept_s = seconds + (self._slept_s if seconds == self._step_s else 0.0)
        self._step_s = seconds
        late = self._slept_s > self.LONG_WAIT_S
        self._world.advance(max(seconds, self.LATE_STEP_S) if late else seconds)

    def wait_for(self, come: threading.Event, seconds: float) -> bool:
        if not come.is_set():
            self.sleep(seconds)
        return come.is_set()


class FakeFleet(Fleet):
    """The collection's own clients, on connections to the model."""

    def __init__(self, world: World, sentinels: Iterable[Address] | None = None, timeout_s: float = 3.0) -> None:
        super().__init__(ConnectionOptions(tuple(world.sentinels if sentinels is None else sentinels)))
        self._world = world
        self._timeout_s = timeout_s
        self._fakes: dict[tuple[str, Address], Client] = {}

    def sentinel(self, address: Address) -> Client:
        return self._fake("sentinel", address)

    def with_node_access(self, access: Access) -> Fleet:
        return FakeFleet(self._world, timeout_s=self._timeout_s)

    def close(self) -> None:
        for client in self._fakes.values():
            client.close()
        super().close()

    def node(self, address: Address) -> Client:
        return self._fake("node", address)

    def lock(self, address: Address) -> Client:
        return self._fake("lock", address)

    def _fake(self, kind: str, address: Address) -> Client:
        if (kind, address) not in self._fakes:
            # The model waits for each answer by itself. By the machine's clock, one that stands still for a moment would lose an answer.
            self._fakes[kind, address] = Client(
                address,
                lambda: FakeConnection(self._world, address, self._timeout_s),
                self._timeout_s,
                now_s=lambda: 0.0,
            )
        return self._fakes[kind, address]

    def listen(self, address: Address, on_event: Callable[[Address, float, Event], None]) -> None:
        if not self._world.sentinels[address].alive:
            raise LinkError(str(address), "it sends no events")
        self._world.listeners.append((address, on_event))

    def resolve(self, host: str) -> str:
        return next((real.host for name, real in self._world.announced.items() if name.host == host), host)

    def gather(self, keys: Iterable[Any], ask: Callable[[Any], Any]) -> dict[Any, Any]:
        def attempt(key: Any) -> Any:
            try:
                return ask(key)
            except (LinkError, ReplyError) as failure:
                return failure

        return self._world.side_by_side(keys, attempt)
