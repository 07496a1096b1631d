# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns recorded runs into tables. Pure, but for reading the files."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.measure import LONG_GAP_S, SWITCHED, Case

Run = dict[str, Any]
_CASE_FIELDS = tuple(field.name for field in fields(Case))


@dataclass(frozen=True)
class Record:
    """Everything that was written down."""

    sessions: tuple[dict[str, Any], ...]
    runs: tuple[Run, ...]

    def cases(self) -> list[Case]:
        """The case of each run."""
        return [case_of(run) for run in self.runs]

    def of(self, case: Case) -> list[Run]:
        """The runs of one case."""
        return [run for run in self.runs if case_of(run) == case]


def case_of(run: Run) -> Case:
    """What a run measured."""
    return Case(**{name: run[name] for name in _CASE_FIELDS})


def load(paths: Iterable[Path]) -> Record:
    """Reads what `measure.record` has written."""
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return Record(
        tuple(line for line in lines if line["kind"] == "session"),
        tuple(line for line in lines if line["kind"] == "run"),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: a value that occurred, and of fewer than 100 values the 99th percentile is the largest."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def table(record: Record) -> list[str]:
    """Placeholder until the recording runs."""
    rows = []
    for case in sorted(set(record.cases()), key=str):
        runs = record.of(case)
        measured = [run["recording"] for run in runs if "recording" in run]
        gaps = [recording["longest_gap_s"] for recording in measured]
        if not gaps:
            continue
        rows.append(
            f"{case}: {len(runs)} runs, {sum(run['outcome'] != SWITCHED for run in runs)} failed,"
            f" lost {sum(r['writes_lost'] for r in measured)},"
            f" gap {statistics.median(gaps):.3f} {percentile(gaps, 99):.3f} {max(gaps):.3f},"
            f" long {sum(gap > LONG_GAP_S for gap in gaps)}, unknown {sum(r['unknown'] for r in measured)},"
            f" full {sum(r['resynchronisations']['full'] for r in measured)}"
        )
    return rows


def page(record: Record) -> str:
    """docs/benchmark.md."""
    return "\n".join(table(record))
