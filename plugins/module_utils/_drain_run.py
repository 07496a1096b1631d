# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves many masters away from some hosts, each by the failover of one master.

Everybody is asked once for all of them, and their events come over one connection to each Sentinel. This module is private to the collection
redis_ha.sentinel.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._census import (
    take_snapshots,
    watched_masters,
    with_settings,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import PROBED_COMMANDS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain import (
    DrainPlan,
    DrainRequest,
    Row,
    pace,
    plan_drain,
    servers_on,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain_record import Ended
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import unexplained_watchers
from ansible_collections.redis_ha.sentinel.plugins.module_utils._record import Record, tried_again
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Shared
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Timeline
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import with_hellos

SNAPSHOT_IS_GOOD_S = 20.0
"""How old a snapshot may be when a move begins; what matters is looked at anew right before writes stop."""

CHANGED_SINCE = ("master_changed", "failover_started")
"""Errors of a move that began with what everybody had said before: somebody has moved the master since, and another look says what is left to do."""

EVENTS_LOST = "events-lost"
"""The channel of the entry that says that a Sentinel has closed the connection."""

OnEvent = Callable[[Address, float, Event], None]
OnEnded = Callable[[Ended], None]


def drain(
    fleet: Fleet,
    request: DrainRequest,
    clock: Clock,
    check_mode: bool = False,
    stop_requested: Callable[[], bool] = lambda: False,
    on_ended: OnEnded = lambda _ended: None,
) -> tuple[DrainPlan, dict[str, dict[str, Any]]]:
    """Move every master that is on the hosts to leave, or in check mode only plan it.

    Args:
        fleet: The clients.
        request: What the caller asks for.
        clock: Time.
        check_mode: Change nothing.
        stop_requested: Whether the user wants it to end: then no further move is begun.
        on_ended: Called with each move that has ended, by the thread that made it.

    Returns:
        Who goes where; and for each master, by name, the result of its move where one was made.

    Raises:
        RefusedError: No Sentinel can be asked, or no server is on these hosts.
    """
    began_s = clock.now_s()
    snapshots = ask_everybody(fleet, request)
    asked_at_s = clock.now_s()
    plan = plan_drain(snapshots, request)
    refused = any(row.refused for row in plan.rows)
    if check_mode or (refused and request.stop_on_failure):
        return plan, {}
    moves = Moves(fleet, request, clock, stop_requested, snapshots, asked_at_s, began_s, on_ended)
    # Where an interrupted run has left no master, writes stand still until it is finished.
    to_do = sorted((row for row in plan.rows if row.is_to_do), key=lambda row: row.moves)
    return plan, moves.make(to_do)


def ask_everybody(fleet: Fleet, request: DrainRequest) -> dict[str, Snapshot]:
    """A snapshot for each master; where one of its nodes is on a host to leave, with all that a move has to know."""
    names = request.master_names or watched_masters(fleet)
    snapshots = take_snapshots(fleet, names, settings=False, probe=True, hosts=request.hosts)
    concerned = {name: it for name, it in snapshots.items() if servers_on(it, request.hosts)}
    concerned = with_settings(fleet, concerned, PROBED_COMMANDS)
    strange = {name: it for name, it in concerned.items() if unexplained_watchers(it)}
    with ThreadPoolExecutor(max_workers=max(1, len(strange)), thread_name_prefix="hears") as pool:
        heard = dict(zip(strange, pool.map(lambda snapshot: with_hellos(fleet, snapshot), strange.values())))
    return {**snapshots, **concerned, **heard}


class Events:
    """The events of the Sentinels, over one connection to each, handed to the runs that they are about."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._lock = threading.Lock()
        self._heard: dict[Address, str] = {}
        self._runs: dict[str, dict[Address, OnEvent]] = {}

    def subscribe(self, master_name: str, sentinel: Address, on_event: OnEvent) -> None:
        """Hand the events of a Sentinel about a master, and those about no master, to a run.

        Raises:
            LinkError: The Sentinel sends no events to us.
        """
        with self._lock:
            if sentinel not in self._heard:
                self._heard[sentinel] = self._begin(sentinel)
            if self._heard[sentinel]:
                raise LinkError(str(sentinel), self._heard[sentinel])
            self._runs = {**self._runs, master_name: {**self._runs.get(master_name, {}), sentinel: on_event}}

    def _begin(self, sentinel: Address) -> str:
        """Listen; nothing, or why that is not possible. It is tried once for all runs."""
        try:
            self._fleet.listen(sentinel, self._hand_on)
        except LinkError as error:
            return error.message
        return ""

    def leave(self, master_name: str) -> None:
        """Hand on nothing more about a master."""
        with self._lock:
            self._runs = {name: them for name, them in self._runs.items() if name != master_name}

    def _hand_on(self, sentinel: Address, at_s: float, event: Event) -> None:
        if event.channel == EVENTS_LOST:
            with self._lock:
                self._heard.pop(sentinel, None)
        runs = self._runs
        for name in [event.master_name] if event.master_name else list(runs):
            on_event = runs.get(name, {}).get(sentinel)
            if on_event is not None:
                on_event(sentinel, at_s, event)


@dataclass
class Moves:
    """The moves of a drain: some at once, each by the failover of one master.

    Attributes:
        fleet: The clients; each thread has others, of its own.
        request: What the caller asks for.
        clock: Time.
        stop_requested: Whether the user wants it to end.
        snapshots: What everybody said.
        asked_at_s: When, in monotonic seconds.
        began_s: When the drain began, in monotonic seconds.
        on_ended: Called with each move that has ended.
    """

    fleet: Fleet
    request: DrainRequest
    clock: Clock
    stop_requested: Callable[[], bool]
    snapshots: Mapping[str, Snapshot]
    asked_at_s: float
    began_s: float
    on_ended: OnEnded
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def make(self, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
        """Make them; the result of each, by the name of its master. One that was not begun has none."""
        self._events = Events(self.fleet)
        self._write_stop = threading.Lock()
        self._failed = threading.Event()
        self._turn = threading.Condition()
        self._under_way, self._at_once = 0, self.request.max_parallel
        self._count = len(rows)
        waiting: queue.SimpleQueue[Row] = queue.SimpleQueue()
        for row in rows:
            waiting.put(row)
        workers = min(self.request.max_parallel, len(rows))
        with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="moves") as pool:
            for ended in [pool.submit(self._work, waiting) for _worker in range(workers)]:
                ended.result()
        return self.results

    def _work(self, waiting: queue.SimpleQueue[Row]) -> None:
        fleet = self.fleet.another()
        try:
            while self._work_on_next(fleet, waiting):
                pass
        finally:
            fleet.close()

    def _work_on_next(self, fleet: Fleet, waiting: queue.SimpleQueue[Row]) -> bool:
        """See to one master, when its turn has come; whether there may be another."""
        with self._turn:
            self._turn.wait_for(lambda: self._under_way < self._at_once)
            self._under_way += 1
        recheck_ms: float | None = None
        try:
            if self.stop_requested() or (self.request.stop_on_failure and self._failed.is_set()):
                return False
            row = waiting.get_nowait()
            result = self._move(fleet, row)
            self._put_down(row, result)
            recheck_ms = result["phases_ms"].get("recheck")
            if result.get("failed"):
                self._failed.set()
            return True
        except queue.Empty:
            return False
        finally:
            with self._turn:
                self._under_way -= 1
                self._at_once = pace(self._at_once, self.request.max_parallel, recheck_ms)
                self._turn.notify_all()

    def _put_down(self, row: Row, result: dict[str, Any]) -> None:
        with self._turn:
            self.results[row.name] = result
            at_ms = 1000 * (self.clock.now_s() - self.began_s)
            self.on_ended(Ended(at_ms, len(self.results), self._count, row, result))

    def _move(self, fleet: Fleet, row: Row) -> dict[str, Any]:
        is_good = row.moves and self.clock.now_s() - self.asked_at_s <= SNAPSHOT_IS_GOOD_S
        result = self._fail_over(fleet, row, self.snapshots[row.name] if is_good else None)
        if is_good and result["error"] in CHANGED_SINCE:
            result = tried_again(result, self._fail_over(fleet, row, None))
        return result

    def _fail_over(self, fleet: Fleet, row: Row, snapshot: Snapshot | None) -> dict[str, Any]:
        timeline = Timeline(self.clock)
        shared = Shared(
            snapshot=snapshot,
            listen=lambda sentinel, on_event: self._events.subscribe(row.name, sentinel, on_event),
            write_stop=lambda: self._write_stop,
        )
        run = Run(fleet, row.request, self.clock, timeline, self.stop_requested, record=Record(), shared=shared)
        try:
            return fail_over(run)
        finally:
            # The lock of this master ends with its connection.
            fleet.close_nodes()
            self._events.leave(row.name)
