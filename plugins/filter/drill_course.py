# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role drill does next, and what it makes of it in the end."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drill_course
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: What the role drill does next, and what it makes of it in the end
description:
  - Serves the role P(redis_ha.sentinel.drill#role). Takes what was asked for and what was seen so far, and says what follows.
positional: _input
options:
  _input:
    description:
      - What was asked for and what was seen so far.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse what must not be
  ansible.builtin.assert:
    that: (seen | redis_ha.sentinel.drill_course).refusal | length == 0
"""

RETURN = r"""
_value:
  description: What follows.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._drill import course


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"drill_course": course}
