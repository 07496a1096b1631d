# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happened, when, told by whom.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event

PROGRAM = "program"


class Clock:
    """Time, as the failover needs it; tests hand in their own."""

    def now_s(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Happening:
    """One line of the timeline.

    Attributes:
        at_ms: Milliseconds since the run began.
        who: ``program``, or ``sentinel host:port``.
        what: A phase or step of the program, or the channel of an event, for example ``+switch-master``.
        detail: The rest, for a person.
    """

    at_ms: float
    who: str
    what: str
    detail: str

    def as_result(self) -> dict[str, Any]:
        return {"at_ms": self.at_ms, "who": self.who, "what": self.what, "detail": self.detail}


class Timeline:
    """Collects happenings from the program and, by threads, from the Sentinels.

    Args:
        clock: Where the time comes from.
        on_happening: Called with each happening, from whichever thread it comes.
    """

    def __init__(self, clock: Clock, on_happening: Callable[[Happening], None] | None = None) -> None:
        self._clock = clock
        self._on_happening = on_happening
        self._started_s = clock.now_s()
        self.started_wall_s = clock.wall_s()
        self._happenings: list[Happening] = []
        self._events: list[tuple[Address, float, Event]] = []
        self._lock = threading.Lock()

    def add(self, what: str, detail: str = "", who: str = PROGRAM, at_s: float | None = None) -> None:
        """Put one line down."""
        at_ms = round(((self._clock.now_s() if at_s is None else at_s) - self._started_s) * 1000, 1)
        happening = Happening(at_ms, who, what, detail)
        with self._lock:
            self._happenings.append(happening)
        if self._on_happening is not None:
            self._on_happening(happening)

    def add_event(self, sentinel: Address, at_s: float, event: Event) -> None:
        """Put down what a Sentinel published."""
        with self._lock:
            self._events.append((sentinel, at_s, event))
        self.add(event.channel, event.payload, who=f"sentinel {sentinel}", at_s=at_s)

    def events(self, since_s: float, prefix: str, master_name: str) -> list[tuple[Address, Event]]:
        """Events about a master since a moment whose channel begins with ``prefix``."""
        with self._lock:
            return [
                (sentinel, event)
                for sentinel, at_s, event in self._events
                if at_s >= since_s and event.channel.startswith(prefix) and event.master_name == master_name
            ]

    def as_result(self) -> list[dict[str, Any]]:
        """All of it, in the order of time."""
        with self._lock:
            return [happening.as_result() for happening in sorted(self._happenings, key=lambda it: it.at_ms)]
