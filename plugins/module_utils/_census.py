# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks for many masters at once: each Sentinel over one connection, each node once, however many masters there are.

What comes out for each master is what ``_topology.take_snapshot`` gives for it. This module is private to the collection
redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import access_check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client, Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import one_server_once, own_nodes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import refuse
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    MasterEntry,
    parse_address,
    parse_master_entry,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Host, NodeView, SentinelView, Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import (
    PROBES,
    QUESTIONS,
    _addresses,
    about_master,
    ask_node,
    ask_settings,
    permitted,
    sentinel_of,
)

MASTERS_AT_ONCE = 50
"""How many masters one exchange with a Sentinel is about. It does nothing else meanwhile, so the exchanges are kept short."""

Failure = (LinkError, ReplyError)


def watched_masters(fleet: Fleet) -> list[str]:
    """The names of all masters that the named Sentinels watch.

    Raises:
        RefusedError: None of these Sentinels can be asked.
    """
    try:
        return _names(fleet, fleet.options.sentinels)
    except LinkError as error:
        raise refuse([access_check("sentinel", parse_address(error.address), error.message, error.code)]) from error
    except ReplyError as error:
        if "unknown command" in error.message.lower():
            check = access_check(
                "sentinel", parse_address(error.address), "this is a data node, not a Sentinel", "unreachable"
            )
        else:
            code = "not_permitted" if error.prefix == "NOPERM" else "unreachable"
            check = access_check("sentinel", parse_address(error.address), f"{error.prefix} {error.message}", code)
        raise refuse([check]) from error


def _names(fleet: Fleet, sentinels: Iterable[Address]) -> list[str]:
    """The names of all masters that these Sentinels watch.

    Raises:
        LinkError: None of them can be asked.
        ReplyError: It refuses.
    """
    answers = fleet.gather(sentinels, lambda address: fleet.sentinel(address).ask("SENTINEL", "MASTERS"))
    names: set[str] = set()
    failure: LinkError | ReplyError | None = None
    answered = False
    for answer in answers.values():
        if isinstance(answer, (LinkError, ReplyError)):
            failure = failure or answer
        else:
            answered = True
            names.update(parse_master_entry(row).name for row in answer)
    if failure is not None and not answered:
        raise failure
    return sorted(names)


def take_snapshots(
    fleet: Fleet, master_names: Iterable[str], settings: bool = True, probe: bool = False, hosts: Iterable[str] = ()
) -> dict[str, Snapshot]:
    """Ask all Sentinels, those given and those they know, and all nodes that they know or that are attached to a master, once for all masters.

    Args:
        fleet: The clients.
        master_names: The names of the masters.
        settings: Also ask the nodes of each deployment for their settings.
        probe: Also find out, harmlessly, what the Sentinels permit, and which masters each watches.
        hosts: Host names to resolve.
    """
    resolved = {host: fleet.resolve(fleet.options.address_map.get(host, host)) for host in hosts}
    views = ask_sentinels(fleet, master_names, probe)
    members = {name: _named_addresses(of_master) for name, of_master in views.items()}
    asked: dict[Address, NodeView] = {}
    _ask_those_not_asked(fleet, asked, members.values())
    for name, of_master in views.items():
        members[name] += _attached(fleet, of_master, asked)
    _ask_those_not_asked(fleet, asked, members.values())
    watched = Watched(fleet, views.values())
    snapshots = {}
    for name, of_master in views.items():
        answered = {endpoint: asked[endpoint] for endpoint in _endpoints(fleet, members[name])}
        snapshot = _snapshot(fleet, name, watched.of_these_servers(of_master, answered), list(answered.values()))
        snapshots[name] = replace(snapshot, hosts=resolved, master_hosts=watched.hosts)
    return with_settings(fleet, snapshots) if settings else snapshots


class Watched:
    """Finds, for the servers of one deployment, the names under which the Sentinels watch them.

    To compare each deployment with every name would take four times as long for twice as many.

    Attributes:
        hosts: The host that each of these masters is on, by its name.
    """

    def __init__(self, fleet: Fleet, views: Iterable[Iterable[SentinelView]]) -> None:
        self.hosts: dict[str, Host] = {}
        self._by_server: dict[int, dict[Address | str, list[MasterEntry]]] = {}
        for view in (view for of_master in views for view in of_master):
            # The views of one Sentinel share this table.
            if id(view.masters) not in self._by_server:
                self._by_server[id(view.masters)] = self._index(fleet, view.masters)

    def _index(self, fleet: Fleet, masters: Iterable[MasterEntry]) -> dict[Address | str, list[MasterEntry]]:
        found: dict[Address | str, list[MasterEntry]] = {}
        for entry in masters:
            endpoint = fleet.endpoint(entry.address)
            self.hosts.setdefault(entry.name, Host(endpoint.host, entry.address.host))
            for server in (endpoint, entry.run_id):
                if server:
                    found.setdefault(server, []).append(entry)
        return found

    def of_these_servers(
        self, views: Iterable[SentinelView], answered: Mapping[Address, NodeView]
    ) -> tuple[SentinelView, ...]:
        """The views, each with no other masters than those of these servers."""
        servers: list[Address | str] = [*answered, *(node.run_id for node in answered.values())]
        return tuple(replace(view, masters=self._of(view, servers)) if view.masters else view for view in views)

    def _of(self, view: SentinelView, servers: Iterable[Address | str]) -> tuple[MasterEntry, ...]:
        table = self._by_server[id(view.masters)]
        return tuple({entry.name: entry for server in servers for entry in table.get(server, ())}.values())


def ask_sentinels(
    fleet: Fleet, master_names: Iterable[str], probe: bool = False
) -> dict[str, tuple[SentinelView, ...]]:
    """What every Sentinel says of each of these masters: those given, and those that one of them knows beside that master.

    A Sentinel that answers at several addresses is there once, by the first of them.

    Args:
        fleet: The clients.
        master_names: The names of the masters.
        probe: Also find out, harmlessly, what the Sentinels permit, and which masters each watches.
    """
    views: dict[str, list[SentinelView]] = {name: [] for name in master_names}
    asked: dict[str, set[Address]] = {name: set() for name in views}
    to_ask = {address: list(views) for address in _first_of_each(fleet, fleet.options.sentinels)}
    while views and to_ask:
        for address, answer in _ask_side_by_side(fleet, to_ask, probe).items():
            for name in to_ask[address]:
                asked[name].add(fleet.endpoint(address))
                _add_view(views[name], _view_of(address, answer, name))
        to_ask = {}
        for name, of_master in views.items():
            for address in _unasked_peers(fleet, of_master, asked[name]):
                to_ask.setdefault(address, []).append(name)
    return {name: tuple(of_master) for name, of_master in views.items()}


def _ask_side_by_side(
    fleet: Fleet, to_ask: Mapping[Address, Sequence[str]], probe: bool
) -> dict[Address, dict[str, SentinelView] | LinkError | ReplyError]:
    return fleet.gather(to_ask, lambda address: ask_about(fleet.sentinel(address), to_ask[address], probe))


def _first_of_each(fleet: Fleet, addresses: Iterable[Address]) -> list[Address]:
    found: dict[Address, Address] = {}
    for address in addresses:
        found.setdefault(fleet.endpoint(address), address)
    return list(found.values())


def _view_of(
    address: Address, answer: Mapping[str, SentinelView] | LinkError | ReplyError, master_name: str
) -> SentinelView:
    if isinstance(answer, Failure):
        error, code = _said(answer)
        return SentinelView(address, error=error, error_code=code)
    return answer[master_name]


def _add_view(views: list[SentinelView], view: SentinelView) -> None:
    if not view.process_id or all(view.process_id != known.process_id for known in views):
        views.append(view)


def _unasked_peers(fleet: Fleet, views: Sequence[SentinelView], asked: set[Address]) -> list[Address]:
    known = {view.run_id for view in views if view.run_id}
    peers = (entry for view in views for entry in view.peers if entry.run_id not in known)
    return _first_of_each(fleet, (entry.address for entry in peers if fleet.endpoint(entry.address) not in asked))


def _said(error: LinkError | ReplyError) -> tuple[str, str]:
    """An error as text and code."""
    if isinstance(error, LinkError):
        return error.message, error.code
    return f"{error.prefix} {error.message}", "not_permitted" if error.prefix == "NOPERM" else "error_reply"


def ask_about(client: Client, master_names: Sequence[str], probe: bool = False) -> dict[str, SentinelView]:
    """Everything that one Sentinel says about these masters.

    Args:
        client: The Sentinel's client.
        master_names: The names of the masters.
        probe: Also find out, harmlessly, what it permits, and which masters it watches.

    Raises:
        LinkError: It cannot be asked.
        ReplyError: It does not permit the questions.
    """
    own = _own_view(client, probe)
    views = {}
    for first in range(0, len(master_names), MASTERS_AT_ONCE):
        names = master_names[first : first + MASTERS_AT_ONCE]
        questions: list[tuple[object, ...]] = [("SENTINEL", question, name) for name in names for question in QUESTIONS]
        replies = client.ask_many(questions, keep_errors=True)
        for position, name in enumerate(names):
            here = position * len(QUESTIONS)
            views[name] = replace(own, **about_master(replies[here : here + len(QUESTIONS)]))
    return views


def _own_view(client: Client, probe: bool) -> SentinelView:
    """What a Sentinel is, whatever master it is asked about."""
    questions: list[tuple[object, ...]] = [("INFO",), ("SENTINEL", "MYID")]
    if not probe:
        return sentinel_of(client.address, *client.ask_many(questions, keep_errors=True))
    questions += [("SENTINEL", "MASTERS"), *PROBES]
    info_reply, my_id, masters, *probes = client.ask_many(questions, keep_errors=True)
    return replace(
        sentinel_of(client.address, info_reply, my_id),
        **permitted(probes),
        masters=() if isinstance(masters, ReplyError) else tuple(parse_master_entry(row) for row in masters),
    )


def _named_addresses(views: Iterable[SentinelView]) -> list[Address]:
    """The nodes that the Sentinels of one master name, the master first."""
    found: dict[Address, None] = {}
    for view in views:
        if view.current is not None:
            found.setdefault(view.current)
        for entry in view.replicas:
            found.setdefault(entry.address)
    return list(found)


def _endpoints(fleet: Fleet, addresses: Iterable[Address]) -> list[Address]:
    return list(dict.fromkeys(fleet.endpoint(address) for address in addresses))


def _resolve(fleet: Fleet, hosts: Iterable[str]) -> None:
    """Look up the hosts side by side; a name server may be slow. The fleet remembers what it found."""
    fleet.gather({fleet.options.reachable(Address(host, 1)).host for host in hosts}, fleet.resolve)


def _ask_those_not_asked(fleet: Fleet, asked: dict[Address, NodeView], members: Iterable[Iterable[Address]]) -> None:
    """Add what each node says of itself, by where it is reached."""
    addresses = [address for of_master in members for address in of_master]
    _resolve(fleet, {address.host for address in addresses})
    seen: dict[Address, Address] = {}
    for address in addresses:
        if fleet.endpoint(address) not in asked:
            seen.setdefault(fleet.endpoint(address), address)
    for address, answer in _ask_nodes(fleet, seen.values(), ask_node).items():
        if isinstance(answer, Failure):
            error, code = _said(answer)
            asked[fleet.endpoint(address)] = NodeView(address, error=error, error_code=code)
        else:
            asked[fleet.endpoint(address)] = answer


def _ask_nodes(
    fleet: Fleet, addresses: Iterable[Address], ask: Callable[[Client], NodeView]
) -> dict[Address, NodeView | LinkError | ReplyError]:
    """What each node answers.

    Its connection is closed at once: with a thousand nodes there would be more of them than a process may have open.
    """

    def ask_and_close(address: Address) -> NodeView:
        client = fleet.node(address)
        try:
            return ask(client)
        finally:
            client.close()

    return fleet.gather(addresses, ask_and_close)


def _attached(fleet: Fleet, views: Iterable[SentinelView], asked: Mapping[Address, NodeView]) -> list[Address]:
    """The replicas that are attached to the master, some of which Sentinel may know and not show."""
    masters = {fleet.endpoint(view.current) for view in views if view.current is not None}
    replications = (asked[endpoint].replication for endpoint in masters)
    return [
        replica.address
        for replication in replications
        if replication is not None and replication.is_master
        for replica in replication.attached
        # A program that only reads the stream of changes attaches with port 0.
        if replica.address.port
    ]


def _snapshot(
    fleet: Fleet, master_name: str, views: tuple[SentinelView, ...], answered: Sequence[NodeView]
) -> Snapshot:
    nodes, twins = one_server_once(answered)
    merged = {fleet.endpoint(second): fleet.endpoint(first) for second, first in twins.items()}
    identities = {address: fleet.endpoint(address) for address in _addresses(views, answered)}
    return Snapshot(
        master_name=master_name,
        sentinels=views,
        nodes=tuple(sorted(nodes, key=lambda node: node.address)),
        identities={address: merged.get(endpoint, endpoint) for address, endpoint in identities.items()},
    )


def with_settings(
    fleet: Fleet, snapshots: Mapping[str, Snapshot], probe: Mapping[str, tuple[object, ...]] | None = None
) -> dict[str, Snapshot]:
    """The same, with what only nodes of each deployment are asked, all of them side by side.

    Args:
        fleet: The clients.
        snapshots: What everybody said, by the name of the master.
        probe: Commands to try on each of these nodes without running them, by name.
    """
    own = {node.address: node for snapshot in snapshots.values() for node in own_nodes(snapshot) if node.reachable}
    answers = _ask_nodes(fleet, own, lambda client: ask_settings(client, own[client.address], probe))
    for address, answer in answers.items():
        if isinstance(answer, Failure):
            error, code = _said(answer)
            own[address] = NodeView(address, error=error, error_code=code)
        else:
            own[address] = answer
    return {
        name: replace(snapshot, nodes=tuple(own.get(node.address, node) for node in snapshot.nodes))
        for name, snapshot in snapshots.items()
    }
