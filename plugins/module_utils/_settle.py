# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run: it has settled, or what is left is told.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.redis_ha.sentinel.plugins.module_utils._agree import (
    DEAD_SERVER_WAIT_S,
    STAYS_WAIT_S,
    moved_on_error,
    stays,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import (
    Look,
    look,
    replication,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import unresolved
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import is_asked
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    ReplyError,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._follow import (
    let_follow_anew,
    rewrite_new_master,
    why_not_following,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import is_name
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM, SENTINEL
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import JOIN, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._prepare import Raised
from ansible_collections.redis_ha.sentinel.plugins.module_utils._promotion import LOOK_AROUND_S
from ansible_collections.redis_ha.sentinel.plugins.module_utils._record import second_master
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    MasterEntry,
    Replication,
    parse_info,
    parse_replica_entries,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import FENCED
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait, each
from ansible_collections.redis_ha.sentinel.plugins.module_utils._split import (
    HEAL_FOR_S,
    Healed,
    Split,
    find_split,
    heal,
    make_master_again,
    names_a_third,
    put_down,
    see_a_master,
    split_error,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    NOT_SETTLED,
    SETTLE,
    SETTLED,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._ways import DEAD_AFTER_MS

HEAL_WITHIN_S = STAYS_WAIT_S + HEAL_FOR_S
"""Sentinels that name two masters for longer were not brought together, and will not be."""
SETTLE_POLL_S = 0.01


@dataclass
class Waiting:
    """What is waited for until everybody has settled.

    Attributes:
        wanted: The nodes that should follow.
        asked: Those of them that can be asked, and the new master.
        ignored: Of these, the ones that were down before the run.
        syncing: Those that were seen in the middle of a full synchronisation.
        states: For each nothing, if it follows, or what is missing.
        dead: Those that cannot be asked.
        behind: Those that follow another node.
        told: Those of them that were told to follow, once more.
        unasked: Those that never answered us, where Sentinel moves the master: what Sentinels show of them counts.
        demoted: What the new master says, where it is a replica.
        masters: Those that say that they are masters.
        promoted_again: Whether the new master was made a master once more.
        split: The Sentinels that name another master of the epoch of ours, if the last look showed some.
        split_since_s: Since when, in monotonic seconds.
        heal_at_s: When to bring them together, once more after it was tried in vain.
        healed: What came of it the last time.
    """

    wanted: tuple[Address, ...]
    asked: tuple[Address, ...]
    ignored: tuple[Address, ...]
    syncing: set[Address] = field(default_factory=set)
    states: dict[Address, str] = field(default_factory=dict)
    dead: set[Address] = field(default_factory=set)
    unasked: tuple[Address, ...] = ()
    behind: set[Address] = field(default_factory=set)
    told: set[Address] = field(default_factory=set)
    demoted: Replication | None = None
    masters: set[Address] = field(default_factory=set)
    promoted_again: bool = False
    split: Split | None = None
    split_since_s: float = 0.0
    heal_at_s: float = 0.0
    healed: Healed = field(default_factory=lambda: Healed(None, "there was no time to tell them otherwise"))

    def unsettled(self, master: Address) -> dict[Address, str]:
        """What each node, the new master among them, still lacks."""
        lacking = {address: text for address, text in self.states.items() if text and address not in self.ignored}
        return lacking if self.demoted is None else {master: f"it is a replica of {self.demoted.master}", **lacking}


def settle(run: Run, plan: Plan, raised: Raised | None = None, deadline_s: float | None = None) -> None:
    """Priorities are put back, no failover is under way, every replica follows, every Sentinel names the new master.

    Args:
        run: The run.
        plan: What it does.
        raised: The priorities to put back.
        deadline_s: When to give up, in monotonic seconds; ``timeout`` from now, if nothing was waited for before.

    Raises:
        IncompleteError: Sentinel has moved the master on meanwhile.
        UnknownOutcomeError: Sentinels still name two masters.
    """
    master = run.record.new_master or plan.replica_to_promote
    with run.step(SETTLE):
        if raised is not None:
            raised.lower()
        latest_s = run.clock.now_s() + run.request.timeout_s if deadline_s is None else deadline_s
        while True:
            waiting, full_before = _waiting(run, plan, master), _full_syncs(run, master)
            ended = _wait_settled(run, plan, master, waiting, latest_s)
            if not isinstance(ended, Address):
                break
            master = ended
            run.record.new_master, run.record.promotion = master, SENTINEL
        if raised is not None:
            raised.rewrite()
        for address in waiting.ignored:
            if waiting.states.get(address):
                run.note(f"{address} was down before and is not waited for")
        _report_replicas(run, master, waiting, full_before)
        if ended is not None:
            raise ended
        run.timeline.add(NOT_SETTLED if run.record.left else SETTLED, master, "; ".join(run.record.left))


def _waiting(run: Run, plan: Plan, master: Address) -> Waiting:
    wanted = tuple(
        dict.fromkeys(
            address
            for address in (*plan.others, plan.old_master, plan.new_master)
            if address and not run.snapshot.same(address, master)
        )
    )
    asked = tuple(it for it in (master, *wanted) if plan.strategy == FENCED or is_asked(run.snapshot, it))
    return Waiting(
        wanted,
        asked,
        ignored=tuple(address for address in wanted if _was_down(run, address)),
        unasked=tuple(address for address in wanted if address not in asked),
    )


def _wait_settled(
    run: Run, plan: Plan, master: Address, waiting: Waiting, deadline_s: float
) -> FailoverError | Address | None:
    """Wait for it as long as the run may take.

    Returns:
        Where the Sentinels do not come to name this master, the error that says so. Where they named two and name the other one now, that one.
    """
    began_s = run.clock.now_s()
    epoch = 0
    wait = Wait(run)
    while True:
        kept = _bring_together(run, waiting)
        if kept is not None and not run.same_now(kept, master):
            return kept
        _ask_nodes(run, master, waiting)
        seen = look(run)
        _look_for_a_second_master(run, master, seen)
        epoch = _epoch_of_ours(run, seen, master, epoch)
        moved_on = _moved_on(run, seen, master, epoch)
        if moved_on is not None:
            see_a_master(run, seen, moved_on[0])
            return moved_on_error(run, master, *moved_on)
        _notice_split(run, master, waiting, seen, epoch)
        _promote_again(run, plan, master, waiting, seen)
        _tell_those_whom_nobody_leads(run, plan, master, waiting, seen)
        sentinels = _unsettled_sentinels(run, seen, master, epoch)
        nodes = waiting.unsettled(master)
        if not nodes and not sentinels:
            return None
        staying = {address for address, said in seen.said.items() if stays(run, said.entry, epoch)}
        if waiting.split is not None:
            too_late = run.clock.now_s() > waiting.split_since_s + HEAL_WITHIN_S
            given_up = too_late or not run.record.demoted_first
            staying = staying | set(waiting.split.others) if given_up else staying - set(waiting.split.others)
        in_vain = set(nodes) <= waiting.dead and set(sentinels) <= {*seen.silent, *staying}
        longest_s = STAYS_WAIT_S if not nodes and set(sentinels) <= staying else DEAD_SERVER_WAIT_S
        now_s = run.clock.now_s()
        if now_s >= deadline_s or (in_vain and now_s >= began_s + longest_s):
            _leave(run, nodes, sentinels)
            return None if waiting.split is None else split_error(run, waiting.split, waiting.healed)
        wait.tell(functools.partial(_late_ones, nodes, sentinels))
        run.clock.sleep(SETTLE_POLL_S)


def _promote_again(run: Run, plan: Plan, master: Address, waiting: Waiting, seen: Look) -> None:
    """Make the new master a master again, once, where another failover beside ours has left no master at all.

    Two leaders that chose two replicas may lead each of them to the other: then every Sentinel names a master that is a replica, and until their
    next failover, which is half a minute away, nobody takes writes.
    """
    if waiting.demoted is None:
        return
    demoted = f"another failover has made {master} a replica of {waiting.demoted.master}"
    run.record.deny_lossless(f"{demoted}: what {master} had acknowledged before that may be lost")
    named = all(run.same_now(said.named, master) for said in seen.said.values())
    at_rest = named and not seen.silent and not seen.undecided()
    if not at_rest or waiting.masters or waiting.promoted_again or plan.strategy != FENCED:
        return
    waiting.promoted_again = True
    if why_not := make_master_again(run, master, demoted):
        run.note(why_not)
        return
    run.record.agreed_at_s = run.clock.now_s()
    rewrite_new_master(run, master)


def _notice_split(run: Run, master: Address, waiting: Waiting, seen: Look, epoch: int) -> None:
    """Put down whether Sentinels of one epoch name two masters, and since when."""
    split = find_split(run, seen, master, epoch)
    if split is not None and waiting.split is None:
        waiting.split_since_s = run.clock.now_s()
        waiting.heal_at_s = waiting.split_since_s + STAYS_WAIT_S
        put_down(run, split)
    waiting.split = split


def _bring_together(run: Run, waiting: Waiting) -> Address | None:
    """Bring such Sentinels together once they have stayed so for a while; the master that all name then."""
    now_s = run.clock.now_s()
    if waiting.split is None or not waiting.heal_at_s <= now_s <= waiting.split_since_s + HEAL_WITHIN_S:
        return None
    waiting.heal_at_s = now_s + LOOK_AROUND_S
    waiting.healed = heal(run, waiting.split)
    if waiting.healed.master is not None:
        run.record.agreed_at_s = run.clock.now_s()
    return waiting.healed.master


def _look_for_a_second_master(run: Run, master: Address, seen: Look) -> None:
    """A failover beside ours may have led clients to another replica for a while, also between two looks: then its Sentinel has said so."""
    record = run.record
    if not record.lossless:
        return
    # Where an interrupted run is finished, writes were stopped by that one, before this one heard anything.
    since_s = record.fenced_at_s or 0.0
    named = [said.named for said in seen.said.values()]
    for channel in ("+promoted-slave", "+switch-master"):
        events = run.timeline.events(since_s, channel, run.request.master_name)
        named += [event.instance for _sentinel, event in events]
    other = next((it for it in named if names_a_third(run, it, master)), None)
    if other is not None:
        record.deny_lossless(second_master(other))


def _leave(run: Run, nodes: Mapping[Address, str], sentinels: Mapping[Address, str]) -> None:
    """Put down what is left to do; of a Sentinel once, by what it says last."""
    told = tuple(f"Sentinel {address} " for address in sentinels)
    run.record.left = [text for text in run.record.left if not text.startswith(told)]
    run.record.left += [f"{address}: {text}" for address, text in nodes.items()]
    run.record.left += [f"Sentinel {address}: {text}" for address, text in sentinels.items()]


def _tell_those_whom_nobody_leads(run: Run, plan: Plan, master: Address, waiting: Waiting, seen: Look) -> None:
    """Let those follow to whom Sentinel would come only after failover-timeout.

    Where the program promoted, no Sentinel led the failover to its end: a replica that could not be told may answer by now. Where a failover was
    joined, Sentinel led the replicas of its table; a master that an interrupted run had demoted before is none of them. Where Sentinels were brought
    together, their failovers have ended before they had led anybody.
    """
    nobody_leads = (plan.action == JOIN or run.record.healed) and not seen.in_progress()
    if run.record.promotion == PROGRAM or nobody_leads:
        strays = waiting.masters - {master} if run.record.healed else set()
        for address in (waiting.behind | strays) - waiting.told:
            waiting.told.add(address)
            let_follow_anew(run, plan, address, master)


def _late_ones(nodes: Mapping[Address, str], sentinels: Mapping[Address, str]) -> str:
    return "; ".join(filter(None, (each(nodes), each(sentinels, "Sentinel "))))


def _ask_nodes(run: Run, master: Address, waiting: Waiting) -> None:
    answers = run.fleet.gather(waiting.asked, lambda address: replication(run, address, timeout_s=1.0))
    waiting.masters = {address for address, it in answers.items() if isinstance(it, Replication) and it.is_master}
    new = answers.pop(master, None)
    # One that cannot be asked is what the Sentinels say that it is.
    waiting.demoted = new if isinstance(new, Replication) and not new.is_master else None
    waiting.states.update(_shown_by_sentinels(run, master, waiting.unasked))
    waiting.dead.clear()
    waiting.behind.clear()
    for address, answer in answers.items():
        if isinstance(answer, (LinkError, ReplyError)):
            waiting.states[address] = f"it cannot be asked: {answer.message}"
            waiting.dead.add(address)
            continue
        if answer.sync_in_progress:
            waiting.syncing.add(address)
        waiting.states[address] = why_not_following(run, answer, master)
        if answer.is_master:
            _deny_if_given_back(run, address)
        elif not run.same_now(answer.master, master):
            waiting.behind.add(address)


def _deny_if_given_back(run: Run, address: Address) -> None:
    """An old master that is one again has written past the offset that was proved: that is thrown away once it follows."""
    if run.record.lossless and run.same_now(address, run.record.old_master):
        run.record.deny_lossless(second_master(address))


def _shown_by_sentinels(run: Run, master: Address, addresses: Sequence[Address]) -> dict[Address, str]:
    """For each of these nodes nothing, if a Sentinel shows that it follows, or what is missing. Sentinel looks at them every ten seconds."""
    if not addresses:
        return {}
    question = ("SENTINEL", "REPLICAS", run.request.master_name)
    answers = run.fleet.gather(
        run.sentinels, lambda sentinel: parse_replica_entries(run.fleet.sentinel(sentinel).ask(*question))
    )
    following = [
        row.address
        for rows in answers.values()
        if isinstance(rows, tuple)
        for row in rows
        if row.link_up and not row.down and run.same_now(row.master, master)
    ]
    missing = "it cannot be asked from here, and no Sentinel shows that it follows"
    return {address: "" if any(run.same_now(address, row) for row in following) else missing for address in addresses}


def _epoch_of_ours(run: Run, seen: Look, master: Address, epoch: int) -> int:
    """The highest epoch that is not later than our move."""
    before = [view.master.config_epoch for view in run.snapshot.informed_sentinels if view.master]
    ours = [it.config_epoch for it in _entries_at_rest(seen) if run.same_now(it.address, master)]
    return max(epoch, *before, *ours, 0)


def _entries_at_rest(seen: Look) -> list[MasterEntry]:
    """What Sentinels hold that lead no failover: a leader names the old master, of the new epoch, until its failover is over."""
    return [said.entry for said in seen.said.values() if not said.entry.failover_in_progress]


def _moved_on(run: Run, seen: Look, master: Address, epoch: int) -> tuple[Address, int] | None:
    """The master of a failover that came after ours, and its epoch.

    A Sentinel that is late names another master too, but of an epoch before ours.
    """
    later = [
        (it.config_epoch, it.address)
        for it in _entries_at_rest(seen)
        if not run.same_now(it.address, master) and it.config_epoch > epoch
    ]
    if not later:
        return None
    later_epoch, address = max(later, key=lambda found: found[0])
    return address, later_epoch


def moved_on_since(run: Run, master: Address) -> FailoverError | None:
    """Look once whether somebody has moved the master on after our move to ``master``; if so, put it down: the error to raise."""
    said = look(run).said.values()
    before = [view.master.config_epoch for view in run.snapshot.informed_sentinels if view.master]
    ours = max([*before, *(it.entry.config_epoch for it in said if run.same_now(it.named, master))])
    later = [(it.entry.config_epoch, it.named) for it in said if it.named and it.entry.config_epoch > ours]
    if not later:
        return None
    epoch, now_master = max(later, key=lambda found: found[0])
    return moved_on_error(run, master, now_master, epoch)


def _unsettled_sentinels(run: Run, seen: Look, master: Address, epoch: int) -> dict[Address, str]:
    """Sentinels that have not arrived at the end, with the reason."""
    found = dict(seen.silent)
    for address, said in seen.said.items():
        if said.entry.failover_in_progress:
            stuck = said.entry.failover_state == "update_config" and is_name(master)
            why = f"; its host cannot resolve {master.host}, and it goes on trying" if stuck else ""
            found[address] = f"its failover is not over ({said.entry.failover_state}){why}"
        elif not run.same_now(said.entry.address, master):
            found[address] = f"it names {said.entry.address}{_why_it_stays(run, said.entry, master, epoch)}"
    return found


def _why_it_stays(run: Run, entry: MasterEntry, master: Address, epoch: int) -> str:
    """Why a Sentinel that has heard of our epoch keeps the old master: it takes the epoch first, and then looks up the host."""
    if not stays(run, entry, epoch) or not is_name(master):
        return ""
    return f", though it has heard of epoch {epoch}: {unresolved(master.host)}"


def _was_down(run: Run, address: Address) -> bool:
    """Whether a node was down before the run, as we and a Sentinel saw it."""
    snapshot = run.snapshot
    node = snapshot.node(address)
    if node is not None and node.reachable:
        return False
    views = snapshot.informed_sentinels
    rows = [entry.down for view in views for entry in view.replicas if snapshot.same(entry.address, address)]
    masters = [
        bool(view.master.flags & {"s_down", "o_down"}) or view.master.last_ok_ping_ms >= DEAD_AFTER_MS
        for view in views
        if view.master and snapshot.same(view.master.address, address)
    ]
    return any((*rows, *masters))


def _full_syncs(run: Run, master: Address) -> int:
    node = run.snapshot.node(master)
    return node.sync_counters[0] if node is not None and node.reachable else 0


def _report_replicas(run: Run, master: Address, waiting: Waiting, full_before: int) -> None:
    full: int | None = None
    try:
        info = parse_info(run.fleet.node(master).ask("INFO", "stats"))
        full = int(info.get("sync_full", 0)) - full_before
    except (LinkError, ReplyError) as error:
        run.note(f"how the replicas resynchronised is not known: {error}")
    partial = full is not None and full <= len(waiting.syncing)
    for address in waiting.wanted:
        missing = waiting.states.get(address, "")
        resync = "full" if address in waiting.syncing else "partial" if partial else "unknown"
        run.record.replicas.append(
            {
                **address.as_result(),
                "following": not missing,
                "detail": missing or f"follows {master}",
                "resync": "unknown" if missing else resync,
                "excused": address in waiting.ignored,
            }
        )
