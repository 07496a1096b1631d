# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report shows of a result, and nothing else: every field is named here, is of a known type, and is one clean line.

Results come from variables that anybody may have filled. What is missing or of another type is empty here, never an error.
Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event, parse_event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    ANNOUNCE_FAILED,
    ANNOUNCED,
    MOVED_ON,
    PROMOTED,
    TRIGGER_REFUSED,
    TRIGGERED,
)

SWITCHED = "switched"
UNCHANGED = "unchanged"
PLANNED = "planned"
REFUSED = "refused"
ABORTED = "aborted"
INCOMPLETE = "incomplete"
UNKNOWN = "unknown"
NOT_RUN = "not_run"
"""There is no result: the failover was never called."""

OUTCOMES = (SWITCHED, UNCHANGED, PLANNED, REFUSED, ABORTED, INCOMPLETE, UNKNOWN)

OK = "ok"
WARNING = "warning"
CRITICAL = "critical"

LONGEST_TEXT = 600
MOST_ENTRIES = 800
"""Of a longer timeline the middle is left out, and the report says so."""

REQUEST = (
    "target",
    "avoid",
    "expected_master",
    "strategy",
    "promotion",
    "accept_loss",
    "min_sentinels",
    "not_after",
    "max_lag_bytes",
    "catch_up_timeout",
    "timeout",
)
"""The options of a request that a report shows. Others may be secret: a renamed command is as good as a password."""

_LISTENERS = "sentinel "


@dataclass(frozen=True)
class Check:
    """One check of `health_info`, or one reason for a refusal."""

    name: str
    status: str
    detail: str
    remedy: str


@dataclass(frozen=True)
class Health:
    """What `health_info` said.

    Attributes:
        asked: Whether there is an answer at all.
        error: Why there are no checks, where it failed.
        checks: The checks, in their order.
    """

    asked: bool = False
    error: str = ""
    checks: tuple[Check, ...] = ()

    def of_status(self, *statuses: str) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status in statuses)

    @property
    def problems(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return self.of_status(CRITICAL)


@dataclass(frozen=True)
class Entry:
    """One entry of the timeline.

    Attributes:
        at_ms: Milliseconds since the run began.
        sentinel: The Sentinel that told it, as `host:port`; empty: the program.
        kind: One of `ENTRY_KINDS`; of a Sentinel the channel of its event.
        step: The step of the run in which it was put down.
        subject: The server that it is about, as `host:port`; empty where it is about none.
        detail: The rest. It is shown, and nothing is read off it.
    """

    at_ms: float
    sentinel: str
    kind: str
    step: str
    subject: str
    detail: str

    @property
    def event(self) -> Event:
        """What a Sentinel told, read as an event."""
        try:
            return parse_event(self.kind, self.detail)
        except ValueError:  # not in the form of an event: a hostile or damaged line
            return Event(self.kind, self.detail, "", None)


@dataclass(frozen=True)
class Replica:
    """A replica after the failover."""

    address: str
    following: bool
    detail: str
    resync: str
    excused: bool


@dataclass(frozen=True)
class Plan:
    """What was decided."""

    action: str = ""
    strategy: str = ""
    new_master: str = ""
    siblings: tuple[str, ...] = ()
    lagging: tuple[str, ...] = ()
    leaders: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    fence: str = ""
    expected_write_stop_ms: float | None = None
    worst_case_write_stop_ms: float | None = None
    write_stop_if_killed_ms: float | None = None


@dataclass(frozen=True)
class Run:
    """One run of `redis_ha.sentinel.failover`, with the checks before and after.

    Attributes:
        lossless: Whether no acknowledged write was lost; nothing, where nothing was moved.
        write_gap_ms: What clients feel: from the fence until every Sentinel names the new master and it takes writes.
        promotion: Who makes the replica a master: `program` or `sentinel`.
        started_at: When it began, in UTC, as it is shown; so are `fenced_at` and `ended_at`.
        server_versions: Address -> what runs there.
        request: Option -> what was asked for.
        way_back: A command that moves the master back.
        understood: What the run understood that it shall do.
        operator: Who ran it.
        job: In which job of an automation controller.
        failure: What went wrong around it, for example the operator's own task that spoke against it.
        left_out: How many lines of a very long timeline are not here.
    """

    outcome: str
    master_name: str
    changed: bool = False
    phase: str = ""
    error: str = ""
    message: str = ""
    remedy: str = ""
    reasons: tuple[Check, ...] = ()
    strategy: str = ""
    old_master: str = ""
    new_master: str = ""
    leader: str = ""
    plan: Plan = Plan()
    lossless: bool | None = None
    lossless_reason: str = ""
    write_gap_ms: float | None = None
    promotion: str = ""
    promotion_reason: str = ""
    started_at: str = ""
    fenced_at: str = ""
    ended_at: str = ""
    server_versions: tuple[tuple[str, str], ...] = ()
    request: tuple[tuple[str, str], ...] = ()
    way_back: str = ""
    understood: str = ""
    operator: str = ""
    job: str = ""
    phases: tuple[tuple[str, float], ...] = ()
    timeline: tuple[Entry, ...] = ()
    left_out: int = 0
    replicas: tuple[Replica, ...] = ()
    repaired: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    before: Health = Health()
    after: Health = Health()
    failure: str = ""

    @property
    def moved(self) -> bool:
        """Whether the master was moved, by whomever."""
        joined = self.plan.action == "join" and self.outcome == INCOMPLETE
        return self.outcome == SWITCHED or joined or any(self.said(PROMOTED, ANNOUNCED, MOVED_ON))

    @property
    def master_before(self) -> str:
        return self.old_master

    @property
    def master_after(self) -> str:
        """The master now; empty where it is not known."""
        if self.moved:
            return self.new_master
        return self.old_master if self.outcome in (UNCHANGED, PLANNED) else ""

    @property
    def sentinels(self) -> tuple[str, ...]:
        """Every Sentinel that is known of, the leading one first."""
        told = {it.subject for it in self.said(ANNOUNCED, ANNOUNCE_FAILED, TRIGGERED, TRIGGER_REFUSED) if it.subject}
        known = {it.sentinel for it in self.timeline if it.sentinel} | told | set(self.plan.leaders)
        return tuple(sorted(known | ({self.leader} - {""}), key=lambda it: (it != self.leader, it)))

    def said(self, *kinds: str) -> tuple[Entry, ...]:
        """What the program itself put down."""
        return tuple(it for it in self.timeline if not it.sentinel and it.kind in kinds)


def clean(value: object, longest: int = LONGEST_TEXT) -> str:
    """One line of visible characters, not endlessly long. Nothing in it can turn the direction of the text around it."""
    if value is None or not isinstance(value, (str, int, float)):
        return ""
    visible = "".join(_visible(character) for character in str(value)[: longest * 4])
    line = " ".join(visible.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp", "Zs"}:
        return " "
    return "" if category in {"Cf", "Cs", "Co", "Cn"} else character


def read_run(
    result: object,
    before: object = None,
    after: object = None,
    master_name: str = "",
    failure: str = "",
    operator: str = "",
    job: str = "",
) -> Run:
    """Take from a result what a report shows.

    Args:
        result: What the module returned; nothing, if it was never called.
        before: What `health_info` returned before.
        after: What `health_info` returned after.
        master_name: The name of the master; where it is empty, the one that the Sentinels tell of.
        failure: What went wrong around the run.
        operator: Who ran it.
        job: In which job of an automation controller.
    """
    fields = _mapping(result)
    timeline, left_out = _timeline(fields.get("timeline"))
    remedy = clean(fields.get("remedy"))
    return Run(
        outcome=_outcome(fields),
        master_name=clean(master_name, 120) or _master_name(fields, timeline),
        changed=fields.get("changed") is True,
        phase=clean(fields.get("phase")),
        error=clean(fields.get("error")),
        message=_without_remedy(clean(fields.get("msg"), 1200), remedy),
        remedy=remedy,
        reasons=_checks(_mapping(fields.get("seen")).get("reasons")),
        strategy=clean(fields.get("strategy")),
        old_master=_address(fields.get("old_master")),
        new_master=_address(fields.get("new_master")),
        leader=clean(fields.get("leader")),
        plan=_plan(_mapping(fields.get("plan"))),
        lossless=_truth(fields.get("lossless")),
        lossless_reason=clean(fields.get("lossless_reason")),
        write_gap_ms=read_number(fields.get("write_gap_ms")),
        promotion=clean(fields.get("promotion"), 40),
        promotion_reason=clean(fields.get("promotion_reason")),
        started_at=_utc(fields.get("started_at")),
        fenced_at=_utc(fields.get("fenced_at")),
        ended_at=_utc(fields.get("ended_at")),
        server_versions=tuple(
            (clean(where, 260), clean(version))
            for where, version in _mapping(fields.get("server_versions")).items()
            if clean(where) and clean(version)
        ),
        request=_request(_mapping(fields.get("request"))),
        way_back=clean(fields.get("way_back"), 1200),
        understood=clean(fields.get("understood")),
        phases=tuple(
            (clean(name, 40), spent_ms)
            for name, value in _mapping(fields.get("phases_ms")).items()
            for spent_ms in (read_number(value),)
            if spent_ms is not None
        ),
        timeline=timeline,
        left_out=left_out,
        replicas=tuple(_replica(_mapping(it)) for it in _sequence(fields.get("replicas"))),
        repaired=_lines(fields.get("repaired")),
        notes=_lines(fields.get("notes")),
        operator=clean(operator, 120),
        job=clean(job, 200),
        before=_health(before),
        after=_health(after),
        failure=clean(failure),
    )


def _outcome(fields: Mapping[str, Any]) -> str:
    outcome = clean(fields.get("outcome"))
    if outcome in OUTCOMES:
        return outcome
    never_called = not fields or fields.get("skipped") is True
    return NOT_RUN if never_called else UNKNOWN


def _master_name(fields: Mapping[str, Any], timeline: Sequence[Entry]) -> str:
    asked = clean(_mapping(fields.get("request")).get("master_name"), 120)
    told = (it.event.master_name for it in timeline if it.sentinel)
    return asked or next((name for name in told if name), "")


def _request(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    asked = ((name, _option(fields.get(name))) for name in REQUEST)
    return tuple((name, value) for name, value in asked if value)


def _option(value: object) -> str:
    """What was asked for, as it stands in a playbook; empty, where nothing was."""
    if isinstance(value, bool):
        return "true" if value else ""
    number = read_number(value)
    if number is not None:
        return str(int(number) if number.is_integer() else number)
    return ", ".join(_lines(value)) or clean(value)


def _utc(value: object) -> str:
    """A moment in UTC, `2026-11-27T01:02:03.456Z`, as a person reads it."""
    moment = clean(value, 40)
    return f"{moment[:-1].replace('T', ' ', 1)} UTC" if moment.endswith("Z") else moment


def _without_remedy(message: str, remedy: str) -> str:
    return message[: -len(remedy)].rstrip() if remedy and message.endswith(remedy) else message


def _plan(fields: Mapping[str, Any]) -> Plan:
    return Plan(
        action=clean(fields.get("action")),
        strategy=clean(fields.get("strategy")),
        new_master=_address(fields.get("new_master")),
        siblings=_lines(fields.get("siblings")),
        lagging=_lines(fields.get("lagging")),
        leaders=_lines(fields.get("leaders")),
        steps=_lines(fields.get("steps")),
        fence=clean(fields.get("fence")),
        expected_write_stop_ms=read_number(fields.get("expected_write_stop_ms")),
        worst_case_write_stop_ms=read_number(fields.get("worst_case_write_stop_ms")),
        write_stop_if_killed_ms=read_number(fields.get("write_stop_if_killed_ms")),
    )


def _timeline(value: object) -> tuple[tuple[Entry, ...], int]:
    read = (_entry(_mapping(it)) for it in _sequence(value))
    entries = sorted((it for it in read if it is not None), key=lambda it: it.at_ms)
    left_out = max(0, len(entries) - MOST_ENTRIES)
    if left_out:
        half = MOST_ENTRIES // 2
        entries = entries[:half] + entries[-half:]
    return tuple(entries), left_out


def _entry(fields: Mapping[str, Any]) -> Entry | None:
    at_ms, kind = read_number(fields.get("at_ms")), clean(fields.get("kind"), 60)
    if at_ms is None or not kind:
        return None
    who = clean(fields.get("who"), 260)
    return Entry(
        at_ms=at_ms,
        sentinel=who[len(_LISTENERS) :] if who.startswith(_LISTENERS) else "",
        kind=kind,
        step=clean(fields.get("step"), 40),
        subject=clean(fields.get("subject"), 260),
        detail=clean(fields.get("detail")),
    )


def _replica(fields: Mapping[str, Any]) -> Replica:
    return Replica(
        address=_address(fields),
        following=fields.get("following") is True,
        detail=clean(fields.get("detail")),
        resync=clean(fields.get("resync")),
        excused=fields.get("excused") is True,
    )


def _health(value: object) -> Health:
    fields = _mapping(value)
    if not fields or fields.get("skipped") is True:
        return Health()
    checks = _checks(fields.get("checks"))
    error = "" if checks else clean(fields.get("msg")) or "no checks were returned"
    return Health(asked=True, error=error, checks=checks)


def _checks(value: object) -> tuple[Check, ...]:
    return tuple(
        Check(
            name=clean(fields.get("name")),
            status=clean(fields.get("status"), 20),
            detail=clean(fields.get("detail")),
            remedy=clean(fields.get("remedy")),
        )
        for fields in map(_mapping, _sequence(value))
        if fields
    )


def _address(value: object) -> str:
    fields = _mapping(value)
    host, port = clean(fields.get("host"), 253), read_number(fields.get("port"))
    return str(Address(host, int(port))) if host and port is not None else ""


def _lines(value: object) -> tuple[str, ...]:
    return tuple(line for line in map(clean, _sequence(value)) if line)


def read_number(value: object) -> float | None:
    """A number that somebody else wrote; nothing for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else ()
