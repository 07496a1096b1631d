# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks what is worth a question of its own, beyond a snapshot, for ``health_info``: is anything held, may Sentinel's user do its work.

Nothing here changes a role, a setting or a key. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import own_nodes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._logins import dry_run, possible_links, try_logins
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    ClientRow,
    Replication,
    parse_client_list,
    parse_info,
    parse_replication,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import Evidence
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock

MISSING_KEY = "redis_ha.sentinel:no-such-key"
"""A key that nobody has: counting its elements is held by a pause of writes, and does nothing."""

HELD_AFTER_S = 0.5
SECOND_LOOK_S = 0.25
"""The write rate is measured over at least this time."""
SECOND_LOOK_LIMIT_S = 2.0
SECOND_LOOK_POLL_S = 0.05

SENTINEL_CONNECTION = "sentinel-"
"""How Sentinel's connections to a node are named (``sentinelSetClientName``)."""

SENTINEL_COMMANDS: dict[str, tuple[object, ...]] = {
    "PING": ("PING",),
    "INFO": ("INFO",),
    "PUBLISH": ("PUBLISH", "__sentinel__:hello", "probe"),
    "SUBSCRIBE": ("SUBSCRIBE", "__sentinel__:hello"),
    "MULTI": ("MULTI",),
    "EXEC": ("EXEC",),
    "SLAVEOF": ("SLAVEOF", "NO", "ONE"),
    "CONFIG REWRITE": ("CONFIG", "REWRITE"),
    "CLIENT SETNAME": ("CLIENT", "SETNAME", "probe"),
    "CLIENT KILL": ("CLIENT", "KILL", "TYPE", "normal"),
}
"""What Sentinel sends to a node to watch it and to change its role (``sentinel.c``)."""

FAILOVER_ABORT: dict[str, tuple[object, ...]] = {"FAILOVER": ("FAILOVER", "ABORT")}
NEEDS_FAILOVER_ABORT = (9, 0, 0)
"""Valkey 9.0.0 sends FAILOVER ABORT with every change of role; 9.0.1 only where a failover hangs."""


def gather_evidence(
    fleet: Fleet, snapshot: Snapshot, clock: Clock, moving_soon: bool, promoted: Address | None = None
) -> Evidence:
    """Everything but what writes files.

    Args:
        fleet: The clients.
        snapshot: What everybody said.
        clock: Time.
        moving_soon: Also look at what matters before the master is moved: logins, and the permissions of Sentinel's user.
        promoted: The replica that a move would promote; Sentinel may choose one that cannot be asked from here.
    """
    reachable = [node for node in own_nodes(snapshot) if node.reachable]
    rows = fleet.gather((node.address for node in reachable), lambda address: _client_rows(fleet, address))
    known_rows = {address: None if isinstance(answer, Exception) else answer for address, answer in rows.items()}
    held = fleet.gather(
        (node.address for node in reachable),
        lambda address: _held(fleet, _node(snapshot, address), known_rows[address]),
    )
    later, rate = look_again(fleet, snapshot, clock)
    evidence = Evidence(
        held={address: None if isinstance(answer, Exception) else answer for address, answer in held.items()},
        later=later,
        write_rate_bytes_s=rate,
    )
    if not moving_soon:
        return evidence
    wants_abort = any(view.version == NEEDS_FAILOVER_ABORT for view in snapshot.reachable_sentinels)
    commands = {**SENTINEL_COMMANDS, **(FAILOVER_ABORT if wants_abort else {})}
    refused = fleet.gather(
        (node.address for node in reachable),
        lambda address: _sentinel_refused(fleet, address, known_rows[address], commands),
    )
    return replace(
        evidence,
        logins=try_logins(fleet, *possible_links(snapshot, promoted)),
        sentinel_refused={
            address: None if isinstance(answer, Exception) else answer for address, answer in refused.items()
        },
    )


def save_sentinel_configs(fleet: Fleet, snapshot: Snapshot) -> dict[Address, str]:
    """Let each Sentinel write its configuration file, as it does at every change; its error, or nothing."""
    answers = fleet.gather(
        (view.address for view in snapshot.informed_sentinels),
        lambda address: fleet.sentinel(address).order("SENTINEL", "FLUSHCONFIG"),
    )
    return {address: _why_not(answer) for address, answer in answers.items()}


def save_role(fleet: Fleet, addresses: Iterable[Address]) -> dict[Address, str]:
    """Let nodes write their configuration files, as Sentinel does when it changes a role; the error of each, or nothing."""
    answers = fleet.gather(addresses, lambda address: fleet.node(address).order("CONFIG", "REWRITE"))
    return {address: _why_not(answer) for address, answer in answers.items()}


def _why_not(answer: object) -> str:
    """The error of a server that the reader knows already; nothing where it did what it was told."""
    if isinstance(answer, ReplyError):
        return f"{answer.prefix} {answer.message}"
    return answer.message if isinstance(answer, LinkError) else ""


def _node(snapshot: Snapshot, address: Address) -> NodeView:
    return next(node for node in snapshot.nodes if node.address == address)


def _client_rows(fleet: Fleet, address: Address) -> tuple[ClientRow, ...]:
    return parse_client_list(fleet.node(address).ask("CLIENT", "LIST"))


def _held(fleet: Fleet, node: NodeView, rows: tuple[ClientRow, ...] | None) -> str | None:
    """What shows that a pause holds writes on a node: nothing if none does, ``None`` if that cannot be told."""
    actions = node.info.get("paused_actions")
    if actions is not None:
        left_ms = node.info.get("paused_timeout_milliseconds", "?")
        return "" if actions == "none" else f"INFO says paused_actions {actions} for {left_ms} ms more"
    if node.compatible_version < (6, 2, 0):
        # There a pause holds everything, and this node has answered.
        return ""
    for row in rows or ():
        # A pause holds what Sentinel publishes every two seconds, and what the master sends.
        if "b" in row.flags and (row.command == "publish" or "M" in row.flags):
            return f"{row.command.upper()} of {row.name or 'its link to the master'} waits"
    try:
        if _is_counting_held(fleet, node.address) and _is_counting_held(fleet, node.address):
            return f"PFCOUNT is not answered within {HELD_AFTER_S:g} s, twice, while PING is"
    except ReplyError:
        # Not permitted. Sentinel's own PUBLISH was looked at, if the list of clients could be read.
        watched = any(row.name.startswith(SENTINEL_CONNECTION) for row in rows or ())
        return "" if watched else None
    return ""


def _is_counting_held(fleet: Fleet, address: Address) -> bool:
    client = fleet.node(address)
    client.ask("PING")
    try:
        client.ask("PFCOUNT", MISSING_KEY, timeout_s=HELD_AFTER_S)
    except LinkError as error:
        if error.sent:
            return True
        raise
    return False


def _sentinel_refused(
    fleet: Fleet, address: Address, rows: tuple[ClientRow, ...] | None, commands: Mapping[str, tuple[object, ...]]
) -> dict[str, tuple[str, ...]] | None:
    if rows is None:
        return None
    users = sorted({row.user for row in rows if row.name.startswith(SENTINEL_CONNECTION) and row.user})
    answers = {user: dry_run(fleet, address, user, commands) for user in users}
    known = {user: refused for user, refused in answers.items() if refused is not None}
    return known if len(known) == len(answers) else None


def look_again(fleet: Fleet, snapshot: Snapshot, clock: Clock) -> tuple[dict[Address, Replication], float | None]:
    """A second look at the replication of every node, as soon as each replica whose link is up has reached where the master was.

    Returns:
        What each node said last, and how many bytes a second the master's offset moved. Nothing where the master cannot be asked.
    """
    master = snapshot.node(snapshot.master_address)
    if master is None or not master.reachable or not master.is_master:
        return {}, None
    began_s = clock.now_s()
    looks = _looks(fleet, snapshot)
    first = looks.get(master.address)
    if first is None:
        return looks, None
    while True:
        clock.sleep(SECOND_LOOK_POLL_S)
        looks.update(_looks(fleet, snapshot))
        now_s = clock.now_s()
        behind = [
            address
            for address, look in looks.items()
            if address != master.address and look.link_up and look.applied_offset < first.offset
        ]
        if now_s - began_s >= (SECOND_LOOK_LIMIT_S if behind else SECOND_LOOK_S):
            return looks, max(0, looks[master.address].offset - first.offset) / (now_s - began_s)


def _looks(fleet: Fleet, snapshot: Snapshot) -> dict[Address, Replication]:
    answers = fleet.gather(
        (node.address for node in own_nodes(snapshot) if node.reachable),
        lambda address: parse_replication(parse_info(fleet.node(address).ask("INFO", "replication"))),
    )
    return {address: answer for address, answer in answers.items() if not isinstance(answer, (LinkError, ReplyError))}
