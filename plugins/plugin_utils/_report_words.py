# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run in plain words: what happened, what it meant for clients, and what to do now.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import STRAY, Trace
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import (
    ABORTED,
    CRITICAL,
    INCOMPLETE,
    NOT_RUN,
    OK,
    PLANNED,
    REFUSED,
    SWITCHED,
    UNCHANGED,
    UNKNOWN,
    WARNING,
    Health,
    Run,
)

GOOD = "good"
NEUTRAL = "neutral"
ATTENTION = "attention"
BAD = "bad"

WORDS = {
    SWITCHED: "Switched",
    UNCHANGED: "Unchanged",
    PLANNED: "Planned",
    REFUSED: "Refused",
    ABORTED: "Aborted",
    INCOMPLETE: "Incomplete",
    UNKNOWN: "Unknown",
    NOT_RUN: "Not run",
}

PHASES: dict[str, tuple[str, str]] = {
    "discover": ("every Sentinel and every node is asked", ""),
    "check": ("what must hold is checked", ""),
    "plan": ("what to do is decided", ""),
    "lock": ("two runs must not meet", ""),
    "repair": ("what an interrupted run left is put back", ""),
    "steer": ("the other replicas are made less eligible", ""),
    "probe": ("the replicas must keep up", ""),
    "align": ("the moment is awaited at which Sentinel looks soonest", ""),
    "recheck": ("everything is checked once more", ""),
    "await_tick": ("the exact tick of the leading Sentinel is awaited", ""),
    "fence": ("the old master acknowledges no more writes", "writes wait"),
    "catch_up": ("the replicas apply everything that was acknowledged", "writes wait"),
    "demote": ("the old master becomes a replica", "writes wait, then look for the master"),
    "trigger": ("a Sentinel is told to fail over", "writes look for the master"),
    "promote": ("the replica becomes the master", "writes look for the master"),
    "agree": ("every Sentinel names the new master", "writes go on as clients learn the address"),
    "release": ("connections to the old master are closed", "who reads there reconnects"),
    "settle": ("every replica follows, settings are put back", ""),
    "join": ("a failover that somebody else began is followed", "not known"),
    "finish": ("what an interrupted run began is finished", "no master until promoted"),
}
"""Phase -> what it is for, and what clients feel of it (nothing, where that is empty), in a fenced failover."""


LONGEST_CAUSE = 200
"""What is longer than that stands below the headline."""


@dataclass(frozen=True)
class Todo:
    """Something that is left to do."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Fact:
    """One figure that matters, with where it comes from."""

    label: str
    value: str
    explanation: str
    tone: str


@dataclass(frozen=True)
class Phase:
    """One phase of the run."""

    name: str
    purpose: str
    clients: str
    took: str


@dataclass(frozen=True)
class Words:
    """Everything that a report says in words.

    Attributes:
        tone: `good`, `neutral`, `attention` or `bad`.
        word: The outcome as one word.
        headline: The outcome as one sentence.
        why: What stood in the way; empty where nothing did, or where it is among what to do.
        symbol: The shape that stands for the outcome, so that nothing hangs on colour alone.
        master_after: The master after the run, or why there is no address.
    """

    tone: str
    word: str
    symbol: str
    headline: str
    master_after: str
    why: str
    todos: tuple[Todo, ...]
    facts: tuple[Fact, ...]
    phases: tuple[Phase, ...]


def in_words(run: Run, traced: Trace | None) -> Words:
    """Say what happened."""
    tone, headline = _headline(run)
    return Words(
        tone=tone,
        word=WORDS[run.outcome],
        symbol=INCOMPLETE if run.outcome in (SWITCHED, UNCHANGED, PLANNED) and tone == ATTENTION else run.outcome,
        headline=headline,
        master_after=_master_after(run),
        why=_why(run),
        todos=_todos(run),
        facts=_facts(run, traced),
        phases=_phases(run),
    )


def duration(ms: float | None) -> str:
    """A duration for a person."""
    if ms is None:
        return "not known"
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 9_995:
        return f"{ms / 1000:.2f} s"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes} min {seconds} s"


def count(number: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(words: Sequence[str]) -> str:
    return ", ".join(words)


# ---- the headline ----------------------------------------------------------------------------------------------------


def _headline(run: Run) -> tuple[str, str]:
    tone, sentence = _HEADLINES[run.outcome](run)
    worse = BAD if tone == BAD else ATTENTION
    problems = run.after.problems
    if problems:
        tone, sentence = worse, f"{sentence} The checks afterwards found {count(len(problems), 'problem')}."
    elif run.after.error:
        tone, sentence = worse, f"{sentence} The checks afterwards could not be made."
    elif run.after.asked and tone == BAD:
        tone, sentence = ATTENTION, f"{sentence} The checks afterwards found nothing wrong."
    if _failed_around(run):
        tone, sentence = worse, f"{sentence} Something around it failed."
    return tone, sentence


def _failed_around(run: Run) -> bool:
    """Whether something went wrong that neither the run nor the checks afterwards tell of."""
    went_well = run.outcome in (SWITCHED, UNCHANGED, PLANNED)
    return bool(run.failure) and went_well and not run.after.problems and not run.after.error


def _subject(run: Run) -> str:
    return run.master_name or "the master"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _from_to(run: Run) -> str:
    old, new = run.master_before, run.new_master
    return (f" from {old}" if old else "") + (f" to {new}" if new and new != old else "")


def _switched(run: Run) -> tuple[str, str]:
    moved = f"{_subject(run)} was moved{_from_to(run)}"
    if run.plan.action == "join":
        moved += " by a failover that somebody else had begun"
    if not run.lossless and run.strategy == "coordinated":
        return ATTENTION, f"{moved}. The servers handed over by themselves; that no write was lost is not proven."
    if not run.lossless:
        return ATTENTION, f"{moved}. Acknowledged writes may have been lost."
    if run.write_gap_ms is None:
        return GOOD, f"{moved}. No acknowledged write was lost."
    return GOOD, f"{moved}. No acknowledged write was lost; writes stood still for {duration(run.write_gap_ms)}."


def _unchanged(run: Run) -> tuple[str, str]:
    if run.repaired:
        return (
            NEUTRAL,
            f"{_subject(run)} was not moved{_stays_on(run)}. What an interrupted run had left was put back.",
        )
    return NEUTRAL, f"Nothing was to be done: {_subject(run)} was not moved{_stays_on(run)}."


def _master_after(run: Run) -> str:
    if run.outcome == PLANNED:
        return run.new_master or "decided by the failover in progress"
    if run.master_after:
        return run.master_after
    return "not known" if run.moved or run.outcome in (UNKNOWN, INCOMPLETE) else "not moved by this run"


def _stays_on(run: Run) -> str:
    return f", its master is {run.old_master}" if run.old_master else ""


def _planned(run: Run) -> tuple[str, str]:
    plan = run.plan
    said = "Only planned, nothing was changed."
    if plan.action == "join":
        return (
            ATTENTION,
            f"{said} A failover of {_subject(run)} is in progress already; a run would wait for its end.",
        )
    if plan.action in ("nothing", "repair"):
        return NEUTRAL, f"{said} A run would put back what an interrupted run left, and not move {_subject(run)}."
    move = f"{said} A run would move {_subject(run)}{_from_to(run)}"
    if plan.action == "finish":
        return ATTENTION, f"{move}, which finishes what an interrupted run began."
    if plan.strategy == "plain":
        return ATTENTION, f"{move}, and acknowledged writes may be lost."
    if plan.expected_write_stop_ms is None:
        return NEUTRAL, f"{move}."
    return NEUTRAL, f"{move}; writes would stand still for about {duration(plan.expected_write_stop_ms)}."


def _refused(run: Run) -> tuple[str, str]:
    if run.repaired:
        return (
            ATTENTION,
            f"{_subject(run)} was not moved. Only what an interrupted run had left was put back.",
        )
    said = f"{_subject(run)} was not moved; nothing was tried"
    if len(run.reasons) > 1:
        return ATTENTION, f"{said}, for {len(run.reasons)} reasons."
    return ATTENTION, _ended(": ".join(filter(None, (said, _short_cause(run)))))


def _short_cause(run: Run) -> str:
    """Why nothing was tried, if that can be said in a few words."""
    if run.reasons:
        return run.reasons[0].detail
    if run.before.problems and run.error in ("", "precheck_failed"):
        return f"the checks before found {count(len(run.before.problems), 'problem')}"
    if run.before.error and run.error in ("", "precheck_failed"):
        return "the checks before could not be made"
    cause = run.message or run.failure
    return cause if len(cause) <= LONGEST_CAUSE else ""


def _aborted(run: Run) -> tuple[str, str]:
    return ATTENTION, f"Moving {_subject(run)}{_from_to(run)} was tried and given up; it was not moved."


def _incomplete(run: Run) -> tuple[str, str]:
    if run.moved:
        return BAD, f"{_subject(run)} was moved{_from_to(run)}, and something is left to do."
    return BAD, f"{_subject(run)} was not moved, and something is left to do."


def _unknown(run: Run) -> tuple[str, str]:
    if run.moved:
        return (
            BAD,
            f"{_subject(run)} was moved{_from_to(run)}, but how the run ended is not known.",
        )
    return BAD, f"It is not known whether {_subject(run)} was moved. It may still happen."


def _not_run(run: Run) -> tuple[str, str]:
    cause = _short_cause(run)
    if cause or run.failure:
        return ATTENTION, _ended(": ".join(filter(None, (f"{_subject(run)} was not touched", cause))))
    return NEUTRAL, f"No failover of {_subject(run)} was run."


_HEADLINES = {
    SWITCHED: _switched,
    UNCHANGED: _unchanged,
    PLANNED: _planned,
    REFUSED: _refused,
    ABORTED: _aborted,
    INCOMPLETE: _incomplete,
    UNKNOWN: _unknown,
    NOT_RUN: _not_run,
}


# ---- why, and what to do ---------------------------------------------------------------------------------------------


def _why(run: Run) -> str:
    if run.outcome in (SWITCHED, UNCHANGED, PLANNED):
        return run.failure if _failed_around(run) else ""
    if run.reasons or run.outcome == INCOMPLETE:
        return ""  # that stands in the list of what to do
    if run.outcome in (REFUSED, NOT_RUN):
        cause = _short_cause(run)
        if cause == run.message or (run.before.problems and cause):
            return ""  # that stands in the headline
        return run.before.error or run.message or run.failure
    return run.message or run.failure


def _todos(run: Run) -> tuple[Todo, ...]:
    todos = [Todo(reason.detail or reason.name, reason.remedy) for reason in run.reasons]
    if run.outcome == NOT_RUN or run.error == "precheck_failed":
        todos += [Todo(check.detail or check.name, check.remedy) for check in run.before.problems]
    todos += [Todo(check.detail or check.name, check.remedy) for check in run.after.of_status(CRITICAL, WARNING)]
    if run.remedy and not run.reasons:
        told_above = run.outcome != INCOMPLETE or (run.error == "postcheck_failed" and run.after.problems)
        todos.append(Todo("" if told_above else run.message, run.remedy))
    if run.after.error:
        todos.append(Todo(f"the checks afterwards failed: {run.after.error}", "Run health_info with phase=after."))
    return tuple(dict.fromkeys(todos))


# ---- the facts -------------------------------------------------------------------------------------------------------


def _facts(run: Run, traced: Trace | None) -> tuple[Fact, ...]:
    facts = [
        _writes_lost(run),
        _writes_stood(run, traced),
        _two_masters(traced),
        _replicas(run),
        _checks("Checks before", run.before),
        _checks("Checks after", run.after),
    ]
    return tuple(fact for fact in facts if fact is not None)


def _writes_lost(run: Run) -> Fact | None:
    label = "Acknowledged writes lost"
    if run.moved:
        value, tone = ("none", GOOD) if run.lossless else ("not ruled out", ATTENTION)
        return Fact(label, value, run.lossless_reason, tone)
    if run.outcome == UNKNOWN:
        return Fact(label, "not known", run.lossless_reason if run.lossless else "", ATTENTION)
    if run.outcome == PLANNED and run.plan.strategy == "plain":
        return Fact(label, "not ruled out", "the strategy plain leaves the old master writable for a while", ATTENTION)
    return None


def _writes_stood(run: Run, traced: Trace | None) -> Fact | None:
    label = "Writes stood still"
    if run.outcome == PLANNED:
        expected, worst = run.plan.expected_write_stop_ms, run.plan.worst_case_write_stop_ms
        if expected is None:
            return None
        explanation = f"{duration(worst)} at worst" if worst is not None else ""
        killed = run.plan.write_stop_if_killed_ms
        if killed is not None:
            explanation += f"; up to {duration(killed)} if the run is killed at the worst moment"
        return Fact("Writes would stand still", f"about {duration(expected)}", explanation.strip("; "), NEUTRAL)
    if run.write_gap_ms is not None:
        total = run.write_gap_and_agreement_ms
        agreed = f"{duration(total)} until every Sentinel named the new master" if total is not None else ""
        return Fact(label, duration(run.write_gap_ms), agreed or "not every Sentinel named the new master", NEUTRAL)
    if traced is not None and traced.stops:
        return _writes_stood_in_vain(traced)
    if run.moved:
        return Fact(label, "not measured", _UNFENCED.get(run.strategy, "this run did not stop them"), NEUTRAL)
    return None


_UNFENCED = {
    "plain": "the strategy plain does not stop them",
    "coordinated": "the servers stopped them by themselves",
}


def _writes_stood_in_vain(traced: Trace) -> Fact:
    lengths = [stop.end_ms - stop.start_ms for stop in traced.stops if stop.end_ms is not None]
    if len(lengths) < len(traced.stops):
        return Fact("Writes stood still", "not known", "when they went on is not in the events", ATTENTION)
    times = f", {count(len(lengths), 'time')}" if len(lengths) > 1 else ""
    return Fact("Writes stood still", f"{duration(sum(lengths))}{times}", "then they went on as before", NEUTRAL)


def _two_masters(traced: Trace | None) -> Fact | None:
    segments = [segment for lane in traced.lanes for segment in lane.segments] if traced else []
    stray_ms = sum(segment.end_ms - segment.start_ms for segment in segments if segment.state == STRAY)
    if not stray_ms:
        return None
    return Fact(
        "Two masters at once", duration(stray_ms), "what the old one acknowledged in that time is lost", ATTENTION
    )


def _replicas(run: Run) -> Fact | None:
    if not run.replicas:
        return None
    following = [replica for replica in run.replicas if replica.following]
    resyncs = [
        count(number, f"{kind} resynchronisation")
        for kind in ("partial", "full")
        for number in (sum(1 for replica in following if replica.resync == kind),)
        if number
    ]
    excused = sum(1 for replica in run.replicas if replica.excused and not replica.following)
    if excused:
        resyncs.append(f"{excused} down before")
    value = f"{len(following)} of {len(run.replicas)} follow"
    return Fact("Replicas", value, listed(resyncs), GOOD if len(following) == len(run.replicas) else ATTENTION)


def _checks(label: str, health: Health) -> Fact | None:
    if not health.asked:
        return None
    if health.error:
        return Fact(label, "not made", health.error, ATTENTION)
    passed, warned, failed = (len(health.of_status(status)) for status in (OK, WARNING, CRITICAL))
    others = len(health.checks) - passed - warned - failed
    parts = [
        f"{failed} failed" if failed else "",
        count(warned, "warning") if warned else "",
        f"{others} left out" if others else "",
    ]
    tone = ATTENTION if failed or warned else NEUTRAL if others else GOOD
    exceptions = listed([part for part in parts if part])
    if not exceptions:
        return Fact(label, f"all {passed} passed", "", tone)
    return Fact(label, exceptions, f"{passed} of {len(health.checks)} passed", tone)


def _phases(run: Run) -> tuple[Phase, ...]:
    fenced = run.strategy == "fenced"
    phases = []
    for name, took_ms in run.phases:
        purpose, clients = PHASES.get(name, ("", ""))
        phases.append(
            Phase(name.replace("_", " "), purpose, clients if fenced or name == "join" else "", duration(took_ms))
        )
    return tuple(phases)
