# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long it is worth waiting for what a module looks at again and again.

Pure: no sockets, no clock. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SETTLED = "settled"
WAIT = "wait"
STALLED = "stalled"
TIMED_OUT = "timed_out"

_WHY = {STALLED: "nothing has changed for too long", TIMED_OUT: "the time is over"}


class Patience:
    """Decides, look after look, whether to wait on.

    Args:
        timeout_s: The longest time to wait in all.
        stall_timeout_s: The longest time to wait while nothing moves.
    """

    def __init__(self, timeout_s: float, stall_timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._began_s: float | None = None
        self._moved_s = 0.0
        self._mark = ""

    def verdict(self, now_s: float, result: Mapping[str, Any]) -> str:
        """Take in one look, a result with ``mark`` and ``settled``: ``settled``, ``wait``, ``stalled`` or ``timed_out``."""
        if self._began_s is None:
            self._began_s = self._moved_s = now_s
        if result["mark"] != self._mark:
            self._mark, self._moved_s = result["mark"], now_s
        if result["settled"]:
            return SETTLED
        if self.waited_s(now_s) >= self._timeout_s:
            return TIMED_OUT
        return STALLED if now_s - self._moved_s >= self._stall_timeout_s else WAIT

    def waited_s(self, now_s: float) -> float:
        """Seconds since the first look."""
        return 0.0 if self._began_s is None else now_s - self._began_s


def in_vain(
    verdict: str, errors: Mapping[str, str], left: str, remedies: Iterable[str | None], waited_s: float
) -> dict[str, Any]:
    """What a result says besides when the wait was given up.

    Args:
        verdict: ``stalled`` or ``timed_out``.
        errors: The error code of each of these two.
        left: What is still missing.
        remedies: What helps, for each thing that is missing.
        waited_s: How long it was waited for.
    """
    remedy = " ".join(dict.fromkeys(filter(None, remedies)))
    return {
        "failed": True,
        "msg": f"Gave up after {waited_s:.0f} s: {_WHY[verdict]}. Still missing: {left}. {remedy}".rstrip(),
        "error": errors[verdict],
        "remedy": remedy,
    }
