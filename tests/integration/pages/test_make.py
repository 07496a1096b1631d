# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What CONTRIBUTING.md says to type for a part of a suite runs this part, and nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from lab import find_server
from lab.make import REAL, checkout_for_make, environment_of_make
from lab.pages import command_of_a_page


def closing_line(command: str, folder: Path) -> str:
    """Types the command; what pytest says at the end."""
    # What the tests that type it are run by is no matter of theirs.
    inherited = {name: value for name, value in environment_of_make().items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        ["bash", "-c", command],
        cwd=checkout_for_make(folder, REAL),
        env={**inherited, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    (line,) = [line for line in ran.stdout.splitlines() if re.search(r" in \d+\.\d+s\b", line)]
    return line.strip("= ")


def test_some_of_the_unit_tests(tmp_path: Path) -> None:
    line = closing_line(command_of_a_page('make unit ARGS="-k plan -x"'), tmp_path)
    assert re.match(r"\d+ passed in ", line), line


def test_some_of_the_integration_tests(tmp_path: Path) -> None:
    find_server("redis-7.0")
    command = command_of_a_page("make integration")
    line = closing_line(command, tmp_path)
    assert re.match(r"[1-9] passed in ", line), line
