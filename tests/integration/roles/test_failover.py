# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role failover and its playbook: everything around the move, and the truth about it however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pytest

from lab import Deployment, Process
from lab.playbooks import PlaybookRun, Workspace

PROJECT = Path(__file__).parent / "project"
LIMIT_S = 12.0
"""The figure to reach: the playbook with one master on loopback, without the wait for Sentinel's look at the replica."""


def answers(deployment: Deployment, **more: Any) -> dict[str, Any]:
    return {"sentinels": deployment.sentinel_addresses[0], "master_name": "mymaster", "align": "false", **more}


def handlers(**more: Any) -> dict[str, Any]:
    return {f"failover_{when}_tasks": str(PROJECT / f"{when}.yml") for when in ("before", "after", "failure")} | more


def summary(run: PlaybookRun) -> dict[str, Any]:
    found: dict[str, Any] = run.artifacts["redis_ha_failover"]
    return found


def report_of(run: PlaybookRun) -> str:
    files = summary(run)["report_files"]
    assert Path(files["markdown"]).stat().st_size > 0
    return Path(files["html"]).read_text()


def command_line(workspace: Workspace, variables: dict[str, Any]) -> list[str]:
    """`ansible-playbook redis_ha.sentinel.failover` with variables, as a person types it."""
    program = str(Path(workspace.environment()["PATH"].split(":")[0]) / "ansible-playbook")
    return [program, "redis_ha.sentinel.failover", "-e", " ".join(f"{key}={value}" for key, value in variables.items())]


def test_the_playbook_moves_the_master_within_the_time(deployment: Deployment, workspace: Workspace) -> None:
    old = deployment.master()
    variables = answers(deployment, report_directory=workspace.reports)
    began_s = time.monotonic()
    done = subprocess.run(
        [*command_line(workspace, variables), "-v"],
        env=workspace.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    seconds = time.monotonic() - began_s
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("changed: ") and '"phases_ms"' in line]
    (moved,) = [json.loads(line.split(" => ", 1)[1]) for line in lines]
    seconds -= moved["phases_ms"]["align"] / 1000
    # Where others use the processors as well, this takes as much longer as their share is.
    load = os.getloadavg()[0]
    limit_s = LIMIT_S * max(1.0, load / len(os.sched_getaffinity(0)))
    print(f"playbook failover: {seconds:.1f} s at a load of {load:.1f}, limit {limit_s:.1f} s")
    assert seconds <= limit_s
    new = deployment.master()
    assert (moved["outcome"], moved["lossless"]) == ("switched", True)
    assert (moved["old_master"]["port"], moved["new_master"]["port"]) == (old.port, new.port)
    (report,) = workspace.reports.glob("*.html")
    assert new.address in report.read_text()


def test_check_mode_plans_and_reports_the_plan(deployment: Deployment, workspace: Workspace) -> None:
    old = deployment.master()
    run = workspace.run("failover.yml", {**answers(deployment), **handlers()}, check=True)
    assert run.succeeded, run.stdout
    assert deployment.master() is old
    found = summary(run)
    assert (found["outcome"], found["old_master"]) == ("planned", old.address)
    assert found["new_master"] in {replica.address for replica in deployment.replicas()}
    assert found["new_master"] in report_of(run)
    assert not any(task.startswith("Own task") for task in run.tasks()), "an operator's own tasks ran in check mode"


def test_operators_own_tasks_find_plan_result_and_report(deployment: Deployment, workspace: Workspace) -> None:
    old = deployment.master()
    run = workspace.run(
        "failover.yml", {**answers(deployment), **handlers(), "failover_precheck": False, "failover_postcheck": False}
    )
    assert run.succeeded, run.stdout
    new = deployment.master()
    assert run.result("Own task: note the plan")["msg"] == f"{old.port} to {new.port}"
    assert run.result("Own task: note the result")["msg"] == f"switched with {summary(run)['report_files']['html']}"
    assert not run.results("Own task: note the failure")
    deployment.wait_ready()


def test_operators_own_tasks_before_can_speak_against_it(deployment: Deployment, workspace: Workspace) -> None:
    old = deployment.master()
    run = workspace.run("failover.yml", {**answers(deployment), **handlers(veto=True), "failover_precheck": False})
    assert run.status == "failed"
    assert run.message == "The virtual address cannot be moved today"
    assert deployment.master() is old
    found = summary(run)
    assert (found["outcome"], found["error"], found["changed"]) == ("refused", "vetoed", False)
    told = run.result("Own task: note the failure")["msg"]
    assert told == f"before: {run.message} (vetoed) with {found['report_files']['html']}"
    assert run.message in report_of(run)


def test_a_failed_precheck_ends_it_and_is_reported(deployment: Deployment, workspace: Workspace) -> None:
    old = deployment.master()
    run = workspace.run("failover.yml", answers(deployment, precheck_min_fit_replicas=3, precheck_patience=0))
    assert run.status == "failed"
    assert run.message.startswith("mymaster is not fit to be moved")
    assert deployment.master() is old
    assert (summary(run)["outcome"], summary(run)["error"]) == ("refused", "precheck_failed")
    assert "fit_replicas" in report_of(run)
    assert not run.results("Carry out")


def test_it_fails_with_the_message_of_the_module(deployment: Deployment, workspace: Workspace) -> None:
    old, other = deployment.master(), deployment.replicas()[0]
    run = workspace.run("failover.yml", answers(deployment, expected_master=other.address, failover_precheck=False))
    assert run.status == "failed"
    module = run.result("Carry out")
    assert run.message == module["msg"]
    assert old.address in run.message
    assert (summary(run)["outcome"], summary(run)["error"]) == ("refused", "expected_master_mismatch")
    assert summary(run)["remedy"] == module["remedy"]
    assert old.address in report_of(run)


@contextmanager
def when_demoted(old: Process, act: Callable[[], None]) -> Iterator[threading.Event]:
    """Does something as soon as the old master is a replica; the event says that it was done."""
    done, stop = threading.Event(), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            if old.command("ROLE")[0] == "slave":
                act()
                done.set()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def test_a_replica_killed_half_way_is_named_with_what_to_do(deployment: Deployment, workspace: Workspace) -> None:
    old, (target, victim) = deployment.master(), deployment.replicas()
    wanted = answers(
        deployment,
        target=target.address,
        failover_timeout=5,
        failover_precheck=False,
        postcheck_stall_timeout=2,
        postcheck_poll_interval=0.5,
    )
    with when_demoted(old, victim.kill) as killed:
        run = workspace.run("failover.yml", wanted)
    try:
        assert killed.is_set()
        assert run.status == "failed"
        told = " ".join(run.message.split())
        assert f"the master is {target.address}; left to do: {victim.address}: " in told
        assert f"FAILED replica_in_sync: replica {victim.address} cannot be asked: Connection refused" in told
        assert "What to do: Start it, or mend the way to it; it then follows by itself." in told
        assert deployment.master() is target
        found = summary(run)
        assert (found["outcome"], found["error"], found["changed"]) == ("incomplete", "left_to_do", True)
        assert found["new_master"] == target.address
        assert victim.address in report_of(run)
    finally:
        victim.start()
        # It was away when the others were sent to the new master.
        victim.command("REPLICAOF", target.host, target.port)
        victim.command("CONFIG", "SET", "replica-priority", "100")
        deployment.wait_ready(60)


def test_replicas_that_come_after_the_time_of_the_module_are_waited_for(
    deployment: Deployment, workspace: Workspace
) -> None:
    old, (target, slow) = deployment.master(), deployment.replicas()

    def let_it_come(event: dict[str, Any]) -> None:
        begins = event["event"] == "playbook_on_task_start"
        if begins and event["event_data"]["task"].startswith("Wait until every replica"):
            slow.resume()

    wanted = answers(
        deployment, target=target.address, failover_timeout=5, failover_precheck=False, postcheck_stall_timeout=30
    )
    with when_demoted(old, slow.pause) as paused:
        run = workspace.run("failover.yml", wanted, on_event=let_it_come)
    assert paused.is_set()
    assert run.succeeded, run.stdout
    assert run.result("Carry out")["outcome"] == "incomplete"
    assert (summary(run)["outcome"], summary(run)["error"]) == ("switched", None)
    # It slept while the priorities were put back.
    assert slow.address in "".join(run.result("Put back what is left")["repaired"])
    assert slow.command("CONFIG", "GET", "replica-priority")[1] == "100"
    assert "The check afterwards saw it done" in report_of(run)
    deployment.wait_ready(60)


def test_hosts_that_stand_for_deployments_of_their_own_are_moved_side_by_side(workspace: Workspace) -> None:
    names = ("orders", "carts")
    with Deployment(masters=names, replicas=1, down_after_ms=2000) as deployment:
        old = {name: deployment.master(name) for name in names}
        inventory = "\n".join(f"{name} ansible_connection=local redis_ha_master_name={name}" for name in names)
        run = workspace.run(
            "side_by_side.yml",
            {
                "redis_ha_sentinels": deployment.sentinel_addresses,
                "redis_ha_run_once": False,
                "failover_align": False,
                "failover_precheck": False,
                "failover_postcheck": False,
            },
            project=PROJECT,
            inventory=inventory,
        )
        assert run.succeeded, run.stdout
        assert {deployment.master(name) for name in names}.isdisjoint(old.values())
        shown = [result["msg"].split() for result in run.results("Show what came of it")]
        assert {(name, outcome) for name, outcome, _report in shown} == {(name, "switched") for name in names}
        assert all(name in Path(report).read_text() for name, _outcome, report in shown)


class TestConfirmation:
    """`confirm` asks a person, and never hangs where there is none."""

    @staticmethod
    def command(deployment: Deployment, workspace: Workspace) -> list[str]:
        more = {f"failover_{part}": "false" for part in ("precheck", "postcheck", "report")}
        return command_line(workspace, answers(deployment, confirm="true", **more))

    @pytest.mark.parametrize("word", ["yes", "no"])
    def test_only_yes_moves_it(self, word: str, deployment: Deployment, workspace: Workspace) -> None:
        old, replicas = deployment.master(), deployment.replicas()
        program, *words = self.command(deployment, workspace)
        terminal = pexpect.spawn(
            program, words, env=workspace.environment(), encoding="utf-8", timeout=60, dimensions=(50, 200)
        )
        try:
            terminal.expect("Type yes to go on")
            plan = terminal.before or ""
            assert old.address in plan
            assert any(replica.address in plan for replica in replicas)
            assert deployment.master() is old
            terminal.sendline(word)
            terminal.expect(pexpect.EOF)
        finally:
            terminal.close()
        moved = deployment.wait_for(deployment.master, 10, "one master") is not old
        assert moved is (word == "yes")
        assert terminal.exitstatus == (0 if word == "yes" else 2)
        if moved:
            deployment.wait_ready()
        else:
            assert "Nobody typed yes. Nothing was changed." in (terminal.before or "")

    def test_without_a_terminal_nothing_is_moved(self, deployment: Deployment, workspace: Workspace) -> None:
        old = deployment.master()
        done = subprocess.run(
            self.command(deployment, workspace),
            env=workspace.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "Nobody typed yes. Nothing was changed." in done.stdout
        assert deployment.master() is old

    def test_under_ansible_runner_it_says_why_it_does_not_ask(
        self, deployment: Deployment, workspace: Workspace
    ) -> None:
        old = deployment.master()
        run = workspace.run(
            "failover.yml", answers(deployment, confirm="true", failover_precheck=False, failover_report=False)
        )
        assert run.status == "failed"
        assert "nobody can answer where AWX or ansible-runner runs the playbook" in run.message
        assert deployment.master() is old
