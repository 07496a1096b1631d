#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible module: check a deployment under Sentinel before or after its master is moved."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_info
short_description: Check a Redis or Valkey deployment under Sentinel before or after its master is moved
version_added: 0.1.0
description:
  - Asks every Sentinel and every node, and holds what they say against a list of named checks, each with what was found and what to do about it.
  - It does not fail on a deployment that is not healthy. It returns RV(ignore:healthy), and the caller decides.
  - The list of all checks, and of what servers do not let anyone see, is in the documentation of the collection (C(docs/checks.md)).
  - Changes no role, no setting and no key. Some commands are tried in a transaction that is discarded, and C(PFCOUNT) is run with a key that nobody has.
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
attributes:
  check_mode:
    description: Looks and changes nothing. In check mode it writes no file either, whatever O(check_config_writable) says.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: Whether a second run changes nothing.
    support: full
options:
  master_name:
    description:
      - Name of the master, as Sentinel knows it.
    type: str
    required: true
  phase:
    description:
      - V(before), whether the deployment is fit for its master to be moved.
      - V(after), whether the move has ended as it should.
    type: str
    choices: [before, after]
    default: before
  min_sentinels:
    description:
      - How many Sentinels must answer, from 1 to 1000. If left out, all that are known must.
    type: int
  min_fit_replicas:
    description:
      - How many replicas must be fit to be promoted, from 0 to 1000.
      - A replica that is not fit is a warning, too few that are is critical.
    type: int
    default: 1
  max_lag_bytes:
    description:
      - How far behind the master a replica may be, in bytes. At least 0.
    type: int
    default: 10485760
  max_info_age:
    description:
      - How old the last C(INFO) that a Sentinel has of a replica may be, in seconds. From 1 to 3600. Sentinel asks every ten seconds, and does not promote a
        replica of which it has heard nothing for thirty.
    type: float
    default: 30.0
  max_link_silence:
    description:
      - How long a replica may have heard nothing from the master, in seconds. From 1 to 86400. A master sends something every
        C(repl-ping-replica-period), ten seconds if nobody changed it.
    type: float
    default: 30.0
  baseline:
    description:
      - A RV(ignore:snapshot) that an earlier run returned. Some checks of the phase V(after) need it, for what only comparing tells.
    type: dict
  check_config_writable:
    description:
      - Whether to let each Sentinel save its configuration (C(SENTINEL FLUSHCONFIG)), to see whether it can. Sentinel rewrites its own file, as it
        does at every change.
      - With O(phase=after) and O(baseline), the old master saves its configuration as well (C(CONFIG REWRITE)), as Sentinel and the failover let it do.
    type: bool
    default: false
  patience:
    description:
      - For how many seconds to look again while something is wrong that may right itself, for example while Sentinel connects anew after a
        failover. From 0 to 600.
    type: float
    default: 3.0
seealso:
  - module: redis_ha.sentinel.failover
  - module: redis_ha.sentinel.topology_info
"""

EXAMPLES = r"""
- name: Look whether the deployment is fit for its master to be moved
  redis_ha.sentinel.health_info:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
    min_fit_replicas: 2
  delegate_to: localhost
  register: before

- name: Refuse to go on where something is critical
  ansible.builtin.assert:
    that: before.healthy
    fail_msg: "{{ before.checks | selectattr('status', 'eq', 'critical') | map(attribute='detail') | join('; ') }}"

- name: Look whether the move has ended as it should
  redis_ha.sentinel.health_info:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
    phase: after
    baseline: "{{ before.snapshot }}"
  delegate_to: localhost
"""

RETURN = r"""
healthy:
  description: Whether no check is critical.
  returned: success
  type: bool
  sample: true
checks:
  description: Every check of the phase. A check that looks at each replica, or finds several things wrong, is there several times.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the check, the same whatever its status.
      type: str
    status:
      description: V(ok), V(warning) or V(critical). What no server tells is V(ok), and the detail begins with C(not known).
      type: str
    detail:
      description: What was found, and where.
      type: str
    remedy:
      description: What to do about it. Empty if nothing is wrong.
      type: str
  sample:
    - name: no_tilt
      status: ok
      detail: no Sentinel is in TILT
      remedy: ""
snapshot:
  description:
    - What everybody said, to be handed to a later run as O(baseline).
    - Beside C(master_name) and C(taken_at) it has what M(redis_ha.sentinel.topology_info) returns for one master. It holds no secrets.
  returned: success
  type: dict
  contains:
    master_name:
      description: Name of the master.
      type: str
    taken_at:
      description: When it was taken, in UTC.
      type: str
    master:
      description: The address that all Sentinels name. Null if they disagree.
      type: str
    sentinels:
      description: What each Sentinel says.
      type: list
      elements: dict
    nodes:
      description: What each node says.
      type: list
      elements: dict
  sample: {master_name: mymaster, taken_at: "2026-10-05T03:12:45Z", master: "192.0.2.21:6379", sentinels: [], nodes: []}
error:
  description: A code for what went wrong, see the list of errors in the documentation of the collection.
  returned: when the task fails
  type: str
  sample: master_unknown
phase:
  description: What failed, V(options) or V(check).
  returned: when the task fails
  type: str
  sample: check
remedy:
  description: What to do now.
  returned: when the task fails
  type: str
  sample: Use a name that `redis_ha.sentinel.topology_info` lists.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import PROBED_COMMANDS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health import examine, is_healthy, may_pass
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_before import planned
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_files import role_changers
from ansible_collections.redis_ha.sentinel.plugins.module_utils._masked import is_masked
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import HEALTH, invalid, master_name
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import MOVE, Plan
from ansible_collections.redis_ha.sentinel.plugins.module_utils._probes import (
    gather_evidence,
    save_role,
    save_sentinel_configs,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import (
    BEFORE,
    Baseline,
    Evidence,
    Situation,
    Thresholds,
    parse_baseline,
    unmasked,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._views import deployment_view, require_master

LOOK_AGAIN_S = 0.25


def _baseline(data: Mapping[str, Any] | None) -> Baseline | None:
    try:
        return parse_baseline(data) if data else None
    except ValueError as error:
        raise invalid(f"baseline: {error}") from error


def _look(fleet: Fleet, params: Mapping[str, Any], baseline: Baseline | None, clock: Clock) -> Situation:
    before = params["phase"] == BEFORE
    also = [node.address for node in baseline.nodes if not is_masked(node.address.host)] if baseline else []
    snapshot = take_snapshot(fleet, master_name(params), PROBED_COMMANDS if before else None, also, listen=True)
    require_master(snapshot)
    thresholds = Thresholds(
        min_sentinels=params["min_sentinels"],
        min_fit_replicas=params["min_fit_replicas"],
        max_lag_bytes=params["max_lag_bytes"],
        max_info_age_s=params["max_info_age"],
        max_link_silence_s=params["max_link_silence"],
    )
    known = unmasked(baseline, snapshot) if baseline else None
    plan = planned(Situation(snapshot, Evidence(), thresholds, known)) if before else None
    promoted = plan.new_master if isinstance(plan, Plan) and plan.action == MOVE else None
    return Situation(snapshot, gather_evidence(fleet, snapshot, clock, before, promoted), thresholds, known)


def _save_configs(fleet: Fleet, phase: str, situation: Situation) -> Evidence:
    return replace(
        situation.evidence,
        config_saves=save_sentinel_configs(fleet, situation.snapshot),
        role_saves=save_role(fleet, role_changers(situation, phase)),
    )


def check_health(module: AnsibleModule, fleet: Fleet) -> dict[str, Any]:
    """Look, and look again while what is wrong may right itself."""
    params, clock = module.params, Clock()
    baseline = _baseline(params["baseline"])
    give_up_s = clock.now_s() + params["patience"]
    while True:
        situation = _look(fleet, params, baseline, clock)
        checks = examine(situation, params["phase"])
        if not may_pass(checks) or clock.now_s() >= give_up_s:
            break
        clock.sleep(LOOK_AGAIN_S)
    if params["check_config_writable"] and not module.check_mode:
        situation = replace(situation, evidence=_save_configs(fleet, params["phase"], situation))
        checks = examine(situation, params["phase"])
    return _result(checks, situation.snapshot, clock)


def _result(checks: list[Check], snapshot: Snapshot, clock: Clock) -> dict[str, Any]:
    taken_at = datetime.fromtimestamp(clock.wall_s(), timezone.utc)
    return {
        "changed": False,
        "healthy": is_healthy(checks),
        "checks": [check.as_result() for check in checks],
        "snapshot": {
            "master_name": snapshot.master_name,
            "taken_at": taken_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **deployment_view(snapshot),
        },
    }


def main() -> None:
    """Entry point."""
    run_module(HEALTH, check_health)


if __name__ == "__main__":
    main()
