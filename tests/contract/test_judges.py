# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the judges look at, and with which versions; and what is told where one of them cannot look."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tools import check, sanity
from tools.matrix import CASES, Case
from tools.sanity import Core, ends

from lab.errors import NotToBeHadError

ROOT = Path(__file__).resolve().parents[2]
MISSING = NotToBeHadError("there is no such Python")


def test_sanity_takes_the_oldest_core_that_is_promised_and_the_newest_that_is_supported() -> None:
    oldest, newest = ends(CASES)
    promised = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]
    assert promised == f">={oldest.version}.0"
    assert newest.version == next(case.core for case in reversed(CASES) if not case.information)


def test_versions_are_numbers_and_what_is_there_for_information_is_no_end() -> None:
    cases = (Case("3.9", "2.9"), Case("3.12", "2.21"), Case("3.13", "2.21"), Case("3.13", "2.20"))
    assert ends((*cases, Case("3.14", "2.22", information=True))) == (
        Core("2.9", ("3.9",)),
        Core("2.21", ("3.12", "3.13")),
    )


@pytest.mark.parametrize(
    ("in_use", "taken"),
    [
        pytest.param("3.12", "3.12", id="the one in use"),
        pytest.param("3.11", "3.13", id="one that Debian has"),
    ],
)
def test_a_core_runs_with_the_python_in_use_if_it_may(in_use: str, taken: str) -> None:
    assert Core("2.21", ("3.12", "3.13")).python(in_use) == taken


@pytest.mark.parametrize("ci", [False, True], ids=["elsewhere", "in CI"])
def test_a_core_that_cannot_be_had_is_left_out_in_words_and_fails_in_ci(
    ci: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true" if ci else "")
    program = tmp_path / "judge.py"
    program.write_text(
        "import sys\nfrom pathlib import Path\nfrom lab.errors import NotToBeHadError\nfrom tools import sanity\n"
        f"def judge(*_words):\n    raise NotToBeHadError({str(MISSING)!r})\n"
        "sanity.judge = judge\n"
        "sys.exit(not sanity.passes(sanity.Core('2.21', ('3.13',)), Path('archive'), ()))\n"
    )
    monkeypatch.setitem(check.JUDGES, "sanity", ((sys.executable, str(program)),))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    result = check.run_judge("sanity")
    assert result.passed is not ci
    assert str(MISSING) in result.output
    told = f"ansible-core 2.21: {MISSING}; then, or on another machine: make sanity"
    assert result.left_out == (() if ci else (told,))
    assert ("left out of sanity: " in str(result)) is not ci


def test_judges_compile_each_text_once_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    program = (
        "import os, pathlib, sys\n"
        f"pathlib.Path({str(told)!r}).write_text(os.environ['LAB_COMPILED'])\n"
        "sys.exit('sitecustomize' not in sys.modules or not os.path.isdir(os.environ['LAB_COMPILED']))\n"
    )
    monkeypatch.setitem(check.JUDGES, "sanity", ((sys.executable, "-c", program),))
    (result,) = check.run_judges(["sanity"])
    assert result.passed
    assert not Path(told.read_text()).exists()


def test_every_script_of_bash_is_judged() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    scripts = {
        name
        for name in filter(None, listed.split("\0"))
        # Ansible fills in templates before there is a script.
        if "/templates/" not in name and (ROOT / name).is_file() and _runs_in_a_shell(ROOT / name)
    }
    assert scripts == set(check.SCRIPTS)


def _runs_in_a_shell(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline()
    return first.startswith(b"#!") and first.rstrip().endswith(b"sh")


def test_the_words_for_ansible_test_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def judge(core: Core, archive: Path, words: list[str]) -> int:
        assert archive.is_file()
        asked.append((core.version, words))
        return 0

    monkeypatch.setattr(sanity, "judge", judge)
    oldest, newest = (core.version for core in ends(CASES))
    assert sanity.main(["--only", newest, "--", "--test", "pylint"]) == 0
    assert sanity.main([]) == 0
    assert asked == [(newest, ["--test", "pylint"]), (oldest, []), (newest, [])]
