# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which order the role rolling takes the hosts away."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rolling_plan
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: In which order the role rolling takes the hosts away
description:
  - Serves the role P(redis_ha.sentinel.rolling#role). Takes what was asked for and what was seen, and says in which order the hosts go, or why none may.
positional: _input
options:
  _input:
    description:
      - What was asked for and what was seen.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Decide
  ansible.builtin.debug:
    msg: "{{ (seen | redis_ha.sentinel.rolling_plan).lines }}"
"""

RETURN = r"""
_value:
  description: The order, and why there is none.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._rolling import plan


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"rolling_plan": plan}
