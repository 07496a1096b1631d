# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks every Sentinel and every node, and returns one snapshot: what each of them says.

A node of another deployment that stands in the tables of our Sentinels is asked what it is, and nothing more. This module is private to
the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client, Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import (
    ID_DIGITS,
    foreign_nodes,
    one_server_once,
    unexplained_watchers,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    HELLO_CHANNEL,
    HELLO_PROBE,
    Address,
    Hello,
    parse_hello,
    parse_info,
    parse_master_entry,
    parse_peer_entries,
    parse_replica_entries,
    parse_replication,
    parse_role,
    parse_version,
    parse_watchers,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot

QUESTIONS = ("MASTER", "GET-MASTER-ADDR-BY-NAME", "REPLICAS", "SENTINELS", "CKQUORUM")
"""What a Sentinel is asked about each master."""

CONFIG_READ = (
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "replica-priority",
    "replica-read-only",
    "maxmemory",
    "masteruser",
)
"""Settings whose values a snapshot carries. None of them is a secret."""

NO_SUCH_MASTER = "redis_ha.sentinel:no-such-master"
"""A name that no deployment has: asking to fail it over shows what a Sentinel permits and knows, and does nothing."""

PROBES: list[tuple[object, ...]] = [
    ("SENTINEL", "FAILOVER", NO_SUCH_MASTER),
    ("SENTINEL", "FAILOVER", NO_SUCH_MASTER, "COORDINATED"),
    HELLO_PROBE,
]
"""What shows, harmlessly, whether a Sentinel lets us fail over and tell the news, and whether it knows COORDINATED."""

HELLO_WAIT_S = 2.5
"""Every Sentinel speaks on each node every 2 s, for each name (``sentinel_publish_period``, and its ticks)."""


def _said(error: LinkError | ReplyError) -> tuple[str, str]:
    """An error as text and code."""
    if isinstance(error, LinkError):
        return error.message, error.code
    return f"{error.prefix} {error.message}", "not_permitted" if error.prefix == "NOPERM" else "error_reply"


def ask_sentinel(client: Client, master_name: str, probe: bool = False) -> SentinelView:
    """Everything that one Sentinel says about a master.

    Args:
        client: The Sentinel's client.
        master_name: The name of the master.
        probe: Also find out, harmlessly, whether it lets us fail over and knows COORDINATED.

    Raises:
        LinkError: It cannot be asked.
        ReplyError: It does not permit the questions.
    """
    questions: list[tuple[object, ...]] = [
        ("INFO",),
        ("SENTINEL", "MYID"),
        *(("SENTINEL", question, master_name) for question in QUESTIONS),
    ]
    if probe:
        questions += PROBES
    info_reply, my_id, *replies = client.ask_many(questions, keep_errors=True)
    own = sentinel_of(client.address, info_reply, my_id)
    told, probes = about_master(replies[: len(QUESTIONS)]), replies[len(QUESTIONS) :]
    # Which other masters it watches is asked only where it says that there are any.
    several = parse_info(info_reply)["sentinel_masters"] not in ("0", "1")
    masters = client.ask_many([("SENTINEL", "MASTERS")], keep_errors=True)[0] if several else []
    return replace(
        own,
        **told,
        **permitted(probes),
        masters=() if isinstance(masters, ReplyError) else tuple(parse_master_entry(row) for row in masters),
    )


def permitted(probes: Sequence[Any]) -> dict[str, Any]:
    """The fields of a Sentinel's view that tell what it permits and knows: its answers to ``PROBES``, read; none, if they were not asked."""
    if not probes:
        return {}
    failover, coordinated, hello = probes
    return {
        "failover_refused": _probe_refusal(failover),
        "hello_refused": _probe_refusal(hello),
        "coordinated": isinstance(coordinated, ReplyError) and "No such master" in coordinated.message,
    }


def sentinel_of(address: Address, info_reply: Any, my_id: Any) -> SentinelView:
    """What a Sentinel is, by its replies to INFO and to SENTINEL MYID.

    Raises:
        LinkError: It is a data node.
        ReplyError: It does not permit INFO.
    """
    if isinstance(info_reply, ReplyError):
        raise info_reply
    info = parse_info(info_reply)
    if "sentinel_masters" not in info:
        raise LinkError(str(address), "this is a data node, not a Sentinel", sent=False)
    return SentinelView(
        address=address,
        version=parse_version(info.get("valkey_version") or info.get("redis_version", "")),
        run_id="" if isinstance(my_id, ReplyError) else str(my_id),
        process_id=info.get("run_id", ""),
        tilt=info.get("sentinel_tilt", "0") != "0",
        tilt_total=int(info.get("sentinel_total_tilt", -1)),
    )


def about_master(replies: Sequence[Any]) -> dict[str, Any]:
    """The fields of a Sentinel's view that are about one master: its answers to ``QUESTIONS``, read.

    Raises:
        ReplyError: One of the questions is not permitted.
    """
    for reply in replies:
        expected = isinstance(reply, ReplyError) and (reply.prefix == "NOQUORUM" or "No such master" in reply.message)
        if isinstance(reply, ReplyError) and not expected:
            raise reply
    master, current, replicas, peers, quorum = replies
    known = not isinstance(master, ReplyError)
    return {
        "master": parse_master_entry(master) if known else None,
        "current": Address(str(current[0]), int(current[1])) if known and current else None,
        "replicas": () if isinstance(replicas, ReplyError) else parse_replica_entries(replicas),
        "peers": () if isinstance(peers, ReplyError) else parse_peer_entries(peers),
        "quorum_ok": known and not isinstance(quorum, ReplyError),
        "quorum_detail": quorum.message if isinstance(quorum, ReplyError) else str(quorum),
    }


def _probe_refusal(answer: Any) -> str:
    if isinstance(answer, ReplyError) and "No such master" not in answer.message:
        return f"{answer.prefix} {answer.message}"
    return ""


def ask_node(client: Client) -> NodeView:
    """What one data node is: its role, its history, who follows it.

    Raises:
        LinkError: It cannot be asked.
        ReplyError: It does not permit INFO or ROLE.
    """
    info_reply, role = client.ask_many([("INFO",), ("ROLE",)], keep_errors=True)
    for reply in (info_reply, role):
        if isinstance(reply, ReplyError):
            raise reply
    info = parse_info(info_reply)
    if "sentinel_masters" in info:
        raise LinkError(str(client.address), "this is a Sentinel, not a data node", sent=False)
    return node_of(client.address, info, role)


def node_of(address: Address, info: Mapping[str, str], role: Any) -> NodeView:
    """What a node says of itself by INFO and by the reply of ROLE."""
    return NodeView(
        address=address,
        product="valkey" if "valkey_version" in info else "redis",
        version=parse_version(info.get("valkey_version") or info.get("redis_version", "")),
        compatible_version=parse_version(info.get("redis_version", "")),
        run_id=info.get("run_id", ""),
        role=parse_role(role),
        replication=parse_replication(info),
        info=info,
    )


def ask_settings(client: Client, view: NodeView, probe: Mapping[str, tuple[object, ...]] | None = None) -> NodeView:
    """What one data node of this deployment is besides: its settings, who watches it, what it permits.

    Args:
        client: The node's client.
        view: What it said it is.
        probe: Commands to try in MULTI without running them, by the name under which a refusal is reported.

    Raises:
        LinkError: It cannot be asked.
    """
    if view.info.get("loading", "0") != "0":
        # It refuses most other commands, and redis-py closes the connection at such a refusal.
        return view
    questions: list[tuple[object, ...]] = [
        ("CLIENT", "HELP"),
        ("MODULE", "LIST"),
        ("CLIENT", "LIST", "TYPE", "PUBSUB"),
        ("CONFIG", "GET", "masterauth"),
        ("CONFIG", "GET", "requirepass"),
    ]
    questions += [("CONFIG", "GET", name) for name in CONFIG_READ]
    client_help, modules, subscribers, master_auth, own_password, *settings = client.ask_many(
        questions, keep_errors=True
    )
    return replace(
        view,
        config={
            name: str(reply[1])
            for name, reply in zip(CONFIG_READ, settings)
            if not isinstance(reply, ReplyError) and len(reply) == 2
        },
        master_auth_set=_is_set(master_auth),
        password_set=_is_set(own_password),
        modules=None if isinstance(modules, ReplyError) else tuple(_module_name(module) for module in modules),
        refused=_refused(client, probe) if probe else {},
        write_pause=_has_write_pause(client_help, view.compatible_version),
        watchers=None if isinstance(subscribers, ReplyError) else parse_watchers(subscribers),
    )


def _is_set(setting: Any) -> bool | None:
    """Whether a secret is set; the secret itself goes no further than here."""
    return None if isinstance(setting, ReplyError) else bool(len(setting) == 2 and setting[1])


def _module_name(module: Any) -> str:
    fields = dict(zip(module[::2], module[1::2]))
    return str(fields.get("name", ""))


def _has_write_pause(client_help: Any, version: tuple[int, int, int]) -> bool:
    """Whether ``CLIENT PAUSE ms WRITE`` and ``CLIENT UNPAUSE`` can be trusted.

    6.0 has neither. 6.2.0 to 6.2.5 do not reset the end of a pause, so that after a FAILOVER the next one never ends
    (redis issue 9467). The help text is asked, so that a version that nobody has listed is judged by what it can do.
    """
    if (6, 2, 0) <= version < (6, 2, 6):
        return False
    if isinstance(client_help, ReplyError):
        return version >= (6, 2, 6)
    return any("UNPAUSE" in str(line).upper() for line in client_help)


def _refused(client: Client, probe: Mapping[str, tuple[object, ...]]) -> dict[str, str]:
    return {name: f"{refusal.prefix} {refusal.message}" for name, refusal in client.refusals(probe).items()}


def take_snapshot(
    fleet: Fleet,
    master_name: str,
    probe: Mapping[str, tuple[object, ...]] | None = None,
    also: Iterable[Address] = (),
    hosts: Iterable[str] = (),
    listen: bool | None = None,
) -> Snapshot:
    """Ask all Sentinels, those given and those they know, and all nodes that they know or that are attached to the master.

    Args:
        fleet: The clients.
        master_name: The name of the master.
        probe: Commands to try on each node without running them, by name; also probes the Sentinels.
        also: Further addresses to resolve (what the user named).
        hosts: Host names to resolve.
        listen: Whether to listen on a node for up to 2.5 s where it shows a Sentinel that nobody explains; as ``probe``, if it is ``None``.
    """
    sentinels = _ask_all_sentinels(fleet, master_name, probe is not None)
    answered = _ask_all_nodes(fleet, sentinels)
    nodes, twins = one_server_once(answered)
    identities = {address: fleet.endpoint(address) for address in {*also, *_addresses(sentinels, answered)}}
    merged = {fleet.endpoint(second): fleet.endpoint(first) for second, first in twins.items()}
    snapshot = Snapshot(
        master_name=master_name,
        sentinels=sentinels,
        nodes=tuple(sorted(nodes, key=lambda node: node.address)),
        identities={address: merged.get(endpoint, endpoint) for address, endpoint in identities.items()},
        hosts={host: fleet.resolve(fleet.options.address_map.get(host, host)) for host in hosts},
    )
    snapshot = _with_settings(fleet, snapshot, probe)
    return with_hellos(fleet, snapshot) if listen or (listen is None and probe is not None) else snapshot


def _ask_all_nodes(fleet: Fleet, sentinels: Iterable[SentinelView]) -> list[NodeView]:
    """Those that the Sentinels know, and those that are attached to the master, which Sentinel may know and not show."""
    seen: dict[Address, Address] = {}
    for view in sentinels:
        for address in (view.current, *(entry.address for entry in view.replicas)):
            if address is not None:
                seen.setdefault(fleet.endpoint(address), address)
    nodes = _ask_each(fleet, seen.values(), lambda address: ask_node(fleet.node(address)))
    named = {fleet.endpoint(view.current) for view in sentinels if view.current is not None}
    attached = {
        fleet.endpoint(replica.address): replica.address
        for node in nodes
        if node.replication is not None and node.replication.is_master and fleet.endpoint(node.address) in named
        for replica in node.replication.attached
        # A program that only reads the stream of changes attaches with port 0.
        if replica.address.port
    }
    unlisted = [address for endpoint, address in attached.items() if endpoint not in seen]
    return nodes + _ask_each(fleet, unlisted, lambda address: ask_node(fleet.node(address)))


def _ask_each(fleet: Fleet, addresses: Iterable[Address], ask: Callable[[Address], NodeView]) -> list[NodeView]:
    answers = fleet.gather(addresses, ask)
    return [
        _unasked_node(address, answer) if isinstance(answer, (LinkError, ReplyError)) else answer
        for address, answer in answers.items()
    ]


def _addresses(sentinels: Iterable[SentinelView], nodes: Iterable[NodeView]) -> set[Address]:
    """Every address that anybody mentions."""
    found = {node.address for node in nodes}
    for view in sentinels:
        found |= {view.address, *(entry.address for entry in view.replicas), *(entry.address for entry in view.peers)}
        found |= {entry.master for entry in view.replicas if entry.master.port}
        found |= {entry.address for entry in view.masters}
        found |= {view.current} if view.current else set()
    for node in nodes:
        if node.replication is not None:
            found |= {attached.address for attached in node.replication.attached}
            found |= {node.replication.master} if node.replication.master else set()
    return found


def _with_settings(fleet: Fleet, snapshot: Snapshot, probe: Mapping[str, tuple[object, ...]] | None) -> Snapshot:
    """The same, with what only nodes of this deployment are asked."""
    foreign = {node.address for node in foreign_nodes(snapshot)}
    views = {node.address: node for node in snapshot.nodes if node.reachable and node.address not in foreign}
    asked = _ask_each(fleet, views, lambda address: ask_settings(fleet.node(address), views[address], probe))
    known = {node.address: node for node in asked}
    return replace(snapshot, nodes=tuple(known.get(node.address, node) for node in snapshot.nodes))


def with_hellos(fleet: Fleet, snapshot: Snapshot) -> Snapshot:
    """The same, with what Sentinels say on nodes that show one which nobody explains. It takes seconds, and is seldom needed."""
    strange = unexplained_watchers(snapshot)
    if not strange:
        return snapshot
    heard = fleet.gather(strange, lambda address: _hear(fleet, snapshot, address, set(strange[address])))
    hellos = {address: answer for address, answer in heard.items() if not isinstance(answer, (LinkError, ReplyError))}
    everything = {address for said in hellos.values() for hello in said for address in (hello.sentinel, hello.master)}
    identities = {**{address: fleet.endpoint(address) for address in everything}, **snapshot.identities}
    return replace(snapshot, hellos=hellos, identities=identities)


def _hear(fleet: Fleet, snapshot: Snapshot, address: Address, strangers: set[str]) -> tuple[Hello, ...]:
    """What is said on a node until every stranger there has named another master, or time is up."""
    hellos: set[Hello] = set()

    def is_explained(text: str) -> bool:
        hello = parse_hello(text)
        if hello is not None:
            hellos.add(hello)
            if hello.master_name != snapshot.master_name:
                strangers.discard(hello.run_id[:ID_DIGITS])
        return not strangers

    fleet.hear(address, HELLO_CHANNEL, HELLO_WAIT_S, is_explained)
    return tuple(sorted(hellos))


def _unasked_node(address: Address, failure: LinkError | ReplyError) -> NodeView:
    error, code = _said(failure)
    return NodeView(address, error=error, error_code=code)


def _ask_all_sentinels(fleet: Fleet, master_name: str, probe: bool) -> tuple[SentinelView, ...]:
    """Those that were given and those that they know; one that answers at several addresses, once: by the first."""
    views: dict[Address, SentinelView] = {}
    asked: set[Address] = set()
    frontier = {fleet.endpoint(address): address for address in reversed(fleet.options.sentinels)}
    frontier = dict(reversed(frontier.items()))
    while frontier:
        asked_now = frontier
        asked |= asked_now.keys()
        answers = fleet.gather(
            asked_now.values(), lambda address: ask_sentinel(fleet.sentinel(address), master_name, probe)
        )
        for endpoint, address in asked_now.items():
            answer = answers[address]
            if isinstance(answer, (LinkError, ReplyError)):
                error, code = _said(answer)
                views[endpoint] = SentinelView(address, error=error, error_code=code)
            elif not answer.process_id or answer.process_id not in {view.process_id for view in views.values()}:
                views[endpoint] = answer
        known = {view.run_id for view in views.values() if view.run_id}
        frontier = {}
        for view in list(views.values()):
            for peer in view.peers:
                if peer.run_id not in known and fleet.endpoint(peer.address) not in asked:
                    frontier[fleet.endpoint(peer.address)] = peer.address
    return tuple(views.values())
