# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small model of a deployment, in a time of its own, for tests of what decides.

The model knows what matters to a failover: roles and offsets, who acknowledged how much, pauses and the other fence,
and the timer of Sentinel with the steps of its failover. The collection's own ``Client`` talks to it over connections
that can be told to fail in every way.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event, parse_event
from unit.builders import L0, L1, L2, NAME, OM, R, S
from unit.faults import Command, Fault, Killed, text

if TYPE_CHECKING:
    from unit.fake_connection import FakeConnection

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass
class Node:
    """A data node."""

    address: Address
    run_id: str
    master: Address | None = None
    alive: bool = True
    stuck: bool = False
    data: list[tuple[str, float]] = field(default_factory=list)
    """What it holds: for each history (replid) up to which offset; the last one is the one that grows."""
    delay_s: float = 0.0005
    linked: bool = True
    pause_until_s: float = 0.0
    longest_pause_s: float = 0.0
    modern: bool = True
    """Whether it has CLIENT PAUSE WRITE, and keeps its replicas when it is demoted (7.0)."""
    feeds: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    rewritten: dict[str, str] = field(default_factory=dict)
    path: list[tuple[float, float]] = field(default_factory=list)
    connections: list[FakeConnection] = field(default_factory=list)
    strangers: list[tuple[int, str]] = field(default_factory=list)
    sync_full: int = 0
    sync_partial: int = 0

    @property
    def is_master(self) -> bool:
        return self.master is None

    @property
    def replid(self) -> str:
        return self.data[-1][0]

    @property
    def offset(self) -> float:
        return self.data[-1][1]

    def set_offset(self, offset: float) -> None:
        self.data[-1] = (self.replid, offset)

    @property
    def fenced(self) -> bool:
        return int(self.settings["min-replicas-to-write"]) > 1000

    def offset_at(self, moment_s: float) -> float:
        """The offset that it had at a moment."""
        position = bisect.bisect_right(self.path, (moment_s, float("inf")))
        if position == 0:
            return self.path[0][1]
        if position == len(self.path):
            return self.path[-1][1]
        (t0, o0), (t1, o1) = self.path[position - 1], self.path[position]
        return o0 + (o1 - o0) * ((moment_s - t0) / (t1 - t0) if t1 > t0 else 1)


@dataclass
class Seen:
    """A Sentinel's last INFO of a replica."""

    at_s: float
    role: str
    priority: int
    offset: int
    linked: bool
    master: Address
    role_since_s: float


@dataclass
class FakeSentinel:
    """A Sentinel."""

    address: Address
    master: Address
    alive: bool = True
    frozen: bool = False
    tilt: bool = False
    hz: int = 10
    config_epoch: int = 1
    seen: dict[Address, Seen] = field(default_factory=dict)
    master_info_at_s: float = 0.0
    master_replica_since_s: float | None = None
    master_alive_at_s: float = 0.0
    state: str = ""
    promoted: Address | None = None
    started_s: float = 0.0
    reconfigured: list[Address] = field(default_factory=list)
    connections: list[FakeConnection] = field(default_factory=list)
    coordinated: bool = False
    """Whether it knows COORDINATED."""
    hands_over: bool = False
    """Whether the failover that it leads is a coordinated one."""
    failover_timeout_ms: int = 60_000
    refuses: str = ""
    tells_its_id: bool = True
    """Whether it has MYID (6.2)."""
    tick_count: int = 0

    @property
    def in_progress(self) -> bool:
        return bool(self.state)

    @property
    def named(self) -> Address:
        """What GET-MASTER-ADDR-BY-NAME answers."""
        return self.promoted if self.promoted and self.state == "reconf_slaves" else self.master


class World:
    """A master with writers, its replicas and their Sentinels."""

    def __init__(
        self,
        seed: int = 1,
        *,
        replicas: Iterable[Address] = (R, S),
        sentinels: Iterable[Address] = (L0, L1, L2),
        modern: bool = True,
        down_after_ms: int = 5000,
        bytes_per_s: float = 100_000.0,
        priorities: dict[Address, int] | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.now_s = 1000.0
        self.down_after_ms = down_after_ms
        self.bytes_per_s = bytes_per_s
        self.latency_s = 0.0002
        self._behind_s: float | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._ids = itertools.count(10)
        self._histories = itertools.count(1)
        self.acknowledged: dict[str, float] = {}
        self.faults: list[Fault] = []
        self.exchanges: list[tuple[float, Address, list[Command]]] = []
        self.violations: list[str] = []
        self.failovers: list[tuple[float, Address, bool]] = []
        self.demotions: list[tuple[float, float, float]] = []
        self.listeners: list[tuple[Address, Callable[[Address, float, Event], None]]] = []
        self.killed = False
        self.cut_off: set[Address] = set()
        """Servers that the program does not reach; they reach each other."""
        self.writes_refused_s = 0.0
        self.nodes: dict[Address, Node] = {}
        for address in (OM, *replicas):
            node = Node(address, address.host[-1] * 40, None if address == OM else OM, modern=modern)
            node.data = [("history-0", 1_000_000.0)]
            node.path = [(self.now_s, 1_000_000.0)]
            node.settings = {
                "min-replicas-to-write": "1",
                "min-replicas-max-lag": "7",
                "replica-priority": str((priorities or {}).get(address, 100)),
                "replica-read-only": "yes",
                "maxmemory": "0",
                "masteruser": "",
                "masterauth": "",
                "requirepass": "",
            }
            node.rewritten = dict(node.settings)
            self.nodes[address] = node
        self.sentinels = {address: FakeSentinel(address, OM) for address in sentinels}
        for sentinel in self.sentinels.values():
            sentinel.master_info_at_s = self.now_s - self.random.uniform(0, 9)
            sentinel.master_alive_at_s = self.now_s
            for address in self.nodes:
                if address != OM:
                    self._look(sentinel, address)
                    sentinel.seen[address].at_s = self.now_s - self.random.uniform(0, 9.9)
            self.at(self.now_s + self.random.uniform(0, 0.1), partial(self._tick, sentinel))

    # -- time --

    def at(self, moment_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment_s, next(self._sequence), action))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if self._behind_s is not None:
            self._behind_s += seconds
            return
        until_s = self.now_s + max(0.0, seconds)
        while self._events and self._events[0][0] <= until_s:
            moment_s, _number, action = heapq.heappop(self._events)
            self._flow(max(moment_s, self.now_s))
            action()
        self._flow(until_s)

    def clock_s(self) -> float:
        return self.now_s + (self._behind_s or 0.0)

    def side_by_side(self, keys: Iterable[Key], ask: Callable[[Key], Value]) -> dict[Key, Value]:
        """Ask several at one moment; it takes as long as the slowest."""
        answers, longest_s = {}, 0.0
        for key in keys:
            self._behind_s = 0.0
            try:
                answers[key] = ask(key)
            finally:
                longest_s = max(longest_s, self._behind_s)
                self._behind_s = None
        self.advance(longest_s)
        return answers

    def _flow(self, until_s: float) -> None:
        """Writes are acknowledged, replicas apply what they get."""
        writing = []
        for node in self.nodes.values():
            if node.alive and node.is_master and not node.fenced:
                from_s = max(self.now_s, node.pause_until_s)
                if until_s > from_s:
                    writing.append(node)
                    node.set_offset(node.offset + self.bytes_per_s * (until_s - from_s))
                    self.acknowledged[node.replid] = node.offset
                    if from_s > self.now_s:
                        node.path.append((from_s, node.path[-1][1]))
        if len(writing) > 1:
            self.violations.append(f"{self.now_s:.3f}: {', '.join(str(node.address) for node in writing)} take writes")
        if not writing:
            self.writes_refused_s += until_s - self.now_s
        self.now_s = until_s
        for node in self.nodes.values():
            if not node.is_master:
                self._replicate(node)
        for node in self.nodes.values():
            node.path.append((until_s, node.offset))

    def _replicate(self, node: Node) -> None:
        master = self.nodes.get(node.master) if node.master else None
        if not node.alive or master is None or not master.alive:
            node.linked = False
            return
        if master.is_master and not node.linked and not node.stuck:
            self._synchronise(node, master)
        if node.linked and not node.stuck and (master.is_master or master.feeds):
            offset = min(master.offset, master.offset_at(self.now_s - node.delay_s))
            if offset > node.offset:
                node.data = _up_to(master.data, offset)

    def _synchronise(self, node: Node, master: Node) -> None:
        held = dict(master.data).get(node.replid, -1.0)
        if node.offset <= held:
            master.sync_partial += 1
        else:
            master.sync_full += 1
            node.data = list(master.data)
        node.linked = True
        node.feeds = False

    # -- roles --

    def follow(self, node: Node, master: Address) -> None:
        """REPLICAOF."""
        if node.master == master:
            return
        if node.is_master:
            self.demotions.append((self.now_s, node.offset, self.nodes[master].offset))
            node.feeds = node.modern
            if not node.modern:
                for other in self.nodes.values():
                    if other.master == node.address:
                        other.linked = False
        node.master = master
        node.linked = False

    def promote(self, node: Node) -> None:
        """REPLICAOF NO ONE."""
        if node.is_master:
            return
        node.master = None
        node.feeds = False
        node.data = [*node.data, (f"history-{next(self._histories)}", node.offset)]

    def lost(self) -> float:
        """How many bytes of acknowledged writes the master of now does not have."""
        masters = [node for node in self.nodes.values() if node.alive and node.is_master]
        assert len(masters) == 1, [str(node.address) for node in masters]
        held = dict(masters[0].data)
        return sum(max(0.0, upto - held.get(history, 0.0)) for history, upto in self.acknowledged.items())

    # -- Sentinel --

    def publish(self, sentinel: FakeSentinel, channel: str, payload: str) -> None:
        for address, on_event in self.listeners:
            if address == sentinel.address and not self.killed:
                on_event(address, self.now_s, parse_event(channel, payload))

    def _publish_master(self, sentinel: FakeSentinel, channel: str) -> None:
        self.publish(sentinel, channel, f"master {NAME} {sentinel.master.host} {sentinel.master.port}")

    def _publish_replica(self, sentinel: FakeSentinel, channel: str, it: Address) -> None:
        here = f"{NAME} {sentinel.master.host} {sentinel.master.port}"
        self.publish(sentinel, channel, f"slave {it} {it.host} {it.port} @ {here}")

    def _tick(self, sentinel: FakeSentinel) -> None:
        if not sentinel.alive:
            return
        sentinel.hz = self.random.randint(10, 19)
        self.at(self.now_s + 1000 // sentinel.hz / 1000, lambda: self._tick(sentinel))
        if sentinel.frozen:
            return
        sentinel.tick_count += 1
        if sentinel.tilt:
            return
        self._look_at_master(sentinel)
        self._step(sentinel)
        for address, seen in list(sentinel.seen.items()):
            period_s = 1.0 if sentinel.in_progress or not seen.linked else 10.0
            if self.now_s - seen.at_s > period_s:
                self._look(sentinel, address)
                self._judge(sentinel, address)

    def _look_at_master(self, sentinel: FakeSentinel) -> None:
        master = self.nodes[sentinel.master]
        if master.alive:
            sentinel.master_alive_at_s = self.now_s
        if self.now_s - sentinel.master_info_at_s > 10.0 and master.alive:
            sentinel.master_info_at_s = self.now_s
            if master.is_master:
                sentinel.master_replica_since_s = None
            elif sentinel.master_replica_since_s is None:
                sentinel.master_replica_since_s = self.now_s
        down_s = self.down_after_ms / 1000
        since_s = sentinel.master_replica_since_s
        if (
            (
                self.now_s - sentinel.master_alive_at_s > down_s
                or (since_s is not None and self.now_s - since_s > 20.0 + down_s)
            )
            and 2 * sum(other.alive for other in self.sentinels.values()) > len(self.sentinels)
            and not any(other.in_progress for other in self.sentinels.values() if other.alive)
            and self.now_s > max((other.started_s for other in self.sentinels.values()), default=0) + 2.0
        ):
            self.start_failover(sentinel)

    def start_failover(self, sentinel: FakeSentinel) -> None:
        sentinel.state = "wait_start"
        sentinel.started_s = self.now_s
        sentinel.promoted = None
        sentinel.reconfigured = []
        sentinel.hands_over = False
        self._publish_master(sentinel, "+try-failover")

    def _look(self, sentinel: FakeSentinel, address: Address) -> None:
        node = self.nodes[address]
        if not node.alive:
            return
        role = "master" if node.is_master else "slave"
        before = sentinel.seen.get(address)
        since_s = before.role_since_s if before and before.role == role else self.now_s
        priority = int(node.settings["replica-priority"])
        if role == "master" and before is not None:
            priority = before.priority
        sentinel.seen[address] = Seen(
            self.now_s, role, priority, int(node.offset), node.linked, node.master or address, since_s
        )

    def _judge(self, sentinel: FakeSentinel, address: Address) -> None:
        seen, node = sentinel.seen[address], self.nodes[address]
        if not node.alive:
            return
        if sentinel.state == "wait_promotion" and address == sentinel.promoted and seen.role == "master":
            sentinel.config_epoch = 1 + max(other.config_epoch for other in self.sentinels.values())
            sentinel.state = "reconf_slaves"
            self._publish_replica(sentinel, "+promoted-slave", address)
            for other in self.sentinels.values():
                if other is not sentinel:
                    epoch = sentinel.config_epoch
                    self.at(self.now_s + self.random.uniform(0.01, 0.1), partial(self._hear, other, address, epoch))
        elif seen.role == "master" and address != sentinel.promoted and not sentinel.in_progress:
            new_master = self.nodes[sentinel.master]
            if self.now_s - seen.role_since_s > 8.0 and new_master.alive and new_master.is_master:
                self.follow(node, sentinel.master)
                self.kill_clients(node)

    def _hear(self, sentinel: FakeSentinel, master: Address, epoch: int) -> None:
        if sentinel.alive and not sentinel.frozen and epoch > sentinel.config_epoch:
            self._switch(sentinel, master, epoch)

    def _switch(self, sentinel: FakeSentinel, master: Address, epoch: int) -> None:
        old = sentinel.master
        payload = f"{NAME} {old.host} {old.port} {master.host} {master.port}"
        sentinel.config_epoch, sentinel.master = epoch, master
        sentinel.state, sentinel.promoted = "", None
        sentinel.master_replica_since_s = None
        sentinel.master_info_at_s = sentinel.master_alive_at_s = self.now_s
        sentinel.seen.pop(master, None)
        if old != master:
            self._look(sentinel, old)
        self.publish(sentinel, "+switch-master", payload)

    def _step(self, sentinel: FakeSentinel) -> None:
        if sentinel.state == "wait_start":
            sentinel.state = "select_slave"
            self._publish_master(sentinel, "+elected-leader")
        elif sentinel.state == "select_slave":
            sentinel.promoted = self.select(sentinel)
            if sentinel.promoted is None:
                self._abort(sentinel, "-failover-abort-no-good-slave")
            else:
                sentinel.state = "send_slaveof_noone"
                self._publish_replica(sentinel, "+selected-slave", sentinel.promoted)
        elif sentinel.state == "send_slaveof_noone" and sentinel.promoted is not None:
            node = self.nodes[sentinel.promoted]
            if node.alive:
                if sentinel.hands_over:
                    master = self.nodes[sentinel.master]
                    node.data = list(master.data)
                    self.follow(master, node.address)
                self.promote(node)
                self.kill_clients(node)
                sentinel.state = "wait_promotion"
            elif self.now_s - sentinel.started_s > sentinel.failover_timeout_ms / 1000:
                self._abort(sentinel, "-failover-abort-slave-timeout")
        elif sentinel.state == "wait_promotion":
            if self.now_s - sentinel.started_s > sentinel.failover_timeout_ms / 1000:
                self._abort(sentinel, "-failover-abort-slave-timeout")
        elif sentinel.state == "reconf_slaves" and sentinel.promoted is not None:
            self._reconfigure(sentinel, sentinel.promoted)

    def _reconfigure(self, sentinel: FakeSentinel, promoted: Address) -> None:
        overtime = self.now_s - sentinel.started_s > sentinel.failover_timeout_ms / 1000
        for address, seen in sentinel.seen.items():
            node = self.nodes[address]
            if address == promoted or not node.alive or overtime:
                continue
            if address not in sentinel.reconfigured:
                self.follow(node, promoted)
                self.kill_clients(node)
                sentinel.reconfigured.append(address)
                return
            if not (seen.linked and seen.master == promoted):
                return
        self._publish_master(sentinel, "+failover-end")
        self._switch(sentinel, promoted, sentinel.config_epoch)

    def _abort(self, sentinel: FakeSentinel, channel: str) -> None:
        self._publish_master(sentinel, channel)
        sentinel.state, sentinel.promoted = "", None

    def select(self, sentinel: FakeSentinel) -> Address | None:
        """The replica that it would promote now."""
        fit = [
            (seen.priority, -seen.offset, self.nodes[address].run_id, address)
            for address, seen in sentinel.seen.items()
            if self.nodes[address].alive and seen.priority != 0
        ]
        return min(fit)[3] if fit else None

    def kill_clients(self, node: Node, spare: FakeConnection | None = None) -> None:
        for connection in node.connections:
            if connection is not spare:
                connection.lost = True
        node.connections = [spare] if spare is not None else []

    def kill_program(self) -> NoReturn:
        """The program ends here; the kernel closes its connections."""
        self.killed = True
        self.listeners.clear()
        for node in self.nodes.values():
            node.connections.clear()
        for sentinel in self.sentinels.values():
            sentinel.connections.clear()
        raise Killed

    def server(self, address: Address) -> Node | FakeSentinel:
        return self.nodes[address] if address in self.nodes else self.sentinels[address]

    def sent(self, word: str, server: Address | None = None) -> list[Address]:
        """To whom an exchange with this word was sent, in the order of time."""
        return [
            address
            for _at_s, address, commands in self.exchanges
            if server in (None, address) and any(word in text(command) for command in commands)
        ]


def _up_to(data: list[tuple[str, float]], offset: float) -> list[tuple[str, float]]:
    held = []
    for history, upto in data:
        held.append((history, min(upto, offset)))
        if offset <= upto:
            break
    return held
