# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report is drawn from what the program itself puts down: whole runs in the model, against what the model knows to be true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import (
    MASTER,
    REPLICA,
    STOPPED,
    Trace,
    trace,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_messages import converse
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import render
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import Run, read_run
from unit.builders import L0, L1, NAME, OM, R
from unit.faults import Fault
from unit.runs import masters, run
from unit.world import World


def reported(world: World, **request: Any) -> tuple[Run, Trace]:
    told = read_run(run(world, **request), master_name=NAME)
    traced = trace(told)
    assert traced is not None
    return told, traced


def states(traced: Trace, address: Address) -> list[str]:
    lane = traced.lane(str(address))
    assert lane is not None
    return [segment.state for segment in lane.segments]


@pytest.mark.parametrize("promotion", ["program", "sentinel"])
def test_a_move_shows_who_was_what_and_when_writes_stood_still(promotion: str) -> None:
    world = World(1)
    told, traced = reported(world, promotion=promotion)
    assert states(traced, OM)[0] == MASTER
    assert STOPPED in states(traced, OM)
    assert states(traced, R)[-1] == MASTER
    assert masters(world) == [R]
    (stop,) = traced.stops
    assert stop.end_ms is not None
    assert stop.end_ms - stop.start_ms == pytest.approx(told.write_gap_ms, abs=0.3)
    assert told.moved
    assert converse(told, traced).messages


def test_a_failover_that_is_rolled_back_ends_with_the_old_master() -> None:
    world = World(1)
    world.faults.append(Fault("refuse", f"SENTINEL FAILOVER {NAME}", times=9, error="NOGOODSLAVE none"))
    told, traced = reported(world)
    assert masters(world) == [OM]
    assert states(traced, OM) == [MASTER, STOPPED, REPLICA], "it is the master again where the run ends"
    assert MASTER not in states(traced, R)
    assert not told.moved
    assert told.outcome == "aborted"


def test_a_fence_that_is_lifted_ends_the_stop_and_moves_nothing() -> None:
    world = World(1)
    world.faults.append(Fault("run", "CLIENT PAUSE 1250", OM, action=lambda: setattr(world.nodes[R], "stuck", True)))
    told, traced = reported(world, catch_up_timeout_s=0.5)
    (stop,) = traced.stops
    assert stop.end_ms is not None
    assert 500 <= stop.end_ms - stop.start_ms <= 600
    assert states(traced, OM) == [MASTER, STOPPED]
    assert set(states(traced, R)) <= {REPLICA}
    assert not told.moved


def leader_dies(world: World) -> None:
    world.faults.append(Fault("die_before", "PUBLISH __sentinel__:hello 10.0.0.", L0))


def rival_begins(world: World) -> None:
    world.faults.append(Fault("run", "CLIENT PAUSE 1250", OM, action=lambda: world.start_failover(world.sentinels[L1])))


@pytest.mark.parametrize("disturb", [leader_dies, rival_begins])
def test_whatever_goes_wrong_the_pages_are_drawn_and_say_the_outcome(disturb: Callable[[World], None]) -> None:
    world = World(1)
    disturb(world)
    told, _traced = reported(world)
    pages = render(told)
    assert "<svg" in pages.html
    assert pages.markdown.startswith("#")
    assert str(OM) in pages.markdown
