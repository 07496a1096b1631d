#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible module: what every Sentinel and every node says, side by side."""

from __future__ import annotations

DOCUMENTATION = r"""
module: topology_info
short_description: Show what every Sentinel and every node of a Redis or Valkey deployment says
version_added: 0.1.0
description:
  - Asks every Sentinel, those that are named and those that they know, and every node that they know, and returns what each of them says, side by side.
  - Where they disagree, it shows that they do. It judges nothing; M(redis_ha.sentinel.health_info) does.
  - A server that cannot be asked is listed with the reason. The task fails only if no Sentinel can be asked, or none knows the master.
  - Sends questions only (C(INFO), C(ROLE), C(CONFIG GET), C(MODULE LIST), and the questions of C(SENTINEL)), and returns no secrets.
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
attributes:
  check_mode:
    description: Looks and changes nothing, in check mode as otherwise.
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
      - Name of the master, as Sentinel knows it. If left out or empty, all masters are shown that the named Sentinels watch.
    type: str
seealso:
  - module: redis_ha.sentinel.health_info
  - module: redis_ha.sentinel.failover
"""

EXAMPLES = r"""
- name: Look at everything that these Sentinels watch
  redis_ha.sentinel.topology_info:
    sentinels: ["192.0.2.11:26379", "192.0.2.12:26379"]
  delegate_to: localhost
  register: topology

- name: Show who is master of what
  ansible.builtin.debug:
    msg: "{{ topology.masters | dict2items | items2dict(value_name='value') }}"

- name: Look at one master
  redis_ha.sentinel.topology_info:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
  delegate_to: localhost
"""

RETURN = r"""
masters:
  description:
    - What was said of each master, by its name. The keys below are those of each of them.
    - What a server does not tell is null. So is everything of a server that could not be asked, beside its address, C(error) and C(error_code).
  returned: success
  type: dict
  contains:
    master:
      description: The address that all Sentinels name. Null if they disagree.
      type: str
    sentinels:
      description: What each Sentinel says.
      type: list
      elements: dict
      contains:
        address:
          description: Address of the Sentinel.
          type: str
        error:
          description: Why it could not be asked.
          type: str
        error_code:
          description: V(unreachable), V(auth), V(tls), V(not_permitted) or V(error_reply).
          type: str
        version:
          description: Its version.
          type: str
        run_id:
          description: Its own id. Redis 6.0 does not tell.
          type: str
        tilt:
          description: Whether it is in TILT.
          type: bool
        tilt_total:
          description: How often it has been in TILT since it started. Valkey 9 tells.
          type: int
        master:
          description: The master's address, as this Sentinel gives it to applications.
          type: str
        flags:
          description: How it sees the master, in Sentinel's own words.
          type: list
          elements: str
        role_reported:
          description: The role that the master reported to it last, V(master) or V(replica).
          type: str
        config_epoch:
          description: The configuration epoch of its view.
          type: int
        quorum:
          description: The quorum that is set here.
          type: int
        down_after_ms:
          description: C(down-after-milliseconds) that is set here.
          type: int
        failover_timeout_ms:
          description: C(failover-timeout) that is set here.
          type: int
        parallel_syncs:
          description: C(parallel-syncs) that is set here.
          type: int
        failover_in_progress:
          description: Whether it leads a failover now.
          type: bool
        failover_state:
          description: The state of that failover.
          type: str
        info_age_ms:
          description: The age of its last C(INFO) of the master.
          type: int
        quorum_ok:
          description: Whether it sees quorum and majority.
          type: bool
        quorum_detail:
          description: What C(SENTINEL CKQUORUM) answers.
          type: str
        replicas:
          description: The replicas that it knows.
          type: list
          elements: dict
          contains:
            address:
              description: Address of the replica.
              type: str
            run_id:
              description: Its run id.
              type: str
            flags:
              description: How this Sentinel sees it, in Sentinel's own words.
              type: list
              elements: str
            down:
              description: Whether this Sentinel takes it for down or has no connection to it.
              type: bool
            master:
              description: The address that the replica follows.
              type: str
            link_up:
              description: Whether its link to the master was up.
              type: bool
            link_down_ms:
              description: For how long that link had been down.
              type: int
            priority:
              description: Its C(replica-priority).
              type: int
            offset:
              description: Its replication offset.
              type: int
            info_age_ms:
              description: The age of this Sentinel's last C(INFO) of it.
              type: int
            announced:
              description: Whether applications are shown this replica.
              type: bool
        sentinels:
          description: The other Sentinels that it knows.
          type: list
          elements: dict
          contains:
            address:
              description: Address of the other Sentinel.
              type: str
            run_id:
              description: Its id.
              type: str
            flags:
              description: How this Sentinel sees it, in Sentinel's own words.
              type: list
              elements: str
            down:
              description: Whether this Sentinel takes it for down or has no connection to it.
              type: bool
            last_hello_ms:
              description: How long ago this Sentinel heard its last hello.
              type: int
    nodes:
      description: What each node says of itself, for every node that a Sentinel knows.
      type: list
      elements: dict
      contains:
        address:
          description: Address of the node, as Sentinel shows it.
          type: str
        host:
          description: The host of that address.
          type: str
        port:
          description: The port of that address.
          type: int
        error:
          description: Why it could not be asked.
          type: str
        error_code:
          description: V(unreachable), V(auth), V(tls), V(not_permitted) or V(error_reply).
          type: str
        product:
          description: V(redis) or V(valkey).
          type: str
        version:
          description: Its version.
          type: str
        run_id:
          description: Its run id, another one after each start.
          type: str
        foreign:
          description:
            - Whether it belongs to another deployment, though the Sentinels list it. It has another history of writes, and a master that is not of this one.
            - It is asked what it is, and nothing more. Null where it cannot be asked.
          type: bool
        hidden:
          description: Whether it is attached to the master and no Sentinel lists it. It is new, or says C(replica-announced no).
          type: bool
        uptime_s:
          description: Seconds since it started.
          type: int
        role:
          description: V(master) or V(replica).
          type: str
        link:
          description: What a replica's C(ROLE) says of its link, V(connected) is the good one.
          type: str
        loading:
          description: Whether it is loading its data.
          type: bool
        used_memory_bytes:
          description: Memory in use.
          type: int
        maxmemory_bytes:
          description: C(maxmemory), 0 for no limit.
          type: int
        config_file:
          description: Its configuration file. Null if it was started without one.
          type: str
        paused_actions:
          description: What is paused. Valkey tells from 8.1 on.
          type: str
        modules:
          description: Names of the modules that are loaded.
          type: list
          elements: str
        password_set:
          description: Whether C(requirepass) is set.
          type: bool
        master_auth_set:
          description: Whether C(masterauth) is set.
          type: bool
        min_replicas_to_write:
          description: C(min-replicas-to-write).
          type: int
        min_replicas_max_lag_s:
          description: C(min-replicas-max-lag).
          type: int
        full_resyncs:
          description: Full synchronisations that it has served since it started.
          type: int
        partial_resyncs:
          description: Partial synchronisations that it has served since it started.
          type: int
        replication:
          description: Its replication.
          type: dict
          contains:
            master:
              description: The address that it follows. Null for a master.
              type: str
            link_up:
              description: Whether its link to the master is up. Null for a master.
              type: bool
            link_down_s:
              description: For how long that link has been down.
              type: int
            sync_in_progress:
              description: Whether it is in the middle of a full synchronisation.
              type: bool
            sync_read_bytes:
              description: How much of that it has read.
              type: int
            sync_left_bytes:
              description: How much is left.
              type: int
            sync_total_bytes:
              description: How much it is in all.
              type: int
            replid:
              description: Id of its replication history.
              type: str
            replid2:
              description: Id of the history before, which it can go on from.
              type: str
            offset:
              description: Offset that it has reached.
              type: int
            applied_offset:
              description: Offset up to which it has applied what it received.
              type: int
            second_offset:
              description: Offset at which the history before ended, plus one.
              type: int
            lag_bytes:
              description: How far behind the master it was. Null for a master, and where the two cannot be compared.
              type: int
            priority:
              description: Its C(replica-priority).
              type: int
            read_only:
              description: C(replica-read-only). Null for a master.
              type: bool
            failover_state:
              description: State of a C(FAILOVER) of its own, V(no-failover) if there is none.
              type: str
            backlog_active:
              description: Whether it keeps a backlog for partial synchronisations.
              type: bool
            backlog_size_bytes:
              description: How much that can hold.
              type: int
            backlog_first_offset:
              description: The first offset in it.
              type: int
            backlog_used_bytes:
              description: How much it holds.
              type: int
            replicas:
              description: Replicas that are attached to it.
              type: list
              elements: dict
              contains:
                address:
                  description: Address of the replica.
                  type: str
                state:
                  description: State of its link, V(online) is the good one.
                  type: str
                offset:
                  description: Offset that it has acknowledged.
                  type: int
                lag_s:
                  description: Seconds since it acknowledged something.
                  type: int
  sample:
    mymaster:
      master: 192.0.2.21:6379
      sentinels: []
      nodes: []
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
  sample: Start it, or open the way to it.
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redis_ha.sentinel.plugins.module_utils._census import take_snapshots, watched_masters
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import TOPOLOGY
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._views import (
    deployment_view,
    require_master,
)


def show(module: AnsibleModule, fleet: Fleet) -> dict[str, Any]:
    """Everybody's view of one master, or of all."""
    wanted = module.params["master_name"]
    if wanted:
        snapshot = take_snapshot(fleet, wanted)
        require_master(snapshot)
        return {"changed": False, "masters": {wanted: deployment_view(snapshot)}}
    snapshots = take_snapshots(fleet, watched_masters(fleet))
    return {"changed": False, "masters": {name: deployment_view(snapshot) for name, snapshot in snapshots.items()}}


def main() -> None:
    """Entry point."""
    run_module(TOPOLOGY, show)


if __name__ == "__main__":
    main()
