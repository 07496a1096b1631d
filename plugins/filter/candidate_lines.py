# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which replica would be promoted and why not each other one, as lines for a person."""

from __future__ import annotations

DOCUMENTATION = r"""
name: candidate_lines
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: Which replica would be promoted, and why not the others
description:
  - Turns a plan of M(redis_ha.sentinel.failover) and the checks of M(redis_ha.sentinel.health_info) into lines.
positional: _input
options:
  _input:
    description:
      - What M(redis_ha.sentinel.failover) returned in check mode.
    type: dict
    required: true
  checks:
    description:
      - RV(redis_ha.sentinel.health_info#module:checks) of M(redis_ha.sentinel.health_info) before a move.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which replica would be promoted
  ansible.builtin.debug:
    msg: "{{ planned | redis_ha.sentinel.candidate_lines(before.checks) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._course import address


def candidate_lines(planned: Mapping[str, Any], checks: Sequence[Mapping[str, str]]) -> list[str]:
    """Who would be promoted, how long writes would stand still, and what there is to say of every other replica."""
    chosen = address(planned.get("new_master")) if planned.get("outcome") == "planned" else ""
    lines = [f"would be promoted: {chosen}{_write_stop(planned)}"] if chosen else [_nobody(planned)]
    for check in checks:
        words = check["detail"].split(" ", 2)
        if check["name"] == "replica" and len(words) == 3 and words[1] != chosen:
            lines.append(f"not {words[1]}: {_why_not(words[2])}")
    return lines + [f"note: {note}" for note in planned.get("notes") or ()]


def _why_not(said: str) -> str:
    if said.startswith("is not fit: "):
        return said[len("is not fit: ") :]
    return f"it {said}; replica-priority comes first, then the master's own version, then what Sentinel itself prefers"


def _write_stop(planned: Mapping[str, Any]) -> str:
    plan = planned.get("plan") or {}
    expected, worst = plan.get("expected_write_stop_ms"), plan.get("worst_case_write_stop_ms")
    said = f"; writes would stand still for about {expected:g} ms" if expected else ""
    return said + (f", {worst:g} ms at most" if said and worst else "")


def _nobody(planned: Mapping[str, Any]) -> str:
    return f"nobody would be promoted: {planned.get('msg') or 'nothing would be moved'}"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """By name."""
        return {"candidate_lines": candidate_lines}
