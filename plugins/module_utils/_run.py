# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run: the services that its phases use, and the record that they write.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import failure
from ansible_collections.redis_ha.sentinel.plugins.module_utils._record import Record
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import WAITING, Step
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Timeline

TELL_EVERY_S = 2.0
"""How long a run may wait without a word."""


Subscribe = Callable[[Address, Callable[[Address, float, Event], None]], None]


@dataclass(frozen=True)
class Shared:
    """What a run shares with others that go on beside it; one that is alone shares nothing.

    Attributes:
        snapshot: What everybody said a moment ago, so that nobody is asked again.
        listen: How it gets the events of a Sentinel, if not over a connection of its own.
        write_stop: Entered for as long as writes are stopped and the program moves the master: one after the other, each is as short as alone.
    """

    snapshot: Snapshot | None = None
    listen: Subscribe | None = None
    write_stop: Callable[[], AbstractContextManager[object]] = nullcontext

    @property
    def is_alone(self) -> bool:
        """Whether no other master is moved beside this one."""
        return self.listen is None


@dataclass
class Run:
    """What every phase is handed.

    Attributes:
        fleet: The clients.
        request: What the caller asks for.
        clock: Time.
        timeline: Where entries are put down.
        stop_requested: Whether the user wants the run to end; looked at until the fence goes up.
        snapshot: What everybody said when the run began.
        record: What the result is made of.
        shared: What it shares with others.
        deaf: The Sentinels that send it no events; ``None`` before it has subscribed.
    """

    fleet: Fleet
    request: Request
    clock: Clock
    timeline: Timeline
    stop_requested: Callable[[], bool] = lambda: False
    snapshot: Snapshot = field(default_factory=lambda: Snapshot("", (), ()))
    record: Record = field(default_factory=Record)
    shared: Shared = field(default_factory=Shared)
    deaf: tuple[Address, ...] | None = None

    @contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """What is done in here belongs to a step, and its time is counted there."""
        began_s = self.clock.now_s()
        self.record.step = step.name
        self.timeline.begin(step.name, at_s=began_s)
        try:
            yield
        finally:
            spent_ms = (self.clock.now_s() - began_s) * 1000
            self.record.steps_ms[step.name] = round(self.record.steps_ms.get(step.name, 0.0) + spent_ms, 1)

    def note(self, text: str) -> None:
        """Something that the caller should know."""
        self.record.notes.append(text)

    def left(self, text: str) -> None:
        """Something that is left to do."""
        self.record.left.append(text)

    def left_or_noted(self, text: str) -> None:
        """Something that is left to do where the master was moved, and only worth a note where it was not."""
        (self.left if self.record.moved else self.note)(text)

    def stop_if_requested(self) -> None:
        """End here, if the user wants it.

        Raises:
            RefusedError: He does.
        """
        if self.stop_requested():
            raise failure("interrupted", "the run was asked to end")

    def same_now(self, one: Address | None, other: Address | None) -> bool:
        """Whether two addresses are one server, also where a name has come up since the snapshot."""
        if one is None or other is None:
            return False
        return self.snapshot.same(one, other) or self.fleet.endpoint(one) == self.fleet.endpoint(other)

    @property
    def sentinels(self) -> list[Address]:
        """The Sentinels that answered when the run began, and know this master."""
        return [view.address for view in self.snapshot.informed_sentinels]


class Wait:
    """A wait, which begins when this is made, and says every two seconds what it still waits for.

    What it says is handed on each time. The result keeps it ever less often, so that a wait of a day does not fill it.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._began_s = run.clock.now_s()
        self._tell_s = self._began_s + TELL_EVERY_S
        self._keep_after_s = TELL_EVERY_S

    def tell(self, what: Callable[[], str]) -> None:
        """Say it, if it is time to.

        Args:
            what: What is waited for, or why it has not come, for a person. Called only when it is said.
        """
        now_s = self._run.clock.now_s()
        if now_s < self._tell_s:
            return
        self._tell_s = now_s + TELL_EVERY_S
        waited_s = now_s - self._began_s
        kept = waited_s >= self._keep_after_s
        if kept:
            self._keep_after_s = 2 * waited_s
        self._run.timeline.add(WAITING, detail=what(), kept=kept)


def each(states: Mapping[Address, str], kind: str = "") -> str:
    """What is the matter with each of several servers, for a person."""
    return "; ".join(f"{kind}{address}: {text}" for address, text in states.items())
