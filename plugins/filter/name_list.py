# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A list of names, however it was given."""

from __future__ import annotations

DOCUMENTATION = r"""
name: name_list
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: A list of names, also from a text separated by commas
description:
  - A survey knows no lists. A text separated by commas is one, too.
positional: _input
options:
  _input:
    description:
      - The list, or the text.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show the names
  ansible.builtin.debug:
    msg: "{{ 'known_replicas, pause_budget' | redis_ha.sentinel.name_list }}"
"""

RETURN = r"""
_value:
  description: The names, without what is empty.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._names import listed


def name_list(value: Any) -> list[str]:
    """The names."""
    return list(listed(value))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """By name."""
        return {"name_list": name_list}
