# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs modules in a moment: each is a fork of a process that has loaded what all of them import.

`python -m lab.module_server COMMAND ...` runs a command that finds in LAB_CONTROLLER_PYTHON what stands for Python (with PYTHONPATH=tests).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from lab.errors import LabError

_FORKS = Path(__file__).with_name("module_forks.py")
_STAND_IN = Path(__file__).with_name("forked_python.py")


class ModuleServer:
    """Such a process, seen from the one that wants modules to be run. It ends with this one."""

    def __init__(self, python: str, environment: Mapping[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="redis-ha-modules-"))
        self._address = self._folder / "socket"
        self.python = self._folder / "python"
        """Stands for Python where Ansible runs a module."""
        stand_in = _STAND_IN.read_text().replace("@ADDRESS@", str(self._address)).replace("@PYTHON@", python)
        self.python.write_text(f"#!{python} -IS\n{stand_in}")
        self.python.chmod(0o700)
        self._process = subprocess.Popen(
            [python, "-P", str(_FORKS), str(self._address)],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # An interrupt from the keyboard is for this process, whose end is that of the other.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self.stop()
            raise LabError("the modules cannot be loaded")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it; a module that runs is not waited for."""
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self._folder)

    def run(self, name: str, arguments: Path, environment: Mapping[str, str], timeout_s: float) -> tuple[str, str]:
        """Runs a module to its end; what it printed, and its errors.

        Args:
            name: The module's name.
            arguments: The file that has its arguments.
            environment: All of its environment.
            timeout_s: How many seconds it may take.

        Raises:
            LabError: It did not end in time, and was ended.
        """
        with tempfile.TemporaryFile("w+") as errors, socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._address))
            request = {"name": name, "arguments": str(arguments), "environment": dict(environment)}
            socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [errors.fileno()])
            connection.settimeout(timeout_s)
            pid = 0
            with connection.makefile("r", encoding="utf-8") as answer:
                try:
                    pid = int(answer.readline() or 0)
                    output = answer.read()
                except TimeoutError as error:
                    if pid:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    raise LabError(f"{name} did not end within {timeout_s} s") from error
            errors.seek(0)
            return output, errors.read()


if __name__ == "__main__":
    from lab.modules import COLLECTIONS, PYTHON, environment_of_modules

    with ModuleServer(PYTHON, environment_of_modules(COLLECTIONS)) as forks:
        sys.exit(
            subprocess.run(
                sys.argv[1:], env={**os.environ, "LAB_CONTROLLER_PYTHON": str(forks.python)}, check=False
            ).returncode
        )
