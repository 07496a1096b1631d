# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program's own side of the model: its clients, on connections that can be told to fail in every way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
from unit.builders import NAME
from unit.faults import Command, Fault, Killed, text
from unit.world import FakeSentinel, Node, World


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
        fault = next((fault for fault in world.faults if fault.strikes(self._address, commands)), None)
        kind = fault.kind if fault else ""
        if fault and kind == "stall":
            world.advance(fault.delay_s)
        if fault and kind == "run" and fault.action:
            fault.action()
        world.exchanges.append((world.now_s, self._address, commands))
        server = world.server(self._address)
        self._replies = []
        if self._address in world.cut_off:
            self._mute = True
            return
        if self.lost or not server.alive:
            self.lost = True
            return
        if kind == "kill_before":
            world.kill_program()
        if kind == "die_before":
            server.alive = False
        if kind in ("lose_before", "die_before"):
            self.lost = True
            return
        if kind == "late" and fault:
            world.at(world.now_s + fault.delay_s, lambda: self._run(commands))
        if kind == "freeze" and fault and isinstance(server, FakeSentinel):
            server.frozen = True
            world.at(world.now_s + fault.delay_s, partial(self._thaw, server, commands))
        if kind in ("hang_before", "late") or (isinstance(server, FakeSentinel) and server.frozen):
            self._mute = True
            return
        self._ready_at_s = world.clock_s() + world.latency_s
        self._run(commands, fault if kind == "refuse" else None)
        if kind == "kill_after":
            world.kill_program()
        if kind == "die_after":
            server.alive = False
        if kind in ("lose_after", "die_after"):
            self.lost = True
        if kind == "hang_after":
            self._mute = True

    def _thaw(self, sentinel: FakeSentinel, commands: list[Command]) -> None:
        sentinel.frozen = False
        self._run(commands)

    def _run(self, commands: list[Command], refused: Fault | None = None) -> None:
        for command in commands:
            if refused is not None and refused.word in text(command):
                self._replies.append(_error(refused.error))
                if self._queue is not None:
                    self._queue.append(("REFUSED",))
                continue
            try:
                self._replies.append(self._execute(command))
            except exceptions.RedisError as error:
                self._replies.append(error)

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
            replies: list[Any] = []
            for queued in queue:
                try:
                    replies.append(self._execute(queued))
                except exceptions.RedisError as error:
                    replies.append(error)
            return replies
        if self._queue is not None:
            self._queue.append(command)
            return "QUEUED"
        server = world.server(self._address)
        if isinstance(server, Node):
            return self._ask_node(server, words)
        return self._ask_sentinel(server, words)

    def _ask_node(self, node: Node, words: list[str]) -> Any:
        world = self._world
        line = " ".join(words).upper()
        if words[0] == "INFO":
            return self._node_info(node)
        if words[0] == "ROLE":
            if node.is_master:
                return ["master", int(node.offset), []]
            master = node.master or node.address
            return ["slave", master.host, master.port, "connected" if node.linked else "connect", int(node.offset)]
        if line == "CLIENT HELP":
            return ["PAUSE <timeout> [WRITE|ALL]", "UNPAUSE"] if node.modern else ["PAUSE <timeout>"]
        if line == "MODULE LIST":
            return []
        if line.startswith("CLIENT SETNAME"):
            self.name = words[2]
            return "OK"
        if line == "CLIENT ID":
            return self.id
        if line == "CLIENT LIST":
            rows = [(connection.id, connection.name) for connection in node.connections] + node.strangers
            return "".join(
                f"id={number} addr=10.9.9.9:1 name={name} age=7 flags=N cmd=client\n" for number, name in rows
            )
        if line.startswith("CLIENT PAUSE"):
            node.pause_until_s = max(node.pause_until_s, world.now_s + int(words[2]) / 1000)
            return "OK"
        if line == "CLIENT UNPAUSE":
            node.pause_until_s = world.now_s
            return "OK"
        if line.startswith("CLIENT KILL"):
            world.kill_clients(node, spare=self)
            return 1
        if line.startswith("CONFIG GET"):
            return [words[2], node.settings[words[2]]]
        if line.startswith("CONFIG SET"):
            node.settings[words[2]] = words[3]
            return "OK"
        if line == "CONFIG REWRITE":
            node.rewritten = dict(node.settings)
            return "OK"
        if line == "REPLICAOF NO ONE":
            world.promote(node)
            return "OK"
        if words[0] == "REPLICAOF":
            world.follow(node, Address(words[1], int(words[2])))
            return "OK"
        raise exceptions.ResponseError(f"unknown command '{line}'")

    def _node_info(self, node: Node) -> str:
        version = "7.0.15" if node.modern else "6.0.16"
        lines = [
            "# Server",
            f"redis_version:{version}",
            f"run_id:{node.run_id}",
            "loading:0",
            f"sync_full:{node.sync_full}",
            f"sync_partial_ok:{node.sync_partial}",
            "# Replication",
            f"role:{'master' if node.is_master else 'slave'}",
        ]
        if node.master is not None:
            lines += [
                f"master_host:{node.master.host}",
                f"master_port:{node.master.port}",
                f"master_link_status:{'up' if node.linked else 'down'}",
                "master_sync_in_progress:0",
                f"slave_repl_offset:{int(node.offset)}",
                f"slave_priority:{node.settings['replica-priority']}",
                "slave_read_only:1",
            ]
        before = node.data[-2] if len(node.data) > 1 else ("0" * 40, -2)
        lines += [
            "master_failover_state:no-failover",
            f"master_replid:{node.replid}",
            f"master_replid2:{before[0]}",
            f"master_repl_offset:{int(node.offset)}",
            f"second_repl_offset:{int(before[1]) + 1}",
        ]
        return "\r\n".join(lines) + "\r\n"

    def _ask_sentinel(self, sentinel: FakeSentinel, words: list[str]) -> Any:
        world = self._world
        verb = words[1].upper() if len(words) > 1 else ""
        if words[0] == "INFO":
            tilt = int(sentinel.tilt)
            start = f"redis_version:7.0.15\r\nrun_id:process-{sentinel.address}\r\nhz:{sentinel.hz}\r\n"
            return f"{start}sentinel_masters:1\r\nsentinel_tilt:{tilt}\r\n"
        if verb == "MYID":
            if not sentinel.tells_its_id:
                raise exceptions.ResponseError("Unknown sentinel subcommand 'MYID'")
            return f"sentinel-{sentinel.address}"
        if verb == "FAILOVER" and sentinel.refuses:
            raise _error(sentinel.refuses)
        coordinated = len(words) == 4 and verb == "FAILOVER"
        if coordinated and not sentinel.coordinated:
            raise exceptions.ResponseError("wrong number of arguments for 'sentinel|failover' command")
        if words[2] != NAME:
            raise exceptions.ResponseError("No such master with that name")
        if verb == "MASTER":
            return self._master_row(sentinel)
        if verb == "GET-MASTER-ADDR-BY-NAME":
            return [sentinel.named.host, str(sentinel.named.port)]
        if verb == "REPLICAS":
            return [self._replica_row(sentinel, address) for address in sentinel.seen]
        if verb == "SENTINELS":
            return [self._peer_row(other) for other in world.sentinels.values() if other is not sentinel]
        if verb == "CKQUORUM":
            return "OK 3 usable Sentinels. Quorum and failover authorization can be reached"
        if verb == "SET":
            sentinel.failover_timeout_ms = int(words[4])
            return "OK"
        if verb == "FAILOVER":
            world.failovers.append((world.now_s, sentinel.address, sentinel.in_progress))
            if sentinel.in_progress:
                raise exceptions.ResponseError("INPROG Failover already in progress")
            if world.select(sentinel) is None:
                raise exceptions.ResponseError("NOGOODSLAVE No suitable replica to promote")
            world.start_failover(sentinel)
            sentinel.hands_over = coordinated
            return "OK"
        raise exceptions.ResponseError(f"unknown subcommand {verb}")

    def _master_row(self, sentinel: FakeSentinel) -> list[str]:
        flags = "master"
        flags += ",failover_in_progress" if sentinel.in_progress else ""
        flags += "" if self._world.nodes[sentinel.master].alive else ",s_down,o_down"
        return _row(
            name=NAME,
            ip=sentinel.master.host,
            port=sentinel.master.port,
            runid=self._world.nodes[sentinel.master].run_id,
            flags=flags,
            **{"config-epoch": sentinel.config_epoch, "down-after-milliseconds": self._world.down_after_ms},
            **{"failover-timeout": sentinel.failover_timeout_ms, "parallel-syncs": 1, "num-slaves": len(sentinel.seen)},
            **{"num-other-sentinels": len(self._world.sentinels) - 1, "quorum": 2, "role-reported": "master"},
            **{"info-refresh": int((self._world.now_s - sentinel.master_info_at_s) * 1000) + 1},
            **{"failover-state": sentinel.state},
        )

    def _replica_row(self, sentinel: FakeSentinel, address: Address) -> list[str]:
        seen, node = sentinel.seen[address], self._world.nodes[address]
        return _row(
            name=str(address),
            ip=address.host,
            port=address.port,
            runid=node.run_id,
            flags="slave" if node.alive else "s_down,slave,disconnected",
            **{"master-link-status": "ok" if seen.linked else "err", "master-link-down-time": 0},
            **{"master-host": seen.master.host, "master-port": seen.master.port, "slave-priority": seen.priority},
            **{"slave-repl-offset": seen.offset, "last-ok-ping-reply": 100, "replica-announced": 1},
            **{"info-refresh": int((self._world.clock_s() - seen.at_s) * 1000) + 1},
        )

    def _peer_row(self, other: FakeSentinel) -> list[str]:
        return _row(
            ip=other.address.host,
            port=other.address.port,
            runid=f"sentinel-{other.address}",
            flags="sentinel" if other.alive else "s_down,sentinel,disconnected",
            **{"last-hello-message": 500},
        )


def _row(**fields: Any) -> list[str]:
    return [str(word) for pair in fields.items() for word in pair]


def _error(line: str) -> exceptions.RedisError:
    if line.startswith("NOPERM"):
        return exceptions.NoPermissionError(line.partition(" ")[2])
    return exceptions.ResponseError(line[4:] if line.startswith("ERR ") else line)


class FakeClock(Clock):
    """The time of the model."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now_s(self) -> float:
        return self._world.clock_s()

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self._world.clock_s()

    def sleep(self, seconds: float) -> None:
        if self._world.killed:
            raise Killed
        self._world.advance(seconds)


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
            self._fakes[kind, address] = Client(
                address, lambda: FakeConnection(self._world, address, self._timeout_s), self._timeout_s
            )
        return self._fakes[kind, address]

    def listen(self, address: Address, on_event: Callable[[Address, float, Event], None]) -> None:
        if not self._world.sentinels[address].alive:
            raise LinkError(str(address), "it sends no events")
        self._world.listeners.append((address, on_event))

    def resolve(self, host: str) -> str:
        return host

    def gather(self, keys: Iterable[Any], ask: Callable[[Any], Any]) -> dict[Any, Any]:
        def attempt(key: Any) -> Any:
            try:
                return ask(key)
            except (LinkError, ReplyError) as error:
                return error

        return self._world.side_by_side(keys, attempt)
