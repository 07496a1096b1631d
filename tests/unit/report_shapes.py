# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports on every kind of run, and on runs that are hard to draw: hostile text, long names, many servers."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import Pages, render
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import read_run
from unit.report_runs import EVERY_KIND, SWITCHED, Result, checks, replica

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


def shape_pages(shape: str) -> Pages:
    """The report on one of these runs, as the role makes it."""
    asked = shape not in ("not_run", "module_broke", "planned", "refused")
    before = checks("quorum") if shape == "not_run" else checks(warned=("quorum",))
    name = HOSTILE if shape == "hostile" else "orders"
    run = read_run(SHAPES[shape], before, checks() if asked else None, name, operator="mara", job="4711 Move a master")
    return render(run, made_at="2026-11-27 01:02:20 UTC")
