# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Sentinels a snapshot asks."""

from __future__ import annotations

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot
from unit.builders import L0, L1, L2, NAME
from unit.fake_connection import FakeConnection, FakeFleet
from unit.world import World

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
