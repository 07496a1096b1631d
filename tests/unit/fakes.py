# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small model of a deployment, in a time of its own, for tests of what decides; and builders of snapshots.

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
from typing import Any, NoReturn, TypeVar

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import (
    Access,
    Client,
    ConnectionOptions,
    Fleet,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    Event,
    MasterEntry,
    PeerEntry,
    ReplicaEntry,
    Replication,
    Role,
    parse_event,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import NodeView, SentinelView, Snapshot
from redis import exceptions

NAME = "mymaster"
OM, R, S, S2 = (
    Address("10.0.0.1", 6379),
    Address("10.0.0.2", 6379),
    Address("10.0.0.3", 6379),
    Address("10.0.0.4", 6379),
)
L0, L1, L2 = (Address("10.0.0.1", 26379), Address("10.0.0.2", 26379), Address("10.0.0.3", 26379))

Key = TypeVar("Key")
Value = TypeVar("Value")
Command = tuple[Any, ...]


# ---- builders of snapshots -----------------------------------------------------------------------------------------


def master_entry(**changes: Any) -> MasterEntry:
    """What a Sentinel says of a healthy master."""
    fields: dict[str, Any] = {
        "name": NAME,
        "address": OM,
        "run_id": "0" * 40,
        "flags": frozenset({"master"}),
        "config_epoch": 1,
        "quorum": 2,
        "down_after_ms": 5000,
        "failover_timeout_ms": 60000,
        "parallel_syncs": 1,
        "known_replicas": 2,
        "known_peers": 2,
        "failover_state": "",
        "info_age_ms": 3000,
        "role_reported": "master",
    }
    return MasterEntry(**{**fields, **changes})


def replica_entry(address: Address, **changes: Any) -> ReplicaEntry:
    """What a Sentinel says of a healthy replica."""
    fields: dict[str, Any] = {
        "address": address,
        "run_id": address.host[-1] * 40,
        "flags": frozenset({"slave"}),
        "link_up": True,
        "link_down_ms": 0,
        "master": OM,
        "priority": 100,
        "offset": 1000,
        "info_age_ms": 3000,
        "last_ok_ping_ms": 300,
        "announced": True,
    }
    return ReplicaEntry(**{**fields, **changes})


def peer_entry(address: Address, **changes: Any) -> PeerEntry:
    """What a Sentinel says of another."""
    fields: dict[str, Any] = {
        "address": address,
        "run_id": f"sentinel-{address}",
        "flags": frozenset({"sentinel"}),
        "last_hello_ms": 500,
    }
    return PeerEntry(**{**fields, **changes})


def sentinel_view(address: Address, **changes: Any) -> SentinelView:
    """Everything that one Sentinel says of a healthy deployment."""
    fields: dict[str, Any] = {
        "address": address,
        "version": (7, 0, 15),
        "run_id": f"sentinel-{address}",
        "master": master_entry(),
        "current": OM,
        "replicas": (replica_entry(R), replica_entry(S)),
        "peers": tuple(peer_entry(other) for other in (L0, L1, L2) if other != address),
        "quorum_ok": True,
        "quorum_detail": "OK 3 usable Sentinels.",
    }
    return SentinelView(**{**fields, **changes})


def replication(**changes: Any) -> Replication:
    """``INFO replication`` of a replica that has everything."""
    fields: dict[str, Any] = {
        "role": "replica",
        "replid": "a" * 40,
        "replid2": "0" * 40,
        "offset": 1000,
        "applied_offset": 1000,
        "second_offset": -1,
        "master": OM,
        "link_up": True,
        "link_down_s": -1,
        "sync_in_progress": False,
        "sync_read_bytes": 0,
        "sync_left_bytes": -1,
        "sync_total_bytes": -1,
        "read_only": True,
        "priority": 100,
        "failover_state": "no-failover",
        "backlog_active": True,
        "backlog_size": 2**20,
        "backlog_first_offset": 1,
        "backlog_bytes": 1000,
        "attached": (),
    }
    return Replication(**{**fields, **changes})


def replica_node(address: Address, *, link: dict[str, Any] | None = None, **changes: Any) -> NodeView:
    """What a healthy replica says of itself; ``link`` changes its replication."""
    fields: dict[str, Any] = {
        "address": address,
        "product": "redis",
        "version": (7, 0, 15),
        "compatible_version": (7, 0, 15),
        "run_id": address.host[-1] * 40,
        "role": Role("replica", 1000, OM, "connected"),
        "replication": replication(**(link or {})),
        "info": {"loading": "0"},
        "config": {"replica-priority": "100", "min-replicas-to-write": "0", "min-replicas-max-lag": "10"},
        "master_auth_set": False,
        "password_set": False,
        "modules": (),
        "write_pause": True,
    }
    return NodeView(**{**fields, **changes})


def master_node(address: Address = OM, *, link: dict[str, Any] | None = None, **changes: Any) -> NodeView:
    """What a healthy master says of itself."""
    own = {"role": "master", "master": None, "applied_offset": -1, "link_up": False, **(link or {})}
    return replica_node(address, link=own, **{"role": Role("master", 1000), **changes})


def snapshot(
    sentinels: Iterable[SentinelView] | None = None, nodes: Iterable[NodeView] | None = None, **changes: Any
) -> Snapshot:
    """One master, two replicas, three Sentinels, all healthy."""
    views = tuple(sentinel_view(address) for address in (L0, L1, L2)) if sentinels is None else tuple(sentinels)
    known = (master_node(), replica_node(R), replica_node(S)) if nodes is None else tuple(nodes)
    return Snapshot(NAME, views, known, **changes)


# ---- the model -----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The program was killed: from here on it sends nothing."""


@dataclass
class Fault:
    """What goes wrong with an exchange (the commands that were sent together).

    ``kind`` is one of

    - ``refuse``: the server answers with an error,
    - ``lose_before``, ``lose_after``: the connection closes before or after the server has executed it,
    - ``hang_before``, ``hang_after``: no answer comes; it was not, or was, executed,
    - ``late``: no answer comes, and it is executed ``delay_s`` later,
    - ``freeze``: the Sentinel stands still for ``delay_s``, and then executes it,
    - ``die_before``, ``die_after``: the server dies,
    - ``kill_before``, ``kill_after``: the program is killed,
    - ``stall``: the program stands still for ``delay_s`` before it sends,
    - ``run``: ``action`` is called before it is executed; nothing is wrong by itself.
    """

    kind: str
    word: str
    """The exchange is one with this in a command."""
    server: Address | None = None
    alone: bool = False
    """Only where nothing else is sent with it."""
    skip: int = 0
    times: int = 1
    delay_s: float = 0.0
    error: str = "ERR refused by the test"
    action: Callable[[], None] | None = None
    struck: int = 0

    def strikes(self, server: Address, commands: list[Command]) -> bool:
        """Whether this exchange is the one."""
        if self.server not in (None, server) or not any(self.word in text(command) for command in commands):
            return False
        if self.alone and len(commands) > 1:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times <= 0:
            return False
        self.times -= 1
        self.struck += 1
        return True


def text(command: Command) -> str:
    """A command as one line."""
    return " ".join(str(word) for word in command)


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
