# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where Sentinel promotes another replica than the one that was asked for, the run goes on from there, once; where it may not, it says so."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils import _failover
from ansible_collections.redis_ha.sentinel.plugins.module_utils._decide import decide
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import GO_ON_WAIT_S, fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Entry, Timeline
from unit.builders import L0, L1, NAME, OM, S2, R, S
from unit.fake_connection import FakeClock, FakeFleet
from unit.faults import Fault, text
from unit.runs import LONG_ENOUGH_S, assert_never_split, assert_truthful, attempt, killed, late, masters, prefer, run
from unit.world import World

TRIGGER = f"SENTINEL FAILOVER {NAME}"
DEMOTE = "REPLICAOF 10."
PROMOTE = "REPLICAOF NO ONE"


def named(world: World) -> set[Address | None]:
    return {sentinel.named for sentinel in world.sentinels.values()}


def wait_until(world: World, come: Callable[[], bool]) -> None:
    """Let time pass until it has come about."""
    deadline_s = world.now_s + 60.0
    while not come():
        assert world.now_s < deadline_s
        world.advance(0.005)


def steps(result: dict[str, Any]) -> list[str]:
    return [entry["step"] for entry in result["timeline"] if entry["kind"] == "step_begins"]


def test_it_goes_on_to_the_target() -> None:
    world = World(1)
    late(world)
    result = run(world, target=R, expected_master=OM)
    assert (result["outcome"], result["error"], result["lossless"]) == ("switched", None, True)
    assert (result["old_master"], result["new_master"]) == (OM.as_result(), R.as_result())
    assert result["diff"] == {"before": {"master": str(OM)}, "after": {"master": str(R)}}
    assert named(world) == set(masters(world)) == {R}
    assert (world.lost(), len(world.sent(TRIGGER))) == (0, 2)
    assert_truthful(world, result)
    assert_never_split(world)


def test_the_result_tells_of_both_moves() -> None:
    world = World(1)
    late(world)
    result = run(world, target=R)
    assert f"Sentinel promoted {S} instead of {R}" in result["notes"]
    assert [note for note in result["notes"] if "writes stood still twice" in note]
    assert steps(result).count("fence") == 2
    assert [entry["subject"] for entry in result["timeline"] if entry["kind"] == "goes_on"] == [str(S)]
    assert result["plan"]["new_master"] == R.as_result()
    assert f"target={OM} expected_master={R}" in result["way_back"]
    gaps_ms = [float(word) for note in result["notes"] if "twice" in note for word in note.split() if word[0].isdigit()]
    assert len(gaps_ms) == 2
    assert result["write_gap_ms"] == max(gaps_ms)
    assert all(str(address) in result["lossless_reason"] for address in (S, R))


def test_without_a_target_it_stays_where_sentinel_put_it() -> None:
    world = World(1)
    late(world)
    result = run(world)
    assert (result["outcome"], result["new_master"]) == ("switched", S.as_result())
    assert len(world.sent(TRIGGER)) == 1


def test_finished_on_a_host_to_leave_it_leaves_that_host() -> None:
    world = World(1)
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=R)
    result = run(world, avoid=(R.host,))
    assert (result["outcome"], result["old_master"], result["lossless"]) == ("switched", OM.as_result(), True)
    assert masters(world)[0] != R
    assert world.lost() == 0


def test_it_stays_on_a_host_to_leave_where_no_other_is_fit() -> None:
    world = World(1)
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=R)
    result = run(world, avoid=(R.host, OM.host, S.host))
    assert (result["outcome"], result["error"]) == ("incomplete", "left_to_do")
    assert f"the master is {R}, on a host to leave" in result["msg"]
    assert masters(world) == [R]


def test_it_waits_for_a_sentinel_that_does_not_see_the_replica_yet() -> None:
    world = World(1)
    late(world)
    world.faults.append(
        Fault("refuse", "SENTINEL REPLICAS", L0, skip=8, times=3, error="ERR No such master with that name")
    )
    result = run(world, target=R)
    assert (result["outcome"], result["new_master"]) == ("switched", R.as_result())


@pytest.mark.parametrize("how", ["dead", "silent"])
def test_it_stays_where_it_is_if_the_target_is_no_longer_fit(how: str) -> None:
    world = World(1)

    def fall() -> None:
        if how == "dead":
            world.nodes[R].alive = False
        else:
            world.cut_off.add(R)

    late(world, then=lambda: world.at(world.now_s + 1.6, fall))
    began_s = world.now_s
    result = run(world, target=R)
    assert (result["outcome"], result["new_master"], result["lossless"]) == ("incomplete", S.as_result(), True)
    assert named(world) == {S}
    assert world.lost() == 0
    assert world.now_s - began_s < 45 + GO_ON_WAIT_S + 10


def test_it_is_moved_on_behind_a_fence_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A master that dies before that is Sentinel's to see to: nobody has asked for a failover that may lose writes."""
    asked: list[Request] = []

    def decided(snapshot: Snapshot, request: Request, deaf: Collection[Address]) -> Plan:
        asked.append(request)
        return decide(snapshot, request, deaf)

    monkeypatch.setattr(_failover, "decide", decided)
    world = World(1)
    late(world)
    run(world, target=R, avoid=(OM.host,), accept_loss=True)
    assert [(it.strategy, it.target, it.avoid, it.expected_master) for it in asked] == [("fenced", R, (), S)]


def test_a_move_on_that_is_refused_is_told() -> None:
    world = World(1)
    late(world)
    world.faults.append(Fault("refuse", "CLIENT LIST", S, times=999, error="NOPERM none"))
    result = run(world, target=R)
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "left_to_do", True)
    assert result["new_master"] == S.as_result()
    assert f"the master is {S}, not {R}: run again to move it there" in result["msg"]
    assert [note for note in result["notes"] if note.startswith("it was not moved on: ") and "NOPERM" in note]
    assert steps(result).count("fence") == 1
    assert_never_split(world)


def run_told(
    world: World, on_entry: Callable[[Entry], None], stop_requested: Callable[[], bool] = lambda: False, **request: Any
) -> dict[str, Any]:
    """A run, of which each entry is handed on."""
    clock, fleet = FakeClock(world), FakeFleet(world)
    wanted = Request(NAME, **{"timeout_s": LONG_ENOUGH_S, **request})
    try:
        return fail_over(Run(fleet, wanted, clock, Timeline(clock, on_entry), stop_requested))
    finally:
        world.listeners.clear()
        fleet.close()


def test_what_a_move_on_that_came_to_nothing_has_left_is_told() -> None:
    world = World(1)
    cut: list[bool] = []

    def cut_off() -> None:
        cut.append(True)
        world.cut_off.add(OM)

    raised = Fault(
        "run", "CONFIG SET replica-priority 1000000100", OM, action=lambda: world.at(world.now_s + 0.01, cut_off)
    )
    world.faults += [Fault("run", DEMOTE, OM, action=lambda: prefer(world, S)), raised]
    result = run_told(world, lambda _entry: None, lambda: bool(cut), target=R, promotion="sentinel")
    assert (result["outcome"], result["new_master"]) == ("incomplete", S.as_result())
    assert world.nodes[OM].settings["replica-priority"] == "1000000100"
    assert "it was not moved on: the run was asked to end" in result["notes"]
    assert [note for note in result["notes"] if note.startswith(f"{OM}: set replica-priority back to 100")]


def test_how_long_writes_stood_still_for_a_move_on_that_was_given_up_counts_too() -> None:
    world = World(1)
    late(world)

    def stick(entry: Entry) -> None:
        if entry.kind == "step_begins" and entry.step == "teach" and not world.nodes[OM].is_master:
            world.nodes[R].stuck = True

    result = run_told(world, stick, target=R, catch_up_timeout_s=2.0)
    assert (result["outcome"], result["new_master"]) == ("incomplete", S.as_result())
    assert 1900 < result["write_gap_ms"] < 2100
    assert [note for note in result["notes"] if "writes stood still twice: 11" in note and " ms and 20" in note]


@pytest.mark.parametrize("kind", ["unknown", "aborted"])
def test_where_it_is_not_known_how_long_writes_stood_still_no_time_is_told(kind: str) -> None:
    world = World(1)
    late(world)
    lost = Fault("hang_before", DEMOTE, S) if kind == "unknown" else Fault("refuse", DEMOTE, S, error="ERR no")

    def lose(entry: Entry) -> None:
        if entry.kind == "goes_on":
            world.faults.append(lost)
        if kind == "unknown" and lost.struck:
            world.cut_off.add(S)

    result = run_told(world, lose, target=R)
    assert lost.struck
    assert result["outcome"] == ("unknown" if kind == "unknown" else "incomplete")
    assert result["write_gap_ms"] is None
    assert [note for note in result["notes"] if note.endswith("ms and a time that is not known")]


def test_how_long_writes_stood_still_before_an_interrupted_run_was_finished_is_not_known() -> None:
    world = World(1)
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=S)
    world.advance(10.0)
    result = run(world, target=R)
    assert (result["outcome"], result["write_gap_ms"]) == ("switched", None)
    assert result["fenced_at"] is not None
    assert [note for note in result["notes"] if "writes stood still twice: a time that is not known and " in note]


def test_a_master_that_somebody_moved_while_it_was_to_be_moved_on_is_named() -> None:
    world = World(1)
    late(world)

    def operator() -> None:
        prefer(world, OM)
        world.start_failover(world.sentinels[L1])

    def wait(entry: Entry) -> None:
        if entry.kind == "goes_on":
            shown = Fault("refuse", "SENTINEL REPLICAS", L0, times=6, error="ERR No such master with that name")
            world.faults.append(shown)
            world.at(world.now_s + 0.5, operator)

    result = run_told(world, wait, target=R)
    assert named(world) == {OM}
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "moved_on", False)
    assert (result["new_master"], result["diff"]["after"]["master"]) == (OM.as_result(), str(OM))
    assert f"the master was moved to {S}, and Sentinel has failed over from there to {OM}" in result["msg"]
    assert result["way_back"] is None


def test_a_fault_of_the_program_in_the_move_on_is_to_be_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(_failover, "_speaks_against", fault)
    world = World(1)
    late(world)
    result = attempt(world, target=R)
    assert (result["outcome"], result["new_master"]) == ("incomplete", S.as_result())
    assert [note for note in result["notes"] if "KeyError in fault" in note and "please report it" in note]


def test_it_goes_on_once_only() -> None:
    world = World(1)
    late(world)
    world.faults.append(Fault("run", DEMOTE, S, action=lambda: prefer(world, OM)))
    world.faults.append(Fault("stall", TRIGGER, delay_s=0.15))
    result = run(world, target=R)
    assert (result["outcome"], result["new_master"], result["old_master"]) == (
        "incomplete",
        OM.as_result(),
        OM.as_result(),
    )
    assert result["way_back"] is None, "it is back already"
    assert len(world.sent(TRIGGER)) == 2
    assert world.lost() == 0


def test_what_may_have_lost_writes_is_moved_on_and_not_called_lossless() -> None:
    """Sentinel names another replica than ours, which was a master too: what a proxy has sent to ours nobody can show."""
    world = World(2)

    def rival() -> None:
        prefer(world, S)
        world.start_failover(world.sentinels[L1])

    world.faults.append(Fault("run", PROMOTE, R, alone=True, action=rival))
    result = run(world, target=R)
    assert (result["outcome"], result["new_master"], result["lossless"]) == ("switched", R.as_result(), False)
    assert f"{R} was made a master too" in result["lossless_reason"]
    assert_never_split(world)


def test_what_was_not_fenced_is_not_moved_on() -> None:
    """It may have lost writes, and would again."""
    world = World(1)
    world.faults.append(Fault("run", TRIGGER, L0, action=lambda: prefer(world, S)))
    result = run(world, target=R, strategy="plain", accept_loss=True)
    assert (result["outcome"], result["new_master"]) == ("incomplete", S.as_result())
    assert len(world.sent(TRIGGER)) == 1


def test_it_does_not_go_on_to_a_target_on_a_host_to_leave() -> None:
    """What an interrupted run began is finished first, whatever is asked for."""
    world = World(1)
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=S)
    result = run(world, target=R, avoid=(R.host,))
    assert (result["outcome"], result["error"], result["new_master"]) == ("incomplete", "left_to_do", S.as_result())
    assert f"{R} is on a host to leave: name a target on another host" in result["msg"]
    assert masters(world) == [S]


def test_it_does_not_wait_to_go_on_where_the_servers_have_another_name_too() -> None:
    """Nothing is moved under two names, and no other name goes away by itself."""
    world = World(1)
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=S)
    for sentinel in world.sentinels.values():
        sentinel.other_names = ("another",)
    began_s = world.now_s
    result = run(world, target=R)
    assert (result["plan"]["action"], result["outcome"], result["new_master"]) == (
        "finish",
        "incomplete",
        S.as_result(),
    )
    assert f"the master is {S}, not {R}" in result["msg"]
    assert world.now_s - began_s < GO_ON_WAIT_S


def test_a_failover_that_was_joined_is_not_worked_against() -> None:
    world = World(1)
    for seen in world.sentinels[L1].seen.values():
        seen.at_s = world.now_s
    world.sentinels[L1].seen[S].priority = 1
    world.start_failover(world.sentinels[L1])
    result = run(world, target=R)
    assert (result["outcome"], result["new_master"]) == ("incomplete", S.as_result())
    assert not world.sent(TRIGGER)


def test_a_coordinated_failover_of_somebody_else_is_not_moved_on() -> None:
    """It makes the old master a replica first, as an interrupted run of ours does."""
    world = World(1)
    prefer(world, S)
    leader = world.sentinels[L1]
    leader.begin(forced=True)
    leader.hands_over = True
    wait_until(world, lambda: leader.state == "wait_promotion")
    assert not world.nodes[OM].is_master
    result = run(world, target=R)
    assert (result["plan"]["action"], result["outcome"], result["new_master"]) == (
        "join",
        "incomplete",
        S.as_result(),
    )
    assert f"the master is {S}, not {R}: run again to move it there" in result["msg"]
    assert not world.sent(TRIGGER)


def test_a_failover_of_somebody_else_is_not_moved_on_though_sentinel_has_demoted_the_old_master() -> None:
    """Its leader waits for a slow copy; another Sentinel follows the new master already, and has made the old one a replica."""
    world = World(1, replicas=(R, S, S2))
    prefer(world, S)
    slow = world.nodes[S2]
    slow.stuck, slow.linked = True, False
    world.start_failover(world.sentinels[L1])
    wait_until(world, lambda: not world.nodes[OM].is_master)
    assert world.sentinels[L1].state == "reconf_slaves"
    world.at(world.now_s + 5.0, lambda: setattr(slow, "stuck", False))
    result = run(world, target=R)
    assert (result["plan"]["action"], result["outcome"], result["new_master"]) == (
        "join",
        "incomplete",
        S.as_result(),
    )
    assert not world.sent(TRIGGER)


def test_a_failover_that_an_interrupted_run_began_is_moved_on_though_sentinel_has_seen_the_promotion() -> None:
    """The old master follows the replica that the run had wanted. Sentinel would have led it to the one that it promoted."""
    world = World(1)
    late(world)
    world.faults.append(Fault("kill_after", TRIGGER))
    killed(world, target=R)
    wait_until(world, lambda: world.sentinels[L0].state == "reconf_slaves")
    result = run(world, target=R)
    assert (result["plan"]["action"], result["outcome"], result["new_master"]) == ("join", "switched", R.as_result())
    assert world.lost() == 0
    assert_never_split(world)


def test_a_failover_of_a_run_that_is_alive_is_not_joined() -> None:
    """Two live runs would undo each other: each would move the master on from where the other has moved it."""
    world = World(1)
    second: list[dict[str, Any]] = []

    def begin() -> None:
        heard = list(world.listeners)
        second.append(attempt(world, target=R, expected_master=OM))
        world.listeners[:] = heard

    waiting = Fault("run", "ROLE", S, alone=True, skip=3, times=0, action=begin)
    world.faults.append(waiting)
    clock, fleet = FakeClock(world), FakeFleet(world)
    timeline = Timeline(clock, lambda entry: setattr(waiting, "times", 1) if entry.kind == "triggered" else None)
    first = fail_over(Run(fleet, Request(NAME, target=S, promotion="sentinel", timeout_s=45.0), clock, timeline))
    fleet.close()
    (result,) = second
    assert (result["outcome"], result["error"], result["plan"]["action"]) == ("refused", "another_run", "join")
    assert (result["changed"], result["repaired"]) == (False, [])
    assert (first["outcome"], first["new_master"], first["lossless"]) == ("switched", S.as_result(), True)
    assert f"Sentinel promoted {R} instead of {S}" not in first["notes"]
    assert (len(world.sent(TRIGGER)), masters(world), world.lost()) == (1, [S], 0)


def test_a_run_that_is_alive_is_seen_at_the_new_master_until_it_has_ended() -> None:
    """It still waits for a copy of everything: the priority that it holds raised is not what an interrupted run left."""
    world = World(1, replicas=(R, S, S2))
    slow = world.nodes[S2]
    slow.data = [("history-of-its-own", 5.0)]
    slow.linked, slow.stuck = False, True
    second: list[dict[str, Any]] = []

    def begin() -> None:
        heard = list(world.listeners)
        world.at(world.now_s + 3.0, lambda: setattr(slow, "stuck", False))
        second.append(attempt(world, target=S))
        world.listeners[:] = heard

    copying = Fault("run", "INFO replication", S2, alone=True, skip=130, action=begin)
    world.faults.append(copying)
    first = run(world, target=R)
    (result,) = second
    assert (result["outcome"], result["error"]) == ("refused", "another_run")
    assert (result["changed"], result["repaired"]) == (False, [])
    assert (first["outcome"], first["new_master"], first["lossless"]) == ("switched", R.as_result(), True)
    assert masters(world) == [R]


def test_a_joined_failover_is_not_undone_by_a_replica_that_an_interrupted_run_had_not_told() -> None:
    """The interrupted run wanted R, and S still follows the old master. An operator leads to S: nobody may tell S to follow R by then."""
    world = World(1)
    world.faults.append(Fault("kill_before", f"REPLICAOF {R.host}", S))
    killed(world, target=R, expected_master=OM)
    world.advance(15.0)
    assert (masters(world), world.nodes[S].master) == ([R], OM)
    prefer(world, S)
    world.start_failover(world.sentinels[L1])
    result = run(world, target=R, expected_master=OM)
    assert (result["outcome"], result["new_master"]) == ("incomplete", S.as_result())
    assert masters(world) == [S]
    assert not [repair for repair in result["repaired"] if "follow" in repair]
    assert_truthful(world, result)


def test_a_run_that_is_asked_to_end_does_not_go_on() -> None:
    world = World(1)
    asked: list[bool] = []
    late(world, then=lambda: asked.append(True))
    clock, fleet = FakeClock(world), FakeFleet(world)
    result = fail_over(Run(fleet, Request(NAME, target=R), clock, Timeline(clock), lambda: bool(asked)))
    fleet.close()
    assert (result["outcome"], result["new_master"]) == ("incomplete", S.as_result())
    assert "it was not moved on: the run was asked to end" in result["notes"]


def test_a_move_that_was_interrupted_is_finished_and_moved_on() -> None:
    world = World(1)
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=S)
    result = run(world, target=R)
    assert (result["outcome"], result["old_master"], result["new_master"]) == (
        "switched",
        OM.as_result(),
        R.as_result(),
    )
    assert result["lossless"]
    assert world.lost() == 0
    assert_never_split(world)


def test_finished_on_the_master_that_was_to_be_moved_it_is_moved_on() -> None:
    """Else a playbook would take down the node that an interrupted run has made the master."""
    world = World(1)
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=R)
    result = run(world, expected_master=R)
    assert (result["outcome"], result["lossless"]) == ("switched", True)
    assert masters(world) != [R]
    assert result["new_master"] == masters(world)[0].as_result()
    assert world.lost() == 0
    assert_never_split(world)


def moved_on() -> World:
    world = World(1)
    late(world)
    run(world, target=R)
    return world


MESSAGES = len(moved_on().exchanges)
TRIGGERED = next(
    number
    for number, (_at_s, _server, commands) in enumerate(moved_on().exchanges)
    if any(text(command) == TRIGGER for command in commands)
)


@pytest.mark.parametrize("number", range(TRIGGERED, MESSAGES - 2, 8))
def test_killed_at_any_message_the_next_run_brings_it_to_the_target(number: int) -> None:
    world = World(1)
    late(world)
    world.faults.append(Fault("kill_before", "", skip=number))
    killed(world, target=R)
    world.advance(number % 7)
    result = run(world, target=R)
    if result["outcome"] == "incomplete":
        # The killed run had led the old master to the promoted replica, as Sentinel would have: whose failover it is cannot be told any more.
        assert result["plan"]["action"] == "join"
        assert f"the master is {S}, not {R}: run again to move it there" in result["msg"]
        result = run(world, target=R)
    assert result["outcome"] in ("switched", "unchanged"), result["msg"]
    assert masters(world) == [R]
    assert world.lost() == 0
    assert_never_split(world)
