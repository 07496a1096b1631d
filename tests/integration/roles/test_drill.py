# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drill: it stops the master that is meant, times what Sentinel does, and gives everything back whatever happens."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._drill import PARTS as DRILL_PARTS

from lab import Deployment, Process
from lab.jobs import survey_answers
from lab.modules import CHECKOUT
from lab.pages import command_of_a_page, with_addresses
from lab.playbooks import PlaybookRun, Workspace

PLAYBOOKS = CHECKOUT / "playbooks"
PARTS = ("detected", "agreed", "elected", "promoted", "named", "followed")


def inventory(workspace: Workspace) -> str:
    return f"redis-1 ansible_host=127.0.0.1 ansible_connection=local ansible_python_interpreter={workspace.python}\n"


def drill(workspace: Workspace, deployment: Deployment, master: Process, **more: Any) -> PlaybookRun:
    given = {
        "sentinels": deployment.sentinel_addresses[0],
        "master_name": "mymaster",
        "expected_master": master.address,
        "drill": True,
        "drill_become": False,
        "drill_stop_command": f"kill -STOP {master.pid}",
        "drill_start_command": f"kill -CONT {master.pid}",
        "postcheck_poll_interval": 0.5,
        **more,
    }
    return workspace.run("drill.yml", given, project=PLAYBOOKS, inventory=inventory(workspace))


def drill_as_typed(workspace: Workspace, deployment: Deployment, master: Process, folder: Path) -> PlaybookRun:
    """The command of docs/drill.md. The host is one where nobody must become root, and on which the service is a process of ours."""
    systemctl = folder / "systemctl"
    systemctl.write_text(
        f'#!/bin/sh\n[ "$1 $3" = "kill redis-server" ] && kill -s "${{2#--signal=SIG}}" {master.pid}\n'
    )
    systemctl.chmod(0o755)
    path = {"PATH": os.pathsep.join([str(folder), workspace.environment()["PATH"]])}
    command = with_addresses(deployment, command_of_a_page("ansible-playbook redis_ha.sentinel.drill"))
    assert f"expected_master={master.address}" in command
    variables = "[all:vars]\ndrill_become=false\npostcheck_poll_interval=0.5\n"
    return workspace.run_typed(command, inventory=inventory(workspace) + variables, environment=path)


def test_it_times_every_part_and_gives_everything_back(
    deployment: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    old = deployment.master()
    run = drill_as_typed(workspace, deployment, old, tmp_path)
    assert run.succeeded, run.stdout
    assert deployment.master() is old
    deployment.wait_ready()
    found = run.artifacts["redis_ha_drill"]
    assert (found["proven"], found["given_back"], found["error"]) == (True, True, None)
    assert found["old_master"] == old.address != found["new_master"]
    times_ms = [found["figures_ms"][part] for part in PARTS]
    assert times_ms == sorted(times_ms), "the parts are in the order in which Sentinel takes them"
    # Sentinel asks once a second, and calls a master down that has been silent for down-after-milliseconds.
    assert times_ms[0] >= deployment.down_after_ms - 1000
    assert found["write_gap_ms"] == found["figures_ms"]["named"]
    assert found["planned"]["what"] == "the move back"
    assert found["planned"]["write_gap_ms"] < found["write_gap_ms"]
    said = run.result("Say what came of it")["msg"]
    assert said[0] == f"mymaster: Sentinel moved the master by itself from {old.address} to {found['new_master']}"
    assert any("beside it, the move back: writes stood still" in line for line in said)
    page = Path(found["report_files"]["html"]).read_text()
    assert f"Sentinel moved mymaster by itself from {old.address} to {found['new_master']}." in page
    rows = re.findall(
        r'<td>([^<]+)</td><td class="number" [^>]+>([^<]+)</td><td class="number" [^>]+>([^<]+)</td>', page
    )
    assert [label for label, *_figures in rows[:3]] == [text for _part, text in DRILL_PARTS[:3]]
    assert [planned for _label, _automatic, planned in rows[:3]] == ["none is needed"] * 3
    assert all(planned.endswith(" ms") for _label, _automatic, planned in rows[3:]), rows


def test_a_job_of_awx_refuses_a_deployment_that_nobody_allowed_to_be_hurt(
    deployment: Deployment, workspace: Workspace
) -> None:
    old = deployment.master()
    answers = survey_answers(
        "drill",
        sentinels=deployment.sentinel_addresses[0],
        drill_master_name="mymaster",
        drill_expected_master=old.address,
    )
    run = workspace.run("drill.yml", answers, inventory=inventory(workspace))
    assert run.status == "failed"
    assert (
        "Say drill: true (drill_allowed in a role or a survey) if this deployment may be hurt. Nothing was done."
        in run.message
    )
    assert not run.results("Stop ")
    assert deployment.master() is old


def test_a_master_that_does_not_stop_is_started_all_the_same_and_named(
    deployment: Deployment, workspace: Workspace
) -> None:
    old = deployment.master()
    run = drill(workspace, deployment, old, drill_stop_command="true", drill_stop_timeout=2)
    assert run.status == "failed"
    assert run.message.startswith(f"the master {old.address} has not fallen silent within 2 s")
    assert run.artifacts["redis_ha_drill"]["error"] == "master_not_stopped"
    assert run.results(f"Start again {old.address}")
    assert deployment.master() is old
