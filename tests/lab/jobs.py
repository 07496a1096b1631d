# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX gives a job: the answers of its survey, what it says of the job itself, and the environment that a credential injects."""

from __future__ import annotations

import json
from typing import Any

import jinja2
from ansible.parsing.dataloader import DataLoader

from lab.playbooks import AWX

# What AWX says of every job, under two names each.
_JOB_VARIABLES = {"awx_job_id": 4711, "awx_job_launch_type": "manual", "awx_user_name": "operator"}


def survey_answers(name: str, **given: Any) -> dict[str, Any]:
    """What a job gets: what AWX says of it, the default of every question of its survey, and the answers that somebody gave."""
    questions = json.loads((AWX / "surveys" / f"{name}.json").read_text())["spec"]
    unknown = set(given) - {question["variable"] for question in questions}
    if unknown:
        raise ValueError(f"the survey {name} does not ask for {', '.join(sorted(unknown))}")
    # AWX hands on the default of a question that nobody answered, but no empty number.
    defaults = {question["variable"]: question["default"] for question in questions if question["default"] != ""}
    empty = {question["variable"]: "" for question in questions if question["type"] in ("text", "textarea")}
    said = {**_JOB_VARIABLES, **{f"tower_{key[4:]}": value for key, value in _JOB_VARIABLES.items()}}
    return {**said, **empty, **defaults, **given}


def injected(**inputs: Any) -> dict[str, str]:
    """What AWX injects into the environment for a credential of the first type."""
    kind = DataLoader().load_from_file(str(AWX / "vars" / "credential_types.yml"))["awx_setup_credential_types"][0]
    unknown = set(inputs) - {field["id"] for field in kind["inputs"]["fields"]}
    if unknown:
        raise ValueError(f"the credential has no {', '.join(sorted(unknown))}")
    values = {field["id"]: False for field in kind["inputs"]["fields"] if field["type"] == "boolean"} | inputs
    return {name: jinja2.Template(str(text)).render(values) for name, text in kind["injectors"]["env"].items()}
