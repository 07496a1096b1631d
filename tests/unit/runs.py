# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs of the program in the model of a deployment, and what must hold whatever happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Timeline
from unit.builders import L0, NAME, OM, S
from unit.fake_connection import FakeClock, FakeFleet
from unit.faults import Fault, Killed
from unit.world import World

LONG_ENOUGH_S = 45.0
"""How long a run of the model waits for what does not come: nothing that comes takes longer than 35 s, and the default is 120 s."""


def run(world: World, check_mode: bool = False, **request: Any) -> dict[str, Any]:
    """One run of the program, which has no fault."""
    result = attempt(world, check_mode, **request)
    assert result.get("error") != "program_failed", result["msg"]
    return result


def attempt(world: World, check_mode: bool = False, **request: Any) -> dict[str, Any]:
    """One run of the program, whatever comes of it."""
    world.killed = False
    wanted = Request(NAME, **{"timeout_s": LONG_ENOUGH_S, **request})
    clock = FakeClock(world)
    fleet = FakeFleet(world)
    try:
        return fail_over(Run(fleet, wanted, clock, Timeline(clock)), check_mode)
    finally:
        world.listeners.clear()
        fleet.close()


def killed(world: World, **request: Any) -> None:
    """A run that is killed by a fault of the model."""
    with pytest.raises(Killed):
        run(world, **request)


def prefer(world: World, replica: Address) -> None:
    """What every Sentinel was told last makes it choose this replica."""
    for sentinel in world.sentinels.values():
        for address, seen in sentinel.seen.items():
            seen.priority, seen.at_s = (1 if address == replica else 100), world.now_s


def late(world: World, then: Callable[[], None] = lambda: None) -> None:
    """This host stands still at its trigger for so long that the leader promotes, and the leader prefers another replica than the target."""

    def be_late() -> None:
        prefer(world, S)
        then()

    world.faults.append(Fault("run", "REPLICAOF 10.", OM, action=be_late))
    world.faults.append(Fault("stall", f"SENTINEL FAILOVER {NAME}", L0, delay_s=0.15))


def masters(world: World) -> list[Address]:
    return [node.address for node in world.nodes.values() if node.alive and node.is_master]


def assert_truthful(world: World, result: dict[str, Any]) -> None:
    """The result against the model, right after the run."""
    outcome, old = result["outcome"], world.nodes[OM]
    assert outcome in ("switched", "unchanged", "refused", "aborted", "incomplete", "unknown")
    assert bool(result.get("failed")) is (outcome not in ("switched", "unchanged"))
    if outcome in ("refused", "aborted"):
        assert result["changed"] is any("set replica-priority back" in note for note in result["notes"])
        assert not old.alive or masters(world) == [OM]
        assert not any(sentinel.in_progress for sentinel in world.sentinels.values() if sentinel.alive)
    if outcome in ("switched", "incomplete"):
        assert result["changed"]
        assert [address.as_result() for address in masters(world)] == [result["new_master"]]
    if outcome == "switched":
        assert {sentinel.master for sentinel in world.sentinels.values() if sentinel.alive} == set(masters(world))
    if result["lossless"]:
        assert world.lost() == 0
    if old.alive and outcome != "unknown":
        assert old.settings["min-replicas-to-write"] == "1"
        assert old.settings["min-replicas-max-lag"] == "7"
        assert old.rewritten["min-replicas-to-write"] == "1"


def assert_never_split(world: World) -> None:
    """What must hold whatever happened, also much later."""
    twice = [entry for entry in world.failovers if entry[2]]
    assert not twice, "SENTINEL FAILOVER was sent to a Sentinel whose failover was under way"
    world.advance(15.0)
    if len(masters(world)) != 1:
        world.advance(45.0)
    assert not world.violations
    assert len(masters(world)) == 1
