# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which masters are not where they are to be."""

from __future__ import annotations

DOCUMENTATION = r"""
name: move_back_way
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: Which masters are not where they are to be
description:
  - Serves the role P(redis_ha.sentinel.move_back#role). Takes where each is to be and where it is, and says which move.
positional: _input
options:
  _input:
    description:
      - Where each is to be and where it is.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say who goes where
  ansible.builtin.debug:
    msg: "{{ (seen | redis_ha.sentinel.move_back_way).lines }}"
"""

RETURN = r"""
_value:
  description: Who moves, and why none may.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._rolling import way_back


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"move_back_way": way_back}
