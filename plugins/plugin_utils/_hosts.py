# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Sentinels and nodes say -> hosts of an inventory, with their groups and variables.

Pure. A row is what is known of one server process, as plain data, so that it can be kept in a cache. This module is
private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import ConnectionOptions
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import foreign_nodes, own_nodes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import (
    NodeView,
    SentinelView,
    Snapshot,
    lag_bytes,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._agreement import Agreement, agreement

MASTER, REPLICA, SENTINEL = "master", "replica", "sentinel"
FIXED_GROUPS = {MASTER: "redis_masters", REPLICA: "redis_replicas", SENTINEL: "redis_sentinels"}
PARTS = {MASTER: "master_of_", REPLICA: "replicas_of_", SENTINEL: "sentinels_of_"}

MACHINE, SERVER = "machine", "server"

Row = dict[str, Any]


@dataclass(frozen=True)
class InventoryHost:
    """One host: its name, the groups that it is directly in, and its variables."""

    name: str
    groups: tuple[str, ...]
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class Inventory:
    """Hosts, and for each group the group that it is a child of."""

    hosts: tuple[InventoryHost, ...]
    parents: Mapping[str, str]


class GroupNameTakenError(ValueError):
    """Two things would be called by the same group name."""


# ---- rows ----------------------------------------------------------------------------------------------------------


def votes(snapshot: Snapshot) -> Agreement:
    """Which master those Sentinels name that answer."""
    return agreement(snapshot.master_name, snapshot.reachable_sentinels, snapshot.identity)


def server_rows(deployment: str, snapshots: Mapping[str, Snapshot], options: ConnectionOptions) -> list[Row]:
    """Every server of a deployment.

    Args:
        deployment: Its name; empty where there is only one.
        snapshots: What was said of each master, by its name.
        options: How the deployment is reached.
    """
    rows: dict[str, Row] = {}
    for name, snapshot in snapshots.items():
        for row in (*_node_rows(snapshot, options), *_sentinel_rows(snapshot, options)):
            known = rows.setdefault(
                f"{row['key']} {row['role'] == SENTINEL}", {**row, "deployment": deployment or None}
            )
            known["master_names"] = [*known["master_names"], name] if row["concerned"] else known["master_names"]
    return [{name: value for name, value in row.items() if name not in ("key", "concerned")} for row in rows.values()]


def _node_rows(snapshot: Snapshot, options: ConnectionOptions) -> Iterable[Row]:
    master = votes(snapshot).master
    for node in own_nodes(snapshot):
        replication = node.replication
        yield {
            **_place(node.address, snapshot, options),
            "key": str(snapshot.identity(node.address)),
            "concerned": True,
            "role": None if master is None else MASTER if snapshot.same(node.address, master) else REPLICA,
            "role_reported": node.role.role if node.role else None,
            "product": node.product or None,
            "version": _version(node),
            "lag_bytes": lag_bytes(snapshot, replication) if replication else None,
            "link_up": None if replication is None or replication.is_master else replication.link_up,
            "error": node.error or None,
        }


def _sentinel_rows(snapshot: Snapshot, options: ConnectionOptions) -> Iterable[Row]:
    for view in snapshot.sentinels:
        yield {
            **_place(view.address, snapshot, options),
            "key": view.process_id or str(snapshot.identity(view.address)),
            # Of one that does not answer, nobody can tell that it does not watch this master.
            "concerned": view.master is not None or not view.reachable,
            "role": SENTINEL,
            "role_reported": SENTINEL if view.reachable else None,
            "product": None,
            "version": _version(view),
            "lag_bytes": None,
            "link_up": None,
            "error": view.error or None,
        }


def _place(address: Address, snapshot: Snapshot, options: ConnectionOptions) -> Row:
    reached = options.reachable(address)
    resolved = snapshot.identity(address).host
    return {
        "address": str(address),
        **address.as_result(),
        "reached_host": reached.host,
        # Behind an address map several machines may be reached at one address: there the announced one tells them apart.
        "machine": resolved if reached == address else f"{address.host} at {resolved}",
        "master_names": [],
    }


def _version(view: NodeView | SentinelView) -> str | None:
    return ".".join(map(str, view.version)) if any(view.version) else None


# ---- hosts ---------------------------------------------------------------------------------------------------------


def inventory_of(rows: Sequence[Row], host_for: str, prefix: str) -> Inventory:
    """Hosts and groups.

    Args:
        rows: What is known of every server.
        host_for: ``machine``: one host for all servers on it; ``server``: one for each of them.
        prefix: How the name of a master's, or a deployment's, group begins.

    Raises:
        GroupNameTakenError: Two things would have the same group.
    """
    together: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row["machine"],) if host_for == MACHINE else (row["machine"], row["port"], row["role"] == SENTINEL)
        together.setdefault(key, []).append(row)
    names = _unique([(_host_name(members, host_for), members) for members in together.values()])
    groups = _Groups(prefix)
    hosts = tuple(
        InventoryHost(
            name, tuple(dict.fromkeys(group for row in members for group in groups.of(row))), _variables(members)
        )
        for name, members in names
    )
    return Inventory(hosts, dict(groups.parents))


def _host_name(members: Sequence[Row], host_for: str) -> str:
    """What the machine is called: by a name, if one of its servers announces one."""
    called = min((row["host"] for row in members), key=_is_ip_address)
    return str(called) if host_for == MACHINE else f"{called}_{members[0]['port']}"


def _is_ip_address(host: str) -> bool:
    return ":" in host or bool(re.fullmatch(r"[0-9.]+", host))


def _unique(named: Sequence[tuple[str, list[Row]]]) -> list[tuple[str, list[Row]]]:
    """Inner networks use the same addresses: where two machines would be called the same, where each is reached is added."""
    names = [name for name, _members in named]
    return [
        (f"{name}_{members[0]['reached_host']}" if names.count(name) > 1 else name, members) for name, members in named
    ]


def _variables(members: Sequence[Row]) -> dict[str, Any]:
    nodes = [row for row in members if row["role"] != SENTINEL] or list(members)
    lags = [row["lag_bytes"] for row in nodes if row["lag_bytes"] is not None]
    return {
        "ansible_host": _common(members, "reached_host") or members[0]["host"],
        "redis_address": _common(nodes, "address"),
        "redis_port": _common(nodes, "port"),
        "redis_role": _common(nodes, "role"),
        "redis_product": _common(nodes, "product"),
        "redis_version": _common(nodes, "version"),
        "redis_lag_bytes": max(lags, default=None),
        "redis_master_of": _names(members, MASTER),
        "redis_replica_of": _names(members, REPLICA),
        "redis_sentinel_of": _names(members, SENTINEL),
        "redis_deployments": sorted({row["deployment"] for row in members if row["deployment"]}),
        "redis_servers": [
            {name: value for name, value in row.items() if name not in ("machine", "reached_host")} for row in members
        ],
    }


def _common(rows: Sequence[Row], name: str) -> Any:
    """The value that all of them have; ``None`` where they differ."""
    first = rows[0][name]
    return first if all(row[name] == first for row in rows) else None


def _names(rows: Iterable[Row], role: str) -> list[str]:
    return sorted({name for row in rows if row["role"] == role for name in row["master_names"]})


class _Groups:
    """Group names, each for one thing only."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._taken = {name: f"every {role}" for role, name in FIXED_GROUPS.items()}
        self.parents: dict[str, str] = {}

    def of(self, row: Row) -> Iterable[str]:
        """The groups that a server's host is directly in."""
        if row["role"] is not None:
            yield FIXED_GROUPS[row["role"]]
        if row["deployment"]:
            yield self._of_deployment(row["deployment"])
        for name in row["master_names"]:
            yield self._of_part(row["deployment"], name, PARTS.get(row["role"], ""))

    def _of_part(self, deployment: str | None, name: str, part: str) -> str:
        """The group of those that have the same part in a master, a child of the group of all that have one."""
        called = f"{deployment}_{name}" if deployment else name
        thing = f"master {name} of deployment {deployment}" if deployment else f"master {name}"
        whole = self._take(called, thing)
        if deployment:
            self.parents[whole] = self._of_deployment(deployment)
        if not part:
            return whole
        group = self._take(part + called, f"{part.replace('_', ' ')}{thing}")
        self.parents[group] = whole
        return group

    def _of_deployment(self, deployment: str) -> str:
        return self._take(deployment, f"deployment {deployment}")

    def _take(self, wanted: str, thing: str) -> str:
        group = re.sub(r"[^A-Za-z0-9_]", "_", self._prefix + wanted)
        if self._taken.setdefault(group, thing) != thing:
            raise GroupNameTakenError(f"The group {group} would be for {self._taken[group]} and for {thing}")
        return group


# ---- what is worth a warning ---------------------------------------------------------------------------------------


def warnings(snapshots: Mapping[str, Snapshot]) -> list[str]:
    """What the person who asked for the inventory must know, in a few lines however many servers there are."""
    found = [
        f"{voted.reason} None of its nodes is in {FIXED_GROUPS[MASTER]}."
        for voted in map(votes, snapshots.values())
        if voted.master is None
    ]
    found += [
        f"{node.address} is in the tables of the Sentinels of {name} and belongs to another deployment. It is left out."
        for name, snapshot in snapshots.items()
        for node in foreign_nodes(snapshot)
    ]
    sentinels = {view.address: view.error for snapshot in snapshots.values() for view in snapshot.sentinels}
    nodes = {node.address: node.error for snapshot in snapshots.values() for node in snapshot.nodes}
    return found + [text for text in (_unasked("Sentinels", sentinels), _unasked("nodes", nodes)) if text]


def _unasked(kind: str, errors: Mapping[Address, str]) -> str:
    failed = {address: error for address, error in errors.items() if error}
    if not failed:
        return ""
    address, error = next(iter(failed.items()))
    return f"{len(failed)} of {len(errors)} {kind} cannot be asked. {address}: {error.rstrip('.')}."
