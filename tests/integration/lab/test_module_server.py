# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is a fork says what one says that began from nothing, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import LabError
from lab.module_server import ModuleServer
from lab.modules import COLLECTIONS, PYTHON, RunningModule, environment_of_modules, run_module

PURE = "ansible_collections.redis_ha.sentinel.plugins.module_utils"
NOBODY: dict[str, Any] = {"sentinels": ["127.0.0.1:1"], "master_name": "mymaster"}


@pytest.fixture(scope="module")
def server() -> Iterator[ModuleServer]:
    with ModuleServer(PYTHON, environment_of_modules(COLLECTIONS)) as running:
        yield running


def written(folder: Path, **options: Any) -> Path:
    path = folder / "arguments.json"
    path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
    return path


@pytest.mark.parametrize("check_mode", [False, True])
def test_it_says_what_a_process_of_its_own_says(check_mode: bool) -> None:
    with RunningModule("failover", check_mode=check_mode, **NOBODY) as running:
        from_nothing = running.result()
    fork = run_module("failover", check_mode=check_mode, **NOBODY)
    assert fork["error"] == "sentinel_unreachable"
    timed = {"timeline", "started_at", "ended_at", "phases_ms"}
    assert {name: value for name, value in fork.items() if name not in timed} == {
        name: value for name, value in from_nothing.items() if name not in timed
    }


def test_its_environment_is_the_one_that_was_asked_for() -> None:
    result = run_module("failover", master_name="mymaster", environment={"REDIS_SENTINELS": "127.0.0.1:2"})
    assert "127.0.0.1:2" in result["msg"]
    assert "127.0.0.1:2" not in run_module("failover", **NOBODY)["msg"]


def test_what_it_breaks_down_with_is_told(server: ModuleServer, tmp_path: Path) -> None:
    output, errors = server.run("no_such_module", written(tmp_path), {}, 30)
    assert output == ""
    assert "no_such_module" in errors
    assert "Traceback" in errors


def test_one_that_does_not_end_is_ended(server: ModuleServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"sentinels": f"127.0.0.1:{silent.getsockname()[1]}", "master_name": "x", "connect_timeout": 30}
        with pytest.raises(LabError, match="did not end within"):
            server.run("failover", written(tmp_path, **options), {}, 3)
        silent.settimeout(30)
        connection, _who = silent.accept()
        with connection:
            connection.settimeout(30)
            while connection.recv(4096):
                pass


def python(server: ModuleServer, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(server.python), *words], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_a_file_is_run_as_python_runs_it(server: ModuleServer, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "print(sys.argv[1:], os.getcwd(), os.environ['WORD'], sys.stdin.read(), __name__, __file__)\n"
        "print('said beside', file=sys.stderr)\n"
        "sys.exit(3)\n"
    )
    words = [str(script), "one", 'a "second" one\n']
    ran = python(server, *words, input="typed", cwd=tmp_path, env={**os.environ, "WORD": "ein Wört \U0001f600 "})
    assert ran.returncode == 3
    assert ran.stdout == f"{words[1:]} {tmp_path} ein Wört \U0001f600  typed __main__ {script}\n"
    assert ran.stderr == "said beside\n"


def test_what_comes_on_standard_input_is_run_and_how_it_ends_is_told(server: ModuleServer) -> None:
    broken = python(server, input="print('so far', flush=True)\n1 / 0\n")
    assert (broken.returncode, broken.stdout) == (1, "so far\n")
    assert "ZeroDivisionError" in broken.stderr
    killed = python(server, input="import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert killed.returncode == -signal.SIGKILL
    assert python(server, "-c", "print('as Python')").stdout == "as Python\n"


def test_what_is_loaded_is_taken_only_where_the_archive_has_the_same(server: ModuleServer, tmp_path: Path) -> None:
    folder = COLLECTIONS / PURE.replace(".", "/")
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for package in ("ansible_collections", "redis_ha", "sentinel", "plugins", "module_utils"):
            path = PURE[: PURE.index(package) + len(package)].replace(".", "/")
            packed.writestr(f"{path}/__init__.py", "")
        for name in ("_errors", "_steps"):
            changed = "CHANGED = True\n" if name == "_steps" else ""
            packed.writestr(f"{PURE.replace('.', '/')}/{name}.py", (folder / f"{name}.py").read_text() + changed)
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        f"from {PURE} import _errors, _steps\n"
        "print(type(_errors.__loader__).__name__, type(_steps.__loader__).__name__, hasattr(_steps, 'CHANGED'))\n"
        f"import {PURE}._request\n"
    )
    ran = python(server, input=code)
    assert ran.stdout == "SourceFileLoader zipimporter True\n", ran.stderr
    assert "No module named" in ran.stderr, "what is not in the archive is not there"
