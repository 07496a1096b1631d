# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``health_info`` checks of the Sentinels, and of what they know: situation -> named checks, in both phases.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    CRITICAL,
    OK,
    WARNING,
    Check,
    check_foreign_nodes,
    check_master_known,
    check_master_seen,
    check_other_names,
    check_quorum,
    check_sentinel_ids,
    check_sentinels_agree,
    check_sentinels_meet,
    check_sentinels_reachable,
    check_tilt,
    check_twins,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, ReplicaEntry
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import (
    UNKNOWN,
    Situation,
    counted,
    listed,
    named,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot

FIRST_WITH_SAVE_ERRORS = (7, 0, 0)
"""Older Sentinels say that they saved their configuration whether they did or not."""

RESET = "SENTINEL RESET on one Sentinel after the other, at least 30 s apart, never during a failover"


def check_reachable(s: Situation) -> list[Check]:
    """``sentinels_reachable``: every Sentinel that is known answers, or as many as the caller demands."""
    return named("sentinels_reachable", check_sentinels_reachable(s.snapshot, s.thresholds.min_sentinels))


def check_agree(s: Situation) -> list[Check]:
    """``sentinels_agree``: all Sentinels know this master, and name one address with one configuration epoch."""
    ignorant = [check for check in check_master_known(s.snapshot) if check.status != OK]
    epochs = {view.master.config_epoch for view in s.snapshot.informed_sentinels if view.master}
    return named(
        "sentinels_agree",
        [*ignorant, *check_sentinels_agree(s.snapshot)],
        f"all name {s.snapshot.master_address}, configuration epoch {listed(sorted(epochs))}",
    )


def check_seen(s: Situation) -> list[Check]:
    """``master_seen``: every Sentinel reaches the master."""
    return check_master_seen(s.snapshot)


def check_ids(s: Situation) -> list[Check]:
    """``sentinel_ids``: no two Sentinels have one run id."""
    return check_sentinel_ids(s.snapshot)


def check_settings(s: Situation) -> list[Check]:
    """``sentinel_settings``: quorum, down-after, failover-timeout and parallel-syncs are the same at every Sentinel."""
    differing = []
    for label, field_name in (
        ("quorum", "quorum"),
        ("down-after-milliseconds", "down_after_ms"),
        ("failover-timeout", "failover_timeout_ms"),
        ("parallel-syncs", "parallel_syncs"),
    ):
        values = {view.address: getattr(view.master, field_name) for view in s.snapshot.informed_sentinels}
        if len(set(values.values())) > 1:
            differing.append(f"{label} is " + listed(f"{value} at {address}" for address, value in values.items()))
    if not differing:
        return [Check("sentinel_settings", OK, "all Sentinels have the same quorum, timeouts and parallel-syncs")]
    return [
        Check(
            "sentinel_settings",
            WARNING,
            "the Sentinels are set differently: " + "; ".join(differing),
            f"SENTINEL SET {s.snapshot.master_name} on those that differ; Sentinels do not tell each other.",
        )
    ]


def check_votes(s: Situation) -> list[Check]:
    """``quorum``: each Sentinel sees enough others for quorum and majority."""
    return named("quorum", check_quorum(s.snapshot))


def check_known_sentinels(s: Situation) -> list[Check]:
    """``known_sentinels``: each Sentinel knows, hears and reaches every other, and none that is gone."""
    apart = [check for check in check_sentinels_meet(s.snapshot) if check.status != OK]
    checks = [*named("known_sentinels", apart), *_dead_peers(s.snapshot)]
    known = len(s.snapshot.reachable_sentinels)
    return checks or [Check("known_sentinels", OK, f"{counted(known, 'Sentinel')}, each knows and reaches the others")]


def _dead_peers(snapshot: Snapshot) -> list[Check]:
    unreachable = {snapshot.identity(view.address) for view in snapshot.sentinels if not view.reachable}
    silent_ms: dict[Address, int] = {}
    for view in snapshot.informed_sentinels:
        for entry in view.peers:
            if entry.down and snapshot.identity(entry.address) in unreachable:
                silent_ms[entry.address] = max(entry.last_hello_ms, silent_ms.get(entry.address, 0))
    if not silent_ms:
        return []
    known = len(snapshot.sentinels)
    said = listed(f"{address} (silent for {silence // 1000} s)" for address, silence in sorted(silent_ms.items()))
    return [
        Check(
            "known_sentinels",
            WARNING,
            f"known and dead: Sentinel {said}; it counts: the majority is {known // 2 + 1} of {known}",
            f"Start it. If it is gone for good, let the others forget it: {RESET}.",
        )
    ]


def check_no_tilt(s: Situation) -> list[Check]:
    """``no_tilt``: no Sentinel is in TILT, and none has been since the baseline, where the server counts."""
    now = named("no_tilt", check_tilt(s.snapshot))
    totals = s.baseline.tilt_totals if s.baseline else {}
    again = [
        view.address
        for view in s.snapshot.reachable_sentinels
        for address, total in totals.items()
        if s.snapshot.same(address, view.address) and view.tilt_total > total
    ]
    if not again or any(check.status != OK for check in now):
        return now
    return [
        Check(
            "no_tilt",
            WARNING,
            f"Sentinel {listed(again)} has been in TILT since the baseline",
            "Look for a starved or suspended host: a Sentinel in TILT does nothing for 30 s.",
        )
    ]


def check_no_failover_before(s: Situation) -> list[Check]:
    """``no_failover``: none is in progress; the module would join it."""
    return _failover_check(
        s, WARNING, "redis_ha.sentinel.failover joins it and waits for its end; or wait until it is over."
    )


def check_no_failover_after(s: Situation) -> list[Check]:
    """``no_failover``: none is in progress any more, at the Sentinels and on the nodes."""
    hanging = [
        Check(
            "no_failover",
            CRITICAL,
            f"{node.address} is in a FAILOVER of its own: {node.replication.failover_state}",
            "Wait for it to end, or end it with FAILOVER ABORT on that node.",
        )
        for node in s.nodes
        if node.replication is not None and node.replication.failover_state != "no-failover"
    ]
    remedy = "Wait for its end: it lasts until every replica is led to the new master, at most failover-timeout."
    checks = [*_failover_check(s, CRITICAL, remedy), *hanging]
    return [check for check in checks if check.status != OK] or checks


def _failover_check(s: Situation, status: str, remedy: str) -> list[Check]:
    if not s.failover_leaders:
        return [Check("no_failover", OK, "no failover is in progress")]
    said = "; ".join(
        f"Sentinel {view.address} leads a failover ({view.master.failover_state or 'in progress'})"
        for view in s.failover_leaders
        if view.master
    )
    return [Check("no_failover", status, said, remedy)]


def check_config_saved(s: Situation) -> list[Check]:
    """``sentinel_config_writable``: each Sentinel can save its configuration; only if that was asked for."""
    if not s.evidence.config_saves:
        return []
    failed = {address: text for address, text in s.evidence.config_saves.items() if text}
    if failed:
        return [
            Check(
                "sentinel_config_writable",
                CRITICAL,
                f"Sentinel {address} cannot save its configuration: {text}",
                "Look for a full disk, and for the owner and the rights of its file and of the folder, which it must be able to write to. "
                "As it is, it forgets at its next start who the master is.",
            )
            for address, text in failed.items()
        ]
    silent = [
        view.address
        for view in s.snapshot.informed_sentinels
        if view.version < FIRST_WITH_SAVE_ERRORS and view.address in s.evidence.config_saves
    ]
    if silent:
        text = f"{UNKNOWN}before Redis 7.0 a Sentinel says OK whether it could save or not ({listed(silent)})"
        return [Check("sentinel_config_writable", OK, text)]
    return [Check("sentinel_config_writable", OK, "every Sentinel saved its configuration")]


def check_sentinel_permissions(s: Situation) -> list[Check]:
    """``sentinel_permissions``: the collection's user may send SENTINEL FAILOVER."""
    views = s.snapshot.informed_sentinels
    refused = [view for view in views if view.failover_refused]
    if not refused:
        return [Check("sentinel_permissions", OK, "SENTINEL FAILOVER is permitted")]
    return [
        Check(
            "sentinel_permissions",
            CRITICAL if len(refused) == len(views) else WARNING,
            "; ".join(
                f"Sentinel {view.address} refuses SENTINEL FAILOVER: {view.failover_refused}" for view in refused
            ),
            "Give the collection's user +sentinel|failover on the Sentinels (docs/permissions.md).",
        )
    ]


def check_names(s: Situation) -> list[Check]:
    """``other_names``: no Sentinel watches a server of this deployment under another name, or unknown to the others."""
    return named("other_names", check_other_names(s.snapshot))


# ---- what Sentinels know of the nodes --------------------------------------------------------------------------------


def check_foreign(s: Situation) -> list[Check]:
    """``foreign_nodes``: every node in the tables of the Sentinels belongs to this deployment."""
    return named("foreign_nodes", check_foreign_nodes(s.snapshot))


def check_one_address(s: Situation) -> list[Check]:
    """``one_address``: no Sentinel takes one server for two."""
    return named("one_address", check_twins(s.snapshot))


def check_known_replicas(s: Situation) -> list[Check]:
    """``known_replicas``: the Sentinels list the same replicas, none that is gone, and every one that is there."""
    snapshot = s.snapshot
    entries = replica_entries(snapshot)
    checks = []
    for identity, rows in entries.items():
        shown = next(iter(rows.values())).address
        if snapshot.same(identity, snapshot.master_address):
            continue
        missing = [view.address for view in snapshot.informed_sentinels if view.address not in rows]
        if missing and not s.failover_leaders:
            checks.append(
                Check(
                    "known_replicas",
                    WARNING,
                    f"Sentinel {listed(missing)} does not know replica {shown}, others do",
                    "Wait ten seconds: Sentinel reads its replicas off the master's INFO. If it stays, that replica is not attached to the master.",
                )
            )
        node = snapshot.node(shown)
        if (node is None or not node.reachable) and all(entry.down for entry in rows.values()):
            checks.append(
                Check(
                    "known_replicas",
                    WARNING,
                    f"known to the Sentinels and dead: replica {shown}",
                    f"Start it. If it is gone for good, let the Sentinels forget it: {RESET}.",
                )
            )
    checks += _unlisted(s, entries)
    count = sum(not snapshot.same(identity, snapshot.master_address) for identity in entries)
    return checks or [Check("known_replicas", OK, f"every Sentinel lists the same {counted(count, 'replica')}")]


def replica_entries(snapshot: Snapshot) -> dict[Address, dict[Address, ReplicaEntry]]:
    """Each replica's rows, by its identity and by Sentinel."""
    entries: dict[Address, dict[Address, ReplicaEntry]] = {}
    for view in snapshot.informed_sentinels:
        for entry in view.replicas:
            entries.setdefault(snapshot.identity(entry.address), {})[view.address] = entry
    return entries


def _unlisted(s: Situation, entries: Mapping[Address, object]) -> list[Check]:
    master = s.master
    if master is None or master.replication is None or s.failover_leaders:
        return []
    return [
        Check(
            "known_replicas",
            WARNING,
            f"{attached.address} is attached to the master, and no Sentinel lists it",
            "Wait ten seconds if it is new. If it stays, it says replica-announced no: Sentinel could promote it, and nobody would see that it can.",
        )
        for attached in master.replication.attached
        # A program that only reads the stream of changes attaches with port 0.
        if attached.address.port and s.snapshot.identity(attached.address) not in entries
    ]
