#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible module: move the master of a Redis or Valkey deployment under Sentinel."""

from __future__ import annotations

DOCUMENTATION = r"""
module: failover
short_description: Move a Redis or Valkey master under Sentinel without losing a write
version_added: 0.1.0
description:
  - Moves the master of a deployment under Redis or Valkey Sentinel to a replica, verifies the end state, and reports truthfully what happened.
  - With the strategy V(fenced), no write that the old master acknowledged is lost, and writes stand still for 10 to 20 milliseconds.
    The old master stops being a master before the new one becomes one.
  - It checks first. If anything speaks against the move, nothing is touched, and one message names all of it.
  - A run that was interrupted is finished or undone by the next one.
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
  - redis_ha.sentinel.move
attributes:
  action:
    description:
      - Shows each step on the controller as it begins. If the module runs on another host, shows only that it runs there, and how it ended.
      - The module does the same work without the action plugin, and then shows nothing meanwhile.
    support: full
  async:
    description: Whether the task can run in the background.
    support: none
  check_mode:
    description: Returns the plan and changes nothing on any server.
    support: full
  diff_mode:
    description: Shows the master before and after.
    support: full
  idempotent:
    description: Whether a second run changes nothing.
    support: partial
    details:
      - With O(target) or O(avoid), a second run changes nothing. With O(expected_master), and without O(target), it is refused.
        With none of the three, every run moves the master.
options:
  master_name:
    description:
      - Name of the master, as Sentinel knows it.
    type: str
    required: true
  target:
    description:
      - The replica to promote, as C(host:port). If it is the master already, nothing is done.
      - If this host is too slow, Sentinel may promote another replica. Nothing is lost then, and the run moves the master on to this one by itself.
      - If left out, the replica with the lowest C(replica-priority) is promoted. Of several, it is one with the master's own version, else one with a
        newer version, else one with an older version. Of several such replicas, it is the one that Sentinel itself prefers.
    type: str
  avoid:
    description:
      - Hosts to leave, by name or IP address. The master is moved only if it is on one of them. A replica on one of them is never promoted.
    type: list
    elements: str
    default: []
  expected_master:
    description:
      - The node that must be the master now, as C(host:port). If another node is the master, nothing is done and the task fails.
      - What an interrupted run began elsewhere is finished only where it leads to O(target), or off the hosts of O(avoid).
    type: str
seealso:
  - module: redis_ha.sentinel.topology_info
"""

EXAMPLES = r"""
- name: Move the master to the best replica; each run moves it again
  redis_ha.sentinel.failover:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
  delegate_to: localhost

- name: Leave a host that is about to be patched
  redis_ha.sentinel.failover:
    sentinels: ["192.0.2.11:26379", "192.0.2.12:26379"]
    master_name: mymaster
    avoid: ["{{ ansible_host | default(inventory_hostname) }}"]
  delegate_to: localhost

- name: Move it to a certain replica, if the master is still where we think it is
  redis_ha.sentinel.failover:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
    target: 192.0.2.22:6379
    expected_master: 192.0.2.21:6379
  delegate_to: localhost
  register: moved

- name: Show what a run would do, and change nothing
  redis_ha.sentinel.failover:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
  check_mode: true
  delegate_to: localhost
"""

RETURN = r"""
outcome:
  description:
    - V(switched), the master was moved.
    - V(unchanged), the master is where it was asked to be already, or only what an interrupted run had left was put back.
    - V(planned), check mode.
    - V(refused), the move did not begin; a priority that was raised for it was put back. V(aborted), the move began and was rolled back.
    - V(incomplete), the master was moved and something is left to do. V(unknown), how the move ended could not be established; it may still finish.
    - The last four fail the task.
  returned: always
  type: str
  sample: switched
phase:
  description:
    - The step in which the run ended. The documentation of the collection describes each step (docs/failover.md).
    - V(check) if the checks refused the move, V(options) if an option cannot be used.
  returned: always
  type: str
  sample: settle
error:
  description: A code for what went wrong, see the list of errors in the documentation of the collection. Null if nothing did.
  returned: always
  type: str
  sample: target_lagging
remedy:
  description: What to do now. Null if nothing went wrong.
  returned: always
  type: str
  sample: Wait until it has caught up, or raise max_lag_bytes.
seen:
  description: What was seen last, for example every reason for a refusal under C(reasons).
  returned: when the task fails
  type: dict
  sample: {}
understood:
  description: The request as the program understood it, in one line.
  returned: always
  type: str
  sample: master mymaster; target any; leave 192.0.2.21; expected any; strategy auto; promotion auto
request:
  description: The options that were given, by name.
  returned: always
  type: dict
  sample: {master_name: mymaster}
strategy:
  description: The strategy that was used. Null if none was.
  returned: always
  type: str
  sample: fenced
promotion:
  description: Who promoted the new master, V(program) or V(sentinel), or who would. Null if nobody does.
  returned: always
  type: str
  sample: program
promotion_reason:
  description: Why O(ignore:promotion) is what it is. Null if nobody promotes.
  returned: always
  type: str
  sample: Sentinel 192.0.2.11:26379 and the others can be told
old_master:
  description: The master before. Null if it could not be established.
  returned: always
  type: dict
  contains:
    host:
      description: Host, as Sentinel shows it.
      type: str
    port:
      description: Port.
      type: int
  sample: {host: 192.0.2.21, port: 6379}
new_master:
  description: The master after, or the planned one. Null if it could not be established.
  returned: always
  type: dict
  contains:
    host:
      description: Host, as Sentinel shows it.
      type: str
    port:
      description: Port.
      type: int
  sample: {host: 192.0.2.22, port: 6379}
leader:
  description: The Sentinel that led the failover. Null if none did.
  returned: always
  type: str
  sample: 192.0.2.12:26379
plan:
  description:
    - What was decided, and the steps that follow from it. Null if the run was refused before anything was decided.
    - C(expected_write_stop_ms) is the figure of the benchmark, C(worst_case_write_stop_ms) the longest while the program runs, and
      C(write_stop_if_killed_ms) the time after which Sentinel heals by itself if the program is killed at the worst moment.
  returned: always
  type: dict
  sample: {action: move, strategy: fenced}
lossless:
  description:
    - Whether no acknowledged write was lost. True only where the new master is shown to have applied the offset at which the old one stopped being a master.
    - Null if nothing was moved.
  returned: always
  type: bool
  sample: true
lossless_reason:
  description: Why O(ignore:lossless) is what it is.
  returned: always
  type: str
  sample: 192.0.2.22:6379 had applied offset 4711, the last that 192.0.2.21:6379 reached when it stopped being a master
write_gap_ms:
  description:
    - How long writes stood still, in milliseconds. It begins when the old master stops acknowledging writes. It ends when the new master takes writes and
      every Sentinel names it. Null without a fence, and if that end was not reached.
    - If Sentinel promoted another replica and the run moved the master on from there, or tried to, the longer of the two; a note names both. Null if one of
      the two is not known, as where an interrupted run was finished before.
  returned: always
  type: float
  sample: 11.4
started_at:
  description: When the run began, by the clock of the host that ran it, in UTC.
  returned: always
  type: str
  sample: '2026-01-31T01:00:00.000Z'
fenced_at:
  description: When writes stopped, in UTC. Null without a fence.
  returned: always
  type: str
  sample: '2026-01-31T01:00:00.120Z'
ended_at:
  description: When the run ended, in UTC.
  returned: always
  type: str
  sample: '2026-01-31T01:00:00.410Z'
phases_ms:
  description: Milliseconds spent in each step, by the name of the step, as in C(phase).
  returned: always
  type: dict
  sample: {discover: 31.0, fence: 0.9}
timeline:
  description: What happened, in the order of time.
  returned: always
  type: list
  elements: dict
  contains:
    at_ms:
      description: Milliseconds since the run began.
      type: float
    who:
      description: V(program), or C(sentinel host:port).
      type: str
    kind:
      description: What kind of entry it is. Of a Sentinel, the channel of its event.
      type: str
    step:
      description: The step that the run was in, as in C(phase).
      type: str
    subject:
      description: The server that it is about, as C(host:port). Empty if it is about none.
      type: str
    detail:
      description: The rest, for a person.
      type: str
  sample: []
replicas:
  description: The replicas after the failover.
  returned: always
  type: list
  elements: dict
  contains:
    host:
      description: Host, as Sentinel shows it.
      type: str
    port:
      description: Port.
      type: int
    following:
      description: Whether it follows the new master with its link up.
      type: bool
    detail:
      description: What it does, or what is missing.
      type: str
    resync:
      description: V(partial), V(full) or V(unknown).
      type: str
    excused:
      description: Whether it was down before the run and was not waited for.
      type: bool
  sample: []
repaired:
  description: What an interrupted run had left and this one put back.
  returned: always
  type: list
  elements: str
  sample: []
server_versions:
  description: What each node runs, by its address.
  returned: always
  type: dict
  sample: {'192.0.2.21:6379': redis 7.0.15}
way_back:
  description: The command that moves the master back. Null if it was not moved.
  returned: always
  type: str
  sample: >-
    ansible localhost -m redis_ha.sentinel.failover -a 'sentinels=192.0.2.11:26379 master_name=mymaster target=192.0.2.21:6379
    expected_master=192.0.2.22:6379'
notes:
  description: What the caller should know.
  returned: always
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._live import ENTRIES_FILE, EntriesFile
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module, stop_on_signals
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import FAILOVER, failover_request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._record import Record, nothing_done
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Timeline


def move(module: AnsibleModule, fleet: Fleet) -> dict[str, object]:
    """Move one master."""
    clock = Clock()
    request = failover_request(module.params, clock.wall_s())
    asked = {name: module.params[name] for name in FAILOVER}
    with EntriesFile(os.environ.get(ENTRIES_FILE)) as entries:
        timeline = Timeline(clock, entries.put)
        run = Run(fleet, request, clock, timeline, stop_on_signals(), record=Record(asked=asked))
        result = fail_over(run, check_mode=module.check_mode)
    return {**result, "notes": [*result["notes"], entries.failure]} if entries.failure else result


def main() -> None:
    """Entry point."""
    run_module(FAILOVER, move, nothing_done())


if __name__ == "__main__":
    main()
