# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run has found out and done, and the result that is made of it.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import FailoverError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address

OUTCOMES = ("switched", "unchanged", "planned", "refused", "aborted", "incomplete", "unknown")


@dataclass
class Record:
    """What is known of a run while it goes on. It grows and is never taken back, but for ``lossless``, which later news can only deny, and ``beside``.

    Attributes:
        step: The step that the run is in.
        asked: The options that the caller gave, as plain data.
        promotion: Who promotes: ``program`` or ``sentinel``; ``None`` where nobody is promoted.
        promotion_reason: Why.
        fenced_at_s: When writes stopped, in monotonic seconds.
        agreed_at_s: When every Sentinel named the new master and it took writes.
        moved: Whether there is a new master.
        demoted_first: Whether the old master was none any more before anybody was promoted: it has acknowledged nothing since.
        healed: Whether Sentinels that named two masters were told of one: then no failover of theirs goes on, and nobody leads the replicas.
        lossless: Whether the new master is shown to have every acknowledged write.
        beside: A replica that this run, or an earlier one, made a master and that did not stay one, as long as it is not shown that nothing was written there.
        repaired: What an interrupted run had left and this one put back.
        altered: Whether a setting that this run had changed may stay so, because it could not be put back.
        notes: What the caller should know.
        left: What is left to do.
    """

    step: str = "discover"
    asked: dict[str, Any] = field(default_factory=dict)
    understood: str = ""
    started_at: str | None = None
    fenced_at: str | None = None
    ended_at: str | None = None
    strategy: str = ""
    promotion: str | None = None
    promotion_reason: str = ""
    old_master: Address | None = None
    new_master: Address | None = None
    leader: Address | None = None
    plan: Plan | None = None
    server_versions: dict[str, str] = field(default_factory=dict)
    fenced_at_s: float | None = None
    agreed_at_s: float | None = None
    moved: bool = False
    demoted_first: bool = False
    healed: bool = False
    lossless: bool = False
    lossless_reason: str = ""
    beside: Address | None = None
    repaired: list[str] = field(default_factory=list)
    altered: bool = False
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    steps_ms: dict[str, float] = field(default_factory=dict)
    replicas: list[dict[str, Any]] = field(default_factory=list)
    way_back: str | None = None

    def deny_lossless(self, reason: str) -> None:
        """It is not, or no longer, shown that nothing was lost."""
        self.lossless = False
        self.lossless_reason = reason

    @property
    def proof(self) -> tuple[bool, str]:
        """Whether it is shown that nothing was lost, and by what, or why not."""
        if self.lossless and self.beside is not None:
            return False, second_master(self.beside)
        return self.lossless, self.lossless_reason

    @property
    def write_gap_ms(self) -> float | None:
        """What clients feel: from the fence until every Sentinel names the new master and it takes writes."""
        if self.fenced_at_s is None or self.agreed_at_s is None:
            return None
        return round((self.agreed_at_s - self.fenced_at_s) * 1000, 1)


def second_master(other: Address) -> str:
    """Why nothing is shown where another replica was a master, too."""
    return f"{other} was made a master too: what was written there, before it became a replica again, may be lost"


def result_of(record: Record, timeline: list[dict[str, Any]], outcome: str, changed: bool) -> dict[str, Any]:
    """The result of a run, with every key that the documentation calls always returned."""
    old_master = str(record.old_master) if record.old_master else None
    new_master = str(record.new_master) if record.new_master else None
    lossless, lossless_reason = record.proof
    return {
        "changed": changed,
        "outcome": outcome,
        "phase": record.step,
        "error": None,
        "understood": record.understood,
        "request": record.asked,
        "strategy": record.strategy or None,
        "promotion": record.promotion,
        "promotion_reason": record.promotion_reason or None,
        "old_master": record.old_master.as_result() if record.old_master else None,
        "new_master": record.new_master.as_result() if record.new_master else None,
        "leader": str(record.leader) if record.leader else None,
        "plan": record.plan.as_result() if record.plan else None,
        "lossless": lossless if record.moved else None,
        "lossless_reason": lossless_reason if record.moved else "nothing was moved",
        "write_gap_ms": record.write_gap_ms,
        "started_at": record.started_at,
        "fenced_at": record.fenced_at,
        "ended_at": record.ended_at,
        "phases_ms": record.steps_ms,
        "timeline": timeline,
        "replicas": record.replicas,
        "server_versions": record.server_versions,
        "repaired": record.repaired,
        "notes": list(dict.fromkeys(record.notes)),
        "way_back": record.way_back,
        "remedy": None,
        "diff": {
            "before": {"master": old_master},
            "after": {"master": new_master if record.moved or outcome == "planned" else old_master},
        },
    }


def failed_result(record: Record, timeline: list[dict[str, Any]], error: FailoverError) -> dict[str, Any]:
    """The result of a run that ended with an error."""
    outcome = "aborted" if error.outcome == "refused" and record.fenced_at_s is not None else error.outcome
    changed = record.moved or outcome in ("incomplete", "unknown") or bool(record.repaired) or record.altered
    if error.code != "left_to_do":
        record.notes += record.left
    return {
        **result_of(record, timeline, outcome, changed),
        "failed": True,
        "msg": error.sentence,
        "phase": error.phase or record.step,
        "error": error.code,
        "remedy": error.remedy,
        "seen": error.seen,
    }


def gone_on(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """One result of two moves: of the first, which has ended well but elsewhere, and of the second, which went on from there.

    Args:
        first: The result of the first.
        second: That of the second, with the timeline of both.

    Returns:
        What a caller gets. The master before is that before both; a second move that came to nothing leaves the first as it is, with a note.
    """
    steps_ms = dict(first["phases_ms"])
    for name, spent_ms in second["phases_ms"].items():
        steps_ms[name] = round(steps_ms.get(name, 0.0) + spent_ms, 1)
    both = {
        "phases_ms": steps_ms,
        "timeline": second["timeline"],
        "ended_at": second["ended_at"],
        "repaired": [*first["repaired"], *second["repaired"]],
        "fenced_at": first["fenced_at"] or second["fenced_at"],
    }
    both["write_gap_ms"], told = _gap_of_both(first, second)
    notes = [*first["notes"], *second["notes"], *told]
    if second["outcome"] in ("refused", "aborted"):
        notes.append(f"it was not moved on: {_why_not(second)}")
        return {**first, **both, "notes": list(dict.fromkeys(notes))}
    kept = ("understood", "request", "plan", "old_master", "server_versions", "started_at")
    return {
        **second,
        **{name: first[name] for name in kept},
        **both,
        "changed": True,
        **_proof_of_both(first, second),
        "notes": list(dict.fromkeys(notes)),
        "diff": {"before": first["diff"]["before"], "after": second["diff"]["after"]},
    }


def _why_not(second: Mapping[str, Any]) -> str:
    """Why a second move came to nothing, in words for a note."""
    if second["error"] == "program_failed":
        return str(second["msg"])
    # The remedy is for one who has asked for that move alone.
    return str(second["msg"]).removesuffix(second["remedy"]).rstrip(". ")


def _gap_of_both(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[float | None, list[str]]:
    """The longer of two write stops, or nothing, where one of them is not known; and what to say of two."""
    stops_ms = [first["write_gap_ms"]]
    if second["outcome"] == "aborted":
        stops_ms.append(second["seen"].get("stood_ms"))
    elif second["outcome"] != "refused":
        stops_ms.append(second["write_gap_ms"])
    if len(stops_ms) < 2:
        return stops_ms[0], []
    told = " and ".join("a time that is not known" if stop_ms is None else f"{stop_ms:g} ms" for stop_ms in stops_ms)
    longest_ms = None if None in stops_ms else max(stops_ms)
    return longest_ms, [f"the run went on from there, so writes stood still twice: {told}"]


def _proof_of_both(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Whether it is shown that neither of two moves lost anything; else what is not shown of the one that comes first."""
    if first["lossless"] and second["lossless"]:
        return {"lossless": True, "lossless_reason": f"{first['lossless_reason']}; {second['lossless_reason']}"}
    if not first["lossless"]:
        return {"lossless": False, "lossless_reason": first["lossless_reason"]}
    # What has no end that is known has not moved anything yet, as far as its record goes.
    reason = second["msg"] if second["lossless"] is None else second["lossless_reason"]
    return {"lossless": False, "lossless_reason": reason}


def tried_again(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """One result of two attempts at one move: that of the second, with what the first had put back or left."""
    return {
        **second,
        "changed": first["changed"] or second["changed"],
        "started_at": first["started_at"],
        "repaired": [*first["repaired"], *second["repaired"]],
        "notes": list(dict.fromkeys([*first["notes"], *second["notes"]])),
    }


def nothing_done() -> dict[str, Any]:
    """The result of a run whose options could not even be used."""
    return result_of(Record(step="options"), [], "refused", changed=False)
