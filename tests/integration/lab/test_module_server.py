# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is a fork says what one says that began from nothing, and leaves nothing behind."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import LabError
from lab.module_server import ModuleServer
from lab.modules import COLLECTIONS, PYTHON, RunningModule, environment_of_modules, run_module

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
