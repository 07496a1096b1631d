# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What decides is apart from what asks: the layers of the map in CONTRIBUTING.md, held against what the files import."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from lab.modules import COLLECTIONS

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "ansible_collections.redis_ha.sentinel.plugins."
LAYERS = ("pure", "servers", "run", "strategies", "module")
MAP = dict(re.findall(r"^\| `(_\w+)\.py` \| (\w+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
PURE = sorted(name for name, layer in MAP.items() if layer == "pure")

FORBIDDEN = {
    "ansible",
    "redis",
    "socket",
    "_socket",
    "ssl",
    "select",
    "selectors",
    "asyncio",
    "subprocess",
    "threading",
}
"""What a pure file loads neither itself nor by what it imports. ``ansible_collections`` is the namespace that it lives in."""

HARMLESS = {"__future__", "collections", "dataclasses", "re", "shlex", "typing"}
"""What a pure file may import itself: nothing that tells the time, draws a number, or reads a file."""

LOAD = """
import json, sys
before = set(sys.modules)
sys.path.insert(0, {collections!r})
__import__({module!r})
print(json.dumps([sorted(before), sorted(sys.modules)]))
"""


def imports(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = str(node.module)
            # "from package import module" imports the module, too.
            found |= {f"{module}.{alias.name}" for alias in node.names} if module + "." in PACKAGES else {module}
    return found


PACKAGES = {f"{PREFIX}module_utils.", f"{PREFIX}plugin_utils.", PREFIX}


def own_imports(path: Path) -> set[str]:
    """Of these the files of the collection, as ``folder.name``."""
    return {name.removeprefix(PREFIX) for name in imports(path) if name.startswith(PREFIX)}


def files(folder: str) -> list[Path]:
    return sorted((ROOT / "plugins" / folder).glob("*.py"))


def test_every_layer_is_known_and_none_is_empty() -> None:
    assert set(MAP.values()) == set(LAYERS)


@pytest.mark.parametrize("name", PURE)
def test_a_pure_file_loads_nothing_that_asks(name: str) -> None:
    code = LOAD.format(collections=str(COLLECTIONS), module=f"{PREFIX}module_utils.{name}")
    shown = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    before, after = ({module.partition(".")[0] for module in modules} for modules in json.loads(shown))
    assert not before & FORBIDDEN, "the interpreter itself has loaded it: nothing can be told"
    assert "ansible_collections" in after
    assert not after & FORBIDDEN


def test_a_file_that_asks_is_seen_to_load_what_a_pure_one_must_not() -> None:
    code = LOAD.format(collections=str(COLLECTIONS), module=f"{PREFIX}module_utils._connection")
    shown = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"redis", "socket", "ssl"} <= {module.partition(".")[0] for module in json.loads(shown)[1]}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_file_does_not_know_the_time(name: str) -> None:
    others = {module for module in imports(ROOT / f"plugins/module_utils/{name}.py") if not module.startswith(PREFIX)}
    assert {module.partition(".")[0] for module in others} <= HARMLESS


@pytest.mark.parametrize("name", sorted(MAP))
def test_no_import_leads_to_a_layer_above(name: str) -> None:
    height = LAYERS.index(MAP[name])
    for imported in own_imports(ROOT / f"plugins/module_utils/{name}.py"):
        folder, _dot, other = imported.partition(".")
        assert folder == "module_utils"
        assert LAYERS.index(MAP[other]) <= height, f"{name} ({MAP[name]}) imports {other} ({MAP[other]})"


@pytest.mark.parametrize("path", files("plugin_utils"), ids=lambda path: path.stem)
def test_what_plugins_share_imports_no_plugin(path: Path) -> None:
    assert {name.partition(".")[0] for name in own_imports(path)} <= {"module_utils", "plugin_utils"}


def test_there_is_no_circle() -> None:
    graph = {
        f"{folder}.{path.stem}": own_imports(path)
        for folder in ("module_utils", "plugin_utils")
        for path in files(folder)
    }
    order = list(TopologicalSorter(graph).static_order())
    assert set(graph) <= set(order)


def prints(source: str) -> bool:
    """Whether a file prints."""
    called = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return any(isinstance(name, ast.Name) and name.id == "print" for name in called)


def test_plugins_print_nothing() -> None:
    """What a module prints beside its result spoils it for Ansible."""
    paths = (ROOT / "plugins").rglob("*.py")
    assert [path.name for path in paths if prints(path.read_text())] == []


def test_a_print_is_seen() -> None:
    assert prints("def run():\n    print('here')\n")
