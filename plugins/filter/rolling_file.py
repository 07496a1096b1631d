# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of tasks that maintains a host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rolling_file
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: The file of tasks that maintains a host
description:
  - Serves the role P(redis_ha.sentinel.rolling#role). Leads from the name of a maintenance that comes with the role to its file, and from a relative name to
    the file below the folder in which Ansible was started.
positional: _input
options:
  _input:
    description:
      - V(restart), V(reboot), V(upgrade), or a file.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Maintain
  ansible.builtin.include_tasks: "{{ rolling_maintenance_tasks | redis_ha.sentinel.rolling_file }}"
"""

RETURN = r"""
_value:
  description: The file.
  type: str
"""

import os
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._rolling import maintenance_file


def rolling_file(asked: str) -> str:
    """The file of tasks to include; only one of the role's own has a relative name."""
    file = maintenance_file(asked)
    return file if file != asked else os.path.abspath(os.path.expanduser(asked))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"rolling_file": rolling_file}
