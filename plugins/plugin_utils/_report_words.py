# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run in plain words: what happened, what it meant for clients, and what to do now.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import FINISH, JOIN, STEPS
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import Trace
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

MAY_BE_LOST = "Switched, writes may be lost"
NOT_PROVEN = "Switched, loss not ruled out"

_NO_EFFECT = "none"

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
class StepTaken:
    """One step of the run.

    Attributes:
        purpose: What it is for.
        clients: What clients feel of it; empty: nothing.
        took: How long it took.
    """

    name: str
    purpose: str
    clients: str
    took: str


@dataclass(frozen=True)
class Detail:
    """Something about the run that a ticket shall carry.

    Attributes:
        code: Whether it is the text of a command or of an option.
    """

    label: str
    value: str
    code: bool = False


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
        history_discarded: Whether a full resynchronisation means that something that was acknowledged was thrown away.
        about: When, by whom, with what, as what.
    """

    tone: str
    word: str
    symbol: str
    headline: str
    master_after: str
    why: str
    todos: tuple[Todo, ...]
    facts: tuple[Fact, ...]
    history_discarded: bool
    steps: tuple[StepTaken, ...]
    about: tuple[Detail, ...]


def in_words(run: Run, traced: Trace | None) -> Words:
    """Say what happened."""
    tone, headline = _headline(run, traced)
    troubled = tone in (ATTENTION, BAD)
    return Words(
        tone=tone,
        word=_word(run),
        symbol=INCOMPLETE if run.outcome in (SWITCHED, UNCHANGED, PLANNED) and troubled else run.outcome,
        headline=headline,
        master_after=_master_after(run),
        why=_why(run),
        todos=_todos(run),
        facts=_facts(run, traced),
        history_discarded=_history_discarded(run, traced),
        steps=_steps(run),
        about=_about(run),
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


def _word(run: Run) -> str:
    if run.outcome != SWITCHED or run.lossless:
        return WORDS[run.outcome]
    return NOT_PROVEN if run.strategy == "coordinated" else MAY_BE_LOST


def _loss(run: Run, traced: Trace | None) -> tuple[str, str]:
    """How bad it is that writes may be lost, and a sentence that says so; empty, where none is."""
    if not run.moved or run.lossless:
        return "", ""
    if run.strategy == "coordinated":
        return ATTENTION, "The servers handed over by themselves; that no write was lost is not proven."
    both_ms = traced.two_masters_ms if traced is not None else 0.0
    if not both_ms:
        return BAD, "Acknowledged writes may be lost."
    return BAD, (
        f"Acknowledged writes may be lost: {run.old_master} went on taking writes for {duration(both_ms)} after "
        f"{run.new_master} had become the master, and all of those are lost."
    )


def _history_discarded(run: Run, traced: Trace | None) -> bool:
    if not run.moved or run.lossless:
        return False
    both_ms = traced.two_masters_ms if traced is not None else 0.0
    was_healthy = any(it.address == run.old_master and it.following and not it.excused for it in run.replicas)
    return both_ms > 0 or (run.strategy == "plain" and was_healthy)


def _headline(run: Run, traced: Trace | None) -> tuple[str, str]:
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
    loss_tone, loss = _loss(run, traced)
    if loss:  # comes first
        tone, sentence = BAD if BAD in (tone, loss_tone) else loss_tone, f"{loss} {sentence}"
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
    if not run.lossless:
        return ATTENTION, f"{moved}."
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
        _writes_lost(run, traced),
        _writes_stood(run, traced),
        _replicas(run, traced),
        _checks("Checks before", run.before),
        _checks("Checks after", run.after),
    ]
    return tuple(fact for fact in facts if fact is not None)


def _writes_lost(run: Run, traced: Trace | None) -> Fact | None:
    label = "Acknowledged writes lost"
    if run.moved and run.lossless:
        return Fact(label, "none", run.lossless_reason, GOOD)
    if run.moved:
        both_ms = traced.two_masters_ms if traced is not None else 0.0
        value = f"all that the old master took in {duration(both_ms)}" if both_ms else "not ruled out"
        return Fact(label, value, run.lossless_reason, _loss(run, traced)[0])
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
        since = f"from {run.fenced_at} " if run.fenced_at else ""
        until = "until every Sentinel named the new master and it took writes"
        return Fact(label, duration(run.write_gap_ms), f"{since}{until}", NEUTRAL)
    if traced is not None and traced.stops:
        return _writes_stood_by_events(run, traced)
    if run.moved:
        return Fact(label, "not measured", _UNFENCED.get(run.strategy, "this run did not stop them"), NEUTRAL)
    return None


_UNFENCED = {
    "plain": "the strategy plain does not stop them",
    "coordinated": "the servers stopped them by themselves",
}


def _writes_stood_by_events(run: Run, traced: Trace) -> Fact:
    lengths = [stop.end_ms - stop.start_ms for stop in traced.stops if stop.end_ms is not None]
    if len(lengths) < len(traced.stops):
        return Fact("Writes stood still", "not known", "when they went on is not in the events", ATTENTION)
    then = "then they went on at the new master" if run.moved else "then they went on as before"
    times = f", {count(len(lengths), 'time')}" if len(lengths) > 1 else ""
    return Fact("Writes stood still", f"{duration(sum(lengths))}{times}", then, NEUTRAL)


def _replicas(run: Run, traced: Trace | None) -> Fact | None:
    if not run.replicas:
        return None
    discarded = _history_discarded(run, traced)
    following = [replica for replica in run.replicas if replica.following]
    resyncs = [
        count(number, f"{kind} resynchronisation")
        for kind in ("partial", "full")
        for number in (sum(1 for replica in following if replica.resync == kind),)
        if number
    ]
    if discarded and any(replica.resync == "full" for replica in following):
        resyncs[-1] += ": what only they had was discarded"
    excused = sum(1 for replica in run.replicas if replica.excused and not replica.following)
    if excused:
        resyncs.append(f"{excused} down before")
    value = f"{len(following)} of {len(run.replicas)} follow"
    well = len(following) == len(run.replicas) and not discarded
    return Fact("Replicas", value, listed(resyncs), GOOD if well else ATTENTION)


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


# ---- the run itself --------------------------------------------------------------------------------------------------


def _steps(run: Run) -> tuple[StepTaken, ...]:
    steps = {step.name: step for step in STEPS}
    fenced = run.strategy == "fenced"
    taken = []
    for name, took_ms in run.phases:
        step = steps.get(name)
        felt = step is not None and step.effect != _NO_EFFECT and (fenced or step in (JOIN, FINISH))
        purpose, clients = (step.purpose, step.effect if felt else "") if step is not None else ("", "")
        taken.append(StepTaken(name.replace("_", " "), purpose, clients, duration(took_ms)))
    return tuple(taken)


def _about(run: Run) -> tuple[Detail, ...]:
    took_ms = run.timeline[-1].at_ms if run.timeline else None
    details = [
        Detail("Understood", run.understood),
        Detail("Asked for", "; ".join(f"{name}: {value}" for name, value in run.request)),
        Detail("Run by", run.operator),
        Detail("Job", run.job),
        Detail("Began", run.started_at),
        Detail("Writes stopped", run.fenced_at),
        Detail("Ended", run.ended_at),
        Detail("Took", duration(took_ms) if took_ms is not None else ""),
        Detail("Strategy", run.strategy or run.plan.strategy),
        Detail("Promoted by", _promoted_by(run)),
        Detail("Led by Sentinel", run.leader, code=True),
        Detail("Ended in the step", run.phase.replace("_", " ") if run.outcome not in _RUN_THROUGH else ""),
        Detail("Error code", run.error, code=True),
        Detail("Servers", _versions(run)),
    ]
    return tuple(detail for detail in details if detail.value)


_RUN_THROUGH = (SWITCHED, UNCHANGED, PLANNED)


def _promoted_by(run: Run) -> str:
    who = {"program": "this run", "sentinel": "Sentinel"}.get(run.promotion, "")
    return ": ".join(filter(None, (who, run.promotion_reason))) if who else ""


def _versions(run: Run) -> str:
    """What runs where; the addresses only where not all are alike."""
    where: dict[str, list[str]] = {}
    for address, version in run.server_versions:
        where.setdefault(version, []).append(address)
    if len(where) == 1:
        return f"{next(iter(where))}, all {count(len(run.server_versions), 'server')}"
    return "; ".join(f"{version}: {listed(addresses)}" for version, addresses in sorted(where.items()))
