# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a drain, for a person, and whether the role has failed.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Result = Mapping[str, Any]

BEGAN_OTHERWISE = {"finish": "finish what was begun", "join": "wait for the failover in progress"}
"""What is to be done with a master that nobody has to begin to move."""


def drain_lines(result: Result) -> list[str]:
    """The headline, a line for each master with which something was to be done or went wrong, and how many masters each host has."""
    masters = result.get("masters", [])
    lines = [_headline(result)]
    lines += [line for master in masters if master["outcome"] != "unchanged" for line in master_lines(master)]
    lines += [f"{master['name']}: put back: {it}" for master in masters for it in master["repaired"]]
    lines += [_host_line(host, masters) for host in result.get("hosts", [])]
    unknown = result.get("unknown_hosts")
    return lines + ([f"No server is on {', '.join(unknown)}."] if unknown else [])


def _headline(result: Result) -> str:
    said = str(result.get("msg", ""))
    return said if not result.get("masters") else said.partition(". ")[0].rstrip(".") + "."


def master_lines(master: Result) -> list[str]:
    """What became of one master, and what to do about it."""
    way = f"{master['name']}  {master['old_master']} -> {master['new_master']}"
    if master["outcome"] == "planned":
        return [f"{master['name']}  {master['old_master']} -> {master['planned_master'] or 'put back what was left'}"]
    if master["outcome"] == "switched":
        return [f"{way}  {_felt(master)}"]
    lines = [f"{master['name']}  {master['outcome'].upper()}  {_cause(master)}"]
    return lines + ([f"  What to do: {master['remedy']}"] if master["remedy"] else [])


def _cause(master: Result) -> str:
    return str(master["msg"] or "").removesuffix(str(master["remedy"] or "")).strip()


def _felt(master: Result) -> str:
    kept = "nothing lost" if master["lossless"] else f"LOSS POSSIBLE: {master['lossless_reason']}"
    gap_ms = master["write_gap_ms"]
    return kept if gap_ms is None else f"writes stood still for {gap_ms:g} ms, {kept}"


def _host_line(host: Result, masters: Iterable[Result]) -> str:
    now = host["masters"] + sum(_arrived(master, str(host["host"])) for master in masters)
    if now == host["masters_planned"] or not any(master["outcome"] in ("switched", "incomplete") for master in masters):
        return f"{host['host']}: {host['masters']} -> {host['masters_planned']} masters"
    return f"{host['host']}: {host['masters']} -> {now} masters, {host['masters_planned']} were planned"


def _arrived(master: Result, host: str) -> int:
    """How many masters more a host has for this one: 1, 0 or -1."""
    there, here = (str(master[name] or "").rpartition(":")[0] for name in ("old_master", "new_master"))
    return int(here == host) - int(there == host)


def drain_failure(plan: Result, moved: Result, after: Result) -> str:
    """Why the role fails; empty if it does not.

    Args:
        plan: What the module said in check mode, before.
        moved: What it said when it moved them; empty where it was not asked to.
        after: What it said in check mode, afterwards; empty where it was not asked to.
    """
    last = moved or plan
    if moved and "masters" not in moved and not moved.get("error"):
        # It was killed, or lost its connection: what Ansible says of that helps nobody on.
        said = str(moved.get("msg") or "it is not known why").strip().partition("\n")[0].rstrip(".")
        return f"The drain ended without a result ({said}). Run it again: what was begun is finished, and the rest is moved."
    if _has_failed(last):
        return f"{last.get('msg', 'The module ended without a result.')} {last.get('remedy') or ''}".strip()
    left = [str(master["name"]) for master in after.get("masters", []) if master["outcome"] == "planned"]
    if left:
        return f"Still, or again, on the hosts to leave: {', '.join(left)}. Look with topology_info and run again."
    if after and _has_failed(after) and after.get("error") != "masters_left":
        return f"The look afterwards: {after.get('msg', 'no result')}"
    return ""


def must_stop(plan: Result, stop_on_failure: bool) -> bool:
    """Whether nothing may be moved: nothing could be planned, or a master cannot be moved and nobody is to be, then."""
    return _has_failed(plan) and (stop_on_failure or plan.get("error") != "masters_left")


def _has_failed(result: Result) -> bool:
    """Whether a drain failed, or said nothing. That a task has failed is not kept with its result."""
    return "masters" not in result or bool(result.get("error"))


def drain_summary(result: Result) -> dict[str, Any]:
    """What the next node of a workflow gets."""
    failed = [
        master for master in result.get("masters", []) if master["outcome"] not in ("switched", "unchanged", "planned")
    ]
    return {
        "changed": bool(result.get("changed")),
        "counts": dict(result.get("counts", {})),
        "left": [str(master["name"]) for master in failed],
        "error": result.get("error"),
        "moved": {
            str(master["name"]): {"old_master": master["old_master"], "new_master": master["new_master"]}
            for master in result.get("masters", [])
            if master["outcome"] == "switched"
        },
    }
