# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a drain: as lines for a person, and what the role makes of it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drain_lines
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: What came of a drain, as lines that a person can read
description:
  - Turns what M(redis_ha.sentinel.drain) returned into lines, the headline first.
  - A line for each master that was moved, that is to be, or that could not be; and how many masters each host has.
positional: _input
options:
  _input:
    description:
      - What M(redis_ha.sentinel.drain) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say who goes where
  ansible.builtin.debug:
    msg: "{{ drained | redis_ha.sentinel.drain_lines }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._drain_words import drain_lines


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"drain_lines": drain_lines}
