# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that the failover itself demands: their names are the error codes of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    Check,
    access_check,
    assess_replicas,
    check_failover_permitted,
    check_master_known,
    check_master_node,
    check_quorum,
    check_replicas_exist,
    check_sentinels_agree,
    check_sentinels_reachable,
    check_tilt,
    critical,
    fenced_nodes,
    plain_priority,
    steered_nodes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import NEVER_MS, Role
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from unit.builders import OM, R, S, master_entry, master_node, replica_entry, replica_node, snapshot
from unit.situations import dead, nodes, unreachable, views, with_view

HEALTHY = snapshot()
TWO_OF_THREE = snapshot([*views()[:2], dead(views()[2])])
LOCKED_OUT = [replace(dead(view), error="it refuses the login", error_code="auth") for view in views()]


def codes(checks: Sequence[Check]) -> list[str]:
    return [check.name for check in critical(checks)]


@pytest.mark.parametrize(
    ("seen", "wanted", "expected"),
    [
        (HEALTHY, None, []),
        (TWO_OF_THREE, None, ["sentinels_missing"]),
        (TWO_OF_THREE, 2, []),
        (TWO_OF_THREE, 3, ["sentinels_missing"]),
        (snapshot([dead(view) for view in views()]), None, ["sentinel_unreachable"] * 3),
        (snapshot(LOCKED_OUT), 1, ["sentinel_auth"] * 3),
        (snapshot([*views()[:2], LOCKED_OUT[2]]), None, ["sentinel_auth"]),
    ],
    ids=["all", "one missing", "enough", "not enough", "none", "locked out of all", "locked out of one"],
)
def test_enough_sentinels_answer(seen: Snapshot, wanted: int | None, expected: list[str]) -> None:
    assert codes(check_sentinels_reachable(seen, wanted)) == expected


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (check_master_known(HEALTHY), []),
        (check_master_known(snapshot(views(master=None, current=None))), ["master_unknown"]),
        (check_master_known(snapshot(with_view(1, master=None, current=None))), ["sentinels_disagree"]),
        (check_sentinels_agree(HEALTHY), []),
        (check_sentinels_agree(snapshot(with_view(1, current=R))), ["sentinels_disagree"]),
        (check_sentinels_agree(snapshot(with_view(1, master=master_entry(config_epoch=2)))), ["sentinels_disagree"]),
        (check_tilt(HEALTHY), []),
        (check_tilt(snapshot(with_view(1, tilt=True))), ["tilt"]),
        (check_quorum(HEALTHY), []),
        (check_quorum(snapshot(with_view(1, quorum_ok=False))), ["no_quorum"]),
        (check_replicas_exist(HEALTHY), []),
        (check_replicas_exist(snapshot(views(replicas=()))), ["no_replica"]),
        (check_failover_permitted(HEALTHY, views()), []),
        (check_failover_permitted(HEALTHY, with_view(1, failover_refused="NOPERM")), []),
        (check_failover_permitted(HEALTHY, views(failover_refused="NOPERM")), ["sentinel_not_permitted"]),
        (check_master_node(HEALTHY), []),
        (check_master_node(snapshot(nodes=nodes(unreachable(OM, "tls")))), ["node_tls"]),
        (check_master_node(snapshot(nodes=nodes(replica_node(OM, role=Role("replica", 1, R))))), ["master_is_replica"]),
        (check_master_node(snapshot(nodes=nodes(master_node(compatible_version=(5, 0, 14))))), ["server_too_old"]),
        (
            check_master_node(snapshot(nodes=nodes(master_node(link={"failover_state": "waiting-for-sync"})))),
            ["node_failover_in_progress"],
        ),
        (
            check_master_node(snapshot(nodes=nodes(master_node(config={"replica-read-only": "no"})))),
            ["replica_writable"],
        ),
        (check_master_node(snapshot(nodes=nodes(master_node(S)))), ["two_masters"]),
    ],
)
def test_code(checks: list[Check], expected: list[str]) -> None:
    assert codes(checks) == expected
    assert all(check.remedy for check in critical(checks))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("auth", "node_auth"),
        ("tls", "node_tls"),
        ("not_permitted", "node_not_permitted"),
        ("strange", "node_unreachable"),
    ],
)
def test_a_server_that_cannot_be_asked(code: str, expected: str) -> None:
    check = access_check("node", R, "no", code)
    assert (check.name, check.detail) == (expected, "node 10.0.0.2:6379: no")
    assert check.remedy


@pytest.mark.parametrize(
    ("entry", "link", "sentinel_objects", "we_object"),
    [
        ({}, {}, [], []),
        ({"flags": frozenset({"slave", "disconnected"})}, {}, ["target_down"], []),
        ({"last_ok_ping_ms": 5001}, {}, ["target_down"], []),
        ({"priority": 0}, {}, ["target_never_promoted"], []),
        ({"priority": 0}, {"priority": 0}, ["target_never_promoted"], []),
        ({}, {"priority": 0}, [], ["target_never_promoted"]),
        ({"info_age_ms": 30_001}, {}, ["target_stale"], []),
        ({"info_age_ms": NEVER_MS}, {}, ["target_stale"], []),
        ({"link_down_ms": 50_001}, {}, ["target_link_down"], []),
        ({}, {"link_up": False}, [], ["target_link_down"]),
        ({}, {"sync_in_progress": True, "link_up": False}, [], ["target_syncing"]),
        ({}, {"master": S}, [], ["target_chained"]),
        ({}, {"role": "master", "master": None}, [], ["target_is_master"]),
        ({}, {"applied_offset": 899}, [], ["target_lagging"]),
        ({}, {"applied_offset": 900}, [], []),
    ],
)
def test_whether_a_replica_could_be_promoted(
    entry: dict[str, Any], link: dict[str, Any], sentinel_objects: list[str], we_object: list[str]
) -> None:
    seen = snapshot(views(replicas=(replica_entry(R, **entry), replica_entry(S))), nodes(replica_node(R, link=link)))
    found = next(fitness for fitness in assess_replicas(seen, max_lag_bytes=100) if fitness.address == R)
    assert [code for code, _text in found.sentinel_objections] == sentinel_objects
    assert [code for code, _text in found.own_objections] == we_object
    assert found.fit == (not sentinel_objects and not we_object)
    assert found.electable == (not sentinel_objects)


def test_replicas_stand_in_the_order_in_which_sentinel_prefers_them() -> None:
    preferred = snapshot(
        views(replicas=(replica_entry(R, priority=50), replica_entry(S, priority=10))), [master_node()]
    )
    assert [fitness.address for fitness in assess_replicas(preferred, 0)] == [S, R]
    tied = snapshot(
        views(replicas=(replica_entry(R, run_id="B" * 40), replica_entry(S, run_id="a" * 40))), [master_node()]
    )
    assert [fitness.address for fitness in assess_replicas(tied, 0)] == [S, R]


def test_the_old_values_can_be_read_off_what_an_interrupted_run_left() -> None:
    left = {
        "min-replicas-to-write": "2000000002",
        "min-replicas-max-lag": "1000000007",
        "replica-priority": "1000000090",
    }
    seen = snapshot(nodes=nodes(master_node(config=left), replica_node(S, config={}, link={"priority": 1_000_000_001})))
    assert fenced_nodes(seen) == {OM: (2, 7)}
    assert steered_nodes(seen) == {OM: 90, S: 1}
    assert [plain_priority(value) for value in (0, 100, 1_000_000_000, 1_000_000_100)] == [0, 100, 0, 100]
