# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a failover, as lines for a person."""

from __future__ import annotations

DOCUMENTATION = r"""
name: failover_lines
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: What came of a failover, as lines that a person can read
description:
  - Turns what M(redis_ha.sentinel.failover) returned into lines, the headline first.
positional: _input
options:
  _input:
    description:
      - What M(redis_ha.sentinel.failover) returned.
    type: dict
    required: true
  master_name:
    description:
      - Name of the master, as Sentinel knows it.
    type: str
    required: true
  headline:
    description:
      - What happened, in one sentence. If empty, it is made of outcome and addresses.
    type: str
    default: ""
  report_files:
    description:
      - Where the report is, by its format.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Say what came of it
  ansible.builtin.debug:
    msg: "{{ moved | redis_ha.sentinel.failover_lines('mymaster') }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._course import closing_lines


def failover_lines(
    result: Mapping[str, Any],
    master_name: str,
    headline: str = "",
    report_files: Mapping[str, str] | None = None,
) -> list[str]:
    """The headline, and what belongs to it."""
    return closing_lines(result, master_name, headline, report_files or {})


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"failover_lines": failover_lines}
