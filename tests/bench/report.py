# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns recorded runs into tables and a page. Pure, but for reading the files."""

from __future__ import annotations

import datetime
import itertools
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.measure import CLIENTS, LONG_GAP_S, STRATEGIES, SWITCHED, Case

Run = dict[str, Any]
_CASE_FIELDS = tuple(field.name for field in fields(Case))


@dataclass(frozen=True)
class Record:
    """Everything that was written down."""

    sessions: tuple[dict[str, Any], ...]
    runs: tuple[Run, ...]

    def cases(self) -> list[Case]:
        """Each case once, in the order of tables."""
        return sorted({case_of(run) for run in self.runs}, key=_order)

    def counts(self) -> dict[Case, int]:
        """How many runs of each case there are."""
        return {case: len(self.of(case)) for case in self.cases()}

    def of(self, case: Case) -> list[Run]:
        """The runs of one case."""
        return [run for run in self.runs if case_of(run) == case]


@dataclass(frozen=True)
class Figures:
    """What the runs of a case amount to; `gaps_s` and `runs_s` are those of the runs that could be measured."""

    runs: int
    failed: int
    acknowledged: int
    lost: int
    unknown: int
    full: int
    gaps_s: tuple[float, ...]
    runs_s: tuple[float, ...]

    @property
    def median_gap_s(self) -> float:
        return statistics.median(self.gaps_s)

    @property
    def long_share(self) -> float:
        return sum(gap_s > LONG_GAP_S for gap_s in self.gaps_s) / len(self.gaps_s)


def load(paths: Iterable[Path]) -> Record:
    """Reads what `measure.record` has written."""
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return Record(*(tuple(line for line in lines if line["kind"] == kind) for kind in ("session", "run")))


def case_of(run: Run) -> Case:
    """What a run measured."""
    return Case(**{name: run[name] for name in _CASE_FIELDS})


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: a value that occurred. Of fewer than 100 values the 99th percentile is the largest."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def figures(runs: Sequence[Run]) -> Figures:
    """The sums and the single values of the runs of a case."""
    recordings = [run["recording"] for run in runs if "recording" in run]
    return Figures(
        runs=len(runs),
        failed=sum(run["outcome"] != SWITCHED for run in runs),
        acknowledged=sum(recording["writes_acknowledged"] for recording in recordings),
        lost=sum(recording["writes_lost"] for recording in recordings),
        unknown=sum(recording["unknown"] for recording in recordings),
        full=sum(recording["resynchronisations"]["full"] for recording in recordings),
        gaps_s=tuple(recording["longest_gap_s"] for recording in recordings),
        runs_s=tuple(run["run_s"] for run in runs if "run_s" in run),
    )


# Tables


def table(record: Record) -> list[str]:
    """The main table: every case but the ad-hoc commands."""
    head = [*("server", "strategy", "client", "runs", "failed", "lost", "gap median", "99th percentile", "longest")]
    head += [f"above {LONG_GAP_S:.2f} s", "unknown", "full", "run"]
    return _markdown(head, [_row(record, case) for case in record.cases() if not case.ad_hoc], left=3)


def _row(record: Record, case: Case) -> list[str]:
    runs = record.of(case)
    found = figures(runs)
    cells = [_server(runs), case.strategy, case.client, str(found.runs), str(found.failed)]
    if not found.gaps_s:
        return cells + ["not measured"] + [""] * 7
    return [
        *cells,
        f"{found.lost:,} of {found.acknowledged:,}",
        _seconds(found.median_gap_s),
        _seconds(percentile(found.gaps_s, 99)),
        _seconds(max(found.gaps_s)),
        f"{found.long_share:.0%}",
        str(found.unknown),
        str(found.full),
        _seconds(statistics.median(found.runs_s), 1),
    ]


def comparison(record: Record) -> list[str]:
    """The median gap of each server's other ways beside that of the fenced one."""
    rows = []
    for fenced in record.cases():
        others = [Case(fenced.server, strategy) for strategy in ("plain", "coordinated")]
        if fenced != Case(fenced.server) or not any(record.of(other) for other in others):
            continue
        base = figures(record.of(fenced)).median_gap_s
        rows.append(
            [_server(record.of(fenced)), _seconds(base), *(_compared(record.of(other), base) for other in others)]
        )
    return _markdown(("server", "fenced", "plain", "coordinated"), rows, left=1)


def _compared(runs: Sequence[Run], base_s: float) -> str:
    found = figures(runs)
    return f"{_seconds(found.median_gap_s)} ({found.median_gap_s / base_s:.1f} x)" if found.gaps_s else ""


def ad_hoc_table(record: Record) -> list[str]:
    """How long the whole command takes."""
    rows = []
    for case in (case for case in record.cases() if case.ad_hoc):
        runs = record.of(case)
        found = figures(runs)
        times = [_seconds(of(found.runs_s), 1) for of in (statistics.median, min, max)] if found.runs_s else [""] * 3
        gap = _seconds(found.median_gap_s) if found.gaps_s else ""
        way = "as it comes" if case.align else "`align=false`, nothing to steer"
        rows.append([_server(runs), way, str(found.runs), str(found.failed), *times, f"{found.lost:,}", gap])
    head = ("server", "options", "runs", "failed", "command median", "shortest", "longest", "lost", "gap median")
    return _markdown(head, rows, left=2)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A table whose first `left` columns are text and whose others are figures."""
    widths = [max(3, *(len(row[column]) for row in (head, *rows))) for column in range(len(head))]
    rules = ["-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(f"{cell:{'<' if i < left else '>'}{widths[i]}}" for i, cell in enumerate(cells)) + " |"

    return [line(cells) for cells in (head, rules, *rows)]


def _seconds(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f} s"


def _server(runs: Sequence[Run]) -> str:
    """The versions that were measured; servers of a distribution may change between two blocks of runs."""
    return ", ".join(sorted({run["server_version"] for run in runs}))


def _order(case: Case) -> tuple[Any, ...]:
    family, _dash, version = case.server.partition("-")
    numbers = [int(number) if number.isdigit() else 0 for number in version.split(".")]
    return case.ad_hoc, STRATEGIES.index(case.strategy), CLIENTS.index(case.client), family, numbers, case.easy


# The page


def page(record: Record) -> str:
    """What docs/benchmark.md holds."""
    parts = [
        "<!--\nSPDX-FileCopyrightText: The redis_ha.sentinel authors\nSPDX-License-Identifier: GPL-3.0-or-later\n-->",
        "# Benchmark",
        "What moving a healthy master does to the applications that write to it. Each run moves the master of a real deployment once, while four "
        "applications write one key after another, a millisecond apart; afterwards every acknowledged write is looked for on the new master. "
        "Written by `python -m bench report`; no figure here was typed by hand.",
        "## Results",
        "\n".join(table(record)),
        "\n".join(_COLUMNS),
        "## In comparison",
        "Median gaps of the same sessions, redis-py, and how many times as long as the fenced way the others take:",
        "\n".join(comparison(record)),
        "## The whole command",
        'How long `ansible localhost -m redis_ha.sentinel.failover -a "sentinels=... master_name=mymaster"` takes, Ansible\'s own start included. '
        "Most of it is the wait for the right moment, in which writes go on. Without it (`align=false`), and where the replicas' priorities already say "
        "whom Sentinel will promote, the command is quick and the gap about a second longer.",
        "\n".join(ad_hoc_table(record)),
        "## Runs that were not as they should be",
        "\n".join(_odd_runs(record)),
        "## How it was made",
        "\n".join(_circumstances(record)),
        "```shell\n" + "\n".join(_commands(record)) + "\n```",
    ]
    return "\n\n".join(part for part in parts if part)


_COLUMNS = (
    f"- *failed*: runs whose outcome was not `{SWITCHED}`. None was left out.",
    "- *lost*: acknowledged writes that the new master lacks, of all that were acknowledged.",
    "- *gap*: in each run the longest stretch between two acknowledged writes that are there afterwards, over all four applications together; "
    f"over all runs the median, the 99th percentile (of fewer than 100 runs that is the longest), the longest, and the share of runs above {LONG_GAP_S:.2f} s.",
    "- *unknown*: writes whose outcome the application could not know, because its connection was closed under them.",
    "- *full*: full resynchronisations that the move caused.",
    "- *run*: median of the time that the module took, from its start to its result, with the wait for the right moment and until every replica followed.",
)


def _odd_runs(record: Record) -> list[str]:
    """Fenced runs with any flaw, and failed ones of every kind; the flaws of the other ways stand in the table."""
    odd = [run for run in record.runs if run["odd"] and (run["strategy"] == "fenced" or run["outcome"] != SWITCHED)]
    fenced = [run for run in record.runs if run["strategy"] == "fenced"]
    lines = [f"Of {len(fenced)} fenced runs:"] if odd else [f"None of {len(fenced)} fenced runs."]
    lines += [
        f"- {case_of(run)}, run {run['number'] + 1}: {', '.join(run['odd'])} {run['message'] or ''}".rstrip()
        for run in odd
    ]
    aligned = [run for run in fenced if run["align"] and "result" in run]
    missed = [_missed(run) for run in aligned]
    lines += [
        "",
        f"{sum(map(bool, missed))} of {len(aligned)} aligned runs missed the moment that they had waited for "
        f"(most missed in one run: {max(missed, default=0)}) "
        "and waited for another, while writes went on.",
    ]
    return lines


def _missed(run: Run) -> int:
    return sum(entry["what"] == "moment missed" for entry in run["result"].get("timeline", ()))


def _circumstances(record: Record) -> list[str]:
    def all_of(name: str) -> str:
        return ", ".join(sorted({str(session[name]) for session in record.sessions}))

    days = sorted({run["at"][:10] for run in record.runs})
    loads = [run["machine_load"] for run in record.runs]
    return [
        f"- {' to '.join(dict.fromkeys((days[0], days[-1])))}, version {all_of('version')} of the plugins.",
        f"- One machine, {all_of('cores')} cores, {all_of('system')}, "
        f"Python {all_of('python')}, redis-py {all_of('redis_py')}; "
        f"up to {_peak(record.runs)} runs at the same time. "
        f"Load average of the machine at the start of a run: median {statistics.median(loads):.1f}, most {max(loads):.1f}.",
        f"- One master, two replicas, three Sentinels on loopback, down-after-milliseconds {all_of('down_after_ms')}, the rest of the settings as they come. "
        "A network adds its round trips.",
        "- Four applications of the library named under *client*, which find the master through Sentinel.",
        "- A deployment serves 20 runs at most; cases take turns. What is equivalent, one after another:",
    ]


def _peak(runs: Iterable[Run]) -> int:
    """How many runs were under way at one time, at most."""
    moments = []
    for run in runs:
        began_s = datetime.datetime.fromisoformat(run["at"]).timestamp()
        moments += [(began_s, 1), (began_s + run.get("run_s", 0.0), -1)]
    return max(itertools.accumulate(change for _moment, change in sorted(moments)), default=0)


def _commands(record: Record) -> list[str]:
    """Commands that make as many runs of each case."""
    counts = record.counts()
    versions = {session["version"] for session in record.sessions}
    commit = f" --commit {versions.pop()}" if len(versions) == 1 else ""
    lines = []
    plain = [(case, runs) for case, runs in counts.items() if not case.ad_hoc]

    def group(counted: tuple[Case, int]) -> tuple[str, str, int]:
        return counted[0].strategy, counted[0].client, counted[1]

    for (strategy, client, runs), members in itertools.groupby(sorted(plain, key=group), group):
        servers = ",".join(case.server for case, _runs in sorted(members, key=lambda pair: _order(pair[0])))
        lines.append(f"--servers {servers} --strategies {strategy} --client {client} --runs {runs}")
    ad_hoc = {case.server: runs for case, runs in counts.items() if case.ad_hoc}
    lines += [f"--servers {server} --runs 0 --adhoc {runs}" for server, runs in ad_hoc.items()]
    files = [f"--out {number}.jsonl" for number in range(1, len(lines) + 1)]
    made = [f"make bench BENCH_ARGS='{line}{commit} {file}'" for line, file in zip(lines, files, strict=True)]
    return [*made, "PYTHONPATH=tests .cache/venv/bin/python -m bench report *.jsonl > docs/benchmark.md"]
