#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin guard, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guard
short_description: Refuse variables and waivers that nobody knows
version_added: 0.1.0
author:
  - The redis_ha.sentinel authors (@redis-ha)
description:
  - Serves the roles and playbooks of this collection. It looks at the names of variables, not at their values, and asks no server.
  - Refuses variables that begin like those of this collection and that no role has, wherever they are set, and names the nearest right one.
    In the playbooks of this collection it also refuses misspelt options among the extra variables (command line, survey).
  - A name that belongs to something else is not refused if it stands in the variable C(redis_ha_other_variables).
  - Says in one line what was understood.
options:
  request:
    description:
      - The options of the move, by name, to be said in one line.
    type: dict
  waivers:
    description:
      - Names of checks whose failure is accepted; a text separated by commas will do.
    type: raw
  playbook:
    description:
      - Whether a playbook of this collection runs, which takes options by their own names.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Refuse what nobody knows
  redis_ha.sentinel.guard:
    waivers: "{{ precheck_waivers }}"
"""

RETURN = r"""
msg:
  description: What was understood, or what speaks against going on.
  returned: when there is something to say
  type: str
  sample: "mymaster: target any; leave none; expected any"
"""
