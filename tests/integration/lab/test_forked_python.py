# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Python whose programs are forks of a process that has loaded what modules import: to those who start it, it is Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.forked_python import VARIABLE


def run_in_shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A shell in which LAB_PYTHON is such a Python."""
    command = [sys.executable, "-m", "lab.forked_python", "sh", "-c", script.replace("PYTHON", f"${VARIABLE}")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_file_has_its_arguments_the_folder_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import os, sys; print(__name__, sys.argv, os.getcwd(), os.environ['ASKED'])")
    ran = run_in_shell("ASKED=yes PYTHON program.py one two", tmp_path)
    assert ran.stdout == f"__main__ ['program.py', 'one', 'two'] {tmp_path} yes\n", ran.stderr


def test_a_program_may_come_on_standard_input(tmp_path: Path) -> None:
    ran = run_in_shell("echo 'import sys, __main__; print(sys.argv, __name__)' | PYTHON", tmp_path)
    assert ran.stdout == "[''] __main__\n", ran.stderr


def test_a_module_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text('{"a": 1}')
    ran = run_in_shell("PYTHON -m json.tool --compact answer.json", tmp_path)
    assert ran.stdout == '{"a":1}\n', ran.stderr


@pytest.mark.parametrize(
    ("program", "code", "told"),
    [
        ("pass", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ('raise SystemExit("no")', 1, "no\n"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 1, ""),
    ],
    ids=["well", "with a code", "with a word", "with an error", "killed"],
)
def test_its_end_is_told(program: str, code: int, told: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program)
    ran = run_in_shell("PYTHON program.py", tmp_path)
    assert ran.returncode == code
    assert told in ran.stderr


def test_it_waits_for_its_own_processes_and_tidies_up(tmp_path: Path) -> None:
    program = """
import atexit, subprocess
atexit.register(print, "tidied up", flush=True)
print(subprocess.run(["sh", "-c", "exit 5"]).returncode, flush=True)
"""
    (tmp_path / "program.py").write_text(program)
    assert run_in_shell("PYTHON program.py", tmp_path).stdout == "5\ntidied up\n"


def test_modules_are_loaded_already_and_one_program_does_not_see_another(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys; print('redis' in sys.modules, hasattr(sys, 'mark')); sys.mark = 1"
    )
    assert run_in_shell("PYTHON program.py; PYTHON program.py", tmp_path).stdout == "True False\n" * 2
