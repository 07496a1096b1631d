# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rolling maintenance under write load: every server is restarted, nothing is lost, and a run that stopped is gone on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.light_writers import LightWriters
from lab import Deployment
from lab.jobs import survey_answers
from lab.maintenance import RESTART, Away, Restarter, look_often, service_managers
from lab.modules import CHECKOUT, run_module
from lab.pages import command_of_a_page, with_addresses
from lab.playbooks import PlaybookRun, Workspace

COMMAND = "ansible-playbook redis_ha.sentinel.rolling_maintenance -i inventory -e sentinels=192.0.2.11:26379 -e rolling_maintenance_tasks=restart"
PLAYBOOKS = CHECKOUT / "playbooks"
HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 6))
NAMES = ("shop", "cart", "user")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Deployment]:
    with Deployment(
        masters=NAMES, replicas=2, sentinels=5, host=HOSTS, mixed=True, down_after_ms=5000, failover_timeout_ms=20_000
    ) as started:
        look_often(started.sentinels)
        yield started


def inventory(workspace: Workspace) -> str:
    return "".join(
        f"redis-{number} ansible_host={host} ansible_connection=local ansible_python_interpreter={workspace.python}\n"
        for number, host in enumerate(HOSTS, 1)
    )


def roll(workspace: Workspace, fleet: Deployment, restarter: str, state: Path, **more: Any) -> PlaybookRun:
    given = {
        # The one that is named is on a host that is taken away, too.
        "sentinels": fleet.sentinel_addresses[0],
        "rolling_maintenance_tasks": str(RESTART),
        "rolling_state_file": str(state),
        "rolling_poll_interval": 0.5,
        "restarter": restarter,
        **more,
    }
    return workspace.run("rolling_maintenance.yml", given, project=PLAYBOOKS, inventory=inventory(workspace))


def roll_as_typed(
    workspace: Workspace, fleet: Deployment, restarter: str, state: Path, ending: str = ""
) -> PlaybookRun:
    """The command of docs/rolling-maintenance.md, on hosts where nobody must become root, with a service manager of ours."""
    managers = state.parent / "managers"
    managers.mkdir()
    hosts = service_managers(managers, restarter, HOSTS)
    rows = (
        f"redis-{number} ansible_host={host} ansible_connection=local ansible_python_interpreter={hosts[host]}\n"
        for number, host in enumerate(HOSTS, 1)
    )
    more = f"ansible_become=false\nrolling_state_file={state}\nrolling_poll_interval=0.5\n"
    return workspace.run_typed(
        with_addresses(fleet, command_of_a_page(f"{COMMAND}{ending}")),
        inventory=f"{''.join(rows)}[all:vars]\n{more}",
        environment={"ANSIBLE_LIBRARY": str(managers)},
    )


def masters(fleet: Deployment) -> dict[str, str]:
    return {name: fleet.master(name).address for name in NAMES}


@pytest.mark.timeout(1200)
def test_every_server_is_restarted_by_a_run_that_stopped_and_one_that_went_on_and_nothing_is_lost(
    fleet: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    before = masters(fleet)
    pids = {process.address: process.pid for process in fleet.processes}
    with (
        Away(fleet) as away,
        Restarter(fleet, away) as restarter,
        LightWriters(fleet.sentinel_addresses, NAMES, pause_ms=5.0) as writers,
    ):
        restarter.refuses.add(HOSTS[0])
        first = roll_as_typed(workspace, fleet, restarter.url, state)
        assert first.status == "failed"
        assert set(restarter.restarted) == {HOSTS[3], HOSTS[4]}, "the hosts without a master come first"
        restarter.refuses.clear()
        second = roll(workspace, fleet, restarter.url, state, rolling_give_back=True)
        written = writers.end()

    assert "Stopped at redis-1, during the maintenance itself: redis-1: " in first.message
    assert "Done: redis-4, redis-5. Left: redis-1, redis-2, redis-3." in first.message
    found = first.artifacts["redis_ha_rolling"]
    assert (found["stage"], found["done"]) == ("maintenance", ["redis-4", "redis-5"])
    assert second.succeeded, second.stdout
    assert second.artifacts["redis_ha_rolling"]["ended_at"]

    assert sorted(restarter.restarted) == sorted(HOSTS), "what was done is not done again"
    assert all(process.pid != pids[process.address] for process in fleet.processes)
    for node in (node for name in NAMES for node in fleet.replicas(name)):
        assert "Full resync from master" in node.log_text(), "nothing was kept on disk: each had to be filled anew"
    assert away.seen == {node.address for name in NAMES for node in fleet.nodes(name)}
    assert set(away.most.values()) == {1}, "never more than one node of a master is away"
    assert masters(fleet) == before, "each host has its masters back, also those that left it in the first run"
    for name in NAMES:
        with fleet.master(name).client() as client:
            assert written[name].lost(client) == 0
        print(f"{name}: {len(written[name].acknowledged)} written, longest gap {written[name].longest_gap_s():.3f} s")
    assert state.stat().st_mode & 0o777 == 0o600
    assert json.loads(state.read_text())["masters"] == before
    fleet.wait_ready()
    move_back_as_typed(fleet, workspace, state)
    assert masters(fleet) == before


def move_back_as_typed(fleet: Deployment, workspace: Workspace, state: Path) -> None:
    """The command of docs/rolling-maintenance.md, after somebody has moved a master elsewhere."""
    name = NAMES[0]
    sentinels = fleet.sentinel_addresses
    moved = run_module("failover", sentinels=sentinels, master_name=name, expected_master=fleet.master(name).address)
    assert moved["outcome"] == "switched", moved
    fleet.wait_ready()
    shutil.copy(state, workspace.home / ".redis_ha_rolling.json")
    command = with_addresses(fleet, command_of_a_page("ansible-playbook redis_ha.sentinel.move_back"))
    run = workspace.run_typed(command, inventory=inventory(workspace))
    assert run.succeeded, run.stdout
    (back,) = run.artifacts["redis_ha_move_back"]["results"]
    (master,) = back["masters"]
    assert (master["name"], master["lossless"]) == (name, True), "what is in its place stays"


@pytest.mark.timeout(300)
def test_a_host_whose_servers_do_not_come_back_stops_it_and_it_goes_on_there(
    fleet: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    only = {"rolling_hosts": "redis-5", "rolling_stall_timeout": 3, "rolling_postcheck": False}
    there = [process for process in fleet.processes if process.host == HOSTS[4]]
    with Away(fleet) as away, Restarter(fleet, away) as restarter:
        restarter.keeps_down.add(HOSTS[4])
        stopped = roll(workspace, fleet, restarter.url, tmp_path / "state.json", **only)
        assert stopped.message.startswith("Stopped at redis-5, while waiting for its servers: ")
        silent = (
            f"{process.address} {is_one}does not answer" for process in there for is_one in ("", "is a Sentinel that ")
        )
        assert any(words in stopped.message for words in silent)
        assert "Done: none. Left: redis-5. Mend what is named and run again: the run goes on here." in stopped.message
        restarter.keeps_down.clear()
        for process in there:
            process.start()
        look_often([process for process in there if process.role == "sentinel"])
        fleet.wait_ready()
        again = roll(workspace, fleet, restarter.url, tmp_path / "state.json", **only)
    assert again.succeeded, again.stdout
    assert restarter.restarted == [HOSTS[4]]
    fleet.wait_ready()


def test_a_host_that_nobody_has_is_refused_before_anything_is_done(
    fleet: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    run = roll(workspace, fleet, "http://127.0.0.1:1", tmp_path / "state.json", rolling_hosts="redis-9")
    assert run.message == "The inventory has no host and no group redis-9. Nothing was done."
    assert not (tmp_path / "state.json").exists()


def test_in_check_mode_the_command_says_the_order_and_does_nothing(
    fleet: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    run = roll_as_typed(workspace, fleet, "http://127.0.0.1:1", state, " --check")
    assert run.succeeded, run.stdout
    assert order_said_by(run) == ["redis-4", "redis-5", "redis-1", "redis-2", "redis-3"]
    assert not run.results("Restart the services")
    assert not state.exists()


def order_said_by(run: PlaybookRun) -> list[str]:
    return [line.split()[1].strip(":") for line in run.result("Say in which order")["msg"]]


def test_in_check_mode_the_job_of_awx_says_the_order_and_does_nothing(
    fleet: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    answers = survey_answers(
        "rolling_maintenance",
        sentinels=fleet.sentinel_addresses[0],
        rolling_maintenance_tasks=str(RESTART),
        rolling_state_file=str(tmp_path / "state.json"),
    )
    given = {**answers, "restarter": "http://127.0.0.1:1"}
    run = workspace.run("rolling_maintenance.yml", given, inventory=inventory(workspace), check=True)
    assert run.succeeded, run.stdout
    assert order_said_by(run) == ["redis-4", "redis-5", "redis-1", "redis-2", "redis-3"]
    assert not run.results("Restart every server")
    assert not (tmp_path / "state.json").exists()
