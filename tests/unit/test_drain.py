# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which masters leave some hosts, where each goes, and what the result says of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import STEERING
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain import (
    DrainPlan,
    DrainRequest,
    Row,
    pace,
    plan_drain,
    spread,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain_record import drain_result
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._record import Record, result_of
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Role
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Host, NodeView, Snapshot
from unit.builders import (
    L0,
    L1,
    L2,
    master_entry,
    master_node,
    replica_entry,
    replica_node,
    sentinel_view,
)

H1, H2, H3, H4 = (f"10.1.0.{number}" for number in (1, 2, 3, 4))


def deployment(name: str, *hosts: str, **by_host: Mapping[str, Any]) -> Snapshot:
    """A healthy master on the first host, with a replica on each of the others; ``on_2`` changes what the node on the host that ends in 2 says."""
    port = 7000 + int(name.rpartition("-")[2])
    master, *replicas = (Address(host, port) for host in hosts)
    changes = {address: dict(by_host.get(f"on_{address.host[-1]}", {})) for address in replicas}
    entry = master_entry(name=name, address=master)
    rows = tuple(
        replica_entry(address, master=master, **changes[address].pop("entry", {}), run_id=f"{name}{address.host}")
        for address in replicas
    )
    views = tuple(
        sentinel_view(it, master=entry, current=master, replicas=rows, masters=(entry,)) for it in (L0, L1, L2)
    )
    return Snapshot(name, views, (master_node(master), *(_replica(it, master, changes[it]) for it in replicas)))


def _replica(address: Address, master: Address, changes: dict[str, Any]) -> NodeView:
    link = {"master": master, **changes.pop("link", {})}
    return replica_node(address, link=link, role=Role("replica", 1000, master, "connected"), **changes)


def several(*snapshots: Snapshot) -> dict[str, Snapshot]:
    return {snapshot.master_name: snapshot for snapshot in snapshots}


def request(*hosts: str, **changes: Any) -> DrainRequest:
    return DrainRequest(hosts, Request(""), **changes)


def planned(snapshots: Iterable[Snapshot], *hosts: str, **changes: Any) -> DrainPlan:
    return plan_drain(several(*snapshots), request(*hosts, **changes))


def where(plan: DrainPlan) -> dict[str, str | None]:
    """The host that each master goes to; an error code where it is refused; nothing where nothing is done."""
    return {row.name: _where(row) for row in plan.rows}


def _where(row: Row) -> str | None:
    if row.refused is not None:
        return row.refused.code
    return row.plan.new_master.host if row.plan and row.plan.new_master else None


# ---- spread ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "load", "expected"),
    [
        ({}, {}, []),
        ({"a": ["x"]}, {"x": 9, "y": 0}, [("x", 10), ("y", 0)]),
        ({name: ["x", "y"] for name in "abcd"}, {}, [("x", 2), ("y", 2)]),
        ({name: ["x", "y"] for name in "abcd"}, {"x": 4}, [("x", 4), ("y", 4)]),
        # Whoever has one choice only drives the others away.
        ({"a": ["x"], "b": ["x"], "c": ["x", "y"], "d": ["x", "y"]}, {}, [("x", 2), ("y", 2)]),
        # Two go on, so that the third can come.
        ({"a": ["x", "y"], "b": ["x", "y"], "c": ["y", "z"], "d": ["x", "y"]}, {}, [("x", 2), ("y", 1), ("z", 1)]),
        ({"a": ["x"], "b": []}, {}, [("x", 1)]),
    ],
)
def test_the_fullest_host_is_as_empty_as_can_be(
    choices: dict[str, list[str]], load: dict[str, int], expected: list[tuple[str, int]]
) -> None:
    given, final = spread(choices, load)
    assert sorted(final.items()) == expected
    assert set(given) == {name for name, hosts in choices.items() if hosts}
    assert all(host in choices[name] for name, host in given.items())


def test_a_load_that_is_level_already_is_given_to_the_best_host_of_each() -> None:
    assert spread({"a": ["y", "x"], "b": ["x", "y"]}, {})[0] == {"a": "y", "b": "x"}


def test_nobody_finds_a_more_even_spread() -> None:
    """Held against all spreads that there are."""
    numbers = random.Random(7)
    for _round in range(60):
        hosts = ["w", "x", "y", "z"][: numbers.randint(2, 4)]
        load = {host: numbers.randint(0, 3) for host in hosts}
        choices = {f"m{number}": numbers.sample(hosts, numbers.randint(1, len(hosts))) for number in range(6)}
        _given, final = spread(choices, load)
        every = (Counter(load) + Counter(given) for given in product(*choices.values()))
        best = min(sorted((it.get(host, 0) for host in hosts), reverse=True) for it in every)
        assert sorted(final.values(), reverse=True) == best


# ---- plan ------------------------------------------------------------------------------------------------------------


def test_masters_leave_the_host_and_spread_over_the_others() -> None:
    plan = planned([deployment(f"m-{number}", H1, H2, H3) for number in range(4)], H1)
    assert Counter(where(plan).values()) == {H2: 2, H3: 2}
    assert plan.load == {H1: 4, H2: 0, H3: 0}
    assert plan.load_after == {H1: 0, H2: 2, H3: 2}
    assert all(row.request.target == row.plan.new_master for row in plan.rows if row.plan)


def test_masters_that_a_host_has_today_count() -> None:
    there = [deployment(f"m-{number}", H2, H3) for number in range(2)]
    leaving = [deployment(f"m-{number}", H1, H2, H3) for number in (2, 3)]
    plan = planned([*there, *leaving], H1)
    assert where(plan) == {"m-0": None, "m-1": None, "m-2": H3, "m-3": H3}
    assert not any(row.is_to_do for row in plan.rows if row.name in ("m-0", "m-1"))


def test_masters_that_it_is_not_about_count_too() -> None:
    others = {f"other-{number}": Host(H2, H2) for number in range(2)}
    leaving = replace(deployment("m-0", H1, H2, H3), master_hosts=others)
    assert where(planned([leaving], H1)) == {"m-0": H3}


def test_a_target_is_taken_and_counts() -> None:
    snapshots = [deployment(f"m-{number}", H1, H2, H3) for number in range(4)]
    targets = {"m-1": Address(H2, 7001), "m-3": Address(H2, 7003)}
    assert where(planned(snapshots, H1, targets=targets)) == {"m-0": H3, "m-1": H2, "m-2": H3, "m-3": H2}


def test_a_replica_of_a_higher_priority_number_is_not_taken_for_the_spread() -> None:
    late = {"link": {"priority": 200}, "entry": {"priority": 200}}
    snapshots = [deployment(f"m-{number}", H1, H2, H3, on_3=late) for number in range(3)]
    assert set(where(planned(snapshots, H1)).values()) == {H2}


def test_a_replica_of_another_version_is_not_taken_for_the_spread() -> None:
    newer = {"version": (7, 2, 0), "compatible_version": (7, 2, 0)}
    snapshots = [deployment(f"m-{number}", H1, H2, H3, on_2=newer) for number in range(3)]
    assert set(where(planned(snapshots, H1)).values()) == {H3}


def test_a_replica_that_may_not_be_promoted_is_passed_over() -> None:
    full = {"info": {"loading": "0", "maxclients": "60", "connected_clients": "60"}}
    on_2 = [deployment(f"m-{number}", H1, H2, H3, on_2=full) for number in range(2)]
    on_3 = [deployment(f"m-{number}", H1, H2, H3, on_3=full) for number in (2, 3)]
    assert where(planned([*on_2, *on_3], H1)) == {"m-0": H3, "m-1": H3, "m-2": H2, "m-3": H2}


@pytest.mark.parametrize(
    ("ill", "hosts", "code"),
    [
        (deployment("m-0", H1, H2), (H1, H2), "avoid_leaves_nobody"),
        (
            deployment("m-0", H1, H4, on_4={"entry": {"link_up": False, "link_down_ms": 99999}}),
            (H1, H2),
            "no_suitable_replica",
        ),
        # The only fit replica is on a host to leave, too.
        (
            deployment("m-0", H1, H2, H4, on_4={"entry": {"link_up": False, "link_down_ms": 99999}}),
            (H1, H2),
            "no_suitable_replica",
        ),
        (deployment("m-0", H1), (H1, H2), "no_replica"),
    ],
)
def test_one_that_cannot_go_is_refused_with_its_cause_and_the_others_go(
    ill: Snapshot, hosts: Sequence[str], code: str
) -> None:
    plan = planned([ill, deployment("m-1", H1, H2, H3)], *hosts)
    assert where(plan)["m-1"] == H3
    assert where(plan)["m-0"] in (code, "target_link_down", "target_disconnected")
    refused = next(row.refused for row in plan.rows if row.name == "m-0")
    assert refused is not None
    assert refused.remedy


def test_a_target_on_a_host_to_leave_is_refused() -> None:
    targets = {"m-0": Address(H2, 7000)}
    assert where(planned([deployment("m-0", H1, H2, H3)], H1, H2, targets=targets)) == {"m-0": "target_avoided"}


def test_what_an_interrupted_run_left_is_put_back_though_the_master_is_elsewhere() -> None:
    left = {"config": {"replica-priority": str(100 + STEERING)}}
    (row,) = planned([deployment("m-0", H2, H1, H3, on_3=left)], H1).rows
    assert (row.action, row.moves, row.is_to_do) == ("nothing", False, True)


def test_what_is_on_none_of_the_hosts_is_left_alone_whatever_is_the_matter_with_it() -> None:
    left = {"config": {"replica-priority": str(100 + STEERING)}}
    (row, _other) = planned([deployment("m-0", H2, H3, on_3=left), deployment("m-1", H1, H4)], H1).rows
    assert not row.is_to_do


def test_hosts_that_nobody_has_are_one_clear_error() -> None:
    with pytest.raises(RefusedError) as caught:
        planned([deployment("m-0", H1, H2)], "10.9.9.9", "db-7")
    assert caught.value.code == "hosts_unknown"
    assert all(text in caught.value.message for text in ("10.9.9.9", "db-7", H1, H2))


def test_one_address_of_a_host_is_enough_and_the_others_are_named() -> None:
    plan = planned([deployment("m-0", H1, H2)], "10.9.9.9", H1)
    assert plan.unknown_hosts == ("10.9.9.9",)
    assert where(plan) == {"m-0": H2}


def test_a_target_for_a_master_that_it_is_not_about_is_an_error() -> None:
    with pytest.raises(RefusedError) as caught:
        planned([deployment("m-0", H1, H2)], H1, targets={"m-9": Address(H2, 7000)})
    assert caught.value.code == "targets_unknown"


def test_a_host_is_known_by_its_name_and_by_its_address() -> None:
    snapshot = deployment("m-0", H1, H2)
    named = replace(snapshot, hosts={"db-1": H1})
    assert where(planned([named], "db-1")) == {"m-0": H2}


@pytest.mark.parametrize(
    ("at_once", "recheck_ms", "then"),
    [(4, None, 4), (4, 5.0, 4), (2, 5.0, 3), (3, 20.0, 3), (4, 40.0, 2), (3, 40.0, 1), (1, 4000.0, 1)],
)
def test_fewer_are_moved_at_once_where_everybody_answers_slowly(
    at_once: int, recheck_ms: float | None, then: int
) -> None:
    assert pace(at_once, 4, recheck_ms) == then


# ---- result ----------------------------------------------------------------------------------------------------------


def moved(old: Address, new: Address, outcome: str = "switched", **changes: Any) -> dict[str, Any]:
    """What a single move returns."""
    record = Record(old_master=old, new_master=new, moved=True, lossless=True, fenced_at_s=1.0, agreed_at_s=1.0125)
    return {**result_of(record, [], outcome, True), **changes}


def test_the_result_tells_what_became_of_each() -> None:
    snapshots = [deployment("m-0", H1, H2), deployment("m-1", H1), deployment("m-2", H2, H3), deployment("m-3", H1, H3)]
    plan = planned(snapshots, H1)
    results = {
        "m-0": moved(Address(H1, 7000), Address(H2, 7000)),
        "m-3": moved(
            Address(H1, 7003),
            Address(H3, 7003),
            "incomplete",
            failed=True,
            error="left_to_do",
            msg="Mend it.",
            remedy="So.",
        ),
    }
    result = drain_result(plan, request(H1), results, check_mode=False)
    by_name = {master["name"]: master for master in result["masters"]}
    assert {name: master["outcome"] for name, master in by_name.items()} == {
        "m-0": "switched",
        "m-1": "refused",
        "m-2": "unchanged",
        "m-3": "incomplete",
    }
    assert result["counts"] == {"switched": 1, "unchanged": 1, "refused": 1, "incomplete": 1}
    assert (result["failed"], result["changed"], result["error"]) == (True, True, "masters_left")
    assert result["longest_write_gap_ms"] == 12.5
    assert (by_name["m-0"]["old_master"], by_name["m-0"]["new_master"]) == (f"{H1}:7000", f"{H2}:7000")
    assert by_name["m-0"]["planned_master"] == f"{H2}:7000"
    assert all(name in result["msg"] for name in ("m-1", "m-3", "Mend it."))
    assert len({frozenset(master) for master in result["masters"]}) == 1, "each has the same keys"


def test_check_mode_returns_the_plan() -> None:
    plan = planned([deployment("m-0", H1, H2), deployment("m-1", H2, H3)], H1)
    result = drain_result(plan, request(H1), {}, check_mode=True)
    assert result["counts"] == {"planned": 1, "unchanged": 1}
    assert (result["changed"], result.get("failed")) == (True, None)
    assert result["plan"] == [
        {"name": "m-0", "action": "move", "old_master": f"{H1}:7000", "planned_master": f"{H2}:7000", "reason": None}
    ]
    assert result["hosts"] == [
        {"host": H1, "masters": 1, "masters_planned": 0},
        {"host": H2, "masters": 1, "masters_planned": 2},
        {"host": H3, "masters": 0, "masters_planned": 0},
    ]


def test_one_whose_turn_did_not_come_fails_the_task() -> None:
    plan = planned([deployment("m-0", H1, H2)], H1)
    result = drain_result(plan, request(H1), {}, check_mode=False)
    assert result["counts"] == {"not_begun": 1}
    assert (result["failed"], result["changed"]) == (True, False)
    assert result["masters"][0]["error"] == "not_begun"


def test_nothing_to_do_is_no_change() -> None:
    plan = planned([deployment("m-0", H2, H1)], H1)
    result = drain_result(plan, request(H1), {}, check_mode=False)
    assert (result["changed"], result.get("failed"), result["counts"]) == (False, None, {"unchanged": 1})
