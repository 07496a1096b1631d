# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's comparison of results with RETURN notices what it should."""

from __future__ import annotations

from typing import Any

import pytest

from lab.documented import mismatches

DOCUMENTED = {
    "name": {"type": "str"},
    "count": {"type": "int"},
    "words": {"type": "list", "elements": "str"},
    "rows": {"type": "list", "elements": "dict", "contains": {"up": {"type": "bool"}}},
}
RIGHT: dict[str, Any] = {"name": "a", "count": 1, "words": ["b"], "rows": [{"up": True}, {"up": None}]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"count": None}, []),
        ({"count": "1"}, ["count is a str, not a int"]),
        ({"count": True}, ["count is a bool, not a int"]),
        ({"words": "b"}, ["words is a str, not a list"]),
        ({"words": [1]}, ["words[] is a int, not a str"]),
        ({"more": 1}, ["more is returned and not documented"]),
        ({"rows": [{}]}, ["rows[].up is documented and not returned"]),
        (
            {"rows": [{"up": 1, "down": 2}]},
            ["rows[].down is returned and not documented", "rows[].up is a int, not a bool"],
        ),
    ],
)
def test_mismatches(changes: dict[str, Any], expected: list[str]) -> None:
    assert mismatches({**RIGHT, **changes}, DOCUMENTED) == expected


def test_a_missing_key() -> None:
    assert mismatches({}, {"name": {"type": "str"}}) == ["name is documented and not returned"]
