# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs in the model in which something seldom happens: what is told, what is undone, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import EVENTS_LOST, STRAY_DEMOTED, WAITING
from unit.builders import L0, L1, L2, NAME, OM, R, S
from unit.fake_connection import FakeFleet
from unit.faults import Fault
from unit.runs import assert_never_split, assert_truthful, masters, run
from unit.world import World

HELLO = "PUBLISH __sentinel__:hello 10.0.0."
TRIGGER = f"SENTINEL FAILOVER {NAME}"


def kinds(result: dict[str, Any]) -> list[str]:
    return [entry["kind"] for entry in result["timeline"]]


# ---- replicas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modern", [True, False], ids=["7.0", "6.0"])
@pytest.mark.parametrize("written_bytes", [0, 500])
def test_a_second_master_that_nobody_names_becomes_a_replica_and_what_it_had_taken_is_said(
    written_bytes: int, modern: bool
) -> None:
    """Somebody has promoted a replica by hand while the Sentinels learned of another one."""
    world = World(1, modern=modern)

    def promoted_by_hand() -> None:
        world.promote(world.nodes[S])
        world.nodes[S].set_offset(world.nodes[S].offset + written_bytes)

    world.faults.append(Fault("run", HELLO, L2, skip=1, action=promoted_by_hand))
    result = run(world)
    assert masters(world) == [R]
    assert STRAY_DEMOTED in kinds(result)
    assert result["lossless"] is (written_bytes == 0)
    assert (f"went on for {written_bytes} bytes" in result["lossless_reason"]) is (written_bytes > 0)


def without_history(world: World, address: Address) -> None:
    """It needs a copy of everything, and gets none as long as it is stuck."""
    world.nodes[address].data = [("history-of-its-own", 5.0)]
    world.nodes[address].linked, world.nodes[address].stuck = False, True


def test_a_copy_that_does_not_come_in_time_is_named_as_left_to_do() -> None:
    world = World(1)
    without_history(world, S)
    result = run(world, timeout_s=8.0)
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "left_to_do", True)
    assert str(S) in result["msg"]
    assert [entry["detail"] for entry in result["timeline"] if entry["kind"] == WAITING and str(S) in entry["detail"]]
    assert masters(world) == [R]
    assert world.lost() == 0


@pytest.mark.parametrize("when", ["before it is told", "while it gets its copy"])
def test_a_replica_that_dies_before_it_has_its_copy_is_left_to_sentinel(when: str) -> None:
    world = World(1)
    without_history(world, S)
    kind = "die_before" if when == "before it is told" else "die_after"
    world.faults.append(Fault(kind, f"REPLICAOF {R.host}", S, alone=True))
    result = run(world, timeout_s=8.0)
    assert masters(world) == [R]
    assert (result["outcome"], result["lossless"]) == ("incomplete", True)
    assert str(S) in result["msg"]


# ---- Sentinels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deaf", [L0, L2], ids=["the first one", "another"])
def test_a_sentinel_that_sends_no_events_is_named_and_does_not_stop_the_run(
    deaf: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = FakeFleet.listen

    def refuse(fleet: FakeFleet, address: Address, on_event: Callable[[Address, float, Event], None]) -> None:
        if address == deaf:
            raise LinkError(str(address), "it sends no events: NOPERM")
        listen(fleet, address, on_event)

    monkeypatch.setattr(FakeFleet, "listen", refuse)
    world = World(1)
    result = run(world)
    assert (result["outcome"], result["lossless"]) == ("switched", True)
    assert f"{deaf}: it sends no events: NOPERM; the run goes on without its events" in result["notes"]
    assert EVENTS_LOST in kinds(result)
    assert result["leader"] != str(deaf), "without its events nobody knows the epoch that it takes"
    assert_never_split(world)


def test_a_failover_timeout_that_may_not_be_lowered_ends_it_before_anything_is_moved() -> None:
    world = World(1)
    for sentinel in world.sentinels.values():
        sentinel.coordinated = True
    world.faults.append(Fault("refuse", "failover-timeout 10000", error="NOPERM no permission"))
    result = run(world, strategy="coordinated")
    assert (result["outcome"], result["error"]) == ("refused", "sentinel_not_permitted")
    assert not world.sent(TRIGGER)
    assert [sentinel.failover_timeout_ms for sentinel in world.sentinels.values()] == [60_000] * 3


def test_a_failover_timeout_that_is_low_already_is_left_as_it_is() -> None:
    world = World(1)
    for sentinel in world.sentinels.values():
        sentinel.coordinated, sentinel.failover_timeout_ms = True, 9_000
    assert run(world, strategy="coordinated")["outcome"] == "switched"
    assert not world.sent("SENTINEL SET")


# ---- failovers of others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [False, True], ids=["", "it refuses"])
def test_a_new_master_that_a_second_failover_has_made_a_replica_is_made_a_master_again(refused: bool) -> None:
    """Two leaders that chose two replicas have led each of them to the other: all Sentinels agree, and nobody takes writes."""
    world = World(1)

    def lead_each_to_the_other() -> None:
        world.follow(world.nodes[R], S)
        world.follow(world.nodes[S], R)
        if refused:
            world.faults.append(Fault("refuse", "REPLICAOF NO ONE", R, error="NOPERM no permission"))

    world.faults.append(Fault("run", "CONFIG REWRITE", OM, skip=1, action=lead_each_to_the_other))
    result = run(world, timeout_s=5.0)
    assert result["lossless"] is False
    assert f"another failover has made {R} a replica of {S}" in result["lossless_reason"]
    if refused:
        assert (result["outcome"], result["error"]) == ("incomplete", "left_to_do")
        assert f"{R}: it is a replica of {S}" in result["msg"]
        assert "could not be made a master again (no permission)" in str(result["notes"])
        return
    assert (result["outcome"], masters(world)) == ("switched", [R])
    assert world.lost() == 0


def test_a_new_master_that_is_lost_right_after_it_was_made_one_again_has_its_file_left_to_do() -> None:
    world = World(1)

    def lead_each_to_the_other() -> None:
        world.follow(world.nodes[R], S)
        world.follow(world.nodes[S], R)
        world.faults.append(Fault("lose_before", "CONFIG REWRITE", R, times=2))

    world.faults.append(Fault("run", "CONFIG REWRITE", OM, skip=1, action=lead_each_to_the_other))
    result = run(world, timeout_s=5.0)
    assert (result["outcome"], result["error"], masters(world)) == ("incomplete", "left_to_do", [R])
    assert f"{R}: CONFIG REWRITE" in result["msg"]
    assert "could not be made a master again" not in str(result["notes"])


def test_a_new_master_that_has_become_a_replica_is_left_alone_while_another_node_is_a_master() -> None:
    world = World(1)

    def hand_over_to_s() -> None:
        world.promote(world.nodes[S])
        world.follow(world.nodes[R], S)

    world.faults.append(Fault("run", "CONFIG REWRITE", OM, skip=1, action=hand_over_to_s))
    result = run(world, timeout_s=5.0)
    assert (result["outcome"], result["error"]) == ("incomplete", "left_to_do")
    assert f"{R}: it is a replica of {S}" in result["msg"]
    assert (result["lossless"], masters(world)) == (False, [S])


def mislead(world: World) -> None:
    """A Sentinel hears late of a second failover that took the epoch of ours."""
    sentinel = world.sentinels[L2]
    epoch = sentinel.config_epoch
    sentinel.config_epoch -= 1
    sentinel.hear(f"{L1.host},{L1.port},sentinel-{L1},{epoch},{NAME},{S.host},{S.port},{epoch}")
    assert sentinel.named == S


@pytest.mark.parametrize("masters_are", ["R", "R and S", "none"])
def test_sentinels_that_name_two_masters_only_at_the_end_are_brought_together(masters_are: str) -> None:
    world = World(1)

    def disturb() -> None:
        mislead(world)
        if masters_are == "R and S":
            world.promote(world.nodes[S])
        elif masters_are == "none":
            world.follow(world.nodes[R], S)
            world.follow(world.nodes[S], R)

    world.faults.append(Fault("run", "CONFIG REWRITE", OM, skip=1, action=disturb))
    result = run(world)
    assert (result["outcome"], result["lossless"]) == ("switched", False)
    assert_truthful(world, result)
    assert {sentinel.named for sentinel in world.sentinels.values()} == set(masters(world)) == {R}


def test_a_replica_that_no_leader_leads_any_more_is_told_of_the_master_that_was_kept() -> None:
    """Sentinels that were brought together have ended their failovers before every replica was led."""
    third = Address("10.0.0.4", 6379)
    world = World(1, replicas=(R, S, third))

    def disturb() -> None:
        mislead(world)
        world.follow(world.nodes[third], S)

    world.faults.append(Fault("run", "CONFIG REWRITE", OM, skip=1, action=disturb))
    result = run(world, promotion="sentinel", target=R)
    assert (result["outcome"], masters(world)) == ("switched", [R])
    assert world.nodes[third].master == R


def test_the_only_master_that_a_part_of_the_sentinels_names_at_the_end_is_kept() -> None:
    world = World(1)

    def disturb() -> None:
        mislead(world)
        world.promote(world.nodes[S])
        world.follow(world.nodes[R], S)

    world.faults.append(Fault("run", "CONFIG REWRITE", OM, skip=1, action=disturb))
    result = run(world)
    assert (result["outcome"], result["lossless"]) == ("switched", False)
    assert (result["new_master"], masters(world)) == (S.as_result(), [S])
    assert_truthful(world, result)
    assert world.nodes[OM].master == S


def test_sentinels_that_cannot_be_brought_together_at_the_end_are_told() -> None:
    world = World(1)

    def disturb() -> None:
        mislead(world)
        world.faults.append(Fault("refuse", HELLO, L1, error="NOPERM no permission", times=999))

    world.faults.append(Fault("run", "CONFIG REWRITE", OM, skip=1, action=disturb))
    result = run(world, timeout_s=15.0)
    assert (result["outcome"], result["error"], result["lossless"]) == ("unknown", "sentinels_split", False)
    assert f"Sentinel {L2} names {S}" in result["msg"]
    assert "not every Sentinel has read that epoch" in result["msg"]


def test_a_failover_of_somebody_else_that_does_not_end_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(1)
    sentinel = world.sentinels[L1]
    world.start_failover(sentinel)
    monkeypatch.setattr(sentinel, "tick", lambda: None)
    result = run(world, timeout_s=6.0)
    assert (result["outcome"], result["error"]) == ("unknown", "joined_failover_unfinished")
    assert str(L1) in result["msg"]
    assert not world.sent(TRIGGER)


def test_a_failover_of_somebody_else_that_ends_without_a_move_moved_nothing() -> None:
    world = World(1)
    world.start_failover(world.sentinels[L1])

    def gives_up() -> None:
        world.sentinels[L1].state = ""

    world.faults.append(Fault("run", "GET-MASTER-ADDR-BY-NAME", L1, skip=1, action=gives_up))
    result = run(world)
    assert (result["outcome"], result["error"], result["changed"]) == ("aborted", "joined_failover_failed", False)
    assert masters(world) == [OM]
    assert not world.sent(TRIGGER)
