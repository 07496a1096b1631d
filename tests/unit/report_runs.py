# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results of `redis_ha.sentinel.failover`, one of each kind: real runs on Redis 7.0.15, with addresses that read well."""

from __future__ import annotations

from typing import Any

OLD, NEW, OTHER = "192.0.2.21:6379", "192.0.2.22:6379", "192.0.2.23:6379"
LEADER, SECOND, THIRD = "192.0.2.12:26379", "192.0.2.11:26379", "192.0.2.13:26379"

Result = dict[str, Any]


def address(text: str) -> dict[str, Any]:
    host, _colon, port = text.rpartition(":")
    return {"host": host, "port": int(port)}


def timeline(text: str) -> list[dict[str, Any]]:
    """A line each: milliseconds | who | what | detail."""
    happenings = []
    for line in text.strip().splitlines():
        at_ms, who, what, detail = (part.strip() for part in f"{line} ".split("|", 3))
        happenings.append({"at_ms": float(at_ms), "who": who, "what": what, "detail": detail})
    return happenings


def replica(where: str, resync: str = "partial", **other: Any) -> dict[str, Any]:
    detail = f"follows {NEW}"
    return {**address(where), "following": True, "detail": detail, "resync": resync, "excused": False, **other}


def checks(*failed: str, warned: tuple[str, ...] = ()) -> dict[str, Any]:
    """What health_info returns."""
    names = ("sentinels_reachable", "sentinels_agree", "quorum", "no_tilt", "replica_fit", "masterauth")
    listed = []
    for name in names:
        status = "critical" if name in failed else "warning" if name in warned else "ok"
        remedy = "" if status == "ok" else f"Mend {name}."
        listed.append({"name": name, "status": status, "detail": f"{name} was looked at", "remedy": remedy})
    return {"healthy": not failed, "checks": listed, "snapshot": {"master_name": "orders"}, "changed": False}


def run(outcome: str, **fields: Any) -> Result:
    """A result with every field that is always there."""
    return {
        "changed": outcome in ("switched", "planned", "incomplete", "unknown"),
        "outcome": outcome,
        "phase": "settle",
        "error": None,
        "strategy": "fenced",
        "old_master": address(OLD),
        "new_master": address(NEW),
        "leader": LEADER,
        "plan": plan(),
        "lossless": False,
        "lossless_reason": "nothing was moved",
        "write_gap_ms": None,
        "agree_ms": None,
        "phases_ms": {"discover": 26.1, "plan": 0.4},
        "timeline": [],
        "replicas": [],
        "repaired": [],
        "notes": [],
        "remedy": None,
        "diff": {"before": {"master": OLD}, "after": {"master": OLD}},
        "invocation": {"module_args": {"master_name": "orders", "redis_password": None}},
        **fields,
    }


def failed(outcome: str, error: str, message: str, remedy: str, **fields: Any) -> Result:
    """A result of a task that failed."""
    return run(outcome, failed=True, error=error, msg=f"{message}. {remedy}", remedy=remedy, seen={}, **fields)


def plan(**fields: Any) -> dict[str, Any]:
    return {
        "action": "move",
        "strategy": "fenced",
        "old_master": address(OLD),
        "new_master": address(NEW),
        "siblings": [OTHER],
        "lagging": [],
        "leaders": [LEADER, SECOND],
        "steering": {OTHER: {"from": 100, "to": 1000000100}},
        "repairs": [],
        "notes": [],
        "steps": [
            f"raise replica-priority on {OTHER} from 100 to 1000000100",
            f"pause writes on {OLD}, 1250 ms at a time",
            f"make {OLD} a replica of {NEW}",
            f"send SENTINEL FAILOVER to one of {LEADER}, {SECOND}",
            f"see every replica follow {NEW}",
        ],
        "fence": "pause",
        "lease_ms": 1250,
        "expected_write_stop_ms": 320,
        "worst_case_write_stop_ms": 2400,
        "write_stop_if_killed_ms": 35000,
        **fields,
    }


def no_plan(action: str, **fields: Any) -> dict[str, Any]:
    """A plan that moves nothing by itself."""
    bare: Result = {"action": action, "strategy": "", "new_master": None, "siblings": [], "leaders": [], "steps": []}
    return {**bare, "old_master": address(OLD), **fields}


SWITCHED_TIMELINE = """
0.1 | program | discover |
26.3 | program | plan |
26.7 | program | lock |
27.2 | program | steer |
27.4 | program | steered | 192.0.2.23:6379: replica-priority 1000000100
27.4 | program | probe |
28.4 | program | align |
9408.4 | program | recheck |
9410.2 | program | await_tick |
9654.8 | program | fence |
9655.3 | program | fence | 192.0.2.21:6379 acknowledges no more writes; its offset is 2047
9655.5 | program | catch_up |
9656.1 | program | demote |
9657.2 | program | demoted | 192.0.2.21:6379 is a replica of 192.0.2.22:6379; final offset 2047
9657.2 | program | trigger |
9657.2 | program | trigger | Sentinel 192.0.2.12:26379 leads the failover
9657.5 | program | promote |
9657.5 | sentinel 192.0.2.12:26379 | +new-epoch | 1
9657.6 | sentinel 192.0.2.12:26379 | +try-failover | master orders 192.0.2.21 6379
9666.3 | sentinel 192.0.2.12:26379 | +elected-leader | master orders 192.0.2.21 6379
9666.4 | sentinel 192.0.2.12:26379 | +failover-state-select-slave | master orders 192.0.2.21 6379
9750.3 | sentinel 192.0.2.12:26379 | +selected-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
9750.4 | sentinel 192.0.2.12:26379 | +failover-state-send-slaveof-noone | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
9822.0 | sentinel 192.0.2.12:26379 | +failover-state-wait-promotion | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
9825.2 | sentinel 192.0.2.12:26379 | -role-change | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379 new reported role is master
9825.3 | sentinel 192.0.2.12:26379 | +promoted-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
9825.3 | sentinel 192.0.2.12:26379 | +failover-state-reconf-slaves | master orders 192.0.2.21 6379
9825.8 | program | promoted | 192.0.2.22:6379 is a master
9825.8 | program | agree |
9875.0 | sentinel 192.0.2.12:26379 | +slave-reconf-sent | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
9878.8 | sentinel 192.0.2.11:26379 | +new-epoch | 1
9878.9 | sentinel 192.0.2.11:26379 | +config-update-from | sentinel e3654ffcdf8c566858a409a05a00e8e99c0d39c8 192.0.2.12 26379 @ orders 192.0.2.21 6379
9878.9 | sentinel 192.0.2.11:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
9879.1 | sentinel 192.0.2.13:26379 | +new-epoch | 1
9879.2 | sentinel 192.0.2.13:26379 | +config-update-from | sentinel e3654ffcdf8c566858a409a05a00e8e99c0d39c8 192.0.2.12 26379 @ orders 192.0.2.21 6379
9879.2 | sentinel 192.0.2.13:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
9879.4 | program | agreed | every Sentinel names 192.0.2.22:6379
9879.5 | program | release |
9882.6 | program | released | the connections of 192.0.2.21:6379 were closed
9882.7 | program | settle |
9883.9 | program | unsteered | 192.0.2.23:6379: replica-priority 100
10875.1 | sentinel 192.0.2.12:26379 | +slave-reconf-inprog | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
10875.2 | sentinel 192.0.2.12:26379 | +slave-reconf-done | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
10932.6 | sentinel 192.0.2.12:26379 | +failover-end | master orders 192.0.2.21 6379
10932.8 | sentinel 192.0.2.12:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
10982.6 | program | settled |
"""

SWITCHED = run(
    "switched",
    lossless=True,
    lossless_reason=f"{NEW} had applied offset 2047, the last that {OLD} reached when it stopped being a master",
    write_gap_ms=170.5,
    agree_ms=53.7,
    phases_ms={
        "discover": 26.1,
        "plan": 0.4,
        "lock": 0.5,
        "steer": 0.2,
        "probe": 0.9,
        "align": 8795.2,
        "recheck": 1.8,
        "await_tick": 244.5,
        "fence": 0.7,
        "catch_up": 0.7,
        "demote": 1.0,
        "trigger": 0.2,
        "promote": 168.3,
        "agree": 53.6,
        "release": 3.2,
        "settle": 1099.9,
    },
    timeline=timeline(SWITCHED_TIMELINE),
    replicas=[replica(OTHER), replica(OLD)],
)

PLAIN_TIMELINE = """
0.1 | program | discover |
51.1 | program | plan |
51.5 | program | lock |
53.9 | program | trigger |
53.9 | program | trigger | Sentinel 192.0.2.12:26379 leads the failover
54.1 | sentinel 192.0.2.12:26379 | +new-epoch | 1
54.1 | sentinel 192.0.2.12:26379 | +try-failover | master orders 192.0.2.21 6379
54.1 | program | promote |
104.1 | sentinel 192.0.2.12:26379 | +elected-leader | master orders 192.0.2.21 6379
104.1 | sentinel 192.0.2.12:26379 | +failover-state-select-slave | master orders 192.0.2.21 6379
168.4 | sentinel 192.0.2.12:26379 | +selected-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
168.5 | sentinel 192.0.2.12:26379 | +failover-state-send-slaveof-noone | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
223.5 | sentinel 192.0.2.12:26379 | +failover-state-wait-promotion | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
227.1 | program | promoted | 192.0.2.22:6379 is a master
227.2 | program | agree |
230.9 | sentinel 192.0.2.12:26379 | -role-change | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379 new reported role is master
230.9 | sentinel 192.0.2.12:26379 | +promoted-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
230.9 | sentinel 192.0.2.12:26379 | +failover-state-reconf-slaves | master orders 192.0.2.21 6379
276.4 | sentinel 192.0.2.12:26379 | +slave-reconf-sent | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
282.6 | sentinel 192.0.2.11:26379 | +new-epoch | 1
282.6 | sentinel 192.0.2.11:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
282.6 | sentinel 192.0.2.11:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
294.2 | sentinel 192.0.2.13:26379 | +new-epoch | 1
294.2 | sentinel 192.0.2.13:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
294.2 | sentinel 192.0.2.13:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
294.3 | sentinel 192.0.2.13:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
298.8 | program | agreed | every Sentinel names 192.0.2.22:6379
298.9 | program | settle |
300.0 | sentinel 192.0.2.11:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
1256.1 | sentinel 192.0.2.12:26379 | +slave-reconf-inprog | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
1256.2 | sentinel 192.0.2.12:26379 | +slave-reconf-done | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
1313.1 | sentinel 192.0.2.12:26379 | +failover-end | master orders 192.0.2.21 6379
1313.2 | sentinel 192.0.2.12:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
1383.3 | sentinel 192.0.2.12:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
10315.3 | sentinel 192.0.2.11:26379 | +convert-to-slave | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379
10343.6 | sentinel 192.0.2.13:26379 | +role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is slave
10448.8 | program | settled |
"""

PLAIN = run(
    "switched",
    strategy="plain",
    plan=plan(strategy="plain", siblings=[], fence="", expected_write_stop_ms=11000, worst_case_write_stop_ms=None),
    lossless_reason="SENTINEL FAILOVER alone leaves the old master writable until Sentinel demotes it, about eleven seconds later",
    agree_ms=71.7,
    timeline=timeline(PLAIN_TIMELINE),
    replicas=[replica(OTHER, "full"), replica(OLD, "full")],
    notes=["writes that the old master acknowledges meanwhile are lost"],
)

JOINED_TIMELINE = """
0.1 | program | discover |
36.4 | program | plan |
36.5 | program | join |
421.6 | sentinel 192.0.2.12:26379 | -role-change | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379 new reported role is master
421.7 | sentinel 192.0.2.12:26379 | +promoted-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
421.7 | sentinel 192.0.2.12:26379 | +failover-state-reconf-slaves | master orders 192.0.2.21 6379
464.8 | sentinel 192.0.2.12:26379 | +slave-reconf-sent | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
469.5 | sentinel 192.0.2.11:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
469.6 | sentinel 192.0.2.11:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
474.4 | sentinel 192.0.2.13:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
474.4 | sentinel 192.0.2.13:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
475.2 | sentinel 192.0.2.13:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
479.6 | sentinel 192.0.2.11:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
1457.9 | sentinel 192.0.2.12:26379 | +slave-reconf-inprog | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
1458.0 | sentinel 192.0.2.12:26379 | +slave-reconf-done | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
1560.2 | sentinel 192.0.2.12:26379 | +failover-end | master orders 192.0.2.21 6379
1560.3 | sentinel 192.0.2.12:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
1590.3 | program | settle |
1620.0 | sentinel 192.0.2.12:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
10483.4 | sentinel 192.0.2.13:26379 | +convert-to-slave | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379
10534.6 | sentinel 192.0.2.11:26379 | +role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is slave
10563.2 | program | settled |
"""

JOINED = run(
    "switched",
    strategy=None,
    plan=no_plan("join", leaders=[LEADER]),
    lossless_reason=f"a failover that this run did not begin (Sentinel {LEADER} led it) was joined",
    timeline=timeline(JOINED_TIMELINE),
    replicas=[replica(OTHER, "unknown"), replica(OLD, "full")],
)

INCOMPLETE_TIMELINE = """
0.1 | program | discover |
50.0 | program | plan |
50.4 | program | lock |
50.7 | program | probe |
51.3 | program | align |
51.8 | program | recheck |
59.8 | program | fence |
59.9 | program | fence | 192.0.2.21:6379 acknowledges no more writes; its offset is 2449
60.0 | program | catch_up |
60.4 | program | demote |
61.2 | program | demoted | 192.0.2.21:6379 is a replica of 192.0.2.22:6379; final offset 2449
61.2 | program | trigger |
61.2 | program | trigger | Sentinel 192.0.2.12:26379 leads the failover
61.3 | program | promote |
63.6 | sentinel 192.0.2.12:26379 | +new-epoch | 1
63.6 | sentinel 192.0.2.12:26379 | +try-failover | master orders 192.0.2.21 6379
120.8 | sentinel 192.0.2.12:26379 | +elected-leader | master orders 192.0.2.21 6379
120.8 | sentinel 192.0.2.12:26379 | +failover-state-select-slave | master orders 192.0.2.21 6379
172.8 | sentinel 192.0.2.12:26379 | +selected-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
172.9 | sentinel 192.0.2.12:26379 | +failover-state-send-slaveof-noone | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
236.6 | sentinel 192.0.2.12:26379 | +failover-state-wait-promotion | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
241.8 | program | promoted | 192.0.2.22:6379 is a master
241.9 | program | agree |
832.8 | sentinel 192.0.2.11:26379 | +new-epoch | 1
833.0 | sentinel 192.0.2.13:26379 | +new-epoch | 1
1148.6 | sentinel 192.0.2.12:26379 | -role-change | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379 new reported role is master
1148.7 | sentinel 192.0.2.12:26379 | +promoted-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
1148.8 | sentinel 192.0.2.12:26379 | +failover-state-reconf-slaves | master orders 192.0.2.21 6379
1248.3 | sentinel 192.0.2.12:26379 | +slave-reconf-sent | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
1251.2 | sentinel 192.0.2.11:26379 | +config-update-from | sentinel 4b32fd788afc300600c95cd64d6f551a7586cf26 192.0.2.12 26379 @ orders 192.0.2.21 6379
1251.2 | sentinel 192.0.2.11:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
1255.5 | sentinel 192.0.2.13:26379 | +config-update-from | sentinel 4b32fd788afc300600c95cd64d6f551a7586cf26 192.0.2.12 26379 @ orders 192.0.2.21 6379
1255.5 | sentinel 192.0.2.13:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
1260.9 | program | agreed | every Sentinel names 192.0.2.22:6379
1261.0 | program | release |
1268.7 | program | released | the connections of 192.0.2.21:6379 were closed
1268.7 | program | settle |
5190.1 | sentinel 192.0.2.12:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
5251.6 | sentinel 192.0.2.12:26379 | +failover-end | master orders 192.0.2.21 6379
5251.7 | sentinel 192.0.2.12:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
6269.7 | sentinel 192.0.2.13:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.22 6379
6288.9 | sentinel 192.0.2.11:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.22 6379
7537.8 | program | not settled | 192.0.2.23:6379: it cannot be asked: 192.0.2.23:6379: it does not answer in time
"""

INCOMPLETE = failed(
    "incomplete",
    "left_to_do",
    f"the master is {NEW}; left to do: {OTHER}: it cannot be asked: {OTHER}: it does not answer in time",
    "Mend what is named; a replica that is only slow needs nothing but time. Look with topology_info.",
    lossless=True,
    lossless_reason=f"{NEW} had applied offset 2449, the last that {OLD} reached when it stopped being a master",
    write_gap_ms=181.9,
    agree_ms=1019.1,
    timeline=timeline(INCOMPLETE_TIMELINE),
    replicas=[replica(OTHER, "unknown", following=False, detail="it cannot be asked"), replica(OLD)],
)

ABORTED_TIMELINE = """
0.1 | program | discover |
39.0 | program | plan |
39.4 | program | lock |
39.9 | program | probe |
40.9 | program | align |
6202.2 | sentinel 192.0.2.12:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
6312.8 | sentinel 192.0.2.11:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
6354.7 | sentinel 192.0.2.13:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
9843.9 | program | recheck |
9845.5 | program | await_tick |
10057.2 | program | fence |
10057.6 | program | fence | 192.0.2.21:6379 acknowledges no more writes; its offset is 2047
10057.7 | program | catch_up |
11062.6 | program | unfence | 192.0.2.21:6379 takes writes again after 1005 ms
"""

ABORTED = failed(
    "aborted",
    "catch_up_timeout",
    f"not caught up within 1000 ms: {OTHER}: it does not answer in time",
    "Nothing was moved; writes stood still for 1005 ms. Look at what slows this replica, or raise catch_up_timeout.",
    phase="catch_up",
    leader=None,
    plan=plan(steering={}),
    timeline=timeline(ABORTED_TIMELINE),
)

GIVEN_BACK_TIMELINE = f"""
0.1 | program | discover |
20.1 | program | fence |
20.3 | program | fence | {OLD} acknowledges no more writes; its offset is 2047
20.4 | program | catch_up |
20.9 | program | demote |
21.8 | program | demoted | {OLD} is a replica of {NEW}; final offset 2047
21.9 | program | trigger |
22.4 | sentinel {LEADER} | refused | {LEADER}: NOGOODSLAVE No suitable replica to promote
23.0 | sentinel {SECOND} | not reached | {SECOND}: Connection refused
24.0 | program | given back | {OLD} is the master again
"""
"""Every Sentinel refused; the texts are those of the program."""

GIVEN_BACK = failed(
    "aborted",
    "trigger_refused",
    f"Sentinel {LEADER} refused the failover: NOGOODSLAVE No suitable replica to promote; {OLD} is the master again",
    "Nothing was moved. A Sentinel that had begun a failover starts none by itself for twice failover-timeout.",
    phase="trigger",
    timeline=timeline(GIVEN_BACK_TIMELINE),
)

IN_DOUBT = failed(
    "unknown",
    "demotion_in_doubt",
    f"{OLD} was lost at the moment of its demotion (Connection reset by peer); whether it is still a master is not known",
    "If it is, writes go on. If it is not, Sentinel promotes a replica by itself within 35 s, or run again: that finishes it.",
    phase="demote",
    leader=None,
    timeline=timeline(f"""
0.1 | program | discover |
20.1 | program | fence |
20.3 | program | fence | {OLD} acknowledges no more writes; its offset is 2047
20.9 | program | demote |
21.2 | program | demotion in doubt | {OLD}: Connection reset by peer
"""),
)

PLANNED = run("planned", phase="plan", leader=None)

REFUSED = failed(
    "refused",
    "target_unknown",
    f"192.0.2.99:6379 is no replica of orders; its replicas are {NEW}, {OTHER}",
    "Name a replica as Sentinel shows it (topology_info lists them).",
    phase="check",
    strategy=None,
    new_master=None,
    leader=None,
    plan=None,
) | {
    "seen": {
        "reasons": [
            {
                "name": "target_unknown",
                "status": "critical",
                "detail": f"192.0.2.99:6379 is no replica of orders; its replicas are {NEW}, {OTHER}",
                "remedy": "Name a replica as Sentinel shows it (topology_info lists them).",
            }
        ]
    }
}

UNCHANGED = run(
    "unchanged",
    phase="plan",
    strategy=None,
    new_master=address(OLD),
    leader=None,
    plan=no_plan("nothing", notes=[f"{OLD} is the master already"]),
    notes=[f"{OLD} is the master already"],
)

REPAIRED = run(
    "unchanged",
    changed=True,
    new_master=address(OLD),
    plan=no_plan("repair"),
    repaired=[f"put back on {OTHER}: replica-priority 100"],
)

MODULE_BROKE: Result = {"failed": True, "msg": "MODULE FAILURE: see stdout/stderr for the exact error", "rc": 1}

NOT_RUN: Result = {}

EVERY_KIND: dict[str, Result] = {
    "switched": SWITCHED,
    "plain": PLAIN,
    "joined": JOINED,
    "incomplete": INCOMPLETE,
    "aborted": ABORTED,
    "given_back": GIVEN_BACK,
    "in_doubt": IN_DOUBT,
    "planned": PLANNED,
    "refused": REFUSED,
    "unchanged": UNCHANGED,
    "repaired": REPAIRED,
    "module_broke": MODULE_BROKE,
    "not_run": NOT_RUN,
}
