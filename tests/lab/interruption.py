# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""An end that is asked for is heard only where the program waits: what it does or undoes in between is never cut short."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

_asked: list[int] = []
_waiting = False


def listen() -> None:
    """From now on Ctrl-C, a request to end and a lost terminal are heard in `interruptible` only, and but once."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _hear)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Where the program waits: it ends here if that is or was asked for. What undoes something does not wait so."""
    global _waiting
    _waiting = True
    try:
        if _asked:
            raise SystemExit(128 + _asked[0])
        yield
    finally:
        _waiting = False


def _hear(number: int, _frame: object) -> None:
    global _waiting
    _asked.append(number)
    if _waiting:
        _waiting = False
        raise SystemExit(128 + number)
