#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin write_fleet_report, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: write_fleet_report
short_description: Write one report on many deployments
version_added: 0.1.0
author:
  - The redis_ha.sentinel authors (@redis-ha)
description:
  - Serves the role P(redis_ha.sentinel.fleet#role), whose options are documented there. Runs on the controller, whatever the host of the task is.
options:
  entries:
    description:
      - What each deployment handed on, the C(fleet_result) that the role leaves.
    type: list
    elements: dict
    required: true
  expected:
    description:
      - The deployments that it is about. One without an entry is shown as not begun.
    type: list
    elements: str
    default: []
  title:
    description:
      - Title of the report. If empty, a general one.
    type: str
    default: ""
  operator:
    description:
      - Who ran it, as it shall be shown.
    type: str
    default: ""
  job:
    description:
      - The job of an automation controller in which it ran, as it shall be shown.
    type: str
    default: ""
  directory:
    description:
      - Folder on the controller for the files. It is made if it does not exist.
    type: path
    required: true
  name:
    description:
      - Name of the files, without an ending. If empty, C(fleet) and the time in UTC.
    type: str
    default: ""
  formats:
    description:
      - Which files to write.
    type: list
    elements: str
    choices: [html, markdown]
    required: true
attributes:
  check_mode:
    description: Writes the files in check mode, too. A report changes no server, and the one on a plan is wanted then.
    support: none
"""

EXAMPLES = r"""
- name: Write one report on all deployments of the play
  redis_ha.sentinel.write_fleet_report:
    entries: "{{ ansible_play_hosts_all | map('extract', hostvars) | map(attribute='fleet_result') }}"
    directory: ./reports
    formats: [html]
  run_once: true
"""

RETURN = r"""
files:
  description: Path of each file, by its format.
  returned: success
  type: dict
  sample: {html: /srv/reports/fleet-20261127T031500Z.html}
headline:
  description: What happened, in some sentences.
  returned: success
  type: str
  sample: "5 deployments, 5 masters: 5 switched. No acknowledged write was lost. Writes stood still for 23 ms at most."
lines:
  description: The same for a terminal, with a line for each master.
  returned: success
  type: list
  elements: str
done:
  description: Whether nothing is left to do on any of them.
  returned: success
  type: bool
"""
