# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which replica would be promoted, and why not each other one."""

from __future__ import annotations

from ansible_collections.redis_ha.sentinel.plugins.filter.candidate_lines import candidate_lines

CHECKS = [
    {"name": "quorum", "detail": "each Sentinel sees it"},
    {"name": "replica", "detail": "replica 192.0.2.22:6379 is fit: link up"},
    {"name": "replica", "detail": "replica 192.0.2.23:6379 is fit, but: an older version"},
    {"name": "replica", "detail": "replica 192.0.2.24:6379 is not fit: priority 0"},
]


def test_the_chosen_one_comes_first_then_why_not_each_other() -> None:
    planned = {
        "outcome": "planned",
        "new_master": {"host": "192.0.2.22", "port": 6379},
        "plan": {"expected_write_stop_ms": 12, "worst_case_write_stop_ms": 1100.0},
        "notes": ["look here"],
    }
    first, fit, unfit, note = candidate_lines(planned, CHECKS)
    assert first == "would be promoted: 192.0.2.22:6379; writes would stand still for about 12 ms, 1100 ms at most"
    assert fit.startswith("not 192.0.2.23:6379: it is fit, but: an older version; replica-priority comes first")
    assert unfit == "not 192.0.2.24:6379: priority 0"
    assert note == "note: look here"


def test_a_refusal_says_why_nobody_is_promoted() -> None:
    lines = candidate_lines({"outcome": "refused", "new_master": None, "msg": "no quorum"}, CHECKS)
    assert lines[0] == "nobody would be promoted: no quorum"
    assert len(lines) == 4
    assert candidate_lines({"outcome": "unchanged"}, [])[0] == "nobody would be promoted: nothing would be moved"
