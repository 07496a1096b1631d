# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark measures a real run, goes on where it was interrupted, and leaves nothing running."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import measure
from bench.measure import NOT_MEASURED, Case, SystematicFailureError
from bench.report import load
from lab import Deployment, LabError, find_server
from lab.make import REAL, checkout_for_make, environment_of_make
from lab.pages import command_of_a_page

TESTS = Path(__file__).resolve().parents[2]


def bench(*words: str, temporary: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        env=os.environ | {"PYTHONPATH": str(TESTS), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_a_run_is_measured_once_and_then_reported(tmp_path: Path) -> None:
    server = find_server()
    spec = server.argv[0] if len(server.argv) == 1 else server.name
    out, temporary = tmp_path / "runs.jsonl", tmp_path / "temporary"
    temporary.mkdir()
    words = ("--servers", spec, "--runs", "1", "--out", str(out))

    first = bench(*words, temporary=temporary)
    assert first.returncode == 0, first.stderr
    (run,) = load([out]).runs
    assert (run["outcome"], run["odd"]) == ("switched", []), run["message"]
    assert run["recording"]["writes_acknowledged"] > 500
    assert run["result"]["lossless"] is True
    assert list(temporary.iterdir()) == []

    assert bench(*words, temporary=temporary).returncode == 2
    assert bench(*words, "--resume", temporary=temporary).returncode == 0
    assert len(load([out]).runs) == 1

    page = bench("report", str(out), temporary=temporary).stdout
    assert f"| {server.name} | fenced   | redis-py |" in page
    assert "None of 1 fenced runs." in page


def test_the_command_of_the_page_measures_the_whole_command(tmp_path: Path) -> None:
    find_server("redis-7.0")
    checkout = checkout_for_make(tmp_path, REAL)
    command = command_of_a_page("make bench BENCH_ARGS='--servers redis-7.0 --load 0 --runs 0")
    runs, out = re.findall(r"--adhoc (\d+) --out (\S+)'$", command)[0]
    subprocess.run(["bash", "-c", command], cwd=checkout, env=environment_of_make(), check=True)
    measured = load([checkout / out]).runs
    assert [run["outcome"] for run in measured] == ["switched"] * int(runs)


@pytest.mark.parametrize("strategy", ["failover_to", "cluster"])
def test_a_way_of_the_servers_own_is_measured(tmp_path: Path, strategy: str) -> None:
    server = find_server()
    out = io.StringIO()
    case = Case(server.argv[0] if len(server.argv) == 1 else server.name, strategy)
    measure.record([(case, 1)], 1, tmp_path, out, {})
    run = json.loads(out.getvalue())
    assert run["outcome"] == "switched", run["message"]
    assert run["recording"]["writes_acknowledged"] > 500
    assert (run["recording"]["writes_lost"], run["recording"]["unknown"]) == (0, 0)


def test_runs_that_fail_are_written_down_and_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never_ready(deployment: Deployment, _timeout_s: float) -> None:
        raise LabError(f"{deployment.server.name} is not ready")

    monkeypatch.setattr(Deployment, "wait_ready", never_ready)
    out = io.StringIO()
    server = find_server()
    case = Case(server.argv[0] if len(server.argv) == 1 else server.name)
    with pytest.raises(SystematicFailureError, match="3 runs in a row"):
        measure.record([(case, 10)], 5, tmp_path, out, {})
    runs = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [run["outcome"] for run in runs] == [NOT_MEASURED] * 3
    assert f"{server.name} is not ready" in runs[0]["message"]
    assert set(runs[0]["logs"]) == {"mymaster-0", "mymaster-1", "mymaster-2", "sentinel-0", "sentinel-1", "sentinel-2"}


def test_a_deployment_that_does_not_start_is_written_down(tmp_path: Path) -> None:
    out = io.StringIO()
    with pytest.raises(SystematicFailureError, match="3 runs in a row"):
        measure.record([(Case("redis-1.0"), 10)], 5, tmp_path, out, {})
    runs = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [run["outcome"] for run in runs] == [NOT_MEASURED] * 3
    assert "redis-1.0" in runs[0]["message"]
