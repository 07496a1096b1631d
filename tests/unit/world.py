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
from unit.builders import L0, L1, L2, OM, R, S
from unit.fake_sentinel import FakeSentinel
from unit.faults import Command, Fault, Killed, text
from unit.untraced import untraced

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
    shown_master: Address | None = None
    """The master by the name that it was told."""
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
    has_writers: bool = False
    """Whether clients that write are connected to it. New ones go where a Sentinel sends them."""
    strangers: list[tuple[int, str]] = field(default_factory=list)
    newcomers: list[tuple[int, str]] = field(default_factory=list)
    """Connections that are younger than a second."""
    held: list[str] = field(default_factory=list)
    """Commands of Sentinels that a pause holds up."""
    sync_full: int = 0
    sync_partial: int = 0
    changes: float = 0.0
    """How much clients have written since it was saved."""

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
        quorum: int = 2,
        proxy: bool = False,
        bytes_per_s: float = 100_000.0,
        priorities: dict[Address, int] | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.now_s = 1000.0
        self.down_after_ms = down_after_ms
        self.quorum = quorum
        self.proxy = proxy
        """Whether writers are sent to whatever says that it is a master, and not to what a Sentinel names."""
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
        self.unheard: set[Address] = set()
        """Sentinels whose hellos get lost."""
        self.announced: dict[Address, Address] = {}
        """Addresses by which nodes announce themselves, and where they lead to."""
        self.writes_refused_s = 0.0
        self.nodes: dict[Address, Node] = {}
        for address in (OM, *replicas):
            node = Node(address, address.host[-1] * 40, None if address == OM else OM, modern=modern)
            node.shown_master = node.master
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
        self.nodes[OM].has_writers = True
        everyone = tuple(sentinels)
        self.sentinels = {
            address: FakeSentinel(self, address, OM, [other for other in everyone if other != address])
            for address in everyone
        }
        for sentinel in self.sentinels.values():
            sentinel.master_info_at_s = self.now_s - self.random.uniform(0, 9)
            for address in self.nodes:
                if address != OM:
                    sentinel.look(address)
                    sentinel.seen[address].at_s = self.now_s - self.random.uniform(0, 9.9)
            self.at(self.now_s + self.random.uniform(0, 0.1), sentinel.tick)

    # -- time --

    def at(self, moment_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment_s, next(self._sequence), action))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if self._behind_s is not None:
            self._behind_s += seconds
            return
        untraced(partial(self._advance, self.now_s + max(0.0, seconds)))

    def _advance(self, until_s: float) -> None:
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
        writing = [node for node in self.nodes.values() if self._takes_writes(node) and self._write(node, until_s)]
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

    def _write(self, node: Node, until_s: float) -> bool:
        """Whether it has acknowledged any."""
        from_s = max(self.now_s, node.pause_until_s)
        if until_s <= from_s:
            return False
        node.has_writers = True
        node.set_offset(node.offset + self.bytes_per_s * (until_s - from_s))
        node.changes += self.bytes_per_s * (until_s - from_s)
        self.acknowledged[node.replid] = node.offset
        if from_s > self.now_s:
            node.path.append((from_s, node.path[-1][1]))
        return True

    def _takes_writes(self, node: Node) -> bool:
        if not node.alive or not node.is_master or node.fenced:
            return False
        named = (sentinel.named for sentinel in self.sentinels.values() if sentinel.awake)
        return self.proxy or node.has_writers or node.address in named

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
        # A node serves its own history and the one before it.
        held = dict(master.data[-2:]).get(node.replid, -1.0)
        if node.offset <= held:
            master.sync_partial += 1
        else:
            master.sync_full += 1
            node.data = list(master.data)
        node.linked = True
        node.feeds = False

    # -- roles --

    def follow(self, node: Node, shown: Address) -> None:
        """REPLICAOF."""
        master = self.real(shown)
        if node.master == master:
            return
        if node.is_master:
            self.demotions.append((self.now_s, node.offset, self.nodes[master].offset))
            node.feeds = node.modern
            if not node.modern:
                for other in self.nodes.values():
                    if other.master == node.address:
                        other.linked = False
        node.master, node.shown_master = master, shown
        node.linked = False
        node.has_writers = False

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

    def start_failover(self, sentinel: FakeSentinel) -> None:
        """An operator's own SENTINEL FAILOVER."""
        sentinel.begin(forced=True)

    def send(self, receiver: FakeSentinel, action: Callable[[], None]) -> None:
        """From one Sentinel to another."""
        self.at(self.now_s + self.latency_s, lambda: receiver.receive(action))

    def send_hello(self, sender: FakeSentinel, receiver: FakeSentinel, text: str) -> None:
        if not receiver.deaf and sender.address not in self.unheard:
            self.send(receiver, lambda: receiver.hear(text))

    def real(self, address: Address) -> Address:
        """The node or Sentinel that this address, perhaps an announced one, leads to."""
        return self.announced.get(address, address)

    def kill_clients(self, node: Node, spare: FakeConnection | None = None) -> None:
        for connection in node.connections:
            if connection is not spare:
                connection.lost = True
        node.connections = [spare] if spare is not None else []
        node.has_writers = False

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
        address = self.real(address)
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
