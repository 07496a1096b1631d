# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``health_info`` checks of the nodes after the master was moved: situation -> named checks.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    CRITICAL,
    OK,
    REPLICA_REMEDIES,
    WARNING,
    Check,
    access_check,
    good_replicas,
    plain_priority,
    refuses_writes,
    wanted_replicas,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Replication
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import (
    UNKNOWN,
    Situation,
    counted,
    listed,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, lag_bytes


def check_nodes_reachable(s: Situation) -> list[Check]:
    """``nodes_reachable``: every node that the Sentinels know can be asked; one that could not be asked before is a warning."""
    checks = []
    for node in s.snapshot.nodes:
        if not node.reachable:
            before = s.before(node.address)
            check = access_check("node", node.address, node.error, node.error_code)
            if before is not None and not before.reachable:
                checks.append(Check("nodes_reachable", WARNING, f"{check.detail} (as in the baseline)", check.remedy))
            else:
                checks.append(replace(check, name="nodes_reachable"))
    return checks or [Check("nodes_reachable", OK, f"all {counted(len(s.snapshot.nodes), 'node')} answer")]


def check_one_master(s: Situation) -> list[Check]:
    """``one_master``: one node among all says that it is a master, and it is the one that the Sentinels name."""
    masters = [node.address for node in s.nodes if node.is_master]
    named = s.snapshot.master_address
    if len(masters) == 1 and s.snapshot.same(masters[0], named):
        return [Check("one_master", OK, f"{masters[0]} is the only master among {counted(len(s.nodes), 'node')}")]
    if not masters:
        return [
            Check(
                "one_master",
                CRITICAL,
                f"no node says that it is a master; the Sentinels name {named or 'different ones'}",
                "Run redis_ha.sentinel.failover again: it finishes what was interrupted. Sentinel itself needs about half a minute.",
            )
        ]
    if len(masters) == 1:
        return [
            Check(
                "one_master",
                CRITICAL,
                f"{masters[0]} says that it is the master; the Sentinels name {named or 'different ones'}",
                "Wait ten seconds and look again. If it stays, run redis_ha.sentinel.failover with expected_master.",
            )
        ]
    return [
        Check(
            "one_master",
            CRITICAL,
            f"{listed(masters)} all say that they are masters; the Sentinels name {named or 'different ones'}",
            "Sentinel demotes those that it does not name within about 20 s: wait and look again. What is written to them meanwhile is lost.",
        )
    ]


def check_master_moved(s: Situation) -> list[Check]:
    """``master_moved``: another node than in the baseline is the master, by a higher configuration epoch."""
    if s.baseline is None or s.snapshot.master_address is None:
        return []
    epoch = max((view.master.config_epoch for view in s.snapshot.informed_sentinels if view.master), default=0)
    now, before = s.snapshot.master_address, s.baseline.master
    if before is None:
        return [Check("master_moved", OK, f"{UNKNOWN}the baseline does not tell which node was the master")]
    if s.old_master is None:
        return [
            Check(
                "master_moved",
                WARNING,
                f"{now} was the master in the baseline, too (configuration epoch {s.baseline.config_epoch}, now {epoch})",
                "If it was to be moved: the result of redis_ha.sentinel.failover says why it was not.",
            )
        ]
    if epoch > s.baseline.config_epoch:
        return [
            Check(
                "master_moved",
                OK,
                f"from {before} to {now}, configuration epoch from {s.baseline.config_epoch} to {epoch}",
            )
        ]
    return [
        Check(
            "master_moved",
            CRITICAL,
            f"from {before} to {now}, but the configuration epoch is {epoch} as before ({s.baseline.config_epoch}): Sentinel did not move it",
            "Somebody configured the Sentinels anew by hand, or one was restored from an old file. Look at all of them with topology_info.",
        )
    ]


def check_baseline(s: Situation) -> list[Check]:
    """``baseline_read``: everything in the baseline can be read; only if there is one."""
    if s.baseline is None:
        return []
    if not s.baseline.unread:
        return [Check("baseline_read", OK, "the baseline can be read")]
    return [
        Check(
            "baseline_read",
            WARNING,
            f"Ansible has masked what it holds a password for, in the baseline, too, and {listed(s.baseline.unread)} cannot be told any more",
            "What depends on it is not compared. A password that is a part of a host's name does this: choose a longer one.",
        )
    ]


def check_history(s: Situation) -> list[Check]:
    """``history_kept``: the new master goes on from the old one's history, at or after the offset of the baseline."""
    master = s.master
    old = s.before(s.old_master) if s.old_master else None
    if old is None or master is None or master.replication is None or old.offset is None or not old.replid:
        return []
    replication = master.replication
    if old.replid == replication.replid:
        kept = replication.offset
    elif old.replid == replication.replid2:
        kept = replication.second_offset - 1
    else:
        return [
            Check(
                "history_kept",
                OK,
                f"{UNKNOWN}{master.address} remembers one history before its own, and that is not {old.address}'s: it was moved again since, or "
                "restarted",
            )
        ]
    if kept >= old.offset:
        return [
            Check(
                "history_kept",
                OK,
                f"{master.address} took over at offset {kept}, and {old.address} was at {old.offset} in the baseline",
            )
        ]
    return [
        Check(
            "history_kept",
            CRITICAL,
            f"{master.address} took over at offset {kept}, and {old.address} had been at {old.offset} in the baseline already: what lies between is lost",
            "Stop the old master before it is overwritten, if it has not yet followed, and recover what it holds.",
        )
    ]


def check_old_master(s: Situation) -> list[Check]:
    """``old_master``: the master of the baseline is a replica now, and will be one after a restart as far as can be seen."""
    if s.old_master is None:
        return []
    node = s.snapshot.node(s.old_master)
    if node is None or not node.reachable:
        check = access_check(
            "node", s.old_master, node.error if node else "no Sentinel lists it", node.error_code if node else ""
        )
        return [replace(check, name="old_master", detail=f"the old master cannot be asked: {check.detail}")]
    if node.is_master:
        return [
            Check(
                "old_master",
                CRITICAL,
                f"the old master {node.address} still says that it is a master",
                "Sentinel demotes it within about 20 s. If it does not: REPLICAOF the new master and CONFIG REWRITE on it. What is written to it "
                "meanwhile is lost.",
            )
        ]
    saved = s.evidence.role_saves.get(node.address)
    if saved:
        return [
            Check(
                "old_master",
                CRITICAL,
                f"the old master {node.address} cannot save its role: {saved}",
                "Look for a full disk, and for the owner and the rights of its file and of the folder. As it is, it comes back as a master.",
            )
        ]
    if saved == "":
        return [Check("old_master", OK, f"{node.address} is a replica, and its configuration file says so")]
    if node.info.get("config_file") == "":
        return [
            Check(
                "old_master",
                WARNING,
                f"the old master {node.address} is a replica, but was started without a configuration file: after a restart it is a master again",
                "Start it with one that it can write to. As it is, Sentinel needs about 20 s after a restart to make it a replica again.",
            )
        ]
    return [
        Check(
            "old_master",
            OK,
            f"{node.address} is a replica; whether its configuration file says so no server tells (check_config_writable writes it)",
        )
    ]


def check_followers(s: Situation) -> list[Check]:
    """``replica_follows``, one for each: it follows the master directly, its link is up, and it is in step."""
    master = s.master
    address = s.snapshot.master_address
    if address is None:
        return []
    checks = []
    for node in s.nodes:
        if s.snapshot.same(node.address, address):
            continue
        reason, remedy = _not_following(s, node, master)
        if reason:
            checks.append(Check("replica_follows", CRITICAL, f"{node.address} {reason}", remedy))
        else:
            lag = lag_bytes(s.snapshot, node.replication) if node.replication else None
            behind = "" if lag is None else f", {lag} bytes behind"
            checks.append(Check("replica_follows", OK, f"{node.address} follows {address}, link up{behind}"))
    return checks


_SENTINEL_WILL = (
    "Sentinel leads it to the master within failover-timeout. By hand, if nothing is wanted that only it has: REPLICAOF the master, "
    "then CONFIG REWRITE on it."
)


def _not_following(s: Situation, node: NodeView, master: NodeView | None) -> tuple[str, str]:
    """Why a node does not follow as it should, and what to do; nothing if it does."""
    replication = node.replication
    if replication is None:
        return "says nothing of its replication", "Look at it with INFO replication."
    if replication.is_master:
        return "says that it is a master", _SENTINEL_WILL
    if not s.snapshot.same(replication.master, s.snapshot.master_address):
        chained = any(s.snapshot.same(replication.master, other.address) for other in s.nodes if not other.is_master)
        kind = "is chained: it" if chained else "does not follow the master: it"
        return f"{kind} follows {replication.master}", _SENTINEL_WILL
    if node.info.get("loading", "0") != "0":
        return "is loading its data", REPLICA_REMEDIES["target_loading"]
    if replication.sync_in_progress:
        left = f", {replication.sync_left_bytes} bytes left" if replication.sync_left_bytes >= 0 else ""
        return f"is in the middle of a full synchronisation{left}", REPLICA_REMEDIES["target_syncing"]
    if not replication.link_up:
        since = f" for {replication.link_down_s} s" if replication.link_down_s >= 0 else ""
        return f"has no link to the master{since}", REPLICA_REMEDIES["target_link_down"]
    if master is None or master.replication is None:
        return "", ""
    return _out_of_step(s, node.address, replication, master.replication)


def _out_of_step(s: Situation, address: Address, replica: Replication, master: Replication) -> tuple[str, str]:
    later = s.evidence.later.get(address)
    if later is not None and later.applied_offset < master.offset and later.applied_offset <= replica.applied_offset:
        return (
            f"stands still at offset {later.applied_offset}, the master was at {master.offset}",
            "Look for a pause (CLIENT UNPAUSE) or a command that blocks it, and at its log.",
        )
    lag = lag_bytes(s.snapshot, replica)
    if lag is not None and lag > s.thresholds.max_lag_bytes:
        return (
            f"is {lag} bytes behind the master, {s.thresholds.max_lag_bytes} are allowed",
            "Wait until it has caught up, or raise max_lag_bytes.",
        )
    return "", ""


def check_not_chained(s: Situation) -> list[Check]:
    """``no_chain``: no replica that should follow the master is fed by another.

    One that Sentinel does not know may be a cascade, which somebody wants so; not behind the old master, to which it was attached directly.
    """
    chains = [
        (node, attached.address)
        for node in s.nodes
        if not node.is_master and node.replication is not None
        for attached in node.replication.attached
        if attached.address.port and not s.snapshot.same(attached.address, s.snapshot.master_address)
        if _is_listed(s, attached.address) or s.snapshot.same(node.address, s.old_master)
    ]
    if not chains:
        return [Check("no_chain", OK, "every replica follows the master itself, not another replica")]
    return [
        Check(
            "no_chain",
            CRITICAL,
            f"{follower} is chained behind the replica {node.address}",
            _SENTINEL_WILL,
        )
        for node, follower in chains
    ]


def _is_listed(s: Situation, address: Address) -> bool:
    return any(s.snapshot.same(row.address, address) for view in s.snapshot.informed_sentinels for row in view.replicas)


def check_resyncs(s: Situation) -> list[Check]:
    """``resynchronised``: how the replicas came to follow the new master, in part or in full, where that can be told."""
    master = s.master
    before = s.before(master.address) if master is not None and s.old_master else None
    if master is None or before is None:
        return []
    if not before.run_id or before.run_id != master.run_id or before.full_resyncs is None:
        text = f"{UNKNOWN}{master.address} was restarted since the baseline, or could not be asked then"
        return [Check("resynchronised", OK, text)]
    full, partial = master.sync_counters
    full -= before.full_resyncs
    partial -= before.partial_resyncs or 0
    said = f"since the baseline {master.address} served {partial} partial and {full} full synchronisations"
    if full <= 0:
        return [Check("resynchronised", OK, said)]
    return [
        Check(
            "resynchronised",
            WARNING,
            said,
            "Nothing is lost. If no replica was restarted meanwhile, raise repl-backlog-size on every node, so that a partial one is enough next time.",
        )
    ]


def check_min_replicas_after(s: Situation) -> list[Check]:
    """``min_replicas``: the master accepts writes."""
    master = s.master
    if master is None:
        return []
    wanted, good = wanted_replicas(master), good_replicas(master)
    if wanted and good is not None and good < wanted:
        return [refuses_writes(master, good, wanted)]
    return [Check("min_replicas", OK, "min-replicas-to-write is met")]


def check_priorities(s: Situation) -> list[Check]:
    """``priorities_restored``: every node has the ``replica-priority`` that it had in the baseline."""
    if s.baseline is None:
        return []
    changed = []
    for node in s.nodes:
        before = s.before(node.address)
        now = node.replication.priority if node.replication else -1
        if before is None or before.priority is None or now < 0:
            continue
        then = plain_priority(before.priority)
        if plain_priority(now) != then:
            changed.append((node.address, then, plain_priority(now)))
    if not changed:
        return [Check("priorities_restored", OK, "every node has the replica-priority of the baseline")]
    return [
        Check(
            "priorities_restored",
            WARNING,
            f"{address} has replica-priority {now}, in the baseline it had {then}",
            f"If nobody meant to change it: CONFIG SET replica-priority {then}, then CONFIG REWRITE on it.",
        )
        for address, then, now in changed
    ]
