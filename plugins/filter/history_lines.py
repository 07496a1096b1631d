# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history of moves, as a table for a person."""

from __future__ import annotations

DOCUMENTATION = r"""
name: history_lines
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: A history of moves as a table that a person can read
description:
  - Turns the file that the role P(redis_ha.sentinel.failover#role) writes, one JSON object a line, into a table, the newest move first.
positional: _input
options:
  _input:
    description:
      - Text of the file.
    type: str
    required: true
  master_name:
    description:
      - Show the moves of this master only. If empty, those of all.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what was moved
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', '/var/log/redis-moves.jsonl') | redis_ha.sentinel.history_lines }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from typing import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._history import table


def history_lines(text: str, master_name: str = "") -> list[str]:
    """A header and a row for each move, the newest first."""
    try:
        return table(text, master_name)
    except ValueError as error:
        raise AnsibleFilterError(f"redis_ha.sentinel.history_lines: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """By name."""
        return {"history_lines": history_lines}
