# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the promotion: everybody agrees, follows, and has settled; clients that stayed behind are disconnected.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import (
    FAST_ANSWER_S,
    Look,
    look,
    replication,
    rewrite,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import unresolved
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import is_asked
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._demotion import Demotion
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import (
    NO_HISTORY,
    is_name,
    own_nodes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import JOIN, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._prepare import LOCK_NAME, Raised
from ansible_collections.redis_ha.sentinel.plugins.module_utils._promotion import Promotion, names_everywhere
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    ClientRow,
    MasterEntry,
    Replication,
    parse_client_list,
    parse_info,
    parse_replica_entries,
    parse_replication,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import FENCED
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait, each
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    AGREE,
    AGREED,
    DISCONNECT,
    DISCONNECTED,
    FOLLOW,
    FOLLOWING,
    MOVED_ON,
    NOT_SETTLED,
    SETTLE,
    SETTLED,
    STRAY_DEMOTED,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._ways import DEAD_AFTER_MS

AGREE_POLL_S = 0.004
MOST_AGREE_WAIT_S = 30.0
SETTLE_POLL_S = 0.01
DEAD_SERVER_WAIT_S = 5.0
"""A server that cannot be asked any more is not waited for as long as one that has something left to do."""
STAYS_WAIT_S = 0.5
"""One that has heard of our epoch and names another master stays so for ever."""
FULL_SYNC_POLL_S = 0.1

DISCONNECT_POLL_S = 0.003
MOST_DISCONNECT_WAIT_S = 0.06
"""How long, at most, the connections of the old master are left open once every Sentinel names the new one.

A client that asked a Sentinel right before that moment is on its way to the old master with a write, on a new connection. It must have
its -READONLY before that is closed, or it cannot know what became of the write.
"""
NEW_CONNECTION_AGE_S = 1


# ---- agree -----------------------------------------------------------------------------------------------------------


def record_promotion(run: Run, promotion: Promotion, demotion: Demotion | None) -> None:
    """Put down who is the master now, and whether it has everything."""
    record = run.record
    if not run.same_now(promotion.master, record.new_master):
        run.note(f"Sentinel promoted {promotion.master} instead of {record.new_master}")
    record.new_master, record.leader, record.promotion = promotion.master, promotion.leader, promotion.by
    record.moved = True
    if demotion is None:
        return
    if any(run.same_now(promotion.master, holder) for holder in demotion.holders):
        record.lossless = True
        record.lossless_reason = demotion.proof
    else:
        record.deny_lossless(
            f"Sentinel chose {promotion.master}, which was not seen to have everything that the old master acknowledged"
        )


def agree(run: Run, promotion: Promotion) -> None:
    """Wait until every Sentinel names the new master."""
    behind = [address for address in run.sentinels if address not in promotion.named_by]
    said: dict[Address, str] = {}
    if behind:
        with run.step(AGREE):
            said = _wait_agreed(run, promotion, behind)
    if not said:
        run.record.agreed_at_s = run.clock.now_s()
        run.timeline.add(AGREED, promotion.master, f"every Sentinel names {promotion.master}")
        return
    _raise_if_split(run, promotion, said)
    for address, text in said.items():
        run.left(f"Sentinel {address} does not name {promotion.master}: {text}")


def _wait_agreed(run: Run, promotion: Promotion, behind: Sequence[Address]) -> dict[Address, str]:
    began_s = run.clock.now_s()
    deadline_s = began_s + min(run.request.timeout_s, MOST_AGREE_WAIT_S)
    wait = Wait(run)
    while True:
        said = names_everywhere(run, promotion.master, behind)
        behind = list(said)
        now_s = run.clock.now_s()
        if not said or now_s >= deadline_s or _is_in_vain(run, promotion, said, now_s - began_s):
            return said
        wait.tell(functools.partial(each, said, "Sentinel "))
        run.clock.sleep(AGREE_POLL_S)


def _is_in_vain(run: Run, promotion: Promotion, said: Mapping[Address, str], waited_s: float) -> bool:
    """Whether each of these Sentinels is dead, or stays with what it names, and that for long enough."""
    naming = [address for address, text in said.items() if text.startswith("it names")]
    if waited_s < (STAYS_WAIT_S if len(naming) == len(said) else DEAD_SERVER_WAIT_S):
        return False
    answers = look(run, of=naming).said.values() if naming else ()
    return all(_stays(run, it.entry, promotion.epoch) for it in answers)


def _raise_if_split(run: Run, promotion: Promotion, said: Mapping[Address, str]) -> None:
    """Sentinels of equal epochs that name two masters stay so for ever. One of a later epoch is right, and nobody is told otherwise.

    Raises:
        Unknown: They do.
        Incomplete: Sentinel has moved the master on meanwhile.
    """
    seen = look(run)
    ours = max(
        (it.entry.config_epoch for it in seen.said.values() if run.same_now(it.named, promotion.master)),
        default=promotion.epoch or 0,
    )
    thirds = {
        address: it
        for address, it in seen.said.items()
        if address in said and it.entry.config_epoch >= ours and _names_a_third(run, it.named, promotion.master)
    }
    for it in thirds.values():
        if it.named is not None and it.entry.config_epoch > ours:
            raise _moved_on_error(run, promotion.master, it.named, it.entry.config_epoch)
    others = list(thirds)
    if others:
        split = ", ".join(f"Sentinel {address} {said[address].removeprefix('it ')}" for address in others)
        run.record.deny_lossless(
            "Sentinels of one epoch name two masters: what clients of the other one write may be lost"
        )
        raise failure(
            "sentinels_split",
            f"{split}, the others name {promotion.master}, all of epoch {ours}",
            name=run.request.master_name,
            master=promotion.master,
        )


def _names_a_third(run: Run, named: Address | None, master: Address) -> bool:
    """Whether a Sentinel names neither the new master nor, being late, the old one."""
    return named is not None and not any(run.same_now(named, known) for known in (master, run.record.old_master))


# ---- follow ----------------------------------------------------------------------------------------------------------


def follow(run: Run, plan: Plan, promotion: Promotion) -> list[Address]:
    """Let every other replica follow the new master, if that costs it nothing, and write the roles to the configuration files.

    Returns:
        Those that cannot resynchronise partially, for :func:`follow_in_turn`: nobody else should wait for them.
    """
    with run.step(FOLLOW):
        rest = [
            address
            for address in dict.fromkeys((plan.replica_to_promote, *plan.siblings, *plan.lagging, *plan.others))
            if not run.same_now(address, promotion.master) and not run.same_now(address, plan.old_master)
        ]
        before = run.fleet.gather(rest, lambda address: replication(run, address, timeout_s=FAST_ANSWER_S))
        known = {address: it for address, it in before.items() if isinstance(it, Replication)}
        for address, it in before.items():
            if not isinstance(it, Replication):
                run.note(f"{address} could not be told to follow {promotion.master} ({it.message}); Sentinel does it")
        for address, text in _left_alone(run, plan, promotion.master, known).items():
            run.note(f"{address} was not told to follow {promotion.master}: {text}")
            del known[address]
        quick, slow = _by_cost(run, promotion.master, known)
        run.fleet.gather(quick, lambda address: _let_follow(run, address, known[address], promotion.master))
        if promotion.by == PROGRAM:
            # Sentinel does it in the transaction that promotes.
            _rewrite_new_master(run, promotion.master)
        return slow


def _left_alone(run: Run, plan: Plan, master: Address, known: Mapping[Address, Replication]) -> dict[Address, str]:
    """Nodes that are not what they were when the run began, so that it might be wrong to make them replicas, and why."""
    found = {
        address: _why_not_ours(run, plan, master, it) for address, it in known.items() if _has_changed(run, address, it)
    }
    if any(it.is_master for it in known.values()):
        named = [said.named for said in look(run).said.values()]
        found.update(
            {
                address: "a Sentinel names it by now"
                for address in known
                if any(run.same_now(address, it) for it in named)
            }
        )
    return {address: text for address, text in found.items() if text}


def _has_changed(run: Run, address: Address, now: Replication) -> bool:
    """Whether a node did not answer when the run began, or has become a master since: its address may lead to another server now."""
    return now.is_master or not is_asked(run.snapshot, address)


def _why_not_ours(run: Run, plan: Plan, master: Address, now: Replication) -> str:
    """Why a node cannot be told to be of this deployment; nothing, if it follows one that is, or has its history."""
    ours = own_nodes(run.snapshot)
    histories = {
        replid for node in ours if node.replication for replid in (node.replication.replid, node.replication.replid2)
    }
    if not histories.isdisjoint({now.replid, now.replid2} - {NO_HISTORY, ""}):
        return ""
    if any(
        run.same_now(now.master, address) for address in (master, plan.old_master, *(node.address for node in ours))
    ):
        return ""
    return (
        "it did not answer when the run began, and has another history of writes now"
        if now.master
        else "it is a master of another history of writes"
    )


def follow_in_turn(run: Run, plan: Plan, costly: Sequence[Address], master: Address) -> None:
    """Let those that cannot resynchronise partially follow, one after the other: each costs the new master a copy of all its data.

    The copy for the one before may have taken minutes. So each is asked anew, and nobody is told once no Sentinel names this master any more.
    """
    if not costly:
        return
    with run.step(FOLLOW):
        for address in costly:
            if not any(run.same_now(said.named, master) for said in look(run).said.values()):
                return
            if _let_follow_anew(run, plan, address, master):
                _wait_linked(run, address, master)


def _let_follow_anew(run: Run, plan: Plan, address: Address, master: Address) -> bool:
    """Ask a node what it is, and let it follow; whether it was told to."""
    try:
        now = replication(run, address, timeout_s=FAST_ANSWER_S)
    except (LinkError, ReplyError) as error:
        run.note(f"{address} could not be told to follow {master} ({error.message}); Sentinel does it")
        return False
    if left_alone := _left_alone(run, plan, master, {address: now}):
        run.note(f"{address} was not told to follow {master}: {left_alone[address]}")
        return False
    _let_follow(run, address, now, master)
    return True


def _by_cost(run: Run, master: Address, known: Mapping[Address, Replication]) -> tuple[list[Address], list[Address]]:
    """Those that surely resynchronise partially, and those that may not."""
    try:
        new = replication(run, master, timeout_s=FAST_ANSWER_S)
    except (LinkError, ReplyError):
        return list(known), []
    quick = [address for address, it in known.items() if _resynchronises_partially(it, new)]
    return quick, [address for address in known if address not in quick]


def _resynchronises_partially(replica: Replication, master: Replication) -> bool:
    in_history = replica.replid == master.replid or (
        replica.replid == master.replid2 and replica.applied_offset <= master.second_offset
    )
    return in_history and replica.applied_offset + 1 >= master.backlog_first_offset


def _let_follow(run: Run, address: Address, before: Replication, master: Address) -> None:
    if not before.is_master and run.same_now(before.master, master):
        run.timeline.add(FOLLOWING, address, f"{address} follows {master} already")
        return
    client = run.fleet.node(address)
    try:
        if before.is_master:
            _demote_stray(run, address, master)
        else:
            client.order("REPLICAOF", master.host, master.port)
        rewrite(run, client)
        run.timeline.add(FOLLOWING, address, f"{address} was told to follow {master}")
    except (LinkError, ReplyError) as error:
        run.note(f"{address} could not be told to follow {master} ({error.message}); Sentinel does it")


def _demote_stray(run: Run, address: Address, master: Address) -> None:
    """A second master, which no Sentinel names, becomes a replica. A proxy that looks at roles may have sent writes to it."""
    info, _ok = run.fleet.node(address).transact(("INFO", "replication"), ("REPLICAOF", master.host, master.port))
    own = parse_replication(parse_info(info))
    written_bytes = own.offset - own.second_offset + 1
    run.timeline.add(STRAY_DEMOTED, address, f"{address} was a master too, and had gone on for {written_bytes} bytes")
    if written_bytes > 0:
        run.record.deny_lossless(
            f"{address} was a master for a moment, too, and its history went on for {written_bytes} bytes: what was written there is lost"
        )


def _wait_linked(run: Run, address: Address, master: Address) -> None:
    """Until the copy has come, at most ``timeout``; what is late then, the end of the run names."""
    deadline_s = run.clock.now_s() + run.request.timeout_s
    wait = Wait(run)
    while run.clock.now_s() < deadline_s:
        try:
            answer = replication(run, address, timeout_s=1.0)
        except (LinkError, ReplyError):
            return
        if answer.link_up:
            return
        wait.tell(functools.partial(_late_copy, run, address, answer, master))
        run.clock.sleep(FULL_SYNC_POLL_S)


def _late_copy(run: Run, address: Address, answer: Replication, master: Address) -> str:
    return each({address: _why_not_following(run, answer, master)})


def _rewrite_new_master(run: Run, master: Address) -> None:
    try:
        rewrite(run, run.fleet.node(master))
    except LinkError as error:
        run.left(f"{master}: CONFIG REWRITE ({error.message}); after a restart it has its old role")


# ---- disconnect clients ----------------------------------------------------------------------------------------------


def disconnect_clients(run: Run, plan: Plan, master: Address) -> None:
    """Send away who still reads or subscribes at the old master, as Sentinel does; no write is waiting there any more."""
    with run.step(DISCONNECT):
        old_master = plan.old_master
        client = run.fleet.node(old_master)
        try:
            if not run.same_now(master, plan.replica_to_promote):
                client.order("REPLICAOF", master.host, master.port)
            rewrite(run, client)
            _let_the_new_ones_go(run, client)
            client.transact(("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "KILL", "TYPE", "pubsub"))
            run.timeline.add(DISCONNECTED, old_master, f"the connections of {old_master} were closed")
        except (LinkError, ReplyError) as error:
            run.left(
                f"the connections of {old_master} could not be closed, its configuration not rewritten: {error.message}"
            )


def _let_the_new_ones_go(run: Run, client: Client) -> None:
    """Wait until no client has come to the old master lately. One whose write is refused there closes its connection, and asks a Sentinel for the master.

    Connections are numbered as they come: a lower number than our own was there before the run.
    """
    deadline_s = run.clock.now_s() + MOST_DISCONNECT_WAIT_S
    looks_without = 0
    while looks_without < 2 and run.clock.now_s() < deadline_s:
        own, listing = client.ask_many([("CLIENT", "ID"), ("CLIENT", "LIST")], timeout_s=FAST_ANSWER_S)
        new = [row for row in parse_client_list(listing) if _came_lately(row, own)]
        looks_without = 0 if new else looks_without + 1
        run.clock.sleep(DISCONNECT_POLL_S)


def _came_lately(row: ClientRow, own: int) -> bool:
    """Whether a connection may be that of a client which has just asked a Sentinel: not one of ours, and no Sentinel's own."""
    ordinary = row.is_ordinary and not row.is_sentinel and row.name != LOCK_NAME
    return ordinary and row.id > own and row.age_s <= NEW_CONNECTION_AGE_S


# ---- settle ----------------------------------------------------------------------------------------------------------


@dataclass
class Waiting:
    """What is waited for until everybody has settled.

    Attributes:
        wanted: The nodes that should follow.
        ignored: Of these, the ones that were down before the run.
        syncing: Those that were seen in the middle of a full synchronisation.
        states: For each nothing, if it follows, or what is missing.
        dead: Those that cannot be asked.
        behind: Those that follow another node.
        told: Those of them that were told to follow, once more.
        unasked: Those that never answered us, where Sentinel moves the master: what Sentinels show of them counts.
    """

    wanted: tuple[Address, ...]
    ignored: tuple[Address, ...]
    syncing: set[Address] = field(default_factory=set)
    states: dict[Address, str] = field(default_factory=dict)
    dead: set[Address] = field(default_factory=set)
    unasked: tuple[Address, ...] = ()
    behind: set[Address] = field(default_factory=set)
    told: set[Address] = field(default_factory=set)

    @property
    def unsettled(self) -> dict[Address, str]:
        return {address: text for address, text in self.states.items() if text and address not in self.ignored}


def settle(run: Run, plan: Plan, raised: Raised | None = None) -> None:
    """Priorities are put back, no failover is under way, every replica follows, every Sentinel names the new master.

    Raises:
        Incomplete: Sentinel has moved the master on meanwhile.
    """
    master = run.record.new_master or plan.replica_to_promote
    with run.step(SETTLE):
        if raised is not None:
            raised.lower()
        waiting = _waiting(run, plan, master)
        full_before = _full_syncs(run, master)
        moved_on = _wait_settled(run, plan, master, waiting)
        if raised is not None:
            raised.rewrite()
        for address in waiting.ignored:
            if waiting.states.get(address):
                run.note(f"{address} was down before and is not waited for")
        _report_replicas(run, master, waiting, full_before)
        if moved_on is not None:
            raise _moved_on_error(run, master, *moved_on)
        run.timeline.add(NOT_SETTLED if run.record.left else SETTLED, master, "; ".join(run.record.left))


def _waiting(run: Run, plan: Plan, master: Address) -> Waiting:
    wanted = tuple(
        dict.fromkeys(
            address
            for address in (*plan.others, plan.old_master, plan.new_master)
            if address and not run.snapshot.same(address, master)
        )
    )
    unasked = tuple(address for address in wanted if plan.strategy != FENCED and not is_asked(run.snapshot, address))
    return Waiting(wanted, tuple(address for address in wanted if _was_down(run, address)), unasked=unasked)


def _wait_settled(run: Run, plan: Plan, master: Address, waiting: Waiting) -> tuple[Address, int] | None:
    """Wait for it as long as the run may take; the master and the epoch of a failover that has come after ours."""
    began_s = run.clock.now_s()
    deadline_s = began_s + run.request.timeout_s
    epoch = 0
    wait = Wait(run)
    while True:
        _ask_followers(run, master, waiting)
        seen = look(run)
        epoch = _epoch_of_ours(run, seen, master, epoch)
        moved_on = _moved_on(run, seen, master, epoch)
        if moved_on is not None:
            return moved_on
        _tell_those_whom_nobody_leads(run, plan, master, waiting, seen)
        sentinels = _unsettled_sentinels(run, seen, master, epoch)
        nodes = waiting.unsettled
        if not nodes and not sentinels:
            return None
        staying = {address for address, said in seen.said.items() if _stays(run, said.entry, epoch)}
        in_vain = set(nodes) <= waiting.dead and set(sentinels) <= {*seen.silent, *staying}
        longest_s = STAYS_WAIT_S if not nodes and set(sentinels) <= staying else DEAD_SERVER_WAIT_S
        now_s = run.clock.now_s()
        if now_s >= deadline_s or (in_vain and now_s >= began_s + longest_s):
            _leave(run, nodes, sentinels)
            return None
        wait.tell(functools.partial(_late_ones, nodes, sentinels))
        run.clock.sleep(SETTLE_POLL_S)


def _leave(run: Run, nodes: Mapping[Address, str], sentinels: Mapping[Address, str]) -> None:
    """Put down what is left to do; of a Sentinel once, by what it says last."""
    told = tuple(f"Sentinel {address} " for address in sentinels)
    run.record.left = [text for text in run.record.left if not text.startswith(told)]
    run.record.left += [f"{address}: {text}" for address, text in nodes.items()]
    run.record.left += [f"Sentinel {address}: {text}" for address, text in sentinels.items()]


def _tell_those_whom_nobody_leads(run: Run, plan: Plan, master: Address, waiting: Waiting, seen: Look) -> None:
    """Let those follow to whom Sentinel would come only after failover-timeout.

    Where the program promoted, no Sentinel led the failover to its end: a replica that could not be told may answer by now. Where a failover was
    joined, Sentinel led the replicas of its table; a master that an interrupted run had demoted before is none of them.
    """
    joined = plan.action == JOIN and not seen.in_progress()
    if run.record.promotion == PROGRAM or joined:
        for address in waiting.behind - waiting.told:
            waiting.told.add(address)
            _let_follow_anew(run, plan, address, master)


def _late_ones(nodes: Mapping[Address, str], sentinels: Mapping[Address, str]) -> str:
    return "; ".join(filter(None, (each(nodes), each(sentinels, "Sentinel "))))


def _ask_followers(run: Run, master: Address, waiting: Waiting) -> None:
    asked = [address for address in waiting.wanted if address not in waiting.unasked]
    answers = run.fleet.gather(asked, lambda address: replication(run, address, timeout_s=1.0))
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
        waiting.states[address] = _why_not_following(run, answer, master)
        if not answer.is_master and not run.same_now(answer.master, master):
            waiting.behind.add(address)


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


def _why_not_following(run: Run, answer: Replication, master: Address) -> str:
    if answer.is_master:
        return "it still says that it is a master"
    if not run.same_now(answer.master, master):
        return f"it follows {answer.master}"
    if answer.sync_in_progress:
        left = f", {answer.sync_left_bytes} bytes left" if answer.sync_left_bytes >= 0 else ""
        return f"it is in the middle of a full synchronisation{left}"
    return "" if answer.link_up else "its link to the new master is down"


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


def _moved_on_error(run: Run, master: Address, now_master: Address, epoch: int) -> FailoverError:
    run.record.deny_lossless(
        f"after the move to {master} Sentinel has failed over to {now_master} by itself (epoch {epoch}): what {master} "
        "acknowledged last may be lost"
    )
    run.left(f"the master is {now_master} by now")
    run.record.new_master = now_master
    run.timeline.add(MOVED_ON, now_master, f"Sentinel has failed over to {now_master} (epoch {epoch})")
    return failure(
        "moved_on",
        f"the master was moved to {master}, and Sentinel has failed over from there to {now_master} by itself (epoch {epoch})",
        master=master,
    )


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
    if not _stays(run, entry, epoch) or not is_name(master):
        return ""
    return f", though it has heard of epoch {epoch}: {unresolved(master.host)}"


def _stays(run: Run, entry: MasterEntry, epoch: int | None) -> bool:
    """Whether a Sentinel that names another master will go on so: of an epoch that it has it takes no other news."""
    before = max((view.master.config_epoch for view in run.snapshot.informed_sentinels if view.master), default=0)
    heard = epoch is not None and entry.config_epoch >= epoch and entry.config_epoch > before
    return heard and not entry.failover_in_progress


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
