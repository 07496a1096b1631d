# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many deployments: what each hands on, and what is said of all of them together.

Pure: what the roles left goes in, what a person reads comes out. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._course import NOT_KNOWN_WHY, address
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._names import HANDED_ON_BY_A_DEPLOYMENT
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import clean, read_number
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_words import (
    ATTENTION,
    BAD,
    GOOD,
    NEUTRAL,
    count,
    duration,
)

Result = Mapping[str, Any]

DONE = ("switched", "unchanged", "planned", "fit")
"""Outcomes of a master with which nothing is left to do."""

LONGEST_MESSAGE = 1200


@dataclass(frozen=True)
class Master:
    """What became of one master. Addresses are ``host:port``, empty where they are not known."""

    name: str
    outcome: str
    old: str = ""
    new: str = ""
    write_gap_ms: float | None = None
    lossless: bool | None = None
    message: str = ""
    remedy: str = ""

    @property
    def may_have_lost(self) -> bool:
        """Whether it was moved, and nothing proves that no acknowledged write was lost."""
        return not self.lossless if self.outcome == "switched" else self.lossless is False

    @property
    def left(self) -> bool:
        """Whether something is left to do."""
        return self.outcome not in DONE


@dataclass(frozen=True)
class Deployment:
    """What became of one deployment.

    Attributes:
        name: The host of the inventory that stands for it.
        begun: Whether its turn has come.
        failure: Why it has failed; empty if it has not.
        masters: Its masters with which something was done or went wrong.
        report: The file with its own report; empty if there is none.
    """

    name: str
    begun: bool = True
    failure: str = ""
    masters: tuple[Master, ...] = ()
    report: str = ""

    @property
    def tone(self) -> str:
        if any(master.may_have_lost for master in self.masters):
            return BAD
        return ATTENTION if not self.begun or self.failure or any(it.left for it in self.masters) else GOOD


@dataclass(frozen=True)
class Words:
    """What is said of all of them: ``good``, ``neutral``, ``attention`` or ``bad``, a word, a symbol, a sentence."""

    tone: str
    word: str
    symbol: str
    headline: str


# ---- what one deployment hands on ---------------------------------------------------------------------------------------


def entry(seen: Result) -> dict[str, Any]:
    """What one deployment hands on: small, and the same whatever was done with it.

    Args:
        seen: ``deployment`` (its host of the inventory), ``role`` (``failover``, ``drain`` or ``precheck``), ``failure`` (the message of a role that
            failed), ``master_name``, ``report_files``, and what the role left: ``failover``; ``drain`` and ``drain_plan``; ``precheck``.
    """
    rows = {"failover": _of_failover, "drain": _of_drain, "precheck": _of_precheck}[str(seen["role"])](seen)
    files = seen.get("report_files") or {}
    return {
        "deployment": str(seen["deployment"]),
        "role": str(seen["role"]),
        "failure": _inert(seen.get("failure")),
        "masters": rows,
        "report": str(files.get("html") or next(iter(files.values()), "")),
    }


def handed_on_as(deployment: str) -> str:
    """The variable by which a deployment hands its entry on: a name of its own, for AWX keeps one value of each name."""
    plain = re.sub(r"\W", "_", deployment, flags=re.ASCII)
    mark = "" if plain == deployment else f"_{hashlib.sha256(deployment.encode()).hexdigest()[:8]}"
    return f"{HANDED_ON_BY_A_DEPLOYMENT}{plain}{mark}"


def _of_failover(seen: Result) -> list[dict[str, Any]]:
    move = seen.get("failover") or {}
    return [_row(str(seen.get("master_name") or ""), move)] if move.get("outcome") else []


def _of_drain(seen: Result) -> list[dict[str, Any]]:
    told = seen.get("drain") or seen.get("drain_plan") or {}
    return [_row(str(row["name"]), row) for row in told.get("masters") or () if row.get("outcome") != "unchanged"]


def _of_precheck(seen: Result) -> list[dict[str, Any]]:
    health = seen.get("precheck") or {}
    if "checks" not in health:
        return []
    failed = [check for check in health["checks"] if check["status"] == "critical"]
    found = {
        "outcome": "not_fit" if seen.get("failure") else "fit",
        "old_master": (health.get("snapshot") or {}).get("master"),
        "msg": "; ".join(f"{check['name']}: {check['detail']}" for check in failed),
        "remedy": next((check["remedy"] for check in failed), ""),
    }
    return [_row(str(seen.get("master_name") or ""), found)]


def _row(name: str, move: Result) -> dict[str, Any]:
    done = move["outcome"] in DONE
    return {
        "name": name,
        "outcome": str(move["outcome"]),
        "old_master": _place(move.get("old_master")),
        "new_master": _place(move.get("planned_master") if move["outcome"] == "planned" else None)
        or _place(move.get("new_master")),
        "write_gap_ms": move.get("write_gap_ms"),
        "lossless": move.get("lossless"),
        "msg": "" if done else _inert(move.get("msg")),
        "remedy": "" if done else _inert(move.get("remedy")),
    }


def _place(value: Any) -> str:
    return address(value) if isinstance(value, Mapping) else str(value or "")


def _inert(text: Any) -> str:
    """One line that no later job takes for a template: servers have a say in it, and what is handed on is a variable there."""
    return re.sub(r"\{(?=[{%#])", "{ ", clean(text, LONGEST_MESSAGE))


# ---- what is made of all of them ----------------------------------------------------------------------------------------


def read(entries: Iterable[Any], expected: Sequence[str] = ()) -> list[Deployment]:
    """The deployments, in the order in which they were expected; those that were not come last.

    Args:
        entries: What the deployments handed on. What is something else is left out.
        expected: The deployments that it is about; one without an entry has not begun.
    """
    told = [it for it in entries if isinstance(it, Mapping) and it.get("deployment")]
    found = {clean(it["deployment"], 120): _deployment(it) for it in told}
    names = dict.fromkeys([*(clean(name, 120) for name in expected), *sorted(found)])
    return [found.get(name, Deployment(name, begun=False)) for name in names]


def _deployment(told: Result) -> Deployment:
    rows = [row for row in told.get("masters") or () if isinstance(row, Mapping)]
    return Deployment(
        name=clean(told["deployment"], 120),
        failure=clean(told.get("failure"), LONGEST_MESSAGE),
        masters=tuple(_master(row) for row in rows),
        report=clean(told.get("report")),
    )


def _master(row: Result) -> Master:
    lossless = row.get("lossless")
    return Master(
        name=clean(row.get("name"), 120),
        outcome=clean(row.get("outcome"), 40) or "unknown",
        old=clean(row.get("old_master"), 260),
        new=clean(row.get("new_master"), 260),
        write_gap_ms=read_number(row.get("write_gap_ms")),
        lossless=lossless if isinstance(lossless, bool) else None,
        message=clean(row.get("msg"), LONGEST_MESSAGE),
        remedy=clean(row.get("remedy")),
    )


def in_words(deployments: Sequence[Deployment]) -> Words:
    """Say what became of all of them, a loss of writes first."""
    masters = [master for deployment in deployments for master in deployment.masters]
    tone = _tone(deployments, masters)
    planned = any(master.outcome == "planned" for master in masters)
    word = {
        BAD: "Writes may be lost",
        ATTENTION: "Not all is done",
        NEUTRAL: "Planned" if planned else "Nothing to do",
        GOOD: "All done",
    }
    symbol = {BAD: "incomplete", ATTENTION: "incomplete", NEUTRAL: "planned" if planned else "unchanged"}
    return Words(tone, word[tone], symbol.get(tone, "switched"), " ".join(_sentences(deployments, masters)))


def _tone(deployments: Sequence[Deployment], masters: Sequence[Master]) -> str:
    tones = {deployment.tone for deployment in deployments}
    if BAD in tones:
        return BAD
    if ATTENTION in tones or not deployments:
        return ATTENTION
    return GOOD if any(master.outcome in ("switched", "fit") for master in masters) else NEUTRAL


def _sentences(deployments: Sequence[Deployment], masters: Sequence[Master]) -> list[str]:
    lost = [
        f"{deployment.name} ({master.name})"
        for deployment in deployments
        for master in deployment.masters
        if master.may_have_lost
    ]
    failed = [deployment.name for deployment in deployments if deployment.failure]
    waiting = [deployment.name for deployment in deployments if not deployment.begun]
    moved = [master for master in masters if master.outcome == "switched"]
    gaps_ms = [master.write_gap_ms for master in moved if master.write_gap_ms is not None]
    outcomes = ", ".join(f"{number} {outcome.replace('_', ' ')}" for outcome, number in _counted(masters))
    told = [
        f"Acknowledged writes may be lost: {', '.join(lost)}." if lost else "",
        f"{count(len(deployments), 'deployment')}, {count(len(masters), 'master')}{f': {outcomes}' if outcomes else ''}.",
        f"Failed: {', '.join(failed)}." if failed else "",
        f"Not begun: {', '.join(waiting)}." if waiting else "",
        "No acknowledged write was lost." if moved and not lost else "",
        f"Writes stood still for {duration(max(gaps_ms))} at most." if gaps_ms else "",
    ]
    return [sentence for sentence in told if sentence]


def _counted(masters: Sequence[Master]) -> list[tuple[str, int]]:
    """How many masters had each outcome, those that are done first."""
    counts = Counter(master.outcome for master in masters)
    order = {outcome: place for place, outcome in enumerate(DONE)}
    return sorted(counts.items(), key=lambda it: (order.get(it[0], len(order)), it[0]))


def lines(deployments: Sequence[Deployment]) -> list[str]:
    """What a person reads on the terminal: the headline, then a line for each master, and what is left to do."""
    found = [in_words(deployments).headline]
    width = max((len(deployment.name) for deployment in deployments), default=0)
    for deployment in deployments:
        rows = [_line(master) for master in deployment.masters]
        if deployment.failure and not any(master.message for master in deployment.masters):
            rows.append(f"FAILED: {deployment.failure}")
        if not deployment.begun:
            rows.append("not begun")
        found += [f"{deployment.name.ljust(width)}  {row}" for row in rows or ["nothing to do"]]
    return found


def _line(master: Master) -> str:
    way = f"{master.name}  {master.old or '?'}" + (
        f" -> {master.new}" if master.new and master.new != master.old else ""
    )
    if master.outcome == "switched":
        gap = "" if master.write_gap_ms is None else f"  writes stood still for {duration(master.write_gap_ms)}"
        return f"{way}{gap}  {'nothing lost' if master.lossless else 'LOSS NOT RULED OUT'}"
    said = f": {master.message or NOT_KNOWN_WHY}" if master.left else ""
    return f"{way}  {master.outcome.replace('_', ' ')}{said}"
