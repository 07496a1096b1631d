# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role failover hands on to the next job."""

from __future__ import annotations

DOCUMENTATION = r"""
name: failover_summary
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: A failover in a few flat values
description:
  - Turns what M(redis_ha.sentinel.failover) returned into what the next node of a workflow, or one line of a history, carries.
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
  report_files:
    description:
      - Where the report is, by its format.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Hand the result on
  ansible.builtin.set_stats:
    data:
      moved: "{{ moved | redis_ha.sentinel.failover_summary('mymaster') }}"
"""

RETURN = r"""
_value:
  description: The values.
  type: dict
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._course import summary


def failover_summary(
    result: Mapping[str, Any], master_name: str, report_files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Small and flat."""
    return summary(result, master_name, report_files or {})


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"failover_summary": failover_summary}
