# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the Sentinels and of what they know: a table, one row a finding."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, AttachedReplica
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import Situation
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import SentinelView
from unit.builders import L0, L1, L2, R, S, master_entry, master_node, peer_entry, replica_entry, replica_node
from unit.situations import (
    BASELINE,
    GONE,
    Case,
    after,
    before,
    case_after,
    dead,
    nodes,
    unreachable,
    views,
    views_after,
    with_view,
)

L2_DOWN = frozenset({"sentinel", "s_down"})
LEADING = master_entry(flags=frozenset({"master", "failover_in_progress"}), failover_state="reconf_slaves")


def peers_without_l2() -> list[SentinelView]:
    """Two Sentinels see the third one down, and it does not answer."""
    down = peer_entry(L2, flags=L2_DOWN, last_hello_ms=90_000)
    known = views()
    return [
        replace(known[0], peers=(peer_entry(L1), down)),
        replace(known[1], peers=(peer_entry(L0), down)),
        dead(known[2]),
    ]


def in_failover(situation: Situation) -> Situation:
    """The same, while a Sentinel leads a failover."""
    first, *others = situation.snapshot.sentinels
    assert first.master is not None
    leading = replace(first, master=replace(first.master, flags=frozenset({"master", "failover_in_progress"})))
    return replace(situation, snapshot=replace(situation.snapshot, sentinels=(leading, *others)))


def while_it_lasts(case: Case) -> tuple[str, ...]:
    return tuple(f"{detail} (a failover is in progress)" for detail in case.details)


STRANGER = replica_node(
    GONE, link={"replid": "f" * 40, "master": Address("10.0.9.9", 6379)}, info={"loading": "0", "db0": "keys=1"}
)

WHO_IS_WHO = [
    Case(
        "a copied configuration",
        "sentinel_ids",
        before(with_view(1, run_id=f"sentinel-{L0}")),
        "critical",
        ("Sentinel 10.0.0.1:26379, 10.0.0.2:26379 have one run id (sentinel...)",),
    ),
    Case(
        "another name",
        "other_names",
        before(with_view(1, masters=(master_entry(), master_entry(name="other", run_id="1" * 40)))),
        "critical",
        ("10.0.0.1:6379 is watched by Sentinel 10.0.0.2:26379 as other",),
    ),
    Case(
        "a replica of somebody else",
        "foreign_nodes",
        before(views(replicas=(replica_entry(R), replica_entry(S), replica_entry(GONE))), nodes(STRANGER)),
        "critical",
        (
            "in the table of mymaster (master 10.0.0.1:6379, aaaaaaaa...) stands what does not belong to it: 10.0.0.9:6379 follows 10.0.9.9:6379, "
            "with another history of writes (ffffffff...)",
        ),
    ),
    Case(
        "one server at two addresses",
        "one_address",
        before(
            views(replicas=(replica_entry(R), replica_entry(S), replica_entry(GONE, run_id="3" * 40))),
            nodes(replica_node(GONE)),
        ),
        "critical",
        ("10.0.0.3:6379, 10.0.0.9:6379 are one server, and Sentinel takes them for several",),
    ),
    Case(
        "one that hides and lags",
        "hidden_replicas",
        before(
            nodes=nodes(
                master_node(link={"attached": (AttachedReplica(GONE, "online", 1000, 0),)}),
                unreachable(GONE),
            )
        ),
        "critical",
        (
            "10.0.0.9:6379 could be promoted by Sentinel, which does not show it, and does not have everything (it cannot be asked: Connection refused)",
        ),
    ),
]

DOWN = frozenset({"master", "s_down"})

QUORUM = [
    Case(
        "one alone does not get into the master",
        "quorum",
        before(with_view(1, quorum_ok=False, quorum_detail="NOQUORUM", master=master_entry(flags=DOWN))),
        "critical",
        ("Sentinel 10.0.0.2:26379: NOQUORUM (it sees the master down, which others reach)",),
        "Sentinel 10.0.0.2:26379 alone does not get into the master, and so does not meet the other Sentinels there: look at its auth-user and auth-pass "
        "(SENTINEL SET mymaster auth-pass), then at its network.",
    ),
    Case(
        "a quorum that no number of votes reaches",
        "quorum",
        before(with_view(1, quorum_ok=False, quorum_detail="NOQUORUM", master=master_entry(quorum=5))),
        "critical",
        ("Sentinel 10.0.0.2:26379: NOQUORUM (the quorum is 5, and there are 3 Sentinels)",),
        "No number of votes reaches that quorum: SENTINEL SET mymaster quorum 2 on every Sentinel, or add Sentinels.",
    ),
]

WELL = [
    Case("an id each", "sentinel_ids", before(), "ok", ("every Sentinel has a run id of its own",)),
    Case(
        "one name",
        "other_names",
        before(),
        "ok",
        ("nobody is seen to watch its servers under another name than mymaster",),
    ),
    Case("all ours", "foreign_nodes", before(), "ok", ("every node that answers belongs to this deployment",)),
    Case("one address each", "one_address", before(), "ok", ("every server is known at one address",)),
    Case(
        "nobody hides",
        "hidden_replicas",
        before(),
        "ok",
        ("no replica that Sentinel does not show could be promoted without having everything",),
    ),
]

CASES = [
    Case("all answer", "sentinels_reachable", before(), "ok", ("all 3 Sentinels answer",), ""),
    Case(
        "one is down, all are wanted",
        "sentinels_reachable",
        before([*views()[:2], dead(views()[2])]),
        "critical",
        ("2 of the 3 known Sentinels answer, 3 are wanted; Sentinel 10.0.0.3:26379: Connection refused",),
        "Start the others, or open the way to them; behind NAT or a container network set address_map. If one is gone for good, let Sentinel "
        "forget it (SENTINEL RESET on one Sentinel after the other, at least 30 s apart, never during a failover), or set min_sentinels to "
        "accept that fewer answer.",
    ),
    Case(
        "one is down, two are enough",
        "sentinels_reachable",
        before([*views()[:2], dead(views()[2])], thresholds={"min_sentinels": 2}),
        "warning",
        ("Sentinel 10.0.0.3:26379: Connection refused",),
        "Start it, or open the way to it; behind NAT or a container network set address_map.",
    ),
    Case(
        "one wants a password",
        "sentinels_reachable",
        before(
            [
                *views()[:2],
                replace(dead(views()[2]), error="it refuses the login: Authentication required.", error_code="auth"),
            ]
        ),
        "critical",
        ("Sentinel 10.0.0.3:26379: it refuses the login: Authentication required.",),
        "Set sentinel_username and sentinel_password to a user that this server accepts, or leave them out where it wants none.",
    ),
    Case("of one mind", "sentinels_agree", before(), "ok", ("all name 10.0.0.1:6379, configuration epoch 1",), ""),
    Case(
        "another address, of one epoch",
        "sentinels_agree",
        before(with_view(2, current=R, master=master_entry(address=R, run_id="2" * 40))),
        "critical",
        (
            "the Sentinels disagree: 10.0.0.1:26379 says 10.0.0.1:6379 of epoch 1; 10.0.0.2:26379 says 10.0.0.1:6379 of epoch 1; "
            "10.0.0.3:26379 says 10.0.0.2:6379 of epoch 1",
        ),
        "Sentinels of one epoch never agree by themselves: they were set up with different masters, or two failovers began at once. Find out, with "
        "topology_info, which of these nodes is the master; on each Sentinel that names another one, SENTINEL REMOVE and SENTINEL MONITOR with the right one.",
    ),
    Case(
        "another address of one server",
        "sentinels_agree",
        before(with_view(2, current=GONE, master=master_entry(address=GONE))),
        "critical",
        (
            "the Sentinels disagree: 10.0.0.1:26379 says 10.0.0.1:6379 of epoch 1; 10.0.0.2:26379 says 10.0.0.1:6379 of epoch 1; "
            "10.0.0.3:26379 says 10.0.0.9:6379 of epoch 1",
        ),
        "It is one server (one run id) under several addresses. If one of them is right only where that Sentinel runs (127.0.0.1, a private network), let "
        "address_map lead it to the address of the others; better, let that Sentinel watch it at the address of the others (SENTINEL REMOVE, SENTINEL "
        "MONITOR there).",
    ),
    Case(
        "another epoch",
        "sentinels_agree",
        before(with_view(1, master=master_entry(config_epoch=7))),
        "critical",
        (
            "the Sentinels disagree: 10.0.0.1:26379 says 10.0.0.1:6379 of epoch 1; 10.0.0.2:26379 says 10.0.0.1:6379 of epoch 7; "
            "10.0.0.3:26379 says 10.0.0.1:6379 of epoch 1",
        ),
        "Wait ten seconds and look again with topology_info: a failover that has just ended spreads within seconds. If it stays, one Sentinel is cut "
        "off from the others: mend its network first.",
    ),
    Case(
        "one does not know the master",
        "sentinels_agree",
        before(with_view(1, master=None, current=None)),
        "critical",
        ("Sentinel 10.0.0.2:26379 knows no master named 'mymaster', the others do",),
        "Configure it there (SENTINEL MONITOR), or name only Sentinels that watch this master.",
    ),
    Case(
        "disagreement while a failover goes on",
        "sentinels_agree",
        before(with_view(2, current=R, master=replace(LEADING, config_epoch=2))),
        "warning",
        (
            "the Sentinels disagree: 10.0.0.1:26379 says 10.0.0.1:6379 of epoch 1; 10.0.0.2:26379 says 10.0.0.1:6379 of epoch 1; "
            "10.0.0.3:26379 says 10.0.0.2:6379 of epoch 2 (a failover is in progress)",
        ),
    ),
    Case("the master is seen", "master_seen", before(), "ok", ("every Sentinel reaches the master",), ""),
    Case(
        "one Sentinel is cut off",
        "master_seen",
        before(with_view(1, master=master_entry(flags=frozenset({"master", "s_down", "disconnected"})))),
        "critical",
        ("Sentinel 10.0.0.2:26379 sees the master 10.0.0.1:6379 as disconnected, s_down",),
        "The others reach it, so this Sentinel is cut off: mend its network, or its auth-user and auth-pass (SENTINEL SET).",
    ),
    Case(
        "the master is down",
        "master_seen",
        before(views(master=master_entry(flags=frozenset({"master", "s_down", "o_down"})))),
        "critical",
        (
            "Sentinel 10.0.0.1:26379 sees the master 10.0.0.1:6379 as o_down, s_down; Sentinel 10.0.0.2:26379 sees the master 10.0.0.1:6379 as o_down, "
            "s_down; Sentinel 10.0.0.3:26379 sees the master 10.0.0.1:6379 as o_down, s_down",
        ),
        "The master is down, or no Sentinel reaches it any more: start it or mend the network. Sentinel itself moves a master that stays down, "
        "some seconds after down-after has passed.",
    ),
    Case(
        "the same settings",
        "sentinel_settings",
        before(),
        "ok",
        ("all Sentinels have the same quorum, timeouts and parallel-syncs",),
        "",
    ),
    Case(
        "other settings",
        "sentinel_settings",
        before(with_view(2, master=master_entry(down_after_ms=30000, quorum=1))),
        "warning",
        (
            "the Sentinels are set differently: quorum is 2 at 10.0.0.1:26379, 2 at 10.0.0.2:26379, 1 at 10.0.0.3:26379; down-after-milliseconds is "
            "5000 at 10.0.0.1:26379, 5000 at 10.0.0.2:26379, 30000 at 10.0.0.3:26379",
        ),
        "SENTINEL SET mymaster on those that differ; Sentinels do not tell each other.",
    ),
    Case("quorum", "quorum", before(), "ok", ("every Sentinel sees quorum and majority",), ""),
    Case(
        "no quorum",
        "quorum",
        before(with_view(0, quorum_ok=False, quorum_detail="1 usable Sentinels. Not enough available Sentinels")),
        "critical",
        ("Sentinel 10.0.0.1:26379: 1 usable Sentinels. Not enough available Sentinels",),
        "Start the Sentinels that are down, or mend the network between them: without a majority the other Sentinels could not heal a failure.",
    ),
    Case(
        "they know each other",
        "known_sentinels",
        before(),
        "ok",
        ("3 Sentinels, each knows and reaches the others",),
        "",
    ),
    Case(
        "what Valkey 9.1 goes on showing after an automatic failover is nothing bad",
        "known_sentinels",
        before(with_view(0, peers=(peer_entry(L1, flags=frozenset({"sentinel", "master_down"})), peer_entry(L2)))),
        "ok",
        ("3 Sentinels, each knows and reaches the others",),
    ),
    Case(
        "one does not know another",
        "known_sentinels",
        before(with_view(0, peers=(peer_entry(L1),))),
        "critical",
        ("Sentinel 10.0.0.1:26379 does not know Sentinel 10.0.0.3:26379",),
        "They meet through the nodes within seconds. If they do not: mend the network between this Sentinel and the nodes, and look whether its user may "
        "PUBLISH and SUBSCRIBE there.",
    ),
    Case(
        "a Sentinel of Redis 6.0 under another of its addresses is not unknown",
        "known_sentinels",
        before([replace(views(run_id="")[0], address=GONE), *views(run_id="")[1:]]),
        "ok",
        ("3 Sentinels, each knows and reaches the others",),
    ),
    Case(
        "one does not reach another",
        "known_sentinels",
        before(with_view(0, peers=(peer_entry(L1), peer_entry(L2, flags=L2_DOWN)))),
        "critical",
        ("Sentinel 10.0.0.1:26379 does not reach Sentinel 10.0.0.3:26379 (s_down), which answers here",),
        "Mend the network between the two, or their passwords (sentinel-user, sentinel-pass).",
    ),
    Case(
        "one hears no hello",
        "known_sentinels",
        before(with_view(0, peers=(peer_entry(L1), peer_entry(L2, last_hello_ms=12_345)))),
        "critical",
        ("Sentinel 10.0.0.1:26379 has heard no hello of Sentinel 10.0.0.3:26379 for 12345 ms",),
        "Sentinel 10.0.0.3:26379 sends its hello within seconds if it was started just now. If it stays so, it can send neither to the nodes nor to the "
        "other Sentinels: mend its network, or what it logs in with (auth-user, auth-pass, sentinel-user, sentinel-pass).",
    ),
    Case(
        "a ghost",
        "known_sentinels",
        before(peers_without_l2()),
        "warning",
        ("known and dead: Sentinel 10.0.0.3:26379 (silent for 90 s); it counts: the majority is 2 of 3",),
        "Start it. If it is gone for good, let the others forget it: SENTINEL RESET on one Sentinel after the other, at least 30 s apart, never during a "
        "failover.",
    ),
    Case("no TILT", "no_tilt", before(), "ok", ("no Sentinel is in TILT",), ""),
    Case(
        "TILT",
        "no_tilt",
        before(with_view(1, tilt=True)),
        "critical",
        ("Sentinel 10.0.0.2:26379 is in TILT: its clock jumped or it was not run for two seconds",),
        "Wait 30 s for it to leave TILT by itself; if it comes back, look for a starved or suspended host.",
    ),
    case_after(
        id="TILT since the baseline",
        name="no_tilt",
        situation=after(views_after(tilt_total=3), baseline=replace(BASELINE, tilt_totals={L0: 3, L1: 2})),
        status="warning",
        details=("Sentinel 10.0.0.2:26379 has been in TILT since the baseline",),
        remedy="Look for a starved or suspended host: a Sentinel in TILT does nothing for 30 s.",
    ),
    Case("no failover", "no_failover", before(), "ok", ("no failover is in progress",), ""),
    Case(
        "a failover, before",
        "no_failover",
        before(with_view(1, master=LEADING)),
        "warning",
        ("Sentinel 10.0.0.2:26379 leads a failover (reconf_slaves)",),
        "redis_ha.sentinel.failover joins it and waits for its end; or wait until it is over.",
    ),
    case_after(
        id="a failover, after",
        name="no_failover",
        situation=after(
            [replace(views_after()[0], master=replace(LEADING, address=R, config_epoch=2)), *views_after()[1:]]
        ),
        status="critical",
        details=("Sentinel 10.0.0.1:26379 leads a failover (reconf_slaves)",),
        remedy="Wait for its end: it lasts until every replica is led to the new master, at most failover-timeout.",
    ),
    case_after(
        id="a FAILOVER of a node's own, after",
        name="no_failover",
        situation=after(
            nodes=[*after().snapshot.nodes[:2], replica_node(S, link={"failover_state": "waiting-for-sync"})]
        ),
        status="critical",
        details=("10.0.0.3:6379 is in a FAILOVER of its own: waiting-for-sync",),
    ),
    Case(
        "saved",
        "sentinel_config_writable",
        before(config_saves={L0: "", L1: "", L2: ""}),
        "ok",
        ("every Sentinel saved its configuration",),
        "",
    ),
    Case(
        "one cannot save",
        "sentinel_config_writable",
        before(config_saves={L0: "", L1: "ERR Failed to save config file. Check server logs.", L2: ""}),
        "critical",
        ("Sentinel 10.0.0.2:26379 cannot save its configuration: ERR Failed to save config file. Check server logs.",),
        "Look for a full disk, and for the owner and the rights of its file and of the folder, which it must be able to write to. As it is, it forgets at "
        "its next start who the master is.",
    ),
    Case(
        "too old to say",
        "sentinel_config_writable",
        before(views(version=(6, 2, 5)), config_saves={L0: "", L1: "", L2: ""}),
        "ok",
        (
            "not known: before Redis 7.0 a Sentinel says OK whether it could save or not (10.0.0.1:26379, 10.0.0.2:26379, 10.0.0.3:26379)",
        ),
    ),
    Case("nobody asked", "sentinel_config_writable", before(), "", ()),
    Case("permitted", "sentinel_permissions", before(), "ok", ("SENTINEL FAILOVER is permitted",), ""),
    Case(
        "refused by one",
        "sentinel_permissions",
        before(with_view(0, failover_refused="NOPERM no")),
        "warning",
        ("Sentinel 10.0.0.1:26379 refuses SENTINEL FAILOVER: NOPERM no",),
        "Give the collection's user +sentinel|failover on the Sentinels (docs/permissions.md).",
    ),
    Case(
        "refused by all",
        "sentinel_permissions",
        before(views(failover_refused="NOPERM no")),
        "critical",
        (
            "Sentinel 10.0.0.1:26379 refuses SENTINEL FAILOVER: NOPERM no; Sentinel 10.0.0.2:26379 refuses SENTINEL FAILOVER: NOPERM no; "
            "Sentinel 10.0.0.3:26379 refuses SENTINEL FAILOVER: NOPERM no",
        ),
    ),
    Case("the same replicas", "known_replicas", before(), "ok", ("every Sentinel lists the same 2 replicas",), ""),
    Case(
        "one does not list a replica",
        "known_replicas",
        before(with_view(2, replicas=(replica_entry(R),))),
        "warning",
        ("Sentinel 10.0.0.3:26379 does not know replica 10.0.0.3:6379, others do",),
        "Wait ten seconds: Sentinel reads its replicas off the master's INFO. If it stays, that replica is not attached to the master.",
    ),
    Case(
        "a ghost among the replicas",
        "known_replicas",
        before(
            views(
                replicas=(replica_entry(R), replica_entry(S), replica_entry(GONE, flags=frozenset({"slave", "s_down"})))
            ),
            nodes(unreachable(GONE)),
        ),
        "warning",
        ("known to the Sentinels and dead: replica 10.0.0.9:6379",),
        "Start it. If it is gone for good, let the Sentinels forget it: SENTINEL RESET on one Sentinel after the other, at least 30 s apart, never during "
        "a failover.",
    ),
    Case(
        "a replica that nobody lists",
        "known_replicas",
        before(
            nodes=nodes(
                master_node(
                    link={"attached": (AttachedReplica(R, "online", 1000, 0), AttachedReplica(GONE, "online", 1000, 0))}
                )
            )
        ),
        "warning",
        ("10.0.0.9:6379 is attached to the master, and no Sentinel lists it",),
        "Wait ten seconds if it is new. If it stays, it says replica-announced no: Sentinel could promote it, and nobody would see that it can.",
    ),
    Case(
        "a program that reads the stream of changes is no replica",
        "known_replicas",
        before(
            nodes=nodes(master_node(link={"attached": (AttachedReplica(replace(GONE, port=0), "online", 1000, 0),)}))
        ),
        "ok",
        ("every Sentinel lists the same 2 replicas",),
    ),
    *(
        Case(
            f"{case.id}, while a failover goes on",
            case.name,
            in_failover(case.situation),
            "warning",
            while_it_lasts(case),
        )
        for case in WHO_IS_WHO
    ),
    *WHO_IS_WHO,
    *QUORUM,
    *WELL,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.id}")
def test_finding(case: Case) -> None:
    if not case.details:
        assert case.found() == []
    else:
        case.verify()
