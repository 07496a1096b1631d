# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one deployment of a fleet hands on."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_entry
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: What one deployment of a fleet hands on
description:
  - Serves the role P(redis_ha.sentinel.fleet#role). Takes what a role left on one deployment, and makes of it a row for each master.
positional: _input
options:
  _input:
    description:
      - What was done, and what the roles left.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is handed on, and by which variable
  ansible.builtin.debug:
    msg: "{{ seen | redis_ha.sentinel.fleet_entry }}"
"""

RETURN = r"""
_value:
  description: The C(entry), and in C(handed_on_as) the name of the variable by which it is handed on to a later job.
  type: dict
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._fleet import entry, handed_on_as


def fleet_entry(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The entry, and the name by which it is handed on."""
    return {"entry": entry(seen), "handed_on_as": handed_on_as(str(seen["deployment"]))}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"fleet_entry": fleet_entry}
