# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tasks failover and drain on the controller: what they show while their module works, and what becomes of its file."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible_collections.redis_ha.sentinel.plugins.action.drain import ActionModule as Drain
from ansible_collections.redis_ha.sentinel.plugins.action.failover import ActionModule as Failover
from ansible_collections.redis_ha.sentinel.plugins.module_utils._live import ENTRIES_FILE
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import FENCE, STEP_BEGINS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import PROGRAM, Entry
from unit.actions import Started

SWITCHED = {"changed": True, "outcome": "switched", "new_master": "192.0.2.22:6379"}
FENCE_LINE = f"    0.400 s  {FENCE.name:<10}  {FENCE.purpose}"


@pytest.fixture(autouse=True)
def local_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this run of Ansible on the controller."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return tmp_path


def entries_file(task: Any) -> Path:
    """The file that the environment of the module names."""
    named = [row[ENTRIES_FILE] for row in task.environment if ENTRIES_FILE in row]
    assert len(named) == 1
    return Path(named[0])


def begins_the_fence(task: Any) -> dict[str, Any]:
    entry = Entry(400.0, PROGRAM, STEP_BEGINS, FENCE.name, "", "")
    entries_file(task).write_text(json.dumps(entry.as_result()) + "\n")
    return SWITCHED


def test_a_run_on_the_controller_is_told_step_by_step() -> None:
    started = Started(Failover, {}, begins_the_fence)
    result = started.run(inventory_hostname="localhost")
    assert started.modules == ["redis_ha.sentinel.failover"]
    assert started.terminal.lines == [FENCE_LINE]
    assert {name: result[name] for name in SWITCHED} == SWITCHED


def test_the_lines_come_while_the_module_works() -> None:
    def waits_to_be_told(task: Any) -> dict[str, Any]:
        begins_the_fence(task)
        limit_s = time.monotonic() + 20
        while not started.terminal.lines:
            assert time.monotonic() < limit_s, "nothing is shown"
            time.sleep(0.01)
        return SWITCHED

    started = Started(Failover, {}, waits_to_be_told)
    started.run()
    assert started.terminal.lines == [FENCE_LINE]


def test_the_file_is_for_this_user_alone_and_gone_afterwards(local_tmp: Path) -> None:
    rights = []

    def look(task: Any) -> dict[str, Any]:
        path = entries_file(task)
        rights.extend([stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)])
        assert path.parent.parent == local_tmp
        return SWITCHED

    before = [{"REDIS_PASSWORD": "hidden"}]
    started = Started(Failover, {}, look, environment=before)
    started.run()
    assert rights == [0o600, 0o700]
    assert list(local_tmp.iterdir()) == []
    assert started.task.environment == before


def test_the_environment_of_the_task_reaches_the_module_too() -> None:
    seen: list[Any] = []

    def look(task: Any) -> dict[str, Any]:
        seen.extend(task.environment)
        return SWITCHED

    Started(Failover, {}, look, environment=[{"REDIS_PASSWORD": "hidden"}]).run()
    assert seen[0] == {"REDIS_PASSWORD": "hidden"}
    assert [list(row) for row in seen[1:]] == [[ENTRIES_FILE]]


def test_where_the_module_cannot_be_started_nothing_is_left(local_tmp: Path) -> None:
    def fails(_task: Any) -> dict[str, Any]:
        raise OSError("no more processes")

    started = Started(Failover, {}, fails, environment=None)
    with pytest.raises(OSError, match="no more processes"):
        started.run()
    assert list(local_tmp.iterdir()) == []
    assert started.task.environment is None


@pytest.mark.parametrize(
    ("result", "end"),
    [
        (SWITCHED, "switched: the master is 192.0.2.22:6379"),
        ({"outcome": "refused", "msg": "no quorum. Start them."}, "refused: no quorum. Start them."),
        ({"msg": "MODULE FAILURE"}, "and how is not known: MODULE FAILURE"),
    ],
    ids=["switched", "refused", "killed"],
)
def test_of_a_run_on_another_host_the_beginning_and_the_end_are_told(result: dict[str, Any], end: str) -> None:
    environments: list[Any] = []

    def work(task: Any) -> dict[str, Any]:
        environments.append(task.environment)
        return result

    started = Started(Failover, {}, work, transport="ssh", delegate_to=None, environment=None)
    started.run(inventory_hostname="sentinel1")
    assert started.terminal.lines == [
        "The run is on sentinel1. Its steps cannot be shown before it has ended.",
        f"The run on sentinel1 has ended, {end}",
    ]
    assert environments == [None], "a file of the controller is of no use there"


def test_a_delegated_run_is_where_it_is_delegated_to() -> None:
    started = Started(Failover, {}, lambda _task: SWITCHED, transport="ssh", delegate_to="sentinel2")
    started.run(inventory_hostname="sentinel1")
    assert "The run is on sentinel2." in started.terminal.lines[0]


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_what_is_not_to_be_logged_is_not_shown(transport: str) -> None:
    work = begins_the_fence if transport == "local" else lambda _task: SWITCHED
    started = Started(Failover, {}, work, transport=transport, no_log=True)
    assert started.run()["outcome"] == "switched"
    assert started.terminal.lines == []


@pytest.mark.parametrize(("verbosity", "whole"), [(0, False), (2, False), (3, True)])
def test_the_result_fills_the_terminal_only_where_all_is_wanted(verbosity: int, whole: bool) -> None:
    result = Started(Failover, {}, lambda _task: SWITCHED, verbosity=verbosity).run()
    assert result.get("_ansible_verbose_override", False) is not whole


MOVED = {
    "name": "orders",
    "outcome": "switched",
    "old_master": "192.0.2.21:6379",
    "new_master": "192.0.2.22:6379",
    "planned_master": "192.0.2.22:6379",
    "write_gap_ms": 12.0,
    "lossless": True,
    "lossless_reason": "",
    "remedy": None,
    "msg": None,
}


def test_each_move_of_a_drain_is_told_when_it_has_ended() -> None:
    def moves(task: Any) -> dict[str, Any]:
        entry = {"at_ms": 2000.0, "count": 1, "of": 3, "master": MOVED}
        entries_file(task).write_text(json.dumps(entry) + "\n")
        return {"changed": True, "masters": [MOVED]}

    started = Started(Drain, {}, moves)
    assert started.run()["masters"] == [MOVED]
    assert started.modules == ["redis_ha.sentinel.drain"]
    (line,) = started.terminal.lines
    assert line.startswith("    2.000 s  1 of 3      orders")
    assert "writes stood still for 12 ms, nothing lost" in line


@pytest.mark.parametrize(
    ("result", "end"), [({"msg": "2 of 3 moved"}, "2 of 3 moved"), ({}, "and how is not known")], ids=["told", "killed"]
)
def test_the_end_of_a_drain_on_another_host_is_told(result: dict[str, Any], end: str) -> None:
    started = Started(Drain, {}, lambda _task: result, transport="ssh")
    started.run(inventory_hostname="sentinel1")
    assert started.terminal.lines[-1] == f"The run on sentinel1 has ended, {end}"
