# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The addresses of each host of the inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: host_addresses
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: The addresses of each host of the inventory
description:
  - Serves the roles that have to know on which host of the inventory a server stands. Takes the variables of all hosts.
positional: _input
options:
  _input:
    description:
      - The variables of each host, by its name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show by which addresses each host is known
  ansible.builtin.debug:
    msg: "{{ hostvars | redis_ha.sentinel.host_addresses }}"
"""

RETURN = r"""
_value:
  description: Names and addresses of each host, C(redis_ha_address) first, then C(ansible_host), then its name.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._places import host_addresses


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"host_addresses": host_addresses}
