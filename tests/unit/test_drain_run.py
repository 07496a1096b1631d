# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many moves at once: how many, in which order, when no further one is begun, and whose events they are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import PROBED_COMMANDS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import ConnectionOptions, Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain import DrainPlan, DrainRequest, Row
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain_record import Ended
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain_run import (
    EVENTS_LOST,
    Events,
    Moves,
    drain,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import MOVE, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Shared
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import AGREED, DISCONNECTED, FENCE_RAISED
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Timeline
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot
from unit.builders import L0, NAME, OM, R, S
from unit.fake_connection import FakeClock, FakeFleet
from unit.faults import Fault
from unit.runs import assert_never_split, late, masters, prefer
from unit.world import World

LONG_S = 20.0


class ScriptedMoves(Moves):
    """Moves nothing: what becomes of each master is written down."""

    outcomes: dict[str, str]
    begun: list[str]
    ended: list[Ended]
    meet: threading.Barrier | None = None
    recheck_ms = 1.0

    def _move(self, fleet: Fleet, row: Row) -> dict[str, Any]:
        self.begun.append(row.name)
        if self.meet is not None:
            self.meet.wait()
        outcome = self.outcomes.get(row.name, "switched")
        return {"outcome": outcome, "failed": outcome != "switched", "phases_ms": {"recheck": self.recheck_ms}}


def moves(stop_requested: Callable[[], bool] = lambda: False, **request: Any) -> ScriptedMoves:
    fleet = Fleet(ConnectionOptions(()))
    ended: list[Ended] = []
    wanted = DrainRequest(("10.0.0.1",), Request(""), **request)
    made = ScriptedMoves(fleet, wanted, Clock(), stop_requested, {}, 0.0, began_s=0.0, on_ended=ended.append)
    made.outcomes, made.begun, made.ended = {}, [], ended
    return made


def rows(count: int) -> list[Row]:
    return [Row(f"m-{number}", Request(f"m-{number}"), Plan(MOVE, OM)) for number in range(count)]


def test_as_many_at_once_as_may_be() -> None:
    """Each waits for three others: with fewer at once none would ever end."""
    made = moves(max_parallel=4)
    made.meet = threading.Barrier(4, timeout=LONG_S)
    assert len(made.make(rows(8))) == 8


def test_never_more_at_once_than_may_be() -> None:
    """Each waits for two others, who cannot come."""
    made = moves(max_parallel=2)
    made.meet = threading.Barrier(3, timeout=0.2)
    with pytest.raises(threading.BrokenBarrierError):
        made.make(rows(6))


def test_one_at_a_time_once_everybody_answers_slowly() -> None:
    """The first two meet; later each of them would wait for another in vain."""
    made = moves(max_parallel=2)
    made.recheck_ms = 500.0
    made.meet = threading.Barrier(2, timeout=0.2)
    with pytest.raises(threading.BrokenBarrierError):
        made.make(rows(6))
    assert len(made.results) == 2


def test_one_after_the_other_keeps_the_order() -> None:
    made = moves(max_parallel=1)
    made.make(rows(5))
    assert made.begun == [f"m-{number}" for number in range(5)]


def test_one_that_fails_does_not_stop_the_others() -> None:
    made = moves(max_parallel=1)
    made.outcomes = {"m-1": "aborted"}
    assert len(made.make(rows(4))) == 4


def test_each_move_that_has_ended_is_told_once_and_how_many_there_are() -> None:
    made = moves(max_parallel=2)
    made.make(rows(3))
    assert [(ended.count, ended.of) for ended in made.ended] == [(1, 3), (2, 3), (3, 3)]
    assert {ended.row.name for ended in made.ended} == {"m-0", "m-1", "m-2"}


def test_if_asked_no_further_one_is_begun_once_one_has_failed() -> None:
    made = moves(max_parallel=1, stop_on_failure=True)
    made.outcomes = {"m-1": "aborted"}
    assert list(made.make(rows(4))) == ["m-0", "m-1"]


def test_a_request_to_end_is_heard_before_each_move() -> None:
    made: ScriptedMoves = moves(lambda: len(made.begun) >= 2, max_parallel=1)
    assert list(made.make(rows(4))) == ["m-0", "m-1"]


def test_nothing_to_do_is_done_at_once() -> None:
    assert moves().make([]) == {}


# ---- one of the moves ------------------------------------------------------------------------------------------------


def test_a_move_takes_the_snapshot_that_it_is_handed_and_has_the_write_stop_to_itself() -> None:
    """Whoever shares the write stop holds it from the last look before the fence until every Sentinel names the new master."""
    world = World()
    fleet, clock = FakeFleet(world), FakeClock(world)
    snapshot = take_snapshot(fleet, NAME, PROBED_COMMANDS)
    timeline = Timeline(clock)
    kinds: dict[str, list[str]] = {}

    @contextmanager
    def write_stop() -> Iterator[None]:
        kinds["before"] = [entry["kind"] for entry in timeline.as_result()]
        yield
        kinds["after"] = [entry["kind"] for entry in timeline.as_result()]

    run = Run(fleet, Request(NAME), clock, timeline, shared=Shared(snapshot, write_stop=write_stop))
    try:
        result = fail_over(run)
    finally:
        fleet.close()
    assert result["outcome"] == "switched"
    assert run.snapshot is snapshot
    held = kinds["after"][len(kinds["before"]) :]
    assert FENCE_RAISED not in kinds["before"]
    assert FENCE_RAISED in held
    assert AGREED in held
    assert DISCONNECTED not in held


def test_where_sentinel_promotes_nobody_waits_for_the_write_stop_of_another() -> None:
    world = World()
    fleet, clock = FakeFleet(world), FakeClock(world)

    def write_stop() -> AbstractContextManager[object]:
        raise AssertionError("it takes more than a second, and is Sentinel's own time")

    request = Request(NAME, promotion="sentinel")
    run = Run(fleet, request, clock, Timeline(clock), shared=Shared(write_stop=write_stop))
    try:
        assert fail_over(run)["outcome"] == "switched"
    finally:
        fleet.close()


# ---- events ----------------------------------------------------------------------------------------------------------


class Stations(Fleet):
    """Sentinels that send what a test has them send."""

    def __init__(self, *deaf: Address) -> None:
        super().__init__(ConnectionOptions(()))
        self.deaf = deaf
        self.on_event: list[Callable[[Address, float, Event], None]] = []

    def listen(self, address: Address, on_event: Callable[[Address, float, Event], None]) -> None:
        if address in self.deaf:
            raise LinkError(str(address), "it sends no events: no")
        self.on_event.append(on_event)

    def send(self, channel: str, master_name: str) -> None:
        self.on_event[-1](L0, 1.0, Event(channel, "", master_name, None))


def hear(channels: list[str], _address: Address, _at_s: float, event: Event) -> None:
    channels.append(event.channel)


def test_each_run_gets_what_is_about_its_master_and_what_is_about_none() -> None:
    fleet = Stations()
    events, heard = Events(fleet), dict[str, list[str]]()
    for name in ("m-0", "m-1"):
        heard[name] = []
        events.subscribe(name, L0, partial(hear, heard[name]))
    fleet.send("+new-epoch", "")
    fleet.send("+try-failover", "m-0")
    fleet.send("+try-failover", "m-7")
    events.leave("m-0")
    fleet.send("+switch-master", "m-0")
    assert heard == {"m-0": ["+new-epoch", "+try-failover"], "m-1": ["+new-epoch"]}


def test_each_sentinel_is_listened_to_once_and_again_when_it_has_gone() -> None:
    fleet = Stations()
    events = Events(fleet)
    for name in ("m-0", "m-1"):
        events.subscribe(name, L0, lambda *_event: None)
    assert len(fleet.on_event) == 1
    fleet.send(EVENTS_LOST, "")
    events.subscribe("m-2", L0, lambda *_event: None)
    assert len(fleet.on_event) == 2


def test_a_sentinel_that_sends_no_events_is_asked_once_and_every_run_is_told() -> None:
    events = Events(Stations(L0))
    for name in ("m-0", "m-1"):
        with pytest.raises(LinkError, match="it sends no events"):
            events.subscribe(name, L0, lambda *_event: None)


# ---- a whole drain ---------------------------------------------------------------------------------------------------


class DrainedFleet(FakeFleet):
    """The clients of a drain: each thread has others, of its own, on the same model."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.others: list[FakeFleet] = []

    def another(self) -> FakeFleet:
        self.others.append(FakeFleet(self._world))
        return self.others[-1]


def drained(
    world: World, hosts: tuple[str, ...], check_mode: bool = False, **request: Any
) -> tuple[DrainPlan, dict[str, dict[str, Any]], list[Ended]]:
    """A drain of the model, one move at a time: the model knows no threads."""
    fleet, ended = DrainedFleet(world), list[Ended]()
    wanted = DrainRequest(hosts, Request(""), (NAME,), max_parallel=1, **request)
    try:
        plan, results = drain(fleet, wanted, FakeClock(world), check_mode, on_ended=ended.append)
    finally:
        fleet.close()
    assert not [client for other in fleet.others for client in other._fakes.values() if client._connection is not None]
    return plan, results, ended


def assert_untouched(world: World) -> None:
    assert (world.failovers, world.demotions, masters(world)) == ([], [], [OM])
    assert world.nodes[OM].pause_until_s == 0.0
    assert all(node.settings == node.rewritten for node in world.nodes.values())


def test_the_master_on_the_host_to_leave_is_moved_off_it_and_loses_nothing() -> None:
    world = World()
    plan, results, ended = drained(world, (OM.host,))
    assert [(row.name, row.action) for row in plan.rows] == [(NAME, MOVE)]
    assert (results[NAME]["outcome"], results[NAME]["lossless"]) == ("switched", True)
    assert masters(world) == [R]
    assert world.lost() == 0
    (told,) = [one.as_result() for one in ended]
    assert (told["count"], told["of"], told["master"]["outcome"]) == (1, 1, "switched")
    assert told["at_ms"] >= results[NAME]["write_gap_ms"]
    assert_never_split(world)


def test_where_sentinel_promoted_another_replica_the_master_goes_on_to_the_one_that_it_was_given() -> None:
    world = World()
    late(world)
    _plan, results, ended = drained(world, (OM.host,))
    assert (results[NAME]["outcome"], results[NAME]["new_master"]) == ("switched", R.as_result())
    assert (results[NAME]["lossless"], world.lost(), masters(world)) == (True, 0, [R])
    assert len(ended) == 1
    assert_never_split(world)


def test_in_check_mode_it_is_said_and_not_done() -> None:
    world = World()
    plan, results, ended = drained(world, (OM.host,), check_mode=True)
    assert [(row.action, row.plan and row.plan.new_master) for row in plan.rows] == [(MOVE, R)]
    assert (results, ended) == ({}, [])
    assert_untouched(world)


def test_if_asked_nothing_is_moved_where_one_cannot_be() -> None:
    world = World()
    world.nodes[R].alive = world.nodes[S].alive = False
    world.advance(30.0)
    plan, results, _ended = drained(world, (OM.host,), stop_on_failure=True)
    assert [row.action for row in plan.rows] == ["refused"]
    assert results == {}
    assert_untouched(world)


def test_a_master_that_is_elsewhere_stays() -> None:
    world = World()
    plan, results, _ended = drained(world, (R.host,))
    assert [row.is_to_do for row in plan.rows] == [False]
    assert results == {}
    assert masters(world) == [OM]


@pytest.mark.parametrize(("since_s", "outcome"), [(0.0, "switched"), (15.0, "unchanged")], ids=["begins", "has ended"])
def test_a_move_that_somebody_made_since_all_were_asked_is_joined_or_found_done(since_s: float, outcome: str) -> None:
    world = World()

    def operator() -> None:
        world.start_failover(world.sentinels[L0])
        world.advance(since_s)

    world.faults.append(Fault("run", "CLIENT SETNAME", action=operator))
    _plan, results, ended = drained(world, (OM.host,))
    assert (results[NAME]["outcome"], results[NAME]["error"]) == (outcome, None), results
    assert len(ended) == 1
    assert masters(world) != [OM]
    assert not world.sent(f"SENTINEL FAILOVER {NAME}"), "theirs is the only one"


def test_a_replica_that_was_to_follow_is_left_alone_if_the_master_was_moved_to_it_since_all_were_asked() -> None:
    """An interrupted run had not told S whom to follow. Told now, it would be a replica of the one that follows it."""
    world = World()
    straggler = world.nodes[S]
    straggler.master = straggler.shown_master = R
    world.nodes[R].feeds = True

    def operator() -> None:
        prefer(world, S)
        world.start_failover(world.sentinels[L0])
        world.advance(15.0)

    told = Fault("run", "REPLICAOF 10.", S, alone=True)
    world.faults += [Fault("run", "CLIENT SETNAME", action=operator), told]
    _plan, results, _ended = drained(world, (OM.host,))
    assert told.struck == 0
    assert (results[NAME]["outcome"], results[NAME]["new_master"], masters(world)) == ("unchanged", S.as_result(), [S])


def test_what_was_put_back_before_somebody_moved_the_master_is_told_though_nothing_is_left_to_do() -> None:
    world = World()
    world.nodes[S].settings["replica-priority"] = "1000000100"

    def operator() -> None:
        world.start_failover(world.sentinels[L0])
        world.advance(15.0)

    world.faults.append(Fault("run", "INFO replication", OM, alone=True, action=operator))
    _plan, results, ended = drained(world, (OM.host,))
    assert (results[NAME]["outcome"], results[NAME]["error"], masters(world)) == ("unchanged", None, [R])
    assert world.nodes[S].settings["replica-priority"] == "100"
    assert results[NAME]["repaired"] == [f"put back on {S}: replica-priority 100"]
    assert results[NAME]["changed"]
    assert ended[0].as_result()["master"]["changed"]
