# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshot -> named checks, each ok, warning or critical, with a reason and a remedy.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import (
    OtherName,
    equal_ids,
    foreign_nodes,
    holds_data,
    is_name,
    other_names,
    own_nodes,
    twins,
    unlisted_replicas,
    written_apart,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    NEVER_MS,
    Address,
    PeerEntry,
    ReplicaEntry,
    Replication,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import (
    NodeView,
    SentinelView,
    Snapshot,
    lag_bytes,
)

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
    "not_permitted": "Give the collection's user the permissions of docs/permissions.md.",
    "clients": "Raise maxclients on it (CONFIG SET maxclients, CONFIG REWRITE), or end connections that nobody needs: a run holds up to {connections} "
    "at a time "
    "to each node.",
    "unreachable": "Start it, or open the way to it; behind NAT or a container network set address_map.",
}

CONNECTIONS_TO_A_NODE = 3
"""For its questions and orders, for its lock, and for a login that is tried."""


def access_check(kind: str, address: Address, error: str, error_code: str) -> Check:
    """The failed check for one server that could not be asked.

    Args:
        kind: ``sentinel`` or ``node``.
        address: Its address.
        error: Why it could not be asked.
        error_code: ``auth``, ``tls``, ``not_permitted``, ``clients`` or ``unreachable``.
    """
    remedy = _UNREACHABLE_REMEDIES.get(error_code, _UNREACHABLE_REMEDIES["unreachable"])
    prefix = "sentinel" if kind == "sentinel" else "redis"
    noun = "Sentinel" if kind == "sentinel" else "node"
    code = error_code if error_code in _UNREACHABLE_REMEDIES else "unreachable"
    return Check(
        f"{kind}_{code}",
        CRITICAL,
        f"{noun} {address}: {error}",
        remedy.format(user=f"{prefix}_username", password=f"{prefix}_password", connections=CONNECTIONS_TO_A_NODE),
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
            "Sentinel forget it (SENTINEL RESET on one Sentinel after the other, at least 30 s apart, never during a failover), or set min_sentinels to "
            "accept that fewer answer.",
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
        Check("sentinels_disagree", CRITICAL, f"the Sentinels disagree: {said}", _why_they_disagree(snapshot, opinions))
    ]


def unresolved(host: str) -> str:
    """What is wrong with a Sentinel that has heard of a master and does not name it, and what to do."""
    return (
        f"its host cannot resolve {host}, or that of a Sentinel which told it. It does not catch up by itself, not even when it can: let it resolve that name, "
        "then SENTINEL REMOVE and SENTINEL MONITOR there, at the address of the others"
    )


def _unheard_name(snapshot: Snapshot) -> Address | None:
    """The master of the others, where a Sentinel of the same epoch names one that is its replica, and cannot have resolved its name."""
    named = [view.current for view in snapshot.informed_sentinels if view.current is not None]
    masters = {address for address in named if (node := snapshot.node(address)) is not None and node.is_master}
    if len(masters) != 1:
        return None
    (master,) = masters
    others = [snapshot.node(address) for address in named if not snapshot.same(address, master)]
    follow = all(
        node is not None and node.role is not None and snapshot.same(node.role.master, master) for node in others
    )
    return master if is_name(master) and follow else None


def _why_they_disagree(snapshot: Snapshot, opinions: set[tuple[Address | None, int]]) -> str:
    entries = [view.master for view in snapshot.informed_sentinels if view.master]
    ids = {entry.run_id for entry in entries}
    if len(ids) == 1 and "" not in ids and len({address for address, _epoch in opinions}) > 1:
        return (
            "It is one server (one run id) under several addresses. If one of them is right only where that Sentinel runs (127.0.0.1, a private network), let "
            "address_map lead it to the address of the others; better, let that Sentinel watch it at the address of the others (SENTINEL REMOVE, SENTINEL "
            "MONITOR there)."
        )
    if len({epoch for _address, epoch in opinions}) == 1:
        if (master := _unheard_name(snapshot)) is not None:
            return f"{master} is the master. Of a Sentinel that names another one, {unresolved(master.host)}."
        return (
            "Sentinels of one epoch never agree by themselves: they were set up with different masters, or two failovers began at once. Find out, "
            "with topology_info, which of these nodes is the master; on each Sentinel that names another one, SENTINEL REMOVE and SENTINEL MONITOR with "
            "the right one."
        )
    return (
        "Wait ten seconds and look again with topology_info: a failover that has just ended spreads within seconds. If it stays, one Sentinel is "
        "cut off from the others: mend its network first."
    )


def check_sentinel_ids(snapshot: Snapshot) -> list[Check]:
    """No two Sentinels have one run id: they would count as one, and each takes the other for itself."""
    found = equal_ids(snapshot)
    if not found:
        return [Check("sentinel_ids", OK, "every Sentinel has a run id of its own")]
    return [
        Check(
            "sentinel_ids",
            CRITICAL,
            "; ".join(
                f"Sentinel {_listed(addresses)} have one run id ({run_id[:8]}...)"
                for run_id, addresses in found.items()
            ),
            "A sentinel.conf was copied. On all but one of them: stop it, take the line `sentinel myid` out of its file, and start it: "
            "it makes up an id of its "
            "own, and the others meet it within seconds.",
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


HELLO_MAX_AGE_MS = 10_000
"""A Sentinel publishes its hello every 2 s on the nodes."""

DOWN_FLAGS = frozenset({"s_down", "o_down", "disconnected"})

CALLED_DOWN = frozenset({"s_down", "o_down"})
"""Without these a link that is ``disconnected`` is only being made anew, as after each failover."""


def check_master_seen(snapshot: Snapshot) -> list[Check]:
    """Every Sentinel reaches the master."""
    views = snapshot.informed_sentinels
    blind = [view for view in views if view.master and view.master.flags & CALLED_DOWN]
    if not blind:
        return [Check("master_seen", OK, "every Sentinel reaches the master")]
    said = "; ".join(
        f"Sentinel {view.address} sees the master {view.master.address} as {_listed(sorted(view.master.flags & DOWN_FLAGS))}"
        for view in blind
        if view.master
    )
    if len(blind) == len(views):
        remedy = (
            "The master is down, or no Sentinel reaches it any more: start it or mend the network. Sentinel itself moves a master that stays down, some "
            "seconds after down-after has passed."
        )
    else:
        remedy = "The others reach it, so this Sentinel is cut off: mend its network, or its auth-user and auth-pass (SENTINEL SET)."
    return [Check("master_seen", CRITICAL, said, remedy)]


def check_quorum(snapshot: Snapshot) -> list[Check]:
    """Every Sentinel sees quorum and majority (CKQUORUM)."""
    bad = [view for view in snapshot.informed_sentinels if not view.quorum_ok]
    if not bad:
        return [Check("quorum", OK, "every Sentinel sees quorum and majority")]
    return [
        Check(
            "no_quorum",
            CRITICAL,
            "; ".join(f"Sentinel {view.address}: {view.quorum_detail}{_quorum_facts(snapshot, view)}" for view in bad),
            " ".join(dict.fromkeys(_why_no_quorum(snapshot, view) for view in bad)),
        )
    ]


def _quorum_facts(snapshot: Snapshot, view: SentinelView) -> str:
    if _sees_master_down_alone(snapshot, view):
        return " (it sees the master down, which others reach)"
    if view.master is not None and view.master.quorum > len(snapshot.sentinels):
        return f" (the quorum is {view.master.quorum}, and there are {len(snapshot.sentinels)} Sentinels)"
    return ""


def _sees_master_down_alone(snapshot: Snapshot, view: SentinelView) -> bool:
    others = [other.master for other in snapshot.informed_sentinels if other is not view and other.master]
    return bool(view.master and view.master.flags & CALLED_DOWN) and any(not it.flags & CALLED_DOWN for it in others)


def _why_no_quorum(snapshot: Snapshot, view: SentinelView) -> str:
    count = len(snapshot.sentinels)
    if _sees_master_down_alone(snapshot, view):
        return (
            f"Sentinel {view.address} alone does not get into the master, and so does not meet the other Sentinels there: look at its auth-user and auth-pass "
            f"(SENTINEL SET {snapshot.master_name} auth-pass), then at its network."
        )
    if view.master is not None and view.master.quorum > count:
        return f"No number of votes reaches that quorum: SENTINEL SET {snapshot.master_name} quorum {count // 2 + 1} on every Sentinel, or add Sentinels."
    return "Start the Sentinels that are down, or mend the network between them: without a majority the other Sentinels could not heal a failure."


def check_sentinels_meet(snapshot: Snapshot) -> list[Check]:
    """Each Sentinel that answers knows, hears and reaches every other that does."""
    checks = []
    for view in snapshot.informed_sentinels:
        for other in snapshot.reachable_sentinels:
            if other is view or other.master is None:
                continue
            entry = _entry_of(snapshot, view, other)
            if entry is None:
                if _is_announced(snapshot, other):
                    checks.append(
                        _meet_check(
                            f"Sentinel {view.address} does not know Sentinel {other.address}",
                            "They meet through the nodes within seconds. If they do not: mend the network between this Sentinel and the nodes, "
                            "and look whether its user may PUBLISH and SUBSCRIBE there.",
                        )
                    )
            elif entry.flags & CALLED_DOWN:
                checks.append(
                    _meet_check(
                        f"Sentinel {view.address} does not reach Sentinel {other.address} ({_listed(sorted(entry.flags & DOWN_FLAGS))}), which answers here",
                        "Mend the network between the two, or their passwords (sentinel-user, sentinel-pass).",
                    )
                )
            elif entry.last_hello_ms > HELLO_MAX_AGE_MS:
                checks.append(
                    _meet_check(
                        f"Sentinel {view.address} has heard no hello of Sentinel {other.address} for {entry.last_hello_ms} ms",
                        f"Sentinel {other.address} sends its hello within seconds if it was started just now. If it stays so, it can send neither to the "
                        "nodes nor to the other Sentinels: mend its network, or what it logs in with (auth-user, auth-pass, sentinel-user, sentinel-pass).",
                    )
                )
    return checks or [Check("sentinels_meet", OK, "each Sentinel knows and reaches the others")]


def _meet_check(detail: str, remedy: str) -> Check:
    return Check("sentinels_apart", CRITICAL, detail, remedy)


def _entry_of(snapshot: Snapshot, view: SentinelView, other: SentinelView) -> PeerEntry | None:
    """The row that ``view`` has of ``other``, by run id, which Redis 6.0 does not tell, or by address."""
    for entry in view.peers:
        if entry.run_id and entry.run_id == other.run_id:
            return entry
    return next((entry for entry in view.peers if snapshot.same(entry.address, other.address)), None)


def _is_announced(snapshot: Snapshot, other: SentinelView) -> bool:
    """Whether the others can be expected to know a Sentinel under this address: it tells its run id, or some other names the address."""
    return bool(other.run_id) or any(
        snapshot.same(entry.address, other.address) for view in snapshot.informed_sentinels for entry in view.peers
    )


_SHOW_IT = (
    "CONFIG SET replica-announced yes and CONFIG REWRITE on one that is to be promoted, and wait until Sentinel lists it, at most ten seconds; one that is "
    "new is listed as soon. A Sentinel promotes replicas that say replica-announced no, but shows them to nobody."
)


def check_other_names(snapshot: Snapshot) -> list[Check]:
    """No Sentinel watches a server of this deployment under another name, or unknown to those that were asked.

    Each name is failed over by itself: the one that was not moved finds its master turned replica, promotes another, and what was written
    meanwhile is thrown away.
    """
    names = other_names(snapshot)
    if not names:
        return [
            Check(
                "other_names", OK, f"nobody is seen to watch its servers under another name than {snapshot.master_name}"
            )
        ]
    known = sorted({other.name for other in names if other.name not in ("", snapshot.master_name)})
    if known:
        name = known[0]
        remedy = (
            f"Lead the applications that ask for {_listed(known)} to {snapshot.master_name}, then SENTINEL REMOVE {name} on each Sentinel that is named, and "
            "run again. As long as both names are watched, every failover of one is undone by the other some 30 to 60 s later, and writes are lost."
        )
        remedy = _finish_first(snapshot) + remedy
    else:
        remedy = (
            "Find out under which name these Sentinels watch it (SENTINEL MASTERS there, or permit the collection's user SUBSCRIBE to __sentinel__:hello on the"
            f" nodes), and let only those that know each other as Sentinels of {snapshot.master_name} go on."
        )
    return [Check("other_names", CRITICAL, "; ".join(_other_names_said(snapshot, names)), remedy)]


def _finish_first(snapshot: Snapshot) -> str:
    """What to do before anything else where a name is still that of a node which is a replica of our master by now."""
    behind = sorted(
        {
            entry.name
            for view in snapshot.reachable_sentinels
            for entry in view.masters
            # One that was set up with a replica's address knows no replicas, and nothing is left to finish.
            if entry.name != snapshot.master_name and entry.known_replicas and _follows_master(snapshot, entry.address)
        }
    )
    if not behind:
        return ""
    return (
        f"First, as a failover has left {_listed(behind)} behind: run this module at once with {_listed(f'master_name={name}' for name in behind)}. It lets "
        "the Sentinels of that name know of the new master, and moves nothing. "
    )


def _follows_master(snapshot: Snapshot, address: Address) -> bool:
    node = snapshot.node(address)
    return node is not None and node.role is not None and snapshot.same(node.role.master, snapshot.master_address)


def _other_names_said(snapshot: Snapshot, names: Iterable[OtherName]) -> list[str]:
    said: dict[tuple[str, Address], list[str]] = {}
    for other in names:
        said.setdefault((other.name, other.server), []).append(other.sentinel)
    texts = []
    for (name, server), sentinels in said.items():
        if name == snapshot.master_name:
            what = f"as {name}, too, and the Sentinels that were asked do not know it"
        else:
            what = f"as {name}" if name else "under a name that could not be read"
        texts.append(f"{server} is watched by Sentinel {_listed(sorted(sentinels))} {what}")
    return texts


def check_foreign_nodes(snapshot: Snapshot) -> list[Check]:
    """Every node in the tables of the Sentinels belongs to this deployment."""
    foreign = foreign_nodes(snapshot)
    if not foreign:
        return [Check("foreign_node", OK, "every node that answers belongs to this deployment")]
    said = []
    for node in foreign:
        replication = node.replication
        if replication is None:
            said.append(f"{node.address} cannot be asked ({node.error}), and follows what is not of this deployment")
            continue
        part = f"follows {replication.master}" if replication.master else "is a master of its own"
        said.append(f"{node.address} {part}, with another history of writes ({replication.replid[:8]}...)")
    master = snapshot.node(snapshot.master_address)
    ours = f", {master.replication.replid[:8]}..." if master is not None and master.replication is not None else ""
    return [
        Check(
            "foreign_node",
            CRITICAL,
            f"in the table of {snapshot.master_name} (master {snapshot.master_address}{ours}) stands what does not belong to it: {'; '.join(said)}",
            "Before anything else: if its data are wanted, let Sentinel forget it now. Sentinel itself makes it a replica of our master, which empties it: a "
            "master some 10 to 20 s after it was entered, a replica after failover-timeout. While no failover is going on and every replica of ours is up and "
            f"attached, SENTINEL RESET {snapshot.master_name} on each Sentinel: it lists anew, within ten seconds, what is attached to the master, and nothing "
            "else. If it is a node of this deployment that was away too long to be told, save what only it has, empty it, and start it as a replica.",
        )
    ]


def check_twins(snapshot: Snapshot) -> list[Check]:
    """No Sentinel takes one server for two."""
    found = twins(snapshot)
    if not found:
        return [Check("one_address", OK, "every server is known at one address")]
    said = dict.fromkeys(f"{_listed(it.addresses)} are one server, and Sentinel takes them for several" for it in found)
    return [
        Check(
            "one_address",
            CRITICAL,
            "; ".join(said),
            "Let it announce one address for good (replica-announce-ip, replica-announce-port; CONFIG REWRITE). Then, while no failover is going on and every "
            f"replica is up and attached, SENTINEL RESET {snapshot.master_name} on one Sentinel after the other, at least 30 s apart: each lists anew what is "
            "attached to the master.",
        )
    ]


def check_hidden_replicas(snapshot: Snapshot, max_lag_bytes: int) -> list[Check]:
    """No replica that Sentinel could promote and does not show is behind: nobody could see it steered away from."""
    behind = [it for it in assess_replicas(snapshot, max_lag_bytes) if it.hidden and it.electable and not it.in_step]
    if not behind:
        return [
            Check(
                "hidden_replica",
                OK,
                "no replica that Sentinel does not show could be promoted without having everything",
            )
        ]
    return [hidden_check(behind, "could be promoted by Sentinel, which does not show it, and does not have everything")]


def hidden_check(replicas: Iterable[Fitness], what: str) -> Check:
    """The failed check for replicas that Sentinel does not show (``replica-announced no``, or new)."""
    listed = list(replicas)
    return Check(
        "hidden_replica",
        CRITICAL,
        "; ".join(f"{it.address} {what}" + (f" ({it.why_not})" if it.why_not else "") for it in listed),
        "One that is new is listed within ten seconds: wait. Else CONFIG SET replica-announced yes on it, and wait until every Sentinel lists it (at most ten "
        "seconds); or CONFIG SET replica-priority 0 on it, and wait as long, so that Sentinel never promotes it. Then run again.",
    )


def check_replicas_exist(snapshot: Snapshot) -> list[Check]:
    """The master has a replica at all."""
    if any(view.replicas for view in snapshot.informed_sentinels):
        return [Check("has_replica", OK, "there are replicas")]
    unlisted = unlisted_replicas(snapshot)
    if unlisted:
        return [
            Check(
                "no_replica",
                CRITICAL,
                f"no Sentinel lists a replica of {snapshot.master_name}; attached to the master, and not shown, is "
                + _listed(node.address for node in unlisted),
                _SHOW_IT,
            )
        ]
    return [
        Check(
            "no_replica",
            CRITICAL,
            f"no Sentinel knows a replica of {snapshot.master_name}: there is nothing to promote",
            "Attach a replica (an empty server, with replicaof in its configuration) and wait until Sentinel lists it, at most ten seconds.",
        )
    ]


def check_failover_permitted(snapshot: Snapshot, leaders: Iterable[SentinelView]) -> list[Check]:
    """The collection's user may send SENTINEL FAILOVER to at least one Sentinel that could lead."""
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
                "Give the collection's user +sentinel|failover on the Sentinels (docs/permissions.md).",
            )
        ]
    return [Check("failover_permitted", OK, "SENTINEL FAILOVER is permitted")]


def expected_mismatch(said: str, expected: Address | None, remedy: str = "") -> Check:
    """Another master is there than the caller expects.

    Args:
        said: Which, for a person.
        expected: What he expects.
        remedy: What else he can do than to look.
    """
    return Check(
        "expected_master_mismatch",
        CRITICAL,
        f"{said}, not {expected} as expected",
        f"Somebody moved it: look at the deployment again before you go on. {remedy}".strip(),
    )


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
                "Upgrade it.",
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
    checks += _second_masters(snapshot, node)
    return checks or [Check("master_role", OK, f"{address} is a master")]


def check_connections(node: NodeView, part: str) -> list[Check]:
    """A node takes the connections that a run needs beside the one over which it was asked; nothing where it does not tell (before 6.2)."""
    limit, used = (node.info.get(name, "") for name in ("maxclients", "connected_clients"))
    if not (limit.isdigit() and used.isdigit()) or int(limit) - int(used) >= CONNECTIONS_TO_A_NODE - 1:
        return []
    left = max(0, int(limit) - int(used))
    return [
        access_check("node", node.address, f"{part} has {left} of {limit} connections left (maxclients)", "clients")
    ]


def _second_masters(snapshot: Snapshot, master: NodeView) -> list[Check]:
    """Another node of this deployment says that it is a master; one of another deployment is ``foreign_node``."""
    checks = []
    for other in own_nodes(snapshot):
        if not other.is_master or other.replication is None or snapshot.same(other.address, master.address):
            continue
        said = f"the Sentinels name {master.address}, but {other.address} says it is a master, too"
        apart = written_apart(master.replication, other.replication)
        if apart == 0:
            said += f"; it is of the same history, and has written nothing since {master.address} took over"
            remedy = "It came back as what it was. Sentinel makes it a replica within about 20 s, and nothing is lost: wait, and look again with topology_info."
        elif apart is not None:
            said += (
                f"; it is of the same history, and {apart} bytes were written to it since {master.address} took over"
            )
            remedy = (
                "It came back, or was cut off. Sentinel makes it a replica within about 20 s, and what only it has is thrown away then: if it may matter, stop "
                "it now and save its data, before anything else."
            )
        elif other.replication.attached or holds_data(other):
            said += "; whether it holds what the other does not cannot be told"
            remedy = (
                "Sentinel makes it a replica within about 20 s, and what only it has is thrown away then: if it may matter, stop it now and save its data, "
                "before anything else. Then look again with topology_info."
            )
        else:
            said += "; it holds no data"
            remedy = (
                "It was started without its role, and holds no data. Sentinel makes it a replica within about 20 s: wait, and look again with "
                "topology_info."
            )
        checks.append(Check("two_masters", CRITICAL, said, remedy))
    return checks


def wanted_replicas(node: NodeView) -> int:
    """``min-replicas-to-write`` without our fence; 0 where it is switched off."""
    count, lag = node.number("min-replicas-to-write") or 0, node.number("min-replicas-max-lag") or 0
    if count >= FENCE_MIN_REPLICAS:
        count, lag = count - FENCE_MIN_REPLICAS, lag - FENCE_MAX_LAG if lag >= FENCE_MAX_LAG else lag
    return count if lag > 0 else 0


def good_replicas(node: NodeView) -> int | None:
    value = node.info.get("min_slaves_good_slaves", "")
    return int(value) if value.isdigit() else None


def refuses_writes(master: NodeView, good: int, wanted: int) -> Check:
    return Check(
        "min_replicas",
        CRITICAL,
        f"the master {master.address} refuses writes: {good} of the {wanted} replicas that min-replicas-to-write demands are in step",
        "Mend or attach replicas, or CONFIG SET min-replicas-to-write to what can be met.",
    )


def check_writes_after(snapshot: Snapshot, target: Address) -> list[Check]:
    """The master takes writes, and the replica to promote will: each has as many replicas as its ``min-replicas-to-write`` demands."""
    checks = []
    master = snapshot.node(snapshot.master_address)
    if master is not None and master.reachable:
        good, wanted = good_replicas(master), wanted_replicas(master)
        if good is not None and good < wanted:
            checks.append(refuses_writes(master, good, wanted))
    short = too_few_after(snapshot, target)
    return [*checks, would_refuse_writes([short])] if short else checks


def too_few_after(snapshot: Snapshot, promoted: Address) -> str:
    """How many replicas a node would lack for its ``min-replicas-to-write`` once it is promoted; empty where it would have enough."""
    node = snapshot.node(promoted)
    if node is None or not node.reachable:
        return ""
    wanted, followers = wanted_replicas(node), len(followers_after(snapshot, node))
    return f"{node.address} demands {wanted} and would have {followers}" if followers < wanted else ""


def followers_after(snapshot: Snapshot, promoted: NodeView) -> list[NodeView]:
    """Who would follow a replica once it is promoted: the master, and every replica whose link is up."""
    return [
        other
        for other in own_nodes(snapshot)
        if other is not promoted
        and other.reachable
        and (other.is_master or (other.replication is not None and other.replication.link_up))
    ]


def would_refuse_writes(short: Iterable[str]) -> Check:
    """The failed check for replicas whose own ``min-replicas-to-write`` could not be met."""
    return Check(
        "min_replicas",
        CRITICAL,
        f"once promoted it would refuse writes, its min-replicas-to-write cannot be met: {'; '.join(short)}",
        "Mend or attach replicas, or CONFIG SET min-replicas-to-write to what can be met on every node, and CONFIG REWRITE.",
    )


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
    without = node is not None and node.master_auth_set is False
    lacks = "it has no masterauth" if without else "with its masteruser and masterauth"
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
        hidden: Whether no Sentinel shows it, though the master does: it can be chosen, and not by us.
    """

    address: Address
    priority: int
    run_id: str
    lag_bytes: int
    sentinel_objections: tuple[tuple[str, str], ...]
    own_objections: tuple[tuple[str, str], ...]
    electable: bool
    hidden: bool = False

    @property
    def fit(self) -> bool:
        """Whether it may be the replica to promote."""
        return self.in_step and not self.hidden

    @property
    def in_step(self) -> bool:
        """Whether it has what the master has, or will have it in a moment."""
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
    """Every replica of this deployment that a Sentinel knows, in the order in which Sentinel prefers them where their offsets are equal."""
    foreign = {snapshot.identity(node.address) for node in foreign_nodes(snapshot)}
    known: dict[Address, Address] = {}
    for view in snapshot.informed_sentinels:
        for entry in view.replicas:
            known.setdefault(snapshot.identity(entry.address), entry.address)
    if snapshot.master_address is not None:
        foreign.add(snapshot.identity(snapshot.master_address))
    listed = [
        _assess(snapshot, address, max_lag_bytes) for identity, address in known.items() if identity not in foreign
    ]
    hidden = [_assess_hidden(snapshot, node, max_lag_bytes) for node in unlisted_replicas(snapshot)]
    return sorted([*listed, *hidden], key=lambda it: (it.priority, it.run_id.lower()))


def _assess_hidden(snapshot: Snapshot, node: NodeView, max_lag_bytes: int) -> Fitness:
    own, lag_bytes = _own_objections(snapshot, node, max_lag_bytes)
    if not node.reachable:
        own = [("target_down", f"it cannot be asked: {node.error}")]
    priority = node.replication.priority if node.replication is not None and node.replication.priority >= 0 else 1
    return Fitness(
        address=node.address,
        priority=plain_priority(priority),
        run_id=node.run_id,
        lag_bytes=lag_bytes,
        sentinel_objections=(),
        own_objections=tuple(own),
        electable=priority != 0,
        hidden=True,
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
    if replication.priority == 0:
        objections.append(("target_never_promoted", "its replica-priority is 0: it is never to be promoted"))
    if replication.is_master:
        return [*objections, ("target_is_master", "it says that it is a master itself")], -1
    if not snapshot.same(replication.master, snapshot.master_address):
        objections.append(("target_chained", f"it follows {replication.master}, not the master"))
    if node.info.get("loading", "0") != "0":
        objections.append(("target_loading", "it is loading its data"))
    objections += _link_objections(replication, snapshot.node(snapshot.master_address))
    behind_bytes = lag_bytes(snapshot, replication)
    if behind_bytes is not None and behind_bytes > max_lag_bytes:
        objections.append(
            ("target_lagging", f"it is {behind_bytes} bytes behind the master, {max_lag_bytes} are allowed")
        )
    return objections, -1 if behind_bytes is None else behind_bytes


def _link_objections(replication: Replication, master: NodeView | None) -> list[tuple[str, str]]:
    if replication.sync_in_progress:
        return [("target_syncing", "it is in the middle of a full synchronisation")]
    if not replication.link_up and (master is None or master.is_master):
        return [("target_link_down", "its link to the master is down")]
    return []


RENAMED_REMEDY = (
    "These commands are renamed or disabled on it (rename-command). Renamed: say their new names in renamed_commands, and see that "
    "each Sentinel knows them, too "
    "(sentinel rename-command). Disabled: bring them back; without them nobody changes the role of this node."
)
"""What to do where a server does not know commands that a move needs."""

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
    for node in own_nodes(snapshot):
        value = node.number("replica-priority")
        if value is None and node.replication is not None:
            value = node.replication.priority
        if value is not None and value >= STEERING:
            found[node.address] = value - STEERING
    return found


def fenced_nodes(snapshot: Snapshot) -> dict[Address, tuple[int, int]]:
    """Nodes on which an interrupted run left its fence, with the values of ``min-replicas-to-write`` and ``min-replicas-max-lag`` to put back."""
    found = {}
    for node in own_nodes(snapshot):
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

MOVE_CHECKS: tuple[HardCheck, ...] = (check_sentinel_ids, check_other_names, check_foreign_nodes, check_twins)
"""What every strategy requires before it moves anything."""

LOSSLESS_CHECKS: tuple[HardCheck, ...] = (check_master_seen, check_sentinels_meet)
"""What is required besides, unless the master is down or the caller accepts a loss."""
