# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``health_info`` checks of the nodes before the master is moved: situation -> named checks.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    CRITICAL,
    OK,
    RENAMED_REMEDY,
    REPLICA_REMEDIES,
    WARNING,
    Check,
    Fitness,
    access_check,
    assess_replicas,
    check_hidden_replicas,
    check_master_node,
    check_replicas_exist,
    failed_logins,
    good_replicas,
    refuses_writes,
    too_few_after,
    wanted_replicas,
    would_refuse_writes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import (
    OLD_MASTER_COMMANDS,
    PAUSE_COMMANDS,
    SETTING_COMMANDS,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._decide import decide
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_sentinels import replica_entries
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import MOVE, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import NEVER_MS, Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import (
    UNKNOWN,
    Situation,
    counted,
    listed,
    named,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView

LEAST_DOWN_AFTER_MS = 2_000
"""Writes may stand still for half of down-after: below this, that is less than the second which ``catch_up_timeout`` allows by default."""

RECONNECT_S = 2.0
"""How long it takes until a replica, or as many as parallel-syncs allows, has been led to the new master."""

HARMLESS_MODULES = frozenset(
    {"vectorset", "lua", "rejson", "json", "bf", "search", "searchlight", "timeseries", "ldap"}
)
"""Modules, in lower case, that write only when a client's command tells them to."""


def check_master_role(s: Situation) -> list[Check]:
    """``master_role``: the master itself says that it is one, alone, and is fit to be demoted."""
    return named("master_role", check_master_node(s.snapshot))


SAID_BY = {
    "masterauth_missing": "replication_login",
    "node_not_permitted": "node_permissions",
    "command_unavailable": "node_permissions",
    "min_replicas": "min_replicas",
    "no_suitable_replica": "fit_replicas",
    "no_replica": "fit_replicas",
}
"""Which check says more of a reason for which the move would be refused."""


def planned(s: Situation) -> Plan | RefusedError:
    """What the module would do if it were asked for no more than to move this master."""
    request = Request(
        s.snapshot.master_name, min_sentinels=s.thresholds.min_sentinels, max_lag_bytes=s.thresholds.max_lag_bytes
    )
    try:
        return decide(s.snapshot, request)
    except RefusedError as refused:
        return refused


def _says(detail: str, reason: str) -> bool:
    """Whether a check says what a reason does: in the same words, or of the same server that it cannot be asked, and why."""
    server, _colon, error = reason.removeprefix("node ").partition(": ")
    return reason in detail or (reason.startswith("node ") and server in detail and error in detail)


def check_move(s: Situation, others: Iterable[Check]) -> list[Check]:
    """``move_possible``: the module would move this master. It decides by the same list as the move itself.

    Nothing where other checks have failed for the same reasons.
    """
    found = planned(s)
    if isinstance(found, Plan):
        if found.action != MOVE:
            return [Check("move_possible", OK, f"the module would {found.action} first: {'; '.join(found.notes)}")]
        return [Check("move_possible", OK, f"the module would move it to {found.new_master}, {found.strategy}")]
    said = [check.detail for check in others if check.status == CRITICAL]
    # That no other way is left is never the reason.
    reasons = [reason for reason in found.seen["reasons"] if reason["name"] != "no_lossless_way"] or found.seen[
        "reasons"
    ]
    failed = {check.name for check in others if check.status == CRITICAL}
    new = [
        reason
        for reason in reasons
        if SAID_BY.get(reason["name"]) not in failed and not any(_says(detail, reason["detail"]) for detail in said)
    ]
    if not new:
        return []
    texts = dict.fromkeys(f"{reason['name']}: {reason['detail']}" for reason in new)
    remedies = dict.fromkeys(reason["remedy"] for reason in new if reason["remedy"])
    return [
        Check("move_possible", CRITICAL, f"the module would refuse to move it: {'; '.join(texts)}", " ".join(remedies))
    ]


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
    rows = replica_entries(s.snapshot).get(s.snapshot.identity(fitness.address), {})
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
    if not node.same_series(master):
        code = "older_version" if node.older_than(master) else "newer_version"
        reservations.append(
            (
                code,
                f"it runs {node.product} {node.dotted_version}, the master {master.product} {master.dotted_version}",
            )
        )
    limit, masters_limit = node.number("maxmemory"), master.number("maxmemory")
    if limit and masters_limit is not None and (masters_limit == 0 or limit < masters_limit):
        reservations.append(
            ("less_memory", f"its maxmemory is {limit} bytes, the master's is {masters_limit or 'not limited'}")
        )
    reservations += _backlog_reservations(s, node, master)
    return reservations


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
                f"its backlog begins at offset {replication.backlog_first_offset}, after what {listed(too_old)} has: a full synchronisation with it",
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
        return named("fit_replicas", nobody)
    replicas = assess(s)
    fit = sum(replica.fit for replica in replicas)
    wanted = s.thresholds.min_fit_replicas
    if fit >= wanted:
        enough = Check(
            "fit_replicas", OK, f"{fit} of {counted(len(replicas), 'replica')} {'is' if fit == 1 else 'are'} fit"
        )
    else:
        unfit = sorted((replica for replica in replicas if not replica.fit), key=lambda replica: str(replica.address))
        reasons = "; ".join(f"{replica.address}: {_texts(replica.objections)}" for replica in unfit)
        remedies = dict.fromkeys(
            _replica_remedy(replica.address, code) for replica in unfit for code, _text in replica.objections
        )
        enough = Check(
            "fit_replicas",
            CRITICAL,
            f"{fit} of {counted(len(replicas), 'replica')} {'is' if fit == 1 else 'are'} fit, {wanted} {'is' if wanted == 1 else 'are'} wanted"
            + (f" ({reasons})" if reasons else ""),
            " ".join(remedies) or "Attach more replicas, or lower min_fit_replicas.",
        )
    return [enough, *(replica.as_check() for replica in replicas)]


def check_hidden(s: Situation) -> list[Check]:
    """``hidden_replicas``: no replica that Sentinel could promote and does not show is behind."""
    return named("hidden_replicas", check_hidden_replicas(s.snapshot, s.thresholds.max_lag_bytes))


def check_logins(s: Situation) -> list[Check]:
    """``replication_login``: the old master, and every other replica, can log in to each replica that may be promoted."""
    logins = s.evidence.logins
    if failed := failed_logins(s.snapshot, logins):
        return failed
    unknown = sorted({follower for (follower, _leader), text in logins.items() if text is None})
    if unknown or not logins:
        reason = f"masterauth of {listed(unknown)} cannot be read or tried" if unknown else "no replica could be asked"
        return [Check("replication_login", OK, UNKNOWN + reason)]
    return [Check("replication_login", OK, "every node can log in, as a replica, to each replica that may be promoted")]


def check_min_replicas_before(s: Situation) -> list[Check]:
    """``min_replicas``: the replica that is promoted will have as many replicas as its ``min-replicas-to-write`` demands."""
    checks = []
    master = s.master
    if master is not None and wanted_replicas(master):
        good, wanted = good_replicas(master), wanted_replicas(master)
        if good is not None and good < wanted:
            checks.append(refuses_writes(master, good, wanted))
    candidates = [replica for replica in assess(s) if replica.fitness.electable]
    short = [text for replica in candidates if (text := too_few_after(s.snapshot, replica.address))]
    if short:
        unmet = would_refuse_writes(short)
        checks.append(unmet if len(short) == len(candidates) else replace(unmet, status=WARNING))
    return checks or [Check("min_replicas", OK, "min-replicas-to-write is met, and can be met after a move")]


# ---- permissions, modules, settings ----------------------------------------------------------------------------------


def check_node_permissions(s: Situation) -> list[Check]:
    """``node_permissions``: the collection's user may send to the nodes what a failover without loss needs."""
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
                    f"{'the master' if is_master else 'replica'} {node.address} refuses {listed(refused)} ({why})",
                    "Give the collection's user these permissions (docs/permissions.md)." if denied else RENAMED_REMEDY,
                )
            )
    return checks or [
        Check("node_permissions", OK, "the collection's user may do what a failover needs on every node that answers")
    ]


def check_sentinel_user(s: Situation) -> list[Check]:
    """``sentinel_user``: the user as which Sentinel logs in to the nodes may change their roles."""
    found = s.evidence.sentinel_refused
    checks = [
        Check(
            "sentinel_user",
            CRITICAL,
            f"on {address} the user {user} of the Sentinels may not send {listed(refused)}",
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
                f"{UNKNOWN}its permissions on {listed(unseen) or 'the nodes'} cannot be asked for (ACL DRYRUN from Redis 7.0 on, CLIENT LIST)",
            )
        ]
    users = sorted({user for known in found.values() for user in known or ()})
    return [Check("sentinel_user", OK, f"Sentinel's user ({listed(users)}) may change the role of every node")]


def check_modules(s: Situation) -> list[Check]:
    """``modules``: no node has loaded a module that may write by itself while writes stand still."""
    unknown = [node.address for node in s.nodes if node.modules is None]
    doubtful = {
        node.address: strange
        for node in s.nodes
        if (strange := [name for name in node.modules or () if name.lower() not in HARMLESS_MODULES])
    }
    if doubtful:
        said = "; ".join(f"{listed(names)} on {address}" for address, names in doubtful.items())
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
        return [Check("modules", OK, f"{UNKNOWN}MODULE LIST is not permitted on {listed(unknown)}")]
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
            f"{listed(without)} was started without a configuration file: its role cannot be saved",
            "Start it with one that it can write to. As it is, it comes back as it was started, and Sentinel needs about 20 s to make it right.",
        )
    ]
