# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as AWX runs them: `python -m lab.jobs`, what AWX knows of the job as JSON on standard input; what the job left is printed as JSON.

What AWX knows: `job` (the name of a playbook and of its survey in `awx/`), `survey` (where another one asks, as that of the workflow does), `answers`
(given in the survey), `credential` (its fields), `artifacts` (handed on by the job before), `extra_vars` (of the job template), `check`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import jinja2
from ansible.parsing.dataloader import DataLoader

from lab.playbooks import AWX, PlaybookRun, Workspace, files_with

# What AWX says of every job, and as what.
_JOB_VARIABLES = {"awx_job_id": 4711, "awx_job_launch_type": "manual", "awx_user_name": "operator"}


def survey_answers(name: str, **given: Any) -> dict[str, Any]:
    """What AWX makes of a survey: the default of every question, and the answers that somebody gave."""
    questions = json.loads((AWX / "surveys" / f"{name}.json").read_text())["spec"]
    unknown = set(given) - {question["variable"] for question in questions}
    if unknown:
        raise ValueError(f"the survey {name} does not ask for {', '.join(sorted(unknown))}")
    # AWX hands on the default of a question that nobody answered, but no empty number.
    defaults = {question["variable"]: question["default"] for question in questions if question["default"] != ""}
    empty = {question["variable"]: "" for question in questions if question["type"] in ("text", "textarea")}
    return {**empty, **defaults, **given}


def injected(**inputs: Any) -> dict[str, str]:
    """What AWX injects into the environment for a credential of the first type."""
    kind = DataLoader().load_from_file(str(AWX / "vars" / "credential_types.yml"))["awx_setup_credential_types"][0]
    unknown = set(inputs) - {field["id"] for field in kind["inputs"]["fields"]}
    if unknown:
        raise ValueError(f"the credential has no {', '.join(sorted(unknown))}")
    values = {field["id"]: False for field in kind["inputs"]["fields"] if field["type"] == "boolean"} | inputs
    return {name: jinja2.Template(str(text)).render(values) for name, text in kind["injectors"]["env"].items()}


def run(workspace: Workspace, job: Mapping[str, Any]) -> PlaybookRun:
    """Runs a job to its end."""
    answers = survey_answers(job.get("survey", job["job"]), **job["answers"])
    template = {**_JOB_VARIABLES, **{f"tower_{key[4:]}": value for key, value in _JOB_VARIABLES.items()}}
    return workspace.run(
        f"{job['job']}.yml",
        # What comes later counts: the answers more than what another node handed on.
        {**template, **job.get("extra_vars", {}), **job.get("artifacts", {}), **answers},
        environment=injected(**job["credential"]) if job.get("credential") else {},
        check=job.get("check", False),
        verbosity=4,
    )


def summary(workspace: Workspace, job: Mapping[str, Any], ended: PlaybookRun) -> dict[str, Any]:
    """What a job left: for whom runs it, for the next node of a workflow, and where it should not be."""
    secrets = [value for field, value in job.get("credential", {}).items() if field.endswith("password")]
    return {
        "status": ended.status,
        "artifacts": ended.artifacts,
        "message": "" if ended.succeeded else ended.message,
        "events": Counter(event["event"] for event in ended.events),
        "modules": {
            task: result
            for task in ("Carry out", "Ask every Sentinel and every node")
            for result in ended.results(task)[:1]
        },
        "censored": [
            event["uuid"] for event in ended.events if "censored" in str(event.get("event_data", {}).get("res"))
        ],
        # The runner's own note of the command carries the environment, as it must.
        "secrets_in": files_with(workspace.folder, secrets, but=lambda path: path.name == "command") if secrets else [],
        "secrets_in_environment": bool(secrets and files_with(workspace.folder, secrets)),
    }


def main() -> int:
    """Runs the job that is described on standard input."""
    job = json.load(sys.stdin)
    with Workspace() as workspace:
        print(json.dumps(summary(workspace, job, run(workspace, job))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
