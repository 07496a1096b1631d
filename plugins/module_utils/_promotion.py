# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A replica becomes the master: the program promotes it and carries the news, or Sentinel does both in its own time.

What makes the first way safe stands in docs/failover.md: the leading Sentinel is the only rival, and it gives in to a newer configuration. So nobody
else is told before the leader has given in, and only where a look at all Sentinels, a moment ago, has shown no other failover.
Where the replica is a master already, there is nothing to promote: no Sentinel leads, and all are told.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import (
    FAST_ANSWER_S,
    SENTINEL_ANSWER_S,
    Look,
    look,
    look_questions,
    named_master,
    parse_said,
    replication,
    rivals,
    role,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._demotion import Demotion, roll_back
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import (
    FIRST_ORDER_MS,
    PROGRAM,
    SENTINEL,
    Route,
    epoch_of,
    routes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import COORDINATED, FENCED
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    ANNOUNCE,
    ANNOUNCE_FAILED,
    ANNOUNCED,
    PROMOTE,
    PROMOTED,
    RIVAL_SEEN,
    TEACH,
    TRIGGER,
    TRIGGER_IN_DOUBT,
    TRIGGER_NOT_REACHED,
    TRIGGER_REFUSED,
    TRIGGERED,
)

LOOK_IS_GOOD_MS = FIRST_ORDER_MS - 44.0
"""A look at all Sentinels says something for as long as no failover that began after it can have ordered a promotion (``FIRST_ORDER_MS``); what
it is looked at for must be done by then, so a good part of that time is kept for the doing."""
LATEST_PROMOTION_MS = FIRST_ORDER_MS - 4.0
"""The leading Sentinel may order the promotion of another replica soon after. What is later is left to it."""
EPOCH_WAIT_S = 0.05
MOST_LOOKING_S = 1.0
"""A leader that nobody tells of the promotion sees it in its next INFO, within a second."""
TRIGGER_ANSWER_S = 2.0
POLL_S = 0.004
LOOK_AROUND_S = 0.25
LEADER_SILENCE_S = 3.0
"""A leader that is alive orders the promotion within 0.3 s; one that has done nothing for ten times as long does nothing any more."""
STANDS_S = 3.0
"""For so long after the demotion an old master that does not answer is taken for a replica: other runs are kept from it, and no person is as quick. To
wait until it answers would leave writes stopped until Sentinel promotes by itself, half a minute later."""
ATTEMPTS = 3


@dataclass(frozen=True)
class Taken:
    """A Sentinel leads a failover.

    Attributes:
        leader: That Sentinel.
        sent_at_s: When it was told to, in monotonic seconds.
        ours: Whether it began at our word; else it is somebody else's failover, or that cannot be told.
    """

    leader: Address
    sent_at_s: float
    ours: bool = True


@dataclass(frozen=True)
class Taught:
    """What every Sentinel but one has read: no failover that it begins from now on has an epoch up to this one.

    Attributes:
        leader: The one that has not.
        epoch: The epoch.
    """

    leader: Address
    epoch: int


@dataclass(frozen=True)
class Promotion:
    """There is a new master.

    Attributes:
        master: Its address.
        by: ``program`` or ``sentinel``.
        leader: The Sentinel that led; nothing, if none did.
        epoch: The configuration epoch of the news that the program carried.
        named_by: Sentinels that were seen to name it.
        beside: The candidate, where the program or an earlier run promoted it and a Sentinel chose another replica.
    """

    master: Address
    by: str
    leader: Address | None
    epoch: int | None = None
    named_by: tuple[Address, ...] = ()
    beside: Address | None = None


# ---- the program promotes --------------------------------------------------------------------------------------------


def teach_ahead(run: Run, plan: Plan, leader: Address, seen: Look) -> Taught | None:
    """Before writes stop, let every other Sentinel know that the next epoch is taken: each writes its file for that, and writes do not wait for it.

    The next epoch is a guess. Nothing rests on it: the leader draws its own, and where that one is higher, the others are taught it later.

    Args:
        run: The run.
        plan: What to do.
        leader: The Sentinel that shall lead.
        seen: A look at all Sentinels, a moment ago.

    Returns:
        Nothing, if not every one of them has read it.
    """
    epoch = 1 + max(said.entry.config_epoch for said in seen.said.values())
    ways = _others(routes(run.snapshot, plan.replica_to_promote, leader), leader)
    with run.step(TEACH):
        return Taught(leader, epoch) if teach_all(run, ways, epoch) else None


def teach_all(run: Run, ways: Mapping[Address, Route | str], epoch: int) -> bool:
    """Let Sentinels know, side by side, that an epoch is taken; whether every one has read it."""
    read = run.fleet.gather(ways, lambda address: _teach(run, address, ways[address], epoch))
    return all(it is True for it in read.values())


def by_program(
    run: Run,
    plan: Plan,
    leaders: Sequence[Address],
    demotion: Demotion,
    taught: Taught | None = None,
) -> Promotion:
    """Trigger, promote, and carry the news; wherever that is not certainly safe any more, leave the rest to Sentinel.

    Args:
        run: The run.
        plan: What to do.
        leaders: Sentinels that may lead, the best first.
        demotion: That of the old master.
        taught: What the others have read already.

    Raises:
        AbortedError: No Sentinel took it; the old master is the master again.
        UnknownOutcomeError: How it ends could not be established, or somebody has made the old master a master again.
    """
    taken = _trigger(run, plan, leaders, demotion.seen, demotion)
    if taken is None:
        raise _rolled_back(run, plan, (), demotion.unaware)
    epoch = _epoch(run, taken) if taken.ours else None
    if epoch is None:
        begun = f"Sentinel {taken.leader} leads a failover that may not be of this run"
        late = f"Sentinel {taken.leader} did not say its epoch within {EPOCH_WAIT_S * 1000:g} ms"
        _leave_to_sentinel(run, late if taken.ours else begun)
        return by_sentinel(run, plan, leaders, None, demotion, taken)
    ways = routes(run.snapshot, plan.replica_to_promote, taken.leader)
    to_teach = {} if _is_taught(taught, taken, epoch) else _others(ways, taken.leader)
    with run.step(PROMOTE):
        promoted, all_taught = _promote_and_teach(run, plan, taken, epoch, to_teach)
    if promoted is True and all_taught:
        with run.step(ANNOUNCE):
            promotion = _announce(run, plan, taken, epoch, ways)
        if promotion is not None:
            return promotion
    known = replace(demotion, unaware=demotion.unaware or promoted is not False)
    return by_sentinel(run, plan, leaders, None, known, taken)


def by_news(run: Run, plan: Plan, demotion: Demotion) -> Promotion | None:
    """Tell every Sentinel of a candidate that is a master already. None of them leads a failover, so none can promote another replica beside it.

    Every Sentinel reads first that the next epoch is taken. The look comes after that: a failover that began before is seen, and one that begins later has
    a higher epoch, and wins. One that does not answer may be in the middle of a failover of that epoch, so all have to.

    Returns:
        Nothing, where something speaks against it, or none of them is seen to have heard.

    Raises:
        UnknownOutcomeError: Somebody has made the old master a master again, or that cannot be seen.
    """
    candidate = plan.replica_to_promote
    ways = routes(run.snapshot, candidate)
    if len(ways) < len(run.snapshot.sentinels):
        return None
    with run.step(TEACH):
        epoch = 1 + max((said.entry.config_epoch for said in look(run).said.values()), default=0)
        if not teach_all(run, ways, epoch):
            return None
    with run.step(ANNOUNCE):
        _see_it_stand(run, plan, demotion)
        if role(run, candidate) != "master" or _found(run, plan, None, epoch, look(run)):
            return None
        told = tell_all(run, ways, epoch, candidate)
        return Promotion(candidate, PROGRAM, None, epoch, told) if told else None


def _leave_to_sentinel(run: Run, reason: str) -> None:
    """The program was to promote and carry the news, and does not: the result says why."""
    run.record.promotion_reason = f"it was left to Sentinel: {reason}"


def _epoch(run: Run, taken: Taken) -> int | None:
    """The epoch that the leader has just given itself; nothing, if it does not say so at once."""
    deadline_s = taken.sent_at_s + EPOCH_WAIT_S
    while True:
        epoch = epoch_of(run.timeline.events_of(taken.leader, taken.sent_at_s), run.request.master_name)
        left_s = deadline_s - run.clock.now_s()
        if epoch is not None or left_s <= 0:
            return epoch
        run.timeline.wait_for_news(left_s)


def _others(ways: Mapping[Address, Route | str], leader: Address) -> dict[Address, Route | str]:
    """How every Sentinel but the leader is told."""
    return {address: way for address, way in ways.items() if address != leader}


def _is_taught(taught: Taught | None, taken: Taken, epoch: int) -> bool:
    return taught is not None and taught.leader == taken.leader and epoch <= taught.epoch


def _promote_and_teach(
    run: Run, plan: Plan, taken: Taken, epoch: int, ways: Mapping[Address, Route | str]
) -> tuple[bool | None, bool]:
    """Make the candidate a master, and let the Sentinels that do not know it yet know that the epoch is taken, side by side.

    Returns:
        Whether the candidate is a master now (``None``: that is not known), and whether every Sentinel has read of the epoch.
    """
    done = run.fleet.gather(
        [plan.replica_to_promote, *ways],
        lambda address: _teach(run, address, ways[address], epoch) if address in ways else _promote(run, plan, taken),
    )
    untaught = [str(address) for address in ways if done[address] is not True]
    promoted = done[plan.replica_to_promote]
    if promoted is True and untaught:
        _leave_to_sentinel(run, f"that the epoch is taken was not heard by Sentinel {', '.join(untaught)}")
    return (promoted if isinstance(promoted, bool) else None), not untaught


def _promote(run: Run, plan: Plan, taken: Taken) -> bool | None:
    """Make the candidate a master, if there is still time; whether it is one now, ``None`` if that is not known."""
    if (run.clock.now_s() - taken.sent_at_s) * 1000 > LATEST_PROMOTION_MS:
        run.note("this host was too slow to promote in time; Sentinel did")
        _leave_to_sentinel(run, f"this host did not promote within {LATEST_PROMOTION_MS:g} ms of the trigger")
        return False
    candidate = plan.replica_to_promote
    try:
        run.fleet.node(candidate).order("REPLICAOF", "NO", "ONE", timeout_s=SENTINEL_ANSWER_S)
    except ReplyError as error:
        run.note(f"{candidate} refused to be promoted by the program ({error.message}); Sentinel did")
        _leave_to_sentinel(run, f"{candidate} refused to be promoted by the program")
        return False
    except LinkError as error:
        if role(run, candidate) != "master":
            run.note(f"{candidate} was lost while it was promoted ({error.message}); Sentinel decides")
            _leave_to_sentinel(run, f"{candidate} was lost while it was promoted")
            return None if error.sent else False
    run.timeline.add(PROMOTED, candidate, f"{candidate} is a master")
    return True


def _teach(run: Run, sentinel: Address, way: Route | str, epoch: int) -> bool:
    """Let a Sentinel know that an epoch is taken; whether it has read it."""
    try:
        if isinstance(way, Route):
            question = way.epoch_alone(run.request.master_name, epoch)
            run.fleet.sentinel(sentinel).order(*question, timeout_s=SENTINEL_ANSWER_S)
            return True
        said = way
    except (LinkError, ReplyError) as error:
        said = error.message
    run.timeline.add(ANNOUNCE_FAILED, sentinel, said)
    return False


def _announce(run: Run, plan: Plan, taken: Taken, epoch: int, ways: Mapping[Address, Route | str]) -> Promotion | None:
    """Tell the leader, and once it has given in all others; nothing, if the leader has not: then nobody else was told.

    The look comes after every other Sentinel has read of the epoch: a failover that began before is seen, one that begins later has another epoch.
    """
    obstacle = _obstacle(run, plan, taken, epoch)
    if not obstacle and not _tell(run, ways[taken.leader], taken.leader, epoch, plan.replica_to_promote):
        obstacle = f"Sentinel {taken.leader} did not take the news over"
    if obstacle:
        _leave_to_sentinel(run, obstacle)
        return None
    told = tell_all(run, _others(ways, taken.leader), epoch, plan.replica_to_promote)
    return Promotion(plan.replica_to_promote, PROGRAM, taken.leader, epoch, (taken.leader, *told))


def _obstacle(run: Run, plan: Plan, taken: Taken, epoch: int) -> str:
    """Why nobody may be told; nothing, if the leader may be, at once. It is looked for as long as Sentinel would need to be done by itself."""
    return look_around(run, lambda seen: _found(run, plan, taken.leader, epoch, seen), taken.sent_at_s)


def look_around(run: Run, found: Callable[[Look], str], since_s: float) -> str:
    """Look at every Sentinel: what speaks against to act; nothing, if nothing does, and what was seen is still good.

    On a busy host a look may take longer than it is good for. It is taken again, for a second.

    Args:
        run: The run.
        found: What a look has shown that forbids to act.
        since_s: When that second began, in monotonic seconds.
    """
    while True:
        seen = look(run)
        if words := found(seen):
            return words
        if _is_young(run, seen):
            return ""
        if run.clock.now_s() - since_s > MOST_LOOKING_S:
            return f"each look at all Sentinels took longer than {LOOK_IS_GOOD_MS:g} ms"


def _found(run: Run, plan: Plan, leader: Address | None, epoch: int, seen: Look) -> str:
    """What a look has shown that forbids to tell anybody."""
    found = rivals(run, seen, plan.old_master, leader)
    for address, text in found.items():
        run.timeline.add(RIVAL_SEEN, address, text)
    words = [f"Sentinel {address} {text}" for address, text in found.items()]
    words += [f"Sentinel {address} does not answer" for address in seen.silent]
    if epoch <= max((said.entry.config_epoch for said in seen.said.values()), default=0):
        words.append(f"a Sentinel has an epoch that is not lower than {epoch}")
    return "; ".join(words)


def tell_all(run: Run, ways: Mapping[Address, Route | str], epoch: int, master: Address) -> tuple[Address, ...]:
    """Tell Sentinels, side by side, that a node is the master since an epoch; those that name it now.

    The others hear it from those that know it, within two seconds.
    """
    told = run.fleet.gather(ways, lambda address: _tell(run, ways[address], address, epoch, master))
    return tuple(address for address, heard in told.items() if heard is True)


def _tell(run: Run, way: Route | str, sentinel: Address, epoch: int, master: Address) -> bool:
    """Tell one Sentinel; whether it names the new master and leads no failover any more."""
    if isinstance(way, str):
        run.timeline.add(ANNOUNCE_FAILED, sentinel, way)
        return False
    questions = [way.news(run.request.master_name, epoch), *look_questions(run)]
    try:
        heard, *replies = run.fleet.sentinel(sentinel).order_many(questions, timeout_s=TRIGGER_ANSWER_S)
        said = parse_said(replies)
    except (LinkError, ReplyError) as error:
        run.timeline.add(ANNOUNCE_FAILED, sentinel, error.message)
        return False
    if run.same_now(said.named, master) and not said.entry.failover_in_progress:
        run.timeline.add(ANNOUNCED, sentinel, f"Sentinel {sentinel} names {said.named} since epoch {epoch}")
        return True
    # The reply to PUBLISH says only that the message was read. What counts is what it names.
    run.timeline.add(ANNOUNCE_FAILED, sentinel, f"it read the news ({heard}) and names {said.named}")
    return False


def _fresh(run: Run, plan: Plan, seen: Look | None, demotion: Demotion | None) -> Look:
    """A look that is young enough to act on. Where it has to be taken anew, time has passed, and it is seen that the demotion still stands.

    Raises:
        UnknownOutcomeError: It does not, or that cannot be seen.
    """
    if seen is not None and _is_young(run, seen):
        return seen
    if demotion is not None:
        _see_it_stand(run, plan, demotion)
    return look(run)


def _see_it_stand(run: Run, plan: Plan, demotion: Demotion) -> None:
    """See that the old master has taken no write since it was demoted: away from one that does, every failover loses some.

    Raises:
        UnknownOutcomeError: Somebody has made it a master since, or it has not answered for long.
    """
    old_master = plan.old_master
    surely_stands = run.clock.now_s() - demotion.seen.sent_at_s <= STANDS_S
    try:
        now = replication(run, old_master, FAST_ANSWER_S if surely_stands else None)
    except (LinkError, ReplyError) as error:
        if surely_stands:
            return
        raise _nobody_told(f"{old_master} does not say whether it is still a replica ({error.message})") from error
    if now.is_master:
        raise _nobody_told(f"somebody has made {old_master} a master again")
    # As a replica of a candidate that is a master it goes on with that one.
    if now.offset > demotion.final.offset and not demotion.unaware:
        raise _nobody_told(f"{old_master} has been a master again since it was demoted, and went on to {now.position}")


def _nobody_told(why: str) -> FailoverError:
    return failure("promotion_in_doubt", f"{why}; no Sentinel was told to fail over after that")


def _is_young(run: Run, seen: Look) -> bool:
    return (run.clock.now_s() - seen.sent_at_s) * 1000 <= LOOK_IS_GOOD_MS


# ---- trigger ---------------------------------------------------------------------------------------------------------


def _trigger(
    run: Run, plan: Plan, leaders: Sequence[Address], seen: Look | None, demotion: Demotion | None
) -> Taken | None:
    """Tell the first Sentinel that takes it to fail over; nothing, if every one has certainly not taken it."""
    taken = _tell_to_fail_over(run, plan, leaders, seen, demotion)
    if taken is not None:
        run.record.leader = taken.leader
    return taken


def _tell_to_fail_over(
    run: Run, plan: Plan, leaders: Sequence[Address], seen: Look | None, demotion: Demotion | None
) -> Taken | None:
    words = ("COORDINATED",) if plan.strategy == COORDINATED else ()
    with run.step(TRIGGER):
        for leader in leaders:
            seen = _fresh(run, plan, seen, demotion)
            if (rival := _rival(run, plan, seen)) is not None:
                return rival
            sent_at_s = run.clock.now_s()
            try:
                run.fleet.sentinel(leader).order(
                    "SENTINEL", "FAILOVER", run.request.master_name, *words, timeout_s=TRIGGER_ANSWER_S
                )
            except ReplyError as error:
                run.timeline.add(TRIGGER_REFUSED, leader, f"{error.prefix} {error.message}")
                if error.prefix == "INPROG":
                    return Taken(leader, sent_at_s, ours=False)
                run.note(f"Sentinel {leader} refused the failover: {error.prefix} {error.message}")
                continue
            except LinkError as error:
                run.timeline.add(TRIGGER_IN_DOUBT if error.sent else TRIGGER_NOT_REACHED, leader, error.message)
                if error.sent and not _certainly_not_taken(run, plan, leader):
                    return Taken(leader, sent_at_s, ours=False)
                seen = None
                continue
            run.record.leader = leader
            run.timeline.add(TRIGGERED, leader, f"Sentinel {leader} leads the failover", at_s=sent_at_s)
            return Taken(leader, sent_at_s)
    return None


def _rival(run: Run, plan: Plan, seen: Look) -> Taken | None:
    """A failover that somebody else has begun, or its end: ours would be a second one, away from its winner."""
    found = rivals(run, seen, plan.old_master)
    for address, text in found.items():
        run.timeline.add(RIVAL_SEEN, address, text)
    first = next(iter(found), None)
    return None if first is None else Taken(first, run.clock.now_s(), ours=False)


def _certainly_not_taken(run: Run, plan: Plan, leader: Address) -> bool:
    """Whether an order whose answer was lost has had no effect and can have none any more: this Sentinel answers, and does nothing.

    One that does not answer may have the order in its socket.
    """
    deadline_s = run.clock.now_s() + LEADER_SILENCE_S
    while True:
        seen = look(run)
        said = seen.said.get(leader)
        begun = said is not None and said.entry.failover_in_progress
        if begun or rivals(run, seen, plan.old_master) or role(run, plan.replica_to_promote) == "master":
            return False
        if run.clock.now_s() >= deadline_s:
            return said is not None
        run.clock.sleep(LOOK_AROUND_S)


# ---- Sentinel promotes -----------------------------------------------------------------------------------------------


def by_sentinel(
    run: Run,
    plan: Plan,
    leaders: Sequence[Address],
    seen: Look | None,
    demotion: Demotion | None = None,
    taken: Taken | None = None,
) -> Promotion:
    """Let a Sentinel promote, and wait for it; where it gives up, tell one again.

    Args:
        run: The run.
        plan: What to do.
        leaders: Sentinels that may lead, the best first.
        seen: The last look at all Sentinels.
        demotion: That of the old master, where it is none any more. Where the program, or an earlier run, has promoted the candidate, and perhaps
            nobody knows of it, only what a Sentinel names counts.
        taken: The failover that is under way already.

    Raises:
        AbortedError: No Sentinel promotes; the old master is the master, or the master again.
        UnknownOutcomeError: How it ends could not be established, or somebody has made the old master a master again.
    """
    ours_is_master = demotion is not None and demotion.unaware
    told: list[Address] = []
    for _attempt in range(ATTEMPTS):
        taken = taken or _trigger(run, plan, leaders, seen, demotion)
        if taken is None:
            break
        told.append(taken.leader)
        promotion = _wait_for_promotion(run, plan, taken, ours_is_master)
        if promotion is not None:
            beside = ours_is_master and not run.same_now(promotion.master, plan.replica_to_promote)
            return replace(promotion, beside=plan.replica_to_promote) if beside else promotion
        if plan.strategy != FENCED:
            # The old master is still a master, and nothing is urgent.
            break
        taken, seen = None, None
    raise _rolled_back(run, plan, told, ours_is_master)


def _wait_for_promotion(run: Run, plan: Plan, taken: Taken, ours_is_master: bool) -> Promotion | None:
    """Wait until there is a new master; nothing, if the leader has certainly given up."""
    deadline_s = run.clock.now_s() + run.request.timeout_s
    look_around_s = run.clock.now_s() + (0.0 if ours_is_master else 2 * LOOK_AROUND_S)
    wait = Wait(run)
    with run.step(PROMOTE):
        while run.clock.now_s() < deadline_s:
            if not ours_is_master and role(run, plan.replica_to_promote) == "master":
                return _promoted(run, plan.replica_to_promote, taken)
            if run.clock.now_s() >= look_around_s:
                look_around_s = run.clock.now_s() + LOOK_AROUND_S
                seen = look(run)
                winner = _winner(run, plan, seen)
                if winner is not None:
                    return _promoted(run, winner, taken)
                if _gave_up(run, plan, taken, seen):
                    return None
            wait.tell(lambda: f"Sentinel {taken.leader} leads the failover, and nobody names a new master yet")
            run.clock.sleep(POLL_S)
    raise failure(
        "promotion_timeout",
        f"no Sentinel named a new master within {run.request.timeout_s:g} s, and Sentinel {taken.leader} has not given up",
    )


def _promoted(run: Run, master: Address, taken: Taken) -> Promotion:
    run.timeline.add(PROMOTED, master, f"{master} is a master")
    return Promotion(master, SENTINEL, taken.leader)


def _winner(run: Run, plan: Plan, seen: Look) -> Address | None:
    """The replica that a Sentinel names as the master.

    The leader does when it has seen that it is one, which we may not be able to; the others when the leader has told them.
    """
    named = [said.named for said in seen.said.values() if said.named and not run.same_now(said.named, plan.old_master)]
    if any(run.same_now(name, plan.replica_to_promote) for name in named):
        return plan.replica_to_promote
    roles = [(name, role(run, name)) for name in named]
    if master := next((name for name, it in roles if it == "master"), None):
        return master
    # One that cannot be asked from here is the master where no Sentinel says otherwise. One that is a replica was led away by a second failover.
    agreed = bool(named) and len(named) == len(seen.said) and all(run.same_now(named[0], name) for name in named)
    nobody_else = all(it is None for _name, it in roles) or not (seen.silent or seen.undecided())
    return named[0] if agreed and nobody_else else None


def _gave_up(run: Run, plan: Plan, taken: Taken, seen: Look) -> bool:
    """Whether the leader answers, no Sentinel leads anything or names another master, and nobody was promoted. One that is silent may still act."""
    if taken.leader not in seen.said or rivals(run, seen, plan.old_master):
        return False
    aborted = run.timeline.events(taken.sent_at_s, "-failover-abort", run.request.master_name)
    if aborted:
        run.note(f"Sentinel {aborted[0][0]}: {aborted[0][1].channel}")
        return True
    waited = run.clock.now_s() > taken.sent_at_s + LEADER_SILENCE_S
    return waited and role(run, plan.replica_to_promote) == "replica"


# ---- nobody promotes -------------------------------------------------------------------------------------------------


def _rolled_back(run: Run, plan: Plan, told: Sequence[Address], ours_was_master: bool = False) -> FailoverError:
    """No Sentinel promotes: the old master is made a master again, where that is provably safe; the error that says which.

    Once the candidate is a master, the old one is never made one again, also where somebody has made the candidate a replica since. Nor is it
    where a Sentinel names another master, or leads a failover.
    """
    seen = look(run)
    may_act = rivals(run, seen, plan.old_master)
    may_act.update({address: "does not answer" for address in told if address in seen.silent})
    promoted = _promoted_ones(run, plan)
    if ours_was_master and not promoted:
        promoted = [f"{plan.replica_to_promote} was a master"]
    if may_act or promoted:
        said = [f"Sentinel {address} {text}" for address, text in may_act.items()]
        replica = plan.strategy == FENCED and role(run, plan.old_master) == "replica"
        stays = f"; {plan.old_master} stays a replica" if replica else ""
        return failure("promotion_in_doubt", "; ".join([*said, *promoted]) + stays)
    detail = "; ".join(note for note in run.record.notes if "Sentinel" in note) or "no Sentinel could be reached"
    if plan.strategy != FENCED:
        return failure("trigger_refused", detail)
    roll_back(run, plan)
    return failure("trigger_refused", f"{detail}; {plan.old_master} is the master again")


def _promoted_ones(run: Run, plan: Plan) -> list[str]:
    """Replicas that are masters by now; of the one to promote also, that it cannot be asked."""
    others = [address for address in plan.others if not run.same_now(address, plan.old_master)]
    roles = run.fleet.gather([plan.replica_to_promote, *others], lambda address: role(run, address))
    found = [f"{address} is a master" for address, it in roles.items() if it == "master"]
    if roles[plan.replica_to_promote] is None:
        found.append(f"{plan.replica_to_promote} does not answer and may be one")
    return found


def names_everywhere(run: Run, master: Address, sentinels: Sequence[Address]) -> dict[Address, str]:
    """Of these Sentinels, those that do not name a master, and what each says instead."""
    answers = run.fleet.gather(sentinels, lambda address: named_master(run, address))
    found = {}
    for address, answer in answers.items():
        if isinstance(answer, (LinkError, ReplyError)):
            found[address] = answer.message
        elif not run.same_now(answer, master):
            found[address] = f"it names {answer}"
    return found
