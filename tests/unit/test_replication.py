# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far replicas have come, and how long it is worth waiting for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._patience import SETTLED, STALLED, TIMED_OUT, WAIT
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replication import (
    Watch,
    gave_up,
    nobody_knows,
    replication_progress,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, AttachedReplica, Role
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView
from unit.builders import L0, L1, L2, OM, R, S, master_entry, master_node, replica_node, sentinel_view, snapshot
from unit.situations import unreachable

LAG = 1000
SYNCING = {"link_up": False, "sync_in_progress": True}


def progress_of(node: NodeView, master: NodeView | None = None, sentinels: list[SentinelView] | None = None) -> Any:
    return replication_progress(snapshot(sentinels, [master or master_node(), node, replica_node(S)]), LAG)


def saving_for(address: Address, **info: str) -> NodeView:
    attached = (AttachedReplica(address, "wait_bgsave", 0, 0),)
    return master_node(link={"attached": attached}, info={"loading": "0", **info})


STATES: list[tuple[str, NodeView, NodeView | None, str, tuple[int | None, int | None, float | None]]] = [
    ("in_sync", replica_node(R), None, f"follows {OM}, 0 bytes behind", (None, None, None)),
    (
        "catching_up",
        replica_node(R, link={"applied_offset": 1000}),
        master_node(link={"offset": 2_001_000}),
        "catches up: 2,000,000 bytes behind",
        (None, None, None),
    ),
    ("unreachable", unreachable(R), None, "cannot be asked: Connection refused", (None, None, None)),
    ("is_master", master_node(R), None, "says that it is a master itself", (None, None, None)),
    (
        "loading",
        replica_node(R, info={"loading": "1", "loading_loaded_bytes": "250", "loading_total_bytes": "1000"}),
        None,
        "loads the data it has received: 250 of 1,000 bytes (25 %)",
        (250, 1000, 25.0),
    ),
    (
        "loading",
        replica_node(R, info={"loading": "0", "async_loading": "1"}),
        None,
        "loads the data it has received: no byte yet",
        (None, None, None),
    ),
    (
        "full_sync",
        replica_node(R, link={**SYNCING, "sync_read_bytes": 600, "sync_total_bytes": 800}),
        None,
        "full synchronisation: 600 of 800 bytes (75 %) received",
        (600, 800, 75.0),
    ),
    (
        "full_sync",
        replica_node(R, link={**SYNCING, "sync_read_bytes": 600, "sync_total_bytes": 0}),
        None,
        "full synchronisation: 600 bytes received",
        (600, None, None),
    ),
    (
        "full_sync",
        replica_node(R, link={**SYNCING, "sync_read_bytes": 0, "sync_total_bytes": -1, "sync_left_bytes": 5000}),
        None,
        "full synchronisation: 5,000 bytes left",
        (None, None, None),
    ),
    (
        "waiting_for_snapshot",
        replica_node(R, link=SYNCING),
        saving_for(R, current_save_keys_processed="3", current_save_keys_total="12"),
        "waits until the master has saved its data: 3 of 12 keys (25 %)",
        (None, None, None),
    ),
    (
        "waiting_for_snapshot",
        replica_node(R, link=SYNCING),
        saving_for(R),
        "waits until the master has saved its data",
        (None, None, None),
    ),
    (
        "full_sync",
        replica_node(R, link={**SYNCING, "sync_read_bytes": 5000, "sync_total_bytes": 0}),
        saving_for(R, current_save_keys_processed="3", current_save_keys_total="12"),
        "full synchronisation: 5,000 bytes received, 3 of 12 keys (25 %)",
        (5000, None, None),
    ),
    (
        "full_sync",
        replica_node(R, link={**SYNCING, "sync_read_bytes": 5000, "sync_total_bytes": 0}),
        saving_for(R),
        "full synchronisation: 5,000 bytes received",
        (5000, None, None),
    ),
    (
        "connecting",
        replica_node(R, role=Role("replica", 1000, OM, "handshake"), link={"link_up": False}),
        None,
        f"is connecting to {OM} (handshake)",
        (None, None, None),
    ),
    (
        "link_down",
        replica_node(R, role=Role("replica", 1000, OM, "connect"), link={"link_up": False, "link_down_s": 7}),
        None,
        f"its link to {OM} has been down for 7 s (connect)",
        (None, None, None),
    ),
    (
        "follows_another",
        replica_node(R, link={**SYNCING, "master": S, "sync_read_bytes": 1, "sync_total_bytes": 4}),
        None,
        f"follows {S}, not {OM}; full synchronisation: 1 of 4 bytes (25 %) received",
        (1, 4, 25.0),
    ),
]


@pytest.mark.parametrize(
    ("state", "node", "master", "detail", "amounts"), STATES, ids=lambda it: it if isinstance(it, str) else ""
)
def test_what_a_replica_does(
    state: str,
    node: NodeView,
    master: NodeView | None,
    detail: str,
    amounts: tuple[int | None, int | None, float | None],
) -> None:
    progress = progress_of(node, master)
    row = progress.as_result()["replicas"][0]
    assert (row["host"], row["state"], row["detail"]) == (R.host, state, detail)
    assert (row["received_bytes"], row["total_bytes"], row["percent"]) == amounts
    assert row["in_sync"] is (state == "in_sync") is progress.settled
    assert bool(row["remedy"]) is (state != "in_sync")
    told = [check.detail for check in progress.unsettled if str(R) in check.detail]
    assert told == ([] if progress.settled else [f"replica {R} {detail}"])


def test_an_excused_replica_is_reported_and_not_waited_for() -> None:
    seen = snapshot(nodes=[master_node(), unreachable(R), replica_node(S)])
    progress = replication_progress(seen, LAG, [R])
    assert progress.settled
    assert progress.as_result()["replicas"][0]["excused"]


@pytest.mark.parametrize(
    ("sentinels", "master", "name", "detail"),
    [
        (
            [sentinel_view(L0), sentinel_view(L1, current=R), sentinel_view(L2)],
            master_node(),
            "master_settled",
            f"the Sentinels name different masters of mymaster: {OM} and {R}",
        ),
        (None, unreachable(OM), "master_settled", f"master {OM} cannot be asked: Connection refused"),
        (
            None,
            replica_node(OM),
            "master_settled",
            f"the Sentinels name {OM} as the master, and it says that it is a replica",
        ),
        (
            [
                sentinel_view(
                    L0,
                    master=master_entry(
                        flags=frozenset({"master", "failover_in_progress"}), failover_state="reconf_slaves"
                    ),
                ),
                sentinel_view(L1),
                sentinel_view(L2),
            ],
            master_node(),
            "sentinel_agrees",
            f"Sentinel {L0}: its failover is not over (reconf_slaves)",
        ),
        (
            [sentinel_view(L0), sentinel_view(L1, master=None, current=None), sentinel_view(L2)],
            master_node(),
            "sentinel_agrees",
            f"Sentinel {L1}: does not know this master",
        ),
    ],
)
def test_what_is_waited_for_beside_replicas(
    sentinels: list[SentinelView] | None, master: NodeView, name: str, detail: str
) -> None:
    unsettled = progress_of(replica_node(R), master, sentinels).unsettled
    assert (unsettled[0].name, unsettled[0].detail) == (name, detail)
    assert unsettled[0].remedy


def test_a_sentinel_that_is_down_is_told_and_not_waited_for() -> None:
    down = SentinelView(L2, error="Connection refused", error_code="unreachable")
    progress = progress_of(replica_node(R), sentinels=[sentinel_view(L0), sentinel_view(L1), down])
    assert progress.settled
    assert [row["state"] for row in progress.sentinels] == ["agreed", "agreed", "unreachable"]


def test_nobody_who_knows_the_master_is_an_error_at_once() -> None:
    views = [replace(sentinel_view(address), master=None, current=None) for address in (L0, L1)]
    result = replication_progress(snapshot(views, []), LAG).as_result()
    said = nobody_knows(result)
    assert said["failed"]
    assert said["error"] == "master_unknown"
    assert said["msg"].startswith("no Sentinel that answers knows a master named 'mymaster' (Sentinel ")


# ---- the watch -----------------------------------------------------------------------------------------------------


def look(node: NodeView, master: NodeView | None = None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = progress_of(node, master).as_result()
    return found


def received(read: int) -> NodeView:
    return replica_node(R, link={**SYNCING, "sync_read_bytes": read, "sync_total_bytes": 100})


def test_it_ends_when_all_is_settled_and_tells_each_state_once() -> None:
    watch = Watch(timeout_s=100, stall_timeout_s=10)
    assert watch.look(5.0, look(received(0)))[0] == WAIT
    verdict, lines = watch.look(7.5, look(replica_node(R)))
    assert verdict == SETTLED
    assert lines == [f"    2.5 s  {R!s:<22} {'in_sync':<20} follows {OM}, 0 bytes behind"]


def test_it_waits_as_long_as_bytes_arrive_up_to_the_time_limit() -> None:
    watch = Watch(timeout_s=30, stall_timeout_s=10)
    verdicts = [watch.look(float(second), look(received(second)))[0] for second in range(0, 31, 5)]
    assert verdicts == [WAIT] * 6 + [TIMED_OUT]


def test_it_gives_up_when_nothing_moves() -> None:
    watch = Watch(timeout_s=100, stall_timeout_s=10)
    verdicts = [watch.look(float(second), look(unreachable(R)))[0] for second in (0, 5, 9, 10)]
    assert verdicts == [WAIT, WAIT, WAIT, STALLED]


def test_a_master_that_saves_its_data_moves_though_no_byte_arrives() -> None:
    watch = Watch(timeout_s=100, stall_timeout_s=10)
    for second in range(0, 60, 5):
        master = saving_for(R, rdb_current_bgsave_time_sec=str(second))
        assert watch.look(float(second), look(replica_node(R, link=SYNCING), master))[0] == WAIT


def test_progress_is_told_from_time_to_time() -> None:
    watch = Watch(timeout_s=100, stall_timeout_s=50, report_interval_s=10)
    told = {second: watch.look(float(second), look(received(second)))[1] for second in range(0, 31, 2)}
    assert [second for second, lines in told.items() if lines] == [0, 10, 20, 30]
    assert "20 of 100 bytes (20 %)" in told[20][0]


def test_one_that_does_not_move_is_told_of_all_the_same() -> None:
    watch = Watch(timeout_s=100, stall_timeout_s=50)
    told = {second: watch.look(float(second), look(unreachable(R)))[1] for second in range(6)}
    assert [second for second, lines in told.items() if lines] == [0, 2, 4]


def test_one_that_is_in_sync_is_told_of_once() -> None:
    watch = Watch(timeout_s=100, stall_timeout_s=50)
    told = [watch.look(float(second), look(replica_node(R)))[1] for second in range(6)]
    assert sum(str(R) in line for lines in told for line in lines) == 1


def test_giving_up_says_what_is_left_and_what_to_do() -> None:
    said = gave_up(STALLED, look(unreachable(R)), 12.3)
    assert (said["failed"], said["error"]) == (True, "replicas_stalled")
    assert said["msg"] == (
        f"Gave up after 12 s: nothing has changed for too long. Still missing: replica {R} cannot be asked: Connection refused. {said['remedy']}"
    )
    assert said["remedy"].startswith("Start it, or mend the way to it; it then follows by itself.")
    assert gave_up(TIMED_OUT, look(unreachable(R)), 12.3)["error"] == "replicas_timeout"
