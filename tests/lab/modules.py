# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the collection's modules as Ansible does: a process of its own that reads its arguments and prints its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import module_forks
from lab.errors import LabError
from lab.machine import HOST_TOO_SLOW
from lab.module_server import ModuleServer

MODULES = module_forks.MODULES
CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTIONS = CHECKOUT / ".cache" / "collections"
_MOST_MOVES = 5
PYTHON = os.environ.get("REDIS_HA_LAB_PYTHON") or sys.executable
"""What modules and Ansible itself run with; another Python than the tests' own in a run of the matrix."""


def modules_that_run() -> list[str]:
    """The names of the modules. The other files beside them only document an action plugin, which does the work."""
    return sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py") if "def main(" in path.read_text())


class RunningModule:
    """A module at work, for tests that do something meanwhile. Ended with the `with` block."""

    def __init__(
        self,
        name: str,
        *,
        python: str = PYTHON,
        environment: Mapping[str, str] | None = None,
        check_mode: bool = False,
        diff: bool = False,
        collections: Path = COLLECTIONS,
        **arguments: Any,
    ) -> None:
        self._arguments = _written(arguments, check_mode=check_mode, diff=diff)
        self.process = subprocess.Popen(
            [python, "-m", f"{MODULES}.{name}", str(self._arguments)],
            env=environment_of_modules(collections, environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> RunningModule:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self._arguments.unlink(missing_ok=True)

    def result(self, timeout_s: float = 120.0) -> dict[str, Any]:
        """Wait for the end; what it printed.

        Raises:
            LabError: It printed no result.
        """
        output, errors = self.process.communicate(timeout=timeout_s)
        self._arguments.unlink(missing_ok=True)
        return _read(output, errors)


def moved_by_program(move: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Move the master; once more, and once more, as long as this machine was too slow to promote in time and left that to Sentinel.

    Args:
        move: Moves it once; its result.
    """
    for _ in range(_MOST_MOVES - 1):
        result = move()
        if not HOST_TOO_SLOW.match(result["promotion_reason"] or ""):
            return result
    return move()


def _written(arguments: Mapping[str, Any], *, check_mode: bool, diff: bool) -> Path:
    """A file rather than a pipe: the module must be able to start before anybody reads or writes."""
    options = {**arguments, "_ansible_check_mode": check_mode, "_ansible_diff": diff}
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump({"ANSIBLE_MODULE_ARGS": options}, file)
    return Path(file.name)


def environment_of_modules(collections: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of this process without what would be taken for options, such as a password."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("REDIS_")}
    return {**inherited, "PYTHONPATH": str(collections), **(more or {})}


def _read(output: str, errors: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError as error:
        raise LabError(f"the module printed no result: {output[-2000:]}{errors[-4000:]}") from error
    # Since ansible-core 2.22 a module hands over what is to be masked, and the controller takes it out of the result (ansible._internal._task).
    result.pop("_ansible_new_secrets", None)
    return result


_quick: ModuleServer | None = None


@contextmanager
def quick_starts() -> Iterator[None]:
    """As long as this lasts, `run_module` and `quick_python` fork a process that has loaded the modules, where they may.

    Hundreds of starts take a part of their time. What is measured, and what is ended on the way, is a process that begins from nothing.
    """
    global _quick
    with ModuleServer(PYTHON, environment_of_modules(COLLECTIONS)) as _quick:
        yield
    _quick = None


def quick_python() -> str:
    """What Ansible runs modules with: as long as `quick_starts` lasts, what makes them forks."""
    return PYTHON if _quick is None else str(_quick.python)


def run_module(name: str, *, timeout_s: float = 120.0, **arguments: Any) -> dict[str, Any]:
    """Run a module to its end; its result, whether it failed or not.

    Args:
        name: The module's name, for example `failover`.
        timeout_s: How many seconds it may take.
        arguments: Its options; besides those `python`, `environment`, `check_mode`, `diff` and `collections`.
    """
    if _quick is None or not arguments.keys().isdisjoint(("python", "collections")):
        with RunningModule(name, **arguments) as running:
            return running.result(timeout_s)
    environment = environment_of_modules(COLLECTIONS, arguments.pop("environment", None))
    modes = {mode: arguments.pop(mode, False) for mode in ("check_mode", "diff")}
    file = _written(arguments, **modes)
    try:
        return _read(*_quick.run(name, file, environment, timeout_s))
    finally:
        file.unlink()
