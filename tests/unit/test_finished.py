# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A replica is a master already, and no Sentinel knows: a failover under another name made it one, or a run that was killed. It has taken writes since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import trace
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_messages import course
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import read_run
from unit.builders import L0, L1, L2, NAME, OM, R, S
from unit.faults import Fault
from unit.runs import assert_never_split, assert_truthful, masters, run
from unit.world import World

TRIGGER = f"SENTINEL FAILOVER {NAME}"
HELLO = "PUBLISH __sentinel__:hello 10.0.0."
NEWS = f",{NAME},{R.host},{R.port},"
"""In a hello that says that R is the master."""


def promoted_already(seed: int = 1) -> World:
    """What Sentinel would choose by itself is the other replica."""
    world = World(seed, priorities={R: 100, S: 50})
    world.promote(world.nodes[R])
    for address in (OM, S):
        world.follow(world.nodes[address], R)
    world.nodes[R].has_writers = True
    world.advance(0.3)
    return world


def assert_told(world: World, result: dict[str, Any]) -> None:
    """It is the master of everybody, and has every write."""
    assert (result["plan"]["action"], result["outcome"], result["promotion"]) == ("finish", "switched", "program"), (
        result
    )
    assert result["new_master"] == R.as_result()
    assert {sentinel.named for sentinel in world.sentinels.values() if sentinel.awake} == {R}
    assert masters(world) == [R]
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


@pytest.mark.parametrize("seed", range(4))
def test_every_sentinel_is_told_and_none_leads_a_failover(seed: int) -> None:
    """One that led might promote the other replica, and the writes since then would be lost."""
    world = promoted_already(seed)
    result = run(world)
    assert not world.sent(TRIGGER)
    assert result["leader"] is None
    assert result["plan"]["steps"][0] == f"tell the Sentinels that {R} is the master, and see every one name it"
    assert_told(world, result)


@pytest.mark.parametrize("word", [HELLO, NEWS], ids=["before all know of the epoch", "before it is told"])
def test_a_host_that_stands_still_meanwhile_does_no_harm(word: str) -> None:
    world = promoted_already()
    world.faults.append(Fault("stall", word, delay_s=2.0))
    result = run(world)
    assert not world.sent(TRIGGER)
    assert_told(world, result)


def test_one_that_is_not_told_hears_it_from_the_others() -> None:
    world = promoted_already()
    world.faults.append(Fault("refuse", NEWS, L2))
    result = run(world)
    assert not world.sent(TRIGGER)
    assert_told(world, result)


def refuse_to_hear(world: World) -> None:
    world.faults.append(Fault("refuse", HELLO, L1))


def refuse_the_news(world: World) -> None:
    world.faults.append(Fault("refuse", NEWS, times=3))


@pytest.mark.parametrize("hurt", [refuse_to_hear, refuse_the_news])
def test_a_failover_is_led_where_that_is_not_certain(hurt: Callable[[World], None]) -> None:
    world = promoted_already()
    hurt(world)
    result = run(world)
    assert world.sent(TRIGGER) == [L0]
    assert result["leader"] == str(L0)
    assert_told(world, result)


def test_a_failover_is_led_where_a_sentinel_does_not_answer() -> None:
    """It may be in the middle of a failover of the next epoch."""
    world = promoted_already()
    world.sentinels[L2].alive = False
    result = run(world, min_sentinels=2)
    assert len(world.sent(TRIGGER)) == 1
    assert result["new_master"] == R.as_result()
    assert world.lost() == 0


def rival_before_it_is_taught(world: World) -> Fault:
    return Fault("run", HELLO, L0, action=lambda: world.start_failover(world.sentinels[L1]))


def rival_after_all_are_taught(world: World) -> Fault:
    return Fault("run", "SENTINEL MASTER", L0, skip=3, action=lambda: world.start_failover(world.sentinels[L1]))


@pytest.mark.parametrize("rival", [rival_before_it_is_taught, rival_after_all_are_taught])
@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_triggered_beside_a_failover_that_somebody_else_begins_meanwhile(
    rival: Callable[[World], Fault], seed: int
) -> None:
    """Which replica that one promotes is Sentinel's to say, and the result says what came of it."""
    world = promoted_already(seed)
    world.faults.append(rival(world))
    result = run(world)
    assert any(entry["kind"] == "rival_seen" for entry in result["timeline"])
    assert not world.sent(TRIGGER)
    assert len(masters(world)) == 1
    assert_truthful(world, result)


def test_where_all_have_heard_and_no_reply_comes_it_is_seen_that_they_have() -> None:
    world = promoted_already()
    world.faults += [Fault("lose_after", NEWS, sentinel) for sentinel in (L0, L1, L2)]
    result = run(world)
    assert not world.sent(TRIGGER)
    assert result["new_master"] == R.as_result()
    assert_truthful(world, result)
    assert world.lost() == 0


def test_nobody_is_told_once_somebody_has_made_the_old_master_a_master_again() -> None:
    world = promoted_already()
    world.faults.append(Fault("run", HELLO, L0, action=lambda: world.promote(world.nodes[OM])))
    result = run(world)
    assert (result["outcome"], result["error"]) == ("unknown", "promotion_in_doubt"), result
    assert f"somebody has made {OM} a master again" in result["msg"]
    assert not [commands for _s, _to, commands in world.exchanges if NEWS in str(commands)]
    assert not world.sent(TRIGGER)


def test_one_that_becomes_a_master_after_the_plan_is_told_of_as_well() -> None:
    world = promoted_already()
    world.nodes[R].has_writers = False
    world.follow(world.nodes[R], OM)
    world.advance(1.0)

    def promote() -> None:
        world.promote(world.nodes[R])
        world.nodes[R].has_writers = True

    world.faults.append(Fault("run", "CLIENT SETNAME", OM, action=promote))
    result = run(world)
    assert result["plan"]["steps"][0].startswith("send SENTINEL FAILOVER")
    assert not world.sent(TRIGGER)
    assert_told(world, result)


@pytest.mark.parametrize("seed", range(4))
def test_looks_that_take_long_change_nothing(seed: int) -> None:
    world = promoted_already(seed)
    slow = Fault("stall", "GET-MASTER-ADDR", L0, delay_s=0.07, times=25)
    world.faults.append(Fault("run", HELLO, L0, action=lambda: world.faults.append(slow)))
    result = run(world)
    assert not world.sent(TRIGGER)
    assert_told(world, result)


def test_what_the_old_master_alone_had_is_told_of() -> None:
    world = promoted_already()
    ((history, upto), *_since) = world.nodes[OM].data
    world.nodes[OM].data = [(history, upto + 5000)]
    world.nodes[OM].stuck, world.nodes[OM].linked = True, False
    result = run(world, timeout_s=10)
    why = f"{R} was not seen to have everything that the old master acknowledged"
    assert (result["lossless"], result["lossless_reason"]) == (False, why)


def test_the_report_says_that_the_master_was_moved_though_something_is_left() -> None:
    world = promoted_already()
    world.faults.append(Fault("refuse", "CONFIG REWRITE", R, times=9))
    result = run(world, timeout_s=10)
    assert result["outcome"] == "incomplete"
    shown = read_run(result)
    assert (shown.moved, shown.master_after) == (True, str(R))
    traced = trace(shown)
    assert traced is not None
    assert [state.title for state in course(shown, traced).states] == ["Ready", "Promoted before", "Ready, work left"]
