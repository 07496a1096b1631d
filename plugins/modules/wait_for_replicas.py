#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible module: look how far the replicas are; its action plugin looks again and again, and tells what it sees."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_for_replicas
short_description: Wait until every replica follows the master, and show how far each has come
version_added: 0.1.0
description:
  - Waits until the Sentinels agree on one master, no failover is in progress, and every replica follows that master with its link up and
    little lag.
  - While it waits it tells what each replica does, as it happens. A full synchronisation is shown in bytes, and in percent where the server knows the total.
  - It waits as long as something moves, up to O(timeout), and gives up early when nothing has moved for O(stall_timeout).
  - Changes nothing on any server.
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
attributes:
  action:
    description: Waits and tells on the controller; each look is a run of the module wherever the task runs.
    support: full
  async:
    description: Whether the task can run in the background.
    support: none
  check_mode:
    description: Changes nothing, so it does the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
options:
  master_name:
    description:
      - Name of the master, as Sentinel knows it.
    type: str
    required: true
  max_lag_bytes:
    description:
      - How far behind the master a replica may be, in bytes. At least 0.
    type: int
    default: 10485760
  excused:
    description:
      - Replicas that are reported and not waited for, each as C(host:port). For example one that was down before.
    type: list
    elements: str
    default: []
  timeout:
    description:
      - How many seconds to wait in all. From 5 to 86400.
    type: float
    default: 3600.0
  stall_timeout:
    description:
      - How many seconds to wait while nothing moves, for example because a replica is down. From 1 to 86400.
      - Emptying a large data set before loading the new one is such a quiet time.
    type: float
    default: 300.0
  poll_interval:
    description:
      - How many seconds lie between two looks. From 0.2 to 60.
    type: float
    default: 2.0
seealso:
  - module: redis_ha.sentinel.failover
  - module: redis_ha.sentinel.health_info
  - module: redis_ha.sentinel.replication_marker
"""

EXAMPLES = r"""
- name: Wait until every replica follows, two hours at most
  redis_ha.sentinel.wait_for_replicas:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
    timeout: 7200
  delegate_to: localhost
"""

RETURN = r"""
settled:
  description: Whether all that is waited for has come about.
  returned: always
  type: bool
  sample: true
master:
  description: The master that all Sentinels name. Null if they do not agree.
  returned: when the deployment could be asked
  type: dict
  contains:
    host:
      description: Host, as Sentinel shows it.
      type: str
    port:
      description: Port.
      type: int
  sample: {host: 192.0.2.22, port: 6379}
replicas:
  description: What each replica does.
  returned: when the deployment could be asked
  type: list
  elements: dict
  contains:
    host:
      description: Host, as Sentinel shows it.
      type: str
    port:
      description: Port.
      type: int
    state:
      description:
        - V(in_sync), V(catching_up), V(waiting_for_snapshot) (the master saves its data for it), V(full_sync), V(loading), V(connecting),
          V(link_down), V(follows_another), V(is_master) or V(unreachable).
      type: str
    detail:
      description: The same for a person.
      type: str
    in_sync:
      description: Whether it follows the master with its link up and little lag.
      type: bool
    received_bytes:
      description: How much of a full synchronisation has arrived, or has been loaded. Null where the server does not tell.
      type: int
    total_bytes:
      description: How much that will be. Null where the server does not know.
      type: int
    percent:
      description: The one of the other. Null where the total is not known.
      type: float
    lag_bytes:
      description: How far it is behind the master. Null while its link is down.
      type: int
    excused:
      description: Whether it is not waited for.
      type: bool
    remedy:
      description: What to do if it stays so. Null if it is in sync.
      type: str
  sample: []
sentinels:
  description: What each Sentinel says.
  returned: when the deployment could be asked
  type: list
  elements: dict
  contains:
    host:
      description: Host.
      type: str
    port:
      description: Port.
      type: int
    state:
      description: V(agreed), V(names_another), V(failover_in_progress) or V(unreachable).
      type: str
    detail:
      description: The same for a person.
      type: str
    remedy:
      description: What to do if it stays so. Null if it agrees.
      type: str
  sample: []
unsettled:
  description: What is waited for, in the form of the checks of M(redis_ha.sentinel.health_info).
  returned: when the deployment could be asked
  type: list
  elements: dict
  contains:
    name:
      description: V(replica_in_sync), V(sentinel_agrees) or V(master_settled).
      type: str
    status:
      description: Always V(critical).
      type: str
    detail:
      description: What is missing, and where.
      type: str
    remedy:
      description: What to do if it stays so.
      type: str
  sample: []
mark:
  description: A text that changes whenever something moves.
  returned: when the deployment could be asked
  type: str
  sample: 192.0.2.22:6379|192.0.2.21:6379 in_sync
waited_ms:
  description: Milliseconds from the first look to the last.
  returned: when the deployment could be asked
  type: float
  sample: 2104.2
progress:
  description: The lines that were shown.
  returned: when the deployment could be asked
  type: list
  elements: str
  sample: []
error:
  description:
    - Null if all is well. V(replicas_stalled), nothing moved for O(stall_timeout). V(replicas_timeout), O(timeout) has passed.
      V(master_unknown), no Sentinel that answered at the beginning knows this master.
    - Else a code from the list of errors in the documentation of the collection.
  returned: always
  type: str
  sample: replicas_stalled
remedy:
  description: What to do now. Null if all is well.
  returned: always
  type: str
  sample: Start it, or mend the way to it; it then follows by itself.
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import WAIT, addresses, master_name
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replication import (
    nobody_knows,
    replication_progress,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot


def look(module: AnsibleModule, fleet: Fleet) -> dict[str, Any]:
    """One look. The action plugin takes as many as it needs."""
    excused = addresses("excused", module.params["excused"])
    snapshot = take_snapshot(fleet, master_name(module.params), also=excused)
    progress = replication_progress(snapshot, module.params["max_lag_bytes"], excused)
    result = {"changed": False, **progress.as_result(), "waited_ms": 0.0, "progress": [], "error": None, "remedy": None}
    return result if snapshot.informed_sentinels else {**result, **nobody_knows(result)}


def main() -> None:
    """Entry point."""
    run_module(WAIT, look, {"settled": False})


if __name__ == "__main__":
    main()
