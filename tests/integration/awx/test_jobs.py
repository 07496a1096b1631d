# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX does with `awx/`: answers of a survey as extra variables, secrets of a credential in the environment, results handed on."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment, jobs
from lab.jobs import survey_answers
from lab.playbooks import CommandLines, PlaybookRun, Workspace, files_with

NODE_PASSWORD = f"node-{secrets.token_hex(12)}"
SENTINEL_PASSWORD = f"sentinel-{secrets.token_hex(12)}"
VAULT_PASSWORD = f"vault-{secrets.token_hex(12)}"
SECRETS = [NODE_PASSWORD, SENTINEL_PASSWORD, VAULT_PASSWORD]


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    """Runs are as they are in AWX: nothing is there that an earlier one has compiled."""
    with Workspace(from_nothing=True) as made:
        yield made


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """Every server wants a password."""
    with Deployment(
        down_after_ms=2000,
        node_config=(f"requirepass {NODE_PASSWORD}", f"masterauth {NODE_PASSWORD}"),
        sentinel_config=(f"requirepass {SENTINEL_PASSWORD}", f"sentinel sentinel-pass {SENTINEL_PASSWORD}"),
        sentinel_master_config=(f"sentinel auth-pass {{name}} {NODE_PASSWORD}",),
        node_auth=(None, NODE_PASSWORD),
        sentinel_auth=(None, SENTINEL_PASSWORD),
    ) as started:
        started.ask_every_second()
        yield started


def survey(name: str, deployment: Deployment, **answers: Any) -> dict[str, Any]:
    given = {"sentinels": ",".join(deployment.sentinel_addresses), "master_name": "mymaster", **answers}
    return survey_answers(name, **given)


@pytest.fixture(scope="module")
def injected() -> dict[str, str]:
    return jobs.injected(redis_password=NODE_PASSWORD, sentinel_password=SENTINEL_PASSWORD)


def leaks(workspace: Workspace) -> list[str]:
    """Files in which a secret stands: events, output, reports, what Ansible has left. Only the runner's note of the
    command carries the environment, as it must; the words of that command are looked at.
    """
    notes = list(workspace.folder.rglob("command"))
    for note in notes:
        words = json.loads(note.read_text())["command"]
        assert not any(secret in word for secret in SECRETS for word in words)
    assert notes
    return files_with(workspace.folder, SECRETS, but=lambda path: path.name in ("command", "vault-password"))


def test_the_workflow_checks_then_moves_the_master_that_was_approved(
    deployment: Deployment, workspace: Workspace, injected: dict[str, str]
) -> None:
    old = deployment.master()
    with CommandLines(SECRETS) as processes:
        checked = workspace.run("precheck.yml", survey("precheck", deployment), environment=injected, verbosity=4)
        assert checked.succeeded, checked.stdout
        assert checked.artifacts["expected_master"] == old.address
        # Between the two, somebody approves. AWX hands the artifacts on as extra variables.
        answers = survey("workflow", deployment, postcheck_marker="true", report_title="CHG0004711")
        reports = {"report_directory": str(workspace.reports)}
        moved = workspace.run(
            "failover.yml", {**answers, **reports, **checked.artifacts}, environment=injected, verbosity=4
        )
        assert moved.succeeded, moved.stdout
    result = moved.artifacts["redis_ha_failover"]
    assert (result["outcome"], result["lossless"]) == ("switched", True)
    assert (result["old_master"], result["new_master"]) == (old.address, deployment.master().address)
    assert "CHG0004711" in Path(result["report_files"]["html"]).read_text()
    assert_events_tell_everything(moved)
    assert any("ansible-playbook" in program or "python" in program for program in processes.seen)
    assert not processes.found
    assert len(list(workspace.folder.rglob("*.html"))) == 1
    assert not leaks(workspace)
    assert files_with(workspace.folder, SECRETS), "the search finds what is there: the runner's notes"
    deployment.wait_ready()

    # Approved too late: another master than the one that was approved is there now.
    again = workspace.run("failover.yml", {**answers, **reports, **checked.artifacts}, environment=injected)
    assert again.status == "failed"
    assert again.artifacts["redis_ha_failover"]["error"] == "expected_master_mismatch"
    assert not leaks(workspace)


def assert_events_tell_everything(run: PlaybookRun) -> None:
    """One task is not hidden to keep a secret: the result of each module is there."""
    kinds = {event["event"] for event in run.events}
    assert {"playbook_on_start", "runner_on_ok", "playbook_on_stats"} <= kinds
    invocation = run.result("Carry out")["invocation"]["module_args"]
    assert invocation["redis_password"] in ("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", None)
    assert run.result("Carry out")["timeline"]
    assert not any("censored" in str(event.get("event_data", {}).get("res")) for event in run.events)


def test_the_status_job_shows_everything_with_passwords_from_a_vault(
    deployment: Deployment, workspace: Workspace
) -> None:
    folder = workspace.folder / "vault"
    folder.mkdir()
    (folder / "vault-password").write_text(VAULT_PASSWORD)
    environment = workspace.environment()
    program = str(Path(environment["PATH"].split(":")[0]) / "ansible-vault")
    encrypted = subprocess.run(
        [
            program,
            "encrypt",
            "--vault-password-file",
            str(folder / "vault-password"),
            "--output",
            str(folder / "secrets.yml"),
        ],
        input=f"redis_password: {NODE_PASSWORD}\nsentinel_password: {SENTINEL_PASSWORD}\n",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert encrypted.returncode == 0, encrypted.stderr
    with CommandLines(SECRETS) as processes:
        run = workspace.run(
            "status.yml",
            survey("status", deployment, master_name=""),
            verbosity=4,
            options=f"-e @{folder}/secrets.yml --vault-password-file {folder}/vault-password",
        )
    assert run.succeeded, run.stdout
    shown = "\n".join(run.result("Show who is what")["msg"])
    assert all(process.address in shown for process in deployment.processes)
    chosen, other = run.result("Show which replica would be promoted")["results"][0]["msg"]
    assert chosen.startswith("would be promoted: ")
    assert "writes would stand still for about" in chosen
    assert other.startswith("not ")
    assert run.artifacts["redis_ha_status"] == {
        "masters": {"mymaster": deployment.master().address},
        "healthy": ["mymaster"],
        "unhealthy": [],
    }
    assert not processes.found
    assert not leaks(workspace)


def test_a_job_without_its_credential_says_so(deployment: Deployment, workspace: Workspace) -> None:
    run = workspace.run("status.yml", survey("status", deployment))
    assert run.status == "failed"
    assert "REDIS_SENTINEL_PASSWORD" in run.message or "sentinel_password" in run.message
