# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation of the inventory and the lookup plugin promises, held against what they are."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.redis_ha.sentinel.plugins.doc_fragments.connection import ModuleDocFragment
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import ConnectionOptions
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import CONNECTION
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils import _hosts
from unit.builders import L0, NAME, snapshot

from lab.modules import COLLECTIONS

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = {"inventory": "sentinel", "lookup": "master"}
ENVIRONMENT = yaml.safe_load(ModuleDocFragment.PLUGIN)["options"]


def documentation(kind: str) -> dict[str, Any]:
    module = importlib.import_module(f"ansible_collections.redis_ha.sentinel.plugins.{kind}.{PLUGINS[kind]}")
    read: dict[str, Any] = yaml.safe_load(module.DOCUMENTATION)
    return read


def test_plugins_read_the_environment_that_modules_read() -> None:
    fallbacks = {name: option["fallback"][1] for name, option in CONNECTION.items() if "fallback" in option}
    assert {name: [entry["name"] for entry in option["env"]] for name, option in ENVIRONMENT.items()} == fallbacks


@pytest.mark.parametrize("kind", PLUGINS)
def test_each_shares_the_fragment_and_repeats_none_of_it(kind: str) -> None:
    read = documentation(kind)
    assert read["name"] == PLUGINS[kind]
    assert read["extends_documentation_fragment"][:2] == [
        "redis_ha.sentinel.connection",
        "redis_ha.sentinel.connection.plugin",
    ]
    assert not set(read["options"]) & set(CONNECTION)


@pytest.mark.parametrize("kind", PLUGINS)
def test_each_option_has_its_type_its_default_and_its_variable(kind: str) -> None:
    """As Ansible itself reads them, from both parts of the fragment."""
    full_name = f"redis_ha.sentinel.{PLUGINS[kind]}"
    command = [str(Path(sys.executable).parent / "ansible-doc"), "--json", "-t", kind, full_name]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    options = json.loads(shown)[full_name]["doc"]["options"]
    for name, wanted in CONNECTION.items():
        option = options[name]
        assert (option["type"], option.get("elements"), option.get("default")) == (
            wanted["type"],
            wanted.get("elements"),
            wanted.get("default"),
        )
        assert [entry["name"] for entry in option.get("env", [])] == wanted.get("fallback", (None, []))[1]


def test_the_options_of_a_deployment_are_those_of_the_connection() -> None:
    text = " ".join(documentation("inventory")["options"]["deployments"]["description"])
    assert re.findall(r"O\((\w+)\)", text) == list(CONNECTION)


def test_the_choices_are_those_that_the_code_knows() -> None:
    assert documentation("inventory")["options"]["host_for"]["choices"] == [_hosts.MACHINE, _hosts.SERVER]


def test_every_variable_of_a_host_is_documented_and_no_other() -> None:
    rows = _hosts.server_rows("shop", {NAME: snapshot()}, ConnectionOptions((L0,)))
    (host, *_others) = _hosts.inventory_of(rows, _hosts.MACHINE, "redis_").hosts
    notes = " ".join(documentation("inventory")["notes"])
    assert set(re.findall(r"C\((ansible_host|redis_\w+)\)", notes)) == set(host.variables)
    inner = notes.partition("C(redis_servers)")[2].partition("C(redis_master_of)")[0]
    assert set(re.findall(r"C\((\w+)\)", inner)) == set(host.variables["redis_servers"][0])


def test_every_group_is_documented() -> None:
    text = " ".join(documentation("inventory")["description"])
    named = set(re.findall(r"C\((redis_\w+)\)", text)) - {"redis_ha_sentinel"}
    parts = {f"redis_{part}NAME" for part in _hosts.PARTS.values()}
    assert named == {*_hosts.FIXED_GROUPS.values(), "redis_NAME", *parts}


def test_what_comes_first_in_every_role_has_loaded_all_filters() -> None:
    """Else each task compiles them, and what they import, for itself."""
    code = (
        "import sys, ansible_collections.redis_ha.sentinel.plugins.action.guard\n"
        "print(*(name.rpartition('.')[2] for name in sys.modules if '.sentinel.plugins.filter.' in name))"
    )
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert sorted(shown.split()) == sorted(path.stem for path in (ROOT / "plugins" / "filter").glob("*.py"))
