# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a drain, for a person; whether the role goes on, and whether it has failed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.filter.drain_course import FilterModule as Course
from ansible_collections.redis_ha.sentinel.plugins.filter.drain_lines import FilterModule as Lines
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._narration import DrainNarrator

A, B = "192.0.2.21", "192.0.2.22"
lines_of = Lines().filters()["drain_lines"]
course_of = Course().filters()["drain_course"]


def master(name: str, outcome: str, **changes: Any) -> dict[str, Any]:
    moved = outcome == "switched"
    fields: dict[str, Any] = {
        "name": name,
        "outcome": outcome,
        "changed": moved,
        "msg": None,
        "remedy": None,
        "old_master": f"{A}:6379",
        "new_master": f"{B if moved else A}:6379",
        "planned_master": f"{B}:6379",
        "lossless": True if moved else None,
        "lossless_reason": "",
        "write_gap_ms": 12.5 if moved else None,
        "repaired": [],
    }
    return {**fields, **changes}


def result(*masters: dict[str, Any], **changes: Any) -> dict[str, Any]:
    hosts = [{"host": A, "masters": 2, "masters_planned": 0}, {"host": B, "masters": 0, "masters_planned": 2}]
    fields = {
        "masters": list(masters),
        "hosts": hosts,
        "msg": f"Masters on {A}: told. More of it.",
        "unknown_hosts": [],
    }
    return {**fields, **changes}


REFUSED = master("b", "refused", msg="It lags. Wait.", remedy="Wait.")


def test_each_that_was_moved_and_each_that_was_not_has_its_line() -> None:
    assert lines_of(result(master("a", "switched"), REFUSED, master("c", "unchanged"), unknown_hosts=["db-9"])) == [
        f"Masters on {A}: told.",
        f"a  {A}:6379 -> {B}:6379  writes stood still for 12.5 ms, nothing lost",
        "b  REFUSED  It lags.",
        "  What to do: Wait.",
        f"{A}: 2 -> 1 masters, 0 were planned",
        f"{B}: 0 -> 1 masters, 2 were planned",
        "No server is on db-9.",
    ]


def test_a_plan_says_who_would_go_where() -> None:
    assert lines_of(result(master("a", "planned"), master("b", "planned"))) == [
        f"Masters on {A}: told.",
        f"a  {A}:6379 -> {B}:6379",
        f"b  {A}:6379 -> {B}:6379",
        f"{A}: 2 -> 0 masters",
        f"{B}: 0 -> 2 masters",
    ]


def test_a_loss_is_not_hidden() -> None:
    lost = master("a", "switched", lossless=False, lossless_reason="it was down", write_gap_ms=None)
    assert f"a  {A}:6379 -> {B}:6379  LOSS POSSIBLE: it was down" in lines_of(result(lost))


def test_what_was_put_back_is_told() -> None:
    assert "a: put back: a priority" in lines_of(result(master("a", "unchanged", repaired=["a priority"])))


def test_an_error_of_the_whole_is_its_message() -> None:
    assert lines_of({"msg": "No server is on x. Name it."}) == ["No server is on x. Name it."]


PLANNED = result(master("a", "planned"))
ONE_REFUSED = result(REFUSED, error="masters_left", msg="b is left.", remedy="Mend it.")
BROKEN: dict[str, Any] = {"masters": [], "error": "hosts_unknown", "msg": "Nobody is there.", "remedy": "Name it."}
MOVED = result(master("a", "switched"))
NOTHING_LEFT = result(master("a", "unchanged"))


@pytest.mark.parametrize(
    ("plan", "stop_on_failure", "stop"),
    [(PLANNED, True, False), (ONE_REFUSED, False, False), (ONE_REFUSED, True, True), (BROKEN, False, True)],
)
def test_it_stops_where_nothing_can_be_planned_or_where_that_was_asked(
    plan: dict[str, Any], stop_on_failure: bool, stop: bool
) -> None:
    assert course_of(plan, stop_on_failure=stop_on_failure)["stop"] is stop


RUN_AGAIN = "Run it again: what was begun is finished, and the rest is moved."


@pytest.mark.parametrize(
    ("plan", "moved", "after", "failure"),
    [
        (PLANNED, {}, {}, ""),
        (PLANNED, MOVED, NOTHING_LEFT, ""),
        (BROKEN, {}, {}, "Nobody is there. Name it."),
        (ONE_REFUSED, {}, {}, "b is left. Mend it."),
        # It could be moved after all.
        (ONE_REFUSED, MOVED, NOTHING_LEFT, ""),
        (PLANNED, {"changed": False}, {}, f"The drain ended without a result (it is not known why). {RUN_AGAIN}"),
        (
            PLANNED,
            {"msg": "MODULE FAILURE\nsee."},
            {},
            f"The drain ended without a result (MODULE FAILURE). {RUN_AGAIN}",
        ),
        (PLANNED, MOVED, PLANNED, "Still, or again, on the hosts to leave: a. Look with topology_info and run again."),
        (PLANNED, MOVED, BROKEN, "The look afterwards: Nobody is there."),
    ],
)
def test_it_fails_where_a_master_is_left(
    plan: dict[str, Any], moved: dict[str, Any], after: dict[str, Any], failure: str
) -> None:
    assert course_of(plan, moved, after)["failure"] == failure


def test_the_next_node_of_a_workflow_gets_who_was_moved_and_who_was_not() -> None:
    told = result(
        master("a", "switched"), REFUSED, changed=True, counts={"switched": 1, "refused": 1}, error="masters_left"
    )
    assert course_of(PLANNED, told)["summary"] == {
        "changed": True,
        "counts": {"switched": 1, "refused": 1},
        "left": ["b"],
        "error": "masters_left",
        "moved": {"a": {"old_master": f"{A}:6379", "new_master": f"{B}:6379"}},
    }


def test_each_move_has_its_line_as_soon_as_it_has_ended() -> None:
    narrator = DrainNarrator()
    entries = [
        {"at_ms": 812.3, "count": 1, "of": 2, "master": master("a", "switched")},
        {"at_ms": 2034.0, "count": 2, "of": 2, "master": {**REFUSED, "msg": "It lags.\x1b[2J Wait."}},
    ]
    assert [narrator.line(entry) for entry in entries] == [
        f"    0.812 s  1 of 2      a  {A}:6379 -> {B}:6379  writes stood still for 12.5 ms, nothing lost",
        "    2.034 s  2 of 2      b  REFUSED  It lags.?[2J",
    ]
    assert narrator.step == "2 of 2"
