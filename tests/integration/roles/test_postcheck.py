# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role postcheck: waits for what takes long, tells how far it is, and ends right."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment, Process
from lab.modules import run_module
from lab.playbooks import PlaybookRun, Workspace

PROJECT = Path(__file__).parent / "project"
VALUE_BYTES = 1_000_000
VALUES = 520
"""More than 500 MB together."""


def answers(deployment: Deployment, **more: Any) -> dict[str, Any]:
    return {"redis_ha_sentinels": deployment.sentinel_addresses[0], "redis_ha_master_name": "mymaster", **more}


def test_a_marker_is_seen_on_every_replica_and_expires(deployment: Deployment, workspace: Workspace) -> None:
    wanted = answers(
        deployment, postcheck_marker="true", postcheck_marker_key_prefix="proof:", postcheck_marker_ttl=600
    )
    run = workspace.run("postcheck.yml", wanted, project=PROJECT)
    assert run.succeeded, run.stdout
    result = run.result("See a write arrive")
    assert result["arrived"]
    assert {row["port"] for row in result["replicas"]} == {replica.port for replica in deployment.replicas()}
    assert result["key"].startswith("proof:")
    assert 0 < deployment.master().command("TTL", result["key"]) <= 600

    checked = workspace.run("postcheck.yml", wanted, project=PROJECT, check=True)
    assert checked.succeeded, checked.stdout
    assert len(deployment.master().command("KEYS", "proof:*")) == 1


def test_a_marker_that_cannot_be_written_fails_the_check(deployment: Deployment, workspace: Workspace) -> None:
    master = deployment.master()
    master.command("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
    try:
        run = workspace.run("postcheck.yml", answers(deployment, postcheck_marker=True), project=PROJECT)
    finally:
        master.command("CONFIG", "SET", "maxmemory", "0")
    assert run.status == "failed"
    told = " ".join(run.message.split())
    assert re.search(
        rf"FAILED marker: {master.address}: .*'maxmemory'\. The master refuses the write: look at what", told
    )


def test_a_replica_that_has_not_come_in_time_is_named_with_what_to_do(
    deployment: Deployment, workspace: Workspace
) -> None:
    away = deployment.replicas()[0]
    away.kill()
    try:
        wanted = answers(
            deployment,
            postcheck_timeout=5,
            postcheck_stall_timeout=60,
            postcheck_poll_interval=0.5,
            postcheck_patience=0,
        )
        run = workspace.run("postcheck.yml", wanted, project=PROJECT)
        waited = run.result("Wait until every replica")
        assert run.status == "failed"
        assert waited["error"] == "replicas_timeout"
        assert re.match(
            rf"Gave up after \d+ s: the time is over\. Still missing: replica {re.escape(away.address)} cannot be asked: ",
            waited["msg"],
        )
        told = " ".join(run.message.split())
        assert (
            f"FAILED replica_in_sync: replica {away.address} cannot be asked: Connection refused What to do: Start it"
            in told
        )
        assert f"FAILED nodes_reachable: node {away.address}: Connection refused What to do: Start it" in told
    finally:
        away.start()
        deployment.wait_ready(60)


def write(master: Process, replica_count: int) -> None:
    """Writes more than 500 MB, no faster than the replicas that are connected take it."""
    value = os.urandom(VALUE_BYTES)
    with master.client(timeout_s=60) as client:
        for first in range(0, VALUES, 20):
            with client.pipeline(transaction=False) as pipeline:
                for number in range(first, min(first + 20, VALUES)):
                    pipeline.set(f"big:{number}", value)
                pipeline.execute()
            assert client.wait(replica_count, 30_000) >= replica_count


def longest_silence_s(run: PlaybookRun) -> float:
    """Between two events of the task that waits, which AWX and a terminal show as they come."""
    kinds = [(event["event"], event.get("event_data", {}).get("task", "")) for event in run.events]
    first = next(
        place
        for place, (kind, task) in enumerate(kinds)
        if kind == "playbook_on_task_start" and task.startswith("Wait until")
    )
    last = next(
        place for place, (kind, task) in enumerate(kinds) if kind == "runner_on_ok" and task.startswith("Wait until")
    )
    moments = [datetime.fromisoformat(event["created"]) for event in run.events[first : last + 1]]
    return max((later - earlier).total_seconds() for earlier, later in pairwise(moments))


@pytest.mark.timeout(600)
def test_a_replica_that_needs_a_full_resync_of_500_mb_is_waited_for(
    workspace: Workspace, seen_down: Callable[[Deployment, Process], bool]
) -> None:
    # The delays (microseconds for each key) make it last until a person has seen that it is waited for, and then as long as on a network.
    lines = ("repl-backlog-size 1mb", "rdbcompression no", "rdb-key-save-delay 2000", "key-load-delay 150000")
    with Deployment(down_after_ms=2000, failover_timeout_ms=5000, node_config=lines) as deployment:
        deployment.ask_every_second()
        target, cut_off = deployment.replicas()
        # Its master drops it when it has taken nothing of 16 MB, and it cannot go on from the backlog.
        deployment.master().command("CONFIG", "SET", "client-output-buffer-limit", "replica 512mb 16mb 1")
        sentinels = deployment.sentinel_addresses[:1]
        before = run_module("health_info", sentinels=sentinels, master_name="mymaster")
        old = deployment.master()
        cut_off.pause()
        write(old, 1)
        deployment.wait_for(lambda: seen_down(deployment, cut_off), 20, "the Sentinels to see the replica down")
        moved = run_module(
            "failover", sentinels=sentinels, master_name="mymaster", target=target.address, timeout_s=120
        )
        assert moved["outcome"] == "switched", moved
        assert [row["port"] for row in moved["replicas"] if row["excused"]] == [cut_off.port]
        # It must not get the data from the old master while it waits for Sentinel to send it to the new one.
        old.command("ACL", "SETUSER", "default", "-psync", "-sync")
        cut_off.resume()

        too_short = workspace.run(
            "postcheck.yml",
            answers(deployment, postcheck_timeout=5, postcheck_poll_interval=0.5, postcheck_patience=0),
            project=PROJECT,
        )
        assert too_short.result("Wait until every replica")["error"] == "replicas_timeout"
        assert f"FAILED replica_in_sync: replica {cut_off.address} " in " ".join(too_short.message.split())

        def hasten(event: dict[str, Any]) -> None:
            if event["event"] == "verbose" and cut_off.address in event["stdout"]:
                cut_off.command("CONFIG", "SET", "key-load-delay", "10000")

        run = workspace.run(
            "postcheck.yml",
            answers(
                deployment,
                postcheck_baseline=before["snapshot"],
                postcheck_timeout=120,
                postcheck_stall_timeout=60,
                postcheck_poll_interval=0.2,
                postcheck_marker=True,
            ),
            project=PROJECT,
            on_event=hasten,
        )
        assert run.succeeded, run.stdout
        assert deployment.master() is target
        assert cut_off.command("DBSIZE") >= VALUES
        waited = run.result("Wait until every replica")
        mine = [line for line in waited["progress"] if cut_off.address in line]
        states = [line.split()[3] for line in mine]
        assert states[-1] == "in_sync"
        assert {"full_sync", "loading"} & set(states), mine
        # A person saw how far it was, in bytes and in percent, while it went on.
        amounts = re.findall(r"([\d,]+) of ([\d,]+) bytes \((\d+) %\)", "\n".join(mine))
        assert amounts, mine
        assert target.command("INFO", "stats")["sync_full"] >= 1
        checks = {check["name"]: check for check in run.result("Ask again every Sentinel")["checks"]}
        assert checks["resynchronised"]["status"] == "warning"
        assert re.search(r"served \d+ partial and [1-9]\d* full synchronisations", checks["resynchronised"]["detail"])
        assert all(int(total.replace(",", "")) >= 500_000_000 for _received, total, _percent in amounts)
        live = [event["stdout"] for event in run.events if event["event"] == "verbose"]
        assert all(any(line.strip() in shown for shown in live) for line in mine)
        # A figure of a quiet machine: 3 s at most are promised.
        print(f"longest silence while it was waited for: {longest_silence_s(run):.1f} s")
