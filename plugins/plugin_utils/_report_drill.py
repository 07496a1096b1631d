# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says of a drill: the automatic failover, with a planned move of the same master beside it.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import FENCE_RAISED, FOLLOWING, PROMOTED
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._drill import PARTS
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import SWITCHED, Run, clean, read_number
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_words import (
    ATTENTION,
    BAD,
    GOOD,
    NEUTRAL,
    Fact,
    Todo,
    duration,
)

NONE_NEEDED = "none is needed"
UNNEEDED = ("detected", "agreed", "elected")
"""Parts of an automatic failover that a planned move has not."""


@dataclass(frozen=True)
class Part:
    """One part of a failover, and when it was over: in the drill from the last answer of the old master, in the planned move from the write stop."""

    label: str
    automatic: str
    planned: str


@dataclass(frozen=True)
class Told:
    """One line of what the Sentinels and the nodes said."""

    at_ms: float
    who: str
    what: str


@dataclass(frozen=True)
class DrillPage:
    """Everything that the page on a drill says.

    Attributes:
        tone: ``good``, ``attention`` or ``bad``.
        beside: Which planned move stands beside it; empty if none does.
    """

    tone: str
    word: str
    symbol: str
    headline: str
    old_master: str
    new_master: str
    stopped_at: str
    beside: str
    parts: tuple[Part, ...]
    facts: tuple[Fact, ...]
    todos: tuple[Todo, ...]
    timeline: tuple[Told, ...]


def read_drill(drill: Mapping[str, Any], run: Run) -> DrillPage:
    """What is to be shown.

    Args:
        drill: What the role drill made of it, its ``drill_result``.
        run: The planned move that gave the master back; one that was not run if none did.
    """
    old, new = clean(drill.get("old_master"), 260), clean(drill.get("new_master"), 260)
    proven = drill.get("proven") is True
    planned = drill.get("planned")
    beside: Mapping[str, Any] = planned if isinstance(planned, Mapping) else {}
    automatic_ms, planned_ms = read_number(drill.get("write_gap_ms")), read_number(beside.get("write_gap_ms"))
    message = clean(drill.get("msg"), 1200)
    what = clean(beside.get("what"), 120)
    stays_away = drill.get("given_back") is False
    return DrillPage(
        tone=BAD if not proven else ATTENTION if stays_away else GOOD,
        word="Proven" if proven else "Not proven",
        symbol="incomplete" if not proven or stays_away else "switched",
        headline=_headline(run.master_name, old, new, automatic_ms, proven),
        old_master=old,
        new_master=new,
        stopped_at=clean(drill.get("stopped_at"), 60),
        beside=what,
        parts=_parts(drill, run, planned_ms),
        facts=_facts(drill, automatic_ms, planned_ms, what, beside.get("lossless")),
        todos=_todos(message, stays_away, old),
        timeline=_timeline(drill.get("timeline")),
    )


def _headline(name: str, old: str, new: str, gap_ms: float | None, proven: bool) -> str:
    subject = name or "the master"
    if not proven:
        return f"The drill of {subject} has not shown that Sentinel moves the master by itself."
    stood = f" Writes stood still for {duration(gap_ms)}." if gap_ms is not None else ""
    return f"Sentinel moved {subject} by itself from {old} to {new}.{stood}"


def _parts(drill: Mapping[str, Any], run: Run, planned_ms: float | None) -> tuple[Part, ...]:
    figures = drill.get("figures_ms")
    automatic: Mapping[str, Any] = figures if isinstance(figures, Mapping) else {}
    planned = _planned_ms(run)
    rows = [
        Part(label, _said(read_number(automatic.get(part)), "not seen"), _planned(part, planned))
        for part, label in PARTS
        if automatic
    ]
    gap = _said(read_number(drill.get("write_gap_ms")), "not seen")
    return (*rows, Part("clients can write again", gap, _said(planned_ms, "")))


def _planned(part: str, planned_ms: Mapping[str, float]) -> str:
    if not planned_ms:
        return ""
    return NONE_NEEDED if part in UNNEEDED else _said(planned_ms.get(part), "")


def _said(ms: float | None, otherwise: str) -> str:
    return otherwise if ms is None else duration(ms)


def _planned_ms(run: Run) -> dict[str, float]:
    """When each part of the planned move was over, in milliseconds from the write stop; nothing where it was not made."""
    fenced = next((entry.at_ms for entry in run.said(FENCE_RAISED)), None)
    if run.outcome != SWITCHED or fenced is None:
        return {}
    found = {"promoted": [it.at_ms for it in run.said(PROMOTED)], "followed": [it.at_ms for it in run.said(FOLLOWING)]}
    planned = {part: max(moments) - fenced for part, moments in found.items() if moments}
    return planned | ({"named": run.write_gap_ms} if run.write_gap_ms is not None else {})


def _facts(
    drill: Mapping[str, Any], automatic_ms: float | None, planned_ms: float | None, what: str, lossless: Any
) -> tuple[Fact, ...]:
    facts = []
    if automatic_ms is not None:
        since = "from the last answer of the old master until every Sentinel named the new one"
        facts.append(Fact("Automatic failover: writes stood still", duration(automatic_ms), since, NEUTRAL))
    if planned_ms is not None:
        facts.append(Fact("Planned move: writes stood still", duration(planned_ms), what, NEUTRAL))
    missing = drill.get("missing_bytes")
    if missing is not None and not isinstance(missing, bool):
        lost = "nothing was seen" if not missing else f"at least {clean(missing, 20)} bytes of the replication stream"
        proof = "" if missing else "an automatic failover proves no more than that"
        facts.append(Fact("Automatic failover: lost", lost, proof, ATTENTION if missing else NEUTRAL))
    if planned_ms is not None:
        tone = GOOD if lossless is True else ATTENTION
        facts.append(Fact("Planned move: lost", "nothing" if lossless is True else "not ruled out", "", tone))
    return tuple(facts)


def _todos(message: str, stays_away: bool, old: str) -> tuple[Todo, ...]:
    found = [Todo(message, "")] if message else []
    if stays_away:
        found.append(Todo(f"The master is not on {old} again.", "Move it back, if it is to be there."))
    return tuple(found)


def _timeline(value: Any) -> tuple[Told, ...]:
    rows: Sequence[Any] = value if isinstance(value, (list, tuple)) else ()
    found = [(read_number(row.get("at_ms")), row) for row in rows if isinstance(row, Mapping)]
    return tuple(
        Told(at_ms, clean(row.get("who"), 260), clean(row.get("what"))) for at_ms, row in found if at_ms is not None
    )
