# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark writes down is what its tables say."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.measure import Case, odd
from bench.report import figures, load, page, table
from bench.tables import percentile
from lab.make import REAL, checkout_for_make
from lab.pages import command_of_a_page

FENCED = Case("redis-7.0")
SESSION = {
    "kind": "session",
    "version": "abc1234",
    "cores": 2,
    "system": "Linux x86_64",
    "python": "3.11.2",
    "redis_py": "8.1.0",
    "down_after_ms": 5000,
}


def run(case: Case = FENCED, number: int = 0, outcome: str = "switched", **recorded: Any) -> dict[str, Any]:
    recording = {
        "writes_acknowledged": 1000,
        "writes_lost": 0,
        "longest_gap_s": 0.25,
        "refused_of_a_writer": 1,
        "unknown": 0,
        "timed_out": False,
        "denied_but_present": 0,
        "resynchronisations": {"full": recorded.pop("full", 0)},
        **recorded,
    }
    made = {
        "kind": "run",
        **asdict(case),
        "number": number,
        "server_version": f"{case.server}.15",
        "at": f"2026-11-22T18:00:{10 * number:02}+00:00",
        "machine_load": 1.0,
        "outcome": outcome,
        "message": None,
        "run_s": 8.0,
        "result": {"lossless": case.strategy == "fenced", "write_gap_ms": 12, "timeline": []},
        "recording": recording,
    }
    return made | {"odd": odd(made)}


def not_measured(number: int) -> dict[str, Any]:
    made = run(number=number, outcome="not measured") | {"message": "LabError: not ready"}
    return {name: value for name, value in made.items() if name not in ("recording", "result", "run_s")}


def written(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "runs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (SESSION, *lines)))
    return path


def row(lines: list[str], *cells: str) -> list[str]:
    """The cells of the row that begins with these."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return next(found for found in rows if found[: len(cells)] == list(cells))


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (50, 50), (99, 99), (100, 99), (200, 198)], ids=str)
def test_percentile_is_the_nearest_rank(count: int, expected: int) -> None:
    assert percentile(list(range(count, 0, -1)), 99) == expected


def test_a_run_that_failed_is_counted_and_named(tmp_path: Path) -> None:
    record = load([written(tmp_path, run(number=0), not_measured(1), run(number=2, longest_gap_s=1.25))])
    found = figures(record.of(FENCED))
    assert (found.runs, found.failed, found.gaps_s) == (3, 1, (0.25, 1.25))
    cells = row(table(record), "redis-7.0.15", "fenced")
    gaps = ["750 ms", "1.25 s", "1.25 s", "50%", "12 ms"]
    assert cells[3:] == ["0", "3", "1", "0 of 2,000", *gaps, "1 (most 1)", "0", "0", "8.0 s", "1.0"]
    text = page(record)
    assert "run 2: not measured LabError: not ready" in text
    assert "run 3: gap 1.250 s" in text


@pytest.mark.parametrize(
    ("flaw", "finding"),
    [
        ({"writes_lost": 3}, "3 lost"),
        ({"unknown": 2}, "2 unknown outcomes"),
        ({"full": 1}, "1 full"),
        ({"longest_gap_s": 0.41}, "gap 0.410 s"),
        ({"denied_but_present": 1}, "refused writes are there"),
        ({"timed_out": True}, "writes stopped by the end of recording"),
    ],
)
def test_what_is_odd_in_a_fenced_run(flaw: dict[str, Any], finding: str) -> None:
    assert odd(run()) == []
    assert odd(run(**flaw)) == [finding]


def test_the_plain_way_may_lose_and_take_long_but_not_fail() -> None:
    plain = Case("redis-7.0", "plain")
    assert odd(run(plain, writes_lost=900, longest_gap_s=11.0, full=2)) == []
    assert odd(run(plain, outcome="aborted")) == ["aborted"]


def test_comparison_is_that_of_medians(tmp_path: Path) -> None:
    runs = [run(number=number, longest_gap_s=gap_s) for number, gap_s in enumerate((0.2, 0.25, 0.9))]
    plain = run(Case("redis-7.0", "plain"), longest_gap_s=11.0, writes_lost=900)
    text = page(load([written(tmp_path, *runs, plain)]))
    comparison = text[text.index("## In comparison") :].splitlines()
    assert row(comparison, "redis-7.0.15") == ["redis-7.0.15", "0", "250 ms", "11.00 s (44.0 x, 900 lost)", "", "", ""]


def test_runs_under_load_stand_by_themselves(tmp_path: Path) -> None:
    lines = [run(), run(Case("redis-7.0", load=8), longest_gap_s=0.3)]
    cells = row(table(load([written(tmp_path, *lines)])), "redis-7.0.15", "fenced", "redis-py", "8")
    assert cells[4:8] == ["1", "0", "0 of 1,000", "300 ms"]


def test_the_command_on_the_page_writes_the_page(tmp_path: Path) -> None:
    checkout = checkout_for_make(tmp_path, REAL)
    written(checkout, run())
    command = command_of_a_page("PYTHONPATH=tests .cache/venv/bin/python -m bench report")
    subprocess.run(["bash", "-c", command], cwd=checkout, check=True)
    assert "None of 1 fenced runs." in (checkout / "docs" / "benchmark.md").read_text()


def test_commands_make_as_many_runs(tmp_path: Path) -> None:
    cases = [Case("redis-7.0"), Case("valkey-9.1"), Case("valkey-9.1", "coordinated"), Case("redis-7.0", ad_hoc=True)]
    text = page(load([written(tmp_path, *(run(case, number) for case in cases for number in range(2)))]))
    for words in (
        "--servers redis-7.0,valkey-9.1 --strategies fenced --client redis-py --load 0 --runs 2 --commit abc1234",
        "--servers valkey-9.1 --strategies coordinated --client redis-py --load 0 --runs 2",
        "--servers redis-7.0 --load 0 --runs 0 --adhoc 2",
    ):
        assert words in text
