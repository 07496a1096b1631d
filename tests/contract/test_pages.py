# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command and every example of the pages fits what the collection takes. tests/integration/pages runs the commands."""

from __future__ import annotations

import ast
import builtins
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.splitter import parse_kv
from ansible_collections.redis_ha.sentinel.plugins.action.guard import SHARED
from ansible_collections.redis_ha.sentinel.plugins.doc_fragments.connection import ModuleDocFragment
from ansible_collections.redis_ha.sentinel.plugins.inventory import sentinel as inventory
from ansible_collections.redis_ha.sentinel.plugins.module_utils import _options

from lab.modules import CHECKOUT, COLLECTIONS
from lab.pages import (
    NOT_RUN,
    PAGES,
    RUN_AS_A_WHOLE,
    RUN_ELSEWHERE,
    SHELL,
    Block,
    begins_with,
    blocks,
    command_of_a_page,
    run_elsewhere,
    why_not_run,
)

BLOCKS = tuple(blocks())
COMMANDS = tuple((block, command) for block in BLOCKS for command in block.commands)
# What is written as text is what a server reads or what is shown.
LANGUAGES = SHELL | {"yaml", "text", "python"}
# Settings of client libraries, which `make clients` measures; they are no commands.
CLIENTS = "docs/clients.md"
GIVEN = frozenset({"sentinels"})
"""What the text above a block says that the reader has."""
# Whatever of these is named nowhere else is run by tests/integration/pages/test_commands.py. What follows `make` may take all day: it has to be named.
PROGRAMS = frozenset({"ansible", "ansible-galaxy", "ansible-inventory", "ansible-playbook", "export", "unset"})
# What a run leaves for those that follow.
HANDED_ON = frozenset({"redis_ha_failover", "report_files"})
MODULE = "redis_ha.sentinel."
OPTIONS: dict[str, dict[str, Any]] = {
    "drain": _options.DRAIN,
    "failover": _options.FAILOVER,
    "health_info": _options.HEALTH,
    "replication_marker": _options.MARKER,
    "topology_info": _options.TOPOLOGY,
    "wait_for_replicas": _options.WAIT,
    "wait_for_servers": _options.SERVERS,
}


def of_language(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def test_every_page_is_read() -> None:
    assert {"README.md", "docs/getting-started.md", "roles/failover/README.md"} <= set(PAGES)
    assert set(RUN_AS_A_WHOLE) <= set(PAGES)
    assert all((CHECKOUT / test).exists() for test in RUN_AS_A_WHOLE.values())


def test_every_block_says_what_it_is() -> None:
    unknown = [
        f"{block}: {block.language}" for block in BLOCKS if block.language not in LANGUAGES and block.page != CLIENTS
    ]
    assert not unknown


@pytest.mark.parametrize("block", of_language("python"), ids=str)
def test_python_can_be_read(block: Block) -> None:
    """tests/integration/pages runs what is a whole program."""
    assert ast.parse(block.text).body


@pytest.mark.parametrize("block", of_language("python"), ids=str)
def test_python_uses_no_name_that_nobody_gives_it(block: Block) -> None:
    assert not free_names(ast.parse(block.text)) - GIVEN


def free_names(program: ast.Module) -> set[str]:
    """Names that are read and bound nowhere."""
    nodes = list(ast.walk(program))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ExceptHandler)) and node.name}
    bound |= {
        (alias.asname or alias.name).partition(".")[0]
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    return {node.id for node in nodes if isinstance(node, ast.Name)} - bound - set(dir(builtins))


# ---- commands ------------------------------------------------------------------------------------------------------


def test_what_is_not_run_is_on_a_page_and_names_what_there_is() -> None:
    for beginning, reason in NOT_RUN.items():
        assert any(begins_with(command, beginning) for _block, command in COMMANDS), beginning
        for file in re.findall(r"(?:tests|molecule)/[\w/.]+\w", reason):
            assert (CHECKOUT / file).exists(), file


def test_what_a_test_of_its_own_runs_is_on_a_page() -> None:
    for beginning, test in RUN_ELSEWHERE.items():
        assert begins_with(command_of_a_page(beginning), beginning), "it is one command, and no other begins so"
        text = (CHECKOUT / test).read_text()
        assert all(word in text for word in beginning.split()), f"{test} does not run {beginning}"


def test_every_command_is_run_by_a_test_or_named_among_those_that_are_not_run() -> None:
    unknown = [
        (str(block), command)
        for block, command in COMMANDS
        if command.split()[0] not in PROGRAMS and not run_elsewhere(command) and not why_not_run(command)
    ]
    assert not unknown


def module_calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where a module is called, which one, and with which options, in commands and in examples."""
    for block, command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "ansible":
            name = words[words.index("-m") + 1]
            options = parse_kv(words[words.index("-a") + 1]) if "-a" in words else {}
            yield str(block), name.removeprefix(MODULE), options
    for block in of_language("yaml"):
        for task in tasks_within(yaml.safe_load(block.text)):
            for name, options in task.items():
                if name.removeprefix(MODULE) in OPTIONS and name.startswith(MODULE):
                    yield str(block), name.removeprefix(MODULE), options


def tasks_within(value: Any) -> Iterator[dict[str, Any]]:
    """Whatever may be a task, at any depth."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from tasks_within(inner)


def test_modules_are_called_with_options_that_they_have() -> None:
    calls = list(module_calls())
    assert len(calls) > 20
    for where, name, options in calls:
        known = {**_options.CONNECTION, **OPTIONS[name]}
        assert not set(options) - set(known), where
        required = {option for option, rules in OPTIONS[name].items() if rules.get("required")}
        assert required <= set(options), where
        for option, value in options.items():
            assert value in known[option].get("choices", [value]), (where, option)


def role_variables() -> set[str]:
    """What the roles may be told, of all of them together."""
    files = sorted(CHECKOUT.glob("roles/*/meta/argument_specs.yml"))
    specs = [yaml.safe_load(file.read_text())["argument_specs"] for file in files]
    return {name for spec in specs for entry in spec.values() for name in entry.get("options", {})}


def playbook_names(playbook: str) -> set[str]:
    """What a playbook of the collection takes by -e: variables of roles, and the options that its files of variables know."""
    files = [CHECKOUT / f"playbooks/vars/{name}.yml" for name in ("options", playbook, "failover")]
    texts = [file.read_text() for file in files if file.exists()]
    return role_variables() | {name for text in texts for name in re.findall(r"\{\{ (\w+) \| default", text)}


def test_playbooks_are_given_names_that_they_know() -> None:
    seen = 0
    for block, command in COMMANDS:
        words = shlex.split(command)
        playbook = next((word for word in words[1:] if word.startswith(MODULE)), "").removeprefix(MODULE)
        if words[0] != "ansible-playbook" or not playbook:
            continue
        seen += 1
        assert (CHECKOUT / f"playbooks/{playbook}.yml").exists(), (str(block), playbook)
        given = [word for option, word in itertools.pairwise(words) if option == "-e" and "=" in word]
        names = {word.partition("=")[0] for word in given}
        assert not names - playbook_names(playbook), str(block)
    assert seen > 15


def test_playbooks_and_files_that_are_named_are_shown_on_a_page() -> None:
    text = "".join((CHECKOUT / page).read_text() for page in PAGES)
    for block, command in COMMANDS:
        for file in re.findall(r"(?:^|[ @])([\w/]+\.yml)\b", command):
            assert (CHECKOUT / file).exists() or f"```yaml\n# {file}" in text, (str(block), file)


# ---- examples ------------------------------------------------------------------------------------------------------


def plays(block: Block) -> Any:
    """An example as a playbook; nothing if it is a file of variables or of an inventory."""
    value = yaml.safe_load(block.text)
    if not isinstance(value, list):
        return None
    return value if "hosts" in value[0] else [{"hosts": "all", "gather_facts": False, "tasks": value}]


def test_examples_are_understood_by_ansible(tmp_path: Path) -> None:
    files = []
    for number, block in enumerate(of_language("yaml")):
        if (example := plays(block)) is not None:
            file = tmp_path / f"{number}-{Path(block.page).stem}-{block.line}.yml"
            file.write_text(yaml.safe_dump(example, sort_keys=False))
            files.append(str(file))
        if named := re.match(r"# ([\w/]+\.yml)\b", block.text):
            (tmp_path / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / named[1]).write_text(block.text)
    assert len(files) > 15
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "--syntax-check", "-i", "localhost,", *files],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("playbook: ") == len(files)


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_variables_of_examples_are_known(block: Block) -> None:
    """A name that begins as those of the roles do is one of theirs."""
    known = role_variables() | SHARED | HANDED_ON
    prefixes = ("redis_ha_", *(f"{role.name}_" for role in (CHECKOUT / "roles").iterdir()))
    registered = set(re.findall(r"register: (\w+)", block.text))
    names = {
        name
        for value in tasks_within(yaml.safe_load(block.text))
        for name in value
        if name.startswith(prefixes) and not name.startswith(MODULE)
    }
    assert not names - known - registered


def test_inventory_sources_have_options_that_the_plugin_has() -> None:
    documented = yaml.safe_load(inventory.DOCUMENTATION)["options"]
    shared = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    ansibles = {"cache", "cache_plugin", "cache_connection", "cache_timeout", "compose", "groups", "keyed_groups"}
    sources = [yaml.safe_load(block.text) for block in of_language("yaml") if "\nplugin: " in block.text]
    assert len(sources) > 3
    for source in sources:
        assert source["plugin"] == "redis_ha.sentinel.sentinel"
        assert not set(source) - set(documented) - set(shared) - ansibles - {"plugin"}
        for deployment in source.get("deployments", []):
            assert not set(deployment) - set(shared) - {"name", "master_name"}
