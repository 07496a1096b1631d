#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible module: move every Redis or Valkey master away from some hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drain
short_description: Move every Redis or Valkey master away from some hosts without losing a write
version_added: 0.1.0
description:
  - Moves every master that is on the given hosts to a replica on another host, several at once. Each is moved as M(redis_ha.sentinel.failover) moves
    one master, with the same checks and the same promise.
  - All servers are asked once for all masters. Writes are stopped on one master after the other. So they stand still no longer than if each master were
    moved alone.
  - Spreads the new masters over the hosts that stay. How many masters each host has today counts. A replica with a higher number of
    C(replica-priority) is not taken for that.
  - A master that cannot be moved does not stop the others. The task then fails at its end, and says what became of each master.
  - A second run moves the masters that are left, and finishes what an interrupted run has begun.
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
  - redis_ha.sentinel.move
attributes:
  async:
    description: Whether the task can run in the background.
    support: none
  check_mode:
    description: Returns the plan, who goes where, and changes nothing on any server.
    support: full
  diff_mode:
    description: Shows the masters before and after.
    support: full
  idempotent:
    description: Whether a second run changes nothing.
    support: full
options:
  hosts:
    description:
      - Hosts to leave, by name or IP address. No replica on one of them is promoted.
      - All addresses of one host may be given, such as C(ansible_all_ipv4_addresses). At least one of these must be among the servers, or nothing is done.
    type: list
    elements: str
    required: true
  master_names:
    description: Names of the masters that this is about, as Sentinel knows them. If empty, every master that the Sentinels watch.
    type: list
    elements: str
    default: []
  targets:
    description:
      - The replica to promote, as C(host:port), by the name of the master. For masters that are not named here, one is chosen.
    type: dict
    default: {}
  max_parallel:
    description:
      - How many masters are moved at once, at most. From 1 to 32.
    type: int
    default: 4
  stop_on_failure:
    description:
      - Whether no further move is begun once one has failed. Those that are under way are brought to their end.
      - If one is refused before anything was begun, nothing is begun at all.
    type: bool
    default: false
seealso:
  - module: redis_ha.sentinel.failover
  - module: redis_ha.sentinel.topology_info
"""

EXAMPLES = r"""
- name: Move every master away from a host that is about to be patched
  redis_ha.sentinel.drain:
    sentinels: ["192.0.2.11:26379", "192.0.2.12:26379"]
    hosts: ["{{ ansible_host | default(inventory_hostname) }}"]
  delegate_to: localhost
  register: drained

- name: Show who would go where, and change nothing
  redis_ha.sentinel.drain:
    sentinels: ["192.0.2.11:26379"]
    hosts: [192.0.2.21]
  check_mode: true
  delegate_to: localhost

- name: Move them back
  redis_ha.sentinel.drain:
    sentinels: ["192.0.2.11:26379"]
    hosts: "{{ moved | map(attribute='new_master') | map('regex_replace', ':\\d+$', '') | unique }}"
    master_names: "{{ moved | map(attribute='name') }}"
    targets: "{{ moved | items2dict(key_name='name', value_name='old_master') }}"
  vars:
    moved: "{{ drained.masters | selectattr('outcome', 'equalto', 'switched') }}"
  delegate_to: localhost
"""

RETURN = r"""
masters:
  description: What became of each master, by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the master.
      type: str
    outcome:
      description:
        - V(switched), it was moved.
        - V(unchanged), it is on none of the hosts, or only what an interrupted run had left was put back.
        - V(planned), check mode.
        - V(refused), its move did not begin. V(aborted), the move began and was rolled back.
        - V(incomplete), it was moved and something is left to do. V(unknown), how the move ended could not be established; it may still finish.
        - V(not_begun), its turn did not come.
        - The last five fail the task.
      type: str
    changed:
      description: Whether something was changed for it.
      type: bool
    error:
      description: A code for what went wrong, see the list of errors in the documentation of the collection. Null if nothing did.
      type: str
    msg:
      description: What went wrong, and what to do. Null if nothing did.
      type: str
    remedy:
      description: What to do now. Null if nothing went wrong.
      type: str
    phase:
      description: The step in which its move ended, as M(redis_ha.sentinel.failover) returns it.
      type: str
    strategy:
      description: The strategy that was used, or would be. Null if none.
      type: str
    promotion:
      description: Who promoted the new master, V(program) or V(sentinel), or who would. Null if nobody does.
      type: str
    old_master:
      description: The master before, as C(host:port). Null if it could not be established.
      type: str
    new_master:
      description: The master now, as C(host:port). Null if it could not be established.
      type: str
    planned_master:
      description: The master that was planned, as C(host:port). Null where none was.
      type: str
    lossless:
      description: Whether no acknowledged write was lost. Null if it was not moved.
      type: bool
    lossless_reason:
      description: Why O(ignore:lossless) is what it is.
      type: str
    write_gap_ms:
      description: How long its writes stood still, in milliseconds, as M(redis_ha.sentinel.failover) returns it. Null if writes were not stopped, or if it
        is not known.
      type: float
    started_at:
      description: When its move began, in UTC. Null if it did not.
      type: str
    fenced_at:
      description: When its writes stopped, in UTC. Null if they did not.
      type: str
    ended_at:
      description: When its move ended, in UTC. Null if none began.
      type: str
    repaired:
      description: What an interrupted run had left and this one put back.
      type: list
      elements: str
    notes:
      description: What the caller should know.
      type: list
      elements: str
    way_back:
      description: The command that moves it back. Null if it was not moved.
      type: str
  sample: []
counts:
  description: How many masters had each outcome. One that none had is not there.
  returned: always
  type: dict
  sample: {switched: 48, unchanged: 12, refused: 2}
plan:
  description: Where each master was to go. It has the masters with which something was to be done, and those that were refused.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the master.
      type: str
    action:
      description:
        - V(move), or V(refused).
        - V(finish), V(join) or V(repair), for something that somebody has begun.
        - V(nothing), if only what was left is put back.
      type: str
    old_master:
      description: The master before, as C(host:port).
      type: str
    planned_master:
      description: The replica to promote, as C(host:port).
      type: str
    reason:
      description: Why it was refused. Null if it was not.
      type: str
  sample:
    - {name: cache-1, action: move, old_master: '192.0.2.21:6379', planned_master: '192.0.2.22:6379', reason: null}
hosts:
  description: How many masters each host had, and was to have by the plan.
  returned: always
  type: list
  elements: dict
  contains:
    host:
      description: The host, as Sentinel shows it.
      type: str
    masters:
      description: How many masters were on it.
      type: int
    masters_planned:
      description: How many were to be on it.
      type: int
  sample:
    - {host: 192.0.2.21, masters: 50, masters_planned: 0}
unknown_hosts:
  description: Of O(hosts), those on which no server was found.
  returned: always
  type: list
  elements: str
  sample: []
longest_write_gap_ms:
  description: The longest C(write_gap_ms) of all masters, of those that have one. Null if none has.
  returned: always
  type: float
  sample: 14.2
error:
  description:
    - V(masters_left) if a master could not be moved, else a code from the list of errors in the documentation of the collection.
    - Null if nothing went wrong.
  returned: always
  type: str
  sample: masters_left
phase:
  description: What failed before any master was looked at, V(options) or V(check).
  returned: when the task fails before any master was looked at
  type: str
  sample: options
remedy:
  description: What to do now. Null if nothing went wrong.
  returned: always
  type: str
  sample: Do for each master under masters what its remedy says, and run again.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain import DrainRequest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain_record import drain_result, nothing_drained
from ansible_collections.redis_ha.sentinel.plugins.module_utils._drain_run import drain
from ansible_collections.redis_ha.sentinel.plugins.module_utils._live import ENTRIES_FILE, EntriesFile
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module, stop_on_signals
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    DRAIN,
    address_of,
    check_ranges,
    invalid,
    move_request,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock

SWITCH_INTERVAL_S = 0.0005
"""How long a thread computes before another may. Python's 5 ms are half a write stop, for which the thread that has stopped writes would wait
at each answer; seen in ``python -m bench.drain``: 32 ms become 24 ms."""


def drain_request(params: Mapping[str, Any], now_s: float = 0.0) -> DrainRequest:
    """The group DRAIN, read.

    Args:
        params: The parameters of the module.
        now_s: The wall clock, in seconds since 1970.

    Raises:
        RefusedError: A value cannot be used.
    """
    check_ranges(params)
    hosts = tuple(host for host in params["hosts"] if host)
    if not hosts:
        raise invalid("hosts is empty: name the hosts to leave")
    return DrainRequest(
        hosts=hosts,
        each=move_request(params, now_s),
        master_names=tuple(dict.fromkeys(name for name in params["master_names"] if name.strip())),
        targets={str(name): address_of("targets", str(text)) for name, text in params["targets"].items()},
        max_parallel=params["max_parallel"],
        stop_on_failure=params["stop_on_failure"],
    )


def leave(module: AnsibleModule, fleet: Fleet) -> dict[str, Any]:
    """Move every master away from the hosts."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    clock = Clock()
    request = drain_request(module.params, clock.wall_s())
    with EntriesFile(os.environ.get(ENTRIES_FILE)) as entries:
        plan, results = drain(fleet, request, clock, module.check_mode, stop_on_signals(), entries.put)
    return drain_result(plan, request, results, module.check_mode)


def main() -> None:
    """Entry point."""
    run_module(DRAIN, leave, nothing_drained())


if __name__ == "__main__":
    main()
