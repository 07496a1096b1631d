# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What topology_info returns, as a table for a person."""

from __future__ import annotations

DOCUMENTATION = r"""
name: topology_lines
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: A topology as a table that a person can read
description:
  - Turns the masters that M(redis_ha.sentinel.topology_info) returns into lines, a table of the nodes and one of the Sentinels for each.
positional: _input
options:
  _input:
    description:
      - RV(redis_ha.sentinel.topology_info#module:masters) of M(redis_ha.sentinel.topology_info).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show who is what
  ansible.builtin.debug:
    msg: "{{ topology.masters | redis_ha.sentinel.topology_lines }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

NOTHING = "-"


def topology_lines(masters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Tables of nodes and Sentinels, master by master."""
    lines: list[str] = []
    for name, view in masters.items():
        replicas = sum(1 for node in view["nodes"] if node["role"] == "replica")
        named = view["master"] or "not agreed on"
        lines.append(f"{name}: master {named}, replicas {replicas}, Sentinels {len(view['sentinels'])}")
        lines += _table(
            ("NODE", "ROLE", "FOLLOWS", "LINK", "LAG BYTES", "PRIORITY", "VERSION", "USED MEMORY BYTES"),
            [_node(node) for node in view["nodes"]],
        )
        lines += _table(
            ("SENTINEL", "NAMES AS MASTER", "EPOCH", "QUORUM", "REPLICAS", "SENTINELS", "STATE"),
            [_sentinel(sentinel) for sentinel in view["sentinels"]],
        )
    return lines


def _node(node: Mapping[str, Any]) -> tuple[str, ...]:
    if node["error"]:
        return (node["address"], f"cannot be asked: {node['error']}")
    replication = node["replication"] or {}
    link_up = replication.get("link_up")
    return (
        node["address"],
        _text(node["role"]),
        _text(replication.get("master")),
        NOTHING if link_up is None else "up" if link_up else _text(node["link"]),
        _number(replication.get("lag_bytes")),
        _text(replication.get("priority")),
        f"{node['product']} {node['version']}",
        _number(node["used_memory_bytes"]),
    )


def _sentinel(sentinel: Mapping[str, Any]) -> tuple[str, ...]:
    if sentinel["error"]:
        return (sentinel["address"], f"cannot be asked: {sentinel['error']}")
    state = []
    if sentinel["tilt"]:
        state.append("TILT")
    if sentinel["failover_in_progress"]:
        state.append(f"failover in progress ({sentinel['failover_state']})")
    if not sentinel["quorum_ok"]:
        state.append(str(sentinel["quorum_detail"]))
    return (
        sentinel["address"],
        _text(sentinel["master"]),
        _text(sentinel["config_epoch"]),
        _text(sentinel["quorum"]),
        str(len(sentinel["replicas"] or ())),
        str(1 + len(sentinel["sentinels"] or ())),
        ", ".join(state) or "ok",
    )


def _text(value: object) -> str:
    return NOTHING if value is None or value == "" else str(value)


def _number(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    whole = [row for row in rows if len(row) == len(header)]
    # A row that only says what is wrong takes the room that it needs, and makes no column wider.
    widths = [
        max([len(title), *(len(row[column]) for row in (rows if column == 0 else whole))])
        for column, title in enumerate(header)
    ]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (header, *rows)]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """By name."""
        return {"topology_lines": topology_lines}
