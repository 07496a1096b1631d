# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs `ansible-inventory` as AWX does, and reads what it prints."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.modules import PYTHON
from lab.playbooks import Workspace

PLUGIN = "redis_ha.sentinel.sentinel"


@dataclass(frozen=True)
class Listing:
    """What `ansible-inventory --list --export` printed.

    Attributes:
        variables: The variables of each host.
        groups: The hosts of each group, those of its children included.
        warnings: What it printed besides.
    """

    variables: dict[str, dict[str, Any]]
    groups: dict[str, set[str]]
    warnings: str


def write_source(folder: Path, options: Mapping[str, Any], name: str = "sentinel.yml") -> Path:
    """Writes the file of an inventory source. JSON is YAML."""
    path = folder / name
    path.write_text(json.dumps({"plugin": PLUGIN, **options}))
    return path


def list_inventory(workspace: Workspace, source: Path, environment: Mapping[str, str] | None = None) -> Listing:
    """Lists an inventory.

    Raises:
        LabError: It could not be read; with all that was printed.
    """
    shown, said = _run(workspace, environment, "ansible-inventory", "-i", str(source), "--list", "--export")
    listed = _plain(json.loads(shown))
    variables = listed.pop("_meta")["hostvars"]
    return Listing(variables, {name: _members(listed, name) for name in listed}, said)


def read_by_a_play(
    workspace: Workspace, source: Path, environment: Mapping[str, str] | None = None, *words: str
) -> None:
    """Lets `ansible-playbook` read an inventory, for a play that does nothing.

    Raises:
        LabError: It could not be read; with all that was printed.
    """
    play = source.with_name("nothing.yml")
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False}]))
    _run(workspace, environment, "ansible-playbook", "-i", str(source), "--list-hosts", *words, str(play))


def _run(workspace: Workspace, environment: Mapping[str, str] | None, program: str, *words: str) -> tuple[str, str]:
    """What a program of Ansible shows, and what it says besides, as one line however it is wrapped for the terminal."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "REDIS_"))}
    # As AWX sets it: a source that cannot be read is a failure.
    strict = {"ANSIBLE_INVENTORY_UNPARSED_FAILED": "true", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    done = subprocess.run(
        [str(Path(PYTHON).parent / program), *words],
        env={**inherited, **workspace.environment({**strict, **(environment or {})})},
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    said = " ".join(done.stderr.split())
    if done.returncode:
        raise LabError(said)
    return done.stdout, said


def _plain(value: Any) -> Any:
    """Without the marks that ansible-core 2.19 and later put on text that is no template."""
    if isinstance(value, dict):
        return value["__ansible_unsafe"] if "__ansible_unsafe" in value else {k: _plain(v) for k, v in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _members(listed: Mapping[str, Any], name: str) -> set[str]:
    group = listed.get(name, {})
    return set(group.get("hosts", ())).union(*(_members(listed, child) for child in group.get("children", ())))
