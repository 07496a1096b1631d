# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks whether nodes can log in to each other, and what a user may do, without doing it.

Nothing here changes a role, a setting or a key. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Access, Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import AuthError, LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import own_nodes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot

REPLICATION_COMMANDS: dict[str, tuple[object, ...]] = {
    "PSYNC": ("PSYNC", "?", "-1"),
    "REPLCONF": ("REPLCONF", "ack", "0"),
}
"""What a replica sends to its master once it has logged in."""


def possible_links(snapshot: Snapshot, promoted: Address | None) -> tuple[list[Address], list[Address]]:
    """Every node that may have to follow another, and every node that may become its master."""
    reachable = [node for node in own_nodes(snapshot) if node.reachable]
    leaders = [
        node.address
        for node in reachable
        if not node.is_master and node.replication is not None and node.replication.priority != 0
    ]
    if promoted is not None and promoted not in leaders:
        leaders.append(promoted)
    return [node.address for node in reachable], leaders


def try_logins(
    fleet: Fleet, nodes: Iterable[Address], leaders: Sequence[Address]
) -> dict[tuple[Address, Address], str | None]:
    """Whether each of these nodes could log in, as a replica, to each of these leaders but itself.

    What a node would log in with (``masteruser``, ``masterauth``) is read from it and tried from here. It is kept nowhere.

    Returns:
        For a node and a leader: empty if it could, why not, or ``None`` where that cannot be told from here.
    """
    questions: list[tuple[object, ...]] = [("CONFIG", "GET", "masteruser"), ("CONFIG", "GET", "masterauth")]
    settings = fleet.gather(nodes, lambda address: fleet.node(address).ask_many(questions))
    followers_by_access: dict[Access, list[Address]] = {}
    logins: dict[tuple[Address, Address], str | None] = {}
    for follower, answer in settings.items():
        if isinstance(answer, Exception):
            logins.update({(follower, leader): None for leader in leaders if leader != follower})
        else:
            followers_by_access.setdefault(_replica_access(fleet, answer), []).append(follower)
    for access, followers in followers_by_access.items():
        wanted = [leader for leader in leaders if any(follower != leader for follower in followers)]
        answers = _log_in(fleet, access, wanted)
        logins.update(
            {(follower, leader): answers[leader] for follower in followers for leader in wanted if follower != leader}
        )
    return logins


def _replica_access(fleet: Fleet, settings: list[Any]) -> Access:
    username, password = (str(reply[1]) if len(reply) == 2 and reply[1] else None for reply in settings)
    return Access(username if password else None, password, fleet.options.node_access.tls)


def _log_in(fleet: Fleet, access: Access, leaders: list[Address]) -> dict[Address, str | None]:
    replica = fleet.with_node_access(access)
    try:
        answers = replica.gather(leaders, lambda address: replica.node(address).ask("PING"))
    finally:
        replica.close()
    results: dict[Address, str | None] = {}
    for leader, answer in answers.items():
        if isinstance(answer, AuthError):
            results[leader] = answer.message
        elif isinstance(answer, LinkError):
            results[leader] = None
        else:
            # Any other error came after the login.
            results[leader] = _may_replicate(fleet, leader, access)
    return results


def _may_replicate(fleet: Fleet, leader: Address, access: Access) -> str:
    user = access.username or "default"
    try:
        refused = dry_run(fleet, leader, user, REPLICATION_COMMANDS)
    except LinkError:
        return ""
    return f"user {user} may not send {', '.join(refused)} there" if refused else ""


def dry_run(
    fleet: Fleet, address: Address, user: str, commands: Mapping[str, tuple[object, ...]]
) -> tuple[str, ...] | None:
    """Which of these commands a user may not send; ``None`` where the server does not tell (before 7.0, or not to us)."""
    questions: list[tuple[object, ...]] = [("ACL", "DRYRUN", user, *command) for command in commands.values()]
    answers = fleet.node(address).ask_many(questions, keep_errors=True)
    if any(isinstance(answer, ReplyError) and not _is_unknown_command(answer) for answer in answers):
        return None
    return tuple(
        name for name, answer in zip(commands, answers) if not isinstance(answer, ReplyError) and str(answer) != "OK"
    )


def _is_unknown_command(error: ReplyError) -> bool:
    """Renamed on this node; Sentinel may have been told of the new name."""
    return error.message.startswith("Command ")
