# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A failover that Sentinel makes by itself, because a master has fallen silent: when each part of it came about.

Pure: what was seen goes in, figures come out. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event

WAIT = "wait"
DONE = "done"
NOT_STOPPED = "not_stopped"
CAME_BACK = "came_back"
TIMED_OUT = "timed_out"

SILENT_S = 1.0
"""How long a master answers nothing before it counts as stopped, in seconds. A machine under load pauses for less."""

STAGES: dict[str, str] = {
    "detected": "the first Sentinel takes it for down (+sdown)",
    "agreed": "the Sentinels agree that it is down (+odown)",
    "elected": "a Sentinel is elected to lead (+elected-leader)",
    "promoted": "a replica is promoted",
    "named": "every Sentinel names the new master",
    "followed": "every other replica follows the new master",
}
"""The parts of an automatic failover, in their order, and what each means."""

_FIRST_EVENTS = {"detected": "+sdown", "agreed": "+odown", "elected": "+elected-leader"}

TOLD = frozenset(
    {
        *("+sdown", "-sdown", "+odown", "-odown", "+try-failover", "+new-epoch", "+vote-for-leader", "+elected-leader"),
        *("+selected-slave", "+promoted-slave", "+slave-reconf-sent", "+slave-reconf-done", "+failover-end"),
        *("+config-update-from", "+switch-master", "-failover-abort-not-elected", "-failover-abort-no-good-slave"),
    }
)
"""Events that belong into the story of a failover."""


@dataclass(frozen=True)
class NodeState:
    """What a node said at a monotonic second; or that it has said nothing since then, for ``SILENT_S`` at least."""

    at_s: float
    answers: bool
    is_master: bool = False
    follows: Address | None = None
    link_up: bool = False


@dataclass(frozen=True)
class LastAnswer:
    """The last answer of a node: when, and its replication offset then."""

    at_s: float
    offset: int


@dataclass(frozen=True)
class Watched:
    """Everything that was seen of one failover.

    Attributes:
        master_name: The name of the master.
        old_master: The master that falls silent.
        began_s: The monotonic second from which on all of this was watched.
        states: What each node said, wherever that changed, in the order of time.
        last_answers: The last answer of each node.
        named: The master that each Sentinel named, wherever that changed, in the order of time.
        events: What the Sentinels published, with the monotonic second of its arrival.
        history_ended_at: The offset at which the history of the old master ends on the new one; ``None`` where it is not known.
        waited_for: The nodes that are to follow the new master.
        asked: The Sentinels that are to name it.
    """

    master_name: str
    old_master: Address
    began_s: float
    states: Mapping[Address, tuple[NodeState, ...]] = field(default_factory=dict)
    last_answers: Mapping[Address, LastAnswer] = field(default_factory=dict)
    named: Mapping[Address, tuple[tuple[float, Address | None], ...]] = field(default_factory=dict)
    events: tuple[tuple[Address, float, Event], ...] = ()
    history_ended_at: int | None = None
    waited_for: frozenset[Address] = frozenset()
    asked: frozenset[Address] = frozenset()


def stopped_s(seen: Watched) -> float | None:
    """The monotonic second of the answer after which the old master fell silent; ``None`` as long as it answers."""
    silences = [state.at_s for state in seen.states.get(seen.old_master, ()) if not state.answers]
    return silences[-1] if silences else None


def new_master(seen: Watched) -> Address | None:
    """The master that every Sentinel which answers names now, if it is another one."""
    names = {rows[-1][1] for address, rows in seen.named.items() if address in seen.asked and rows}
    names.discard(None)
    return names.pop() if len(names) == 1 and seen.old_master not in names else None


def verdict(seen: Watched, now_s: float, stop_timeout_s: float, timeout_s: float) -> str:
    """Whether it is over, and how.

    Args:
        seen: What was seen.
        now_s: The monotonic second.
        stop_timeout_s: How long it may take until the master falls silent.
        timeout_s: How long it may take from then until every replica follows.
    """
    at_s = stopped_s(seen)
    if at_s is None:
        return NOT_STOPPED if now_s - seen.began_s > stop_timeout_s else WAIT
    if "followed" in figures_ms(seen, at_s):
        return DONE
    if seen.states[seen.old_master][-1].answers and new_master(seen) is None:
        return CAME_BACK
    return TIMED_OUT if now_s - at_s > timeout_s else WAIT


def figures_ms(seen: Watched, since_s: float) -> dict[str, float]:
    """Milliseconds from the old master's last answer to each of ``STAGES`` that has come about.

    Args:
        seen: What was seen.
        since_s: The monotonic second of the last answer.
    """
    at_s: dict[str, float] = {}
    for stage, channel in _FIRST_EVENTS.items():
        found = [when for _who, when, event in seen.events if event.channel == channel and _is_ours(seen, event)]
        if any(when >= since_s for when in found):
            at_s[stage] = min(when for when in found if when >= since_s)
    at_s.update(_aftermath_s(seen))
    return {stage: round((at_s[stage] - since_s) * 1000, 1) for stage in STAGES if stage in at_s}


def _aftermath_s(seen: Watched) -> dict[str, float]:
    new = new_master(seen)
    if new is None:
        return {}
    found = {}
    promoted = next((state.at_s for state in seen.states.get(new, ()) if state.is_master), None)
    if promoted is not None:
        found["promoted"] = promoted
    named = [_since_s(rows, lambda row: row[1] == new) for address, rows in seen.named.items() if address in seen.asked]
    known = [row_s for row_s in named if row_s is not None]
    if known and len(known) == len(named):
        found["named"] = max(known)
    if len(found) == 2:
        followed = [_follows_since_s(seen, node, new) for node in seen.waited_for - {new}]
        if None not in followed:
            found["followed"] = max([when for when in followed if when is not None] + list(found.values()))
    return found


def _since_s(rows: tuple[Any, ...], holds: Any) -> float | None:
    """Since when something has held without a break; ``None`` if it does not now."""
    since = None
    for row in rows:
        since = (row[0] if since is None else since) if holds(row) else None
    return since


def _follows_since_s(seen: Watched, node: Address, new: Address) -> float | None:
    rows = tuple((state.at_s, state) for state in seen.states.get(node, ()))
    return _since_s(rows, lambda row: row[1].answers and row[1].follows == new and row[1].link_up)


def _is_ours(seen: Watched, event: Event) -> bool:
    """About this master; +sdown also comes for a replica or a Sentinel, whose text begins otherwise."""
    return event.master_name == seen.master_name and (
        event.payload.startswith("master ") or event.channel == "+switch-master"
    )


def write_gap_ms(figures: Mapping[str, float]) -> float | None:
    """How long writes stood still, as clients feel it: until the replica is promoted and every Sentinel names it."""
    ends = [figures.get(stage) for stage in ("promoted", "named")]
    return None if None in ends else max(end for end in ends if end is not None)


def missing_bytes(seen: Watched) -> int | None:
    """How much of what the old master had written the new one never got, at least; ``None`` where it cannot be told.

    The last offset that was seen is some milliseconds old when the master stops, so there may be more.
    """
    last = seen.last_answers.get(seen.old_master)
    if last is None or seen.history_ended_at is None:
        return None
    return max(0, last.offset - seen.history_ended_at)


def story(seen: Watched, since_s: float) -> list[dict[str, Any]]:
    """What happened, in the order of time: ``at_ms`` since the last answer, ``who``, ``what``."""
    rows = [
        (at_s, f"sentinel {who}", f"{event.channel} {event.payload}".strip())
        for who, at_s, event in seen.events
        if event.channel in TOLD and (event.master_name in ("", seen.master_name))
    ]
    for node, states in seen.states.items():
        # The first one is how it was when the watch began.
        rows += [(state.at_s, f"node {node}", _told(state)) for state in states[1:]]
    return [
        {"at_ms": round((at_s - since_s) * 1000, 1), "who": who, "what": what}
        for at_s, who, what in sorted(rows)
        if at_s >= since_s
    ]


def _told(state: NodeState) -> str:
    if not state.answers:
        return "does not answer"
    if state.is_master:
        return "is master"
    return f"follows {state.follows}, its link is {'up' if state.link_up else 'down'}"


def replicas_to_wait_for(nodes: Iterable[tuple[Address, bool]], old_master: Address) -> frozenset[Address]:
    """The nodes that are to follow the new master: those that answered before, but for the old master."""
    return frozenset(address for address, answered in nodes if answered and address != old_master)
