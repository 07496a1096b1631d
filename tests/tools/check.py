# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs judges (what others say about the code) and suites (what our own tests say), and closes with a table.

    check.py sanity lint          the named ones
    check.py judges               all judges
    check.py judges unit          all judges and one suite
    check.py unit -- -k plan -x   words after -- are handed to pytest, or to Molecule

A judge is quiet unless it fails; a suite shows pytest's own output. All of them run, even after one has failed. Suites that measure no time run
while judges do, the others one after the other.

What this machine has not and cannot get leaves out a suite, tests of one, or a part of a judge: the closing lines say what, and what would bring
it. Where CI=true, what is missing is a failure.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from lab import compiled
from lab.engine import lacking
from lab.errors import LEFT_OUT_FILE

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ".cache/collections/ansible_collections/redis_ha/sentinel"

# All that Bash runs; tests/contract/test_judges.py holds them against the checkout.
SCRIPTS = (".ci/run", "molecule/failover/files/state.sh", "tests/tools/setup.sh")

Command = tuple[str, ...]

# Each judge passes when all of its commands do.
JUDGES: dict[str, tuple[Command, ...]] = {
    "sanity": (("python", "tests/tools/sanity.py"),),
    "lint": (("ansible-lint", "--offline", "--profile", "production", "--nocolor"),),
    "docs": (
        ("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "all", "."),
        ("python", "tests/tools/docs_site.py"),
    ),
    "types": (("mypy", "--no-color-output", f"{COLLECTION}/plugins", "tests"),),
    "style": (
        ("ruff", "check", "--output-format", "concise"),
        ("ruff", "format", "--check", "--diff", "--quiet"),
        ("shellcheck", "--color=never", "--format=gcc", *SCRIPTS),
    ),
    # What runs on managed hosts uses nothing that Python 3.9 lacks.
    "floor": (("vermin", "--target=3.9-", "--violations", "--no-tips", "plugins"),),
    "changelog": (("antsibull-changelog", "lint"),),
    "licences": (("python", "tests/tools/licences.py"),),
    "artifact": (("python", "tests/tools/artifact.py"),),
}

# Each suite is a command; words after -- are added to it.
SUITES: dict[str, Command] = {
    "unit": ("pytest", "tests/unit", "--numprocesses=2"),
    # The same with the newest Python: fails where it reaches less of what decides than pyproject.toml demands.
    "coverage": ("python", "-m", "tools.newest", "tests/unit", "--numprocesses=2", "--cov", "--cov-report="),
    "contract": ("pytest", "tests/contract", "--numprocesses=2"),
    # Some of its time is waiting for servers. Which tests share a process, and which begin first, says its conftest.py.
    "integration": ("pytest", "tests/integration", "--numprocesses=6"),
    "molecule": ("python", "tests/tools/scenarios.py"),
}
# They start no server and measure no time, and nothing in them comes too late because the machine is busy.
BESIDE_JUDGES = ("unit", "coverage", "contract")
# What a suite as a whole cannot do without: in words what is missing, empty if nothing is. Other tests look for themselves.
NEEDS: dict[str, Callable[[], str]] = {"molecule": lacking}


@dataclass(frozen=True)
class Result:
    """How one judge or suite ended, and what was left out of it, in words."""

    name: str
    passed: bool
    seconds: float
    output: str = ""
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.name:<12} {self.seconds:6.1f} s" + "".join(
            f"\n        left out of {self.name}: {text}" for text in self.left_out
        )


def shorten_paths(text: str) -> str:
    """Names files as they are named in the checkout, where a judge saw them through a symlink or in a copy."""
    return re.sub(r"[^\s:'\"]*ansible_collections/redis_ha/sentinel/", "", text)


_running: set[subprocess.Popen[str]] = set()
_asked_to_end: list[int] = []


def ask_to_end(number: int, _frame: object) -> None:
    """What runs is asked to end, and waited for; nothing more is begun."""
    _asked_to_end.append(number)
    # An interrupt from the keyboard has reached it already. It is what pytest undoes its fixtures after; another signal just ends it.
    if number != signal.SIGINT:
        for process in list(_running):
            process.send_signal(signal.SIGINT)


def run_command(command: Sequence[str], environment: Mapping[str, str], *, kept: bool) -> tuple[int, str]:
    """Runs a command in full view, or keeps what it prints; its exit code and that."""
    if _asked_to_end:
        return 1, "not run"
    output, errors = (subprocess.PIPE, subprocess.STDOUT) if kept else (None, None)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors, text=True) as process:
        _running.add(process)
        if _asked_to_end:
            process.send_signal(signal.SIGINT)
        text, _no_errors = process.communicate()
        _running.discard(process)
    return process.returncode, text or ""


def run_judge(name: str, inherited: Mapping[str, str] = os.environ) -> Result:
    """Runs the commands of a judge, and keeps what they print. They write what they leave out to a file that the environment names."""
    started = time.monotonic()
    passed, output = True, ""
    with tempfile.NamedTemporaryFile("r", prefix="left-out-") as lines:
        for command in JUDGES[name]:
            code, text = run_command(command, {**inherited, LEFT_OUT_FILE: lines.name}, kept=True)
            passed = passed and code == 0
            output += shorten_paths(text)
        left_out = tuple(f"{text}; {elsewhere(name)}" for text in lines.read().splitlines())
    return Result(name, passed, time.monotonic() - started, output, left_out)


def run_judges(names: list[str]) -> list[Result]:
    """Runs judges side by side, and tells about each as soon as it has ended."""
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="compiled-") as folder,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
    ):
        # ansible-lint alone begins Ansible for each playbook.
        environment = compiled.beside(os.environ, Path(folder))
        for future in as_completed([pool.submit(run_judge, name, environment) for name in names]):
            result = future.result()
            if not result.passed:
                print(f"---- {result.name} ----\n{result.output.rstrip()}", flush=True)
            print(result, flush=True)
            results.append(result)
    return sorted(results, key=lambda result: names.index(result.name))


def elsewhere(name: str) -> str:
    """What brings what was left out."""
    return f"then, or on another machine: make {name}"


def command_of(name: str, more_words: Sequence[str]) -> Command:
    """The command of a suite with more words; tests that they name take the place of the whole folder."""
    folder = next(word for word in SUITES[name] if word.startswith("tests/"))
    named = any(word.startswith(f"{folder}/") for word in more_words)
    return (*(word for word in SUITES[name] if not (named and word == folder)), *more_words)


def run_suite(name: str, more_words: list[str]) -> Result:
    """Runs one suite, in full view; or leaves it out where this machine has not what it needs."""
    print(f"---- {name} ----", flush=True)
    missing = NEEDS[name]() if name in NEEDS else ""
    if missing:
        told = f"all of it: {missing}; {elsewhere(name)}"
        result = Result(name, os.environ.get("CI") != "true", 0.0, left_out=(told,))
        print(result, flush=True)
        return result
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("r", prefix="left-out-") as lines:
        environment = {**os.environ, LEFT_OUT_FILE: lines.name}
        code, _shown = run_command(command_of(name, more_words), environment, kept=False)
        left_out = Counter(lines.read().splitlines())
    told_of = tuple(
        f"{number} test{'s' * (number > 1)}: {text}; {elsewhere(name)}" for text, number in left_out.items()
    )
    return Result(name, code == 0, time.monotonic() - started, left_out=told_of)


def run_all(wanted: Sequence[str], more_words: list[str]) -> list[Result]:
    """Runs judges and suites, each as soon as it may."""
    suites = [name for name in SUITES if name in wanted]
    with ThreadPoolExecutor(max_workers=1) as pool:
        judged = pool.submit(run_judges, [name for name in JUDGES if name in wanted])
        beside = [run_suite(name, more_words) for name in suites if name in BESIDE_JUDGES]
        results = judged.result() + beside
    return results + [run_suite(name, more_words) for name in suites if name not in BESIDE_JUDGES]


def main(words: list[str]) -> int:
    """Runs what is named; 0 if all of it passes."""
    names, more_words = words, []
    if "--" in words:
        names, more_words = words[: words.index("--")], words[words.index("--") + 1 :]
    wanted = [known for name in names for known in (JUDGES if name == "judges" else (name,))]
    unknown = [name for name in wanted if name not in JUDGES and name not in SUITES]
    if unknown or not wanted:
        print(f"usage: check.py judges|{'|'.join((*JUDGES, *SUITES))} ... [-- pytest's words]", file=sys.stderr)
        return 2

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask_to_end)
    results = run_all(wanted, more_words)
    if len(results) > 1 or any(result.left_out for result in results):
        print("\n" + "\n".join(str(result) for result in results))
    if _asked_to_end:
        return 128 + _asked_to_end[0]
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
