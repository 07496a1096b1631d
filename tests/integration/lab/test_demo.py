# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration shows what it promises, says so by its exit code, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.demo import WIDTH, find_troubles
from lab.machine import times_slower
from lab.make import REAL, checkout_for_make, environment_of_make
from lab.recorder import Recording

TOLD = "tells S1"
"""In the timeline, where the program told a Sentinel of the new master."""
FLAWLESS = Recording(
    client="redis-py",
    began_s=0.0,
    duration_s=20.0,
    timed_out=False,
    writes_acknowledged=20_000,
    writes_lost=0,
    writes_per_s=1000.0,
    longest_gap_s=0.3,
    longest_gap_began_s=10.0,
    longest_gap_began_after_s=10.0,
    longest_gap_of_a_writer_s=0.3,
    refused=60,
    refused_of_a_writer=15,
    refused_by_code={"READONLY": 60},
    not_sent=0,
    unknown=0,
    unknown_but_present=0,
    denied_but_present=0,
    writer_cpu_s=1.0,
    resynchronisations=None,
)


def figures(output: str, label: str) -> tuple[str, str]:
    """The two figures of a row of the table."""
    row = next(line for line in output.splitlines() if line.strip().startswith(label))
    left, right = re.findall(r"[\d.,]+(?= m?s\b|\s|$)", row.replace(label, ""))
    return left, right


def command_lines_with(text: str) -> list[str]:
    """The command lines of this machine's processes that hold a text."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            # It has ended meanwhile.
            continue
    return [line for line in lines if text in line]


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What it shows where the program promotes. On a machine that is too slow, Sentinel promotes; then it is run again, at most twice."""
    checkout = checkout_for_make(tmp_path_factory.mktemp("checkout"), REAL)
    deadline_s = time.monotonic() + 280
    for _ in range(3):
        ended = subprocess.run(
            ["make", "demo"],
            cwd=checkout,
            env=environment_of_make(TMPDIR=str(temporary)),
            capture_output=True,
            text=True,
            timeout=deadline_s - time.monotonic(),
            check=False,
        )
        if TOLD in ended.stdout:
            break
    return ended


def test_it_ends_well_and_loses_nothing(shown: subprocess.CompletedProcess[str]) -> None:
    assert (shown.returncode, shown.stderr) == (0, ""), shown.stdout
    plain, fenced = figures(shown.stdout, "of these lost")
    assert int(plain.replace(",", "")) > 1000
    assert fenced == "0"
    assert "redis_ha.sentinel.failover lost none" in shown.stdout


def test_its_figures_are_those_of_the_two_ways(shown: subprocess.CompletedProcess[str]) -> None:
    plain, fenced = figures(shown.stdout, "longest gap without a lasting write")
    assert float(plain.replace(",", "")) > 5000
    assert float(fenced.replace(",", "")) < 400 * times_slower()
    assert figures(shown.stdout, "outcome unknown to the application")[1] == "0"
    assert figures(shown.stdout, "full resynchronisations")[1] == "0"


def test_the_timeline_tells_the_order(shown: subprocess.CompletedProcess[str]) -> None:
    steps = ["acknowledges no more writes", "is a replica now", "SENTINEL FAILOVER, to", "is a master", TOLD]
    timeline = shown.stdout[shown.stdout.index("What our run did") :]
    places = [timeline.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)
    stopped = [line for line in timeline.splitlines() if line.startswith(" | ")]
    # On a busy machine the last answer reaches its writer when the next lines are written already.
    assert timeline.find("acknowledges no more writes") < timeline.index(stopped[0]) + len(stopped[0])
    assert "the first write that lasts" in stopped[-2]
    assert int(re.findall(r"(\d+) ms$", stopped[-1])[0]) < 400 * times_slower()


def test_it_fits_a_terminal_and_is_plain_text(shown: subprocess.CompletedProcess[str]) -> None:
    assert max(len(line) for line in shown.stdout.splitlines()) <= WIDTH
    assert "\033" not in shown.stdout


@pytest.mark.usefixtures("shown")
def test_it_leaves_nothing_behind(temporary: Path) -> None:
    assert list(temporary.iterdir()) == []
    assert command_lines_with(str(temporary)) == []


def test_interrupted_while_ansible_runs_it_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.demo"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        shown = next((line for line in process.stdout if "It asks everybody" in line), None)
        deadline = time.monotonic() + 120
        while not command_lines_with(f"{tmp_path}/redis-ha-ansible-") and time.monotonic() < deadline:
            time.sleep(0.01)
        process.terminate()
    assert shown is not None
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert command_lines_with(str(tmp_path)) == []


def test_a_server_that_does_not_exist_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab.demo", "--server", "redis-1.0"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 1
    assert "redis-1.0" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("result", "flaw", "trouble"),
    [
        ({"failed": True, "msg": "Refused."}, {}, "the module failed: Refused."),
        ({}, {"writes_lost": 1234}, "1,234 acknowledged writes were lost"),
        ({}, {"timed_out": True}, "the writers ended before the run did"),
        ({}, {"denied_but_present": 1}, "writes that were refused are there, so the count cannot be trusted"),
    ],
)
def test_what_makes_it_fail(result: dict[str, Any], flaw: dict[str, Any], trouble: str) -> None:
    assert find_troubles({}, FLAWLESS) == []
    assert find_troubles(result, replace(FLAWLESS, **flaw)) == [trouble]
