# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The old master stops being a master: fence, catch up, demote, and the way back.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import (
    FAST_ANSWER_S,
    Look,
    applied,
    look,
    replication,
    rivals,
    sentinels_missing,
    wait_applied,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import sentinels_wanted
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._fence import Fence, fence_of
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import (
    MIN_REPLICAS_FENCE,
    SENTINEL_HEALS_MS,
    Plan,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Position, Replication
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    CATCH_UP,
    DEMOTE,
    DEMOTED,
    DEMOTION_IN_DOUBT,
    FENCE,
    FENCE_LIFTED,
    FENCE_RAISED,
    LATE_WRITES,
    ROLLED_BACK,
)

LATE_BYTES_WAIT_S = 0.05
DOUBT_WAIT_S = 3.0
"""How long a master is asked that was lost at the moment of its demotion."""
DOUBT_POLL_S = 0.05
ATTEMPTS = 3
"""How often the fence is raised again after writes that came behind it."""


@dataclass(frozen=True)
class Demotion:
    """The old master is a replica of the candidate.

    Attributes:
        final: The last position that it reached as a master.
        holders: Candidates that were seen to have applied it; whichever of them is promoted, nothing is lost.
        proof: Why nothing that was acknowledged can be missing there.
        seen: The last look at the Sentinels before it.
        unaware: Whether the candidate is a master already, and perhaps no Sentinel knows of it.
    """

    final: Position
    holders: tuple[Address, ...]
    proof: str
    seen: Look
    unaware: bool = False


def stop_and_demote(run: Run, plan: Plan, prepare_again: Callable[[], object]) -> Demotion:
    """Stop writes, see the candidates catch up, and make the old master a replica of the one to promote.

    Args:
        run: The run.
        plan: What to do.
        prepare_again: Called before each further attempt, where writes had come behind the fence and the old master is a master again.

    Raises:
        AbortedError: It was rolled back; nothing was moved.
        UnknownOutcomeError: Whether the old master still is one could not be established.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            prepare_again()
        fence = fence_of(run.fleet.node(plan.old_master), plan, run.clock)
        try:
            _raise(run, fence)
            _catch_up(run, plan, fence)
            demotion = _demote(run, plan, fence)
        except BaseException:
            fence.lift_if_up()
            raise
        if demotion is not None:
            return demotion
    scripts = " (before Redis 6.2.6 scripts write on behind the fence)" if plan.fence == MIN_REPLICAS_FENCE else ""
    raise failure(
        "late_writes",
        f"{plan.old_master} had acknowledged more than {plan.replica_to_promote} had received, again and again{scripts}; it is the master",
    )


def _raise(run: Run, fence: Fence) -> None:
    with run.step(FENCE):
        try:
            fence.raise_up()
        except (LinkError, ReplyError) as error:
            raise failure("fence_failed", f"writes could not be stopped: {error}") from error
        run.record.fenced_at_s = fence.raised_at_s
        run.record.fenced_at = run.timeline.utc_at(fence.raised_at_s)
        run.timeline.add(
            FENCE_RAISED,
            fence.address,
            f"{fence.address} acknowledges no more writes; its offset is {fence.position}",
            at_s=fence.raised_at_s,
        )


def _catch_up(run: Run, plan: Plan, fence: Fence) -> None:
    with run.step(CATCH_UP):
        deadline_s = fence.raised_at_s + plan.fence_budget_ms / 1000
        try:
            behind = wait_applied(
                run, (plan.replica_to_promote, *plan.siblings), fence.position, deadline_s, fence.renew_if_due
            )
        except (LinkError, ReplyError) as error:
            raise failure("fence_lost", f"the fence could not be renewed: {error}") from error
        if behind:
            stood_ms = _lift(run, fence)
            raise failure(
                "catch_up_timeout",
                f"not caught up within {plan.fence_budget_ms} ms: "
                + "; ".join(f"{address}: {text}" for address, text in behind.items()),
                {
                    "wanted_offset": fence.position.offset,
                    "behind": {str(address): text for address, text in behind.items()},
                    "stood_ms": stood_ms,
                },
                stood_ms=stood_ms,
            )


def _lift(run: Run, fence: Fence) -> int:
    """Let writes go on; for how many milliseconds they stood still."""
    fence.lift_if_up()
    stood_ms = round((run.clock.now_s() - fence.raised_at_s) * 1000)
    run.timeline.add(FENCE_LIFTED, fence.address, f"{fence.address} takes writes again after {stood_ms} ms")
    return stood_ms


def _demote(run: Run, plan: Plan, fence: Fence) -> Demotion | None:
    """Make the old master a replica; nothing, if it had acknowledged more than the candidate has: it is the master again then."""
    with run.step(DEMOTE):
        seen = _look_for_rivals(run, plan, fence)
        final = _demote_once(run, plan, fence)
        holders, behind = _holders(run, plan, final)
        if not behind:
            proof = (
                f"{plan.replica_to_promote} had applied offset {final}, "
                f"the last that {plan.old_master} reached when it stopped being a master"
            )
        elif fence.held:
            # The fence was lifted in the very transaction that demoted, and nothing was written behind it: what came after its offset is no write.
            holders = (plan.replica_to_promote, *plan.siblings)
            proof = (
                f"{plan.replica_to_promote} had applied offset {fence.position}, "
                f"after which {plan.old_master} acknowledged no write"
            )
            run.note(
                f"{plan.old_master} ended at offset {final} by itself (expired keys or a ping) and may resynchronise in full"
            )
        else:
            run.timeline.add(LATE_WRITES, plan.old_master, f"{plan.old_master} ended at {final}; {behind}")
            roll_back(run, plan)
            return None
        run.timeline.add(
            DEMOTED,
            plan.old_master,
            f"{plan.old_master} is a replica of {plan.replica_to_promote}; final offset {final}",
        )
        return Demotion(final, holders, proof, seen)


def _holders(run: Run, plan: Plan, final: Position) -> tuple[tuple[Address, ...], str]:
    """Candidates that have applied a position, of which the one to promote is waited for; and what is known of that one, if it has not."""
    answers = applied(run, (plan.replica_to_promote, *plan.siblings), FAST_ANSWER_S)
    holders = tuple(address for address, it in answers.items() if isinstance(it, Replication) and it.has_applied(final))
    if plan.replica_to_promote in holders:
        return holders, ""
    behind = wait_applied(run, (plan.replica_to_promote,), final, run.clock.now_s() + LATE_BYTES_WAIT_S)
    if behind:
        return holders, behind[plan.replica_to_promote]
    return (plan.replica_to_promote, *holders), ""


def _look_for_rivals(run: Run, plan: Plan, fence: Fence) -> Look:
    """Nobody may have begun a failover: ours would meet it. One that has fallen silent may have.

    Raises:
        AbortedError: Somebody has, or that cannot be seen. Writes go on.
    """
    seen = look(run)
    if found := rivals(run, seen, plan.old_master):
        _lift(run, fence)
        said = "; ".join(f"Sentinel {address} {text}" for address, text in found.items())
        raise failure("rival_failover", f"right before the demotion, {said}")
    if len(seen.said) < sentinels_wanted(run.snapshot, run.request.min_sentinels):
        _lift(run, fence)
        raise sentinels_missing(seen)
    return seen


def _demote_once(run: Run, plan: Plan, fence: Fence) -> Position:
    try:
        if plan.fence == MIN_REPLICAS_FENCE:
            # Pings and expired keys still move the offset; demoted ahead of the candidate, this node would have to resynchronise in full.
            reached = replication(run, plan.old_master).position
            wait_applied(run, (plan.replica_to_promote,), reached, run.clock.now_s() + LATE_BYTES_WAIT_S)
        return fence.demote(plan.replica_to_promote)
    except ReplyError as error:
        if fence.demoted:
            raise _in_doubt(
                plan,
                f"{plan.old_master} had stopped being a master before it was made a replica of {plan.replica_to_promote}: {error}",
            ) from error
        raise failure("demotion_refused", str(error)) from error
    except LinkError as error:
        if not error.sent and not fence.demoted:
            raise failure("demotion_not_sent", str(error)) from error
        run.timeline.add(DEMOTION_IN_DOUBT, plan.old_master, str(error))
        found = _look_after_doubt(run, plan, error)
        if found.is_master:
            raise failure("demotion_lost", str(error)) from error
        if not run.same_now(found.master, plan.replica_to_promote):
            raise _in_doubt(
                plan, f"{plan.old_master} was lost at the moment of its demotion, and follows {found.master} now"
            ) from error
        fence.forget()
        return found.position


def _in_doubt(plan: Plan, message: str) -> FailoverError:
    return failure("demotion_in_doubt", message, heals_s=(plan.down_after_ms + SENTINEL_HEALS_MS) // 1000)


def _look_after_doubt(run: Run, plan: Plan, doubt: LinkError) -> Replication:
    deadline_s = run.clock.now_s() + DOUBT_WAIT_S
    wait = Wait(run)
    while True:
        try:
            return replication(run, plan.old_master, timeout_s=0.5)
        except (LinkError, ReplyError) as error:
            if run.clock.now_s() >= deadline_s:
                raise _in_doubt(
                    plan,
                    f"{plan.old_master} was lost at the moment of its demotion ({doubt.message}); whether it is still a master is not known",
                ) from error
            wait.tell(lambda: f"{plan.old_master} does not say whether it is still a master")
            run.clock.sleep(DOUBT_POLL_S)


def roll_back(run: Run, plan: Plan) -> None:
    """Make the old master a master again. Only where no Sentinel has been told to fail over, or none can act on it any more.

    Raises:
        UnknownOutcomeError: It could not be asked.
    """
    client = run.fleet.node(plan.old_master)
    try:
        # It may have closed our connection meanwhile, and an order is sent once only: the question opens another one.
        client.ask("ROLE")
        client.order("REPLICAOF", "NO", "ONE")
    except (LinkError, ReplyError) as error:
        raise failure(
            "roll_back_failed", f"{plan.old_master} could not be made a master again: {error.message}"
        ) from error
    run.timeline.add(ROLLED_BACK, plan.old_master, f"{plan.old_master} is the master again")
