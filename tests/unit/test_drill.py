# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drill: whether it may begin, what is made of it, what is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._drill import (
    closing_lines,
    conclude,
    course,
    plan_lines,
    planned,
    refusal,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._places import host_addresses, host_of
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report import report
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_drill import DrillPage, read_drill
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import read_run
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_words import duration
from unit.report_runs import SWITCHED

OLD, NEW = "192.0.2.21:6379", "192.0.2.22:6379"


def seen(**more: Any) -> dict[str, Any]:
    return {
        "master_name": "shop",
        "allowed": True,
        "expected_master": OLD,
        "host": "",
        "hosts": {"redis-1": ["192.0.2.21", "redis-1"]},
        "stop_command": "stop it",
        "start_command": "start it",
        "precheck": {"snapshot": {"master": OLD, "sentinels": [{"down_after_ms": 5000}, {"down_after_ms": None}]}},
        **more,
    }


def watched(**more: Any) -> dict[str, Any]:
    return {
        "new_master": {"host": "192.0.2.22", "port": 6379},
        "figures_ms": {"detected": 5100.4, "named": 6400.0},
        "write_gap_ms": 6400.0,
        "missing_bytes": 0,
        **more,
    }


BACK = {
    "outcome": "switched",
    "new_master": {"host": "192.0.2.21", "port": 6379},
    "write_gap_ms": 12.1,
    "lossless": True,
}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, ""),
        ({"precheck": {}}, ""),
        ({"allowed": False}, "Say drill: true (drill_allowed in a role or a survey) if this deployment may be hurt"),
        ({"expected_master": ""}, "A drill wants expected_master"),
        ({"precheck": {"snapshot": {"master": NEW}}}, f"The master is {NEW}, not {OLD} as expected"),
        ({"hosts": {"redis-9": ["redis-9"]}}, "No host of the inventory is known to have the address"),
        ({"hosts": {}, "host": "redis-1"}, ""),
    ],
)
def test_what_speaks_against_it(more: dict[str, Any], reason: str) -> None:
    found = refusal(seen(**more))
    assert reason in found
    assert bool(found) is bool(reason)


def test_the_plan_names_the_host_both_commands_and_how_long_writes_stand_still() -> None:
    told = "\n".join(plan_lines(seen()))
    assert f"{OLD}, on redis-1: stop it" in told
    assert "start it, whatever happens" in told
    assert "some 6 to 9 s" in told


def test_the_figures_stand_beside_those_of_the_move_back() -> None:
    result = conclude(seen(watch=watched(), stop={"rc": 0}, start={"rc": 0}, back=BACK))
    assert (result["proven"], result["given_back"], result["error"], result["msg"]) == (True, True, None, "")
    assert result["planned"] == {"what": "the move back", "write_gap_ms": 12.1, "lossless": True}
    told = closing_lines(result)
    assert told[0] == f"shop: Sentinel moved the master by itself from {OLD} to {NEW}"
    assert any(line.endswith("6,400 ms") for line in told)
    assert any(line.endswith("12 ms, nothing lost") for line in told)
    assert told[-1].strip() == f"the master is on {OLD} again"


def test_without_a_move_back_the_newest_move_of_the_history_stands_beside_it() -> None:
    moves = [
        {"master_name": "shop", "outcome": "switched", "write_gap_ms": 9, "ended_at": "Monday"},
        {"master_name": "shop", "outcome": "switched", "write_gap_ms": 11, "ended_at": "Tuesday"},
        {"master_name": "shop", "outcome": "refused", "ended_at": "Wednesday"},
        {"master_name": "cart", "outcome": "switched", "write_gap_ms": 13, "ended_at": "Thursday"},
    ]
    history = "\n".join([*map(json.dumps, moves), "not JSON"])
    found = planned({}, history, "shop")
    assert found is not None
    assert (found["what"], found["write_gap_ms"]) == ("the move of Tuesday", 11)
    assert planned({}, "", "shop") is None


def test_loss_is_said_with_its_size() -> None:
    told = "\n".join(closing_lines(conclude(seen(watch=watched(missing_bytes=812)))))
    assert "812 bytes of the replication stream at least" in told


@pytest.mark.parametrize(
    ("start", "left"),
    [({"rc": 0}, False), ({"failed": True}, True), ({}, True)],
    ids=["started", "could not be started", "not come to"],
)
def test_a_master_that_may_still_be_stopped_is_said_to_be(start: dict[str, Any], left: bool) -> None:
    result = conclude(seen(failed=True, cause={"msg": "the watch failed."}, stop={"rc": 0}, start=start))
    assert result["msg"].startswith("the watch failed.")
    assert ("run start it on redis-1" in result["msg"]) is left
    assert (result["proven"], result["error"]) == (False, "drill_failed")


def test_a_drill_that_was_refused_has_stopped_nothing() -> None:
    result = course(seen(allowed=False, failed=True, cause={"msg": "no"}))["result"]
    assert (result["changed"], result["proven"], result["msg"]) == (False, False, "no")


def test_a_host_is_found_by_its_name_its_address_or_what_sentinel_shows() -> None:
    hosts = host_addresses(
        {
            "redis-1": {"ansible_host": "192.0.2.21"},
            "redis-2": {"ansible_host": "10.0.0.2", "redis_ha_address": "192.0.2.22, 2001:db8::22"},
            "redis-3.example": {},
        }
    )
    assert host_of("192.0.2.21:6379", hosts) == "redis-1"
    assert host_of("192.0.2.22:6379", hosts) == "redis-2"
    assert host_of("[2001:DB8::22]:6379", hosts) == "redis-2"
    assert host_of("redis-3.example:6379", hosts) == "redis-3.example"
    assert host_of("192.0.2.2:6379", hosts) == ""


# ---- the report ----------------------------------------------------------------------------------------------------


def drilled(**more: Any) -> dict[str, Any]:
    figures = {
        "detected": 5100.4,
        "agreed": 5150.0,
        "elected": 5200.0,
        "promoted": 5400.0,
        "named": 6400.0,
        "followed": None,
    }
    watch = watched(figures_ms=figures, timeline=[{"at_ms": 5100.4, "who": "sentinel s:1", "what": "+sdown <b>"}])
    return conclude(seen(watch=watch, stop={"rc": 0}, start={"rc": 0}, back=BACK, **more))


def parts(page: DrillPage) -> dict[str, tuple[str, str]]:
    return {part.label: (part.automatic, part.planned) for part in page.parts}


def test_in_the_report_each_part_stands_beside_that_of_the_planned_move() -> None:
    page = read_drill(drilled(), read_run(SWITCHED, master_name="orders"))
    assert (page.tone, page.word) == ("good", "Proven")
    assert page.headline == f"Sentinel moved orders by itself from {OLD} to {NEW}. Writes stood still for 6.40 s."
    found = parts(page)
    assert found["the first Sentinel takes the master for down"] == ("5.10 s", "none is needed")
    assert found["a replica is promoted"][0] == "5.40 s"
    assert found["a replica is promoted"][1].endswith(" ms")
    assert found["every Sentinel names it"] == ("6.40 s", duration(SWITCHED["write_gap_ms"]))
    assert found["every other replica follows it"][0] == "not seen"
    assert found["clients can write again"] == ("6.40 s", "12 ms")
    assert [(fact.label, fact.value) for fact in page.facts] == [
        ("Automatic failover: writes stood still", "6.40 s"),
        ("Planned move: writes stood still", "12 ms"),
        ("Automatic failover: lost", "nothing was seen"),
        ("Planned move: lost", "nothing"),
    ]


def test_without_a_move_back_the_move_of_the_history_stands_beside_it_with_what_is_known_of_it() -> None:
    move = {"master_name": "shop", "outcome": "switched", "write_gap_ms": 11, "lossless": True, "ended_at": "Tuesday"}
    result = conclude(seen(watch=watched(), stop={"rc": 0}, start={"rc": 0}, history=json.dumps(move)))
    page = read_drill(result, read_run({}, master_name="shop"))
    assert page.beside == "the move of Tuesday"
    assert parts(page)["every Sentinel names it"] == ("6.40 s", "")
    assert parts(page)["clients can write again"] == ("6.40 s", "11 ms")


def test_a_drill_that_failed_says_so_first_and_what_to_do() -> None:
    result = conclude(seen(failed=True, cause={"msg": "the watch failed."}, stop={"rc": 0}, start={"failed": True}))
    page = read_drill(result, read_run({}, master_name="shop"))
    assert (page.tone, page.word, page.parts[-1].automatic) == ("bad", "Not proven", "not seen")
    assert "run start it on redis-1" in page.todos[0].what
    elsewhere = read_drill({**drilled(), "given_back": False}, read_run({}, master_name="shop"))
    assert elsewhere.tone == "attention"
    assert elsewhere.todos[0].what == f"The master is not on {OLD} again."


@pytest.mark.parametrize("result", [{}, SWITCHED, {"outcome": "refused"}])
@pytest.mark.parametrize("drill", [drilled(), {"proven": "yes", "timeline": 7, "planned": [], "figures_ms": []}])
def test_the_pages_of_a_drill_are_made_of_whatever_is_known_and_escape_it(drill: dict[str, Any], result: Any) -> None:
    health = {"checks": [{"name": "quorum", "status": "critical", "detail": "<i>", "remedy": "Mend | it."}]}
    made = report(result, health, health, "<shop>", drill=drill)
    assert "<title>" in made["html"]
    assert "<shop>" not in made["html"] + made["markdown"]
    assert "<i>" not in made["html"]
    assert "+sdown <b>" not in made["html"]
    assert made["headline"].startswith(("Sentinel moved <shop>", "The drill of <shop>"))
