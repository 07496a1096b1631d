#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin keep, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keep
short_description: Keep a value without showing it
version_added: 0.1.0
author:
  - The redis_ha.sentinel authors (@redis-ha)
description:
  - Serves the roles of this collection. Returns a dictionary, so that C(register) keeps it. Unlike M(ansible.builtin.set_fact), it is not shown with one
    or two C(-v), however long it is.
options:
  value:
    description:
      - The dictionary. The keys C(failed), C(unreachable) and C(skipped) are left out.
    type: dict
    required: true
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Keep what came of it
  redis_ha.sentinel.keep:
    value: "{{ moved }}"
  register: failover_result
"""

RETURN = r"""
{}
"""
