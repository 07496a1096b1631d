# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook drain: it shows the plan, moves, looks again, and hands the result on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.light_writers import LightWriters
from lab import Deployment
from lab.modules import CHECKOUT
from lab.playbooks import Workspace

A, B = "127.0.0.2", "127.0.0.3"
NAMES = ("cache-0", "cache-1")


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[Deployment]:
    with Deployment("redis-7.0", masters=NAMES, replicas=1, sentinels=3, host=(A, B)) as running:
        yield running


def test_check_mode_shows_who_would_go_where_and_then_they_go(two_hosts: Deployment, workspace: Workspace) -> None:
    answers = {"sentinels": ",".join(two_hosts.sentinel_addresses), "drain_hosts": A}
    old = {name: two_hosts.master(name).address for name in NAMES}
    planned = workspace.run("drain.yml", answers, check=True)
    assert planned.succeeded, planned.stdout
    assert planned.artifacts["redis_ha_drain"]["counts"] == {"planned": 2}
    assert {name: two_hosts.master(name).address for name in NAMES} == old

    moved = workspace.run("drain.yml", answers)
    assert moved.succeeded, moved.stdout
    new = {name: two_hosts.master(name).address for name in NAMES}
    assert {address.rpartition(":")[0] for address in new.values()} == {B}
    assert moved.artifacts["redis_ha_drain"] == {
        "changed": True,
        "counts": {"switched": 2},
        "left": [],
        "error": None,
        "moved": {name: {"old_master": old[name], "new_master": new[name]} for name in NAMES},
    }
    assert "nothing lost" in moved.stdout
    kinds = [event["event"] for event in moved.events]
    told = [
        place for place, event in enumerate(moved.events) if re.search(r"s  [12] of 2 .* nothing lost", event["stdout"])
    ]
    assert [kinds[place] for place in told[:2]] == ["verbose", "verbose"], "each was shown when it had ended"


def test_a_master_that_is_left_fails_the_play(two_hosts: Deployment, workspace: Workspace) -> None:
    run = workspace.run("drain.yml", {"sentinels": two_hosts.sentinel_addresses[0], "drain_hosts": f"{A},{B}"})
    assert run.status == "failed"
    assert "refused" in run.message
    assert run.artifacts["redis_ha_drain"]["left"] == list(NAMES)


def test_a_host_that_nobody_has_stops_it(two_hosts: Deployment, workspace: Workspace) -> None:
    run = workspace.run("drain.yml", {"sentinels": two_hosts.sentinel_addresses[0], "drain_hosts": "127.0.0.77"})
    assert run.status == "failed"
    assert "no server is on 127.0.0.77" in run.message


def test_a_run_of_which_the_module_was_killed_is_run_again_and_loses_nothing(
    two_hosts: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    """Right after the first promotion, when no Sentinel has been told yet: the worst of moments."""
    host = two_hosts.master(NAMES[0]).host
    answers = {"sentinels": ",".join(two_hosts.sentinel_addresses), "drain_hosts": host}
    (tmp_path / "sitecustomize.py").write_text("from lab import killed_run\n\nkilled_run.begin()\n")
    asked = {"log": str(tmp_path / "messages.jsonl"), "at": "REPLICAOF NO ONE", "when": "after"}
    killing = {"PYTHONPATH": f"{tmp_path}:{CHECKOUT / 'tests'}", "LAB_KILL": json.dumps(asked)}
    with LightWriters(two_hosts.sentinel_addresses, NAMES, pause_ms=5.0) as writers:
        killed = workspace.run("drain.yml", answers, environment=killing)
        assert killed.status == "failed"
        assert killed.message.endswith("Run it again: what was begun is finished, and the rest is moved.")
        assert "REPLICAOF NO ONE" in (tmp_path / "messages.jsonl").read_text(), "it was killed there"
        again = workspace.run("drain.yml", answers)
        written = writers.end()
    assert again.succeeded, again.stdout
    assert host not in {two_hosts.master(name).host for name in NAMES}
    for name in NAMES:
        with two_hosts.master(name).client() as client:
            assert written[name].lost(client) == 0
