# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nobody promotes: when the old master may be made the master again, and when never."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils import _promotion
from ansible_collections.redis_ha.sentinel.plugins.module_utils._prepare import prepare
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Timeline
from unit.builders import L1, NAME, OM, S
from unit.fake_connection import FakeClock, FakeFleet
from unit.faults import text
from unit.world import World


def nothing(_world: World) -> None:
    """All is as it was before the run."""


def another_is_named(world: World) -> None:
    world.sentinels[L1].master = S


def somebody_fails_over(world: World) -> None:
    world.start_failover(world.sentinels[L1])


@pytest.mark.parametrize(
    ("meanwhile", "ours_was_master", "error"),
    [
        (nothing, False, "trigger_refused"),
        # Made a replica again by whoever won: what clients wrote to the winner would be lost.
        (nothing, True, "promotion_in_doubt"),
        (another_is_named, False, "promotion_in_doubt"),
        (somebody_fails_over, False, "promotion_in_doubt"),
    ],
)
def test_the_old_master_is_given_back_only_where_nobody_else_can_be_the_master(
    meanwhile: Callable[[World], None], ours_was_master: bool, error: str
) -> None:
    world = World(1)
    clock, fleet = FakeClock(world), FakeFleet(world)
    run = Run(fleet, Request(NAME), clock, Timeline(clock))
    plan = prepare(run, listen=False)
    meanwhile(world)
    before = len(world.exchanges)
    assert _promotion._rolled_back(run, plan, (), ours_was_master).code == error
    sent = [text(command) for _at_s, to, commands in world.exchanges[before:] for command in commands if to == OM]
    assert ("REPLICAOF NO ONE" in sent) == (error == "trigger_refused")
