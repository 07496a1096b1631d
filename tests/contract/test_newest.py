# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all tests try the newest Python and ansible-core with, and what is told where they cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from tools import newest
from tools.matrix import CASES, Case

from lab.errors import LEFT_OUT_FILE, NotToBeHadError

MISSING = NotToBeHadError("there is no such Python")


def test_it_is_the_newest_that_is_supported() -> None:
    def numbers(case: Case) -> tuple[list[int], list[int]]:
        return [int(part) for part in case.python.split(".")], [int(part) for part in case.core.split(".")]

    assert max((case for case in CASES if not case.information), key=numbers) == newest.NEWEST


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of what was run, without running it; pytest ends with 5."""
    words: list[list[str]] = []

    def run(command: list[str | Path], **_options: object) -> subprocess.CompletedProcess[str]:
        words.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, 5)

    monkeypatch.setattr(subprocess, "run", run)
    return words


def test_pytest_runs_with_it_and_ends_it(ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "environment_of_tests", lambda _case, _log: tmp_path)
    assert newest.main(["tests/unit", "-x"]) == 5
    assert ran == [[str(tmp_path / "bin" / "python"), "-m", "pytest", "tests/unit", "-x"]]


@pytest.mark.parametrize("ci", [False, True], ids=["elsewhere", "in CI"])
def test_without_it_the_python_in_use_does_it_and_in_ci_it_fails(
    ci: bool, ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_case: Case, _log: Path) -> NoReturn:
        raise MISSING

    told = tmp_path / "left out"
    monkeypatch.setenv("CI", "true" if ci else "")
    monkeypatch.setenv(LEFT_OUT_FILE, str(told))
    monkeypatch.setattr(newest, "environment_of_tests", missing)
    if ci:
        assert newest.main(["tests/unit"]) == 1
        assert not ran
        return
    assert newest.main(["tests/unit"]) == 5
    assert ran == [[str(Path(sys.prefix) / "bin" / "python"), "-m", "pytest", "tests/unit"]]
    assert str(MISSING) in told.read_text()
