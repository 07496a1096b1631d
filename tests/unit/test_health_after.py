# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the nodes after the master was moved: a table, one row a finding."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, AttachedReplica
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import Baseline
from unit.builders import OM, R, S, master_entry, master_node, replication
from unit.situations import (
    BASELINE,
    GONE,
    Case,
    after,
    case_after,
    follower,
    new_master,
    nodes_after,
    unreachable,
    views_after,
)

SENTINEL_WILL = (
    "Sentinel leads it to the master within failover-timeout. By hand, if nothing is wanted that only it has: REPLICAOF the master, "
    "then CONFIG REWRITE on it."
)


def baseline_without(address: Address) -> Baseline:
    """The baseline, if this node could not be asked then."""
    return replace(
        BASELINE,
        nodes=tuple(replace(node, reachable=False) if node.address == address else node for node in BASELINE.nodes),
    )


CASES = [
    case_after(
        id="all of it", name="baseline_read", situation=after(), status="ok", details=("the baseline can be read",)
    ),
    case_after(
        id="some of it is masked",
        name="baseline_read",
        situation=after(baseline=replace(BASELINE, unread=("a node with port 6379",))),
        status="warning",
        details=(
            "Ansible has masked what it holds a password for, in the baseline, too, and a node with port 6379 cannot be told any more",
        ),
    ),
    case_after(
        id="the master is not known",
        name="master_moved",
        situation=after(baseline=replace(BASELINE, master=None)),
        status="ok",
        details=("not known: the baseline does not tell which node was the master",),
    ),
    case_after(id="all", name="nodes_reachable", situation=after(), status="ok", details=("all 3 nodes answer",)),
    case_after(
        id="one does not",
        name="nodes_reachable",
        situation=after(nodes=nodes_after(unreachable(S))),
        status="critical",
        details=("node 10.0.0.3:6379: Connection refused",),
        remedy="Start it, or open the way to it; behind NAT or a container network set address_map.",
    ),
    case_after(
        id="one did not before",
        name="nodes_reachable",
        situation=after(nodes=nodes_after(unreachable(S)), baseline=baseline_without(S)),
        status="warning",
        details=("node 10.0.0.3:6379: Connection refused (as in the baseline)",),
    ),
    case_after(
        id="one",
        name="one_master",
        situation=after(),
        status="ok",
        details=("10.0.0.2:6379 is the only master among 3 nodes",),
    ),
    case_after(
        id="two",
        name="one_master",
        situation=after(nodes=nodes_after(master_node(S))),
        status="critical",
        details=("10.0.0.2:6379, 10.0.0.3:6379 all say that they are masters; the Sentinels name 10.0.0.2:6379",),
        remedy="Sentinel demotes those that it does not name within about 20 s: wait and look again. What is written to them meanwhile is lost.",
    ),
    case_after(
        id="none",
        name="one_master",
        situation=after(nodes=nodes_after(follower(R))),
        status="critical",
        details=("no node says that it is a master; the Sentinels name 10.0.0.2:6379",),
        remedy="Run redis_ha.sentinel.failover again: it finishes what was interrupted. Sentinel itself needs about half a minute.",
    ),
    case_after(
        id="another one",
        name="one_master",
        situation=after(nodes=nodes_after(follower(R), master_node(S))),
        status="critical",
        details=("10.0.0.3:6379 says that it is the master; the Sentinels name 10.0.0.2:6379",),
        remedy="Wait ten seconds and look again. If it stays, run redis_ha.sentinel.failover with expected_master.",
    ),
    case_after(
        id="moved",
        name="master_moved",
        situation=after(),
        status="ok",
        details=("from 10.0.0.1:6379 to 10.0.0.2:6379, configuration epoch from 1 to 2",),
    ),
    case_after(
        id="not moved",
        name="master_moved",
        situation=after(views_after(current=OM, master=master_entry()), nodes_after(master_node(OM), follower(R))),
        status="warning",
        details=("10.0.0.1:6379 was the master in the baseline, too (configuration epoch 1, now 1)",),
        remedy="If it was to be moved: the result of redis_ha.sentinel.failover says why it was not.",
    ),
    case_after(
        id="moved without Sentinel",
        name="master_moved",
        situation=after(views_after(master=master_entry(address=R, config_epoch=1))),
        status="critical",
        details=(
            "from 10.0.0.1:6379 to 10.0.0.2:6379, but the configuration epoch is 1 as before (1): Sentinel did not move it",
        ),
        remedy="Somebody configured the Sentinels anew by hand, or one was restored from an old file. Look at all of them with topology_info.",
    ),
    case_after(
        id="kept",
        name="history_kept",
        situation=after(),
        status="ok",
        details=("10.0.0.2:6379 took over at offset 1200, and 10.0.0.1:6379 was at 1000 in the baseline",),
    ),
    case_after(
        id="lost",
        name="history_kept",
        situation=after(nodes=nodes_after(new_master(link={"second_offset": 901}))),
        status="critical",
        details=(
            "10.0.0.2:6379 took over at offset 900, and 10.0.0.1:6379 had been at 1000 in the baseline already: what lies between is lost",
        ),
        remedy="Stop the old master before it is overwritten, if it has not yet followed, and recover what it holds.",
    ),
    case_after(
        id="another history",
        name="history_kept",
        situation=after(nodes=nodes_after(new_master(link={"replid2": "c" * 40}))),
        status="ok",
        details=(
            "not known: 10.0.0.2:6379 remembers one history before its own, and that is not 10.0.0.1:6379's: it was moved again since, or restarted",
        ),
    ),
    case_after(
        id="a replica that can be asked to save",
        name="old_master",
        situation=after(nodes=nodes_after(follower(OM, info={"loading": "0", "config_file": "redis.conf"}))),
        status="ok",
        details=(
            "10.0.0.1:6379 is a replica; whether its configuration file says so no server tells (check_config_writable writes it)",
        ),
    ),
    case_after(
        id="a replica that has saved",
        name="old_master",
        situation=after(role_saves={OM: ""}),
        status="ok",
        details=("10.0.0.1:6379 is a replica, and its configuration file says so",),
    ),
    case_after(
        id="a replica that cannot save",
        name="old_master",
        situation=after(role_saves={OM: "ERR Rewriting config file: Permission denied"}),
        status="critical",
        details=("the old master 10.0.0.1:6379 cannot save its role: ERR Rewriting config file: Permission denied",),
        remedy="Look for a full disk, and for the owner and the rights of its file and of the folder. As it is, it comes back as a master.",
    ),
    case_after(
        id="a replica without a file",
        name="old_master",
        situation=after(nodes=nodes_after(follower(OM, info={"loading": "0", "config_file": ""}))),
        status="warning",
        details=(
            "the old master 10.0.0.1:6379 is a replica, but was started without a configuration file: after a restart it is a master again",
        ),
        remedy="Start it with one that it can write to. As it is, Sentinel needs about 20 s after a restart to make it a replica again.",
    ),
    case_after(
        id="still a master",
        name="old_master",
        situation=after(nodes=nodes_after(master_node(OM))),
        status="critical",
        details=("the old master 10.0.0.1:6379 still says that it is a master",),
        remedy="Sentinel demotes it within about 20 s. If it does not: REPLICAOF the new master and CONFIG REWRITE on it. What is written to it meanwhile "
        "is lost.",
    ),
    case_after(
        id="down",
        name="old_master",
        situation=after(nodes=nodes_after(unreachable(OM))),
        status="critical",
        details=("the old master cannot be asked: node 10.0.0.1:6379: Connection refused",),
    ),
    case_after(
        id="forgotten",
        name="old_master",
        situation=after(nodes=nodes_after()[1:]),
        status="critical",
        details=("the old master cannot be asked: node 10.0.0.1:6379: no Sentinel lists it",),
    ),
    case_after(
        id="all follow",
        name="replica_follows",
        situation=after(),
        status="ok",
        details=(
            "10.0.0.1:6379 follows 10.0.0.2:6379, link up, 0 bytes behind",
            "10.0.0.3:6379 follows 10.0.0.2:6379, link up, 0 bytes behind",
        ),
    ),
    case_after(
        id="a master",
        name="replica_follows",
        situation=after(nodes=nodes_after(master_node(OM))),
        status="critical",
        details=("10.0.0.1:6379 says that it is a master",),
        remedy=SENTINEL_WILL,
    ),
    case_after(
        id="chained",
        name="replica_follows",
        situation=after(nodes=nodes_after(follower(S, link={"master": OM}))),
        status="critical",
        details=("10.0.0.3:6379 is chained: it follows 10.0.0.1:6379",),
        remedy=SENTINEL_WILL,
    ),
    case_after(
        id="follows a stranger",
        name="replica_follows",
        situation=after(nodes=nodes_after(follower(S, link={"master": GONE}))),
        status="critical",
        details=("10.0.0.3:6379 does not follow the master: it follows 10.0.0.9:6379",),
    ),
    case_after(
        id="no link",
        name="replica_follows",
        situation=after(nodes=nodes_after(follower(S, link={"link_up": False, "link_down_s": 12}))),
        status="critical",
        details=("10.0.0.3:6379 has no link to the master for 12 s",),
        remedy="Mend its replication: look at masterauth, the network and its log.",
    ),
    case_after(
        id="synchronising",
        name="replica_follows",
        situation=after(
            nodes=nodes_after(follower(S, link={"link_up": False, "sync_in_progress": True, "sync_left_bytes": 4711}))
        ),
        status="critical",
        details=("10.0.0.3:6379 is in the middle of a full synchronisation, 4711 bytes left",),
        remedy="Wait until its synchronisation has ended.",
    ),
    case_after(
        id="loading",
        name="replica_follows",
        situation=after(nodes=nodes_after(follower(S, info={"loading": "1"}))),
        status="critical",
        details=("10.0.0.3:6379 is loading its data",),
    ),
    case_after(
        id="standing still",
        name="replica_follows",
        situation=after(
            nodes=nodes_after(follower(S, link={"applied_offset": 1250})),
            later={S: replication(applied_offset=1250), R: replication(offset=1400)},
        ),
        status="critical",
        details=("10.0.0.3:6379 stands still at offset 1250, the master was at 1300",),
        remedy="Look for a pause (CLIENT UNPAUSE) or a command that blocks it, and at its log.",
    ),
    case_after(
        id="behind, and moving",
        name="replica_follows",
        situation=after(
            nodes=nodes_after(follower(S, link={"applied_offset": 1250})),
            later={S: replication(applied_offset=1260), R: replication(offset=1400)},
        ),
        status="ok",
        details=(
            "10.0.0.1:6379 follows 10.0.0.2:6379, link up, 0 bytes behind",
            "10.0.0.3:6379 follows 10.0.0.2:6379, link up, 50 bytes behind",
        ),
    ),
    case_after(
        id="too far behind",
        name="replica_follows",
        situation=after(
            nodes=nodes_after(follower(S, link={"applied_offset": 1250})),
            later={S: replication(applied_offset=1260)},
            thresholds={"max_lag_bytes": 49},
        ),
        status="critical",
        details=("10.0.0.3:6379 is 50 bytes behind the master, 49 are allowed",),
        remedy="Wait until it has caught up, or raise max_lag_bytes.",
    ),
    case_after(
        id="nobody",
        name="no_chain",
        situation=after(),
        status="ok",
        details=("every replica follows the master itself, not another replica",),
    ),
    case_after(
        id="somebody",
        name="no_chain",
        situation=after(
            nodes=nodes_after(follower(OM, link={"attached": (AttachedReplica(GONE, "online", 1300, 0),)}))
        ),
        status="critical",
        details=("10.0.0.9:6379 is chained behind the replica 10.0.0.1:6379",),
        remedy=SENTINEL_WILL,
    ),
    case_after(
        id="partial",
        name="resynchronised",
        situation=after(),
        status="ok",
        details=("since the baseline 10.0.0.2:6379 served 2 partial and 0 full synchronisations",),
    ),
    case_after(
        id="full",
        name="resynchronised",
        situation=after(nodes=nodes_after(new_master(info={"sync_full": "1", "sync_partial_ok": "1"}))),
        status="warning",
        details=("since the baseline 10.0.0.2:6379 served 1 partial and 1 full synchronisations",),
        remedy="Nothing is lost. If no replica was restarted meanwhile, raise repl-backlog-size on every node, so that a partial one is enough next time.",
    ),
    case_after(
        id="restarted",
        name="resynchronised",
        situation=after(nodes=nodes_after(new_master(run_id="f" * 40))),
        status="ok",
        details=("not known: 10.0.0.2:6379 was restarted since the baseline, or could not be asked then",),
    ),
    case_after(
        id="met", name="min_replicas", situation=after(), status="ok", details=("min-replicas-to-write is met",)
    ),
    case_after(
        id="not met",
        name="min_replicas",
        situation=after(
            nodes=nodes_after(
                new_master(
                    config={"min-replicas-to-write": "2", "min-replicas-max-lag": "10"},
                    info={"min_slaves_good_slaves": "1"},
                )
            )
        ),
        status="critical",
        details=(
            "the master 10.0.0.2:6379 refuses writes: 1 of the 2 replicas that min-replicas-to-write demands are in step",
        ),
        remedy="Mend or attach replicas, or CONFIG SET min-replicas-to-write to what can be met.",
    ),
    case_after(
        id="restored",
        name="priorities_restored",
        situation=after(),
        status="ok",
        details=("every node has the replica-priority of the baseline",),
    ),
    case_after(
        id="changed",
        name="priorities_restored",
        situation=after(nodes=nodes_after(follower(S, link={"priority": 1}))),
        status="warning",
        details=("10.0.0.3:6379 has replica-priority 1, in the baseline it had 100",),
        remedy="If nobody meant to change it: CONFIG SET replica-priority 100, then CONFIG REWRITE on it.",
    ),
    case_after(
        id="no fence",
        name="no_fence",
        situation=after(),
        status="ok",
        details=("no node refuses writes by a fence that an interrupted run left",),
    ),
    case_after(
        id="a fence",
        name="no_fence",
        situation=after(
            nodes=nodes_after(
                new_master(config={"min-replicas-to-write": "2000000000", "min-replicas-max-lag": "1000000010"})
            )
        ),
        status="critical",
        details=("10.0.0.2:6379 refuses writes by the fence of an interrupted run",),
        remedy="Run redis_ha.sentinel.failover again: it lifts it. By hand: CONFIG SET min-replicas-max-lag 10 and CONFIG SET min-replicas-to-write 0, then "
        "CONFIG REWRITE.",
    ),
    case_after(
        id="no steering",
        name="no_steering",
        situation=after(),
        status="ok",
        details=("no node has a priority that an interrupted run left",),
    ),
    case_after(
        id="steering",
        name="no_steering",
        situation=after(nodes=nodes_after(follower(S, config={}, link={"priority": 1_000_000_100}))),
        status="critical",
        details=("10.0.0.3:6379 has the raised replica-priority of an interrupted run",),
        remedy="Run redis_ha.sentinel.failover again: it puts it back. By hand: CONFIG SET replica-priority 100, then CONFIG REWRITE.",
    ),
    case_after(
        id="no pause",
        name="no_pause",
        situation=after(),
        status="ok",
        details=("no node that answers holds writes",),
    ),
    case_after(
        id="a pause",
        name="no_pause",
        situation=after(held={R: "PFCOUNT is not answered within 0.5 s, twice, while PING is"}),
        status="critical",
        details=("a pause holds writes on 10.0.0.2:6379: PFCOUNT is not answered within 0.5 s, twice, while PING is",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.id}")
def test_finding(case: Case) -> None:
    case.verify()


@pytest.mark.parametrize(
    "name", ["master_moved", "history_kept", "old_master", "resynchronised", "priorities_restored"]
)
def test_without_a_baseline_nothing_is_compared(name: str) -> None:
    assert Case("", name, after(baseline=None), "", (), phase="after").found() == []
