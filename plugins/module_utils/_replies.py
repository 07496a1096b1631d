# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replies of SENTINEL, INFO and ROLE, and events of Sentinel, as frozen dataclasses.

Pure. The wire's own names (``slave``, ``+switch-master``) stay in here. This module is private to the collection
redis_ha.sentinel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_SENTINEL_PORT = 26379
NEVER_MS = 2**53
"""An age in milliseconds that means: never."""

HELLO_CHANNEL = "__sentinel__:hello"
HELLO_PROBE = ("PUBLISH", HELLO_CHANNEL, "x")
"""Answered 1 and thrown away, since it has not eight fields: it shows whether we may publish there, and does nothing (seen on Redis 6.0, 7.0, Valkey 9.1)."""


@dataclass(frozen=True, order=True)
class Address:
    """Where a server is: a host name or an IP address, and a port (1 to 65535)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def as_result(self) -> dict[str, Any]:
        """The form that results carry: ``host`` and ``port``."""
        return {"host": self.host, "port": self.port}


def parse_address(text: str, default_port: int | None = None) -> Address:
    """Read ``host:port``, ``[ipv6]:port`` or, with a default port, ``host`` alone.

    Raises:
        ValueError: The text is not an address; the message says why.
    """
    found = re.fullmatch(
        r"\[(?P<bracketed>[^\[\]]+)\](?::(?P<port6>\d+))?|(?P<plain>[^:\[\]\s]+)(?::(?P<port>\d+))?", text.strip()
    )
    if found is None:
        raise ValueError(f"{text!r} is not host:port (an IPv6 address is written [address]:port)")
    host = found["bracketed"] or found["plain"]
    port_text = found["port6"] or found["port"]
    if port_text is None and default_port is None:
        raise ValueError(f"{text!r} has no port: write host:port")
    port = int(port_text) if port_text is not None else int(default_port or 0)
    if not 1 <= port <= 65535:
        raise ValueError(f"{text!r}: the port must be from 1 to 65535")
    try:
        # What the socket module does with every host; of what it cannot encode, a connection would make no error that says where.
        host.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"{text!r}: no host is called so ({error})") from error
    return Address(host, port)


def _map(reply: Sequence[Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in zip(reply[::2], reply[1::2])}


def _number(fields: Mapping[str, str], name: str, default: int = 0) -> int:
    try:
        return int(fields.get(name, ""))
    except ValueError:
        return default


def _info_age_ms(fields: Mapping[str, str]) -> int:
    """How old the last INFO of a node is that a Sentinel has.

    0 means never since Redis 6.2, and also that it has come in this millisecond: then it has brought the run id. 6.0 prints the whole Unix time for never.
    """
    age_ms = _number(fields, "info-refresh")
    never = age_ms > 10**12 or (age_ms == 0 and not fields.get("runid"))
    return NEVER_MS if never else age_ms


@dataclass(frozen=True)
class MasterEntry:
    """``SENTINEL MASTER``: what a Sentinel knows of the master."""

    name: str
    address: Address
    run_id: str
    flags: frozenset[str]
    config_epoch: int
    quorum: int
    down_after_ms: int
    failover_timeout_ms: int
    parallel_syncs: int
    known_replicas: int
    known_peers: int
    failover_state: str
    info_age_ms: int
    role_reported: str
    last_ok_ping_ms: int = 0
    client_reconfig_script: bool = False
    """Whether this Sentinel calls a script when it changes the master."""

    @property
    def failover_in_progress(self) -> bool:
        return "failover_in_progress" in self.flags

    @property
    def coordinated(self) -> bool:
        """Whether the servers hand over to each other in the failover that is in progress (Valkey 9)."""
        return "coordinated_failover" in self.flags

    @property
    def objectively_down(self) -> bool:
        return "o_down" in self.flags


def parse_master_entry(reply: Sequence[Any]) -> MasterEntry:
    """Read the reply of ``SENTINEL MASTER name`` (RESP2)."""
    fields = _map(reply)
    return MasterEntry(
        name=fields.get("name", ""),
        address=Address(fields.get("ip", ""), _number(fields, "port")),
        run_id=fields.get("runid", ""),
        flags=frozenset(fields.get("flags", "").split(",")),
        config_epoch=_number(fields, "config-epoch"),
        quorum=_number(fields, "quorum"),
        down_after_ms=_number(fields, "down-after-milliseconds"),
        failover_timeout_ms=_number(fields, "failover-timeout"),
        parallel_syncs=_number(fields, "parallel-syncs", 1),
        known_replicas=_number(fields, "num-slaves"),
        known_peers=_number(fields, "num-other-sentinels"),
        failover_state=fields.get("failover-state", ""),
        info_age_ms=_info_age_ms(fields),
        role_reported=fields.get("role-reported", ""),
        last_ok_ping_ms=_number(fields, "last-ok-ping-reply"),
        client_reconfig_script=bool(fields.get("client-reconfig-script")),
    )


@dataclass(frozen=True)
class ReplicaEntry:
    """One row of ``SENTINEL REPLICAS``: what a Sentinel knows of a replica."""

    address: Address
    run_id: str
    flags: frozenset[str]
    link_up: bool
    link_down_ms: int
    master: Address
    priority: int
    offset: int
    info_age_ms: int
    last_ok_ping_ms: int
    announced: bool

    @property
    def down(self) -> bool:
        return bool(self.flags & {"s_down", "o_down", "disconnected"})


def parse_replica_entries(reply: Sequence[Sequence[Any]]) -> tuple[ReplicaEntry, ...]:
    """Read the reply of ``SENTINEL REPLICAS name`` (``SLAVES`` on 5.0), RESP2."""
    entries = []
    for row in reply:
        fields = _map(row)
        entries.append(
            ReplicaEntry(
                address=Address(fields.get("ip", ""), _number(fields, "port")),
                run_id=fields.get("runid", ""),
                flags=frozenset(fields.get("flags", "").split(",")),
                link_up=fields.get("master-link-status") == "ok",
                link_down_ms=_number(fields, "master-link-down-time"),
                master=Address(fields.get("master-host", ""), _number(fields, "master-port")),
                priority=_number(fields, "slave-priority", 100),
                offset=_number(fields, "slave-repl-offset"),
                info_age_ms=_info_age_ms(fields),
                last_ok_ping_ms=_number(fields, "last-ok-ping-reply"),
                announced=fields.get("replica-announced", "1") != "0",
            )
        )
    return tuple(sorted(entries, key=lambda entry: entry.address))


@dataclass(frozen=True)
class PeerEntry:
    """One row of ``SENTINEL SENTINELS``: what a Sentinel knows of another Sentinel."""

    address: Address
    run_id: str
    flags: frozenset[str]
    last_hello_ms: int

    @property
    def down(self) -> bool:
        return bool(self.flags & {"s_down", "o_down", "disconnected"})


def parse_peer_entries(reply: Sequence[Sequence[Any]]) -> tuple[PeerEntry, ...]:
    """Read the reply of ``SENTINEL SENTINELS name`` (RESP2)."""
    entries = []
    for row in reply:
        fields = _map(row)
        entries.append(
            PeerEntry(
                address=Address(fields.get("ip", ""), _number(fields, "port")),
                run_id=fields.get("runid", ""),
                flags=frozenset(fields.get("flags", "").split(",")),
                last_hello_ms=_number(fields, "last-hello-message"),
            )
        )
    return tuple(sorted(entries, key=lambda entry: entry.address))


def parse_info(text: str) -> dict[str, str]:
    """Read the reply of ``INFO``: every ``name:value`` line of every section."""
    fields = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            fields[name] = value
    return fields


def parse_version(text: str) -> tuple[int, int, int]:
    """Read ``7.0.15`` (also with a suffix such as ``-rc1``); (0, 0, 0) where there is none."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


@dataclass(frozen=True)
class AttachedReplica:
    """One ``slaveN:`` line of a node's ``INFO replication``."""

    address: Address
    state: str
    offset: int
    lag_s: int


@dataclass(frozen=True)
class Position:
    """A place in the history of writes that ``replid`` names. Offsets of two histories say nothing of each other."""

    replid: str
    offset: int

    def __str__(self) -> str:
        return str(self.offset)


@dataclass(frozen=True)
class Replication:
    """``INFO replication`` of a data node."""

    role: str
    replid: str
    replid2: str
    offset: int
    applied_offset: int
    second_offset: int
    master: Address | None
    link_up: bool
    link_down_s: int
    sync_in_progress: bool
    sync_read_bytes: int
    sync_left_bytes: int
    sync_total_bytes: int
    read_only: bool
    priority: int
    failover_state: str
    backlog_active: bool
    backlog_size: int
    backlog_first_offset: int
    backlog_bytes: int
    attached: tuple[AttachedReplica, ...]

    @property
    def position(self) -> Position:
        return Position(self.replid, self.offset)

    def has_applied(self, wanted: Position) -> bool:
        """Whether this replica has all that its master had there."""
        return self.replid == wanted.replid and self.applied_offset >= wanted.offset

    @property
    def is_master(self) -> bool:
        return self.role == "master"


def parse_replication(fields: Mapping[str, str]) -> Replication:
    """Read the replication section of a parsed ``INFO``."""
    attached = []
    for name, value in fields.items():
        if name.startswith("slave") and name[5:].isdigit():
            parts = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
            attached.append(
                AttachedReplica(
                    address=Address(parts.get("ip", ""), _number(parts, "port")),
                    state=parts.get("state", ""),
                    offset=_number(parts, "offset"),
                    lag_s=_number(parts, "lag"),
                )
            )
    is_replica = "master_host" in fields
    return Replication(
        role="replica" if fields.get("role") == "slave" else fields.get("role", ""),
        replid=fields.get("master_replid", ""),
        replid2=fields.get("master_replid2", ""),
        offset=_number(fields, "master_repl_offset"),
        applied_offset=_number(fields, "slave_repl_offset", -1),
        second_offset=_number(fields, "second_repl_offset", -1),
        master=Address(fields["master_host"], _number(fields, "master_port")) if is_replica else None,
        link_up=fields.get("master_link_status") == "up",
        link_down_s=_number(fields, "master_link_down_since_seconds", -1),
        sync_in_progress=fields.get("master_sync_in_progress") == "1",
        sync_read_bytes=_number(fields, "master_sync_read_bytes"),
        sync_left_bytes=_number(fields, "master_sync_left_bytes", -1),
        sync_total_bytes=_number(fields, "master_sync_total_bytes", -1),
        read_only=fields.get("slave_read_only", "1") == "1",
        priority=_number(fields, "slave_priority", -1),
        failover_state=fields.get("master_failover_state", "no-failover"),
        backlog_active=fields.get("repl_backlog_active") == "1",
        backlog_size=_number(fields, "repl_backlog_size"),
        backlog_first_offset=_number(fields, "repl_backlog_first_byte_offset"),
        backlog_bytes=_number(fields, "repl_backlog_histlen"),
        attached=tuple(attached),
    )


@dataclass(frozen=True)
class Role:
    """``ROLE`` of a data node. ``link`` is what a replica says of its link: ``connected`` is the good one."""

    role: str
    offset: int
    master: Address | None = None
    link: str = ""

    @property
    def is_master(self) -> bool:
        return self.role == "master"


def parse_role(reply: Sequence[Any]) -> Role:
    """Read the reply of ``ROLE``."""
    if reply[0] == "slave":
        return Role("replica", int(reply[4]), Address(str(reply[1]), int(reply[2])), str(reply[3]))
    return Role(str(reply[0]), int(reply[1]) if reply[0] == "master" else 0)


@dataclass(frozen=True)
class ClientRow:
    """One line of ``CLIENT LIST``. Of the ``flags``, ``b`` is a connection whose command waits, ``M`` the link to the master."""

    id: int
    name: str
    address: str
    user: str = ""
    flags: str = ""
    command: str = ""
    age_s: int = 10**9

    @property
    def is_ordinary(self) -> bool:
        """Neither a replica, nor a master, nor a subscriber."""
        return self.flags == "N"

    @property
    def is_sentinel(self) -> bool:
        """A Sentinel's, by its name. Each of them connects anew to a master that it has just been told is a replica."""
        return re.fullmatch(r"sentinel-[0-9a-f]{8}-(cmd|pubsub)", self.name) is not None


def parse_client_list(text: str) -> tuple[ClientRow, ...]:
    """Read the reply of ``CLIENT LIST``."""
    rows = []
    for line in text.splitlines():
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        rows.append(
            ClientRow(
                _number(fields, "id"),
                fields.get("name", ""),
                fields.get("addr", ""),
                fields.get("user", ""),
                fields.get("flags", ""),
                fields.get("cmd", ""),
                _number(fields, "age", 10**9),
            )
        )
    return tuple(rows)


SENTINEL_SUBSCRIBER = re.compile(r"sentinel-([0-9a-f]{8})-pubsub")
"""How Sentinel names the connection on which it hears the others (``sentinelSetClientName``): by the beginning of its run id."""


def parse_watchers(text: str) -> dict[str, int]:
    """Count, in a reply of ``CLIENT LIST``, the subscriptions of each Sentinel, by the first eight digits of its run id."""
    found = (SENTINEL_SUBSCRIBER.fullmatch(row.name) for row in parse_client_list(text))
    return dict(Counter(match[1] for match in found if match))


@dataclass(frozen=True, order=True)
class Hello:
    """What a Sentinel says of itself and of one of its masters on ``__sentinel__:hello``."""

    sentinel: Address
    run_id: str
    master_name: str
    master: Address


def parse_hello(text: str) -> Hello | None:
    """Read a hello: ``ip,port,runid,current_epoch,name,master_ip,master_port,master_config_epoch``; ``None`` where it is none."""
    words = text.split(",")
    if len(words) != 8 or not (words[1].isdigit() and words[6].isdigit()):
        return None
    return Hello(Address(words[0], int(words[1])), words[2], words[4], Address(words[5], int(words[6])))


@dataclass(frozen=True)
class Event:
    """What a Sentinel published: the channel, the text, and what can be read off the text."""

    channel: str
    payload: str
    master_name: str
    instance: Address | None


def parse_event(channel: str, payload: str) -> Event:
    """Read one event. The forms of the text are those of ``sentinelEvent`` in Sentinel's source."""
    words = payload.split()
    name = ""
    instance = None
    if channel == "+switch-master" and len(words) >= 5:
        name, instance = words[0], Address(words[3], int(words[4]))
    elif words and words[0] == "master" and len(words) >= 4:
        name, instance = words[1], _event_address(words[2], words[3])
    elif words and words[0] in {"slave", "sentinel"} and len(words) >= 4:
        instance = _event_address(words[2], words[3])
        if len(words) >= 6 and words[4] == "@":
            name = words[5]
    # Before 6.2 it shows the value that was set, also where that is a password.
    shown = " ".join(words[:5]) if channel == "+set" else payload
    return Event(channel, shown, name, instance)


def _event_address(host: str, port: str) -> Address | None:
    return Address(host.strip("[]"), int(port)) if port.isdigit() else None
