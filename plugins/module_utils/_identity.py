# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is who in a snapshot: a server is its run id, a deployment its replication history.

The tables of Sentinel are kept by address and by one name. What they leave out, or hold in error, shows in what the servers say of
themselves: another history of writes, a replica that hides, a Sentinel that watches under another name.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, MasterEntry, Replication
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot

NO_HISTORY = "0" * 40
"""``master_replid2`` where there was no history before."""

ID_DIGITS = 8
"""So much of its run id a Sentinel shows in the name of a connection."""


# ---- one server, several addresses ------------------------------------------------------------------------------------


def one_server_once(nodes: Iterable[NodeView]) -> tuple[tuple[NodeView, ...], dict[Address, Address]]:
    """The nodes without those that answered at a second address, and which address each of those leads to.

    Equal run ids are one server: it makes up a new one at each start.
    """
    first: dict[str, NodeView] = {}
    twins: dict[Address, Address] = {}
    for node in nodes:
        known = first.setdefault(node.run_id or str(node.address), node)
        if known is not node:
            twins[node.address] = known.address
    return tuple(first.values()), twins


@dataclass(frozen=True)
class Twins:
    """One server that a Sentinel lists at several addresses."""

    sentinel: Address
    addresses: tuple[Address, ...]


def twins(snapshot: Snapshot) -> list[Twins]:
    """Servers that a Sentinel takes for several: rows of one run id, of which it believes more than one to be up."""
    found = []
    for view in snapshot.informed_sentinels:
        rows: dict[str, list[Address]] = {}
        if view.master is not None and view.master.run_id:
            rows[view.master.run_id] = [view.master.address]
        for entry in view.replicas:
            if entry.run_id and not entry.down:
                rows.setdefault(entry.run_id, []).append(entry.address)
        found += [Twins(view.address, tuple(addresses)) for addresses in rows.values() if len(set(addresses)) > 1]
    return found


# ---- one deployment, one history --------------------------------------------------------------------------------------


def foreign_nodes(snapshot: Snapshot) -> tuple[NodeView, ...]:
    """Nodes in the tables of our Sentinels that belong to another deployment: another history of writes, and a master that is not of this one.

    A node of this deployment follows another of it, however it is called, or has its history: the one that is written now, or, as a
    master that came back or a replica that lost its link, one that it went on from. Without data of its own nothing can be told, and
    nothing can be lost.
    """
    ours, live, past = _known_by_following(snapshot)
    return tuple(node for node in snapshot.nodes if _is_foreign(snapshot, node, ours, live, past))


def _known_by_following(snapshot: Snapshot) -> tuple[set[Address], set[str], set[str]]:
    """Whom the Sentinels name and who follows them, at however many removes; the history that they write, and those that it went on from."""
    roots = {snapshot.identity(address) for view in snapshot.informed_sentinels for address in _named(view)}
    ours = set(roots)
    followers = {
        snapshot.identity(node.address): snapshot.identity(node.replication.master)
        for node in snapshot.nodes
        if node.replication is not None and node.replication.master is not None
    }
    while more := {node for node, leader in followers.items() if leader in ours and node not in ours}:
        ours |= more
    members = {
        snapshot.identity(node.address): node.replication
        for node in snapshot.nodes
        if node.replication is not None and snapshot.identity(node.address) in ours
    }
    # Right after a failover those that follow have not all gone over to the new history.
    named = {identity for identity in members if identity in roots} or members.keys()
    live = {members[identity].replid for identity in named}
    past = {replid for it in members.values() for replid in (it.replid, it.replid2)}
    return ours, live, past - live - {NO_HISTORY, ""}


def _named(view: SentinelView) -> list[Address]:
    return [address for address in (view.current, view.master.address if view.master else None) if address is not None]


def _is_foreign(snapshot: Snapshot, node: NodeView, ours: set[Address], live: set[str], past: set[str]) -> bool:
    replication = node.replication
    if snapshot.identity(node.address) in ours:
        return False
    if replication is None:
        return _follows_a_stranger(snapshot, node, ours)
    if not live:
        return False
    if node.info.get("loading", "0") != "0" or replication.replid in live:
        return False
    follows = not replication.is_master and replication.link_up
    if replication.replid in past and not follows:
        return False
    return follows or holds_data(node) or bool(replication.attached)


def _follows_a_stranger(snapshot: Snapshot, node: NodeView, ours: set[Address]) -> bool:
    """Of a node that cannot be asked: whether every Sentinel that lists it sees it up, and in step with a master that is not of this deployment."""
    rows = [
        entry
        for view in snapshot.informed_sentinels
        for entry in view.replicas
        if snapshot.same(entry.address, node.address)
    ]
    return bool(rows) and all(
        not row.down and row.link_up and row.master.port and snapshot.identity(row.master) not in ours for row in rows
    )


def holds_data(node: NodeView) -> bool:
    """Whether a node says that it has keys."""
    return any(re.fullmatch(r"db\d+", name) for name in node.info)


def is_foreign(snapshot: Snapshot, address: Address) -> bool:
    """Whether the node at an address belongs to another deployment."""
    return any(snapshot.same(node.address, address) for node in foreign_nodes(snapshot))


def own_nodes(snapshot: Snapshot) -> tuple[NodeView, ...]:
    """The nodes of this deployment: those that may be told anything."""
    foreign = {node.address for node in foreign_nodes(snapshot)}
    return tuple(node for node in snapshot.nodes if node.address not in foreign)


def written_apart(master: Replication | None, other: Replication) -> int | None:
    """How many bytes a second master of the same history has written since the first one went on without it; ``None`` if that is not known."""
    if master is None or other.replid != master.replid2 or master.second_offset < 0:
        return None
    return max(0, other.offset - (master.second_offset - 1))


# ---- replicas that Sentinel does not show -----------------------------------------------------------------------------


def unlisted_replicas(snapshot: Snapshot) -> tuple[NodeView, ...]:
    """Replicas that the master shows as attached, and no Sentinel lists: new ones, and those that say ``replica-announced no``.

    Sentinel knows the latter, and promotes them.
    """
    master = snapshot.node(snapshot.master_address)
    if master is None or master.replication is None:
        return ()
    rows = [entry for view in snapshot.informed_sentinels for entry in view.replicas]
    listed = {snapshot.identity(entry.address) for entry in rows}
    ids = {entry.run_id for entry in rows if entry.run_id}
    # A program that only reads the stream of changes attaches with port 0.
    shown = {snapshot.identity(it.address) for it in master.replication.attached if it.address.port}
    found = tuple(
        node for node in snapshot.nodes if snapshot.identity(node.address) in shown - listed and node.run_id not in ids
    )
    names = [node for node in found if not node.reachable and is_name(node.address)]
    followers = [node for node in snapshot.nodes if snapshot.identity(node.address) in listed - shown]
    if len(names) > sum(_follows(snapshot, node, master.address) for node in followers):
        return found
    # The master shows by a name that says nothing here what Sentinel shows by an address: each has its counterpart.
    return tuple(node for node in found if node not in names)


def is_name(address: Address) -> bool:
    """Whether a host is given by its name, not by an IP address."""
    return ":" not in address.host and not re.fullmatch(r"[\d.]+", address.host)


def _follows(snapshot: Snapshot, node: NodeView, master: Address) -> bool:
    """Whether a node that answers is attached to the master. It may call it by a name, too."""
    replication = node.replication
    if replication is None or replication.is_master or not replication.link_up or replication.master is None:
        return False
    return snapshot.same(replication.master, master) or is_name(replication.master)


def known_replicas(snapshot: Snapshot, without: Sequence[Address]) -> tuple[Address, ...]:
    """Every replica of this deployment, but for some: those that a Sentinel lists, and those that only the master shows."""
    known: dict[Address, Address] = {}
    for view in snapshot.informed_sentinels:
        for entry in view.replicas:
            known.setdefault(snapshot.identity(entry.address), entry.address)
    for node in unlisted_replicas(snapshot):
        if node.reachable:
            known.setdefault(snapshot.identity(node.address), node.address)
    left_out = {
        snapshot.identity(address) for address in (*without, *(node.address for node in foreign_nodes(snapshot)))
    }
    return tuple(sorted(address for identity, address in known.items() if identity not in left_out))


# ---- other names, and Sentinels that we were not told of ---------------------------------------------------------------


@dataclass(frozen=True, order=True)
class OtherName:
    """A name, beside the one that was asked for, under which a Sentinel watches a server of this deployment.

    Attributes:
        name: The name; the one that was asked for, where it is a Sentinel that no other knows; empty where it could not be read.
        sentinel: The Sentinel: its address, or the beginning of its run id.
        server: The server.
    """

    name: str
    sentinel: str
    server: Address


def other_names(snapshot: Snapshot) -> list[OtherName]:
    """Every other name of a server of this deployment: by the tables of the Sentinels, and by what is said on the nodes."""
    servers = own_nodes(snapshot)
    found = {
        OtherName(entry.name, str(view.address), server.address)
        for view in snapshot.reachable_sentinels
        for entry in view.masters
        if entry.name != snapshot.master_name and (server := _server_of(snapshot, servers, entry)) is not None
    }
    return sorted(found | _said_on_nodes(snapshot))


def _server_of(snapshot: Snapshot, servers: Iterable[NodeView], entry: MasterEntry) -> NodeView | None:
    for server in servers:
        if (entry.run_id and entry.run_id == server.run_id) or snapshot.same(entry.address, server.address):
            return server
    return None


def _said_on_nodes(snapshot: Snapshot) -> set[OtherName]:
    known = _known_ids(snapshot)
    found = set()
    for address, strangers in unexplained_watchers(snapshot).items():
        said = snapshot.hellos.get(address)
        if said is None:
            found |= {OtherName("", f"{beginning}...", address) for beginning in strangers}
            continue
        for hello in said:
            unknown = hello.run_id[:ID_DIGITS] not in known and not _is_asked(snapshot, hello.sentinel)
            if hello.master_name != snapshot.master_name or unknown:
                found.add(OtherName(hello.master_name, str(hello.sentinel), address))
    return found


def _is_asked(snapshot: Snapshot, address: Address) -> bool:
    return any(snapshot.same(view.address, address) for view in snapshot.sentinels)


def _known_ids(snapshot: Snapshot) -> set[str]:
    """The beginnings of the run ids of all Sentinels that we know."""
    ids = {view.run_id for view in snapshot.sentinels} | {
        entry.run_id for view in snapshot.sentinels for entry in view.peers
    }
    return {run_id[:ID_DIGITS] for run_id in ids if run_id}


def unexplained_watchers(snapshot: Snapshot) -> dict[Address, dict[str, int]]:
    """Sentinels that watch a node of ours, and are unknown, or watch it under more names than they tell.

    Returns:
        For each such node: the beginnings of their run ids, and how many names of each were expected.
    """
    known = _known_ids(snapshot)
    # Redis 6.0 does not tell its own run id; where it is the only Sentinel, nobody does.
    nameless = sum(_id_of(snapshot, view) == "" for view in snapshot.sentinels)
    found = {}
    for node in own_nodes(snapshot):
        unknown = {beginning: 1 for beginning in node.watchers or {} if beginning not in known}
        expected = _subscriptions(snapshot, node)
        often = {
            beginning: 1
            for beginning, count in (node.watchers or {}).items()
            if beginning in known and count > expected.get(beginning, 1)
        }
        strange = {**(unknown if len(unknown) > nameless or _any_often(node.watchers, unknown) else {}), **often}
        if strange:
            found[node.address] = strange
    return found


def _subscriptions(snapshot: Snapshot, node: NodeView) -> dict[str, int]:
    """How often each Sentinel watches a node by what it tells: for each of its names, and at each address at which it lists the node."""
    servers = own_nodes(snapshot)
    found = {}
    for view in snapshot.reachable_sentinels:
        names = {
            entry.name
            for entry in view.masters
            if entry.name != snapshot.master_name and _server_of(snapshot, servers, entry) is not None
        }
        rows = [row for row in (view.master, *view.replicas) if row is not None and row.run_id == node.run_id]
        found[view.run_id[:ID_DIGITS]] = len(names) + max(1, len(rows))
    return found


def _any_often(watchers: Mapping[str, int] | None, ids: Iterable[str]) -> bool:
    return any((watchers or {}).get(beginning, 0) > 1 for beginning in ids)


def _id_of(snapshot: Snapshot, view: SentinelView) -> str:
    """The run id of a Sentinel, by itself or by those that list its address."""
    if view.run_id:
        return view.run_id
    rows = (entry for other in snapshot.sentinels for entry in other.peers)
    return next((entry.run_id for entry in rows if snapshot.same(entry.address, view.address)), "")


def equal_ids(snapshot: Snapshot) -> dict[str, tuple[Address, ...]]:
    """Run ids that several Sentinels have: a configuration file was copied. For each, the addresses of those that have it."""
    found: dict[str, set[Address]] = {}
    for view in snapshot.reachable_sentinels:
        if view.run_id:
            found.setdefault(view.run_id, set()).add(snapshot.identity(view.address))
    for said in snapshot.hellos.values():
        for hello in said:
            found.setdefault(hello.run_id, set()).add(snapshot.identity(hello.sentinel))
    return {run_id: tuple(sorted(addresses)) for run_id, addresses in found.items() if len(addresses) > 1}
