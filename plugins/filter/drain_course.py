# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The course of a drain: what follows from what was said before, at it and after it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drain_course
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: What the role drain makes of what the module said
description:
  - Decides for the role P(redis_ha.sentinel.drain#role) whether to go on, and whether it has failed.
positional: _input
options:
  _input:
    description:
      - What M(redis_ha.sentinel.drain) returned in check mode, before.
    type: dict
    required: true
  moved:
    description:
      - What it returned when it moved the masters. Empty where it was not asked to.
    type: dict
    default: {}
  after:
    description:
      - What it returned in check mode, afterwards. Empty where it was not asked to.
    type: dict
    default: {}
  stop_on_failure:
    description:
      - Whether nothing is begun if a master cannot be moved.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Fail if a master is left
  ansible.builtin.fail:
    msg: "{{ (planned | redis_ha.sentinel.drain_course(moved)).failure }}"
  when: (planned | redis_ha.sentinel.drain_course(moved)).failure | length > 0
"""

RETURN = r"""
_value:
  description: Whether to C(stop) before anything is moved, why the role has failed (C(failure)), and the C(summary) for the next node of a workflow.
  type: dict
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._drain_words import (
    drain_failure,
    drain_summary,
    must_stop,
)


def drain_course(
    plan: Mapping[str, Any],
    moved: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    stop_on_failure: bool = False,
) -> dict[str, Any]:
    """What follows from what the module said."""
    return {
        "stop": must_stop(plan, stop_on_failure),
        "failure": drain_failure(plan, moved or {}, after or {}),
        "summary": drain_summary(moved or plan),
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"drain_course": drain_course}
