# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules that only look share: when they fail, and a snapshot as plain data, what each Sentinel and each node says, side by side.

Without secrets: a snapshot holds none. What a server does not tell is ``None``. Pure. This module is private to the collection
redis_ha.sentinel.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    check_master_known,
    check_sentinels_reachable,
    critical,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import is_foreign, unlisted_replicas
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import refuse
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    NEVER_MS,
    Address,
    AttachedReplica,
    MasterEntry,
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


def require_master(snapshot: Snapshot) -> None:
    """See that there is something to look at.

    Raises:
        RefusedError: No Sentinel can be asked, or none of those that answer knows this master.
    """
    if not snapshot.reachable_sentinels:
        raise refuse(critical(check_sentinels_reachable(snapshot, None)))
    if not snapshot.informed_sentinels:
        raise refuse(critical(check_master_known(snapshot)))


def deployment_view(snapshot: Snapshot) -> dict[str, Any]:
    """One master as ``topology_info`` returns it."""
    return {
        "master": _name(snapshot.master_address),
        "sentinels": [sentinel_view(view) for view in snapshot.sentinels],
        "nodes": [node_view(snapshot, node) for node in snapshot.nodes],
    }


def sentinel_view(view: SentinelView) -> dict[str, Any]:
    """What one Sentinel says."""
    return {
        "address": str(view.address),
        "error": view.error or None,
        "error_code": view.error_code or None,
        "version": _version(view.version),
        "run_id": view.run_id or None,
        "tilt": view.tilt if view.reachable else None,
        "tilt_total": _told(view.tilt_total),
        "master": _name(view.current),
        **_master_view(view.master),
        "quorum_ok": view.quorum_ok if view.master else None,
        "quorum_detail": view.quorum_detail or None,
        "replicas": [_replica_view(entry) for entry in view.replicas],
        "sentinels": [_peer_view(entry) for entry in view.peers],
    }


def _master_view(entry: MasterEntry | None) -> dict[str, Any]:
    if entry is None:
        return dict.fromkeys(
            (
                "flags",
                "role_reported",
                "config_epoch",
                "quorum",
                "down_after_ms",
                "failover_timeout_ms",
                "parallel_syncs",
                "failover_in_progress",
                "failover_state",
                "info_age_ms",
            )
        )
    return {
        "flags": sorted(entry.flags),
        "role_reported": _role(entry.role_reported),
        "config_epoch": entry.config_epoch,
        "quorum": entry.quorum,
        "down_after_ms": entry.down_after_ms,
        "failover_timeout_ms": entry.failover_timeout_ms,
        "parallel_syncs": entry.parallel_syncs,
        "failover_in_progress": entry.failover_in_progress,
        "failover_state": entry.failover_state or None,
        "info_age_ms": _age(entry.info_age_ms),
    }


def _replica_view(entry: ReplicaEntry) -> dict[str, Any]:
    return {
        "address": str(entry.address),
        "run_id": entry.run_id or None,
        "flags": sorted(entry.flags),
        "down": entry.down,
        "master": _name(entry.master),
        "link_up": entry.link_up,
        "link_down_ms": entry.link_down_ms,
        "priority": entry.priority,
        "offset": entry.offset,
        "info_age_ms": _age(entry.info_age_ms),
        "announced": entry.announced,
    }


def _peer_view(entry: PeerEntry) -> dict[str, Any]:
    return {
        "address": str(entry.address),
        "run_id": entry.run_id or None,
        "flags": sorted(entry.flags),
        "down": entry.down,
        "last_hello_ms": entry.last_hello_ms,
    }


def node_view(snapshot: Snapshot, node: NodeView) -> dict[str, Any]:
    """What one node says of itself."""
    replication = node.replication
    return {
        "address": str(node.address),
        **node.address.as_result(),
        "error": node.error or None,
        "error_code": node.error_code or None,
        "product": node.product or None,
        "version": _version(node.version),
        "run_id": node.run_id or None,
        "foreign": is_foreign(snapshot, node.address) or (False if node.reachable else None),
        "hidden": any(node is other for other in unlisted_replicas(snapshot)) or (False if node.reachable else None),
        "uptime_s": _info_number(node, "uptime_in_seconds"),
        "role": node.role.role if node.role else None,
        "link": (node.role.link or None) if node.role else None,
        "loading": node.info.get("loading", "0") != "0" if node.reachable else None,
        "used_memory_bytes": _info_number(node, "used_memory"),
        "maxmemory_bytes": node.number("maxmemory"),
        "config_file": node.info.get("config_file") or None,
        "paused_actions": node.info.get("paused_actions"),
        "modules": None if node.modules is None else list(node.modules),
        "password_set": node.password_set,
        "master_auth_set": node.master_auth_set,
        "min_replicas_to_write": node.number("min-replicas-to-write"),
        "min_replicas_max_lag_s": node.number("min-replicas-max-lag"),
        "full_resyncs": _info_number(node, "sync_full"),
        "partial_resyncs": _info_number(node, "sync_partial_ok"),
        "replication": _replication_view(snapshot, replication) if replication else None,
    }


def _replication_view(snapshot: Snapshot, replication: Replication) -> dict[str, Any]:
    return {
        "master": _name(replication.master),
        "link_up": None if replication.is_master else replication.link_up,
        "link_down_s": _told(replication.link_down_s),
        "sync_in_progress": replication.sync_in_progress,
        "sync_read_bytes": replication.sync_read_bytes if replication.sync_in_progress else None,
        "sync_left_bytes": _told(replication.sync_left_bytes) if replication.sync_in_progress else None,
        "sync_total_bytes": _told(replication.sync_total_bytes) if replication.sync_in_progress else None,
        "replid": replication.replid,
        "replid2": replication.replid2,
        "offset": replication.offset,
        "applied_offset": replication.offset if replication.is_master else _told(replication.applied_offset),
        "second_offset": _told(replication.second_offset),
        "lag_bytes": lag_bytes(snapshot, replication),
        "priority": _told(replication.priority),
        "read_only": None if replication.is_master else replication.read_only,
        "failover_state": replication.failover_state,
        "backlog_active": replication.backlog_active,
        "backlog_size_bytes": replication.backlog_size,
        "backlog_first_offset": replication.backlog_first_offset,
        "backlog_used_bytes": replication.backlog_bytes,
        "replicas": [_attached_view(attached) for attached in replication.attached],
    }


def _attached_view(attached: AttachedReplica) -> dict[str, Any]:
    return {
        "address": str(attached.address),
        "state": attached.state,
        "offset": attached.offset,
        "lag_s": attached.lag_s,
    }


def _name(address: Address | None) -> str | None:
    return str(address) if address is not None and address.port else None


def _version(version: tuple[int, int, int]) -> str | None:
    return ".".join(map(str, version)) if any(version) else None


def _role(wire: str) -> str | None:
    return "replica" if wire == "slave" else wire or None


def _told(number: int) -> int | None:
    return None if number < 0 else number


def _age(age_ms: int) -> int | None:
    return None if age_ms >= NEVER_MS else age_ms


def _info_number(node: NodeView, name: str) -> int | None:
    value = node.info.get(name, "")
    return int(value) if value.isdigit() else None
