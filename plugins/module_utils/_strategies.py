# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a master is moved: each way a function, to be read beside the table in docs/failover.md.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._agree import agree, record_promotion
from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import (
    Look,
    look,
    replication,
    rivals,
    role,
    wait_applied,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._demotion import (
    LATE_BYTES_WAIT_S,
    Demotion,
    roll_back,
    stop_and_demote,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    RefusedError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._follow import (
    disconnect_clients,
    follow,
    follow_in_turn,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._leftovers import is_fence
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM, routes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import FINISH, SENTINEL_HEALS_MS, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._prepare import (
    Raised,
    lock,
    lock_new_master,
    prepare,
    probe,
    raised_priorities,
    recheck,
    refuse_if_disturbed,
    repair,
    steer,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._promotion import (
    LEADER_SILENCE_S,
    LOOK_AROUND_S,
    Promotion,
    Taught,
    by_news,
    by_program,
    by_sentinel,
    teach_ahead,
    tell_all,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Replication
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import COORDINATED, FENCED
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait, each
from ansible_collections.redis_ha.sentinel.plugins.module_utils._settle import settle
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import ANNOUNCE, JOIN
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import FINISH as FINISH_STEP

COORDINATED_TIMEOUT_MS = 10_000
"""COORDINATED pauses writes for as long as failover-timeout if the replica does not answer: lowered for the time of the failover."""
JOIN_POLL_S = 0.05


def move(run: Run, plan: Plan) -> None:
    """Carry out a plan that moves the master, or finishes a move.

    Raises:
        FailoverError: How it ended, where it did not end well.
    """
    if plan.action == FINISH:
        finish(run, plan)
    elif plan.strategy == FENCED:
        fenced(run, plan)
    elif plan.strategy == COORDINATED:
        coordinated(run, plan)
    else:
        plain(run, plan)


def fenced(run: Run, plan: Plan) -> None:
    """The old master stops being a master before the new one becomes one."""
    with raised_priorities(run) as raised:
        plan = probe(run, plan)
        leaders = steer(run, plan, raised)
        with _write_stop(run, plan):
            seen = recheck(run, plan, leaders[0])
            taught = _teach_ahead(run, plan, leaders[0], seen)
            demotion = stop_and_demote(run, plan, lambda: recheck(run, plan, leaders[0]))
            promotion = _promote(run, plan, leaders, demotion, taught)
            promotion = _establish(run, promotion, demotion)
        _complete(run, plan, promotion, demotion, raised)


def _write_stop(run: Run, plan: Plan) -> AbstractContextManager[object]:
    """Where Sentinel promotes, it is Sentinel's time that passes, whoever else is moved meanwhile."""
    return run.shared.write_stop() if plan.promotion == PROGRAM else nullcontext()


def _teach_ahead(run: Run, plan: Plan, leader: Address, seen: Look) -> Taught | None:
    """Where other masters are moved beside this one, the epoch would not last: the leader hears of theirs all the time."""
    return teach_ahead(run, plan, leader, seen) if plan.promotion == PROGRAM and run.shared.is_alone else None


def _promote(
    run: Run, plan: Plan, leaders: Sequence[Address], demotion: Demotion, taught: Taught | None = None
) -> Promotion:
    if plan.promotion == PROGRAM:
        return by_program(run, plan, leaders, demotion, taught)
    return by_sentinel(run, plan, leaders, demotion.seen, demotion)


def _establish(run: Run, promotion: Promotion, demotion: Demotion | None) -> Promotion:
    record_promotion(run, promotion, demotion)
    return agree(run, promotion)


def _complete(
    run: Run, plan: Plan, promotion: Promotion, demotion: Demotion | None, raised: Raised | None = None
) -> None:
    lock_new_master(run, promotion.master)
    deadline_s = run.clock.now_s() + run.request.timeout_s
    if promotion.by == PROGRAM or demotion is not None:
        costly = follow(run, plan, promotion)
        disconnect_clients(run, plan, promotion.master)
        follow_in_turn(run, plan, costly, promotion.master, deadline_s)
    settle(run, plan, raised, deadline_s)


def coordinated(run: Run, plan: Plan) -> None:
    """Valkey 9's own way: the servers hand over to each other."""
    run.record.lossless_reason = "the servers handed over at equal offsets by themselves; this run did not read them"
    with raised_priorities(run) as raised:
        leader = steer(run, plan, raised)[0]
        seen = refuse_if_disturbed(run, plan, leader)
        before_ms = seen.said[leader].entry.failover_timeout_ms
        try:
            if before_ms > COORDINATED_TIMEOUT_MS:
                _lower_failover_timeout(run, leader)
            promotion = by_sentinel(run, plan, (leader,), seen)
            promotion = _establish(run, promotion, None)
        finally:
            if before_ms > COORDINATED_TIMEOUT_MS:
                _restore_failover_timeout(run, leader, before_ms)
        lock_new_master(run, promotion.master)
        settle(run, plan, raised)


def _lower_failover_timeout(run: Run, sentinel: Address) -> None:
    try:
        run.fleet.sentinel(sentinel).order(*_failover_timeout(run, COORDINATED_TIMEOUT_MS))
    except (LinkError, ReplyError) as error:
        raise failure("sentinel_not_permitted", f"failover-timeout cannot be set: {error}") from error


def _restore_failover_timeout(run: Run, sentinel: Address, milliseconds: int) -> None:
    """Put it back, however the run ends; where that fails, the result says so: no later run can read the old value off anything."""
    try:
        run.fleet.sentinel(sentinel).ask(*_failover_timeout(run, milliseconds))
    except (LinkError, ReplyError) as error:
        run.record.altered = True
        run.left(f"set failover-timeout {milliseconds} on Sentinel {sentinel}: {error}")


def _failover_timeout(run: Run, milliseconds: int) -> tuple[object, ...]:
    return ("SENTINEL", "SET", run.request.master_name, "failover-timeout", milliseconds)


def plain(run: Run, plan: Plan) -> None:
    """``SENTINEL FAILOVER`` alone: right when the master is down."""
    run.record.lossless_reason = (
        "SENTINEL FAILOVER alone leaves the old master writable until Sentinel demotes it, about eleven seconds later"
        if plan.master_reachable
        else "the old master could not be asked; what it had acknowledged and not replicated is lost"
    )
    with raised_priorities(run) as raised:
        leaders = steer(run, plan, raised)
        seen = refuse_if_disturbed(run, plan, leaders[0])
        promotion = by_sentinel(run, plan, leaders, seen)
        promotion = _establish(run, promotion, None)
        _complete(run, plan, promotion, None, raised)


# ---- what somebody else began ----------------------------------------------------------------------------------------


def finish(run: Run, plan: Plan) -> None:
    """Go on where an interrupted run stopped: the old master is a replica of the candidate, and not every Sentinel knows."""
    with run.step(FINISH_STEP):
        demotion = _demotion_found(run, plan)
    promotion = _establish(run, _finished(run, plan, demotion), demotion)
    _complete(run, plan, promotion, demotion)
    repair(run, plan.repairs)


def _finished(run: Run, plan: Plan, demotion: Demotion) -> Promotion:
    if plan.epoch is not None:
        return _spread(run, plan, plan.epoch)
    if demotion.unaware and plan.promotion == PROGRAM:
        told = by_news(run, plan, demotion)
        if told is not None:
            return told
        # Time has passed, and somebody may have begun a failover: a trigger beside it could get the same epoch.
        demotion = replace(demotion, seen=look(run))
    # Steering of the interrupted run stands until the priorities are put back, at the end.
    return _promote(run, plan, plan.leaders, demotion)


def _spread(run: Run, plan: Plan, epoch: int) -> Promotion:
    """Some Sentinel names the candidate already: its epoch is told to the others, which would hear it within two seconds."""
    with run.step(ANNOUNCE):
        aware = plan.leaders[0]
        ways = {
            address: way
            for address, way in routes(run.snapshot, plan.replica_to_promote, aware).items()
            if not run.same_now(_current(run, address), plan.new_master)
        }
        told = tell_all(run, ways, epoch, plan.replica_to_promote)
        named = tuple(address for address in run.sentinels if address not in ways)
        return Promotion(plan.replica_to_promote, PROGRAM, aware, epoch, (*named, *told))


def _current(run: Run, sentinel: Address) -> Address | None:
    """The master that a Sentinel named when the run began."""
    return next(view.current for view in run.snapshot.informed_sentinels if view.address == sentinel)


def _demotion_found(run: Run, plan: Plan) -> Demotion:
    """What an earlier run had demoted, and whether the candidate has everything.

    Raises:
        AbortedError: It has not, and the old master is the master again.
        UnknownOutcomeError: It has not, and a Sentinel may be about to promote it.
        RefusedError: A node cannot be asked.
    """
    candidate = plan.replica_to_promote
    seen = look(run)
    try:
        final = replication(run, plan.old_master)
        found = replication(run, candidate)
        if not found.is_master and not found.has_applied(final.position):
            wait_applied(run, (candidate,), final.position, run.clock.now_s() + LATE_BYTES_WAIT_S)
            found = replication(run, candidate)
    except (LinkError, ReplyError) as error:
        raise failure("node_unreachable", str(error)) from error
    if _has_everything(found, final):
        proof = f"{candidate} has everything up to offset {final.offset}, where {plan.old_master} ended"
        return Demotion(final.position, (candidate,), proof, seen, found.is_master)
    if not found.is_master:
        raise _returned_to_old_master(run, plan)
    return Demotion(final.position, (), "", seen, unaware=True)


def _has_everything(candidate: Replication, old_master: Replication) -> bool:
    if not candidate.is_master:
        return candidate.has_applied(old_master.position)
    if old_master.replid == candidate.replid:
        # It follows already. From where it ended, if both went on from the same history, it no further; after a copy of everything it knows no other.
        return old_master.replid2 == candidate.replid2 and -1 < old_master.second_offset <= candidate.second_offset
    # A master's offset counts its own writes, too; what it had before them ends at its second offset.
    return old_master.replid == candidate.replid2 and old_master.offset < candidate.second_offset


def _returned_to_old_master(run: Run, plan: Plan) -> FailoverError:
    """The candidate lacks acknowledged writes: where certainly nobody promotes it, the old master is made the master again. The error that says so.

    One that does not answer may be about to promote it. Nobody is told to, for with that the writes would be lost.
    """
    missing = f"{plan.replica_to_promote} has not got all that {plan.old_master} had acknowledged when an interrupted run demoted it"
    everyone = [view.address for view in run.snapshot.sentinels]
    deadline_s = run.clock.now_s() + LEADER_SILENCE_S
    wait = Wait(run)
    while True:
        seen = look(run, of=everyone)
        if found := rivals(run, seen, plan.old_master):
            said = "; ".join(f"Sentinel {address} {text}" for address, text in found.items())
            return failure("promotion_in_doubt", f"{missing}, and {said}")
        if not seen.silent:
            roll_back(run, plan)
            run.record.new_master = plan.old_master
            run.record.repaired.append(f"{plan.old_master} made the master again")
            return failure("late_writes", f"{missing}; {plan.old_master} is the master again")
        if run.clock.now_s() >= deadline_s:
            return failure(
                "writes_missing",
                f"{missing}, and whether a Sentinel promotes it is not known: {each(seen.silent, 'Sentinel ')}",
                old_master=plan.old_master,
                heals_s=(plan.down_after_ms + SENTINEL_HEALS_MS) // 1000,
            )
        wait.tell(functools.partial(each, seen.silent, "Sentinel "))
        run.clock.sleep(LOOK_AROUND_S)


def join(run: Run, plan: Plan) -> None:
    """Wait for the end of a failover that somebody else began; where it comes to nothing and has left no master, finish it.

    Raises:
        AbortedError: It ended without moving the master.
        UnknownOutcomeError: It has not ended in time, or there is no master, and it cannot be finished.
    """
    run.record.leader = plan.leaders[0]
    run.record.lossless_reason = (
        f"a failover that this run did not begin (Sentinel {plan.leaders[0]} led it) was joined"
    )
    with run.step(JOIN):
        new_master = _joined_master(run, plan)
    if new_master is None or run.same_now(new_master, plan.old_master):
        _finish_what_came_to_nothing(run, plan)
        return
    run.record.new_master, run.record.moved = new_master, True
    lock_new_master(run, new_master)
    settle(run, replace(plan, new_master=new_master))
    repair(run, plan.repairs)


def _joined_master(run: Run, plan: Plan) -> Address | None:
    deadline_s = run.clock.now_s() + run.request.timeout_s
    wait = Wait(run)
    while run.clock.now_s() < deadline_s:
        seen = look(run)
        names = {run.snapshot.identity(said.named) if said.named else None for said in seen.said.values()}
        if not seen.silent and not seen.in_progress() and len(names) == 1:
            named = names.pop()
            known = {run.snapshot.identity(address): address for address in (*plan.others, plan.old_master)}
            return known.get(named, named) if named else None
        wait.tell(lambda: f"the failover led by Sentinel {plan.leaders[0]} goes on")
        run.clock.sleep(JOIN_POLL_S)
    fences = [it.address for it in plan.repairs if is_fence(it)]
    fenced = [f"{address} refuses writes until what an interrupted run left is put back" for address in fences]
    late = f"the failover led by Sentinel {plan.leaders[0]} has not ended within {run.request.timeout_s:g} s"
    raise failure("joined_failover_unfinished", "; ".join([late, *fenced]))


def _finish_what_came_to_nothing(run: Run, plan: Plan) -> None:
    """A failover that was joined has ended, and moved nothing. Where an interrupted run began it, the old master is a replica, and there is none.

    Raises:
        AbortedError: The old master is still one.
        UnknownOutcomeError: It is none, and nothing that can be finished was found.
    """
    ended = f"the failover that was in progress ended without moving {plan.old_master}"
    now = role(run, plan.old_master)
    if now == "master":
        run.record.new_master = plan.old_master
        # Without the fence that an interrupted run may have left there, it takes writes.
        repair(run, plan.repairs)
        raise failure("joined_failover_failed", ended)
    no_master = f"{ended}, which {'is a replica' if now else 'does not answer'}"
    run.shared = replace(run.shared, snapshot=None)
    try:
        left = prepare(run, listen=True)
    except RefusedError as refused:
        raise failure("promotion_in_doubt", f"{no_master}; it cannot be finished: {refused.message}") from refused
    if left.action != FINISH:
        run.record.new_master = None
        raise failure("promotion_in_doubt", no_master)
    lock(run, left)
    finish(run, left)
