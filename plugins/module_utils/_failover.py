# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run from the first question to the result.

One rule: the old master stops being a master before the new one becomes one. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._decide import decide
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    RefusedError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import other_names
from ansible_collections.redis_ha.sentinel.plugins.module_utils._leftovers import begun_by_a_run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import FINISH, JOIN, MOVE, NOTHING, REPAIR, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._prepare import ask_everybody, lock, prepare, repair
from ansible_collections.redis_ha.sentinel.plugins.module_utils._record import Record, failed_result, gone_on, result_of
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import FENCED, way_back
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait
from ansible_collections.redis_ha.sentinel.plugins.module_utils._settle import moved_on_since
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import DISCOVER, GOES_ON
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import FINISH as FINISH_STEP
from ansible_collections.redis_ha.sentinel.plugins.module_utils._strategies import join, move

GO_ON_WAIT_S = 15.0
"""Sentinel looks at a replica every ten seconds, and sees it up only then where its link was down at the look before."""
GO_ON_POLL_S = 0.5

MOVED_SINCE = ("master_changed", "expected_master_mismatch")
"""Errors of a move that follows another at once: the master may be where neither of them has led it."""


def fail_over(run: Run, check_mode: bool = False) -> dict[str, Any]:
    """Do what the request asks for, or in check mode only plan it.

    Where Sentinel promoted another replica than the one that was asked for, and all else is well, the master is moved on from there: once, by a move
    like any other.

    Args:
        run: The services and the request.
        check_mode: Change nothing.

    Returns:
        The result as the module returns it.
    """
    result = _result_of_move(run, lambda: prepare(run, listen=not check_mode), check_mode)
    return _go_on(run, result) if _is_to_go_on(run, result) else result


def _result_of_move(run: Run, planned: Callable[[], Plan], check_mode: bool = False) -> dict[str, Any]:
    """One move, or none, as its plan has it."""
    run.record.started_at = run.timeline.utc_at()
    try:
        plan = planned()
        if check_mode:
            would_change = plan.action != NOTHING or bool(plan.repairs)
            return _result(run, "planned" if would_change else "unchanged", would_change)
        _carry_out(run, plan)
        return _outcome(run)
    except FailoverError as error:
        return _failed(run, error)
    except (LinkError, ReplyError) as error:
        return _failed(run, failure("contact_lost_halfway" if _halfway(run) else "contact_lost", str(error)))
    except Exception as error:  # noqa: BLE001 - a fault must not hide what became of the deployment, nor of the other masters of a drain
        return _failed(run, failure("program_failed_halfway" if _halfway(run) else "program_failed", _fault(error)))


def _halfway(run: Run) -> bool:
    """Whether anything was tried: writes stopped, a Sentinel told, a replica promoted."""
    record = run.record
    tried = record.fenced_at_s is not None or record.leader is not None or record.moved
    # Where an interrupted run is finished, writes were stopped by that one.
    return tried or FINISH_STEP.name in record.steps_ms


def _fault(error: Exception) -> str:
    """What went wrong in the program, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, {os.path.basename(last.filename)} line {last.lineno}: {error}"


def _carry_out(run: Run, plan: Plan) -> None:
    node = run.snapshot.node(plan.old_master)
    if (plan.action != NOTHING or plan.repairs) and node is not None and node.reachable:
        lock(run, plan)
    if plan.action == JOIN:
        join(run, plan)
        return
    if plan.action != FINISH:
        # The steering of the run that is finished has to stand until Sentinel has chosen.
        repair(run, plan.repairs)
    if plan.action in (NOTHING, REPAIR):
        run.record.new_master = plan.old_master
        return
    move(run, plan)


def _outcome(run: Run) -> dict[str, Any]:
    record = run.record
    left = [*record.left, *filter(None, [_elsewhere(run)])]
    if left:
        return _failed(run, failure("left_to_do", f"the master is {record.new_master}; left to do: " + "; ".join(left)))
    if record.moved:
        return _result(run, "switched", True)
    return _result(run, "unchanged", bool(record.repaired))


def _elsewhere(run: Run) -> str:
    """Where the master is, if it was moved and is not where it was to be, and what to do; else nothing."""
    master, request = run.record.new_master, run.request
    if not run.record.moved or master is None:
        return ""
    if _target_is_avoided(run):
        return f"the master is {master}; {request.target} is on a host to leave: name a target on another host"
    if request.target is not None and not run.same_now(request.target, master):
        return f"the master is {master}, not {request.target}: run again to move it there"
    if run.snapshot.on_host(master, request.avoid):
        return f"the master is {master}, on a host to leave: run again to move it away"
    if request.target is None and run.same_now(request.expected_master, master):
        # An interrupted run, or somebody else, was about to make it the master; the caller wants it moved from there.
        return f"the master is {master}, from where it was to be moved: run again to move it away"
    return ""


def _target_is_avoided(run: Run) -> bool:
    """Whether the caller has asked for what cannot be. A move of its own is refused then; what somebody has begun is finished."""
    target = run.request.target
    return target is not None and run.snapshot.on_host(target, run.request.avoid)


# ---- where Sentinel promoted another replica -------------------------------------------------------------------------


def _is_to_go_on(run: Run, ended: Mapping[str, Any]) -> bool:
    """Whether a move of this program has ended well, but elsewhere. What somebody else began and this run joined stays where it leads."""
    record = run.record
    # Where nothing else is left to do, it is the place of the master.
    if ended["error"] != "left_to_do" or record.left or record.plan is None:
        return False
    if _target_is_avoided(run) or other_names(run.snapshot):
        return False
    if record.plan.action == JOIN:
        return begun_by_a_run(run.snapshot)
    return record.plan.action in (MOVE, FINISH) and record.plan.strategy == FENCED


def _go_on(run: Run, ended: dict[str, Any]) -> dict[str, Any]:
    """Move the master on to where it was to be; one result of both moves."""
    here, request = run.record.new_master, run.request
    run.timeline.add(GOES_ON, here, f"{here} is the master and was not to be: it is moved on")
    further = replace(
        run,
        # With hosts to leave, a master that has left them would stay where it is. One that dies now is Sentinel's to see to.
        request=replace(request, expected_master=here, avoid=() if request.target else request.avoid, strategy=FENCED),
        snapshot=Snapshot("", (), ()),
        record=Record(asked=run.record.asked),
        shared=replace(run.shared, snapshot=None),
    )
    second = _result_of_move(further, lambda: _decided_anew(further))
    moved_since = moved_on_since(run, here) if here is not None and second["error"] in MOVED_SINCE else None
    both = gone_on(ended if moved_since is None else _failed(run, moved_since), second)
    if further.record.moved:
        both["way_back"] = _way_back(run, further.record.new_master)
    return both


def _decided_anew(run: Run) -> Plan:
    """The plan of a move that follows another at once: Sentinels may still be making acquaintance with the replicas of the new master.

    Raises:
        RefusedError: Something speaks against it, for longer than that takes.
    """
    deadline_s = run.clock.now_s() + GO_ON_WAIT_S
    wait = Wait(run)
    with run.step(DISCOVER):
        while (refused := _speaks_against(run)) is not None:
            run.stop_if_requested()
            if run.clock.now_s() >= deadline_s:
                raise refused
            wait.tell(partial(str, refused))
            run.clock.sleep(GO_ON_POLL_S)
    return prepare(run, listen=True)


def _speaks_against(run: Run) -> FailoverError | None:
    """What speaks against a move now; if nothing does, what everybody has said is kept for its plan."""
    snapshot = ask_everybody(run)
    try:
        plan = decide(snapshot, run.request, run.deaf or ())
    except RefusedError as refused:
        return refused
    if plan.action != MOVE:
        return failure("master_changed", f"{snapshot.master_address} is not to be moved ({plan.action})")
    run.shared = replace(run.shared, snapshot=snapshot)
    return None


def _end(run: Run) -> list[dict[str, Any]]:
    record = run.record
    record.ended_at = run.timeline.utc_at(run.clock.now_s())
    if record.moved:
        record.way_back = _way_back(run, record.new_master)
    return run.timeline.as_result()


def _way_back(run: Run, new_master: Address | None) -> str | None:
    """The command that moves the master back to where it was; nothing, where it is there or it is not known where."""
    old_master = run.record.old_master
    if old_master is None or new_master is None or run.same_now(old_master, new_master):
        return None
    return way_back(run.request, run.fleet.options.sentinels, old_master, new_master)


def _result(run: Run, outcome: str, changed: bool) -> dict[str, Any]:
    timeline = _end(run)
    return result_of(run.record, timeline, outcome, changed)


def _failed(run: Run, error: FailoverError) -> dict[str, Any]:
    timeline = _end(run)
    return failed_result(run.record, timeline, error)
