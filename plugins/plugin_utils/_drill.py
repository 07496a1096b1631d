# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drill: whether it may begin, what is made of it, and what a person reads of it.

Pure: what was seen goes in, what follows comes out. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._course import address
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._places import host_of

Result = Mapping[str, Any]

PARTS = (
    ("detected", "the first Sentinel takes the master for down"),
    ("agreed", "the Sentinels agree on that"),
    ("elected", "a Sentinel is elected to lead"),
    ("promoted", "a replica is promoted"),
    ("named", "every Sentinel names it"),
    ("followed", "every other replica follows it"),
)
"""The parts of an automatic failover, as module watch_failover times them."""

NOT_KNOWN_WHY = "it is not known why"


def refusal(seen: Result) -> str:
    """What speaks against the drill, in one sentence; empty if nothing does.

    Args:
        seen: ``allowed``, ``expected_master``; once they are known ``master``, ``host``.
    """
    expected = str(seen.get("expected_master") or "")
    if not seen.get("allowed"):
        return (
            "A drill stops the master of a deployment and waits until Sentinel has moved it: writes stand still for seconds, and what was not "
            "replicated is lost. Say drill: true (drill_allowed in a role or a survey) if this deployment may be hurt. Nothing was done."
        )
    if not expected:
        return (
            "A drill wants expected_master, so that it stops the server that is meant and no other. Nothing was done."
        )
    master = address_in(seen.get("precheck"))
    if master and master != expected:
        return f"The master is {master}, not {expected} as expected. Somebody moved it: look again. Nothing was done."
    if not host_to_stop(seen):
        return (
            f"No host of the inventory is known to have the address of {expected}. Name it in drill_host, or give that host the variable "
            "redis_ha_address. Nothing was done."
        )
    return ""


def host_to_stop(seen: Result) -> str:
    """The inventory host on which the master is stopped; empty if none is known."""
    wanted = str(seen.get("host") or "")
    return wanted or host_of(str(seen.get("expected_master") or ""), seen.get("hosts") or {})


def address_in(health: Result | None) -> str:
    """The master that a result of health_info names."""
    return str(((health or {}).get("snapshot") or {}).get("master") or "")


def plan_lines(seen: Result) -> list[str]:
    """What is about to happen, for a person."""
    sentinels = ((seen.get("precheck") or {}).get("snapshot") or {}).get("sentinels") or ()
    down_after_s = max((int(sentinel.get("down_after_ms") or 0) / 1000 for sentinel in sentinels), default=0)
    lines = [
        f"{seen.get('master_name')}: a drill of the automatic failover",
        f"stop      {seen.get('expected_master')}, on {host_to_stop(seen)}: {seen.get('stop_command')}",
        f"start     {seen.get('start_command')}, whatever happens",
    ]
    if down_after_s:
        lines.append(f"writes    stand still for some {down_after_s + 1:.0f} to {down_after_s + 4:.0f} s")
    lines.append(
        "loss      what the master has not replicated when it stops, and what a writer still gets into it when it is back"
    )
    return lines


# ---- what is made of it ------------------------------------------------------------------------------------------------


def conclude(seen: Result) -> dict[str, Any]:
    """The result of the drill: the watch, how everything came back, and a planned move beside it.

    Args:
        seen: ``watch``, ``start``, ``back``, ``failed``, ``cause``, ``history``, ``master_name``, ``expected_master``.
    """
    watch, back = _told(seen.get("watch")), _told(seen.get("back"))
    failed = bool(seen.get("failed"))
    new = address(watch.get("new_master"))
    return {
        "changed": bool(_told(seen.get("stop"))),
        "master_name": seen.get("master_name"),
        "proven": not failed and bool(new),
        "old_master": str(seen.get("expected_master") or "") or None,
        "new_master": new or None,
        "stopped_at": watch.get("stopped_at"),
        "figures_ms": watch.get("figures_ms") or {},
        "write_gap_ms": watch.get("write_gap_ms"),
        "missing_bytes": watch.get("missing_bytes"),
        "timeline": list(watch.get("timeline") or ()),
        "given_back": address(back.get("new_master")) == seen.get("expected_master") if back else None,
        "planned": planned(back, str(seen.get("history") or ""), str(seen.get("master_name") or "")),
        "error": (watch.get("error") or "drill_failed") if failed else None,
        "msg": _message(seen) if failed else "",
    }


def _told(result: Any) -> Result:
    """What a task returned; nothing if it did not run."""
    return result if isinstance(result, Mapping) and not result.get("skipped") else {}


def _message(seen: Result) -> str:
    cause = _told(seen.get("cause"))
    text = str(cause.get("msg") or NOT_KNOWN_WHY).strip()
    start = _told(seen.get("start"))
    if _told(seen.get("stop")) and (not start or start.get("failed")):
        text += f" The master {seen.get('expected_master')} may still be stopped: run {seen.get('start_command')} on {host_to_stop(seen)}."
    return text


def planned(back: Result, history: str, master_name: str) -> dict[str, Any] | None:
    """A planned move of this master to hold the drill against: the one that gave it back, else the newest in the history."""
    if back.get("outcome") == "switched":
        return _figures("the move back", back)
    for line in reversed(history.splitlines()):
        move = _read(line)
        if move.get("master_name") == master_name and move.get("outcome") == "switched":
            return _figures(f"the move of {move.get('ended_at')}", move)
    return None


def _read(line: str) -> Result:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _figures(what: str, move: Result) -> dict[str, Any]:
    return {"what": what, "write_gap_ms": move.get("write_gap_ms"), "lossless": move.get("lossless")}


# ---- what is said ------------------------------------------------------------------------------------------------------


def closing_lines(result: Result) -> list[str]:
    """What a person reads at the end, the headline first."""
    name, old, new = (result.get(key) for key in ("master_name", "old_master", "new_master"))
    figures = result.get("figures_ms") or {}
    headline = f"{name}: Sentinel moved the master by itself from {old} to {new}" if new else f"{name}: not proven"
    rows = [(text, _ms(figures.get(part))) for part, text in PARTS if figures.get(part) is not None]
    rows += [("writes stood still", _ms(result.get("write_gap_ms")))] if result.get("write_gap_ms") else []
    beside = result.get("planned") or {}
    if beside.get("write_gap_ms") is not None:
        loss = "nothing lost" if beside.get("lossless") else "no proof that nothing was lost"
        rows.append((f"beside it, {beside['what']}: writes stood still", f"{_ms(beside['write_gap_ms'])}, {loss}"))
    width = max((len(text) for text, _figure in rows), default=0)
    return [headline, *(f"  {text.ljust(width)}  {figure}" for text, figure in rows), *_loss(result), *_back(result)]


def _loss(result: Result) -> Sequence[str]:
    missing = result.get("missing_bytes")
    if missing is None:
        return ()
    if not missing:
        return ("  lost: nothing that was seen; an automatic failover proves no more than that",)
    return (f"  lost: {missing} bytes of the replication stream at least had not reached the new master",)


def _back(result: Result) -> Sequence[str]:
    if result.get("given_back") is None:
        return ()
    old = result.get("old_master")
    return (f"  the master is on {old} again" if result["given_back"] else f"  the master is NOT on {old} again",)


def _ms(value: Any) -> str:
    return f"{float(value):,.0f} ms" if value is not None else "not seen"


def course(seen: Result) -> dict[str, Any]:
    """Everything that the tasks need to know, from everything that was seen."""
    result = conclude(seen)
    return {
        "refusal": refusal(seen),
        "host": host_to_stop(seen),
        "plan": plan_lines(seen),
        "result": result,
        "lines": [*closing_lines(result), *(f"  report {path}" for path in (seen.get("report_files") or {}).values())],
        "new_master": result["new_master"] or "",
    }
