#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation of the action plugin write_report, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: write_report
short_description: Write the report on one failover
version_added: 0.1.0
author:
  - The redis_ha.sentinel authors (@redis-ha)
description:
  - Serves the role P(redis_ha.sentinel.report#role), whose options are documented there. Runs on the controller, whatever the host of the task is.
options:
  result:
    description:
      - What M(redis_ha.sentinel.failover) returned, failed or not. An empty dictionary says that it was not run.
    type: dict
    required: true
  before:
    description:
      - What M(redis_ha.sentinel.health_info) returned before.
    type: dict
    default: {}
  after:
    description:
      - What M(redis_ha.sentinel.health_info) returned after.
    type: dict
    default: {}
  master_name:
    description:
      - Name of the master, as Sentinel knows it. If empty, it is the one that events in the result name.
    type: str
    default: ""
  failure:
    description:
      - What went wrong around the failover.
    type: str
    default: ""
  title:
    description:
      - Title of the report. If empty, it is made of the master's name.
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
  drill:
    description:
      - What the role P(redis_ha.sentinel.drill#role) left in C(drill_result). The report is on that automatic failover then, and the result that of the
        planned move that gave the master back stands beside it.
    type: dict
    default: {}
  directory:
    description:
      - Folder on the controller for the files. It is made if it does not exist.
    type: path
    required: true
  name:
    description:
      - Name of the files, without an ending. If empty, it is made of the master's name and the time in UTC.
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
- name: Write the report
  redis_ha.sentinel.write_report:
    result: "{{ moved }}"
    master_name: mymaster
    directory: ./reports
    formats: [html]
"""

RETURN = r"""
files:
  description: Path of each file, by its format.
  returned: success
  type: dict
  sample: {html: /srv/reports/mymaster-20261127T031500Z.html}
headline:
  description: What happened, in one sentence.
  returned: success
  type: str
  sample: "mymaster was moved from 192.0.2.11:6379 to 192.0.2.12:6379. No acknowledged write was lost."
"""
