# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that the program sends to data nodes, and what a node refuses of them.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import RENAMED_REMEDY, Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, Snapshot

PROBED_COMMANDS: dict[str, tuple[object, ...]] = {
    "INFO": ("INFO", "replication"),
    "ROLE": ("ROLE",),
    "CLIENT SETNAME": ("CLIENT", "SETNAME", "probe"),
    "CLIENT ID": ("CLIENT", "ID"),
    "CLIENT LIST": ("CLIENT", "LIST"),
    "CLIENT PAUSE": ("CLIENT", "PAUSE", "1", "WRITE"),
    "CLIENT UNPAUSE": ("CLIENT", "UNPAUSE"),
    "CLIENT KILL": ("CLIENT", "KILL", "TYPE", "pubsub"),
    "REPLICAOF": ("REPLICAOF", "NO", "ONE"),
    "CONFIG GET": ("CONFIG", "GET", "replica-priority"),
    "CONFIG SET": ("CONFIG", "SET", "replica-priority", "100"),
    "CONFIG REWRITE": ("CONFIG", "REWRITE"),
}
"""Commands that the fenced strategy sends to nodes; tried in MULTI and discarded, never run by the probe."""

OLD_MASTER_COMMANDS = (
    "CONFIG GET",
    "INFO",
    "ROLE",
    "CLIENT SETNAME",
    "CLIENT ID",
    "CLIENT LIST",
    "CLIENT KILL",
    "REPLICAOF",
    "CONFIG REWRITE",
)
NEW_MASTER_COMMANDS = ("INFO", "ROLE", "REPLICAOF", "CONFIG REWRITE")
TRANSACTION_COMMANDS = ("MULTI", "EXEC", "DISCARD")
PAUSE_COMMANDS = ("CLIENT PAUSE", "CLIENT UNPAUSE")
SETTING_COMMANDS = ("CONFIG GET", "CONFIG SET", "CONFIG REWRITE")


def is_asked(snapshot: Snapshot, address: Address) -> bool:
    """Whether the node at an address answers us."""
    node = snapshot.node(address)
    return node is not None and node.reachable


def may(node: NodeView | None, commands: Sequence[str]) -> bool:
    """Whether a node answers us and refuses none of these commands, nor a transaction."""
    return node is not None and node.reachable and not refusals(node, commands)


def refusals(node: NodeView, commands: Sequence[str]) -> dict[str, str]:
    """What a node refuses of these commands and of a transaction, by name."""
    wanted = {*commands, *TRANSACTION_COMMANDS}
    return {name: text for name, text in node.refused.items() if name in wanted}


def command_checks(node: NodeView, commands: Sequence[str], part: str) -> list[Check]:
    """The failed check for a node that refuses some of these commands; none, if it refuses none."""
    refused = refusals(node, commands)
    if not refused:
        return []
    said = "; ".join(f"{name}: {text}" for name, text in refused.items())
    permission = any("NOPERM" in text for text in refused.values())
    return [
        Check(
            "node_not_permitted" if permission else "command_unavailable",
            "critical",
            f"{node.address} ({part}) refuses {', '.join(refused)} ({said})",
            "Give the collection's user these permissions (docs/permissions.md)." if permission else RENAMED_REMEDY,
        )
    ]
