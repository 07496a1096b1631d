# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builders of snapshots: a healthy deployment, but for what a test changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    MasterEntry,
    PeerEntry,
    ReplicaEntry,
    Replication,
    Role,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot

NAME = "mymaster"
OM, R, S, S2 = (
    Address("10.0.0.1", 6379),
    Address("10.0.0.2", 6379),
    Address("10.0.0.3", 6379),
    Address("10.0.0.4", 6379),
)
L0, L1, L2 = (Address("10.0.0.1", 26379), Address("10.0.0.2", 26379), Address("10.0.0.3", 26379))


def master_entry(**changes: Any) -> MasterEntry:
    """What a Sentinel says of a healthy master."""
    fields: dict[str, Any] = {
        "name": NAME,
        "address": OM,
        "run_id": "0" * 40,
        "flags": frozenset({"master"}),
        "config_epoch": 1,
        "quorum": 2,
        "down_after_ms": 5000,
        "failover_timeout_ms": 60000,
        "parallel_syncs": 1,
        "known_replicas": 2,
        "known_peers": 2,
        "failover_state": "",
        "info_age_ms": 3000,
        "role_reported": "master",
    }
    return MasterEntry(**{**fields, **changes})


def replica_entry(address: Address, **changes: Any) -> ReplicaEntry:
    """What a Sentinel says of a healthy replica."""
    fields: dict[str, Any] = {
        "address": address,
        "run_id": address.host[-1] * 40,
        "flags": frozenset({"slave"}),
        "link_up": True,
        "link_down_ms": 0,
        "master": OM,
        "priority": 100,
        "offset": 1000,
        "info_age_ms": 3000,
        "last_ok_ping_ms": 300,
        "announced": True,
    }
    return ReplicaEntry(**{**fields, **changes})


def peer_entry(address: Address, **changes: Any) -> PeerEntry:
    """What a Sentinel says of another."""
    fields: dict[str, Any] = {
        "address": address,
        "run_id": f"sentinel-{address}",
        "flags": frozenset({"sentinel"}),
        "last_hello_ms": 500,
    }
    return PeerEntry(**{**fields, **changes})


def sentinel_view(address: Address, **changes: Any) -> SentinelView:
    """Everything that one Sentinel says of a healthy deployment."""
    fields: dict[str, Any] = {
        "address": address,
        "version": (7, 0, 15),
        "run_id": f"sentinel-{address}",
        "master": master_entry(),
        "current": OM,
        "replicas": (replica_entry(R), replica_entry(S)),
        "peers": tuple(peer_entry(other) for other in (L0, L1, L2) if other != address),
        "quorum_ok": True,
        "quorum_detail": "OK 3 usable Sentinels.",
    }
    return SentinelView(**{**fields, **changes})


def replication(**changes: Any) -> Replication:
    """``INFO replication`` of a replica that has everything."""
    fields: dict[str, Any] = {
        "role": "replica",
        "replid": "a" * 40,
        "replid2": "0" * 40,
        "offset": 1000,
        "applied_offset": 1000,
        "second_offset": -1,
        "master": OM,
        "link_up": True,
        "link_down_s": -1,
        "sync_in_progress": False,
        "sync_read_bytes": 0,
        "sync_left_bytes": -1,
        "sync_total_bytes": -1,
        "read_only": True,
        "priority": 100,
        "failover_state": "no-failover",
        "backlog_active": True,
        "backlog_size": 2**20,
        "backlog_first_offset": 1,
        "backlog_bytes": 1000,
        "attached": (),
    }
    return Replication(**{**fields, **changes})


def replica_node(address: Address, *, link: dict[str, Any] | None = None, **changes: Any) -> NodeView:
    """What a healthy replica says of itself; ``link`` changes its replication."""
    fields: dict[str, Any] = {
        "address": address,
        "product": "redis",
        "version": (7, 0, 15),
        "compatible_version": (7, 0, 15),
        "run_id": address.host[-1] * 40,
        "role": Role("replica", 1000, OM, "connected"),
        "replication": replication(**(link or {})),
        "info": {"loading": "0"},
        "config": {"replica-priority": "100", "min-replicas-to-write": "0", "min-replicas-max-lag": "10"},
        "master_auth_set": False,
        "password_set": False,
        "modules": (),
        "write_pause": True,
    }
    return NodeView(**{**fields, **changes})


def master_node(address: Address = OM, *, link: dict[str, Any] | None = None, **changes: Any) -> NodeView:
    """What a healthy master says of itself."""
    own = {"role": "master", "master": None, "applied_offset": -1, "link_up": False, **(link or {})}
    return replica_node(address, link=own, **{"role": Role("master", 1000), **changes})


def snapshot(
    sentinels: Iterable[SentinelView] | None = None, nodes: Iterable[NodeView] | None = None, **changes: Any
) -> Snapshot:
    """One master, two replicas, three Sentinels, all healthy."""
    views = tuple(sentinel_view(address) for address in (L0, L1, L2)) if sentinels is None else tuple(sentinels)
    known = (master_node(), replica_node(R), replica_node(S)) if nodes is None else tuple(nodes)
    return Snapshot(NAME, views, known, **changes)
