# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Masters leave a host, on real servers and under write load: addresses of loopback stand for hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from bench.light_writers import LightWriters
from lab import Deployment
from lab.modules import RunningModule, run_module

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
NAMES = [f"cache-{number}" for number in range(5)]
BLOCKED = NAMES[4]


@pytest.fixture(scope="module")
def three_hosts() -> Iterator[Deployment]:
    """Five masters on the first host, with replicas on the two others, and a Sentinel on each."""
    with Deployment("redis-7.0", masters=NAMES, replicas=2, sentinels=3, host=(A, B, C)) as running:
        # A test waits for Sentinel's next look at a replica, ten seconds at most.
        running.ask_every_second()
        yield running


def drain(deployment: Deployment, *hosts: str, **options: Any) -> dict[str, Any]:
    return run_module("drain", sentinels=deployment.sentinel_addresses, hosts=hosts, **options)


def hosts_of(deployment: Deployment) -> dict[str, str]:
    return {name: deployment.master(name).host for name in NAMES}


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {master["name"]: master["outcome"] for master in result["masters"]}


def test_unknown_hosts_are_one_clear_error_and_change_nothing(three_hosts: Deployment) -> None:
    before = hosts_of(three_hosts)
    result = drain(three_hosts, "127.0.0.77")
    assert (result["failed"], result["changed"], result["error"]) == (True, False, "hosts_unknown")
    assert all(host in result["msg"] for host in (A, B, C))
    assert hosts_of(three_hosts) == before


def test_check_mode_says_who_would_go_where_and_moves_nothing(three_hosts: Deployment) -> None:
    result = drain(three_hosts, A, check_mode=True)
    assert result["counts"] == {"planned": 5}
    assert sorted((host["host"], host["masters"]) for host in result["hosts"]) == [(A, 5), (B, 0), (C, 0)]
    assert sorted(host["masters_planned"] for host in result["hosts"]) == [0, 2, 3]
    assert set(hosts_of(three_hosts).values()) == {A}


def test_masters_leave_under_load_and_one_that_cannot_does_not_stop_them(three_hosts: Deployment) -> None:
    """The blocked one has no replica that may be promoted; a target is taken; no acknowledged write is lost; a second run moves what is left."""
    for replica in three_hosts.replicas(BLOCKED):
        replica.command("CONFIG", "SET", "replica-priority", 0)
    three_hosts.wait_for(lambda: _shown_priorities(three_hosts) == {"0"}, 30.0, "the Sentinels to show the priorities")
    target = next(node for node in three_hosts.replicas(NAMES[0]) if node.host == C)
    with LightWriters(three_hosts.sentinel_addresses, NAMES, pause_ms=5.0) as writers:
        result = drain(three_hosts, A, targets={NAMES[0]: target.address})
        written = writers.end()
    assert result["counts"] == {"switched": 4, "refused": 1}
    assert outcomes(result)[BLOCKED] == "refused"
    assert (result["failed"], result["error"]) == (True, "masters_left")
    assert BLOCKED in result["msg"]
    blocked = next(master for master in result["masters"] if master["name"] == BLOCKED)
    assert blocked["remedy"]
    assert blocked["error"] == "no_suitable_replica"
    there = hosts_of(three_hosts)
    assert there[NAMES[0]] == C
    assert Counter(there.values()) == {A: 1, B: 2, C: 2}
    assert {name: written[name].lost(three_hosts.master(name).client()) for name in NAMES} == dict.fromkeys(NAMES, 0)
    moved = [master for master in result["masters"] if master["outcome"] == "switched"]
    assert all(master["lossless"] and master["new_master"] == master["planned_master"] for master in moved)
    assert all(master["write_gap_ms"] > 0 and master["fenced_at"] and master["way_back"] for master in moved)

    for replica in three_hosts.replicas(BLOCKED):
        replica.command("CONFIG", "SET", "replica-priority", 100)
    three_hosts.wait_for(
        lambda: _shown_priorities(three_hosts) == {"100"}, 30.0, "the Sentinels to show the priorities"
    )
    again = drain(three_hosts, A)
    assert again["counts"] == {"switched": 1, "unchanged": 4}
    assert outcomes(again)[BLOCKED] == "switched"
    nothing_left = drain(three_hosts, A)
    assert (nothing_left["changed"], nothing_left["counts"]) == (False, {"unchanged": 5})


def _shown_priorities(deployment: Deployment) -> set[str]:
    rows = [row for sentinel in deployment.sentinels for row in sentinel.command("SENTINEL", "REPLICAS", BLOCKED)]
    fields = [row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
    return {str(row["slave-priority"]) for row in fields}


def test_all_hosts_at_once_is_refused_for_each_master(three_hosts: Deployment) -> None:
    before = hosts_of(three_hosts)
    result = drain(three_hosts, A, B, C)
    assert result["counts"] == {"refused": 5}
    assert {master["error"] for master in result["masters"]} == {"avoid_leaves_nobody"}
    assert hosts_of(three_hosts) == before


def test_two_drains_at_once_move_each_master_once(three_hosts: Deployment) -> None:
    """Whoever comes second to a master is refused, or finds it moved."""
    host = Counter(hosts_of(three_hosts).values()).most_common(1)[0][0]
    count = Counter(hosts_of(three_hosts).values())[host]
    options: dict[str, Any] = {"sentinels": three_hosts.sentinel_addresses, "hosts": [host]}
    with RunningModule("drain", **options) as one, RunningModule("drain", **options) as other:
        results = [one.result(), other.result()]
    assert host not in hosts_of(three_hosts).values()
    assert sum(result["counts"].get("switched", 0) for result in results) == count
    left = [
        master
        for result in results
        for master in result["masters"]
        if master["outcome"] not in ("switched", "unchanged")
    ]
    assert {(master["outcome"], master["changed"]) for master in left} <= {("refused", False), ("aborted", False)}


def test_a_sentinel_that_dies_meanwhile_costs_no_write_and_what_it_stopped_goes_when_it_is_back(
    three_hosts: Deployment,
) -> None:
    """What was begun comes to its end; of the others, each is moved or has its cause."""
    before = hosts_of(three_hosts)
    host, count = Counter(before.values()).most_common(1)[0]
    left = {name for name, place in before.items() if place == host}
    dying = three_hosts.sentinels[1]
    with LightWriters(three_hosts.sentinel_addresses, NAMES, pause_ms=5.0) as writers:
        options: dict[str, Any] = {"sentinels": three_hosts.sentinel_addresses, "hosts": [host], "max_parallel": 1}
        with RunningModule("drain", **options) as running:
            three_hosts.wait_for(
                lambda: any(three_hosts.master(name).host != host for name in left), 30.0, "a first master to leave"
            )
            dying.kill()
            result = running.result()
        dying.start()
        dying.command("SENTINEL", "DEBUG", "info-period", "1000")
        three_hosts.wait_ready(60.0)
        written = writers.end()
    assert {name: written[name].lost(three_hosts.master(name).client()) for name in NAMES} == dict.fromkeys(NAMES, 0)
    told = {master["name"]: master for master in result["masters"] if master["name"] in left}
    assert {it["outcome"] for it in told.values()} <= {"switched", "refused", "aborted", "incomplete"}
    assert all(it["msg"] and it["remedy"] for it in told.values() if it["outcome"] != "switched")
    print({name: (it["outcome"], it["error"]) for name, it in told.items()})
    stayed = {name for name in left if three_hosts.master(name).host == host}
    assert len(stayed) < count
    assert all(told[name]["outcome"] in ("refused", "aborted") for name in stayed)
    again = drain(three_hosts, host)
    assert not again.get("failed"), again["msg"]
    assert host not in hosts_of(three_hosts).values()
