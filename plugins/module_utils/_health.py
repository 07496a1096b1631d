# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``health_info`` checks: a snapshot, the evidence gathered with it and an earlier snapshot -> named checks.

Pure. Each function is one check of docs/checks.md and gives it one name, whatever its status, so that a role can waive it by
name. What a server does not let anyone see is ``ok`` and says so: a check never fails for lack of knowledge. This module is private to
the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    CRITICAL,
    FENCE_MAX_LAG,
    FENCE_MIN_REPLICAS,
    OK,
    REPLICA_REMEDIES,
    WARNING,
    Check,
    Fitness,
    access_check,
    assess_replicas,
    check_master_known,
    check_master_node,
    check_quorum,
    check_replicas_exist,
    check_sentinels_agree,
    check_sentinels_reachable,
    check_tilt,
    fenced_nodes,
    plain_priority,
    steered_nodes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import (
    OLD_MASTER_COMMANDS,
    PAUSE_COMMANDS,
    SETTING_COMMANDS,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._probes import Evidence
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    NEVER_MS,
    Address,
    PeerEntry,
    ReplicaEntry,
    parse_address,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import NodeView, SentinelView, Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._views import lag_bytes

BEFORE = "before"
AFTER = "after"

UNKNOWN = "not known: "
"""How the detail of a check begins where no server tells."""

HELLO_MAX_AGE_MS = 10_000
"""Sentinels greet each other every 2 s through the nodes."""

LEAST_DOWN_AFTER_MS = 2_000
"""Writes may stand still for half of down-after: below this, that is less than the second which ``catch_up_timeout`` allows by default."""

RECONNECT_S = 2.0
"""How long it takes until a replica, or as many as parallel-syncs allows, has been led to the new master."""

FIRST_WITH_SAVE_ERRORS = (7, 0, 0)
"""Older Sentinels say that they saved their configuration whether they did or not."""

HARMLESS_MODULES = frozenset(
    {"vectorset", "lua", "rejson", "json", "bf", "search", "searchlight", "timeseries", "ldap"}
)
"""Modules, in lower case, that write only when a client's command tells them to."""

_DOWN = frozenset({"s_down", "o_down", "disconnected"})

RESET = "SENTINEL RESET on one Sentinel after the other, at least 30 s apart, never during a failover"


@dataclass(frozen=True)
class Thresholds:
    """Where good ends: the options of ``health_info``."""

    min_sentinels: int | None = None
    min_fit_replicas: int = 1
    max_lag_bytes: int = 10 * 1024 * 1024
    max_info_age_s: float = 30.0
    max_link_silence_s: float = 30.0


@dataclass(frozen=True)
class NodeBefore:
    """What the baseline says of one node."""

    address: Address
    reachable: bool
    run_id: str
    priority: int | None
    replid: str
    offset: int | None
    full_resyncs: int | None
    partial_resyncs: int | None


@dataclass(frozen=True)
class Baseline:
    """An earlier snapshot, as ``health_info`` returned it, for what only comparing tells."""

    master: Address | None
    config_epoch: int
    nodes: tuple[NodeBefore, ...]
    tilt_totals: Mapping[Address, int]


def parse_baseline(data: Mapping[str, Any]) -> Baseline:
    """Read a ``snapshot`` that ``health_info`` returned.

    Raises:
        ValueError: It is none; the message says why.
    """
    try:
        nodes = tuple(_parse_node(node) for node in data["nodes"])
        sentinels = list(data["sentinels"])
        epochs = [int(view["config_epoch"]) for view in sentinels if view["config_epoch"] is not None]
        totals = {
            parse_address(view["address"]): int(view["tilt_total"])
            for view in sentinels
            if view["tilt_total"] is not None
        }
        master = parse_address(data["master"]) if data["master"] else None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a snapshot that health_info returned ({type(error).__name__}: {error})") from error
    return Baseline(master, max(epochs, default=0), nodes, totals)


def _parse_node(data: Mapping[str, Any]) -> NodeBefore:
    replication = data["replication"] or {}
    return NodeBefore(
        address=parse_address(data["address"]),
        reachable=not data["error"],
        run_id=data["run_id"] or "",
        priority=_optional_int(replication.get("priority")),
        replid=replication.get("replid") or "",
        offset=_optional_int(replication.get("offset")),
        full_resyncs=_optional_int(data["full_resyncs"]),
        partial_resyncs=_optional_int(data["partial_resyncs"]),
    )


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


@dataclass(frozen=True)
class Situation:
    """All that a check may look at."""

    snapshot: Snapshot
    evidence: Evidence = field(default_factory=Evidence)
    thresholds: Thresholds = field(default_factory=Thresholds)
    baseline: Baseline | None = None

    @property
    def master(self) -> NodeView | None:
        """The node that all Sentinels name, if it can be asked."""
        return self._asked(self.snapshot.master_address)

    @property
    def nodes(self) -> tuple[NodeView, ...]:
        """The nodes that can be asked."""
        return tuple(node for node in self.snapshot.nodes if node.reachable)

    @property
    def failover_leaders(self) -> list[SentinelView]:
        """Sentinels that lead a failover now."""
        return [view for view in self.snapshot.informed_sentinels if view.master and view.master.failover_in_progress]

    @property
    def old_master(self) -> Address | None:
        """The master of the baseline, spelled as it is now, if another node is master now."""
        before = self.baseline.master if self.baseline else None
        if before is None or self.snapshot.same(before, self.snapshot.master_address):
            return None
        node = self.snapshot.node(before)
        return node.address if node else before

    def before(self, address: Address) -> NodeBefore | None:
        """What the baseline says of a node."""
        nodes = self.baseline.nodes if self.baseline else ()
        return next((node for node in nodes if self.snapshot.same(node.address, address)), None)

    def _asked(self, address: Address | None) -> NodeView | None:
        node = self.snapshot.node(address)
        return node if node is not None and node.reachable else None


CheckFunction = Callable[[Situation], "list[Check]"]


def examine(situation: Situation, phase: str) -> list[Check]:
    """Every check of a phase, ``before`` or ``after``."""
    if phase == AFTER:
        return [check for function in AFTER_CHECKS for check in function(situation)]
    checks = [check for function in BEFORE_CHECKS for check in function(situation)]
    if situation.failover_leaders:
        # The module joins it; what a failover disturbs while it goes on is no reason to refuse.
        return [_softened(check) for check in checks]
    return checks


def is_healthy(checks: Iterable[Check]) -> bool:
    """Whether none of them is critical."""
    return all(check.status != CRITICAL for check in checks)


def may_pass(checks: Iterable[Check]) -> bool:
    """Whether something is wrong that may right itself within seconds: a Sentinel connects anew after a failover, a replica is about to follow."""
    return any(check.status != OK and check.name in PASSING for check in checks)


def _softened(check: Check) -> Check:
    if check.status == CRITICAL and check.name in DISTURBED:
        return replace(check, status=WARNING, detail=f"{check.detail} (a failover is in progress)")
    return check


def _named(name: str, checks: Iterable[Check], ok: str = "") -> list[Check]:
    """Checks of the failover, under the one name that they have here; those that are ok as one."""
    checks = list(checks)
    wrong = [replace(check, name=name) for check in checks if check.status != OK]
    if wrong or not checks:
        return wrong
    return [Check(name, OK, ok or "; ".join(check.detail for check in checks))]


def _listed(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# ---- Sentinels -------------------------------------------------------------------------------------------------------


def check_reachable(s: Situation) -> list[Check]:
    """``sentinels_reachable``: every Sentinel that is known answers, or as many as the caller demands."""
    return _named("sentinels_reachable", check_sentinels_reachable(s.snapshot, s.thresholds.min_sentinels))


def check_agree(s: Situation) -> list[Check]:
    """``sentinels_agree``: all Sentinels know this master, and name one address with one configuration epoch."""
    ignorant = [check for check in check_master_known(s.snapshot) if check.status != OK]
    epochs = {view.master.config_epoch for view in s.snapshot.informed_sentinels if view.master}
    return _named(
        "sentinels_agree",
        [*ignorant, *check_sentinels_agree(s.snapshot)],
        f"all name {s.snapshot.master_address}, configuration epoch {_listed(sorted(epochs))}",
    )


def check_master_seen(s: Situation) -> list[Check]:
    """``master_seen``: every Sentinel reaches the master."""
    views = s.snapshot.informed_sentinels
    blind = [view for view in views if view.master and view.master.flags & _DOWN]
    if not blind:
        return [Check("master_seen", OK, "every Sentinel reaches the master")]
    said = "; ".join(
        f"Sentinel {view.address} sees the master {view.master.address} as {_listed(sorted(view.master.flags & _DOWN))}"
        for view in blind
        if view.master
    )
    if len(blind) == len(views):
        remedy = (
            "The master is down, or no Sentinel reaches it any more: start it or mend the network. A master that stays down is moved by Sentinel itself, "
            "or by strategy=plain."
        )
    else:
        remedy = "The others reach it, so this Sentinel is cut off: mend its network, or its auth-user and auth-pass (SENTINEL SET)."
    return [Check("master_seen", CRITICAL, said, remedy)]


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
            differing.append(f"{label} is " + _listed(f"{value} at {address}" for address, value in values.items()))
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
    return _named("quorum", check_quorum(s.snapshot))


def check_known_sentinels(s: Situation) -> list[Check]:
    """``known_sentinels``: each Sentinel knows, hears and reaches every other, and none that is gone."""
    checks = []
    for view in s.snapshot.informed_sentinels:
        for other in s.snapshot.reachable_sentinels:
            if other is view or other.master is None:
                continue
            entry = _entry_of(s.snapshot, view, other)
            if entry is None:
                if _is_announced(s.snapshot, other):
                    checks.append(
                        _peer_check(
                            f"Sentinel {view.address} does not know Sentinel {other.address}",
                            "They meet through the nodes within seconds. If they do not: mend the network between this Sentinel and the nodes, "
                            "and look whether its user may PUBLISH and SUBSCRIBE there.",
                        )
                    )
            elif entry.down:
                checks.append(
                    _peer_check(
                        f"Sentinel {view.address} does not reach Sentinel {other.address} ({_listed(sorted(entry.flags & _DOWN))}), which answers here",
                        "Mend the network between the two, or their passwords (sentinel-user, sentinel-pass).",
                    )
                )
            elif entry.last_hello_ms > HELLO_MAX_AGE_MS:
                checks.append(
                    _peer_check(
                        f"Sentinel {view.address} has not been greeted by Sentinel {other.address} for {entry.last_hello_ms} ms",
                        f"Sentinel {other.address} is cut off from the nodes, or its user may not PUBLISH there: mend its network, or its auth-user and "
                        "auth-pass.",
                    )
                )
    checks += _dead_peers(s.snapshot)
    known = len(s.snapshot.reachable_sentinels)
    return checks or [Check("known_sentinels", OK, f"{_count(known, 'Sentinel')}, each knows and reaches the others")]


def _peer_check(detail: str, remedy: str) -> Check:
    return Check("known_sentinels", CRITICAL, detail, remedy)


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
    said = _listed(f"{address} (silent for {silence // 1000} s)" for address, silence in sorted(silent_ms.items()))
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
    now = _named("no_tilt", check_tilt(s.snapshot))
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
            f"Sentinel {_listed(again)} has been in TILT since the baseline",
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
        text = f"{UNKNOWN}before Redis 7.0 a Sentinel says OK whether it could save or not ({_listed(silent)})"
        return [Check("sentinel_config_writable", OK, text)]
    return [Check("sentinel_config_writable", OK, "every Sentinel saved its configuration")]


def check_sentinel_permissions(s: Situation) -> list[Check]:
    """``sentinel_permissions``: our user may send SENTINEL FAILOVER."""
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
            "Give our user +sentinel|failover on the Sentinels (docs/permissions.md).",
        )
    ]


# ---- what Sentinels know of the nodes --------------------------------------------------------------------------------


def check_known_replicas(s: Situation) -> list[Check]:
    """``known_replicas``: the Sentinels list the same replicas, none that is gone, and every one that is there."""
    snapshot = s.snapshot
    entries = _replica_entries(snapshot)
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
                    f"Sentinel {_listed(missing)} does not know replica {shown}, others do",
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
    checks += _twins(entries)
    checks += _unlisted(s, entries)
    count = sum(not snapshot.same(identity, snapshot.master_address) for identity in entries)
    return checks or [Check("known_replicas", OK, f"every Sentinel lists the same {_count(count, 'replica')}")]


def _replica_entries(snapshot: Snapshot) -> dict[Address, dict[Address, ReplicaEntry]]:
    """Each replica's rows, by its identity and by Sentinel."""
    entries: dict[Address, dict[Address, ReplicaEntry]] = {}
    for view in snapshot.informed_sentinels:
        for entry in view.replicas:
            entries.setdefault(snapshot.identity(entry.address), {})[view.address] = entry
    return entries


def _twins(entries: Mapping[Address, Mapping[Address, ReplicaEntry]]) -> list[Check]:
    names: dict[str, set[Address]] = {}
    for identity, rows in entries.items():
        for entry in rows.values():
            if entry.run_id:
                names.setdefault(entry.run_id, set()).add(identity)
    return [
        Check(
            "known_replicas",
            WARNING,
            f"one server is known as two replicas: {_listed(sorted(addresses))}",
            "Let it announce one address (replica-announce-ip, replica-announce-port), then let the Sentinels forget the other: "
            + RESET
            + ".",
        )
        for addresses in names.values()
        if len(addresses) > 1
    ]


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


# ---- the master and its replicas, before -----------------------------------------------------------------------------


def check_master_role(s: Situation) -> list[Check]:
    """``master_role``: the master itself says that it is one, alone, and is fit to be demoted."""
    return _named("master_role", check_master_node(s.snapshot))


@dataclass(frozen=True)
class ReplicaHealth:
    """One replica: why it could not be promoted, and what would be worse after it was.

    Attributes:
        fitness: What the failover itself thinks of it.
        objections: Why it is not fit, as (code, text).
        reservations: What to know about it though it is fit, as (code, text).
        info_age_ms: The age of the oldest INFO that a Sentinel has of it.
    """

    fitness: Fitness
    objections: tuple[tuple[str, str], ...]
    reservations: tuple[tuple[str, str], ...]
    info_age_ms: int

    @property
    def address(self) -> Address:
        return self.fitness.address

    @property
    def fit(self) -> bool:
        return not self.objections

    def as_check(self) -> Check:
        if self.objections:
            reasons = self.objections + self.reservations
            return self._check(WARNING, f"replica {self.address} is not fit: {_texts(reasons)}", reasons)
        if self.reservations:
            return self._check(
                WARNING, f"replica {self.address} is fit, but: {_texts(self.reservations)}", self.reservations
            )
        lag = "lag not known" if self.fitness.lag_bytes < 0 else f"{self.fitness.lag_bytes} bytes behind"
        facts = f"link up, {lag}, priority {self.fitness.priority}, seen by Sentinel {self.info_age_ms} ms ago or less"
        return Check("replica", OK, f"replica {self.address} is fit: {facts}")

    def _check(self, status: str, detail: str, reasons: Sequence[tuple[str, str]]) -> Check:
        remedies = dict.fromkeys(_replica_remedy(self.address, code) for code, _text in reasons)
        return Check("replica", status, detail, " ".join(remedies))


def _texts(reasons: Iterable[tuple[str, str]]) -> str:
    return "; ".join(text for _code, text in reasons)


_HEALTH_REMEDIES = {
    "target_silent": "Look at the network between it and the master, and at the master's load.",
    "target_paused": "CLIENT UNPAUSE on it, or wait until the pause ends by itself: as long as it lasts the replica applies nothing.",
    "target_too_small": "Raise its maxmemory to at least the master's.",
    "less_memory": "Set its maxmemory to the master's.",
    "older_version": "Upgrade it first, or promote another one: replicas are upgraded before their master.",
    "newer_version": "Right while upgrading. Upgrade the others soon: they may be unable to read a full synchronisation of a newer version.",
    "writable": "CONFIG SET replica-read-only yes on it, and see that nobody wrote to it.",
    "unannounced": "CONFIG SET replica-announced yes on it, or set its replica-priority to 0.",
    "full_resync": "Raise repl-backlog-size on every node; a full synchronisation loses nothing, but takes time and memory.",
}


def _replica_remedy(address: Address, code: str) -> str:
    if code.startswith("node_"):
        return access_check("node", address, "", code[len("node_") :]).remedy
    return _HEALTH_REMEDIES.get(code) or REPLICA_REMEDIES.get(code, "")


def assess(s: Situation) -> list[ReplicaHealth]:
    """Every replica that a Sentinel lists."""
    return [_assess(s, fitness) for fitness in assess_replicas(s.snapshot, s.thresholds.max_lag_bytes)]


def _assess(s: Situation, fitness: Fitness) -> ReplicaHealth:
    node = s.snapshot.node(fitness.address)
    rows = _replica_entries(s.snapshot).get(s.snapshot.identity(fitness.address), {})
    age_ms = max((entry.info_age_ms for entry in rows.values()), default=NEVER_MS)
    objections = list(fitness.objections)
    codes = {code for code, _text in objections}
    if age_ms > s.thresholds.max_info_age_s * 1000 and not codes & {"target_stale", "target_down"}:
        age = "never" if age_ms >= NEVER_MS else f"{age_ms} ms ago"
        objections.append(("target_stale", f"a Sentinel had its last INFO {age}"))
    reservations: list[tuple[str, str]] = []
    if any(not entry.announced for entry in rows.values()):
        reservations.append(("unannounced", "it says replica-announced no: applications do not see it"))
    if node is None or not node.reachable:
        error, code = (node.error, node.error_code) if node else ("nobody asked it", "unreachable")
        objections.append((f"node_{code}", f"it cannot be asked: {error}"))
    else:
        objections += _own_objections(s, node)
        reservations += _reservations(s, node)
    return ReplicaHealth(fitness, tuple(objections), tuple(reservations), age_ms)


def _own_objections(s: Situation, node: NodeView) -> list[tuple[str, str]]:
    objections = []
    held = s.evidence.held.get(node.address)
    if held:
        objections.append(("target_paused", f"writes are held on it: {held}"))
    silence_s = int(node.info.get("master_last_io_seconds_ago", "-1"))
    if silence_s > s.thresholds.max_link_silence_s:
        objections.append(("target_silent", f"it has heard nothing from the master for {silence_s} s"))
    limit, used = node.number("maxmemory"), _used_memory(s.master)
    if limit and used is not None and limit < used:
        objections.append(
            (
                "target_too_small",
                f"its maxmemory is {limit} bytes, and the master uses {used}: it would evict or refuse",
            )
        )
    return objections


def _used_memory(master: NodeView | None) -> int | None:
    value = master.info.get("used_memory", "") if master else ""
    return int(value) if value.isdigit() else None


def _reservations(s: Situation, node: NodeView) -> list[tuple[str, str]]:
    master, replication = s.master, node.replication
    reservations = []
    if replication is not None and not replication.is_master and not replication.read_only:
        reservations.append(("writable", "it says replica-read-only no: it may hold what the master does not"))
    if master is None:
        return reservations
    ours, theirs = _comparable_versions(node, master)
    if ours != theirs:
        code = "older_version" if ours < theirs else "newer_version"
        reservations.append(
            (
                code,
                f"it runs {node.product} {_dotted(node.version)}, the master {master.product} {_dotted(master.version)}",
            )
        )
    limit, masters_limit = node.number("maxmemory"), master.number("maxmemory")
    if limit and masters_limit is not None and (masters_limit == 0 or limit < masters_limit):
        reservations.append(
            ("less_memory", f"its maxmemory is {limit} bytes, the master's is {masters_limit or 'not limited'}")
        )
    reservations += _backlog_reservations(s, node, master)
    return reservations


def _comparable_versions(one: NodeView, other: NodeView) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Without the patch level, which changes nothing that nodes send each other."""
    if one.product == other.product:
        return one.version[:2], other.version[:2]
    return one.compatible_version[:2], other.compatible_version[:2]


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _backlog_reservations(s: Situation, node: NodeView, master: NodeView) -> list[tuple[str, str]]:
    """Whether the others could go on from the offset that they have, once this replica is the master."""
    replication = node.replication
    if replication is None or replication.is_master or not replication.link_up:
        return []
    if not replication.backlog_active:
        return [("full_resync", "it keeps no backlog: the others would need a full synchronisation with it")]
    too_old = [
        other.address
        for other in s.nodes
        if other.replication is not None
        and other is not node
        and not other.is_master
        and other.replication.link_up
        and other.replication.replid == replication.replid
        and other.replication.applied_offset + 1 < replication.backlog_first_offset
    ]
    reservations = []
    if too_old:
        reservations.append(
            (
                "full_resync",
                f"its backlog begins at offset {replication.backlog_first_offset}, after what {_listed(too_old)} has: a full synchronisation with it",
            )
        )
    rate = s.evidence.write_rate_bytes_s
    followers = len(s.nodes) - 2
    at_once = min((view.master.parallel_syncs for view in s.snapshot.informed_sentinels if view.master), default=1)
    needed = int((rate or 0) * RECONNECT_S * (1 + -(-followers // max(1, at_once))))
    if replication.backlog_size and needed > replication.backlog_size:
        reservations.append(
            (
                "full_resync",
                f"its backlog holds {replication.backlog_size} bytes, and {needed} may be written until the last replica follows ({rate:.0f} bytes/s now)",
            )
        )
    return reservations


def check_replicas(s: Situation) -> list[Check]:
    """``replica``, one for each: whether it is fit to be promoted, and why not; and ``fit_replicas``: whether there are enough."""
    nobody = [check for check in check_replicas_exist(s.snapshot) if check.status != OK]
    if nobody:
        return _named("fit_replicas", nobody)
    replicas = assess(s)
    fit = sum(replica.fit for replica in replicas)
    wanted = s.thresholds.min_fit_replicas
    if fit >= wanted:
        enough = Check(
            "fit_replicas", OK, f"{fit} of {_count(len(replicas), 'replica')} {'is' if fit == 1 else 'are'} fit"
        )
    else:
        unfit = [replica for replica in replicas if not replica.fit]
        reasons = "; ".join(f"{replica.address}: {_texts(replica.objections)}" for replica in unfit)
        remedies = dict.fromkeys(
            _replica_remedy(replica.address, code) for replica in unfit for code, _text in replica.objections
        )
        enough = Check(
            "fit_replicas",
            CRITICAL,
            f"{fit} of {_count(len(replicas), 'replica')} {'is' if fit == 1 else 'are'} fit, {wanted} {'is' if wanted == 1 else 'are'} wanted"
            + (f" ({reasons})" if reasons else ""),
            " ".join(remedies) or "Attach more replicas, or lower min_fit_replicas.",
        )
    return [enough, *(replica.as_check() for replica in replicas)]


def check_logins(s: Situation) -> list[Check]:
    """``replication_login``: the old master, and every other replica, can log in to each replica that may be promoted."""
    logins = s.evidence.logins
    failed: dict[Address, dict[Address, str]] = {}
    for (follower, leader), text in logins.items():
        if text:
            failed.setdefault(follower, {})[leader] = text
    if failed:
        return [_login_check(s, follower, texts) for follower, texts in failed.items()]
    unknown = sorted({follower for (follower, _leader), text in logins.items() if text is None})
    if unknown or not logins:
        reason = f"masterauth of {_listed(unknown)} cannot be read or tried" if unknown else "no replica could be asked"
        return [Check("replication_login", OK, UNKNOWN + reason)]
    return [Check("replication_login", OK, "every node can log in, as a replica, to each replica that may be promoted")]


def _login_check(s: Situation, follower: Address, texts: Mapping[Address, str]) -> Check:
    node = s.snapshot.node(follower)
    part = "the master" if s.snapshot.same(follower, s.snapshot.master_address) else "a replica"
    if node is not None and node.master_auth_set is False:
        lacks = "it has no masterauth"
    else:
        lacks = "with its masteruser and masterauth"
    said = "; ".join(f"{leader}: {text}" for leader, text in texts.items())
    return Check(
        "replication_login",
        CRITICAL,
        f"{follower} ({part}) could not follow a new master, {lacks} ({said})",
        "CONFIG SET masterauth (and masteruser) to what a replica needs, on every node, the master too, and CONFIG REWRITE.",
    )


def check_min_replicas_before(s: Situation) -> list[Check]:
    """``min_replicas``: the replica that is promoted will have as many replicas as its ``min-replicas-to-write`` demands."""
    checks = []
    master = s.master
    if master is not None and _wanted_replicas(master):
        good, wanted = _good_replicas(master), _wanted_replicas(master)
        if good is not None and good < wanted:
            checks.append(_refuses_writes(master, good, wanted))
    short = []
    candidates = [replica for replica in assess(s) if replica.fitness.electable]
    for replica in candidates:
        node = s.snapshot.node(replica.address)
        if node is None or not node.reachable:
            continue
        wanted = _wanted_replicas(node)
        followers = [
            other
            for other in s.nodes
            if other is not node and (other.is_master or (other.replication is not None and other.replication.link_up))
        ]
        if len(followers) < wanted:
            short.append(f"{node.address} demands {wanted} and would have {len(followers)}")
    if short:
        checks.append(
            Check(
                "min_replicas",
                CRITICAL if len(short) == len(candidates) else WARNING,
                f"once promoted it would refuse writes, its min-replicas-to-write cannot be met: {'; '.join(short)}",
                "Mend or attach replicas, or CONFIG SET min-replicas-to-write to what can be met on every node, and CONFIG REWRITE.",
            )
        )
    return checks or [Check("min_replicas", OK, "min-replicas-to-write is met, and can be met after a move")]


def _wanted_replicas(node: NodeView) -> int:
    """``min-replicas-to-write`` without our fence; 0 where it is switched off."""
    count, lag = node.number("min-replicas-to-write") or 0, node.number("min-replicas-max-lag") or 0
    if count >= FENCE_MIN_REPLICAS:
        count, lag = count - FENCE_MIN_REPLICAS, lag - FENCE_MAX_LAG if lag >= FENCE_MAX_LAG else lag
    return count if lag > 0 else 0


def _good_replicas(node: NodeView) -> int | None:
    value = node.info.get("min_slaves_good_slaves", "")
    return int(value) if value.isdigit() else None


def _refuses_writes(master: NodeView, good: int, wanted: int) -> Check:
    return Check(
        "min_replicas",
        CRITICAL,
        f"the master {master.address} refuses writes: {good} of the {wanted} replicas that min-replicas-to-write demands are in step",
        "Mend or attach replicas, or CONFIG SET min-replicas-to-write to what can be met.",
    )


# ---- permissions, modules, settings ----------------------------------------------------------------------------------


def check_node_permissions(s: Situation) -> list[Check]:
    """``node_permissions``: our user may send to the nodes what a failover without loss needs."""
    checks = []
    for node in s.nodes:
        is_master = s.snapshot.same(node.address, s.snapshot.master_address)
        fence = PAUSE_COMMANDS if node.write_pause else SETTING_COMMANDS
        needed = (*OLD_MASTER_COMMANDS, *fence) if is_master else SETTING_COMMANDS
        refused = {name: text for name, text in node.refused.items() if name in needed or name == "MULTI"}
        if refused:
            denied = any(text.startswith("NOPERM") for text in refused.values())
            why = "; ".join(f"{name}: {text}" for name, text in refused.items())
            checks.append(
                Check(
                    "node_permissions",
                    CRITICAL if is_master else WARNING,
                    f"{'the master' if is_master else 'replica'} {node.address} refuses {_listed(refused)} ({why})",
                    "Give our user these permissions (docs/permissions.md)."
                    if denied
                    else "These commands are renamed or disabled on it (rename-command): Sentinel needs them, too; bring them back.",
                )
            )
    return checks or [Check("node_permissions", OK, "our user may do what a failover needs on every node that answers")]


def check_sentinel_user(s: Situation) -> list[Check]:
    """``sentinel_user``: the user as which Sentinel logs in to the nodes may change their roles."""
    found = s.evidence.sentinel_refused
    checks = [
        Check(
            "sentinel_user",
            CRITICAL,
            f"on {address} the user {user} of the Sentinels may not send {_listed(refused)}",
            f"ACL SETUSER {user} "
            + " ".join(f"+{command.lower().replace(' ', '|')}" for command in refused)
            + " on every node, and save it; Sentinel gives no sign of what it was refused.",
        )
        for address, users in found.items()
        for user, refused in (users or {}).items()
        if refused
    ]
    if checks:
        return checks
    unseen = sorted(address for address, users in found.items() if not users)
    if unseen or not found:
        return [
            Check(
                "sentinel_user",
                OK,
                f"{UNKNOWN}its permissions on {_listed(unseen) or 'the nodes'} cannot be asked for (ACL DRYRUN from Redis 7.0 on, CLIENT LIST)",
            )
        ]
    users = sorted({user for known in found.values() for user in known or ()})
    return [Check("sentinel_user", OK, f"Sentinel's user ({_listed(users)}) may change the role of every node")]


def check_modules(s: Situation) -> list[Check]:
    """``modules``: no node has loaded a module that may write by itself while writes stand still."""
    unknown = [node.address for node in s.nodes if node.modules is None]
    doubtful = {
        node.address: strange
        for node in s.nodes
        if (strange := [name for name in node.modules or () if name.lower() not in HARMLESS_MODULES])
    }
    if doubtful:
        said = "; ".join(f"{_listed(names)} on {address}" for address, names in doubtful.items())
        return [
            Check(
                "modules",
                WARNING,
                f"loaded modules that may write by themselves: {said}",
                "See that it writes only when a client asks it to. A module that writes from a timer or a thread while writes are paused ends the "
                "server on most versions.",
            )
        ]
    if unknown:
        return [Check("modules", OK, f"{UNKNOWN}MODULE LIST is not permitted on {_listed(unknown)}")]
    return [Check("modules", OK, "no module that may write by itself is loaded")]


def check_pause_budget(s: Situation) -> list[Check]:
    """``pause_budget``: down-after leaves writes enough time to stand still."""
    if not s.snapshot.informed_sentinels:
        return []
    down_after_ms = s.snapshot.down_after_ms
    budget_ms = down_after_ms // 2
    if down_after_ms >= LEAST_DOWN_AFTER_MS:
        return [
            Check(
                "pause_budget",
                OK,
                f"writes may stand still for {budget_ms} ms before Sentinel could think the master down",
            )
        ]
    return [
        Check(
            "pause_budget",
            WARNING,
            f"down-after-milliseconds is {down_after_ms}: writes may stand still for {budget_ms} ms at most",
            f"Raise it to {LEAST_DOWN_AFTER_MS} or more (SENTINEL SET on every Sentinel): a replica needs that time to catch up under load.",
        )
    ]


def check_config_files(s: Situation) -> list[Check]:
    """``config_file``: every node has a configuration file, so that it is what it became after a restart, too."""
    without = [node.address for node in s.nodes if "config_file" in node.info and not node.info["config_file"]]
    if not without:
        return [Check("config_file", OK, "every node that answers was started with a configuration file")]
    return [
        Check(
            "config_file",
            WARNING,
            f"{_listed(without)} was started without a configuration file: its role cannot be saved",
            "Start it with one that it can write to. As it is, it comes back as it was started, and Sentinel needs about 20 s to make it right.",
        )
    ]


# ---- leftovers -------------------------------------------------------------------------------------------------------


def _no_fence(s: Situation, status: str, remedy: str) -> list[Check]:
    fenced = fenced_nodes(s.snapshot)
    if not fenced:
        unread = [node.address for node in s.nodes if node.number("min-replicas-to-write") is None]
        known = "no node refuses writes by a fence that an interrupted run left"
        return [
            Check("no_fence", OK, f"{UNKNOWN}CONFIG GET is not permitted on {_listed(unread)}" if unread else known)
        ]
    return [
        Check(
            "no_fence",
            status,
            f"{address} refuses writes by the fence of an interrupted run",
            f"{remedy} By hand: CONFIG SET min-replicas-max-lag {lag} and CONFIG SET min-replicas-to-write {count}, then CONFIG REWRITE.",
        )
        for address, (count, lag) in fenced.items()
    ]


def _no_steering(s: Situation, status: str, remedy: str) -> list[Check]:
    steered = steered_nodes(s.snapshot)
    if not steered:
        return [Check("no_steering", OK, "no node has a priority that an interrupted run left")]
    return [
        Check(
            "no_steering",
            status,
            f"{address} has the raised replica-priority of an interrupted run",
            f"{remedy} By hand: CONFIG SET replica-priority {priority}, then CONFIG REWRITE.",
        )
        for address, priority in steered.items()
    ]


def _no_pause(s: Situation, status: str) -> list[Check]:
    held = s.evidence.held
    paused = {address: text for address, text in held.items() if text}
    if paused:
        return [
            Check(
                "no_pause",
                status,
                f"a pause holds writes on {address}: {text}",
                "Another run may be at work: wait two seconds and look again. If it stays: CLIENT UNPAUSE on it.",
            )
            for address, text in paused.items()
        ]
    unknown = [address for address, text in held.items() if text is None]
    if unknown:
        text = (
            f"{UNKNOWN}{_listed(unknown)} permits neither PFCOUNT nor CLIENT LIST, and does not show a pause by itself"
        )
        return [Check("no_pause", OK, text)]
    return [Check("no_pause", OK, "no node that answers holds writes")]


_REPAIRED = "redis_ha.sentinel.failover puts it back when it runs."


def check_no_fence_before(s: Situation) -> list[Check]:
    """``no_fence``: no interrupted run left its fence; the module would lift it."""
    return _no_fence(s, WARNING, _REPAIRED)


def check_no_steering_before(s: Situation) -> list[Check]:
    """``no_steering``: no interrupted run left its priorities; the module would put them back."""
    return _no_steering(s, WARNING, _REPAIRED)


def check_no_pause_before(s: Situation) -> list[Check]:
    """``no_pause``: nothing holds writes; the module ends a pause of the master when it demotes it."""
    return _no_pause(s, WARNING)


def check_no_fence_after(s: Situation) -> list[Check]:
    """``no_fence``: no node refuses writes by our fence."""
    return _no_fence(s, CRITICAL, "Run redis_ha.sentinel.failover again: it lifts it.")


def check_no_steering_after(s: Situation) -> list[Check]:
    """``no_steering``: no node has a priority that we raised."""
    return _no_steering(s, CRITICAL, "Run redis_ha.sentinel.failover again: it puts it back.")


def check_no_pause_after(s: Situation) -> list[Check]:
    """``no_pause``: nothing holds writes."""
    return _no_pause(s, CRITICAL)


# ---- after -----------------------------------------------------------------------------------------------------------


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
    return checks or [Check("nodes_reachable", OK, f"all {_count(len(s.snapshot.nodes), 'node')} answer")]


def check_one_master(s: Situation) -> list[Check]:
    """``one_master``: one node among all says that it is a master, and it is the one that the Sentinels name."""
    masters = [node.address for node in s.nodes if node.is_master]
    named = s.snapshot.master_address
    if len(masters) == 1 and s.snapshot.same(masters[0], named):
        return [Check("one_master", OK, f"{masters[0]} is the only master among {_count(len(s.nodes), 'node')}")]
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
            f"{_listed(masters)} all say that they are masters; the Sentinels name {named or 'different ones'}",
            "Sentinel demotes those that it does not name within about 20 s: wait and look again. What is written to them meanwhile is lost.",
        )
    ]


def check_master_moved(s: Situation) -> list[Check]:
    """``master_moved``: another node than in the baseline is the master, by a higher configuration epoch."""
    if s.baseline is None or s.snapshot.master_address is None:
        return []
    epoch = max((view.master.config_epoch for view in s.snapshot.informed_sentinels if view.master), default=0)
    now, before = s.snapshot.master_address, s.baseline.master
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
    if not node.info.get("config_file"):
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
    "Sentinel leads it to the master within failover-timeout. By hand: REPLICAOF the master, then CONFIG REWRITE on it."
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
    return _out_of_step(s, node, master)


def _out_of_step(s: Situation, node: NodeView, master: NodeView) -> tuple[str, str]:
    assert node.replication is not None
    assert master.replication is not None
    later = s.evidence.later.get(node.address)
    lag = lag_bytes(s.snapshot, node.replication)
    if later is not None and later.applied_offset < master.replication.offset:
        moved = later.applied_offset - node.replication.applied_offset
        if moved <= 0:
            return (
                f"stands still at offset {later.applied_offset}, the master was at {master.replication.offset}",
                "Look for a pause (CLIENT UNPAUSE) or a command that blocks it, and at its log.",
            )
    if lag is not None and lag > s.thresholds.max_lag_bytes:
        return (
            f"is {lag} bytes behind the master, {s.thresholds.max_lag_bytes} are allowed",
            "Wait until it has caught up, or raise max_lag_bytes.",
        )
    return "", ""


def check_not_chained(s: Situation) -> list[Check]:
    """``no_chain``: no replica feeds another."""
    chains = [
        (node, attached.address)
        for node in s.nodes
        if not node.is_master and node.replication is not None
        for attached in node.replication.attached
        if attached.address.port and not s.snapshot.same(attached.address, s.snapshot.master_address)
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
    wanted, good = _wanted_replicas(master), _good_replicas(master)
    if wanted and good is not None and good < wanted:
        return [_refuses_writes(master, good, wanted)]
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


BEFORE_CHECKS: tuple[CheckFunction, ...] = (
    check_reachable,
    check_agree,
    check_master_seen,
    check_settings,
    check_votes,
    check_known_sentinels,
    check_no_tilt,
    check_no_failover_before,
    check_config_saved,
    check_sentinel_permissions,
    check_master_role,
    check_known_replicas,
    check_replicas,
    check_logins,
    check_min_replicas_before,
    check_node_permissions,
    check_sentinel_user,
    check_modules,
    check_pause_budget,
    check_config_files,
    check_no_fence_before,
    check_no_steering_before,
    check_no_pause_before,
)

AFTER_CHECKS: tuple[CheckFunction, ...] = (
    check_reachable,
    check_agree,
    check_master_seen,
    check_votes,
    check_known_sentinels,
    check_no_tilt,
    check_no_failover_after,
    check_config_saved,
    check_nodes_reachable,
    check_one_master,
    check_master_moved,
    check_history,
    check_old_master,
    check_known_replicas,
    check_followers,
    check_not_chained,
    check_resyncs,
    check_min_replicas_after,
    check_priorities,
    check_no_fence_after,
    check_no_steering_after,
    check_no_pause_after,
)

DISTURBED = frozenset(
    {"sentinels_agree", "master_seen", "master_role", "fit_replicas", "min_replicas", "known_sentinels", "quorum"}
)
"""What a failover disturbs while it goes on."""

PASSING = frozenset(
    {
        "sentinels_agree",
        "master_seen",
        "quorum",
        "known_sentinels",
        "no_failover",
        "master_role",
        "known_replicas",
        "fit_replicas",
        "replica",
        "min_replicas",
        "no_pause",
        "one_master",
        "old_master",
        "replica_follows",
        "no_chain",
        "nodes_reachable",
    }
)
"""What may right itself within seconds."""
