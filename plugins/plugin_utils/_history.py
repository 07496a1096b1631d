# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history of moves: one JSON object a line, and the table that a person reads.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

HEADER = ("ENDED", "MASTER", "OUTCOME", "FROM", "TO", "WRITES STOOD STILL", "LOST NOTHING", "BY")
NOTHING = "-"


def table(text: str, master_name: str = "") -> list[str]:
    """A header and a row for each move, the newest first.

    Args:
        text: One JSON object a line.
        master_name: The moves of this master only; of all if empty.

    Raises:
        ValueError: A line is no JSON object.
    """
    moves = [_read(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    rows = [_row(move) for move in reversed(moves) if not master_name or move.get("master_name") == master_name]
    return _aligned([HEADER, *rows]) if rows else ["No move is on record."]


def _read(number: int, line: str) -> Mapping[str, Any]:
    try:
        move = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is no JSON object: {error}") from error
    if not isinstance(move, dict):
        raise ValueError(f"line {number} is no JSON object")
    return move


def _row(move: Mapping[str, Any]) -> tuple[str, ...]:
    gap_ms = move.get("write_gap_ms")
    lossless = move.get("lossless")
    return (
        str(move.get("ended_at") or NOTHING),
        str(move.get("master_name") or NOTHING),
        str(move.get("outcome") or NOTHING),
        str(move.get("old_master") or NOTHING),
        str(move.get("new_master") or NOTHING),
        NOTHING if gap_ms is None else f"{gap_ms:g} ms",
        NOTHING if lossless is None else "yes" if lossless else "NO PROOF",
        str(move.get("by") or NOTHING),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
