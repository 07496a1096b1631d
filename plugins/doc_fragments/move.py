# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options that say how a master is moved; the twin of MOVE in module_utils/_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The group of options that say how a master is moved."""

    DOCUMENTATION = r"""
options:
  min_sentinels:
    description:
      - How many Sentinels must answer, from 1 to 1000. If left out, all that are known must.
      - Set it to go on although a Sentinel is down. Quorum and majority are demanded in any case.
    type: int
  strategy:
    description:
      - V(fenced) stops writes on the old master, sees the replica catch up, demotes the old master, and then promotes the replica.
        Needs to reach the data nodes.
      - V(coordinated) is Valkey 9's own C(SENTINEL FAILOVER ... COORDINATED), for callers who may talk to Sentinels only.
      - V(plain) is C(SENTINEL FAILOVER) alone. Right when the master is down. On a healthy master it loses what is written in about eleven seconds.
      - V(auto) is V(fenced) where that can be done, else V(coordinated) where Sentinel has it, else V(plain) if the Sentinels agree that the
        master is down, else the task fails and says what stands in the way.
    type: str
    choices: [auto, fenced, coordinated, plain]
    default: auto
  promotion:
    description:
      - Who promotes the replica when the strategy is V(fenced). Either way a Sentinel leads the failover and gives it its epoch.
      - V(program) promotes it and tells every Sentinel at once. Writes stand still for 10 to 20 milliseconds.
      - V(sentinel) leaves both to Sentinel, in its own time. Writes stand still for about 1.2 seconds.
      - V(auto) is V(program) if the program can tell the Sentinels and none of them has a C(client-reconfig-script). Otherwise it is V(sentinel).
        Such a script is called as C(leader) only if Sentinel promotes.
    type: str
    choices: [auto, program, sentinel]
    default: auto
  accept_loss:
    description:
      - Whether acknowledged writes may be lost. The strategy V(plain) on a master that answers is refused without it.
    type: bool
    default: false
  not_after:
    description:
      - The latest moment at which writes may be stopped. A time in UTC such as C(2026-01-31T02:00:00Z), or a number of seconds from the start of the run.
      - After that moment nothing is moved, and the task fails.
    type: str
  max_lag_bytes:
    description:
      - How far behind the master the replica to promote may be when the run begins, in bytes. At least 0.
    type: int
    default: 10485760
  catch_up_timeout:
    description:
      - How many seconds writes may stand still until the replicas have caught up. From 0.05 to 60, and never more than half of the smallest
        C(down-after-milliseconds) of the Sentinels. When it has passed, writes go on and nothing is moved.
      - Before writes are stopped, the replica must show that it can reach the master's offset within this time.
    type: float
    default: 1.0
  timeout:
    description:
      - How many seconds to wait for the promotion, and then for all replicas together to follow. From 5 to 86400.
      - If a replica may need a full synchronisation, set it longer than that takes. Replicas that need one get it one after the other.
      - A run that moves the master on from where Sentinel had promoted a replica waits as long once more.
    type: float
    default: 120.0
"""
