# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role failover does next, and what it makes of it in the end."""

from __future__ import annotations

DOCUMENTATION = r"""
name: failover_course
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: What the role failover does next, and what it makes of it in the end
description:
  - Serves the role P(redis_ha.sentinel.failover#role). Takes what was asked for and what was seen so far, and says what follows.
positional: _input
options:
  _input:
    description:
      - What was asked for and what was seen so far.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Go on
  ansible.builtin.include_tasks: "{{ stage }}.yml"
  loop: "{{ (seen | redis_ha.sentinel.failover_course).after }}"
  loop_control:
    loop_var: stage
"""

RETURN = r"""
_value:
  description: What follows.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._course import course


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"failover_course": course}
