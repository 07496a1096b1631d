# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures as text. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: a value that occurred. Of fewer than 100 values the 99th percentile is the largest."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A table whose first `left` columns are text and whose others are figures."""
    widths = [max(3, *(len(row[column]) for row in (head, *rows))) for column in range(len(head))]
    rules = ["-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(f"{cell:{'<' if i < left else '>'}{widths[i]}}" for i, cell in enumerate(cells)) + " |"

    return [line(cells) for cells in (head, rules, *rows)]


def seconds(value_s: float, digits: int = 2) -> str:
    """Seconds with so many digits."""
    return f"{value_s:.{digits}f} s"


def milliseconds(value_s: float) -> str:
    """Seconds as milliseconds below one second, as seconds above."""
    return f"{1000 * value_s:.0f} ms" if value_s < 1 else seconds(value_s)
