# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/getting-started.md, followed to the letter: the deployment of `make lab`, and each command as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.adhoc import read_results
from lab.make import REAL, checkout_for_make, environment_of_make
from lab.modules import CHECKOUT
from lab.pages import Block, blocks
from lab.playbooks import Workspace
from lab.ports import PortReservation

# Each command is a start of Ansible.
pytestmark = pytest.mark.timeout(420)
PAGE = "docs/getting-started.md"
BLOCKS = [block for block in blocks() if block.page == PAGE]
FIRST_PORT = 7000
END = "== end of a block =="


def translated(text: str, first_port: int) -> str:
    """The page's ports may be taken here."""
    return re.sub(rf"\b{FIRST_PORT // 1000}00(\d)\b", lambda found: str(first_port + int(found[1])), text)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the first terminal shows, from the command that is typed there."""
    (command,) = (command for block in BLOCKS for command in block.commands if command.startswith("make lab"))
    with PortReservation() as ports:
        first_port = ports.take_row(6)
    words = shlex.split(translated(command, first_port))
    process = subprocess.Popen(
        [*words[:-1], f"{words[-1]} --json"],
        cwd=checkout_for_make(tmp_path_factory.mktemp("checkout"), REAL),
        env=environment_of_make(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield {**json.loads(process.stdout.readline()), "first_port": first_port}
    finally:
        # Ctrl-C in that terminal reaches make and all that it runs.
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert not [port for port in range(first_port, first_port + 6) if listens(port)], "Ctrl-C ends it"


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def shown(lab: dict[str, Any]) -> Iterator[list[tuple[Block, str]]]:
    """What the second terminal shows, block by block."""
    typed = [block for block in BLOCKS if block.commands and not block.commands[0].startswith("make ")]
    with Workspace() as workspace:
        script = f"set -euo pipefail\nln -s {CHECKOUT}/.cache .cache\n" + f"echo '{END}'\n".join(
            translated(block.text, lab["first_port"]) for block in typed
        )
        ran = subprocess.run(
            ["bash"],
            input=script,
            cwd=workspace.home,
            env={**os.environ, **workspace.environment()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
        assert list(Path(workspace.home, "reports").glob("mymaster-*.html"))
        yield list(zip(typed, ran.stdout.split(f"{END}\n"), strict=True))


def port_of(server: dict[str, Any]) -> int:
    return int(server["address"].rpartition(":")[2])


def test_the_deployment_is_as_the_page_shows_it(lab: dict[str, Any]) -> None:
    (text,) = (block.text for block in BLOCKS if block.language == "text" and "sentinel" in block.text)
    shown = re.findall(r"^ +(?:mymaster +)?(master|replica|sentinel) +127\.0\.0\.1:(\d+)$", text, re.MULTILINE)
    nodes = [(node["role"].replace("slave", "replica"), port_of(node)) for node in lab["masters"]["mymaster"]]
    real = [*nodes, *(("sentinel", port_of(sentinel)) for sentinel in lab["sentinels"])]
    assert [(role, int(port) - FIRST_PORT + lab["first_port"]) for role, port in shown] == real


def test_each_step_does_what_the_page_says(lab: dict[str, Any], shown: list[tuple[Block, str]]) -> None:
    first = {"host": "127.0.0.1", "port": lab["first_port"]}
    _exports, status, rehearsed, moved, back, again = (output for _block, output in shown)
    assert f"127.0.0.1:{lab['first_port'] + 2}" in status
    (plan,) = read_results(rehearsed)
    assert plan["outcome"] == "planned"
    assert 0 < plan["plan"]["expected_write_stop_ms"] < plan["plan"]["worst_case_write_stop_ms"]
    (result,) = read_results(moved)
    assert (result["outcome"], result["lossless"], result["old_master"]) == ("switched", True, first)
    assert "mymaster was moved from" in back
    (unchanged,) = read_results(again)
    assert (unchanged["outcome"], unchanged["changed"]) == ("unchanged", False)


def test_the_page_names_fields_that_the_result_has(shown: list[tuple[Block, str]]) -> None:
    (result,) = read_results(shown[3][1])
    fields = re.findall(r"^\| `(\w+)` \|", (CHECKOUT / PAGE).read_text(), re.MULTILINE)
    assert len(fields) > 3
    assert set(fields) <= set(result)
