# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the pages say to type after `make` reaches a program, which understands it.

Each line is typed into a shell, and the real make runs. In place of the programs are some that write down what they are called with. It is then held
against the programs themselves: that the options are theirs, that the judges and suites exist, and that the tests which are asked for exist.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tools import check, matrix

from bench.__main__ import _parser as bench_parser
from bench.clients import _parser as clients_parser
from bench.ways import supports
from lab.__main__ import _parser as lab_parser
from lab.make import checkout_for_make, environment_of_make, recorded, recording
from lab.modules import CHECKOUT
from lab.pages import PAGES, blocks
from lab.servers import known_specs

IN_BLOCKS = [command for block in blocks() for command in block.commands if command.startswith("make ")]
IN_SENTENCES = [
    command for page in PAGES for command in re.findall(r"`(make [a-z][^`]*)`", (CHECKOUT / page).read_text())
]
COMMANDS = sorted({*IN_BLOCKS, *IN_SENTENCES})
PROGRAMS = ("python", "pytest")


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[list[str]]]:
    """What each command has called."""
    calls = {}
    for number, command in enumerate(COMMANDS):
        folder = tmp_path_factory.mktemp(f"make-{number}-")
        checkout = checkout_for_make(folder, recording(folder / "calls", *PROGRAMS))
        subprocess.run(
            ["bash", "-c", command], cwd=checkout, env=environment_of_make(), check=True, stdout=subprocess.DEVNULL
        )
        calls[command] = recorded(folder / "calls")
    return calls


def understood_by_check(words: list[str]) -> None:
    names, _dashes, handed_on = " ".join(words).partition(" --")
    for name in names.split():
        assert name in (*check.JUDGES, *check.SUITES, "judges")
    if names == "molecule":
        for _option, scenario in re.findall(r"(-s|--scenario-name) (\S+)", handed_on):
            assert (CHECKOUT / "molecule" / scenario / "molecule.yml").exists()
    elif handed_on.strip():
        collected(check.command_of(names, words[words.index("--") + 1 :]))


def collected(command: tuple[str, ...]) -> None:
    """Some tests are run, and not all of the suite."""
    begun = next(words for words in (("pytest",), ("python", "-m", "tools.newest")) if command[: len(words)] == words)
    words = [word for word in command[len(begun) :] if not word.startswith("--numprocesses")]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--collect-only", "-qq"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    files = set(re.findall(r"^(tests/\S+?\.py)\b", ran.stdout, re.MULTILINE))
    named = {word for word in words if word.endswith(".py")}
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert files
    assert not named or files == named


def understood_by_matrix(words: list[str]) -> None:
    if words and words != ["--ends"]:
        option, text = words
        assert option == "--only"
        assert any(text in case.label for case in matrix.CASES)


def understood_by_bench(words: list[str]) -> None:
    options = bench_parser().parse_args(words)
    for server in options.servers:
        assert server in known_specs()
        assert all(supports(server, strategy) for strategy in options.strategies), f"{words} measures less than it says"


UNDERSTOOD_BY: Mapping[tuple[str, ...], Callable[[list[str]], object]] = {
    ("tests/tools/check.py",): understood_by_check,
    ("tests/tools/matrix.py",): understood_by_matrix,
    ("-m", "bench"): understood_by_bench,
    ("-m", "bench.clients"): lambda words: clients_parser().parse_args(words),
    ("-m", "lab"): lambda words: lab_parser().parse_args(words),
}


def program_of(call: list[str]) -> tuple[str, ...]:
    return tuple(call[1:3] if call[1] == "-m" else call[1:2])


@pytest.mark.parametrize("command", COMMANDS)
def test_it_reaches_a_program_that_understands_it(command: str, typed: Mapping[str, list[list[str]]]) -> None:
    if command == "make help":
        assert typed[command] == []
        return
    setup, *calls = typed[command]
    assert setup[0] == "setup.sh", "set-up comes first"
    assert setup[1:] in (["run"], ["dev"])
    if command == "make setup":
        assert calls == []
        return
    (call,) = calls
    program = program_of(call)
    path = Path("tests", *program[-1].split("."))
    assert any((CHECKOUT / file).exists() for file in (program[-1], path, path.with_suffix(".py"))), call
    if program in UNDERSTOOD_BY:
        UNDERSTOOD_BY[program](call[1 + len(program) :])


def test_the_demonstration_needs_no_more_than_what_runs_it(typed: Mapping[str, list[list[str]]]) -> None:
    for command in ("make demo", 'make lab ARGS="--base-port 7000"'):
        assert typed[command][0] == ["setup.sh", "run"]


@pytest.mark.parametrize("suite", ["unit", "coverage"])
def test_a_named_test_takes_the_place_of_the_folder(suite: str) -> None:
    command = check.command_of(suite, ["tests/unit/test_plan.py"])
    assert [word for word in command if word.startswith("tests/")] == ["tests/unit/test_plan.py"]
