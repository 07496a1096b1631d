# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns recorded runs into tables and a page. Pure, but for reading the files."""

from __future__ import annotations

import datetime
import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.measure import CLIENTS, LONG_GAP_S, Case
from bench.tables import markdown, milliseconds, percentile, seconds
from bench.ways import STRATEGIES, SWITCHED

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
    """What the runs of a case amount to; the tuples are those of the runs that could be measured."""

    runs: int
    failed: int
    acknowledged: int
    lost: int
    unknown: int
    full: int
    refused_of_a_writer: tuple[int, ...]
    gaps_s: tuple[float, ...]
    runs_s: tuple[float, ...]
    said_s: tuple[float, ...]

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
        refused_of_a_writer=tuple(recording["refused_of_a_writer"] for recording in recordings),
        gaps_s=tuple(recording["longest_gap_s"] for recording in recordings),
        runs_s=tuple(run["run_s"] for run in runs if "run_s" in run),
        said_s=tuple(
            gap_ms / 1000 for run in runs if (gap_ms := run.get("result", {}).get("write_gap_ms")) is not None
        ),
    )


# Tables


def table(record: Record) -> list[str]:
    """The main table: every case but the ad-hoc commands."""
    head = [
        *("server", "strategy", "client", "load", "runs", "failed", "lost", "gap median", "99th percentile", "longest")
    ]
    head += [f"above {LONG_GAP_S:.1f} s", "said", "refused", "unknown", "full", "run", "load average"]
    return markdown(head, [_row(record, case) for case in record.cases() if not case.ad_hoc], left=3)


def _row(record: Record, case: Case) -> list[str]:
    runs = record.of(case)
    found = figures(runs)
    cells = [_server(runs), case.strategy, case.client, str(case.load), str(found.runs), str(found.failed)]
    if not found.gaps_s:
        return cells + ["not measured"] + [""] * 10
    return [
        *cells,
        f"{found.lost:,} of {found.acknowledged:,}",
        milliseconds(found.median_gap_s),
        milliseconds(percentile(found.gaps_s, 99)),
        milliseconds(max(found.gaps_s)),
        f"{found.long_share:.0%}",
        milliseconds(statistics.median(found.said_s)) if found.said_s else "",
        f"{statistics.median(found.refused_of_a_writer):g} (most {max(found.refused_of_a_writer)})",
        str(found.unknown),
        str(found.full),
        seconds(statistics.median(found.runs_s), 1),
        f"{statistics.median(run['machine_load'] for run in runs):.1f}",
    ]


def comparison(record: Record) -> list[str]:
    """The median gap of each server's other ways beside that of the fenced one, by the load of the machine."""
    rows = []
    others = STRATEGIES[1:]
    for fenced in record.cases():
        compared = [Case(fenced.server, strategy, load=fenced.load) for strategy in others]
        if fenced != Case(fenced.server, load=fenced.load) or not any(record.of(other) for other in compared):
            continue
        base = figures(record.of(fenced))
        if not base.gaps_s:
            continue
        cells = [_compared(record.of(other), base.median_gap_s) for other in compared]
        rows.append([_server(record.of(fenced)), str(fenced.load), milliseconds(base.median_gap_s), *cells])
    head = ("server", "load", "fenced", *(_WAYS[strategy] for strategy in others))
    return markdown(head, rows, left=1)


_WAYS = {
    "plain": "`SENTINEL FAILOVER`",
    "coordinated": "`... COORDINATED`",
    "failover_to": "`FAILOVER TO`",
    "cluster": "`CLUSTER FAILOVER`",
}


def _compared(runs: Sequence[Run], base_s: float) -> str:
    found = figures(runs)
    if not found.gaps_s:
        return ""
    lost = f", {found.lost:,} lost" if found.lost else ""
    return f"{milliseconds(found.median_gap_s)} ({found.median_gap_s / base_s:.1f} x{lost})"


def ad_hoc_table(record: Record) -> list[str]:
    """How long the whole command takes."""
    rows = []
    for case in (case for case in record.cases() if case.ad_hoc):
        runs = record.of(case)
        found = figures(runs)
        times = [seconds(of(found.runs_s), 1) for of in (statistics.median, min, max)] if found.runs_s else [""] * 3
        gap = milliseconds(found.median_gap_s) if found.gaps_s else ""
        rows.append([_server(runs), str(case.load), str(found.runs), str(found.failed), *times, f"{found.lost:,}", gap])
    head = ("server", "load", "runs", "failed", "command median", "shortest", "longest", "lost", "gap median")
    return markdown(head, rows, left=1)


def _server(runs: Sequence[Run]) -> str:
    """The versions that were measured; servers of a distribution may change between two blocks of runs."""
    return ", ".join(sorted({run["server_version"] for run in runs}))


def _order(case: Case) -> tuple[Any, ...]:
    family, _dash, version = case.server.partition("-")
    numbers = [int(number) if number.isdigit() else 0 for number in version.split(".")]
    return case.ad_hoc, STRATEGIES.index(case.strategy), CLIENTS.index(case.client), case.load, family, numbers


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
        "Median gaps of the same sessions, redis-py, and how many times as long as the fenced way the others take. "
        "`FAILOVER TO` is sent to a master without Sentinel, to which applications write that know both nodes; `CLUSTER FAILOVER` moves a master of a "
        "fresh cluster of six for the first and the second time, under the library's own client for clusters.",
        "\n".join(comparison(record)),
        "## The whole command",
        'How long `ansible localhost -m redis_ha.sentinel.failover -a "sentinels=... master_name=mymaster"` takes, Ansible\'s own start included.',
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
    f"over all runs the median, the 99th percentile (of fewer than 100 runs that is the longest), the longest, and the share of runs above {LONG_GAP_S:.1f} s.",
    "- *load*: other processes that kept the machine busy meanwhile; *load average* is the system's own, of the last minute before a run, median.",
    "- *said*: median of what the program itself said of the gap (`write_gap_ms`).",
    "- *refused*: errors that one of the four applications saw and that say for certain that the write was not made: "
    "of the one that saw most, the median of all runs, and the most.",
    "- *unknown*: writes whose outcome the application could not know, because its connection was closed under them.",
    "- *full*: full resynchronisations that the move caused.",
    "- *run*: median of the time that the move took; of the module, from its start to its result, when every replica followed.",
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
    return lines


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
        "- A deployment serves 20 runs at most, a cluster two; cases take turns. What is equivalent, one after another:",
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
    measured = [(case, runs) for case, runs in counts.items() if not case.ad_hoc]

    def group(counted: tuple[Case, int]) -> tuple[str, str, int, int]:
        return counted[0].strategy, counted[0].client, counted[0].load, counted[1]

    for (strategy, client, load, runs), members in itertools.groupby(sorted(measured, key=group), group):
        servers = ",".join(case.server for case, _runs in sorted(members, key=lambda pair: _order(pair[0])))
        lines.append(f"--servers {servers} --strategies {strategy} --client {client} --load {load} --runs {runs}")
    ad_hoc = [(case, runs) for case, runs in counts.items() if case.ad_hoc]
    lines += [f"--servers {case.server} --load {case.load} --runs 0 --adhoc {runs}" for case, runs in ad_hoc]
    files = [f"--out {number}.jsonl" for number in range(1, len(lines) + 1)]
    made = [f"make bench BENCH_ARGS='{line}{commit} {file}'" for line, file in zip(lines, files, strict=True)]
    return [*made, "PYTHONPATH=tests .cache/venv/bin/python -m bench report *.jsonl > docs/benchmark.md"]
