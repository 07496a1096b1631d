# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role rolling does next with a host, and where it has stopped."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rolling_course
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: What the role rolling does next with a host, and where it has stopped
description:
  - Serves the role P(redis_ha.sentinel.rolling#role). Takes what was seen so far of the hosts that are away, and says what follows.
positional: _input
options:
  _input:
    description:
      - What was seen so far.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Stop, if something speaks against going on
  ansible.builtin.fail:
    msg: "{{ (seen | redis_ha.sentinel.rolling_course).stop.msg }}"
  when: (seen | redis_ha.sentinel.rolling_course).stop.msg | length > 0
"""

RETURN = r"""
_value:
  description: What follows.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._rolling import course


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"rolling_course": course}
