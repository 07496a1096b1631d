# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both fences against the model: writes stop, the offset is that of this instant, and they go on again."""

from __future__ import annotations

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    LinkError,
    ReplyError,
    UnknownOutcomeError,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._fence import Fence, fence_of
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import MIN_REPLICAS_FENCE, MOVE, PAUSE_FENCE, Plan
from unit.builders import OM, R
from unit.fake_connection import FakeClock, FakeFleet
from unit.faults import Fault
from unit.world import World

MODERN = pytest.mark.parametrize("modern", [True, False], ids=["pause", "min_replicas"])


def fenced(modern: bool, lease_ms: int = 300, budget_ms: int = 1000) -> tuple[World, Fence]:
    world = World(1, modern=modern)
    kind = PAUSE_FENCE if modern else MIN_REPLICAS_FENCE
    plan = Plan(
        MOVE, OM, new_master=R, fence=kind, lease_ms=lease_ms, fence_budget_ms=budget_ms, down_after_ms=2 * budget_ms
    )
    return world, fence_of(FakeFleet(world).node(OM), plan, FakeClock(world))


def written(world: World, seconds: float) -> float:
    """How much OM acknowledges in a while."""
    before = world.acknowledged.get("history-0", 0.0)
    world.advance(seconds)
    return world.acknowledged["history-0"] - before


@MODERN
def test_writes_stop_at_the_offset_that_is_told(modern: bool) -> None:
    world, fence = fenced(modern)
    assert written(world, 0.1) > 0
    fence.raise_up()
    assert written(world, 0.2) == 0
    assert fence.position.offset == int(world.acknowledged["history-0"])
    assert fence.raised_at_s == pytest.approx(world.now_s - 0.2)


@MODERN
def test_lifted_writes_go_on_and_nothing_is_left(modern: bool) -> None:
    world, fence = fenced(modern)
    fence.raise_up()
    fence.lift()
    assert written(world, 0.1) > 0
    assert (world.nodes[OM].settings["min-replicas-to-write"], world.nodes[OM].settings["min-replicas-max-lag"]) == (
        "1",
        "7",
    )
    sent = len(world.exchanges)
    fence.lift_if_up()
    assert len(world.exchanges) == sent, "it is not up any more"


def test_the_old_values_can_be_read_off_the_fence() -> None:
    world, fence = fenced(modern=False)
    fence.raise_up()
    settings = world.nodes[OM].settings
    assert (settings["min-replicas-to-write"], settings["min-replicas-max-lag"]) == ("2000000001", "1000000007")


@MODERN
def test_demoted_in_the_same_transaction_that_lifts_it(modern: bool) -> None:
    world, fence = fenced(modern)
    fence.raise_up()
    world.advance(0.05)
    final = fence.demote(R)
    om = world.nodes[OM]
    assert om.master == R
    assert final.offset == int(om.offset)
    assert om.pause_until_s <= world.now_s
    assert om.settings["min-replicas-to-write"] == "1"
    sent = len(world.exchanges)
    fence.lift_if_up()
    assert len(world.exchanges) == sent


def test_a_lease_ends_by_itself() -> None:
    world, fence = fenced(modern=True, lease_ms=300)
    fence.raise_up()
    assert written(world, 0.29) == 0
    assert written(world, 0.1) > 0


def test_renewed_it_does_not_end() -> None:
    world, fence = fenced(modern=True, lease_ms=300, budget_ms=2000)
    fence.raise_up()
    for _number in range(90):
        assert written(world, 0.01) == 0
        fence.renew_if_due()
    renewals = len(world.sent("CLIENT PAUSE")) - 1
    assert 7 <= renewals <= 9, "each third of a lease, not each time"


def test_it_is_not_renewed_beyond_its_budget() -> None:
    world, fence = fenced(modern=True, lease_ms=300, budget_ms=400)
    fence.raise_up()
    for _number in range(90):
        world.advance(0.01)
        fence.renew_if_due()
    assert world.now_s > world.nodes[OM].pause_until_s
    assert len(world.sent("CLIENT PAUSE")) <= 4


def test_the_settings_are_not_renewed() -> None:
    world, fence = fenced(modern=False)
    fence.raise_up()
    sent = len(world.exchanges)
    world.advance(5.0)
    fence.renew_if_due()
    assert len(world.exchanges) == sent
    assert written(world, 0.1) == 0


@MODERN
def test_a_node_that_is_a_replica_cannot_be_fenced(modern: bool) -> None:
    world, fence = fenced(modern)
    world.follow(world.nodes[OM], R)
    with pytest.raises(ReplyError, match="stopped being a master"):
        fence.raise_up()


@pytest.mark.parametrize("kind", ["refuse", "lose_before", "lose_after", "hang_before", "hang_after", "die_before"])
@MODERN
def test_not_raised_it_leaves_nothing(modern: bool, kind: str) -> None:
    world, fence = fenced(modern)
    world.faults.append(Fault(kind, "CLIENT PAUSE" if modern else "CONFIG SET min-replicas-to-write", OM))
    with pytest.raises((LinkError, ReplyError)):
        fence.raise_up()
    if kind == "die_before":
        return
    fence.lift_if_up()
    assert written(world, 0.5) > 0
    assert world.nodes[OM].settings["min-replicas-to-write"] == "1"


def test_settings_that_cannot_be_put_back_are_told() -> None:
    world, fence = fenced(modern=False)
    fence.raise_up()
    world.nodes[OM].alive = False
    with pytest.raises(UnknownOutcomeError) as caught:
        fence.lift_if_up()
    assert caught.value.code == "fence_left"
    assert "min-replicas-to-write 1" in caught.value.remedy


def test_a_pause_that_cannot_be_ended_ends_by_itself() -> None:
    world, fence = fenced(modern=True)
    fence.raise_up()
    world.faults.append(Fault("lose_before", "CLIENT UNPAUSE", OM))
    fence.lift_if_up()
    world.advance(0.35)
    assert written(world, 0.1) > 0
