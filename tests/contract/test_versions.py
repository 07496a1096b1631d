# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page on versions has what the matrix ran last, wherever it was run."""

from __future__ import annotations

from tools.matrix import CASES, MARK, PAGE, Outcome, counted, table

FIRST, SECOND = CASES[:2]


def rows(*outcomes: Outcome, older: list[str]) -> list[str]:
    return table(outcomes, "\n".join(older))


def test_a_case_that_was_run_takes_the_place_of_its_older_row_and_the_others_stay() -> None:
    before = rows(Outcome(FIRST, "failed", "1 failed"), Outcome(SECOND, "passed", "2 passed"), older=[])
    after = rows(Outcome(FIRST, "passed", "3 passed"), older=before)
    assert len(before) == len(after) == 2 + len(CASES)
    assert "passed: 3 passed" in after[2]
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
