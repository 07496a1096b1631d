# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at every node and every Sentinel of one master, many times a second, and notes what changes.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._automatic import (
    SILENT_S,
    LastAnswer,
    NodeState,
    Watched,
    replicas_to_wait_for,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    Event,
    parse_info,
    parse_replication,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot

LOOK_EVERY_S = 0.02
ANSWER_WITHIN_S = 0.5
"""How long an answer may take. A master whose process is stopped takes a question and never answers it."""


class Watcher:
    """Watches as long as the ``with`` block lasts. Each server is asked by a thread of its own.

    Args:
        fleet: The clients.
        snapshot: Who is who when the watch begins.
        old_master: The master that is to fall silent.
    """

    def __init__(self, fleet: Fleet, snapshot: Snapshot, old_master: Address) -> None:
        self._fleet = fleet
        self._snapshot = snapshot
        self._old = old_master
        self._began_s = time.monotonic()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._states: dict[Address, list[NodeState]] = {}
        self._last: dict[Address, LastAnswer] = {}
        self._ended_at: dict[Address, int] = {}
        self._named: dict[Address, list[tuple[float, Address | None]]] = {}
        self._heard_s: dict[Address, float] = {}
        self._spelled = {fleet.endpoint(node.address): node.address for node in snapshot.nodes}
        self._events: list[tuple[Address, float, Event]] = []
        self.deaf: dict[Address, str] = {}
        nodes = [node.address for node in snapshot.nodes if node.reachable]
        self._sentinels = [view.address for view in snapshot.informed_sentinels]
        looks: list[tuple[Callable[[Address], None], Address]] = [(self._look_at_node, address) for address in nodes]
        looks += [(self._look_at_sentinel, address) for address in self._sentinels]
        self._threads = [
            threading.Thread(target=self._look_until_over, args=(look, address), daemon=True) for look, address in looks
        ]

    def __enter__(self) -> Watcher:
        for address in self._sentinels:
            try:
                self._fleet.listen(address, self._on_event)
            except LinkError as error:
                self.deaf[address] = str(error)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def seen(self) -> Watched:
        """Everything that was seen so far."""
        with self._lock:
            current = {address: rows[-1] for address, rows in self._states.items()}
            masters = [address for address, state in current.items() if state.is_master and address != self._old]
            return Watched(
                master_name=self._snapshot.master_name,
                old_master=self._old,
                began_s=self._began_s,
                states={address: tuple(rows) for address, rows in self._states.items()},
                last_answers=dict(self._last),
                named={address: tuple(rows) for address, rows in self._named.items()},
                events=tuple(self._events),
                history_ended_at=self._ended_at.get(masters[0]) if len(masters) == 1 else None,
                waited_for=replicas_to_wait_for(
                    ((node.address, node.reachable) for node in self._snapshot.nodes), self._old
                ),
                # A Sentinel that stands on the host that was stopped is as silent as the master.
                asked=frozenset(address for address, rows in self._named.items() if rows[-1][1] is not None),
            )

    def _on_event(self, sentinel: Address, at_s: float, event: Event) -> None:
        with self._lock:
            self._events.append((sentinel, at_s, event))

    def _look_until_over(self, look: Callable[[Address], None], address: Address) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            look(address)

    def _look_at_node(self, address: Address) -> None:
        try:
            reply: Any = self._fleet.node(address).ask("INFO", "replication", timeout_s=ANSWER_WITHIN_S)
        except (LinkError, ReplyError):
            silent_s = self._silent_since_s(address)
            if silent_s is not None:
                self._note_node(address, NodeState(silent_s, answers=False))
            return
        answered_s = time.monotonic()
        found = parse_replication(parse_info(reply))
        with self._lock:
            self._heard_s[address] = answered_s
            self._last[address] = LastAnswer(answered_s, found.offset)
            if found.is_master and found.second_offset >= 0:
                # It is the offset at which the new history begins.
                self._ended_at[address] = found.second_offset - 1
        self._note_node(address, NodeState(answered_s, True, found.is_master, self._known(found.master), found.link_up))

    def _silent_since_s(self, address: Address) -> float | None:
        """When a server has said its last word, if that is long ago."""
        heard_s = self._heard_s.get(address, self._began_s)
        return heard_s if time.monotonic() - heard_s >= SILENT_S else None

    def _known(self, master: Address | None) -> Address | None:
        """An address as the watch spells it; a node may have another name for its master."""
        return None if master is None else self._spelled.get(self._fleet.endpoint(master), master)

    def _note_node(self, address: Address, state: NodeState) -> None:
        with self._lock:
            rows = self._states.setdefault(address, [])
            if not rows or _differ(rows[-1], state):
                rows.append(state)

    def _look_at_sentinel(self, address: Address) -> None:
        try:
            reply: Any = self._fleet.sentinel(address).ask(
                "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._snapshot.master_name, timeout_s=ANSWER_WITHIN_S
            )
        except (LinkError, ReplyError):
            silent_s = self._silent_since_s(address)
            if silent_s is not None:
                self._note_name(address, silent_s, None)
            return
        self._heard_s[address] = time.monotonic()
        named = self._known(Address(str(reply[0]), int(reply[1]))) if reply else None
        self._note_name(address, self._heard_s[address], named)

    def _note_name(self, address: Address, at_s: float, named: Address | None) -> None:
        with self._lock:
            rows = self._named.setdefault(address, [])
            if not rows or rows[-1][1] != named:
                rows.append((at_s, named))


def _differ(one: NodeState, other: NodeState) -> bool:
    return (one.answers, one.is_master, one.follows, one.link_up) != (
        other.answers,
        other.is_master,
        other.follows,
        other.link_up,
    )
