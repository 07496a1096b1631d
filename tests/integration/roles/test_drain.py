# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook drain: it shows the plan, moves, looks again, and hands the result on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lab import Deployment
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
