# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshot -> named checks, each ok, warning or critical, with a reason and a remedy.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import NEVER_MS, Address, ReplicaEntry
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import NodeView, SentinelView, Snapshot

OK = "ok"
WARNING = "warning"
CRITICAL = "critical"

STEERING = 1_000_000_000
"""Added to the ``replica-priority`` of the siblings of the replica to promote; the old value can be read off the sum."""

FENCE_MIN_REPLICAS = 2_000_000_000
"""Added to ``min-replicas-to-write`` where a fence stands; no server has as many replicas."""

FENCE_MAX_LAG = 1_000_000_000
"""Added to ``min-replicas-max-lag`` where a fence stands: 0 would switch the fence off."""

MINIMUM_SERVER = (6, 0, 0)

SENTINEL_INFO_MAX_AGE_MS = 30_000
"""Sentinel promotes no replica whose INFO is older: three periods of 10 s (``sentinelSelectSlave``)."""

SENTINEL_PING_MAX_AGE_MS = 5_000
"""Sentinel promotes no replica whose last valid PONG is older: five periods of 1 s (``sentinelSelectSlave``)."""


@dataclass(frozen=True)
class Check:
    """One named check.

    Attributes:
        name: What was looked at; also the error code when it fails.
        status: ``ok``, ``warning`` or ``critical``.
        detail: What was found, and where.
        remedy: What to do about it; empty where nothing is wrong.
    """

    name: str
    status: str
    detail: str
    remedy: str = ""

    def as_result(self) -> dict[str, str]:
        return {"name": self.name, "status": self.status, "detail": self.detail, "remedy": self.remedy}


def critical(checks: Iterable[Check]) -> list[Check]:
    """Those that failed."""
    return [check for check in checks if check.status == CRITICAL]


def _listed(addresses: Iterable[object]) -> str:
    return ", ".join(str(address) for address in addresses)


_UNREACHABLE_REMEDIES = {
    "auth": "Set {user} and {password} to a user that this server accepts, or leave them out where it wants none.",
    "tls": "Check tls, ca_certs, client_cert_file and client_key_file; the certificate must name the host that Sentinel announces, or the one that "
    "address_map leads to (docs/tls.md).",
    "not_permitted": "Give our user the permissions of docs/permissions.md.",
    "unreachable": "Start it, or open the way to it; behind NAT or a container network set address_map.",
}


def access_check(kind: str, address: Address, error: str, error_code: str) -> Check:
    """The failed check for one server that could not be asked.

    Args:
        kind: ``sentinel`` or ``node``.
        address: Its address.
        error: Why it could not be asked.
        error_code: ``auth``, ``tls``, ``not_permitted`` or ``unreachable``.
    """
    remedy = _UNREACHABLE_REMEDIES.get(error_code, _UNREACHABLE_REMEDIES["unreachable"])
    prefix = "sentinel" if kind == "sentinel" else "redis"
    noun = "Sentinel" if kind == "sentinel" else "node"
    code = error_code if error_code in _UNREACHABLE_REMEDIES else "unreachable"
    return Check(
        f"{kind}_{code}",
        CRITICAL,
        f"{noun} {address}: {error}",
        remedy.format(user=f"{prefix}_username", password=f"{prefix}_password"),
    )


def sentinels_wanted(snapshot: Snapshot, min_sentinels: int | None) -> int:
    """How many Sentinels must answer: ``min_sentinels``, or all that are known, if it is ``None``."""
    return len(snapshot.sentinels) if min_sentinels is None else min_sentinels


def check_sentinels_reachable(snapshot: Snapshot, min_sentinels: int | None) -> list[Check]:
    """At least ``min_sentinels`` (all that are known, if it is ``None``) answer."""
    missing = [view for view in snapshot.sentinels if not view.reachable]
    answering = len(snapshot.reachable_sentinels)
    wanted = sentinels_wanted(snapshot, min_sentinels)
    if not missing and answering >= wanted:
        return [Check("sentinels_reachable", OK, f"all {answering} Sentinels answer")]
    reasons = [access_check("sentinel", view.address, view.error, view.error_code) for view in missing]
    if answering == 0:
        return reasons
    if answering >= wanted:
        return [Check("sentinels_reachable", WARNING, reason.detail, reason.remedy) for reason in reasons]
    if missing and all(view.error_code != "unreachable" for view in missing):
        return reasons
    return [
        Check(
            "sentinels_missing",
            CRITICAL,
            f"{answering} of the {len(snapshot.sentinels)} known Sentinels answer, {wanted} are wanted; "
            + "; ".join(reason.detail for reason in reasons),
            "Start the others, or open the way to them; behind NAT or a container network set address_map. If one is gone for good, let "
            "Sentinel forget it (SENTINEL RESET on one Sentinel after the other, at least 30 s apart), or set min_sentinels to accept that fewer answer.",
        )
    ]


def check_master_known(snapshot: Snapshot) -> list[Check]:
    """Every Sentinel that answers knows a master of this name."""
    ignorant = [view.address for view in snapshot.reachable_sentinels if view.master is None]
    if not ignorant:
        return [Check("master_known", OK, f"every Sentinel knows {snapshot.master_name}")]
    if not snapshot.informed_sentinels:
        return [
            Check(
                "master_unknown",
                CRITICAL,
                f"no master named {snapshot.master_name!r} at Sentinel {_listed(ignorant)}",
                "Use a name that `redis_ha.sentinel.topology_info` lists, or ask the Sentinels that watch this master.",
            )
        ]
    return [
        Check(
            "sentinels_disagree",
            CRITICAL,
            f"Sentinel {_listed(ignorant)} knows no master named {snapshot.master_name!r}, the others do",
            "Configure it there (SENTINEL MONITOR), or name only Sentinels that watch this master.",
        )
    ]


def check_sentinels_agree(snapshot: Snapshot) -> list[Check]:
    """All Sentinels name one master, with one configuration epoch."""
    views = snapshot.informed_sentinels
    opinions = {
        (snapshot.identity(view.current) if view.current else None, view.master.config_epoch)
        for view in views
        if view.master
    }
    if len(opinions) <= 1:
        return [Check("sentinels_agree", OK, f"all name {snapshot.master_address}")]
    said = "; ".join(
        f"{view.address} says {view.current} of epoch {view.master.config_epoch}" for view in views if view.master
    )
    return [
        Check(
            "sentinels_disagree",
            CRITICAL,
            f"the Sentinels disagree: {said}",
            "Wait ten seconds and look again with topology_info: a failover that has just ended spreads within seconds. If it stays, one Sentinel is "
            "cut off from the others: mend its network first.",
        )
    ]


def check_tilt(snapshot: Snapshot) -> list[Check]:
    """No Sentinel is in TILT: in it, +OK is answered and then nothing happens for 30 s."""
    tilted = [view.address for view in snapshot.reachable_sentinels if view.tilt]
    if not tilted:
        return [Check("no_tilt", OK, "no Sentinel is in TILT")]
    return [
        Check(
            "tilt",
            CRITICAL,
            f"Sentinel {_listed(tilted)} is in TILT: its clock jumped or it was not run for two seconds",
            "Wait 30 s for it to leave TILT by itself; if it comes back, look for a starved or suspended host.",
        )
    ]


def check_quorum(snapshot: Snapshot) -> list[Check]:
    """Every Sentinel sees quorum and majority (CKQUORUM)."""
    bad = [view for view in snapshot.informed_sentinels if not view.quorum_ok]
    if not bad:
        return [Check("quorum", OK, "every Sentinel sees quorum and majority")]
    return [
        Check(
            "no_quorum",
            CRITICAL,
            "; ".join(f"Sentinel {view.address}: {view.quorum_detail}" for view in bad),
            "Start the Sentinels that are down, or mend the network between them: without a majority the other Sentinels could not heal a failure.",
        )
    ]


def check_replicas_exist(snapshot: Snapshot) -> list[Check]:
    """The master has a replica at all."""
    if any(view.replicas for view in snapshot.informed_sentinels):
        return [Check("has_replica", OK, "there are replicas")]
    return [
        Check(
            "no_replica",
            CRITICAL,
            f"no Sentinel knows a replica of {snapshot.master_name}: there is nothing to promote",
            "Attach a replica (REPLICAOF) and wait until Sentinel lists it, at most ten seconds.",
        )
    ]


def check_failover_permitted(snapshot: Snapshot, leaders: Iterable[SentinelView]) -> list[Check]:
    """Our user may send SENTINEL FAILOVER to at least one Sentinel that could lead."""
    views = list(leaders)
    refused = [view for view in views if view.failover_refused]
    if views and len(refused) == len(views):
        return [
            Check(
                "sentinel_not_permitted",
                CRITICAL,
                "; ".join(
                    f"Sentinel {view.address} refuses SENTINEL FAILOVER: {view.failover_refused}" for view in refused
                ),
                "Give our user +sentinel|failover on the Sentinels (docs/permissions.md).",
            )
        ]
    return [Check("failover_permitted", OK, "SENTINEL FAILOVER is permitted")]


def check_master_node(snapshot: Snapshot) -> list[Check]:
    """The master itself can be asked, is a master, and is fit to be demoted."""
    address = snapshot.master_address
    node = snapshot.node(address)
    if address is None or node is None:
        return []
    if not node.reachable:
        return [access_check("node", address, node.error, node.error_code)]
    checks = []
    replication = node.replication
    if node.role is None or replication is None or not node.is_master:
        following = f" of {node.role.master}" if node.role and node.role.master else ""
        checks.append(
            Check(
                "master_is_replica",
                CRITICAL,
                f"the Sentinels name {address}, but it says it is a replica{following}",
                "Look at it with topology_info. A half-finished failover is finished by running this module again "
                "once the replica that it follows can be asked.",
            )
        )
        return checks
    if node.compatible_version < MINIMUM_SERVER:
        checks.append(
            Check(
                "server_too_old",
                CRITICAL,
                f"{address} runs {'.'.join(map(str, node.version))}, 6.0 is the oldest that can be moved without loss",
                "Upgrade it, or ask for strategy=plain and accept that writes are lost.",
            )
        )
    if replication.failover_state != "no-failover":
        checks.append(
            Check(
                "node_failover_in_progress",
                CRITICAL,
                f"{address} is in a FAILOVER of its own: {replication.failover_state}",
                "Wait for it to end, or end it with FAILOVER ABORT on that node.",
            )
        )
    if node.config.get("replica-read-only", "yes") != "yes":
        checks.append(
            Check(
                "replica_writable",
                CRITICAL,
                f"{address} has replica-read-only no: demoted, it would go on accepting writes that are then thrown away",
                "CONFIG SET replica-read-only yes on it.",
            )
        )
    others = [
        other.address for other in snapshot.nodes if other.is_master and not snapshot.same(other.address, address)
    ]
    if others:
        checks.append(
            Check(
                "two_masters",
                CRITICAL,
                f"the Sentinels name {address}, but {_listed(others)} says it is a master, too",
                "Sentinel demotes a master that it does not name within about 20 s: wait and look again with topology_info. What was written to it is lost.",
            )
        )
    return checks or [Check("master_role", OK, f"{address} is a master")]


def failed_logins(snapshot: Snapshot, logins: Mapping[tuple[Address, Address], str | None]) -> list[Check]:
    """``replication_login`` for each node that could not log in to a node that it may have to follow.

    A replica learns that its ``masterauth`` is wrong only when it has to connect anew.
    """
    failed: dict[Address, dict[Address, str]] = {}
    for (follower, leader), text in logins.items():
        if text:
            failed.setdefault(follower, {})[leader] = text
    return [_login_check(snapshot, follower, texts) for follower, texts in failed.items()]


def _login_check(snapshot: Snapshot, follower: Address, texts: Mapping[Address, str]) -> Check:
    node = snapshot.node(follower)
    part = "the master" if snapshot.same(follower, snapshot.master_address) else "a replica"
    if node is not None and node.master_auth_set is False:
        lacks = "it has no masterauth"
    else:
        lacks = "with its masteruser and masterauth"
    said = "; ".join(f"{leader}: {text}" for leader, text in texts.items())
    return Check(
        "replication_login",
        "critical",
        f"{follower} ({part}) could not follow a new master, {lacks} ({said})",
        "CONFIG SET masterauth (and masteruser) to what a replica needs, on every node, the master too, and CONFIG REWRITE.",
    )


@dataclass(frozen=True)
class Fitness:
    """Whether one replica could be promoted, and why not.

    Attributes:
        address: The replica, as Sentinel shows it.
        priority: Its ``replica-priority`` without our own steering.
        run_id: Its run id, by which Sentinel breaks a tie.
        lag_bytes: How far its applied offset was behind the master's, -1 where it is not known.
        sentinel_objections: What Sentinels have against it, as (code, text).
        own_objections: What we have, as (code, text).
        electable: Whether a Sentinel could choose it: one has nothing against it.
    """

    address: Address
    priority: int
    run_id: str
    lag_bytes: int
    sentinel_objections: tuple[tuple[str, str], ...]
    own_objections: tuple[tuple[str, str], ...]
    electable: bool

    @property
    def fit(self) -> bool:
        return not self.sentinel_objections and not self.own_objections

    @property
    def objections(self) -> tuple[tuple[str, str], ...]:
        return self.sentinel_objections + self.own_objections

    @property
    def why_not(self) -> str:
        return "; ".join(text for _code, text in self.objections)


def plain_priority(priority: int) -> int:
    """A ``replica-priority`` without our steering."""
    return priority - STEERING if priority >= STEERING else priority


def assess_replicas(snapshot: Snapshot, max_lag_bytes: int) -> list[Fitness]:
    """Every replica that a Sentinel knows, in the order in which Sentinel prefers them where their offsets are equal."""
    known: dict[Address, Address] = {}
    for view in snapshot.informed_sentinels:
        for entry in view.replicas:
            known.setdefault(snapshot.identity(entry.address), entry.address)
    known.pop(snapshot.identity(snapshot.master_address), None) if snapshot.master_address else None
    return sorted(
        (_assess(snapshot, address, max_lag_bytes) for address in known.values()),
        key=lambda it: (it.priority, it.run_id.lower()),
    )


def _assess(snapshot: Snapshot, address: Address, max_lag_bytes: int) -> Fitness:
    entries = [
        (view, entry)
        for view in snapshot.informed_sentinels
        for entry in view.replicas
        if snapshot.same(entry.address, address) and view.master is not None
    ]
    node = snapshot.node(address)
    objections = [
        sentinel_objections(view.address, entry, view.master.down_after_ms) for view, entry in entries if view.master
    ]
    by_sentinel: dict[str, str] = {}
    for code, text in (objection for of_one in objections for objection in of_one):
        by_sentinel.setdefault(code, text)
    own, lag_bytes = _own_objections(snapshot, node, max_lag_bytes)
    priority = node.replication.priority if node and node.replication and node.replication.priority >= 0 else None
    return Fitness(
        address=address,
        priority=plain_priority(entries[0][1].priority if priority is None else priority),
        run_id=entries[0][1].run_id,
        lag_bytes=lag_bytes,
        sentinel_objections=tuple(by_sentinel.items()),
        own_objections=tuple((code, text) for code, text in own if code not in by_sentinel),
        electable=not all(objections),
    )


def sentinel_objections(sentinel: Address, entry: ReplicaEntry, down_after_ms: int) -> list[tuple[str, str]]:
    """Why a Sentinel would not choose a replica, as (code, text), of which it shows this (``sentinelSelectSlave``)."""
    objections = []
    if entry.down:
        objections.append(("target_down", f"Sentinel {sentinel} sees it down ({','.join(sorted(entry.flags))})"))
    elif entry.last_ok_ping_ms > SENTINEL_PING_MAX_AGE_MS:
        objections.append(("target_down", f"it has not answered Sentinel {sentinel} for {entry.last_ok_ping_ms} ms"))
    if entry.priority == 0:
        objections.append(("target_never_promoted", "its replica-priority is 0: it is never to be promoted"))
    if not entry.down and entry.info_age_ms > SENTINEL_INFO_MAX_AGE_MS:
        age = "never" if entry.info_age_ms >= NEVER_MS else f"{entry.info_age_ms} ms ago"
        objections.append(("target_stale", f"Sentinel {sentinel} had its last INFO {age}"))
    if entry.link_down_ms > down_after_ms * 10:
        objections.append(("target_link_down", f"its link to the master has been down for {entry.link_down_ms} ms"))
    return objections


def _own_objections(snapshot: Snapshot, node: NodeView | None, max_lag_bytes: int) -> tuple[list[tuple[str, str]], int]:
    if node is None or not node.reachable or node.replication is None:
        # Whether it can be asked matters to the fenced strategy alone, which names it.
        return [], -1
    replication = node.replication
    objections = []
    master = snapshot.node(snapshot.master_address)
    if replication.priority == 0:
        objections.append(("target_never_promoted", "its replica-priority is 0: it is never to be promoted"))
    if replication.is_master:
        return [*objections, ("target_is_master", "it says that it is a master itself")], -1
    if not snapshot.same(replication.master, snapshot.master_address):
        objections.append(("target_chained", f"it follows {replication.master}, not the master"))
    if node.info.get("loading", "0") != "0":
        objections.append(("target_loading", "it is loading its data"))
    if replication.sync_in_progress:
        objections.append(("target_syncing", "it is in the middle of a full synchronisation"))
    elif not replication.link_up and (master is None or master.is_master):
        objections.append(("target_link_down", "its link to the master is down"))
    lag_bytes = -1
    if master is not None and master.replication is not None and master.replication.replid == replication.replid:
        lag_bytes = max(0, master.replication.offset - replication.applied_offset)
        if lag_bytes > max_lag_bytes:
            objections.append(
                ("target_lagging", f"it is {lag_bytes} bytes behind the master, {max_lag_bytes} are allowed")
            )
    return objections, lag_bytes


REPLICA_REMEDIES = {
    "target_down": "Start it, or mend its network, and wait until Sentinel sees it again.",
    "target_never_promoted": "Set its replica-priority to more than 0, or name another target.",
    "target_stale": "Mend the network between Sentinel and this replica.",
    "target_link_down": "Mend its replication: look at masterauth, the network and its log.",
    "target_is_master": "Look at the deployment with topology_info: two nodes say that they are masters.",
    "target_chained": "Let it follow the master directly (Sentinel does so after failover-timeout), or name another target.",
    "target_loading": "Wait until it has loaded its data.",
    "target_syncing": "Wait until its synchronisation has ended.",
    "target_lagging": "Wait until it has caught up, or raise max_lag_bytes.",
}
"""What to do about each objection to a replica."""


def steered_nodes(snapshot: Snapshot) -> dict[Address, int]:
    """Nodes on which an interrupted run left its steering, with the priority to put back."""
    found = {}
    for node in snapshot.nodes:
        value = node.number("replica-priority")
        if value is None and node.replication is not None:
            value = node.replication.priority
        if value is not None and value >= STEERING:
            found[node.address] = value - STEERING
    return found


def fenced_nodes(snapshot: Snapshot) -> dict[Address, tuple[int, int]]:
    """Nodes on which an interrupted run left its fence, with the values of ``min-replicas-to-write`` and ``min-replicas-max-lag`` to put back."""
    found = {}
    for node in snapshot.nodes:
        count, lag = node.number("min-replicas-to-write"), node.number("min-replicas-max-lag")
        if count is not None and lag is not None and count >= FENCE_MIN_REPLICAS:
            found[node.address] = (count - FENCE_MIN_REPLICAS, lag - FENCE_MAX_LAG if lag >= FENCE_MAX_LAG else lag)
    return found


HardCheck = Callable[[Snapshot], "list[Check]"]

SENTINEL_CHECKS: tuple[HardCheck, ...] = (
    check_master_known,
    check_sentinels_agree,
    check_tilt,
    check_quorum,
    check_replicas_exist,
)
"""What every strategy requires of the Sentinels."""
