# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page on versions has what the matrix ran last, wherever it was run; and what a line of it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml
from tools import matrix
from tools.matrix import CASES, ENDS, MARK, PAGE, Case, Outcome, commit_here, counted, run_units, table

from lab.modules import CHECKOUT
from lab.tracked import copy_tracked, git

FIRST, SECOND = CASES[:2]


def rows(*outcomes: Outcome, older: list[str]) -> list[str]:
    return table(outcomes, "\n".join(older))


def test_a_case_that_was_run_takes_the_place_of_its_older_row_and_the_others_stay() -> None:
    before = rows(Outcome(FIRST, "failed", "1 failed"), Outcome(SECOND, "passed", "2 passed"), older=[])
    after = rows(Outcome(FIRST, "passed", "3 passed", commit="0123456789"), older=before)
    assert len(before) == len(after) == 2 + len(CASES)
    assert after[2].endswith("| 0123456789 | passed: 3 passed |")
    assert after[3:] == before[3:]
    assert after[-1].endswith("| not run yet |")


def test_what_cannot_be_had_here_does_not_hide_that_it_passed_elsewhere() -> None:
    missing = Outcome(FIRST, "left out", "there is no such Python")
    passed, failed = (rows(Outcome(FIRST, ended, "as it was"), older=[]) for ended in ("passed", "failed"))
    assert rows(missing, older=passed) == passed
    assert "left out: there is no such Python" in rows(missing, older=failed)[2]


def test_a_row_has_what_all_its_suites_say_together() -> None:
    logs = {
        "1 failed, 2902 passed in 118.93s (0:01:58)\n+ pytest again\n44 passed, 2 errors in 94.66s\n": "1 failed, 2946 passed, 2 error",
        "=== 44 passed in 94.66s (0:01:34) ===\n2 failed in 3.00s\n": "44 passed, 2 failed",
    }
    for text, said in logs.items():
        assert counted(text) == said
    assert counted("Collecting pytest in 3.00s\n") == ""


def test_the_page_names_every_case_and_none_that_is_gone() -> None:
    shown = PAGE.read_text().partition(MARK)[2].strip().splitlines()
    assert rows(older=shown) == shown


def test_the_commit_that_is_tested_is_named_and_what_has_changed_since_but_for_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    copy_tracked(checkout)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(
        checkout, "-c", "user.name=Somebody", "-c", "user.email=it@example.org", "commit", "--quiet", "--message", "All"
    )
    monkeypatch.setattr(matrix, "ROOT", checkout)
    monkeypatch.setattr(matrix, "PAGE", checkout / PAGE.relative_to(CHECKOUT))
    commit = commit_here()
    assert git(checkout, "rev-parse", "HEAD").startswith(commit)
    matrix.PAGE.write_text("A line was run.\n")
    assert commit_here() == commit
    (checkout / "README.md").write_text("Unfinished.\n")
    assert commit_here() == f"{commit} and changes"


def test_the_ends_are_the_oldest_and_the_newest_that_are_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    oldest, newest = ENDS
    promised = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text())["requires_ansible"]
    assert promised == f">={oldest.core}.0"
    assert newest.core == max(
        (case.core for case in CASES if not case.information), key=lambda core: [int(part) for part in core.split(".")]
    )
    run: list[Case] = []

    def judged(case: Case) -> Outcome:
        run.append(case)
        return Outcome(case, "passed", "1 passed")

    monkeypatch.setattr(matrix, "judge", judged)
    monkeypatch.setattr(matrix, "write_page", lambda outcomes: None)
    assert matrix.main(["--ends"]) == 0
    assert run == [oldest, newest]


def test_ansible_test_finds_the_unit_tests_and_runs_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    in_use = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert run_units(in_use, Path(sys.prefix), log, "tests/unit/test_lines.py") == 0, log.read_text()
    assert counted(log.read_text()).endswith(" passed")
    assert run_units(in_use, Path(sys.prefix), log, "tests/unit/no_such_test.py") != 0
