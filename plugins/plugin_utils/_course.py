# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The course of a run of the role failover: what comes next, and what is made of it in the end.

Pure: what was seen goes in, what follows comes out. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._masked import is_masked

Result = Mapping[str, Any]

MOVED = frozenset({"switched", "incomplete"})
DONE = frozenset({"switched", "unchanged", "planned"})
"""Outcomes of a module that did not fail."""

NOT_KNOWN_WHY = "it is not known why"

NOTHING: dict[str, Any] = {
    "changed": False,
    "outcome": "refused",
    "phase": "check",
    "error": None,
    "remedy": None,
    "seen": {},
    "strategy": None,
    "promotion": None,
    "promotion_reason": None,
    "old_master": None,
    "new_master": None,
    "leader": None,
    "plan": None,
    "lossless": None,
    "lossless_reason": "nothing was moved",
    "write_gap_ms": None,
    "started_at": None,
    "fenced_at": None,
    "ended_at": None,
    "phases_ms": {},
    "timeline": [],
    "replicas": [],
    "repaired": [],
    "notes": [],
    "server_versions": {},
    "request": {},
    "way_back": None,
    "understood": None,
}
"""Every key that the module returns, for a run that did not come as far as the module."""

CRASH: dict[str, Any] = {
    "changed": True,
    "outcome": "unknown",
    "phase": "failover",
    "error": "module_failed",
    "remedy": "Look with topology_info where the master is, then run it again.",
}
"""What a module that ended without a result makes of it."""


@dataclass(frozen=True)
class Seen:
    """What a run of the role has seen so far; what it has not come to is empty.

    Attributes:
        confirm: Whether a person is asked.
        confirmed: Whether a person has typed yes.
        checked_after: Whether the checks afterwards were begun.
        plan: What the module returned in check mode, before the move.
        move: What the module returned.
        again: What it returned when it was run once more, because the first one had no end.
        finish: What it returned when it was to put back what was left.
        before: What health_info returned before.
        after: What health_info returned after.
        cause: The result of the task that failed.
        task: The name of that task.
        own_tasks: Whether it was the operator's own tasks after the move.
    """

    confirm: bool = False
    confirmed: bool = False
    checked_after: bool = False
    plan: Result = field(default_factory=dict)
    move: Result = field(default_factory=dict)
    again: Result = field(default_factory=dict)
    finish: Result = field(default_factory=dict)
    before: Result = field(default_factory=dict)
    after: Result = field(default_factory=dict)
    cause: Result = field(default_factory=dict)
    task: str = ""
    own_tasks: bool = False


@dataclass(frozen=True)
class Conclusion:
    """What is made of it in the end.

    Attributes:
        result: The whole truth, in the form of the module's result.
        failure: What has failed: ``stage``, ``task``, ``msg``; empty if nothing did.
    """

    result: dict[str, Any]
    failure: dict[str, str]


# ---- what comes next -------------------------------------------------------------------------------------------------


def stages_before(precheck: bool, baseline: bool, plan_first: bool) -> list[str]:
    """The files of tasks before the move, in their order.

    Args:
        precheck: Whether the checks before are wanted.
        baseline: Whether somebody needs to know how it was before.
        plan_first: Whether a person or the operator's own tasks look at the plan.
    """
    look = "precheck" if precheck else "look" if baseline else ""
    return [stage for stage in (look, "plan" if plan_first else "") if stage]


def stages_after(now: Result, ran_again: bool, postcheck: bool, check_mode: bool) -> list[str]:
    """The files of tasks after the move, in their order; none where the module's own word stands.

    Args:
        now: What the module has said.
        ran_again: Whether it was run once more; a third time it is not.
        postcheck: Whether the checks afterwards are wanted.
        check_mode: Whether nothing was to be changed.
    """
    if check_mode:
        return []
    if is_interrupted(now) and not ran_again:
        return ["again"]
    if postcheck and (now.get("outcome") in DONE or is_late(now)):
        # What the module calls switched, it has seen followed by every replica, a moment ago.
        seen_followed = now["outcome"] == "switched" and not ran_again
        return ["afterwards"] if seen_followed else ["wait", "afterwards"]
    return ["see"] if now.get("outcome", "unknown") in ("incomplete", "unknown") else []


def is_interrupted(move: Result) -> bool:
    """Whether the module was killed, lost its connection, or could not establish how it ended: nobody knows what is left."""
    ran = bool(move) and not move.get("skipped")
    return ran and move.get("outcome", "unknown") == "unknown"


def is_late(move: Result) -> bool:
    """Whether only replicas that are still on their way were left when the time of the module was over."""
    return bool(move.get("outcome") == "incomplete" and move.get("error") == "left_to_do")


def second_request(request: Mapping[str, Any], before: Result, now: Result) -> dict[str, Any]:
    """What to ask of the module once more, so that it finishes what was begun and never moves the master a second time.

    Args:
        request: ``target`` and ``expected_master`` as they were asked for.
        before: What health_info saw before the move.
        now: What it sees now.
    """
    was = _named(before) or str(request.get("expected_master") or "")
    named = _named(now)
    if was and named and named != was:
        # It was moved. To ask for the master that is there moves nothing, and puts back what is left.
        return {"target": named, "expected_master": named, "avoid": []}
    return {**request, "expected_master": was or named}


def is_to_put_back(result: Result, settled: bool) -> bool:
    """Whether replicas that came late may carry what the module could not put back while they were away, and the master can be named."""
    named = not is_masked(address(result.get("new_master")))
    return bool(result.get("outcome") == "incomplete" and settled and named)


def _named(health: Result) -> str:
    """The master that was named, as the module takes it: where Ansible has masked its address, with its run id for a host."""
    snapshot = health.get("snapshot") or {}
    named = str(snapshot.get("master") or "")
    if not is_masked(named):
        return named
    masters = [
        node for node in snapshot.get("nodes") or () if node.get("role") == "master" and node["address"] == named
    ]
    ids = [str(node["run_id"]) for node in masters if node.get("run_id") and not is_masked(node["run_id"])]
    return f"{ids[0]}:{named.rpartition(':')[2]}" if len(ids) == 1 else ""


# ---- what is made of it ------------------------------------------------------------------------------------------------


def moved(seen: Seen) -> dict[str, Any]:
    """What the module has said, of two runs the second with a note about the first."""
    if not is_interrupted(seen.move) or not seen.again:
        return dict(seen.move)
    first = str(seen.move.get("msg") or NOT_KNOWN_WHY).strip().partition("\n")[0]
    note = f"the first run had no end ({first}); it was run once more, and this is what the second run says"
    again = {**NOTHING, **seen.again} if seen.again.get("outcome") else dict(seen.again)
    if not again.get("outcome"):
        return {**seen.move, **again}
    again["notes"] = [*again.get("notes", ()), note]
    old, new = _named(seen.before), address(again.get("new_master"))
    if is_masked(new):
        # Where it was moved, the second run was asked for the master that is there.
        new = str((again.get("request") or {}).get("target") or "")
    if again["outcome"] == "unchanged" and old and new and old != new:
        again.update(
            changed=True,
            outcome="switched",
            old_master=_parts(str(seen.before["snapshot"]["master"])),
            lossless=False,
            lossless_reason="the run that moved the master had no end and left no proof; the check afterwards compares with what was seen before",
        )
    return again


def conclude(seen: Seen, failed: bool) -> Conclusion:
    """What is made of it.

    Args:
        seen: What was seen.
        failed: Whether a task has failed; else the module's own word decides.
    """
    result = moved(seen)
    if not failed and (result.get("outcome") in DONE or seen.checked_after):
        if is_late(result):
            result = {**result, **_in_time_after_all(result, seen.finish)}
        return Conclusion({**NOTHING, **result, "failed": False}, {})
    stage = stage_of(seen)
    messages = _messages(seen, result, failed)
    started = seen.plan if stage in ("plan", "confirm", "before") else result
    concluded = {
        **NOTHING,
        **started,
        "failed": True,
        "msg": messages[-1],
        **_verdict(stage, seen, result),
    }
    task = seen.task if failed else "Move"
    return Conclusion(concluded, {"stage": stage, "task": task, "msg": "\n".join(dict.fromkeys(messages))})


def stage_of(seen: Seen) -> str:
    """In which stage it failed: ``precheck``, ``plan``, ``confirm``, ``before``, ``failover``, ``postcheck`` or ``after``."""
    if seen.own_tasks:
        return "after"
    if seen.move:
        return "postcheck" if seen.checked_after else "failover"
    if not seen.plan:
        return "precheck"
    if seen.plan.get("outcome") not in DONE:
        return "plan"
    return "confirm" if seen.confirm and not seen.confirmed else "before"


def _messages(seen: Seen, result: Result, failed: bool) -> list[str]:
    # What the module had left to say comes before what the check afterwards says.
    said = [str(result["msg"])] if result.get("msg") and (is_late(result) or not failed) else []
    if failed or not said:
        said.append(_message_of(seen.cause, seen))
    return [text.strip() for text in said]


def _message_of(cause: Result, seen: Seen) -> str:
    text = str(cause.get("msg") or NOT_KNOWN_WHY)
    if seen.own_tasks:
        return f"The failover is {moved(seen).get('outcome')}; failover_after_tasks have failed: {text}"
    return text


def _verdict(stage: str, seen: Seen, result: Result) -> dict[str, Any]:
    """What a failure in a stage makes of the result. What the module itself has said stands."""
    return {
        "precheck": _refused(
            "precheck",
            str(seen.cause.get("error") or "precheck_failed"),
            str(seen.cause.get("remedy") or "Mend what has failed, or accept it by its name in precheck_waivers."),
        ),
        "plan": {} if seen.plan.get("outcome") else {**CRASH, "changed": False, "outcome": "refused", "phase": "plan"},
        "confirm": _refused(
            "confirm", "not_confirmed", "Run it again and type yes, or run it without failover_confirm."
        ),
        "before": _refused("before", "vetoed", "Look at what failover_before_tasks says, and run it again."),
        "failover": {} if result.get("outcome") else CRASH,
        "postcheck": {
            "outcome": "incomplete" if result.get("outcome") == "switched" else result.get("outcome", "unknown"),
            "phase": "postcheck",
            "error": result.get("error") or "postcheck_failed",
            "remedy": "Mend what is named, then run the check afterwards again; a replica that is only slow needs nothing but time.",
        },
        "after": {
            "phase": "after",
            "error": "after_tasks_failed",
            "remedy": "The master is where it should be. Look at what failover_after_tasks says, and do by hand what they were to do.",
        },
    }[stage]


def _refused(phase: str, error: str, remedy: str) -> dict[str, Any]:
    return {"changed": False, "outcome": "refused", "phase": phase, "error": error, "remedy": remedy}


def _in_time_after_all(result: Result, finish: Result) -> dict[str, Any]:
    """What becomes of a result whose replicas came only when the time of the module was over."""
    replicas = [
        row if row.get("excused") else {**row, "following": True, "detail": "follows, after some time"}
        for row in result.get("replicas", ())
    ]
    note = f"when the time of the module was over, something was left: {result.get('msg')} The check afterwards saw it done"
    return {
        "outcome": "switched",
        "error": None,
        "remedy": None,
        "seen": {},
        "replicas": replicas,
        "repaired": [*result.get("repaired", ()), *finish.get("repaired", ())],
        "notes": [*result.get("notes", ()), note],
    }


# ---- what is said and handed on ----------------------------------------------------------------------------------------


def address(node: Any) -> str:
    """A node of a result as ``host:port``; empty if there is none."""
    if not node:
        return ""
    host = str(node["host"])
    return f"[{host}]:{node['port']}" if ":" in host else f"{host}:{node['port']}"


def _parts(text: str) -> dict[str, Any]:
    host, _colon, port = text.rpartition(":")
    return {"host": host.strip("[]"), "port": int(port)}


def excused(result: Result) -> list[str]:
    """The replicas that were down before and were not waited for, as ``host:port``."""
    return [address(row) for row in result.get("replicas") or () if row.get("excused")]


def summary(result: Result, master_name: str, report_files: Mapping[str, str]) -> dict[str, Any]:
    """What is handed on to the next job: small and flat."""
    keys = ("changed", "outcome", "error", "remedy", "strategy", "lossless", "write_gap_ms", "started_at", "way_back")
    return {
        "master_name": master_name,
        **{key: result.get(key) for key in keys},
        "old_master": address(result.get("old_master")) or None,
        "new_master": address(result.get("new_master")) or None,
        "report_files": dict(report_files),
    }


def closing_lines(result: Result, master_name: str, headline: str, report_files: Mapping[str, str]) -> list[str]:
    """What a person reads at the end, the headline first."""
    facts = [
        ("loss", _loss(result)),
        ("writes", _writes(result)),
        ("when", _when(result)),
        *(("plan", line) for line in _plan_lines(result)),
        *(("note", str(note)) for note in result.get("notes") or ()),
        *(("put back", str(text)) for text in result.get("repaired") or ()),
        ("way back", str(result.get("way_back") or "")),
        *(("report", path) for path in report_files.values()),
    ]
    return [headline or _headline(result, master_name), *(f"{label:<9} {text}" for label, text in facts if text)]


def _headline(result: Result, master_name: str) -> str:
    outcome = result.get("outcome")
    old, new = address(result.get("old_master")), address(result.get("new_master"))
    way = f": {old} to {new}" if old and new else ""
    return f"{master_name}: {outcome}{way}"


def _loss(result: Result) -> str:
    if result.get("lossless") is None or not result.get("lossless_reason"):
        return ""
    if result["lossless"]:
        return f"none, shown: {result['lossless_reason']}"
    return f"NOT RULED OUT: {result['lossless_reason']}" if result.get("outcome") in MOVED else ""


def _writes(result: Result) -> str:
    gap_ms = result.get("write_gap_ms")
    return "" if gap_ms is None else f"stood still for {gap_ms:g} ms"


def _when(result: Result) -> str:
    steps = (("started", "started_at"), ("fenced", "fenced_at"), ("ended", "ended_at"))
    return ", ".join(f"{label} {result[key]}" for label, key in steps if result.get(key))


def _plan_lines(result: Result) -> Sequence[str]:
    if result.get("outcome") != "planned" or not result.get("plan"):
        return ()
    plan = result["plan"]
    steps = [
        str(step.get("text", step.get("name", step)) if isinstance(step, Mapping) else step) for step in plan["steps"]
    ]
    longest = plan.get("worst_case_write_stop_ms")
    return [*steps, *([f"writes stand still for {longest:g} ms at most"] if longest else [])]


# ---- all of it, for the tasks ------------------------------------------------------------------------------------------


def read(seen: Mapping[str, Any]) -> Seen:
    """The evidence as the variables of the role have it; a task that was skipped has seen nothing."""

    def result(name: str) -> Result:
        found = seen.get(name)
        return found if isinstance(found, Mapping) and not found.get("skipped") else {}

    first, move = result("first"), result("move")
    return Seen(
        confirm=bool(seen.get("confirm")),
        confirmed=str(result("answer").get("user_input", "")).strip().lower() == "yes",
        checked_after=bool(result("wait") or result("postcheck")),
        plan=result("plan"),
        move=first or move,
        again=move if first else {},
        finish=result("finish"),
        before=result("precheck") or result("look"),
        after=result("postcheck") or result("look_after"),
        cause=result("cause"),
        task=str(seen.get("task") or ""),
        own_tasks=bool(seen.get("own_tasks")),
    )


def course(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the tasks need to know, from everything that was seen."""
    facts = read(seen)
    now = moved(facts)
    postcheck, check_mode = bool(seen.get("want_postcheck")), bool(seen.get("check_mode"))
    after = stages_after(now, bool(facts.again), postcheck, check_mode)
    plan_first = not check_mode and bool(facts.confirm or seen.get("before_tasks"))
    baseline = postcheck or bool(seen.get("want_report"))
    concluded = conclude(facts, bool(seen.get("failed")))
    switched = now.get("outcome") in MOVED
    return {
        "before": stages_before(bool(seen.get("want_precheck")), baseline, plan_first),
        "after": after,
        "confirmed": facts.confirmed,
        "plan_refused": "" if facts.plan.get("outcome") in DONE else _message_of(facts.plan, facts),
        "second_request": second_request(seen.get("request") or {}, facts.before, result_of(seen, "look_now")),
        "put_back": is_to_put_back(now, bool((seen.get("wait") or {}).get("settled"))),
        "baseline": (facts.before.get("snapshot") or {}) if switched else {},
        "excused": excused(now),
        "new_master": address(now.get("new_master")),
        "result": {**concluded.result, **_way_back(concluded.result), "failure": concluded.failure},
        "seen_before": dict(facts.before),
        "seen_after": dict(facts.after),
        "own_tasks": own_tasks(seen, concluded.failure),
    }


def result_of(seen: Mapping[str, Any], name: str) -> Result:
    """What a task has returned; empty if it did not run."""
    found = seen.get(name)
    return found if isinstance(found, Mapping) else {}


def _way_back(result: Result) -> dict[str, Any]:
    """What becomes of a command that nobody can run, because Ansible has masked a part of it."""
    if not is_masked(result.get("way_back")):
        return {}
    note = "the way back is not shown: the letters of a password stand in it, and Ansible masks them"
    return {"way_back": None, "notes": [*result.get("notes", ()), note]}


def own_tasks(seen: Mapping[str, Any], failure: Mapping[str, str]) -> list[str]:
    """The stages at the end: the history, and those of the operator's own tasks that fit."""
    if seen.get("check_mode"):
        return []
    own = "failure" if failure else "after"
    wanted = [
        ("history", bool(seen.get("history_file")) and bool(seen.get("move"))),
        (own, bool(seen.get(f"{own}_tasks"))),
    ]
    return [stage for stage, is_wanted in wanted if is_wanted]
