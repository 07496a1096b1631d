# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports on every kind of run, and on runs that are hard to draw: hostile text, long names, many servers."""

from __future__ import annotations

import functools
import re
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._fleet import entry
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report import fleet_report, report
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import Pages
from unit.report_runs import EVERY_KIND, LEADER, NEW, OLD, SWITCHED, Result, checks, replica

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> ```x``` **b** | [a](javascript:alert(3)) ;end #35; %%{init}%% @all {{ 7*7 }}"
LONG = "redis-production-node-{:02d}.eu-central-1.internal.example.com"

DECIDES = ("outcome", "who", "kind", "step", "action", "status", "promotion")
"""Fields that decide what a report is about; hostile text in them would make another report."""


def hostile(value: Any) -> Any:
    """The same, with hostile text in every text that does not decide what the report is about."""
    if isinstance(value, dict):
        return {key: child if key in DECIDES else hostile(child) for key, child in value.items()}
    if isinstance(value, list):
        return [hostile(child) for child in value]
    return f"{value} {HOSTILE}" if isinstance(value, str) else value


def renamed(value: Any) -> Any:
    """The same with the long names of a large company."""
    if isinstance(value, dict):
        return {renamed(key): renamed(child) for key, child in value.items()}
    if isinstance(value, list):
        return [renamed(child) for child in value]
    if isinstance(value, str):
        return re.sub(r"192\.0\.2\.(\d+)", lambda found: LONG.format(int(found[1])), value)
    return value


def crowded(result: Result) -> Result:
    """The same with ten replicas and nine Sentinels."""
    more = [f"192.0.2.{30 + number}:6379" for number in range(8)]
    events = [
        {
            "at_ms": 1047.6,
            "who": f"sentinel 192.0.2.{60 + number}:26379",
            "kind": "+switch-master",
            "step": "announce",
            "subject": "192.0.2.22:6379",
            "detail": "orders 192.0.2.21 6379 192.0.2.22 6379",
        }
        for number in range(6)
    ]
    replicas = [*result["replicas"], *(replica(address) for address in more)]
    return {**result, "timeline": [*result["timeline"], *events], "replicas": replicas}


def late(result: Result, times: float) -> Result:
    """The same on a machine under load: from the fence on, everything takes longer."""
    start_ms = next(it["at_ms"] for it in result["timeline"] if it["step"] == "fence")

    def stretched(at_ms: float) -> float:
        return at_ms if at_ms < start_ms else start_ms + (at_ms - start_ms) * times

    timeline = [{**it, "at_ms": stretched(it["at_ms"])} for it in result["timeline"]]
    return {**result, "timeline": timeline, "write_gap_ms": result["write_gap_ms"] * times}


SHAPES: dict[str, Result] = {
    **EVERY_KIND,
    "hostile": hostile(SWITCHED),
    "long_names": renamed(SWITCHED),
    "crowded": crowded(SWITCHED),
    "late": late(SWITCHED, 25),
}


DEPLOYMENTS: list[dict[str, Any]] = [
    {"deployment": "shop", "role": "failover", "master_name": "orders", "failover": SWITCHED},
    {"deployment": "search", "role": "failover", "master_name": "orders", "failover": EVERY_KIND["refused"]},
    {"deployment": "mail", "role": "failover", "master_name": "orders", "failover": EVERY_KIND["plain"]},
    {"deployment": "wiki", "role": "failover", "failure": "No Sentinel answers. Start one."},
    hostile({"deployment": "chat"}) | {"role": "failover", "failure": HOSTILE},
    {"deployment": LONG.format(7), "role": "failover", "master_name": "orders", "failover": renamed(SWITCHED)},
]
DRILL: dict[str, Any] = {
    "proven": True,
    "old_master": OLD,
    "new_master": NEW,
    "stopped_at": "2026-11-27T01:02:03.456Z",
    "figures_ms": {"detected": 5120.3, "agreed": 5180.0, "elected": 5290.1, "promoted": 5510.7, "named": 6530.2},
    "write_gap_ms": 6530.2,
    "missing_bytes": 812,
    "timeline": [{"at_ms": 5120.3, "who": f"sentinel {LEADER}", "what": f"+sdown master orders {OLD} {HOSTILE}"}],
    "given_back": True,
    "planned": {"what": "the move back", "write_gap_ms": 12.1, "lossless": True},
    "msg": "",
}
PAGES = (*SHAPES, "fleet", "drill", "drill_failed")
"""Every kind of page."""


@functools.cache
def shape_pages(shape: str) -> Pages:
    """The page on one of these runs, as the role makes it."""
    about = {"made_at": "2026-11-27 01:02:20 UTC", "operator": "mara", "job": "4711 Move a master"}
    if shape == "fleet":
        return _pages(fleet_report([entry(it) for it in DEPLOYMENTS], ["shop", "search", "blog"], **about))
    if shape == "drill":
        return _pages(report(SWITCHED, checks(), checks(warned=("quorum",)), "orders", drill=DRILL, **about))
    if shape == "drill_failed":
        failed = {**DRILL, "proven": False, "new_master": None, "figures_ms": {}, "write_gap_ms": None, "msg": HOSTILE}
        return _pages(report({}, checks(), None, "orders", drill={**failed, "planned": None}, **about))
    asked = shape not in ("not_run", "module_broke", "planned", "refused")
    before = checks("quorum") if shape == "not_run" else checks(warned=("quorum",))
    name = HOSTILE if shape == "hostile" else "orders"
    return _pages(report(SHAPES[shape], before, checks() if asked else None, name, **about))


def _pages(made: dict[str, Any]) -> Pages:
    return Pages(made["headline"], made["html"], made["markdown"])
