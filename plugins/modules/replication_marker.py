#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible module: write a key on the master and see it arrive on every replica."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_marker
short_description: Prove replication by a key that is written on the master and read on every replica
version_added: 0.1.0
description:
  - Writes one key with a short life on the master that the Sentinels name, and reads it on every replica until it is there.
  - It is the plainest proof that the master takes writes and that they reach everybody.
  - The key has a name that no other run uses. It is left to expire, so nobody needs the permission to delete it.
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
attributes:
  check_mode:
    description: Writes nothing, and says so.
    support: full
  diff_mode:
    description: The key says nothing that is worth comparing.
    support: none
  idempotent:
    description: Whether a second run changes nothing.
    support: none
    details:
      - Every run writes a key of its own.
options:
  master_name:
    description:
      - Name of the master, as Sentinel knows it.
    type: str
    required: true
  key_prefix:
    description:
      - What the name of the key begins with. Choose one that the rules of the user permit, and that your applications do not use.
    type: str
    default: "redis_ha.sentinel:marker:"
  ttl:
    description:
      - After how many seconds the key expires. From 1 to 3600, and longer than O(timeout).
    type: int
    default: 60
  excused:
    description:
      - Replicas that are not asked, each as C(host:port).
    type: list
    elements: str
    default: []
  timeout:
    description:
      - How many seconds the key may take to arrive everywhere. From 5 to 86400.
    type: float
    default: 10.0
seealso:
  - module: redis_ha.sentinel.wait_for_replicas
notes:
  - The user needs the permission for C(SET) on the master and C(GET) on the replicas, for keys that begin with O(key_prefix), in database 0.
"""

EXAMPLES = r"""
- name: Prove that writes reach every replica
  redis_ha.sentinel.replication_marker:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
  delegate_to: localhost
"""

RETURN = r"""
arrived:
  description: Whether the key has arrived on every replica that was asked.
  returned: always
  type: bool
  sample: true
key:
  description: The key. Null if none was written.
  returned: always
  type: str
  sample: redis_ha.sentinel:marker:5f1c0b9e7a3d4c62
master:
  description: The master. Null if it could not be established.
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
replicas:
  description: What each replica answered.
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
    arrived:
      description: Whether the key is there.
      type: bool
    after_ms:
      description: Milliseconds from the answer of the master until it was seen there. Null if it was not.
      type: float
    detail:
      description: The same for a person, or what went wrong.
      type: str
  sample: []
error:
  description: A code for what went wrong, V(marker_not_written), V(marker_not_arrived) or another one of the list of errors. Null if nothing did.
  returned: always
  type: str
  sample: marker_not_arrived
remedy:
  description: What to do now. Null if nothing went wrong.
  returned: always
  type: str
  sample: Look at the link of this replica.
"""

import secrets
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import MARKER, addresses, invalid, master_name
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot

POLL_S = 0.01

NOTHING: dict[str, Any] = {"arrived": False, "key": None, "master": None, "replicas": []}


def mark(module: AnsibleModule, fleet: Fleet) -> dict[str, Any]:
    """Write the key and wait for it."""
    params = module.params
    if params["ttl"] <= params["timeout"]:
        raise invalid(f"ttl={params['ttl']} must be longer than timeout={params['timeout']:g}")
    excused = addresses("excused", params["excused"])
    snapshot = take_snapshot(fleet, master_name(params), also=excused)
    master = snapshot.master_address
    if master is None:
        failure = "; ".join(
            f"Sentinel {view.address}: {view.error or 'names ' + str(view.current)}" for view in snapshot.sentinels
        )
        return _failed(
            "marker_not_written", f"The master could not be established: {failure}", "Look with topology_info."
        )
    pardoned = {snapshot.identity(address) for address in excused}
    replicas = [
        node.address
        for node in snapshot.nodes
        if not snapshot.same(node.address, master) and snapshot.identity(node.address) not in pardoned
    ]
    found: dict[str, Any] = {**NOTHING, "master": master.as_result()}
    if module.check_mode:
        return {**found, "changed": True, "error": None, "remedy": None}
    token = secrets.token_hex(8)
    key = params["key_prefix"] + token
    try:
        fleet.node(master).order("SET", key, token, "EX", params["ttl"], "NX")
    except (LinkError, ReplyError) as error:
        sent = isinstance(error, LinkError) and error.sent
        remedy = "The master refuses the write: look at what it says, and at the permissions of the collection's user."
        return {**found, "changed": sent, **_failed("marker_not_written", str(error), remedy)}
    rows = _arrivals(fleet, replicas, key, token, params["timeout"])
    result = {**found, "changed": True, "key": key, "replicas": rows, "error": None, "remedy": None}
    missing = [f"{row['host']}:{row['port']} ({row['detail']})" for row in rows if not row["arrived"]]
    if missing:
        text = f"The key {key} did not arrive within {params['timeout']:g} s on {', '.join(missing)}"
        return {
            **result,
            **_failed("marker_not_arrived", text, "Look at the links of these replicas with wait_for_replicas."),
        }
    return {**result, "arrived": True}


def _failed(error: str, message: str, remedy: str) -> dict[str, Any]:
    return {**NOTHING, "failed": True, "msg": f"{message.rstrip('.')}. {remedy}", "error": error, "remedy": remedy}


def _arrivals(fleet: Fleet, replicas: list[Address], key: str, token: str, timeout_s: float) -> list[dict[str, Any]]:
    began_s = time.monotonic()
    rows: dict[Address, dict[str, Any]] = {}
    waiting = list(replicas)
    while waiting:
        for address, answer in fleet.gather(waiting, lambda address: fleet.node(address).ask("GET", key)).items():
            after_ms = round(1000 * (time.monotonic() - began_s), 1)
            arrived = answer == token
            missing = str(answer) if isinstance(answer, (LinkError, ReplyError)) else "not there yet"
            detail = f"arrived within {after_ms:g} ms" if arrived else missing
            row = {"arrived": arrived, "after_ms": after_ms if arrived else None, "detail": detail}
            rows[address] = {**address.as_result(), **row}
        waiting = [address for address in waiting if not rows[address]["arrived"]]
        if not waiting or time.monotonic() - began_s >= timeout_s:
            break
        time.sleep(POLL_S)
    return [rows[address] for address in replicas]


def main() -> None:
    """Entry point."""
    run_module(MARKER, mark, NOTHING)


if __name__ == "__main__":
    main()
