# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A snapshot: what each Sentinel and each node said, at about one moment.

Pure. Who is who in it is told by ``_identity.py``. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    Hello,
    MasterEntry,
    PeerEntry,
    ReplicaEntry,
    Replication,
    Role,
)


@dataclass(frozen=True)
class SentinelView:
    """What one Sentinel says about one master; ``error`` where it could not be asked.

    ``run_id`` is its lasting id, which Redis 6.0 does not tell; ``process_id`` is another one after each start, and every version tells it.
    ``masters`` are those that it watches, this one and those of other names, where it watches several; all of them, or those of the servers
    of this snapshot, where many masters were asked for at once.
    """

    address: Address
    error: str = ""
    error_code: str = ""
    version: tuple[int, int, int] = (0, 0, 0)
    run_id: str = ""
    process_id: str = ""
    tilt: bool = False
    tilt_total: int = -1
    master: MasterEntry | None = None
    current: Address | None = None
    replicas: tuple[ReplicaEntry, ...] = ()
    peers: tuple[PeerEntry, ...] = ()
    quorum_ok: bool = False
    quorum_detail: str = ""
    failover_refused: str = ""
    hello_refused: str = ""
    coordinated: bool = False
    masters: tuple[MasterEntry, ...] = ()

    @property
    def reachable(self) -> bool:
        return not self.error

    def replica(self, same: Iterable[Address]) -> ReplicaEntry | None:
        """The row of the replica that has one of these addresses."""
        wanted = set(same)
        return next((entry for entry in self.replicas if entry.address in wanted), None)


@dataclass(frozen=True)
class NodeView:
    """What one data node says of itself; ``error`` where it could not be asked.

    ``watchers`` counts the subscriptions of each Sentinel, by the first eight digits of its run id: one for each name under which it
    watches this node. ``None`` where the node does not tell. A node that is not of the deployment is asked for no more than what it is.
    """

    address: Address
    error: str = ""
    error_code: str = ""
    product: str = ""
    version: tuple[int, int, int] = (0, 0, 0)
    compatible_version: tuple[int, int, int] = (0, 0, 0)
    run_id: str = ""
    role: Role | None = None
    replication: Replication | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    master_auth_set: bool | None = None
    password_set: bool | None = None
    modules: tuple[str, ...] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    write_pause: bool = False
    watchers: Mapping[str, int] | None = None

    @property
    def reachable(self) -> bool:
        return not self.error

    @property
    def is_master(self) -> bool:
        return self.role is not None and self.role.is_master

    @property
    def sync_counters(self) -> tuple[int, int]:
        """Full and partial resynchronisations that this node has served since it started."""
        return int(self.info.get("sync_full", 0)), int(self.info.get("sync_partial_ok", 0))

    @property
    def dotted_version(self) -> str:
        return ".".join(map(str, self.version))

    def same_series(self, other: NodeView) -> bool:
        """Whether both run the same version but for the patch level, which changes nothing that nodes send each other."""
        return self._series(other) == other._series(self)

    def older_than(self, other: NodeView) -> bool:
        """Whether what it understands ends before what ``other`` may send."""
        return self._series(other) < other._series(self)

    def _series(self, other: NodeView) -> tuple[int, ...]:
        return (self.version if self.product == other.product else self.compatible_version)[:2]

    def number(self, name: str) -> int | None:
        """A setting, as a number; ``None`` where we may not read it."""
        value = self.config.get(name, "")
        return int(value) if value.lstrip("-").isdigit() else None


@dataclass(frozen=True)
class Host:
    """A host: its IP address as seen from here, and as Sentinel spells it."""

    address: str
    spelled: str


@dataclass(frozen=True)
class Snapshot:
    """What everybody says about one master, at about one moment.

    ``identities`` leads from every address and name that was seen to the one (resolved) address of that server. ``hellos`` is what
    Sentinels were heard to say on a node, where its connections showed one that the Sentinels that were asked do not explain.
    ``master_hosts`` tells the host of every master that the Sentinels watch, by the name of the master, where many were asked for at once.
    """

    master_name: str
    sentinels: tuple[SentinelView, ...]
    nodes: tuple[NodeView, ...]
    identities: Mapping[Address, Address] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    hellos: Mapping[Address, tuple[Hello, ...]] = field(default_factory=dict)
    master_hosts: Mapping[str, Host] = field(default_factory=dict)

    def identity(self, address: Address) -> Address:
        return self.identities.get(address, address)

    def same(self, one: Address | None, other: Address | None) -> bool:
        return one is not None and other is not None and self.identity(one) == self.identity(other)

    def aliases(self, address: Address) -> set[Address]:
        """Every spelling of an address that was seen."""
        identity = self.identity(address)
        return {address, identity} | {name for name, known in self.identities.items() if known == identity}

    def on_host(self, address: Address, hosts: Iterable[str]) -> bool:
        """Whether a server is on one of these hosts, each given by name or by IP address."""
        own = {address.host.lower(), self.identity(address).host}
        return any(host.lower() in own or self.hosts.get(host, host) in own for host in hosts)

    @property
    def reachable_sentinels(self) -> tuple[SentinelView, ...]:
        return tuple(view for view in self.sentinels if view.reachable)

    @property
    def informed_sentinels(self) -> tuple[SentinelView, ...]:
        """Those that can be asked and know this master."""
        return tuple(view for view in self.sentinels if view.master is not None)

    @property
    def master_address(self) -> Address | None:
        """The address that every Sentinel names, spelled as the first of them spells it; ``None`` if they disagree."""
        named = [view.current for view in self.informed_sentinels if view.current is not None]
        return named[0] if named and all(self.same(named[0], other) for other in named[1:]) else None

    def node(self, address: Address | None) -> NodeView | None:
        return next((node for node in self.nodes if self.same(node.address, address)), None)

    @property
    def down_after_ms(self) -> int:
        """The smallest ``down-after-milliseconds`` of all Sentinels: what a write stop must stay well below."""
        return min(view.master.down_after_ms for view in self.informed_sentinels if view.master)


def lag_bytes(snapshot: Snapshot, replication: Replication) -> int | None:
    """How far a replica was behind the master; ``None`` for a master, and where the two histories cannot be compared."""
    master = snapshot.node(snapshot.master_address)
    if replication.is_master or master is None or master.replication is None:
        return None
    if master.replication.replid != replication.replid:
        return None
    return max(0, master.replication.offset - replication.applied_offset)
