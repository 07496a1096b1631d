# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of each master of a drain, and the result that is made of it.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain import DrainPlan, DrainRequest, Row
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._record import OUTCOMES
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address

NOT_BEGUN = "not_begun"
DRAIN_OUTCOMES = (*OUTCOMES, NOT_BEGUN)
FAILED = ("refused", "aborted", "incomplete", "unknown", NOT_BEGUN)

TAKEN_OVER = (
    "outcome",
    "changed",
    "error",
    "msg",
    "remedy",
    "phase",
    "strategy",
    "promotion",
    "lossless",
    "lossless_reason",
    "write_gap_ms",
    "started_at",
    "fenced_at",
    "ended_at",
    "repaired",
    "notes",
    "way_back",
)
"""What of the result of a single move the result of a drain has for each master, as it is."""


@dataclass(frozen=True)
class Ended:
    """A move of a drain has ended: when, in milliseconds from the start, and the how manyth of how many it is."""

    at_ms: float
    count: int
    of: int
    row: Row
    result: Mapping[str, Any]

    def as_result(self) -> dict[str, Any]:
        """As the module tells it while it lasts."""
        master = _master(self.row, self.result, check_mode=False)
        return {"at_ms": round(self.at_ms, 1), "count": self.count, "of": self.of, "master": master}


def nothing_drained() -> dict[str, Any]:
    """The result of a run that ended before anybody was asked."""
    return {"masters": [], "counts": {}, "plan": [], "hosts": [], "unknown_hosts": [], "longest_write_gap_ms": None}


def drain_result(
    plan: DrainPlan, request: DrainRequest, results: Mapping[str, Mapping[str, Any]], check_mode: bool
) -> dict[str, Any]:
    """The result of a drain, with every key that the documentation calls always returned.

    Args:
        plan: Who was to go where.
        request: What the caller asked for.
        results: The results of the moves that were made, by the name of the master.
        check_mode: Whether nothing was to be changed.
    """
    masters = [_master(row, results.get(row.name), check_mode) for row in plan.rows]
    counts = Counter(str(master["outcome"]) for master in masters)
    gaps = [master["write_gap_ms"] for master in masters if master["write_gap_ms"] is not None]
    failed = [master for master in masters if master["outcome"] in FAILED]
    result = {
        "changed": any(master["changed"] for master in masters),
        "masters": masters,
        "counts": {outcome: counts[outcome] for outcome in DRAIN_OUTCOMES if counts[outcome]},
        "plan": [row.as_result() for row in plan.rows if row.is_to_do or row.refused],
        "hosts": plan.hosts_as_result(),
        "unknown_hosts": list(plan.unknown_hosts),
        "longest_write_gap_ms": max(gaps, default=None),
        "msg": headline(counts, request.hosts),
        "error": None,
        "remedy": None,
        "diff": {
            "before": {"masters": {master["name"]: master["old_master"] for master in masters}},
            "after": {"masters": {master["name"]: _after(master) for master in masters}},
        },
    }
    return {**result, **_failure(str(result["msg"]), failed)} if failed else result


def _after(master: Mapping[str, Any]) -> Any:
    return master["planned_master"] if master["outcome"] == "planned" else master["new_master"]


def headline(counts: Mapping[str, int], hosts: Sequence[str]) -> str:
    """What became of all of them, in one sentence."""
    words = {
        "switched": "moved",
        "planned": "to be moved",
        "unchanged": "not there or moved before",
        NOT_BEGUN: "not begun",
    }
    told = [f"{counts[outcome]} {words.get(outcome, outcome)}" for outcome in DRAIN_OUTCOMES if counts.get(outcome)]
    return f"Masters on {', '.join(hosts)}: {', '.join(told) or 'none'}."


def _failure(msg: str, failed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = "; ".join(f"{master['name']}: {master['msg']}" for master in failed[:3])
    more = f" And {len(failed) - 3} more, see masters." if len(failed) > 3 else ""
    return {
        "failed": True,
        "msg": f"{msg} {first}{more}",
        "error": "masters_left",
        "remedy": "Do for each master under masters what its remedy says, and run again: only what is left is moved.",
    }


def _master(row: Row, result: Mapping[str, Any] | None, check_mode: bool) -> dict[str, Any]:
    """What became of one master."""
    planned = row.plan.new_master if row.plan and row.is_to_do else None
    planned_master = str(planned) if planned else None
    if result is not None:
        return {
            "name": row.name,
            "msg": None,
            **{name: result[name] for name in TAKEN_OVER if name in result},
            "old_master": _text(result["old_master"]),
            "new_master": _text(result["new_master"]),
            "planned_master": planned_master,
        }
    nothing: dict[str, Any] = {**dict.fromkeys(TAKEN_OVER), "changed": False, "repaired": [], "notes": []}
    old_master = str(row.plan.old_master) if row.plan else None
    named = {"name": row.name, "old_master": old_master, "new_master": old_master, "planned_master": planned_master}
    return {**nothing, **named, **_without_a_move(row, row.plan, check_mode)}


def _without_a_move(row: Row, plan: Plan | None, check_mode: bool) -> dict[str, Any]:
    """What of a master that was not tried is not simply empty."""
    if row.refused is not None or plan is None:
        refused = row.refused
        if refused is None:
            raise ValueError("neither planned nor refused")
        return {
            "outcome": "refused",
            "phase": refused.phase or "check",
            "error": refused.code,
            "msg": refused.sentence,
            "remedy": refused.remedy,
        }
    told = {"phase": "plan", "strategy": plan.strategy or None, "promotion": plan.promotion or None}
    notes = list(plan.notes)
    if not row.is_to_do:
        return {**told, "outcome": "unchanged", "notes": notes}
    if check_mode:
        return {**told, "outcome": "planned", "changed": True, "notes": notes}
    return {
        **told,
        "outcome": NOT_BEGUN,
        "error": "not_begun",
        "msg": "It was not begun: another master had failed and stop_on_failure is set, or the run was asked to end.",
        "remedy": "Run again when the cause is mended.",
    }


def _text(address: Mapping[str, Any] | None) -> str | None:
    return str(Address(address["host"], address["port"])) if address else None
