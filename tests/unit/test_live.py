# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that says what it does while it does it: what it writes to a file, and what it says of a long wait."""

from __future__ import annotations

import itertools
import json
import os
import stat
import time
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._live import EntriesFile
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import TELL_EVERY_S, Run, Wait
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import FENCE_RAISED, STEP_BEGINS, WAITING
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Entry, Timeline
from unit.builders import NAME, OM
from unit.fake_connection import FakeClock, FakeFleet
from unit.runs import run
from unit.world import World

FENCED = Entry(12.5, "program", FENCE_RAISED, "fence", str(OM), "it is up")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "entries"
    path.touch(mode=0o600)
    return path


def test_each_entry_is_a_line_of_json(file: Path) -> None:
    begun = Entry(12.0, "program", STEP_BEGINS, "fence", "", "")
    with EntriesFile(str(file)) as entries:
        entries.put(begun)
        entries.put(FENCED)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [begun.as_result(), FENCED.as_result()]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not entries.failure


def test_an_entry_can_be_read_before_the_run_ends(file: Path) -> None:
    with EntriesFile(str(file)) as entries:
        entries.put(FENCED)
        while not file.read_text().endswith("\n"):
            time.sleep(0.01)
        assert json.loads(file.read_text()) == FENCED.as_result()


def test_a_file_that_is_not_there_is_not_made_and_fails_nothing(tmp_path: Path) -> None:
    with EntriesFile(str(tmp_path / "gone")) as entries:
        entries.put(FENCED)
    assert "could not be shown while they were taken" in entries.failure
    assert not (tmp_path / "gone").exists()


def test_a_full_disk_fails_nothing() -> None:
    with EntriesFile("/dev/full") as entries:
        entries.put(FENCED)
    assert "could not be shown while they were taken" in entries.failure


def test_a_link_is_not_followed(tmp_path: Path, file: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with EntriesFile(str(link)) as entries:
        entries.put(FENCED)
    assert entries.failure
    assert not file.read_text()


def test_where_nobody_reads_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it opens a file"))
    with EntriesFile(None) as entries:
        entries.put(FENCED)
    assert not entries.failure


# ---- long waits ------------------------------------------------------------------------------------------------------


class Hand(Clock):
    """Time that passes by nothing but sleep, and at once: nothing happens meanwhile."""

    def __init__(self) -> None:
        self._at_s = 0.0

    def now_s(self) -> float:
        return self._at_s

    def sleep(self, seconds: float) -> None:
        self._at_s += seconds


def waiting_run(clock: Clock | None = None) -> tuple[Run, list[Entry]]:
    world = World(1)
    clock = clock or FakeClock(world)
    told: list[Entry] = []
    return Run(FakeFleet(world), Request(NAME), clock, Timeline(clock, told.append)), told


def test_a_short_wait_says_nothing() -> None:
    run_, told = waiting_run()
    wait = Wait(run_)
    run_.clock.sleep(TELL_EVERY_S - 0.01)
    wait.tell(lambda: pytest.fail("it is asked"))
    assert not told


def test_a_long_wait_says_every_two_seconds_what_it_waits_for() -> None:
    run_, told = waiting_run()
    wait = Wait(run_)
    for moment in range(100):
        run_.clock.sleep(0.1)
        wait.tell(partial("look {}".format, moment))
    assert [entry.kind for entry in told] == [WAITING] * len(told)
    assert len(told) in (4, 5)
    assert all(1900 <= later.at_ms - entry.at_ms <= 2300 for entry, later in itertools.pairwise(told))


def test_the_result_of_a_day_of_waiting_is_short() -> None:
    clock = Hand()
    run_, told = waiting_run(clock)
    wait = Wait(run_)
    for _look in range(86_400 // 2):
        clock.sleep(2.0)
        wait.tell(lambda: "it is late")
    assert len(told) == 86_400 // 2
    assert 10 <= len(run_.timeline.as_result()) <= 20


def test_a_run_that_waits_for_a_replica_says_for_which() -> None:
    world = World(3)
    world.nodes[OM].stuck = True
    result = run(world, timeout_s=8.0)
    said = [entry for entry in result["timeline"] if entry["kind"] == WAITING]
    assert said, result["outcome"]
    assert {entry["step"] for entry in said} == {"settle"}
    assert all(str(OM) in entry["detail"] for entry in said)
