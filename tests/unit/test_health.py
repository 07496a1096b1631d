# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for all checks together, and the earlier snapshot that some of them compare with."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.parameters import remove_values
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health import examine, is_healthy, may_pass
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import parse_client_list
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import parse_baseline, unmasked
from ansible_collections.redis_ha.sentinel.plugins.module_utils._views import deployment_view
from unit import test_health_after, test_health_before, test_health_sentinels
from unit.builders import L0, L1, L2, OM, R, S, master_node, replica_node, sentinel_view, snapshot
from unit.situations import Case, after, before, dead, nodes, unreachable, views

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "checks.md"

TABLE = [
    *test_health_sentinels.CASES,
    *test_health_before.REPLICAS,
    *test_health_before.RESERVATIONS,
    *test_health_before.NODES,
    *test_health_after.CASES,
]


def documented() -> dict[str, set[str]]:
    """For each check of docs/checks.md: the statuses that it can have."""
    rows = re.findall(r"^\| `(\w+)` \|.*?\| ([^|]*) \|[^|]*\|$", DOCUMENTATION.read_text(), re.MULTILINE)
    return {name: {"ok", *re.findall(r"warning|critical", statuses)} for name, statuses in rows}


def in_the_table() -> dict[str, set[str]]:
    statuses: dict[str, set[str]] = {}
    for case in TABLE:
        if case.details:
            statuses.setdefault(case.name, set()).add(case.status)
    return statuses


def test_the_healthy_deployment_is_healthy() -> None:
    for phase, situation in (("before", before()), ("after", after())):
        checks = examine(situation, phase)
        assert [check for check in checks if check.status != "ok"] == []
        assert is_healthy(checks)


def test_every_status_of_every_check_is_in_the_table_and_in_the_documentation() -> None:
    assert documented() == in_the_table()


def test_every_check_is_documented() -> None:
    saved: dict[str, Any] = {"config_saves": {L0: "", L1: "", L2: ""}, "role_saves": {OM: "", R: ""}}
    checks = [*examine(before(**saved), "before"), *examine(after(**saved), "after")]
    assert {check.name for check in checks} == set(documented())


def test_a_warning_is_no_reason_to_call_it_unhealthy() -> None:
    assert is_healthy([Check("a", "ok", ""), Check("b", "warning", "")])
    assert not is_healthy([Check("a", "ok", ""), Check("b", "critical", "")])


def test_only_what_may_right_itself_is_waited_for() -> None:
    assert may_pass([Check("replica_follows", "critical", "")])
    assert may_pass([Check("replica", "warning", "")])
    assert not may_pass([Check("replica_follows", "ok", ""), Check("modules", "warning", "")])


@pytest.mark.parametrize("phase", ["before", "after"])
def test_nothing_fails_where_almost_nobody_answers(phase: str) -> None:
    """One Sentinel answers, no node does: everything is named, nothing raises."""
    seen = [views()[0], dead(views()[1]), dead(views()[2])]
    lost = [unreachable(OM), unreachable(R), unreachable(S)]
    checks = examine((before if phase == "before" else after)(seen, lost), phase)
    assert not is_healthy(checks)
    assert all(check.detail for check in checks)


@pytest.mark.parametrize("phase", ["before", "after"])
def test_nothing_fails_where_nobody_agrees(phase: str) -> None:
    known = views()
    split = [replace(view, current=address) for view, address in zip(known, (OM, R, S), strict=True)]
    checks = examine((before if phase == "before" else after)(split), phase)
    assert {check.status for check in checks if check.name == "sentinels_agree"} == {"critical"}


def test_a_baseline_survives_the_way_through_a_playbook() -> None:
    seen = snapshot([sentinel_view(L0, tilt_total=4), dead(sentinel_view(L1))], nodes(unreachable(S)))
    baseline = parse_baseline(json.loads(json.dumps(deployment_view(seen))))
    assert (baseline.master, baseline.config_epoch, dict(baseline.tilt_totals)) == (OM, 1, {L0: 4})
    assert [(node.address, node.reachable, node.priority) for node in baseline.nodes] == [
        (OM, True, 100),
        (R, True, 100),
        (S, False, None),
    ]


def masked(data: Any, password: str) -> Any:
    """As Ansible hands a result on."""
    return remove_values(data, [password])


def test_what_ansible_masks_is_known_by_run_id() -> None:
    seen = snapshot(nodes=nodes(replica_node(R, run_id="cafe" * 10)))
    told = masked(deployment_view(seen), "10.0.0.")
    assert str(OM) not in json.dumps(told)
    baseline = unmasked(parse_baseline(told), seen)
    assert (baseline.master, baseline.unread) == (OM, ())
    assert {node.address for node in baseline.nodes} == {OM, R, S}
    restarted = snapshot(nodes=[master_node(run_id="new"), replica_node(R, run_id="new, too"), replica_node(S)])
    lost = unmasked(parse_baseline(told), restarted)
    assert (lost.master, [node.address for node in lost.nodes]) == (None, [S])
    assert lost.unread == ("a node with port 6379", "a node with port 6379", "its master")


@pytest.mark.parametrize("password", ["1", "6379", "a" * 40, "100"])
def test_a_masked_number_or_history_is_not_known_and_nothing_else(password: str) -> None:
    told = masked(deployment_view(snapshot()), password)
    baseline = unmasked(parse_baseline(told), snapshot())
    situation = after(baseline=baseline)
    assert [check.name for check in examine(situation, "after") if check.status == "critical"] == []


@pytest.mark.parametrize(
    "data",
    [
        {"anything": "else"},
        {"master": None, "nodes": [], "sentinels": [{}]},
        {"master": None, "nodes": "text", "sentinels": []},
        {"master": "no address at all", "nodes": [], "sentinels": []},
        {"master": None, "nodes": [None], "sentinels": []},
    ],
)
def test_what_is_no_baseline_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"health_info|host:port"):
        parse_baseline(data)


def test_addresses_are_compared_by_where_they_lead() -> None:
    """The baseline may spell them as Sentinel did then."""
    situation = after()
    named = replace(situation.snapshot, identities={OM: S})
    assert replace(situation, snapshot=named).old_master in (OM, S)


def test_a_view_has_the_same_keys_whether_the_server_answers_or_not() -> None:
    seen = deployment_view(snapshot([sentinel_view(L0), dead(sentinel_view(L1))], [replica_node(R), unreachable(S)]))
    for kind in ("sentinels", "nodes"):
        answering, silent = seen[kind]
        assert answering.keys() == silent.keys()
        assert silent["error"] == "Connection refused"
        assert silent["error_code"] == "unreachable"


def test_a_client_is_known_by_name_user_and_what_it_waits_for() -> None:
    line = "id=7 addr=10.0.0.4:51722 laddr=10.0.0.1:6379 fd=9 name=sentinel-5a59f0a2-cmd age=3 idle=0 flags=b db=0 sub=0 cmd=publish user=watcher resp=2"
    (row,) = parse_client_list(line + "\n")
    assert (row.id, row.name, row.user, row.flags, row.command) == (
        7,
        "sentinel-5a59f0a2-cmd",
        "watcher",
        "b",
        "publish",
    )


def test_the_tables_name_their_cases() -> None:
    ids = [(case.name, case.phase, case.id) for case in TABLE]
    assert len(ids) == len(set(ids))
    assert all(isinstance(case, Case) for case in TABLE)
