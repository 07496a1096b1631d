# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results of `redis_ha.sentinel.failover`, one of each kind, with addresses that read well.

Timelines are made of the very kinds and steps that the program has: `Script` knows no others.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import parse_event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    AGREE,
    AGREED,
    ANNOUNCE,
    ANNOUNCE_FAILED,
    ANNOUNCED,
    CATCH_UP,
    DEMOTE,
    DEMOTED,
    DEMOTION_IN_DOUBT,
    DISCONNECT,
    DISCONNECTED,
    DISCOVER,
    ENTRY_KINDS,
    FENCE,
    FENCE_LIFTED,
    FENCE_RAISED,
    FOLLOW,
    FOLLOWING,
    JOIN,
    LOCK,
    NOT_SETTLED,
    PLAN,
    PRIORITY_RAISED,
    PRIORITY_RESTORED,
    PROBE,
    PROMOTE,
    PROMOTED,
    RECHECK,
    ROLLED_BACK,
    SETTLE,
    SETTLED,
    STEER,
    STEP_BEGINS,
    STEPS,
    TRIGGER,
    TRIGGER_NOT_REACHED,
    TRIGGER_REFUSED,
    TRIGGERED,
    Step,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import PROGRAM, Entry

OLD, NEW, OTHER = "192.0.2.21:6379", "192.0.2.22:6379", "192.0.2.23:6379"
LEADER, SECOND, THIRD = "192.0.2.12:26379", "192.0.2.11:26379", "192.0.2.13:26379"

Result = dict[str, Any]


def address(text: str) -> dict[str, Any]:
    host, _colon, port = text.rpartition(":")
    return {"host": host, "port": int(port)}


class Script:
    """A timeline in the making."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._step = ""

    def begin(self, at_ms: float, step: Step) -> Script:
        """A step begins."""
        assert step in STEPS
        self._step = step.name
        return self.say(at_ms, STEP_BEGINS)

    def say(self, at_ms: float, kind: str, subject: str = "", detail: str = "") -> Script:
        """The program puts something down."""
        assert kind in ENTRY_KINDS
        self._entries.append(Entry(round(at_ms, 1), PROGRAM, kind, self._step, subject, detail))
        return self

    def hear(self, events: str) -> Script:
        """Sentinels publish something, a line each: milliseconds | Sentinel | channel | text."""
        for line in events.strip().splitlines():
            at_ms, sentinel, channel, text = (part.strip() for part in line.split("|", 3))
            instance = parse_event(channel, text).instance
            subject = str(instance) if instance else ""
            self._entries.append(Entry(float(at_ms), f"sentinel {sentinel}", channel, self._step, subject, text))
        return self

    def result(self) -> list[dict[str, Any]]:
        """As the module returns it."""
        return [entry.as_result() for entry in sorted(self._entries, key=lambda entry: entry.at_ms)]


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
        "lossless": None,
        "lossless_reason": "nothing was moved",
        "write_gap_ms": None,
        "promotion": "program",
        "promotion_reason": "every Sentinel listens to the news",
        "started_at": "2026-11-27T01:02:03.456Z",
        "fenced_at": None,
        "ended_at": "2026-11-27T01:02:04.618Z",
        "server_versions": dict.fromkeys((OLD, NEW, OTHER, LEADER, SECOND, THIRD), "redis 7.0.15"),
        "request": {
            "master_name": "orders",
            "target": None,
            "avoid": ["192.0.2.21"],
            "strategy": "auto",
            "accept_loss": False,
            "timeout": 120.0,
        },
        "way_back": None,
        "understood": "orders: target any; leave 192.0.2.21; expected any",
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
            f"make {NEW} the master, and tell every Sentinel",
            f"see every replica follow {NEW}",
        ],
        "fence": "pause",
        "lease_ms": 1250,
        "expected_write_stop_ms": 15,
        "worst_case_write_stop_ms": 2400,
        "write_stop_if_killed_ms": 35000,
        **fields,
    }


def no_plan(action: str, **fields: Any) -> dict[str, Any]:
    """A plan that moves nothing by itself."""
    bare: Result = {"action": action, "strategy": "", "new_master": None, "siblings": [], "leaders": [], "steps": []}
    return {**bare, "old_master": address(OLD), **fields}


WAY_BACK = f"ansible localhost -m redis_ha.sentinel.failover -a 'sentinels={LEADER} master_name=orders target={OLD} expected_master={NEW}'"


def prepared(script: Script, since_ms: float = 26.3) -> Script:
    """Until the fence, with a replica that is steered away from."""
    script.begin(0.1, DISCOVER).begin(since_ms, PLAN).begin(since_ms + 0.4, LOCK)
    script.begin(since_ms + 0.9, STEER).say(since_ms + 1.1, PRIORITY_RAISED, OTHER, "replica-priority 1000000100")
    return script.begin(since_ms + 1005, PROBE).begin(since_ms + 1007.1, RECHECK).begin(since_ms + 1009.7, FENCE)


def fenced(script: Script, at_ms: float) -> Script:
    """The fence stands, everything is applied, and the old master is a replica, within about two milliseconds."""
    script.say(at_ms, FENCE_RAISED, OLD, "offset 2047").begin(at_ms + 0.2, CATCH_UP).begin(at_ms + 0.8, DEMOTE)
    script.say(at_ms + 1.7, DEMOTED, OLD, f"a replica of {NEW}; final offset 2047")
    return script.begin(at_ms + 1.8, TRIGGER)


SWITCHED_TIMELINE = (
    fenced(prepared(Script()), 1036.4)
    .hear("""
        1038.9 | 192.0.2.12:26379 | +new-epoch | 1
        1038.9 | 192.0.2.12:26379 | +try-failover | master orders 192.0.2.21 6379
    """)
    .say(1039.3, TRIGGERED, LEADER, "epoch 1")
    .begin(1039.4, PROMOTE)
    .say(1040.2, PROMOTED, NEW)
    .begin(1040.3, ANNOUNCE)
    .hear("""
        1042.7 | 192.0.2.12:26379 | +config-update-from | sentinel e3654ffcdf8c566858a409a05a00e8e99c0d39c8 192.0.2.11 26379 @ orders 192.0.2.21 6379
        1042.7 | 192.0.2.12:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
    """)
    .say(1043.4, ANNOUNCED, LEADER)
    .hear("""
        1046.9 | 192.0.2.11:26379 | +new-epoch | 1
        1047.3 | 192.0.2.11:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
        1047.3 | 192.0.2.11:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
        1047.1 | 192.0.2.13:26379 | +new-epoch | 1
        1047.5 | 192.0.2.13:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
        1047.5 | 192.0.2.13:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
    """)
    .say(1048.0, ANNOUNCED, SECOND)
    .say(1048.2, ANNOUNCED, THIRD)
    .begin(1048.3, AGREE)
    .say(1048.4, AGREED, NEW)
    .begin(1048.5, FOLLOW)
    .say(1050.1, FOLLOWING, OTHER)
    .begin(1052.9, DISCONNECT)
    .say(1055.6, DISCONNECTED, OLD)
    .begin(1055.7, SETTLE)
    .say(1056.4, PRIORITY_RESTORED, OTHER, "replica-priority 100")
    .say(1162.3, SETTLED, NEW)
    .result()
)

SWITCHED = run(
    "switched",
    lossless=True,
    lossless_reason=f"{NEW} had applied offset 2047, the last that {OLD} reached when it stopped being a master",
    write_gap_ms=12.0,
    fenced_at="2026-11-27T01:02:04.492Z",
    way_back=WAY_BACK,
    phases_ms={
        "discover": 26.1,
        "plan": 0.4,
        "lock": 0.5,
        "steer": 1004.1,
        "probe": 2.1,
        "recheck": 2.6,
        "fence": 0.4,
        "catch_up": 0.6,
        "demote": 1.0,
        "trigger": 1.2,
        "promote": 0.9,
        "announce": 8.0,
        "agree": 0.2,
        "follow": 4.4,
        "disconnect": 2.8,
        "settle": 106.6,
    },
    timeline=SWITCHED_TIMELINE,
    replicas=[replica(OTHER), replica(OLD)],
)

PLAIN = run(
    "switched",
    strategy="plain",
    plan=plan(strategy="plain", siblings=[], fence="", expected_write_stop_ms=11000, worst_case_write_stop_ms=None),
    promotion="sentinel",
    promotion_reason="the strategy is plain",
    request={"master_name": "orders", "strategy": "plain", "accept_loss": True},
    understood="orders: target any; leave none; expected any; loss accepted",
    way_back=WAY_BACK,
    lossless=False,
    lossless_reason="SENTINEL FAILOVER alone leaves the old master writable until Sentinel demotes it, about eleven seconds later",
    timeline=(
        Script()
        .begin(0.1, DISCOVER)
        .begin(51.1, PLAN)
        .begin(51.5, LOCK)
        .begin(53.8, TRIGGER)
        .say(53.9, TRIGGERED, LEADER, "epoch 1")
        .begin(54.1, PROMOTE)
        .say(227.1, PROMOTED, NEW)
        .begin(227.2, AGREE)
        .say(298.8, AGREED, NEW)
        .begin(298.9, SETTLE)
        .hear("""
            54.1 | 192.0.2.12:26379 | +new-epoch | 1
            54.1 | 192.0.2.12:26379 | +try-failover | master orders 192.0.2.21 6379
            104.1 | 192.0.2.12:26379 | +elected-leader | master orders 192.0.2.21 6379
            104.1 | 192.0.2.12:26379 | +failover-state-select-slave | master orders 192.0.2.21 6379
            168.4 | 192.0.2.12:26379 | +selected-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            168.5 | 192.0.2.12:26379 | +failover-state-send-slaveof-noone | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            223.5 | 192.0.2.12:26379 | +failover-state-wait-promotion | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            230.9 | 192.0.2.12:26379 | -role-change | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379 new reported role is master
            230.9 | 192.0.2.12:26379 | +promoted-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            230.9 | 192.0.2.12:26379 | +failover-state-reconf-slaves | master orders 192.0.2.21 6379
            276.4 | 192.0.2.12:26379 | +slave-reconf-sent | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            282.6 | 192.0.2.11:26379 | +new-epoch | 1
            282.6 | 192.0.2.11:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
            282.6 | 192.0.2.11:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            294.2 | 192.0.2.13:26379 | +new-epoch | 1
            294.2 | 192.0.2.13:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
            294.2 | 192.0.2.13:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            294.3 | 192.0.2.13:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
            300.0 | 192.0.2.11:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
            1256.1 | 192.0.2.12:26379 | +slave-reconf-inprog | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            1256.2 | 192.0.2.12:26379 | +slave-reconf-done | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            1313.1 | 192.0.2.12:26379 | +failover-end | master orders 192.0.2.21 6379
            1313.2 | 192.0.2.12:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            1383.3 | 192.0.2.12:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
            10315.3 | 192.0.2.11:26379 | +convert-to-slave | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379
            10343.6 | 192.0.2.13:26379 | +role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is slave
""")
        .say(10448.8, SETTLED, NEW)
        .result()
    ),
    replicas=[replica(OTHER, "full"), replica(OLD, "full")],
    notes=["writes that the old master acknowledges meanwhile are lost"],
)

COORDINATED = run(
    "switched",
    strategy="coordinated",
    plan=plan(strategy="coordinated", siblings=[], fence=""),
    promotion="sentinel",
    promotion_reason="the strategy is coordinated",
    server_versions={OLD: "valkey 9.1.2", NEW: "valkey 9.1.2", OTHER: "valkey 9.1.1", LEADER: "valkey 9.1.2"},
    lossless=False,
    lossless_reason="the servers handed over by themselves",
    timeline=(
        Script()
        .begin(0.1, DISCOVER)
        .begin(41.1, PLAN)
        .begin(43.8, TRIGGER)
        .say(43.9, TRIGGERED, LEADER, "epoch 1")
        .begin(44.1, PROMOTE)
        .say(1127.1, PROMOTED, NEW)
        .begin(1127.2, AGREE)
        .say(1398.8, AGREED, NEW)
        .begin(1398.9, SETTLE)
        .say(2448.8, SETTLED, NEW)
        .result()
    ),
    replicas=[replica(OTHER), replica(OLD)],
)

JOINED = run(
    "switched",
    strategy=None,
    plan=no_plan("join", leaders=[LEADER]),
    promotion=None,
    promotion_reason=None,
    lossless=False,
    lossless_reason=f"a failover that this run did not begin (Sentinel {LEADER} led it) was joined",
    timeline=(
        Script()
        .begin(0.1, DISCOVER)
        .begin(36.4, PLAN)
        .begin(36.5, JOIN)
        .hear("""
            421.6 | 192.0.2.12:26379 | -role-change | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379 new reported role is master
            421.7 | 192.0.2.12:26379 | +promoted-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            421.7 | 192.0.2.12:26379 | +failover-state-reconf-slaves | master orders 192.0.2.21 6379
            464.8 | 192.0.2.12:26379 | +slave-reconf-sent | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            469.5 | 192.0.2.11:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
            469.6 | 192.0.2.11:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            474.4 | 192.0.2.13:26379 | +config-update-from | sentinel b0a0be7c6d88eb1a316433bca6e0ca08757ec0b7 192.0.2.12 26379 @ orders 192.0.2.21 6379
            474.4 | 192.0.2.13:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            475.2 | 192.0.2.13:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
            479.6 | 192.0.2.11:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
            1457.9 | 192.0.2.12:26379 | +slave-reconf-inprog | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            1458.0 | 192.0.2.12:26379 | +slave-reconf-done | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            1560.2 | 192.0.2.12:26379 | +failover-end | master orders 192.0.2.21 6379
            1560.3 | 192.0.2.12:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            1620.0 | 192.0.2.12:26379 | -role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is master
            10483.4 | 192.0.2.13:26379 | +convert-to-slave | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379
            10534.6 | 192.0.2.11:26379 | +role-change | slave 192.0.2.21:6379 192.0.2.21 6379 @ orders 192.0.2.22 6379 new reported role is slave
""")
        .begin(1590.3, SETTLE)
        .say(10563.2, SETTLED, NEW)
        .result()
    ),
    replicas=[replica(OTHER, "unknown"), replica(OLD, "full")],
)

INCOMPLETE = failed(
    "incomplete",
    "left_to_do",
    f"the master is {NEW}; left to do: {OTHER}: it cannot be asked: {OTHER}: it does not answer in time",
    "Mend what is named; a replica that is only slow needs nothing but time. Look with topology_info.",
    lossless=True,
    lossless_reason=f"{NEW} had applied offset 2449, the last that {OLD} reached when it stopped being a master",
    promotion="sentinel",
    promotion_reason=f"Sentinel {SECOND} has a client-reconfig-script",
    write_gap_ms=1201.0,
    fenced_at="2026-11-27T01:02:03.516Z",
    timeline=(
        fenced(
            Script()
            .begin(0.1, DISCOVER)
            .begin(50.0, PLAN)
            .begin(50.4, LOCK)
            .begin(50.7, PROBE)
            .begin(51.8, RECHECK)
            .begin(59.7, FENCE),
            59.9,
        )
        .say(63.7, TRIGGERED, LEADER, "epoch 1")
        .begin(63.8, PROMOTE)
        .hear("""
            63.6 | 192.0.2.12:26379 | +new-epoch | 1
            63.6 | 192.0.2.12:26379 | +try-failover | master orders 192.0.2.21 6379
            120.8 | 192.0.2.12:26379 | +elected-leader | master orders 192.0.2.21 6379
            120.8 | 192.0.2.12:26379 | +failover-state-select-slave | master orders 192.0.2.21 6379
            172.8 | 192.0.2.12:26379 | +selected-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            172.9 | 192.0.2.12:26379 | +failover-state-send-slaveof-noone | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            236.6 | 192.0.2.12:26379 | +failover-state-wait-promotion | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            832.8 | 192.0.2.11:26379 | +new-epoch | 1
            833.0 | 192.0.2.13:26379 | +new-epoch | 1
            1148.6 | 192.0.2.12:26379 | -role-change | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379 new reported role is master
            1148.7 | 192.0.2.12:26379 | +promoted-slave | slave 192.0.2.22:6379 192.0.2.22 6379 @ orders 192.0.2.21 6379
            1148.8 | 192.0.2.12:26379 | +failover-state-reconf-slaves | master orders 192.0.2.21 6379
            1248.3 | 192.0.2.12:26379 | +slave-reconf-sent | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            1251.2 | 192.0.2.11:26379 | +config-update-from | sentinel 4b32fd788afc300600c95cd64d6f551a7586cf26 192.0.2.12 26379 @ orders 192.0.2.21 6379
            1251.2 | 192.0.2.11:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            1255.5 | 192.0.2.13:26379 | +config-update-from | sentinel 4b32fd788afc300600c95cd64d6f551a7586cf26 192.0.2.12 26379 @ orders 192.0.2.21 6379
            1255.5 | 192.0.2.13:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            5190.1 | 192.0.2.12:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            5251.6 | 192.0.2.12:26379 | +failover-end | master orders 192.0.2.21 6379
            5251.7 | 192.0.2.12:26379 | +switch-master | orders 192.0.2.21 6379 192.0.2.22 6379
            6269.7 | 192.0.2.13:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.22 6379
            6288.9 | 192.0.2.11:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.22 6379
""")
        .say(241.8, PROMOTED, NEW)
        .begin(241.9, AGREE)
        .say(1260.9, AGREED, NEW)
        .begin(1261.0, DISCONNECT)
        .say(1268.7, DISCONNECTED, OLD)
        .begin(1268.7, SETTLE)
        .say(7537.8, NOT_SETTLED, OTHER, "it cannot be asked: it does not answer in time")
        .result()
    ),
    replicas=[replica(OTHER, "unknown", following=False, detail="it cannot be asked"), replica(OLD)],
)

UNHEARD = failed(
    "incomplete",
    "left_to_do",
    f"the master is {NEW}; left to do: Sentinel {THIRD} names {OLD}",
    "A new failover heals it: nothing else makes that Sentinel change its mind.",
    lossless=True,
    lossless_reason=f"{NEW} had applied offset 2047, the last that {OLD} reached when it stopped being a master",
    timeline=(
        fenced(prepared(Script()), 1036.4)
        .say(1039.3, TRIGGERED, LEADER, "epoch 1")
        .begin(1039.4, PROMOTE)
        .say(1040.2, PROMOTED, NEW)
        .begin(1040.3, ANNOUNCE)
        .say(1043.4, ANNOUNCED, LEADER)
        .say(1048.0, ANNOUNCED, SECOND)
        .say(1049.2, ANNOUNCE_FAILED, THIRD, f"it names {OLD}")
        .begin(1049.3, SETTLE)
        .say(4162.3, NOT_SETTLED, THIRD, f"it names {OLD}")
        .result()
    ),
    replicas=[replica(OTHER), replica(OLD)],
)

ABORTED = failed(
    "aborted",
    "catch_up_timeout",
    f"not caught up within 1000 ms: {OTHER}: it does not answer in time",
    "Nothing was moved; writes stood still for 1005 ms. Look at what slows this replica, or raise catch_up_timeout.",
    phase="catch_up",
    leader=None,
    plan=plan(steering={}),
    fenced_at="2026-11-27T01:02:13.513Z",
    timeline=(
        Script()
        .begin(0.1, DISCOVER)
        .begin(39.0, PLAN)
        .begin(39.4, LOCK)
        .begin(39.9, PROBE)
        .hear("""
            6202.2 | 192.0.2.12:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            6312.8 | 192.0.2.11:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
            6354.7 | 192.0.2.13:26379 | +sdown | slave 192.0.2.23:6379 192.0.2.23 6379 @ orders 192.0.2.21 6379
        """)
        .begin(9843.9, RECHECK)
        .begin(10057.2, FENCE)
        .say(10057.6, FENCE_RAISED, OLD, "offset 2047")
        .begin(10057.7, CATCH_UP)
        .say(11062.6, FENCE_LIFTED, OLD, "after 1005 ms")
        .result()
    ),
)

ROLLED_BACK_RUN = failed(
    "aborted",
    "trigger_refused",
    f"Sentinel {LEADER} refused the failover: NOGOODSLAVE No suitable replica to promote; {OLD} is the master again",
    "Nothing was moved. A Sentinel that had begun a failover starts none by itself for twice failover-timeout.",
    phase="trigger",
    timeline=(
        fenced(Script().begin(0.1, DISCOVER).begin(20.1, FENCE), 20.3)
        .say(22.4, TRIGGER_REFUSED, LEADER, "NOGOODSLAVE No suitable replica to promote")
        .say(23.0, TRIGGER_NOT_REACHED, SECOND, "Connection refused")
        .say(24.0, ROLLED_BACK, OLD)
        .result()
    ),
)

IN_DOUBT = failed(
    "unknown",
    "demotion_in_doubt",
    f"{OLD} was lost at the moment of its demotion (Connection reset by peer); whether it is still a master is not known",
    "If it is, writes go on. If it is not, Sentinel promotes a replica by itself within 35 s, or run again: that finishes it.",
    phase="demote",
    leader=None,
    timeline=(
        Script()
        .begin(0.1, DISCOVER)
        .begin(20.1, FENCE)
        .say(20.3, FENCE_RAISED, OLD, "offset 2047")
        .begin(20.9, DEMOTE)
        .say(21.2, DEMOTION_IN_DOUBT, OLD, "Connection reset by peer")
        .result()
    ),
)

PLANNED = run("planned", phase="plan", leader=None)

REFUSED = failed(
    "refused",
    "target_unknown",
    f"192.0.2.99:6379 is no replica of orders; its replicas are {NEW}, {OTHER}",
    "Name a replica as Sentinel shows it (topology_info lists them).",
    phase="plan",
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
    "coordinated": COORDINATED,
    "joined": JOINED,
    "incomplete": INCOMPLETE,
    "aborted": ABORTED,
    "unheard": UNHEARD,
    "rolled_back": ROLLED_BACK_RUN,
    "in_doubt": IN_DOUBT,
    "planned": PLANNED,
    "refused": REFUSED,
    "unchanged": UNCHANGED,
    "repaired": REPAIRED,
    "module_broke": MODULE_BROKE,
    "not_run": NOT_RUN,
}
