# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom a snapshot asks, and what."""

from __future__ import annotations

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import PROBED_COMMANDS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import foreign_nodes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot
from unit.builders import L0, L1, L2, NAME, S2, R, S
from unit.fake_connection import FakeConnection, FakeFleet
from unit.world import Node, World

LOOPBACK = Address("127.0.0.1", 26379)


class FleetOnTheHostOfASentinel(FakeFleet):
    """L0 answers at the loopback address, too, which is the one that was given."""

    def __init__(self, world: World) -> None:
        super().__init__(world, [LOOPBACK])
        self._fakes["sentinel", LOOPBACK] = Client(LOOPBACK, lambda: FakeConnection(world, L0, 3.0), 3.0)


@pytest.mark.parametrize("tells_its_id", [True, False], ids=["6.2", "6.0"])
def test_a_sentinel_with_two_addresses_is_one(tells_its_id: bool) -> None:
    world = World()
    for sentinel in world.sentinels.values():
        sentinel.tells_its_id = tells_its_id
    snapshot = take_snapshot(FleetOnTheHostOfASentinel(world), NAME)
    assert [view.address for view in snapshot.sentinels] == [LOOPBACK, L1, L2]
    asked = {server for _at_s, server, _commands in world.exchanges if server in world.sentinels}
    assert asked == {L0, L1, L2}


class WorldWithAStranger(World):
    """S2 stands in the tables of the Sentinels, and follows somebody else."""

    def __init__(self) -> None:
        super().__init__(replicas=(R, S, S2))
        stranger = self.nodes[S2]
        stranger.master = stranger.shown_master = Address("10.0.9.9", 6379)
        stranger.data = [("another history", 7.0)]

    def _replicate(self, node: Node) -> None:
        if node.address != S2:
            super()._replicate(node)


def test_a_stranger_is_asked_what_it_is_and_nothing_more() -> None:
    world = WorldWithAStranger()
    seen = take_snapshot(FakeFleet(world), NAME, PROBED_COMMANDS)
    assert [node.address for node in foreign_nodes(seen)] == [S2]
    asked = [command for _at_s, server, commands in world.exchanges if server == S2 for command in commands]
    assert asked == [("INFO",), ("ROLE",)]
    ours = [command for _at_s, server, commands in world.exchanges if server == R for command in commands]
    assert ("MULTI",) in ours
