#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible module: look whether servers that were away are back; its action plugin looks again and again, and tells what it sees."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_for_servers
short_description: Wait until every server of many masters is back, in sync, and seen by every Sentinel
version_added: 0.1.0
description:
  - Waits until every node of the masters answers and follows its master with little lag, and every Sentinel answers, agrees with the others, and sees
    all of them.
  - For many masters at once, as after a host with many servers was away. M(redis_ha.sentinel.wait_for_replicas) tells more of one master.
  - While it waits it tells what is missing, as it changes.
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
  expected:
    description:
      - The servers that are to be there, by the name of the master, each with the lists C(nodes) and C(sentinels) of C(host:port). What was seen before they
        were taken away.
      - If empty, every server that the Sentinels list now, of every master.
    type: dict
    default: {}
  max_lag_bytes:
    description:
      - How far behind the master a replica may be, in bytes. At least 0.
    type: int
    default: 10485760
  timeout:
    description:
      - How many seconds to wait in all. From 5 to 86400.
    type: float
    default: 3600.0
  stall_timeout:
    description:
      - How many seconds to wait while nothing moves, for example because a server is down. From 1 to 86400.
    type: float
    default: 300.0
  poll_interval:
    description:
      - How many seconds lie between two looks. From 0.2 to 60.
    type: float
    default: 2.0
seealso:
  - module: redis_ha.sentinel.drain
  - module: redis_ha.sentinel.wait_for_replicas
"""

EXAMPLES = r"""
- name: Go on when everything is back
  redis_ha.sentinel.wait_for_servers:
    sentinels: ["192.0.2.11:26379", "192.0.2.12:26379"]
    expected:
      shop:
        nodes: ["192.0.2.21:6379", "192.0.2.22:6379"]
        sentinels: ["192.0.2.11:26379", "192.0.2.12:26379", "192.0.2.13:26379"]
  delegate_to: localhost
"""

RETURN = r"""
settled:
  description: Whether all that is waited for has come about.
  returned: always
  type: bool
  sample: true
missing:
  description: What is missing.
  returned: always
  type: list
  elements: dict
  contains:
    master_name:
      description: Of which master.
      type: str
    server:
      description: At which server, as C(host:port). Null if at none.
      type: str
    detail:
      description: What is missing there.
      type: str
    remedy:
      description: What to do if it stays so.
      type: str
  sample: []
mark:
  description: A text that changes whenever something moves.
  returned: always
  type: str
  sample: "shop: 192.0.2.22:6379 loads its data"
waited_ms:
  description: Milliseconds from the first look to the last.
  returned: always
  type: float
  sample: 2104.2
progress:
  description: The lines that were shown.
  returned: always
  type: list
  elements: str
  sample: []
error:
  description:
    - Null if all is well. V(servers_stalled), nothing moved for O(stall_timeout). V(servers_timeout), O(timeout) has passed.
    - Else a code from the list of errors in the documentation of the collection.
  returned: always
  type: str
  sample: servers_stalled
remedy:
  description: What to do now. Null if all is well.
  returned: always
  type: str
  sample: Start it, or mend the way to it.
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redis_ha.sentinel.plugins.module_utils._census import take_snapshots, watched_masters
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import SERVERS, addresses, invalid
from ansible_collections.redis_ha.sentinel.plugins.module_utils._returned import Expected, everything, mark, missing

NOTHING: dict[str, Any] = {
    "settled": False,
    "missing": [],
    "mark": "",
    "waited_ms": 0.0,
    "progress": [],
    "error": None,
    "remedy": None,
}


def expected_servers(masters: Mapping[str, Any]) -> dict[str, Expected]:
    """The option ``expected``, read.

    Raises:
        RefusedError: It is not of the form that it is to have.
    """
    found = {}
    for name, servers in masters.items():
        if not isinstance(servers, Mapping) or set(servers) - {"nodes", "sentinels"}:
            raise invalid(f"expected: {name}: name its nodes and its sentinels, a list of host:port each")
        lists = [addresses(f"expected: {name}", servers.get(part) or ()) for part in ("nodes", "sentinels")]
        found[str(name)] = Expected(*lists)
    return found


def look(module: AnsibleModule, fleet: Fleet) -> dict[str, Any]:
    """One look. The action plugin takes as many as it needs."""
    expected = expected_servers(module.params["expected"])
    snapshots = take_snapshots(fleet, list(expected) or watched_masters(fleet), settings=False)
    rows = [
        row
        for name, snapshot in snapshots.items()
        for row in missing(snapshot, expected.get(name) or everything(snapshot), module.params["max_lag_bytes"])
    ]
    return {
        **NOTHING,
        "changed": False,
        "settled": not rows,
        "missing": [row.as_result() for row in rows],
        "mark": mark(snapshots, rows),
    }


def main() -> None:
    """Entry point."""
    run_module(SERVERS, look, NOTHING)


if __name__ == "__main__":
    main()
