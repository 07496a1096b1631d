# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run from the first question to the result.

One rule: the old master stops being a master before the new one becomes one. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import os
import traceback
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import FINISH, JOIN, MOVE, NOTHING, REPAIR, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._prepare import lock, prepare, repair
from ansible_collections.redis_ha.sentinel.plugins.module_utils._record import failed_result, result_of
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import way_back
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import FINISH as FINISH_STEP
from ansible_collections.redis_ha.sentinel.plugins.module_utils._strategies import join, move


def fail_over(run: Run, check_mode: bool = False) -> dict[str, Any]:
    """Do what the request asks for, or in check mode only plan it.

    Args:
        run: The services and the request.
        check_mode: Change nothing.

    Returns:
        The result as the module returns it.
    """
    run.record.started_at = run.timeline.utc_at()
    try:
        plan = prepare(run, listen=not check_mode)
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
    if plan.action == JOIN:
        join(run, plan)
        return
    node = run.snapshot.node(plan.old_master)
    if (plan.action in (MOVE, FINISH, REPAIR) or plan.repairs) and node is not None and node.reachable:
        lock(run, plan)
    if plan.action != FINISH:
        # The steering of the run that is finished has to stand until Sentinel has chosen.
        repair(run, plan.repairs)
    if plan.action in (NOTHING, REPAIR):
        run.record.new_master = plan.old_master
        return
    move(run, plan)


def _outcome(run: Run) -> dict[str, Any]:
    record, request = run.record, run.request
    master = record.new_master
    if record.moved and master is not None:
        if request.target is not None and not run.same_now(request.target, master):
            run.left(f"the master is {master}, not {request.target}: run again to move it there")
        elif run.snapshot.on_host(master, request.avoid):
            run.left(f"the master is {master}, on a host to leave: run again to move it away")
    if record.left:
        return _failed(
            run, failure("left_to_do", f"the master is {record.new_master}; left to do: " + "; ".join(record.left))
        )
    if record.moved:
        return _result(run, "switched", True)
    return _result(run, "unchanged", bool(record.repaired))


def _end(run: Run) -> list[dict[str, Any]]:
    record = run.record
    record.ended_at = run.timeline.utc_at(run.clock.now_s())
    old_master, new_master = record.old_master, record.new_master
    if record.moved and old_master and new_master and not run.same_now(old_master, new_master):
        record.way_back = way_back(run.request, run.fleet.options.sentinels, old_master, new_master)
    return run.timeline.as_result()


def _result(run: Run, outcome: str, changed: bool) -> dict[str, Any]:
    timeline = _end(run)
    return result_of(run.record, timeline, outcome, changed)


def _failed(run: Run, error: FailoverError) -> dict[str, Any]:
    timeline = _end(run)
    return failed_result(run.record, timeline, error)
