# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the promotion, the other replicas follow the new master, and clients that stayed at the old one are disconnected.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import (
    FAST_ANSWER_S,
    look,
    replication,
    rewrite,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import is_asked
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    LinkError,
    ReplyError,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import (
    NO_HISTORY,
    own_nodes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._prepare import LOCK_NAME
from ansible_collections.redis_ha.sentinel.plugins.module_utils._promotion import Promotion
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    ClientRow,
    Replication,
    parse_client_list,
    parse_info,
    parse_replication,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait, each
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    DISCONNECT,
    DISCONNECTED,
    FOLLOW,
    FOLLOWING,
    STRAY_DEMOTED,
)

FULL_SYNC_POLL_S = 0.1
OWN_TRANSACTION_BYTES = (15, 38)
"""What Redis 6.0 adds to its stream as soon as INFO is asked for in a transaction: MULTI, and SELECT before it where none was there (seen on 6.0.16).

Nobody has written that. A write is longer, or brings a SELECT of its own.
"""

DISCONNECT_POLL_S = 0.003
MOST_DISCONNECT_WAIT_S = 0.06
"""How long, at most, the connections of the old master are left open once every Sentinel names the new one.

A client that asked a Sentinel right before that moment is on its way to the old master with a write, on a new connection. It must have
its -READONLY before that is closed, or it cannot know what became of the write.
"""
NEW_CONNECTION_AGE_S = 1


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
            rewrite_new_master(run, promotion.master)
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


def follow_in_turn(run: Run, plan: Plan, costly: Sequence[Address], master: Address, deadline_s: float) -> None:
    """Let those that cannot resynchronise partially follow, one after the other: each costs the new master a copy of all its data.

    The copy for the one before may have taken minutes. So each is asked anew, and nobody is told once no Sentinel names this master any more, or the
    time is over: what is late then, the end of the run names.
    """
    if not costly:
        return
    with run.step(FOLLOW):
        for address in costly:
            if run.clock.now_s() >= deadline_s:
                return
            if not any(run.same_now(said.named, master) for said in look(run).said.values()):
                return
            if let_follow_anew(run, plan, address, master):
                _wait_linked(run, address, master, deadline_s)


def let_follow_anew(run: Run, plan: Plan, address: Address, master: Address) -> bool:
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
    node = run.snapshot.node(address)
    old = node is not None and node.compatible_version < (6, 2, 0)
    before = replication(run, address) if old else None
    info, _ok = run.fleet.node(address).transact(("INFO", "replication"), ("REPLICAOF", master.host, master.port))
    own = parse_replication(parse_info(info))
    if before is not None and own.offset - before.offset in OWN_TRANSACTION_BYTES:
        own = before
    written_bytes = own.offset - own.second_offset + 1
    if run.same_now(address, run.record.beside):
        run.record.beside = None
    run.timeline.add(STRAY_DEMOTED, address, f"{address} was a master too, and had gone on for {written_bytes} bytes")
    if written_bytes > 0:
        run.record.deny_lossless(
            f"{address} was a master for a moment, too, and its history went on for {written_bytes} bytes: what was written there is lost"
        )


def _wait_linked(run: Run, address: Address, master: Address, deadline_s: float) -> None:
    """Until the copy has come, or the time is over."""
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
    return each({address: why_not_following(run, answer, master)})


def rewrite_new_master(run: Run, master: Address) -> None:
    """Write the role of the new master to its configuration file; where that cannot be done, it is put down as left to do."""
    try:
        rewrite(run, run.fleet.node(master))
    except LinkError as error:
        run.left(f"{master}: CONFIG REWRITE ({error.message}); after a restart it has its old role")


def why_not_following(run: Run, answer: Replication, master: Address) -> str:
    """What keeps a node from following the new master; nothing, if it follows."""
    if answer.is_master:
        return "it still says that it is a master"
    if not run.same_now(answer.master, master):
        return f"it follows {answer.master}"
    if answer.sync_in_progress:
        left = f", {answer.sync_left_bytes} bytes left" if answer.sync_left_bytes >= 0 else ""
        return f"it is in the middle of a full synchronisation{left}"
    return "" if answer.link_up else "its link to the new master is down"


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
