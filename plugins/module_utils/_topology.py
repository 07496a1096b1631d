# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks every Sentinel and every node, and returns one snapshot: what each of them says.

The dataclasses are pure; :func:`take_snapshot` and :func:`master_names` talk to servers. This module is private to the
collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client, Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    ClientRow,
    MasterEntry,
    PeerEntry,
    ReplicaEntry,
    Replication,
    Role,
    parse_client_list,
    parse_info,
    parse_master_entry,
    parse_peer_entries,
    parse_replica_entries,
    parse_replication,
    parse_role,
    parse_version,
)

CONFIG_READ = (
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "replica-priority",
    "replica-read-only",
    "maxmemory",
    "masteruser",
)
"""Settings whose values a snapshot carries. None of them is a secret."""

HELLO_CHANNEL = "__sentinel__:hello"
HELLO_PROBE = ("PUBLISH", HELLO_CHANNEL, "x")
"""Answered 1 and thrown away, since it has not eight fields: it shows whether we may publish there, and does nothing (seen on Redis 6.0, 7.0, Valkey 9.1)."""

NO_SUCH_MASTER = "redis_ha.sentinel:no-such-master"
"""A name that no deployment has: asking to fail it over shows what a Sentinel permits and knows, and does nothing."""


@dataclass(frozen=True)
class SentinelView:
    """What one Sentinel says about one master; ``error`` where it could not be asked.

    ``run_id`` is its lasting id, which Redis 6.0 does not tell; ``process_id`` is another one after each start, and every version tells it.
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

    @property
    def reachable(self) -> bool:
        return not self.error

    def replica(self, same: Iterable[Address]) -> ReplicaEntry | None:
        """The row of the replica that has one of these addresses."""
        wanted = set(same)
        return next((entry for entry in self.replicas if entry.address in wanted), None)


@dataclass(frozen=True)
class NodeView:
    """What one data node says of itself; ``error`` where it could not be asked."""

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
class Snapshot:
    """What everybody says about one master, at about one moment.

    ``identities`` leads from every address and name that was seen to the one (resolved) address of that server.
    """

    master_name: str
    sentinels: tuple[SentinelView, ...]
    nodes: tuple[NodeView, ...]
    identities: Mapping[Address, Address] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

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


def _said(error: LinkError | ReplyError) -> tuple[str, str]:
    """An error as text and code."""
    if isinstance(error, LinkError):
        return error.message, error.code
    return f"{error.prefix} {error.message}", "not_permitted" if error.prefix == "NOPERM" else "error_reply"


def master_names(fleet: Fleet, sentinels: Iterable[Address]) -> list[str]:
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
        ("SENTINEL", "MASTER", master_name),
        ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master_name),
        ("SENTINEL", "REPLICAS", master_name),
        ("SENTINEL", "SENTINELS", master_name),
        ("SENTINEL", "CKQUORUM", master_name),
        ("SENTINEL", "MYID"),
    ]
    if probe:
        questions += [
            ("SENTINEL", "FAILOVER", NO_SUCH_MASTER),
            ("SENTINEL", "FAILOVER", NO_SUCH_MASTER, "COORDINATED"),
            HELLO_PROBE,
        ]
    info_reply, master, current, replicas, peers, quorum, my_id, *probes = client.ask_many(questions, keep_errors=True)
    if isinstance(info_reply, ReplyError):
        raise info_reply
    info = parse_info(info_reply)
    if "sentinel_masters" not in info:
        raise LinkError(str(client.address), "this is a data node, not a Sentinel", sent=False)
    for reply in (master, current, replicas, peers, quorum):
        expected = isinstance(reply, ReplyError) and (reply.prefix == "NOQUORUM" or "No such master" in reply.message)
        if isinstance(reply, ReplyError) and not expected:
            raise reply
    known = not isinstance(master, ReplyError)
    return SentinelView(
        address=client.address,
        version=parse_version(info.get("valkey_version") or info.get("redis_version", "")),
        run_id="" if isinstance(my_id, ReplyError) else str(my_id),
        process_id=info.get("run_id", ""),
        tilt=info.get("sentinel_tilt", "0") != "0",
        tilt_total=int(info.get("sentinel_total_tilt", -1)),
        master=parse_master_entry(master) if known else None,
        current=Address(str(current[0]), int(current[1])) if known and current else None,
        replicas=() if isinstance(replicas, ReplyError) else parse_replica_entries(replicas),
        peers=() if isinstance(peers, ReplyError) else parse_peer_entries(peers),
        quorum_ok=known and not isinstance(quorum, ReplyError),
        quorum_detail=quorum.message if isinstance(quorum, ReplyError) else str(quorum),
        failover_refused=_probe_refusal(probes[0]) if probes else "",
        hello_refused=_probe_refusal(probes[2]) if probes else "",
        coordinated=bool(probes) and isinstance(probes[1], ReplyError) and "No such master" in probes[1].message,
    )


def _probe_refusal(answer: Any) -> str:
    if isinstance(answer, ReplyError) and "No such master" not in answer.message:
        return f"{answer.prefix} {answer.message}"
    return ""


def ask_node(client: Client, probe: Mapping[str, tuple[object, ...]] | None = None) -> NodeView:
    """Everything that one data node says of itself.

    Args:
        client: The node's client.
        probe: Commands to try in MULTI without running them, by the name under which a refusal is reported.

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
    compatible = parse_version(info.get("redis_version", ""))
    view = NodeView(
        address=client.address,
        product="valkey" if "valkey_version" in info else "redis",
        version=parse_version(info.get("valkey_version") or info.get("redis_version", "")),
        compatible_version=compatible,
        run_id=info.get("run_id", ""),
        role=parse_role(role),
        replication=parse_replication(info),
        info=info,
    )
    if info.get("loading", "0") != "0":
        # It refuses most other commands, and redis-py closes the connection at such a refusal.
        return view
    questions: list[tuple[object, ...]] = [
        ("CLIENT", "HELP"),
        ("MODULE", "LIST"),
        ("CONFIG", "GET", "masterauth"),
        ("CONFIG", "GET", "requirepass"),
    ]
    questions += [("CONFIG", "GET", name) for name in CONFIG_READ]
    client_help, modules, master_auth, own_password, *settings = client.ask_many(questions, keep_errors=True)
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
        write_pause=_has_write_pause(client_help, compatible),
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


def named_connections(client: Client, name: str) -> list[ClientRow]:
    """All connections of a node that carry a name, the oldest first."""
    rows = parse_client_list(client.ask("CLIENT", "LIST"))
    return sorted((row for row in rows if row.name == name), key=lambda row: row.id)


def take_snapshot(
    fleet: Fleet,
    master_name: str,
    probe: Mapping[str, tuple[object, ...]] | None = None,
    also: Iterable[Address] = (),
    hosts: Iterable[str] = (),
) -> Snapshot:
    """Ask all Sentinels, those given and those they know, and all nodes that they know.

    Args:
        fleet: The clients.
        master_name: The name of the master.
        probe: Commands to try on each node without running them, by name; also probes the Sentinels.
        also: Further addresses to resolve (what the user named).
        hosts: Host names to resolve.
    """
    sentinels = _ask_all_sentinels(fleet, master_name, probe is not None)
    seen: dict[Address, Address] = {}
    for view in sentinels:
        if view.current is not None:
            seen.setdefault(fleet.endpoint(view.current), view.current)
        for entry in view.replicas:
            seen.setdefault(fleet.endpoint(entry.address), entry.address)
    answers = fleet.gather(seen.values(), lambda address: ask_node(fleet.node(address), probe))
    nodes = [
        _unasked_node(address, answer) if isinstance(answer, (LinkError, ReplyError)) else answer
        for address, answer in answers.items()
    ]
    everything = set(also) | {node.address for node in nodes}
    for view in sentinels:
        everything |= {
            view.address,
            *(entry.address for entry in view.replicas),
            *(entry.address for entry in view.peers),
        }
        everything |= {entry.master for entry in view.replicas if entry.master.port}
        everything |= {view.current} if view.current else set()
    for node in nodes:
        if node.replication is not None:
            everything |= {attached.address for attached in node.replication.attached}
            everything |= {node.replication.master} if node.replication.master else set()
    return Snapshot(
        master_name=master_name,
        sentinels=sentinels,
        nodes=tuple(sorted(nodes, key=lambda node: node.address)),
        identities={address: fleet.endpoint(address) for address in everything},
        hosts={host: fleet.resolve(fleet.options.address_map.get(host, host)) for host in hosts},
    )


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
