# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history of moves as a table."""

from __future__ import annotations

import json

import pytest
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._history import table

MOVE = {
    "ended_at": "2026-10-05T03:12:45Z",
    "master_name": "orders",
    "outcome": "switched",
    "old_master": "192.0.2.21:6379",
    "new_master": "192.0.2.22:6379",
    "write_gap_ms": 11.5,
    "lossless": True,
    "by": "ann",
}


def test_the_newest_move_comes_first_and_what_is_not_known_is_a_dash() -> None:
    refused = {"ended_at": "2026-10-06T03:12:45Z", "master_name": "carts", "outcome": "refused", "lossless": None}
    lost = {**MOVE, "lossless": False}
    lines = table("\n".join(json.dumps(move) for move in (MOVE, lost, refused)) + "\n\n")
    assert [line.split() for line in lines[1:]] == [
        ["2026-10-06T03:12:45Z", "carts", "refused", "-", "-", "-", "-", "-"],
        [
            *[
                "2026-10-05T03:12:45Z",
                "orders",
                "switched",
                "192.0.2.21:6379",
                "192.0.2.22:6379",
                "11.5",
                "ms",
                "NO",
                "PROOF",
                "ann",
            ]
        ],
        [
            *[
                "2026-10-05T03:12:45Z",
                "orders",
                "switched",
                "192.0.2.21:6379",
                "192.0.2.22:6379",
                "11.5",
                "ms",
                "yes",
                "ann",
            ]
        ],
    ]
    assert [line.split()[1] for line in table(json.dumps(MOVE) + "\n" + json.dumps(refused), "orders")[1:]] == [
        "orders"
    ]


def test_no_move_is_said() -> None:
    assert table("") == ["No move is on record."]
    assert table(json.dumps(MOVE), "carts") == ["No move is on record."]


@pytest.mark.parametrize("line", ["{", "[]", "7"])
def test_a_line_that_is_no_move_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no JSON object"):
        table(f"{json.dumps(MOVE)}\n{line}")
