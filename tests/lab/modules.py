# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the collection's modules as Ansible does: a process of its own that reads its arguments and prints its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError

CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTIONS = CHECKOUT / ".cache" / "collections"
PYTHON = os.environ.get("REDIS_HA_LAB_PYTHON") or sys.executable
"""What modules and Ansible itself run with; another Python than the tests' own in a run of the matrix."""
MODULES = "ansible_collections.redis_ha.sentinel.plugins.modules"


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
        options = {**arguments, "_ansible_check_mode": check_mode, "_ansible_diff": diff}
        # A file rather than a pipe: the module must be able to start before anybody reads or writes.
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump({"ANSIBLE_MODULE_ARGS": options}, file)
        self._arguments = Path(file.name)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("REDIS_")}
        self.process = subprocess.Popen(
            [python, "-m", f"{MODULES}.{name}", file.name],
            env={**inherited, "PYTHONPATH": str(collections), **(environment or {})},
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
        try:
            result: dict[str, Any] = json.loads(output)
        except ValueError as error:
            raise LabError(f"the module printed no result: {output[-2000:]}{errors[-4000:]}") from error
        return result


def run_module(name: str, *, timeout_s: float = 120.0, **arguments: Any) -> dict[str, Any]:
    """Run a module to its end; its result, whether it failed or not.

    Args:
        name: The module's name, for example `failover`.
        timeout_s: How many seconds it may take.
        arguments: Its options; besides those `python`, `environment`, `check_mode`, `diff` and `collections`.
    """
    with RunningModule(name, **arguments) as running:
        return running.result(timeout_s)
