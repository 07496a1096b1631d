# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether servers that were away are back: one row for each thing that can be missing, and how long it is waited for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._patience import SETTLED, STALLED, TIMED_OUT, WAIT
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._returned import (
    SILENT,
    TIME,
    Expected,
    Watch,
    everything,
    gave_up,
    mark,
    missing,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot
from unit.builders import (
    L0,
    L1,
    L2,
    NAME,
    OM,
    R,
    S,
    master_entry,
    master_node,
    peer_entry,
    replica_entry,
    replica_node,
    sentinel_view,
    snapshot,
)

ALL = Expected((OM, R, S), (L0, L1, L2))


def with_node(node: NodeView) -> Snapshot:
    nodes = {OM: master_node(), R: replica_node(R), S: replica_node(S)}
    return snapshot(nodes={**nodes, node.address: node}.values())


def with_sentinel(**changes: Any) -> Snapshot:
    return snapshot([sentinel_view(L0, **changes), sentinel_view(L1), sentinel_view(L2)])


def unasked(address: Address) -> SentinelView:
    return SentinelView(address, error="connection refused", error_code="unreachable")


def test_nothing_is_missing_where_all_is_well() -> None:
    assert missing(snapshot(), ALL, 0) == []
    assert missing(snapshot(), everything(snapshot()), 0) == []


CASES: dict[str, tuple[Snapshot, str]] = {
    "a node is down": (with_node(NodeView(S, error="refused")), f"{S} does not answer (refused)"),
    "nobody lists it": (snapshot(nodes=[master_node(), replica_node(R)]), f"{S} is listed by no Sentinel"),
    "it loads": (with_node(replica_node(S, info={"loading": "1"})), f"{S} loads its data"),
    "it came back as a master": (with_node(master_node(S)), f"{S} says that it is a master"),
    "the master is none": (with_node(replica_node(OM)), f"{OM} is named as master and is none yet"),
    "it follows another": (with_node(replica_node(S, link={"master": R})), f"{S} follows {R}"),
    "its link is down": (with_node(replica_node(S, link={"link_up": False})), f"{S} has no link to its master"),
    "it is in a full synchronisation": (
        with_node(replica_node(S, link={"link_up": False, "sync_in_progress": True, "sync_read_bytes": 2048})),
        "2,048 bytes received",
    ),
    "it is behind": (with_node(replica_node(S, link={"applied_offset": 100})), f"{S} is 900 bytes behind"),
    "a Sentinel is down": (
        snapshot([unasked(L0), sentinel_view(L1), sentinel_view(L2)]),
        f"{L0} is a Sentinel that does not answer",
    ),
    "a Sentinel is listed by none": (
        snapshot([sentinel_view(L1), sentinel_view(L2)]),
        f"{L0} is a Sentinel that no other lists",
    ),
    "a Sentinel forgot the master": (with_sentinel(master=None, current=None), "does not know this master"),
    "a Sentinel leads a failover": (
        with_sentinel(master=master_entry(flags=frozenset({"master", "failover_in_progress"}))),
        "leads a failover",
    ),
    "a Sentinel sees the master down": (
        with_sentinel(master=master_entry(flags=frozenset({"master", "s_down"}))),
        "sees the master down",
    ),
    "a Sentinel does not list a replica": (
        with_sentinel(replicas=(replica_entry(R),)),
        f"{L0} is a Sentinel that does not see {S} up yet",
    ),
    "a Sentinel sees a replica down": (
        with_sentinel(replicas=(replica_entry(R), replica_entry(S, flags=frozenset({"slave", "s_down"})))),
        f"does not see {S} up yet",
    ),
    "a Sentinel sees a link down": (
        with_sentinel(replicas=(replica_entry(R), replica_entry(S, link_up=False))),
        f"does not see {S} up yet",
    ),
    "a Sentinel does not see another": (
        with_sentinel(peers=(peer_entry(L1), peer_entry(L2, flags=frozenset({"sentinel", "s_down"})))),
        f"does not see {L2} up yet",
    ),
    "a Sentinel has no quorum": (
        with_sentinel(quorum_ok=False, quorum_detail="NOQUORUM"),
        "without a quorum: NOQUORUM",
    ),
    "the Sentinels disagree": (with_sentinel(current=R), "the Sentinels do not name one master"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_named_with_master_and_server(case: str) -> None:
    seen, text = CASES[case]
    rows = missing(seen, ALL, 0)
    assert any(text in row.sentence for row in rows), [row.sentence for row in rows]
    assert all(row.master_name == NAME and row.remedy for row in rows)


def test_a_lag_that_is_allowed_is_none() -> None:
    assert missing(with_node(replica_node(S, link={"applied_offset": 100})), ALL, 900) == []


def test_the_mark_changes_when_a_synchronisation_goes_on() -> None:
    def at(received: int) -> str:
        link = {"link_up": False, "sync_in_progress": True, "sync_read_bytes": received}
        seen = with_node(replica_node(S, link=link))
        return mark({NAME: seen}, missing(seen, ALL, 0))

    assert at(10) == at(10) != at(20)


def look(text: str = "x") -> dict[str, Any]:
    rows = [{"master_name": NAME, "server": str(S), "detail": text, "remedy": "Start it."}] if text else []
    return {"settled": not rows, "missing": rows, "mark": text}


def test_it_waits_as_long_as_something_moves() -> None:
    patience = Watch(100.0, 10.0)
    assert patience.look(0.0, look("down"))[0] == WAIT
    assert patience.look(9.0, look("loads"))[0] == WAIT
    assert patience.look(18.0, look("loads"))[0] == WAIT
    assert patience.look(19.0, look("loads"))[0] == STALLED
    assert patience.look(100.0, look("links"))[0] == TIMED_OUT
    assert patience.look(100.0, look(""))[0] == SETTLED


def test_a_line_is_shown_when_something_changes_and_now_and_then() -> None:
    patience = Watch(100.0, 100.0, report_interval_s=10.0)
    lines = [
        "".join(patience.look(at_s, look(text))[1])
        for at_s, text in ((0, "down"), (1, "down"), (2, "loads"), (12, "loads"), (13, ""))
    ]
    assert [bool(line) for line in lines] == [True, False, True, True, True]
    assert lines[0].strip() == f"0.0 s  waits: {NAME}: {S} down"
    assert lines[4].strip() == "13.0 s  everything is back"


def test_what_is_left_is_said_the_first_of_it_and_how_much_more() -> None:
    rows = [
        {"master_name": f"m{number}", "server": None, "detail": "down", "remedy": "Start it."} for number in range(5)
    ]
    told = gave_up(STALLED, {"missing": rows}, 30.0)
    assert told["error"] == "servers_stalled"
    assert (
        told["msg"]
        == "Gave up after 30 s: nothing has changed for too long. Still missing: m0: down; m1: down; m2: down; and 2 more. Start it."
    )
    assert gave_up(TIMED_OUT, {"missing": rows}, 30.0)["error"] == "servers_timeout"


def test_who_does_not_answer_comes_before_those_who_do_not_see_him_and_each_server_before_one_is_named_again() -> None:
    seen_by = [(f"192.0.2.{number}:26379", "does not see 192.0.2.5:26379 up yet", TIME) for number in range(1, 4)]
    silent = [("192.0.2.5:26379", "does not answer", SILENT), ("192.0.2.5:6379", "does not answer", SILENT)]
    rows = [
        {"master_name": name, "server": server, "detail": detail, "remedy": remedy}
        for name in ("cart", "shop")
        for server, detail, remedy in [*seen_by, *silent]
    ]
    told = gave_up(STALLED, {"missing": rows}, 30.0)["msg"]
    assert (
        "Still missing: cart: 192.0.2.5:26379 does not answer; cart: 192.0.2.5:6379 does not answer; shop: 192.0.2.5:26379"
        in told
    )
    assert told.partition("; and 7 more. ")[2].startswith(SILENT), "what helps is about the cause"
