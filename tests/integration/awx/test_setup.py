# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The set-up of AWX, by the modules of awx.awx themselves: each thing is made, and finds what it is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab.awx import Awx, need_modules
from lab.modules import CHECKOUT
from lab.pages import command_of_a_page
from lab.playbooks import PlaybookRun, Workspace

# Each task is a start of a module, and there are many.
pytestmark = pytest.mark.timeout(420)
NAME = "Redis and Valkey under Sentinel"
ON_HOSTS = {"Sentinel rolling maintenance", "Sentinel drill"}
ON_DEPLOYMENTS = {"Sentinel deployments", "Sentinel deployments report"}


@pytest.fixture
def awx() -> Iterator[Awx]:
    need_modules()
    with Awx(organizations=["Default"], inventories=["Fleet", "Deployments"], credentials=["Sentinel", "Root"]) as it:
        yield it


def set_up(workspace: Workspace, awx: Awx, ending: str = "") -> PlaybookRun:
    """The command of docs/awx.md, with more words at its end."""
    command = command_of_a_page("ansible-playbook awx/setup.yml")
    run = workspace.run_typed(f"{command}{ending}", inventory="", folder=CHECKOUT, environment=awx.environment)
    assert run.succeeded, run.stdout
    return run


def test_the_command_of_the_page_makes_what_one_deployment_needs(awx: Awx, workspace: Workspace) -> None:
    set_up(workspace, awx)
    (project,) = awx.named("projects").values()
    (image,) = awx.named("execution_environments").values()
    inventory = awx.named("inventories")[NAME]
    assert (project["scm_url"], image["image"]) == (
        "https://git.example/redis-window.git",
        "images.example/redis-ha-ee",
    )
    assert len(awx.named("credential_types")) == 3
    (host,) = awx.named("hosts").values()
    assert (host["name"], host["inventory"]) == ("localhost", inventory["id"])

    templates = awx.named("job_templates")
    assert not (ON_HOSTS | ON_DEPLOYMENTS) & set(templates)
    for template in templates.values():
        made_of = (template["project"], template["inventory"], template["execution_environment"])
        assert made_of == (project["id"], inventory["id"], image["id"])
        survey = CHECKOUT / "awx" / "surveys" / f"{template['playbook'].removesuffix('.yml')}.json"
        assert awx.surveys[template["url"]] == json.loads(survey.read_text())
    assert run_by(awx, "Sentinel maintenance window") == ["Sentinel precheck", "Move the master", "Sentinel failover"]


def test_all_of_it_and_a_second_time(awx: Awx, workspace: Workspace) -> None:
    more = {
        "awx_setup_fleet_inventory": "Fleet",
        "awx_setup_deployments_inventory": "Deployments",
        "awx_setup_credentials": ["Sentinel"],
        "awx_setup_fleet_credentials": ["Root"],
    }
    ending = f" -e '{json.dumps(more)}'"
    set_up(workspace, awx, ending)
    templates, inventories = awx.named("job_templates"), awx.named("inventories")
    sentinel, root = (awx.named("credentials")[name]["id"] for name in ("Sentinel", "Root"))
    for name, template in templates.items():
        inventory = "Fleet" if name in ON_HOSTS else "Deployments" if name in ON_DEPLOYMENTS else NAME
        assert template["inventory"] == inventories[inventory]["id"]
        wanted = {sentinel, root} if name in ON_HOSTS else {sentinel}
        assert set(awx.belonging[template["url"], "credentials"]) == wanted
    rolling = "Sentinel rolling maintenance"
    assert run_by(awx, "Sentinel fleet maintenance") == [rolling, "Maintain the fleet", rolling]
    deployments = "Sentinel deployments"
    ways = [deployments, "Act on every deployment", deployments, f"{deployments} report"]
    assert run_by(awx, "Sentinel deployments") == ways

    before = {kind: set(awx.named(kind)) for kind in awx.items}
    again = set_up(workspace, awx, ending)
    assert {kind: set(awx.named(kind)) for kind in awx.items} == before
    told = [event["event_data"] for event in again.events if event["event"] == "runner_on_ok"]
    changed = {it["task"] for it in told if it["res"].get("changed")}
    assert all(task.startswith("Workflow with ") for task in changed), "their nodes are made anew"


def run_by(awx: Awx, workflow: str) -> list[str]:
    """What the nodes of a workflow run, in the order in which they lead to each other."""
    there = awx.named("workflow_job_templates")[workflow]["id"]
    nodes = {
        it["id"]: it for it in awx.items["workflow_job_template_nodes"].values() if it["workflow_job_template"] == there
    }
    after = {
        node["id"]: following
        for node in nodes.values()
        for kind in ("success_nodes", "always_nodes")
        for following in awx.belonging.get((node["url"], kind), [])
    }
    (first,) = set(nodes) - set(after.values())
    order = [first]
    while following := after.get(order[-1]):
        order.append(following)
    names = {
        it["id"]: it["name"]
        for kind in ("job_templates", "workflow_approval_templates")
        for it in awx.items[kind].values()
    }
    return [names[nodes[node]["unified_job_template"]] for node in order]
