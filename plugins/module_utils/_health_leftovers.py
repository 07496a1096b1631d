# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``health_info`` checks that an interrupted run has not left: situation -> named checks, in both phases.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import (
    CRITICAL,
    OK,
    WARNING,
    Check,
    fenced_nodes,
    steered_nodes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import UNKNOWN, Situation, listed


def _no_fence(s: Situation, status: str, remedy: str) -> list[Check]:
    fenced = fenced_nodes(s.snapshot)
    if not fenced:
        unread = [node.address for node in s.nodes if node.number("min-replicas-to-write") is None]
        known = "no node refuses writes by a fence that an interrupted run left"
        return [Check("no_fence", OK, f"{UNKNOWN}CONFIG GET is not permitted on {listed(unread)}" if unread else known)]
    return [
        Check(
            "no_fence",
            status,
            f"{address} refuses writes by the fence of an interrupted run",
            f"{remedy} By hand: CONFIG SET min-replicas-max-lag {lag} and CONFIG SET min-replicas-to-write {count}, then CONFIG REWRITE.",
        )
        for address, (count, lag) in fenced.items()
    ]


def _no_steering(s: Situation, status: str, remedy: str) -> list[Check]:
    steered = steered_nodes(s.snapshot)
    if not steered:
        return [Check("no_steering", OK, "no node has a priority that an interrupted run left")]
    return [
        Check(
            "no_steering",
            status,
            f"{address} has the raised replica-priority of an interrupted run",
            f"{remedy} By hand: CONFIG SET replica-priority {priority}, then CONFIG REWRITE.",
        )
        for address, priority in steered.items()
    ]


def _no_pause(s: Situation, status: str) -> list[Check]:
    held = s.evidence.held
    paused = {address: text for address, text in held.items() if text}
    if paused:
        return [
            Check(
                "no_pause",
                status,
                f"a pause holds writes on {address}: {text}",
                "Another run may be at work: wait two seconds and look again. If it stays: CLIENT UNPAUSE on it.",
            )
            for address, text in paused.items()
        ]
    unknown = [address for address, text in held.items() if text is None]
    if unknown:
        text = (
            f"{UNKNOWN}{listed(unknown)} permits neither PFCOUNT nor CLIENT LIST, and does not show a pause by itself"
        )
        return [Check("no_pause", OK, text)]
    return [Check("no_pause", OK, "no node that answers holds writes")]


_REPAIRED = "redis_ha.sentinel.failover puts it back when it runs."


def check_no_fence_before(s: Situation) -> list[Check]:
    """``no_fence``: no interrupted run left its fence; the module would lift it."""
    return _no_fence(s, WARNING, _REPAIRED)


def check_no_steering_before(s: Situation) -> list[Check]:
    """``no_steering``: no interrupted run left its priorities; the module would put them back."""
    return _no_steering(s, WARNING, _REPAIRED)


def check_no_pause_before(s: Situation) -> list[Check]:
    """``no_pause``: nothing holds writes; the module ends a pause of the master when it demotes it."""
    return _no_pause(s, WARNING)


def check_no_fence_after(s: Situation) -> list[Check]:
    """``no_fence``: no node refuses writes by our fence."""
    return _no_fence(s, CRITICAL, "Run redis_ha.sentinel.failover again: it lifts it.")


def check_no_steering_after(s: Situation) -> list[Check]:
    """``no_steering``: no node has a priority that we raised."""
    return _no_steering(s, CRITICAL, "Run redis_ha.sentinel.failover again: it puts it back.")


def check_no_pause_after(s: Situation) -> list[Check]:
    """``no_pause``: nothing holds writes."""
    return _no_pause(s, CRITICAL)
