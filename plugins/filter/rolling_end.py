# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role rolling hands on when every host is done."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rolling_end
author:
  - The redis_ha.sentinel authors (@redis-ha)
version_added: 0.1.0
short_description: What the role rolling hands on when every host is done
description:
  - Serves the role P(redis_ha.sentinel.rolling#role). Reads its state file.
positional: _input
options:
  _input:
    description:
      - Text of the state file.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show which hosts are done
  ansible.builtin.debug:
    msg: "{{ (text | redis_ha.sentinel.rolling_end).done }}"
"""

RETURN = r"""
_value:
  description: What is in it.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._rolling import end


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"rolling_end": end}
