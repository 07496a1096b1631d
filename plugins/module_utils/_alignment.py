# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""At which moment a Sentinel that is told to fail over notices the promotion soonest.

A Sentinel that leads does one step of the failover in each tick of its timer: it wakes up in the first tick after the
trigger, selects the replica in the second, and orders the promotion in the third. Whether the replica has become a master
it sees by asking for INFO, once the last INFO is more than a second old. An INFO that is sent in the second tick comes just
too early: the next one follows a second later. One that is sent in the third tick or later, behind the order on the same
connection, sees the promotion at once.

A tick lasts 1000/hz ms, and Sentinel draws hz anew in each tick, from 10 to 19 (``sentinelTimer`` in ``sentinel.c``, to keep
Sentinels from voting in step). ``INFO server`` shows the hz that was drawn: it tells when the next tick will be. So the
trigger can be sent right before a tick, and that tick be chosen so that the second one after it cannot be too late.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

TICKS_S = tuple(1000 // hz / 1000 for hz in range(10, 20))
"""How long a tick may last, each with the same chance: 0.1 to 0.052 s."""

INFO_PERIOD_S = 1.0
"""How often a leading Sentinel asks a replica for INFO."""

LATE_TICK_S = 0.006
"""How late a tick may come on a busy host without an INFO in the second tick."""

LATEST_TICK_AGE_S = INFO_PERIOD_S - TICKS_S[0] - LATE_TICK_S
"""The oldest that the last INFO may be in the first tick after the trigger, so that none is sent in the second tick."""

EARLIEST_TICK_AGE_S = LATEST_TICK_AGE_S - TICKS_S[0]
"""However long a tick lasts, one falls between this age and the latest."""

BLIND_AGE_S = 0.812
"""How old the last INFO should be when the trigger arrives, if the ticks cannot be seen.

The second tick is over 188 ms after the trigger in all but 4 of 1000 cases, and 200 ms after it in all.
"""

LATEST_BLIND_AGE_S = 0.86

TAKE = "take"
WAIT = "wait"
MISSED = "missed"

_SAME_DRAW_GRACE_S = 0.008


def verdict(age_s: float) -> str:
    """Whether to trigger right before the next tick.

    Args:
        age_s: How old Sentinel's last INFO of the replica will be in that tick, in seconds.

    Returns:
        ``take``; ``wait``, if it is more likely than not that the tick after it is a better one; or ``missed``.
    """
    if age_s > LATEST_TICK_AGE_S:
        return MISSED
    in_time = sum(1 for tick_s in TICKS_S if age_s + tick_s <= LATEST_TICK_AGE_S)
    return WAIT if age_s < EARLIEST_TICK_AGE_S or in_time * 2 >= len(TICKS_S) else TAKE


class TickForecast:
    """When a Sentinel's timer runs next, told by what ``INFO server`` shows as hz."""

    def __init__(self) -> None:
        self._hz: int | None = None
        self._seen_at_s = 0.0
        self._ticked_at_s: float | None = None

    def observe(self, at_s: float, hz: int) -> None:
        """Put down an answer.

        Args:
            at_s: The moment at which it was asked for.
            hz: What it showed.
        """
        if self._hz is not None and hz != self._hz:
            # Between this question and the one before; the earlier moment is the safe one.
            self._ticked_at_s = self._seen_at_s
        elif self.next_s is not None and at_s > self.next_s + _SAME_DRAW_GRACE_S:
            # One tick in ten draws the hz of the one before.
            self._ticked_at_s = self.next_s
        self._hz = hz
        self._seen_at_s = at_s

    @property
    def next_s(self) -> float | None:
        """The moment of the next tick, or ``None`` as long as none was seen."""
        if self._ticked_at_s is None or not self._hz:
            return None
        return self._ticked_at_s + 1000 // self._hz / 1000
