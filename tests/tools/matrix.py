# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests the collection with every ansible-core, Python and redis-py that it supports, and writes down how that ended.

    make matrix                       all of them
    make matrix ARGS="--only 2.16"    those whose label holds this text
    make matrix ARGS=--ends           the oldest and the newest of those that are supported
    make matrix ARGS=--list           what there is

A line that was run takes the place of its older one on docs/versions.md, so a run can be made in parts, and lines that one machine cannot
have can be run on another. It names the commit that was tested.

The oldest and the newest line run the unit tests once more, as others do: by ansible-test units, on what git tracks.

Interpreters are Debian's, unpacked below .cache/interpreters: no root, nothing of the machine's own. Debian has no Python 3.12; one on PATH
or of pyenv is used, and without it those lines are left out.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import NotToBeHadError
from lab.interpreters import interpreter, make_environment, run_logged
from lab.tracked import copy_tracked, git

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "matrix"
PAGE = ROOT / "docs" / "versions.md"
MARK = "<!-- written by tests/tools/matrix.py -->"

# What the tests themselves need; the versions of ansible-core and redis-py come from the case.
TEST_TOOLS = (
    "pytest>=9,<10",
    "pytest-cov>=7,<8",
    "pytest-timeout",
    "pytest-xdist",
    "PyYAML",
    "cryptography",
    "ansible-runner",
    "jinja2",
    "markdown-it-py",
)
# Enough of the integration tests to see that modules and plugins work with real servers.
CORE = (
    "tests/integration/modules/test_topology_info.py",
    "tests/integration/modules/test_failover.py",
    "tests/integration/inventory",
    "tests/integration/lookup",
)
OF_TOOLS = ("test_artifact.py", "test_docs_site.py", "test_release.py")
"""Contract tests of what judges, shows and releases the collection: their tools come with one ansible-core, that of the set-up."""
CONTRACT = tuple(
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "tests" / "contract").glob("test_*.py"))
    if path.name not in OF_TOOLS
)
NEWEST = ">=6.1,<9"
SUITES: tuple[tuple[str, ...], ...] = (("tests/unit",), CONTRACT, ("--dist=loadfile", *CORE))
"""What a case runs, in this order: what is about servers is about time, too."""


@dataclass(frozen=True)
class Case:
    """One line of the matrix. `redis_py` is what modules and plugins load; the tests themselves always use the newest.

    redis-py 3.5 cannot be imported by Python 3.12 and later.
    """

    python: str
    core: str
    redis_py: str = NEWEST
    information: bool = False

    @property
    def label(self) -> str:
        return f"python-{self.python} ansible-core-{self.core} redis-py-{'newest' if self.redis_py == NEWEST else self.redis_py}"

    @property
    def cells(self) -> tuple[str, str, str]:
        """What names it in the table."""
        redis_py = "newest" if self.redis_py == NEWEST else self.redis_py
        return f"{self.core}{' (for information)' if self.information else ''}", self.python, redis_py

    @property
    def core_requirement(self) -> str:
        return f"ansible-core>={self.core}.0{'b1' if self.information else ''},=={self.core}.*"

    @property
    def redis_requirement(self) -> str:
        return f"redis{self.redis_py}" if self.redis_py == NEWEST else f"redis=={self.redis_py}.*"


CASES = (
    Case("3.11", "2.16", "3.5.3"),
    Case("3.11", "2.18", "4.3.4"),
    Case("3.11", "2.19", "6.1"),
    Case("3.11", "2.19"),
    Case("3.12", "2.20"),
    Case("3.12", "2.21"),
    Case("3.13", "2.20"),
    Case("3.13", "2.21", "4.3.4"),
    Case("3.14", "2.20"),
    Case("3.14", "2.21"),
    Case("3.14", "2.22", information=True),
)
ENDS = (CASES[0], next(case for case in reversed(CASES) if not case.information))
"""The oldest and the newest that is supported."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended: `passed`, `failed` or `left out`, and why; and what was tested."""

    case: Case
    ended: str
    detail: str
    seconds: float = 0.0
    commit: str = ""


def commit_here() -> str:
    """The commit that lies here, and whether more than the table has changed since."""
    changed = git(ROOT, "status", "--porcelain", "--", ".", f":(exclude){PAGE.relative_to(ROOT)}")
    return git(ROOT, "rev-parse", "--short=10", "HEAD") + (" and changes" if changed else "")


def environment_of(case: Case, log: Path) -> tuple[Path, Path]:
    """The environment that the tests run in, and the one that modules run in.

    Raises:
        NotToBeHadError: One of them cannot be had.
    """
    tests = environment_of_tests(case, log)
    modules = CACHE / "environments" / f"modules-{case.python}-{case.core}-{case.redis_requirement}"
    make_environment((case.core_requirement, case.redis_requirement), modules, interpreter(case.python, log), log)
    return tests, modules


def environment_of_tests(case: Case, log: Path) -> Path:
    """The environment that the tests run in.

    Raises:
        NotToBeHadError: It cannot be had.
    """
    folder = CACHE / "environments" / f"tests-{case.python}-{case.core}"
    requirements = (case.core_requirement, f"redis{NEWEST}", *TEST_TOOLS)
    make_environment(requirements, folder, interpreter(case.python, log), log)
    return folder


def variables(tests: Path, modules: Path) -> dict[str, str]:
    """What tests find in their environment: the programs of one, and the Python of the other, which Ansible and the modules run with."""
    return {
        "PATH": os.pathsep.join([str(tests / "bin"), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / ".cache" / "collections")]),
        "REDIS_HA_LAB_PYTHON": str(modules / "bin" / "python"),
    }


def judge(case: Case) -> Outcome:
    """Makes the environments of a case and runs the tests in them."""
    log = CACHE / "logs" / f"{case.label.replace(' ', '_')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    started, commit = time.monotonic(), commit_here()
    try:
        tests, modules = environment_of(case, log)
    except NotToBeHadError as error:
        return Outcome(case, "left out", str(error), commit=commit)
    environment = variables(tests, modules)
    pytest = (tests / "bin" / "python", "-m", "pytest", "-q", "--numprocesses=2")
    codes = [run_logged([*pytest, *words], log, environment) for words in SUITES]
    detail = counted(log.read_text()) or f"no test ran, see {log.relative_to(ROOT)}"
    if case in ENDS:
        by_others = log.with_suffix(".units.log")
        codes.append(run_units(case.python, tests, by_others))
        detail += f"; by ansible-test units {counted(by_others.read_text()) or f'no test ran, see {by_others.relative_to(ROOT)}'}"
    seconds = time.monotonic() - started
    return Outcome(case, "failed" if any(codes) else "passed", detail, seconds, commit)


def run_units(python: str, tests: Path, log: Path, *words: str) -> int:
    """Runs `ansible-test units` on a copy of what git tracks, where ansible-test wants a collection; its exit code.

    Args:
        python: The version of the Python that the tests run with.
        tests: The environment that holds it, ansible-test and what the tests need.
        log: The file for what it prints.
        words: Further words for ansible-test, for example the tests that are wanted.
    """
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="units-") as folder:
        target = Path(folder) / "ansible_collections" / "redis_ha" / "sentinel"
        copy_tracked(target)
        environment = {
            "PATH": os.pathsep.join([str(tests / "bin"), os.environ.get("PATH", os.defpath)]),
            # These are set for the ansible-core of this checkout.
            "ANSIBLE_HOME": str(Path(folder) / "home"),
            "ANSIBLE_COLLECTIONS_PATH": folder,
            "PYTHONPATH": "",
        }
        command: list[str | Path] = [
            tests / "bin" / "ansible-test",
            "units",
            "--local",
            "--python",
            python,
            "--color",
            "no",
            *words,
        ]
        return run_logged(command, log, environment, folder=target)


def counted(text: str) -> str:
    """What the closing lines of pytest say together; nothing if there is none."""
    lines = r"^(?=.*\b(?:passed|failed|errors?)\b)=* ?(.*) in [0-9.]+s.*$"
    closing = re.findall(lines, text, re.MULTILINE)
    counts: Counter[str] = Counter()
    for number, word in re.findall(r"(\d+) (\w+)", "\n".join(closing)):
        counts[word.removesuffix("s") if word.startswith("error") else word] += int(number)
    return ", ".join(f"{number} {word}" for word, number in counts.items())


def row(outcome: Outcome) -> str:
    """An outcome as a row of the table."""
    cells = (*outcome.case.cells, time.strftime("%Y-%m-%d"), outcome.commit, f"{outcome.ended}: {outcome.detail}")
    return f"| {' | '.join(cells)} |"


def table(outcomes: Sequence[Outcome], older: str) -> list[str]:
    """The outcomes as a table of the documentation; cases that were not run now keep the row that they have in the older table."""
    known = {tuple(cell.strip() for cell in line.split("|")[1:4]): line for line in older.splitlines()}
    for outcome in outcomes:
        # What cannot be had here may have been run elsewhere.
        if outcome.ended != "left out" or "| passed: " not in known.get(outcome.case.cells, ""):
            known[outcome.case.cells] = row(outcome)
    rows = [known.get(case.cells, f"| {' | '.join(case.cells)} | | | not run yet |") for case in CASES]
    return ["| ansible-core | Python | redis-py | run | commit | |", "|---|---|---|---|---|---|", *rows]


def write_page(outcomes: Sequence[Outcome]) -> None:
    """Puts the table under its mark on the page."""
    head, _mark, older = PAGE.read_text().partition(MARK)
    PAGE.write_text(f"{head}{MARK}\n\n" + "\n".join(table(outcomes, older)) + "\n")


def main(words: Sequence[str]) -> int:
    """Runs the cases one after the other; 0 if all that could be run passed, but for those that are for information."""
    parser = argparse.ArgumentParser(prog="matrix.py", description="Tests the collection with every supported version.")
    parser.add_argument("--only", metavar="TEXT", help="cases whose label holds this text")
    parser.add_argument("--ends", action="store_true", help="the oldest and the newest that is supported")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    options = parser.parse_args(words)
    cases = [case for case in (ENDS if options.ends else CASES) if options.only is None or options.only in case.label]
    if options.list or not cases:
        print("\n".join(case.label for case in CASES))
        return 0 if options.list else 2
    outcomes = []
    for case in cases:
        outcomes.append(judge(case))
        print(
            f"{outcomes[-1].ended:9} {case.label:55} {outcomes[-1].seconds:6.1f} s  {outcomes[-1].detail}", flush=True
        )
    write_page(outcomes)
    missing_counts = os.environ.get("CI") == "true"
    bad = {"failed", "left out"} if missing_counts else {"failed"}
    return int(any(outcome.ended in bad and not outcome.case.information for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
