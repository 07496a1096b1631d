# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Five deployments of their own in one inventory: one play moves all their masters and writes one report, also where AWX cuts it into slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import Deployment
from lab.modules import CHECKOUT
from lab.pages import command_of_a_page
from lab.playbooks import PlaybookRun, Workspace

PLAYBOOKS = CHECKOUT / "playbooks"
HOSTS = ("127.0.0.2", "127.0.0.3")
NAMES = ("shop", "search", "mail-1", "wiki", "chat")
COMMAND = "ansible-playbook redis_ha.sentinel.fleet -i deployments.yml"
ALL = "[all:vars]\nfailover_precheck=false\nfailover_postcheck=false\nreport_title=CHG0031337\n"
UNCHECKED = {"failover_precheck": False, "failover_postcheck": False}
"""What belongs to one deployment is proven elsewhere."""

Fleet = Mapping[str, Deployment]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        made = {name: Deployment(replicas=1, sentinels=3, down_after_ms=2000, host=HOSTS) for name in NAMES}
        list(pool.map(Deployment.start, made.values()))
        for deployment in made.values():
            stack.callback(deployment.stop)
            deployment.ask_every_second()
        yield made


def inventory(fleet: Fleet, names: tuple[str, ...] = NAMES, **more: str) -> str:
    rows = [
        f"{name} redis_ha_sentinels={','.join(fleet[name].sentinel_addresses)} redis_ha_master_name=mymaster {more.get(name, '')}"
        for name in names
    ]
    return "[deployments]\n" + "\n".join(rows) + "\n"


def as_typed(workspace: Workspace, ending: str, inventory: str, hosts: Mapping[str, str] | None = None) -> PlaybookRun:
    """The command of docs/fleet.md that ends so, with our hosts for those of the page. What else is asked for stands in the inventory."""
    command = command_of_a_page(f"{COMMAND} {ending}")
    for shown, host in (hosts or {}).items():
        assert shown in command
        command = command.replace(shown, host)
    return workspace.run_typed(command, inventory=inventory + ALL)


def run(workspace: Workspace, inventory: str, **given: object) -> PlaybookRun:
    return workspace.run("fleet.yml", {**UNCHECKED, **given}, project=PLAYBOOKS, inventory=inventory)


def test_one_run_moves_all_and_one_that_is_refused_stops_no_other(fleet: Fleet, workspace: Workspace) -> None:
    old = {name: fleet[name].master().address for name in NAMES}
    asked = inventory(fleet, wiki="failover_expected_master=127.0.0.1:1")
    moved = as_typed(workspace, "--forks 10", asked)
    assert moved.status == "failed", "one of them has failed"
    now = {name: fleet[name].master().address for name in NAMES}
    assert {name for name in NAMES if now[name] == old[name]} == {"wiki"}

    # One task moves all that are left, and each deployment has its row.
    told = {entry["deployment"]: entry for entry in moved.artifacts.values()}
    assert set(told) == set(NAMES)
    for name in NAMES:
        (row,) = told[name]["masters"]
        assert (row["outcome"], row["old_master"]) == ("refused" if name == "wiki" else "switched", old[name])
        assert (row["new_master"], row["lossless"]) == (
            (now[name], True) if name != "wiki" else (row["new_master"], None)
        )

    said = moved.result("Show what became of each deployment")["msg"]
    assert said[0].startswith(
        "5 deployments, 5 masters: 4 switched, 1 refused. Failed: wiki. No acknowledged write was lost."
    )
    (page,) = (path for path in workspace.reports.glob("fleet-*.html") if not any(name in path.name for name in NAMES))
    text = page.read_text()
    assert "CHG0031337" in text
    for name in NAMES:
        assert now[name] in text
        own = workspace.reports / f"{page.stem}-{name}.html"
        assert own.exists(), "each has its own report beside it"
        assert f'href="{own.name}"' in text


def test_hosts_are_emptied_in_the_deployments_that_are_named_and_in_no_other(
    fleet: Fleet, workspace: Workspace
) -> None:
    old = {name: fleet[name].master() for name in NAMES}
    hosts = {"192.0.2.21": old["shop"].host, "198.51.100.21": old["search"].host}
    assert len(set(hosts.values())) == 1, "the other host of each is left to move to"
    drained = as_typed(workspace, "-e fleet_role=drain", inventory(fleet), hosts)
    assert drained.succeeded, drained.stdout
    assert {name for name in NAMES if fleet[name].master() is not old[name]} == {"shop", "search"}


def test_slices_are_put_together_by_the_job_after_them_and_a_batch_in_which_one_failed_is_the_last_of_its_slice(
    fleet: Fleet, workspace: Workspace, tmp_path: Path
) -> None:
    """AWX gives each slice some hosts of the inventory, and to the next node what all of them handed on."""
    leave = {"wiki": f"drain_hosts={fleet['wiki'].master().host}"}
    # Without Sentinels of its own it would be looked for on this machine.
    first = inventory(fleet, ("wiki",), **leave) + "lost redis_ha_master_name=mymaster\n" + inventory(fleet, ("shop",))
    stopped = run(workspace, first, fleet_serial="2,100%", fleet_role="drain")
    assert stopped.message == "lost has no Sentinels of its own. Give it the variable redis_ha_sentinels."
    said = stopped.result("Show what became of each deployment")["msg"]
    assert "1 switched. Failed: lost. Not begun: shop." in said[0]

    mail = inventory(fleet, ("mail-1",))
    master = fleet["mail-1"].master().address
    planned = as_typed(workspace, "--check", mail)
    assert planned.succeeded, planned.stdout
    assert fleet["mail-1"].master().address == master
    checked = as_typed(workspace, "-e fleet_role=precheck", f"{mail}[deployments:vars]\nfleet_report=false\n")
    assert checked.succeeded, checked.stdout
    handed_on = {**stopped.artifacts, **checked.artifacts}
    assert len(handed_on) == 3

    given = {**handed_on, "report_directory": str(tmp_path), "report_name": "whole"}
    whole = workspace.run("fleet_report.yml", given, inventory=first + mail)
    assert whole.message.startswith("4 deployments, 2 masters: 1 switched, 1 fit. Failed: lost. Not begun: shop.")
    page = (tmp_path / "whole.html").read_text()
    assert all(name in page for name in ("wiki", "lost", "shop", "mail-1"))
