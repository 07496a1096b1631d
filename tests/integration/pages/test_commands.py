# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the pages, run as they stand, with the addresses of a deployment in place of the pages' own.

A command that stands on several pages is run once. Before each block 192.0.2.21 is the master, as the pages take for granted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Deployment
from lab.modules import CHECKOUT, COLLECTIONS, run_module
from lab.pages import RUN_AS_A_WHOLE, Block, blocks, run_elsewhere, why_not_run, with_addresses
from lab.playbooks import Workspace

# Each command is a start of Ansible.
pytestmark = pytest.mark.timeout(420)
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
BLOCKS = tuple(blocks())


def to_run() -> Iterator[tuple[Block, tuple[str, ...]]]:
    """The blocks with those of their commands that no other block has run."""
    done = {command for block in BLOCKS if block.page in RUN_AS_A_WHOLE for command in block.commands}
    for block in BLOCKS:
        commands = [
            command
            for command in block.commands
            if command not in done and not run_elsewhere(command) and not why_not_run(command)
        ]
        done.update(commands)
        if commands:
            yield block, tuple(commands)


TO_RUN = tuple(to_run())


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with Deployment(down_after_ms=10_000, failover_timeout_ms=10_000, host=HOSTS) as started:
        started.ask_every_second()
        yield started


@pytest.fixture(scope="module")
def folder(deployment: Deployment, workspace: Workspace) -> Path:
    """What the pages take for granted in the folder: a checkout, and the files that they show or speak of."""
    checkout = workspace.folder / "checkout"
    shutil.copytree(CHECKOUT, checkout, ignore=shutil.ignore_patterns(".*", "__pycache__", "output", "*.tar.gz"))
    (source,) = (block for block in BLOCKS if block.page == "docs/inventory.md" and block.line < 20)
    (checkout / "sentinel.yml").write_text(with_addresses(deployment, source.text))
    rows = (f"redis-{host[-1]} ansible_host={host} ansible_connection=local" for host in HOSTS)
    (checkout / "inventory").write_text(
        "".join(f"{row} ansible_python_interpreter={workspace.python}\n" for row in rows)
    )
    # The page's own would upgrade this machine.
    (checkout / "patch.yml").write_text(
        "- hosts: all\n  connection: local\n  gather_facts: false\n"
        f"  vars: {{ansible_python_interpreter: {workspace.python}}}\n  tasks: [ansible.builtin.ping: ]\n"
    )
    return checkout


def environment(workspace: Workspace, *, installs: bool = False) -> dict[str, str]:
    """What is installed goes into a folder of its own, and is used from then on; never into this checkout."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_")}
    own = workspace.folder / "collections"
    paths = [own] if installs else [own, COLLECTIONS]
    return {**inherited, **workspace.environment(), "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, paths))}


def run(words: list[str], folder: Path, environment: dict[str, str], typed: str | None = None) -> str:
    ran = subprocess.run(words, input=typed, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    return ran.stdout


def lead_back(deployment: Deployment) -> None:
    """The first node is the master again, without waiting for what the page before has left."""
    deployment.wait_for(lambda: led_back(deployment), 60, "the first node to be the master")
    deployment.wait_ready()


def led_back(deployment: Deployment) -> bool:
    """Move the master to the first node; on a busy machine a Sentinel may take that one for down, for a moment."""
    first = deployment.nodes()[0]
    if deployment.master() is first:
        return True
    sentinels = deployment.sentinel_addresses
    moved = run_module("failover", sentinels=sentinels, master_name="mymaster", target=first.address)
    assert moved["outcome"] == "switched" or moved["error"] == "target_down", moved
    return bool(moved["outcome"] == "switched")


@pytest.mark.parametrize(("block", "commands"), TO_RUN, ids=[str(block) for block, _commands in TO_RUN])
def test_commands(
    block: Block, commands: tuple[str, ...], deployment: Deployment, folder: Path, workspace: Workspace
) -> None:
    lead_back(deployment)
    script = "\n".join(["set -eu", *(with_addresses(deployment, command) for command in commands)])
    installs = any(command.startswith("ansible-galaxy ") for command in commands)
    output = run(["bash"], folder, environment(workspace, installs=installs), script)
    for word, count in re.findall(r"\b(failed|unreachable)=(\d+)", output):
        assert count == "0", (word, output[-4000:])


def test_the_ten_lines_of_python(deployment: Deployment, workspace: Workspace, tmp_path: Path) -> None:
    lead_back(deployment)
    (block,) = (block for block in BLOCKS if block.page == "docs/python.md" and block.language == "python")
    assert len(block.text.splitlines()) == 10
    output = run([sys.executable, "-c", with_addresses(deployment, block.text)], tmp_path, environment(workspace))
    outcome, lossless, gap_ms = output.split()
    assert (outcome, lossless) == ("switched", "True")
    assert 0 < float(gap_ms) < 10_000
    assert deployment.master() is not deployment.nodes()[0]
