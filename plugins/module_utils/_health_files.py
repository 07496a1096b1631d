# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether nodes can save what a move makes of them: situation -> named checks, in both phases, and only if that was asked for.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    CRITICAL,
    OK,
    Check,
    fenced_nodes,
    steered_nodes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import AFTER, Situation, counted


def role_changers(s: Situation, phase: str) -> list[Address]:
    """The nodes whose files are to be written: those whose role may change, or has changed.

    Not one that was started without a file, which has a check of its own, nor one with settings that an interrupted run left, which a
    file must not keep, nor a master of before that still is one.
    """
    left = {*steered_nodes(s.snapshot), *fenced_nodes(s.snapshot)}
    nodes = [node for node in s.nodes if node.address not in left and node.info.get("config_file")]
    if phase == AFTER:
        changed = [address for address in (s.old_master, s.snapshot.master_address) if address and s.old_master]
        nodes = [node for node in nodes if any(s.snapshot.same(node.address, address) for address in changed)]
        nodes = [node for node in nodes if not (node.is_master and s.snapshot.same(node.address, s.old_master))]
    return [node.address for node in nodes]


def check_node_files(s: Situation) -> list[Check]:
    """``node_config_writable``: every node whose role changes can write its configuration file; the old master has a check of its own."""
    saves = {
        address: text for address, text in s.evidence.role_saves.items() if not s.snapshot.same(address, s.old_master)
    }
    if not saves:
        return []
    failed = {address: text for address, text in saves.items() if text}
    if not failed:
        return [Check("node_config_writable", OK, f"{counted(len(saves), 'node')} saved their configuration")]
    return [
        Check(
            "node_config_writable",
            CRITICAL,
            f"{address} cannot save its configuration: {text}",
            "Look for a full disk, and for the owner and the rights of its file and of the folder, which it must be able to write to. "
            "As it is, it comes back from "
            "a restart as what it was before the move.",
        )
        for address, text in failed.items()
    ]
