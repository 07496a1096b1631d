# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role precheck and its playbook: what is wrong is named all at once, with what to do; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment, Process
from lab.playbooks import Workspace

PROJECT = Path(__file__).parent / "project"


def answers(deployment: Deployment, **more: Any) -> dict[str, Any]:
    return {"sentinels": ",".join(deployment.sentinel_addresses), "master_name": "mymaster", **more}


def test_a_healthy_deployment_passes_and_hands_its_master_on(deployment: Deployment, workspace: Workspace) -> None:
    run = workspace.run("precheck.yml", answers(deployment))
    assert run.succeeded, run.stdout
    assert run.artifacts == {
        "expected_master": deployment.master().address,
        "redis_ha_precheck": {
            "master_name": "mymaster",
            "healthy": True,
            "master": deployment.master().address,
            "failed": [],
            "waived": [],
            "warnings": [],
        },
    }
    assert "changed=0 " in run.stdout


def test_the_role_works_in_check_mode_from_an_inventory_with_a_python_that_cannot_be_used(
    deployment: Deployment, workspace: Workspace
) -> None:
    inventory = (
        "localhost ansible_connection=local ansible_python_interpreter=/nonexistent/python "
        f"redis_ha_sentinels={deployment.sentinel_addresses[0]} redis_ha_master_name=mymaster\n"
    )
    run = workspace.run("precheck.yml", {}, project=PROJECT, inventory=inventory, check=True)
    assert run.succeeded, run.stdout
    assert run.result("Ask every Sentinel")["healthy"]


@pytest.fixture
def broken(deployment: Deployment, seen_down: Callable[[Deployment, Process], bool]) -> Iterator[Deployment]:
    """One Sentinel and one replica are down, and the others know it."""
    sentinel, replica = deployment.sentinels[2], deployment.replicas()[0]
    sentinel.kill()
    replica.kill()
    deployment.wait_for(lambda: seen_down(deployment, replica), 20, "Sentinel to see the replica down")
    yield deployment
    sentinel.start()
    replica.start()
    deployment.wait_ready()


def test_everything_that_fails_is_told_at_once_and_can_be_waived_by_name(
    broken: Deployment, workspace: Workspace
) -> None:
    wanted = answers(broken, precheck_min_fit_replicas=2, precheck_patience=0)
    refused = workspace.run("precheck.yml", wanted)
    assert refused.status == "failed"
    told = " ".join(refused.message.split())
    assert told.startswith("mymaster is not fit to be moved: 2 of ")
    assert (
        f"FAILED sentinels_reachable: 2 of the 3 known Sentinels answer, 3 are wanted; Sentinel {broken.sentinels[2].address}"
        in told
    )
    assert "FAILED fit_replicas: 1 of 2 replicas is fit, 2 are wanted" in told
    assert told.count("What to do: ") == 2
    assert refused.artifacts["redis_ha_precheck"]["failed"] == ["sentinels_reachable", "fit_replicas"]

    names = "sentinels_reachable, fit_replicas,no_tilt"
    waived = workspace.run("precheck.yml", {**wanted, "precheck_waivers": names})
    assert waived.succeeded, waived.stdout
    shown = waived.result("Show what was found")["msg"]
    assert [line.split()[1] for line in shown if line.startswith("waived ")] == [
        "sentinels_reachable:",
        "fit_replicas:",
    ]
    assert "note     waivers of which nothing made use: no_tilt" in shown
    assert waived.artifacts["redis_ha_precheck"]["waived"] == ["sentinels_reachable", "fit_replicas"]
