# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happened, when, told by whom.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import datetime
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import ENTRY_KINDS, STEP_BEGINS

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

    def wait_for(self, come: threading.Event, seconds: float) -> bool:
        """Sleep until an event of a thread has come, at most some seconds; whether it has."""
        return come.wait(seconds)


@dataclass(frozen=True)
class Entry:
    """One entry of the timeline.

    Attributes:
        at_ms: Milliseconds since the run began.
        who: ``program``, or ``sentinel host:port``.
        kind: One of ``ENTRY_KINDS``; of a Sentinel the channel of an event, for example ``+switch-master``.
        step: The step of the run in which it was put down.
        subject: The server that it is about, as ``host:port``; empty where it is about none.
        detail: The rest, for a person. No program reads it.
    """

    at_ms: float
    who: str
    kind: str
    step: str
    subject: str
    detail: str

    def as_result(self) -> dict[str, Any]:
        return {
            "at_ms": self.at_ms,
            "who": self.who,
            "kind": self.kind,
            "step": self.step,
            "subject": self.subject,
            "detail": self.detail,
        }


def utc(wall_s: float) -> str:
    """A moment as people write it in a ticket: UTC, with milliseconds."""
    moment = datetime.datetime.fromtimestamp(wall_s, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Timeline:
    """Collects entries from the program and, by threads, from the Sentinels.

    Args:
        clock: Where the time comes from.
        on_entry: Called with each entry, from whichever thread it comes.
    """

    def __init__(self, clock: Clock, on_entry: Callable[[Entry], None] | None = None) -> None:
        self._clock = clock
        self._on_entry = on_entry
        self._started_s = clock.now_s()
        self._started_wall_s = clock.wall_s()
        self._step = ""
        self._entries: list[Entry] = []
        self._events: list[tuple[Address, float, Event]] = []
        self._lock = threading.Lock()
        self._news = threading.Event()

    def begin(self, step: str, at_s: float | None = None) -> None:
        """A step of the run begins."""
        self._step = step
        self.add(STEP_BEGINS, at_s=at_s)

    def add(
        self,
        kind: str,
        subject: Address | None = None,
        detail: str = "",
        at_s: float | None = None,
        kept: bool = True,
    ) -> None:
        """Put down one entry of the program.

        Args:
            kind: One of ``ENTRY_KINDS``.
            subject: The server that it is about.
            detail: The rest, for a person.
            at_s: When, in monotonic seconds; now, if it is ``None``.
            kept: Whether it is part of the result; if not, it is only handed on.

        Raises:
            ValueError: There is no such kind.
        """
        if kind not in ENTRY_KINDS:
            raise ValueError(f"{kind!r} is no kind of entry")
        self._put(PROGRAM, kind, str(subject) if subject else "", detail, at_s, kept)

    def add_event(self, sentinel: Address, at_s: float, event: Event) -> None:
        """Put down what a Sentinel published. One that repeats itself, as at each of its ticks, is put down once."""
        with self._lock:
            last = next((said for who, _at_s, said in reversed(self._events) if who == sentinel), None)
            self._events.append((sentinel, at_s, event))
        if event == last:
            return
        subject = str(event.instance) if event.instance else ""
        self._put(f"sentinel {sentinel}", event.channel, subject, event.payload, at_s)
        self._news.set()

    def _put(self, who: str, kind: str, subject: str, detail: str, at_s: float | None, kept: bool = True) -> None:
        entry = Entry(self.since_start_ms(at_s), who, kind, self._step, subject, detail)
        if kept:
            with self._lock:
                self._entries.append(entry)
        if self._on_entry is not None:
            self._on_entry(entry)

    def since_start_ms(self, at_s: float | None = None) -> float:
        """Milliseconds from the start of the run to a monotonic second; to now, if it is ``None``."""
        return round(((self._clock.now_s() if at_s is None else at_s) - self._started_s) * 1000, 1)

    def utc_at(self, at_s: float | None = None) -> str:
        """A monotonic second by the wall clock, in UTC; the start of the run, if it is ``None``."""
        return utc(self._started_wall_s + (0.0 if at_s is None else at_s - self._started_s))

    def events(self, since_s: float, prefix: str, master_name: str) -> list[tuple[Address, Event]]:
        """Events about a master since a moment whose channel begins with ``prefix``."""
        with self._lock:
            return [
                (sentinel, event)
                for sentinel, at_s, event in self._events
                if at_s >= since_s and event.channel.startswith(prefix) and event.master_name == master_name
            ]

    def events_of(self, sentinel: Address, since_s: float) -> list[Event]:
        """Everything that one Sentinel published since a moment, in its order."""
        with self._lock:
            return [event for who, at_s, event in self._events if who == sentinel and at_s >= since_s]

    def wait_for_news(self, seconds: float) -> None:
        """Sleep until the next event of any Sentinel has come, at most some seconds."""
        self._clock.wait_for(self._news, seconds)
        self._news.clear()

    def as_result(self) -> list[dict[str, Any]]:
        """All of it, in the order of time."""
        with self._lock:
            return [entry.as_result() for entry in sorted(self._entries, key=lambda entry: entry.at_ms)]
