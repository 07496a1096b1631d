# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run that was killed must not have done, and how it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from bench.killed import table, wrong


def line(then: str = "again", **more: Any) -> dict[str, Any]:
    again = {"again": "switched", "again_s": 1.2, "again_message": None} if then == "again" else {}
    return {
        "kind": "killed",
        "server": "redis-7.0",
        "at": 2,
        "when": "after",
        "then": then,
        "outcome": "killed",
        "stands": False,
        "messages": [
            {"number": 1, "commands": ["CLIENT PAUSE 1250 WRITE"]},
            {"number": 2, "commands": ["REPLICAOF 127.0.0.1 6380", "CLIENT UNPAUSE"]},
        ],
        "writes_lost": 0,
        "longest_gap_s": 1.5,
        "healed_s": 1.4,
        "left_over": [],
        **again,
        **more,
    }


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (line(), []),
        (line(again="unchanged"), []),
        (line("nothing", healed_s=35.0, left_over=["a raised priority"]), []),
        (line("nothing", healed_s=41.0), ["healed after 41.0 s"]),
        (line("nothing", healed_s=3.5, at=1), ["healed after 3.5 s"]),
        (line("nothing", healed_s=3.5, at=1, stands=True), []),
        (line("nothing", writes_lost=3), ["3 lost"]),
        (line(again="refused", again_message="why"), ["again: refused, why"]),
        (line(again_s=5.5), ["again took 5.5 s"]),
        (line(left_over=["node: replica-priority 1000000100"]), ["left: node: replica-priority 1000000100"]),
        (line(at=None, outcome="aborted"), ["outcome aborted"]),
        (line(at=None, outcome="switched"), []),
    ],
)
def test_what_is_wrong(made: dict[str, Any], found: list[str]) -> None:
    assert wrong(made) == found


def test_both_ways_to_go_on_are_a_row() -> None:
    shown = table([line("nothing", writes_lost=1, healed_s=30.0), line()])
    assert [cell.strip() for cell in shown[-1].strip("|").split("|")] == [
        "redis-7.0",
        "after 2",
        "REPLICAOF 127.0.0.1 6380; CLIENT UNPAUSE",
        "1",
        "30.00 s",
        "1.50 s",
        "switched",
        "1.20 s",
        "1.50 s",
    ]
