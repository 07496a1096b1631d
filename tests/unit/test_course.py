# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role failover does next, and what it makes of it: a table over what was seen."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._course import NOTHING, closing_lines, course, summary

OLD, NEW = {"host": "192.0.2.21", "port": 6379}, {"host": "192.0.2.22", "port": 6379}
OLD_TEXT, NEW_TEXT = "192.0.2.21:6379", "192.0.2.22:6379"
BEFORE = {"snapshot": {"master": OLD_TEXT}, "checks": []}
WANTED = {"want_precheck": True, "want_postcheck": True, "want_report": True, "request": {"target": "", "avoid": []}}
SWITCHED = {
    "changed": True,
    "outcome": "switched",
    "error": None,
    "old_master": OLD,
    "new_master": NEW,
    "lossless": True,
    "replicas": [],
    "repaired": [],
    "notes": [],
}
LATE = {
    **SWITCHED,
    "outcome": "incomplete",
    "error": "left_to_do",
    "remedy": "Wait.",
    "msg": "left to do: 192.0.2.23:6379",
    "replicas": [
        {"host": "192.0.2.23", "port": 6379, "excused": False, "following": False, "detail": "link down"},
        {"host": "fd00::4", "port": 6379, "excused": True, "following": False, "detail": "down before"},
    ],
}
REFUSED = {
    "changed": False,
    "outcome": "refused",
    "error": "target_lagging",
    "remedy": "Wait.",
    "msg": "it lags",
    "old_master": OLD,
    "new_master": None,
}
PLANNED = {**SWITCHED, "changed": False, "outcome": "planned", "lossless": None}
KILLED = {"changed": False, "failed": False, "rc": -9, "msg": "MODULE FAILURE\nSee stdout/stderr", "module_stdout": ""}
LOST = {"unreachable": True, "msg": "Failed to connect to the host via ssh"}
UNKNOWN = {
    **SWITCHED,
    "outcome": "unknown",
    "error": "outcome_unknown",
    "msg": "no Sentinel answers",
    "remedy": "Look.",
}
SKIPPED = {"changed": False, "skipped": True}


def run(**seen: Any) -> dict[str, Any]:
    return course({**WANTED, "precheck": BEFORE, **seen})


# ---- what comes next -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "stages"),
    [
        ({}, ["precheck"]),
        ({"want_precheck": False}, ["look"]),
        ({"want_precheck": False, "want_postcheck": False}, ["look"]),
        ({"want_precheck": False, "want_postcheck": False, "want_report": False}, []),
        ({"confirm": True}, ["precheck", "plan"]),
        ({"before_tasks": "/x.yml"}, ["precheck", "plan"]),
        ({"before_tasks": "/x.yml", "check_mode": True}, ["precheck"]),
        ({"confirm": True, "check_mode": True, "want_precheck": False}, ["look"]),
    ],
)
def test_stages_before(asked: dict[str, Any], stages: list[str]) -> None:
    assert run(precheck={}, **asked)["before"] == stages


@pytest.mark.parametrize(
    ("seen", "stages"),
    [
        ({"move": SWITCHED}, ["afterwards"]),
        ({"move": {**SWITCHED, "outcome": "unchanged"}}, ["wait", "afterwards"]),
        ({"move": LATE}, ["wait", "afterwards"]),
        ({"move": LATE, "want_postcheck": False}, ["see"]),
        ({"move": SWITCHED, "want_postcheck": False}, []),
        ({"move": {**LATE, "error": "priorities_left"}}, ["see"]),
        ({"move": REFUSED}, []),
        ({"move": {**REFUSED, "outcome": "aborted"}}, []),
        ({"move": PLANNED, "check_mode": True}, []),
        ({"move": KILLED, "check_mode": True}, []),
        ({"move": KILLED}, ["again"]),
        ({"move": KILLED, "want_postcheck": False}, ["again"]),
        ({"move": LOST}, ["again"]),
        ({"move": UNKNOWN}, ["again"]),
        ({"first": KILLED, "move": SWITCHED}, ["wait", "afterwards"]),
        ({"first": KILLED, "move": KILLED}, ["see"]),
        ({"first": UNKNOWN, "move": UNKNOWN}, ["see"]),
        ({"first": KILLED, "move": REFUSED}, []),
    ],
)
def test_stages_after(seen: dict[str, Any], stages: list[str]) -> None:
    assert run(**seen)["after"] == stages


@pytest.mark.parametrize(
    ("move", "settled", "expected"),
    [(LATE, True, True), (LATE, False, False), (SWITCHED, True, False), (REFUSED, True, False)],
)
def test_what_late_replicas_carry_is_put_back_when_they_have_come(
    move: dict[str, Any], settled: bool, expected: bool
) -> None:
    assert run(move=move, wait={"settled": settled})["put_back"] is expected


@pytest.mark.parametrize(
    ("request_", "now", "expected"),
    [
        ({"target": "", "avoid": []}, OLD_TEXT, {"target": "", "avoid": [], "expected_master": OLD_TEXT}),
        ({"target": "", "avoid": ["a"]}, "", {"target": "", "avoid": ["a"], "expected_master": OLD_TEXT}),
        ({"target": NEW_TEXT}, OLD_TEXT, {"target": NEW_TEXT, "expected_master": OLD_TEXT}),
        ({"target": ""}, NEW_TEXT, {"target": NEW_TEXT, "expected_master": NEW_TEXT, "avoid": []}),
    ],
    ids=["not moved", "no Sentinel answers", "not moved, target", "moved"],
)
def test_the_second_run_never_moves_the_master_a_second_time(
    request_: dict[str, Any], now: str, expected: dict[str, Any]
) -> None:
    found = run(move=KILLED, request=request_, look_now={"snapshot": {"master": now}})
    assert found["second_request"] == expected


MASK = "********:6379"
RUN_ID, OTHER_ID = "a1" * 20, "b2" * 20


def masked(master_id: str, **other: Any) -> dict[str, Any]:
    """What is seen where every address is masked, as where the password is the name of every host."""
    roles = {RUN_ID: "replica", OTHER_ID: "replica", master_id: "master"}
    nodes = [{"address": MASK, "role": role, "run_id": run_id} for run_id, role in roles.items()]
    return {"snapshot": {"master": MASK, "nodes": nodes, **other}, "checks": []}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (masked(RUN_ID), {"target": "", "expected_master": f"{RUN_ID}:6379"}),
        (
            masked(OTHER_ID),
            {"target": f"{OTHER_ID}:6379", "expected_master": f"{OTHER_ID}:6379", "avoid": []},
        ),
        ({"snapshot": {"master": NEW_TEXT}}, {"target": NEW_TEXT, "expected_master": NEW_TEXT, "avoid": []}),
        # In the middle of it nobody says that he is the master.
        (masked("", nodes=[]), {"target": "", "expected_master": f"{RUN_ID}:6379"}),
    ],
    ids=["not moved", "moved", "to one that is not masked", "half done"],
)
def test_where_ansible_masks_addresses_the_second_run_goes_by_run_ids(
    now: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = run(precheck=masked(RUN_ID), move=KILLED, request={"target": ""}, look_now=now)
    assert found["second_request"] == expected


@pytest.mark.parametrize("asked", ["", f"{OTHER_ID}:6379"], ids=["not moved", "moved"])
def test_what_the_first_run_moved_is_told_where_addresses_are_masked(asked: str) -> None:
    nowhere = {"host": "********", "port": 6379}
    second = {**SWITCHED, "outcome": "unchanged", "new_master": nowhere, "request": {"target": asked}}
    found = run(precheck=masked(RUN_ID), first=KILLED, move=second)
    assert found["result"]["outcome"] == ("switched" if asked else "unchanged")
    assert found["result"]["old_master"] == (nowhere if asked else OLD)


def test_nothing_is_put_back_where_the_master_cannot_be_named() -> None:
    late = {**LATE, "new_master": {"host": "********", "port": 6379}}
    assert run(move=late, wait={"settled": True})["put_back"] is False


def test_a_way_back_that_is_masked_is_not_shown() -> None:
    found = run(move={**SWITCHED, "way_back": f"ansible localhost -a target={MASK}"})["result"]
    assert found["way_back"] is None
    assert "way back" in found["notes"][-1]
    assert run(move={**SWITCHED, "way_back": "ansible"})["result"]["way_back"] == "ansible"


def test_the_second_run_goes_by_the_expected_master_where_nobody_has_looked_before() -> None:
    found = run(precheck={}, move=KILLED, request={"target": "", "expected_master": OLD_TEXT}, look_now={})
    assert found["second_request"]["expected_master"] == OLD_TEXT
    assert run(precheck={}, move=KILLED, look_now={"snapshot": {"master": NEW_TEXT}})["second_request"] == {
        "target": "",
        "avoid": [],
        "expected_master": NEW_TEXT,
    }


@pytest.mark.parametrize(
    ("seen", "stages"),
    [
        ({"after_tasks": "a", "failure_tasks": "f"}, ["after"]),
        ({"after_tasks": "a", "history_file": "h"}, ["history", "after"]),
        ({"failure_tasks": "f"}, []),
        ({"after_tasks": "a", "history_file": "h", "check_mode": True}, []),
        ({"after_tasks": "a", "failure_tasks": "f", "move": REFUSED, "history_file": "h"}, ["history", "failure"]),
        ({"failure_tasks": "f", "history_file": "h", "move": {}, "failed": True}, ["failure"]),
    ],
)
def test_stages_at_the_end(seen: dict[str, Any], stages: list[str]) -> None:
    assert run(**{"move": SWITCHED, **seen})["own_tasks"] == stages


# ---- what is made of it ------------------------------------------------------------------------------------------------


CAUSE = {"msg": "it is bad"}


@pytest.mark.parametrize(
    ("seen", "outcome", "error", "stage", "told"),
    [
        ({"move": {}, "failed": True, "cause": CAUSE}, "refused", "precheck_failed", "precheck", "it is bad"),
        ({"move": {}, "failed": True}, "refused", "precheck_failed", "precheck", "it is not known why"),
        (
            {"move": {}, "failed": True, "cause": {**CAUSE, "error": "no_quorum", "remedy": "Start it."}},
            "refused",
            "no_quorum",
            "precheck",
            "it is bad",
        ),
        (
            {"move": {}, "plan": REFUSED, "failed": True, "cause": {"msg": "it lags"}},
            "refused",
            "target_lagging",
            "plan",
            "it lags",
        ),
        (
            {
                "move": {},
                "plan": PLANNED,
                "confirm": True,
                "answer": {"user_input": "no"},
                "failed": True,
                "cause": CAUSE,
            },
            "refused",
            "not_confirmed",
            "confirm",
            "it is bad",
        ),
        (
            {"move": {}, "plan": PLANNED, "confirm": True, "failed": True, "cause": CAUSE},
            "refused",
            "not_confirmed",
            "confirm",
            "it is bad",
        ),
        (
            {
                "move": {},
                "plan": PLANNED,
                "confirm": True,
                "answer": {"user_input": " Yes"},
                "failed": True,
                "cause": CAUSE,
            },
            "refused",
            "vetoed",
            "before",
            "it is bad",
        ),
        ({"move": {}, "plan": PLANNED, "failed": True, "cause": CAUSE}, "refused", "vetoed", "before", "it is bad"),
        ({"move": REFUSED}, "refused", "target_lagging", "failover", "it lags"),
        ({"move": LATE, "want_postcheck": False}, "incomplete", "left_to_do", "failover", LATE["msg"]),
        (
            {"move": SWITCHED, "postcheck": {"checks": []}, "failed": True, "cause": CAUSE},
            "incomplete",
            "postcheck_failed",
            "postcheck",
            "it is bad",
        ),
        (
            {"move": LATE, "wait": {"settled": False}, "failed": True, "cause": CAUSE},
            "incomplete",
            "left_to_do",
            "postcheck",
            f"{LATE['msg']}\nit is bad",
        ),
        (
            {"move": {**SWITCHED, "outcome": "unchanged"}, "wait": {"settled": True}, "failed": True, "cause": CAUSE},
            "unchanged",
            "postcheck_failed",
            "postcheck",
            "it is bad",
        ),
        (
            {"move": SWITCHED, "postcheck": {"checks": []}, "own_tasks": True, "failed": True, "cause": CAUSE},
            "switched",
            "after_tasks_failed",
            "after",
            "The failover is switched; failover_after_tasks have failed: it is bad",
        ),
        ({"first": KILLED, "move": KILLED}, "unknown", "module_failed", "failover", KILLED["msg"]),
        ({"first": KILLED, "move": REFUSED}, "refused", "target_lagging", "failover", "it lags"),
        ({"first": UNKNOWN, "move": UNKNOWN}, "unknown", "outcome_unknown", "failover", "no Sentinel answers"),
        ({"move": LOST, "check_mode": True}, "unknown", "module_failed", "failover", LOST["msg"]),
    ],
)
def test_what_a_failure_makes_of_it(seen: dict[str, Any], outcome: str, error: str, stage: str, told: str) -> None:
    result = run(**seen)["result"]
    assert (result["outcome"], result["error"], result["failure"]["stage"]) == (outcome, error, stage)
    assert result["failure"]["msg"] == told
    assert result["failed"] is True
    assert set(NOTHING) <= set(result), "every key of the module is there"
    assert result["changed"] is (stage in ("failover", "postcheck", "after") and outcome != "refused")


def test_what_went_well_has_no_failure() -> None:
    for move in (SWITCHED, {**SWITCHED, "outcome": "unchanged"}):
        result = run(move=move)["result"]
        assert (result["failure"], result["failed"], result["outcome"]) == ({}, False, move["outcome"])
    assert run(move=PLANNED, check_mode=True)["result"]["failure"] == {}


def test_replicas_that_came_late_have_come() -> None:
    found = run(move=LATE, wait={"settled": True}, postcheck={"checks": []}, finish={"repaired": ["put back"]})
    result = found["result"]
    assert (result["outcome"], result["error"], result["failure"]) == ("switched", None, {})
    assert [row["following"] for row in result["replicas"]] == [True, False], "what was down before is not waited for"
    assert result["repaired"] == ["put back"]
    assert result["notes"][-1].endswith("The check afterwards saw it done")
    assert found["excused"] == ["[fd00::4]:6379"]


def test_the_second_run_has_the_last_word_and_a_note() -> None:
    result = run(first=KILLED, move=SWITCHED, wait={"settled": True}, postcheck={"checks": []})["result"]
    assert (result["outcome"], result["lossless"], result["failure"]) == ("switched", True, {})
    assert result["notes"] == [
        "the first run had no end (MODULE FAILURE); it was run once more, and this is what the second run says"
    ]


def test_a_master_that_the_killed_run_had_moved_already_is_switched_without_proof() -> None:
    unchanged = {**SWITCHED, "changed": False, "outcome": "unchanged", "old_master": NEW, "lossless": None}
    result = run(first=KILLED, move=unchanged, wait={"settled": True}, postcheck={"checks": []})["result"]
    assert (result["outcome"], result["changed"], result["lossless"]) == ("switched", True, False)
    assert (result["old_master"], result["new_master"]) == (OLD, NEW)
    assert "left no proof" in result["lossless_reason"]


@pytest.mark.parametrize(
    ("move", "baseline"), [(SWITCHED, BEFORE["snapshot"]), (LATE, BEFORE["snapshot"]), (REFUSED, {})]
)
def test_the_check_afterwards_compares_only_where_the_master_moved(move: dict[str, Any], baseline: object) -> None:
    assert run(move=move)["baseline"] == baseline


def test_a_task_that_was_skipped_has_seen_nothing() -> None:
    found = run(precheck=SKIPPED, look=BEFORE, move=SWITCHED, finish=SKIPPED, wait=SKIPPED)
    assert found["seen_before"] == BEFORE
    assert found["seen_after"] == {}


# ---- what is said and handed on ----------------------------------------------------------------------------------------


def test_the_summary_is_flat() -> None:
    handed = summary({**NOTHING, **SWITCHED, "write_gap_ms": 11.5}, "mymaster", {"html": "/r.html"})
    assert (handed["old_master"], handed["new_master"]) == (OLD_TEXT, NEW_TEXT)
    assert handed["write_gap_ms"] == 11.5
    assert all(not isinstance(value, (list, dict)) for key, value in handed.items() if key != "report_files")
    assert summary(NOTHING, "mymaster", {})["new_master"] is None


def test_the_headline_comes_first_and_loss_before_all_else() -> None:
    result = {
        **NOTHING,
        **SWITCHED,
        "lossless": False,
        "lossless_reason": "plain loses writes",
        "write_gap_ms": 12.0,
        "started_at": "2026-10-05T03:12:45Z",
        "fenced_at": "2026-10-05T03:12:46Z",
        "notes": ["look here"],
        "way_back": "ansible-playbook redis_ha.sentinel.failover -e target=192.0.2.21:6379",
    }
    assert closing_lines(result, "mymaster", "It was moved.", {"html": "/r.html"}) == [
        "It was moved.",
        "loss      NOT RULED OUT: plain loses writes",
        "writes    stood still for 12 ms",
        "when      started 2026-10-05T03:12:45Z, fenced 2026-10-05T03:12:46Z",
        "note      look here",
        "way back  ansible-playbook redis_ha.sentinel.failover -e target=192.0.2.21:6379",
        "report    /r.html",
    ]
    assert closing_lines(result, "mymaster", "", {})[0] == f"mymaster: switched: {OLD_TEXT} to {NEW_TEXT}"


def test_a_plan_shows_its_steps_and_the_longest_write_stop() -> None:
    plan = {"steps": ["fence", {"name": "demote", "text": "demote the old master"}], "worst_case_write_stop_ms": 1100.0}
    lines = closing_lines({**NOTHING, **PLANNED, "plan": plan}, "mymaster", "A plan.", {})
    assert lines == [
        "A plan.",
        "plan      fence",
        "plan      demote the old master",
        "plan      writes stand still for 1100 ms at most",
    ]
