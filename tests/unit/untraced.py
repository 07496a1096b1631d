# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Long work of the tests' own, of which nobody counts the lines: to count them takes several times as long as the work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def untraced(work: Callable[[], Result]) -> Result:
    """Does something in which no line counts as reached, so that what the tests reach can only be too little."""
    tracer = sys.gettrace()
    # In this function and in no other: coverage wants to see the end of what it has seen begin.
    sys.settrace(None)
    try:
        return work()
    finally:
        sys.settrace(tracer)
