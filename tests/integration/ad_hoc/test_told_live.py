# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees at the terminal while a run goes on, and when."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import STEPS

from lab import Deployment
from lab.adhoc import ad_hoc_command
from lab.machine import times_slower
from lab.modules import PYTHON
from lab.playbooks import Workspace

LONGEST_SILENCE_S = 3.0
TOLD = ("discover    Ask", "discover    still at work")
# Before the module has begun, a line says only that the run is at work.
STEP = re.compile(rf" *\d+\.\d+ s +({'|'.join(step.name for step in STEPS)}) +(.+)")


@dataclass(frozen=True)
class Line:
    """A line, and when it was on the terminal, in seconds from the start of the command."""

    at_s: float
    text: str


@dataclass(frozen=True)
class Shown:
    """All that a command has shown."""

    lines: tuple[Line, ...]
    ended_at_s: float
    code: int

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def told(self) -> list[Line]:
        """The lines that tell of a step."""
        return [line for line in self.lines if STEP.fullmatch(line.text)]

    @property
    def steps(self) -> list[str]:
        """The steps that are told of, in their order."""
        return [match[1] for line in self.lines if (match := STEP.fullmatch(line.text))]

    @property
    def longest_silence_s(self) -> float:
        """From the first line that tells of a step to the end."""
        moments = [line.at_s for line in self.lines if line.at_s >= self.told[0].at_s]
        return max(later - earlier for earlier, later in pairwise((*moments, self.ended_at_s)))

    def first(self, part: str) -> Line:
        return next(line for line in self.lines if part in line.text)


def at_a_terminal(command: Sequence[str], environment: Mapping[str, str]) -> Shown:
    """Runs a command to its end at a terminal of its own."""
    began_s = time.monotonic()
    screen, terminal = os.openpty()
    process = subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    lines, begun = [], b""
    try:
        while data := _read(screen):
            *whole, begun = (begun + data).split(b"\n")
            now_s = time.monotonic() - began_s
            lines += [Line(now_s, text.decode().rstrip("\r")) for text in whole]
        code = process.wait(timeout=100)
    finally:
        os.close(screen)
        process.kill()
        process.wait()
    return Shown(tuple(lines), time.monotonic() - began_s, code)


def _read(screen: int) -> bytes:
    """What is new on a terminal; nothing, once nobody writes to it any more."""
    try:
        return os.read(screen, 65536)
    except OSError:
        return b""


def ad_hoc(workspace: Workspace, arguments: Mapping[str, Any], *more: str) -> Shown:
    return at_a_terminal([*ad_hoc_command("failover", arguments), *more], {**os.environ, **workspace.environment()})


def test_a_run_tells_each_step_while_it_lasts() -> None:
    """The old way takes eleven seconds, most of which it waits: nothing else is as slow without anything being wrong."""
    with Workspace(from_nothing=True) as workspace, Deployment() as deployment:
        arguments = {"sentinels": deployment.sentinel_addresses, "master_name": "mymaster"}
        shown = ad_hoc(workspace, {**arguments, "strategy": "plain", "accept_loss": True})
        assert shown.code == 0, shown.text
        order = list(dict.fromkeys(shown.steps))
        assert order[:2] == ["discover", "plan"]
        assert order[-1] == "settle"
        assert order.index("trigger") < order.index("promote") < order.index("settle")
        assert "still waiting: " in shown.text
        result = shown.first("localhost | CHANGED")
        assert result.at_s - shown.first(" s  settle ").at_s > 2.0, "it was shown while it lasted"
        assert all(line.at_s <= result.at_s for line in shown.told)
        assert shown.longest_silence_s <= LONGEST_SILENCE_S * times_slower(), shown.text
        assert not list((workspace.home / "ansible").glob("tmp/*")), "the file is gone"

        fenced = ad_hoc(workspace, arguments)
        assert fenced.code == 0, fenced.text
        assert re.search(r"every Sentinel names .*, \d+\.\d ms after writes were stopped", fenced.text)
        planned = ad_hoc(workspace, arguments, "--check")
        assert list(dict.fromkeys(planned.steps)) == ["discover", "plan"]


def test_a_run_that_hangs_says_that_it_is_at_work() -> None:
    with Workspace() as workspace, socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        shown = ad_hoc(workspace, {"sentinels": address, "master_name": "mymaster", "connect_timeout": 6})
    assert '"error": "sentinel_unreachable"' in shown.text
    assert shown.text.count("discover    still at work") >= 2
    assert shown.longest_silence_s <= LONGEST_SILENCE_S * times_slower(), shown.text


def test_a_job_of_awx_tells_it_too() -> None:
    """While it lasts: the events that carry the lines come before the one that ends the task."""
    with Workspace() as workspace, socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"sentinels": f"127.0.0.1:{silent.getsockname()[1]}", "master_name": "mymaster", "connect_timeout": 4}
        play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"redis_ha.sentinel.failover": options}]}
        (workspace.folder / "play.yml").write_text(json.dumps([play]))
        came: list[tuple[float, dict[str, Any]]] = []
        run = workspace.run(
            "play.yml",
            {},
            project=workspace.folder,
            inventory=f"localhost ansible_connection=local ansible_python_interpreter={PYTHON}\n",
            on_event=lambda event: came.append((time.monotonic(), event)),
        )
    assert "does not answer in time" in run.message
    moments = {part: at_s for at_s, event in reversed(came) for part in TOLD if part in event.get("stdout", "")}
    (ended_s,) = (at_s for at_s, event in came if event["event"] == "runner_on_failed")
    assert set(moments) == set(TOLD), run.stdout
    assert moments["discover    Ask"] < moments["discover    still at work"] < ended_s - 0.5


def test_on_another_host_it_says_where_the_run_is_and_how_it_ended() -> None:
    """A connection that is not local, to this machine: a command that runs what it is given stands in for ssh."""
    with Workspace() as workspace, socket.create_server(("127.0.0.1", 0)) as silent:
        ssh = workspace.home / "ssh"
        ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec /bin/sh -c "$last"\n')
        ssh.chmod(0o700)
        inventory = workspace.home / "inventory.ini"
        inventory.write_text(
            f"sentinel1 ansible_connection=ssh ansible_ssh_executable={ssh} ansible_pipelining=true"
            f" ansible_python_interpreter={PYTHON}\n"
        )
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = ad_hoc_command("failover", {"sentinels": address, "master_name": "mymaster", "connect_timeout": 4})
        command[1:2] = ["sentinel1", "-i", str(inventory)]
        shown = at_a_terminal(command, {**os.environ, **workspace.environment()})
    assert '"error": "sentinel_unreachable"' in shown.text
    before = shown.first("The run is on sentinel1. Its steps cannot be shown before it has ended.")
    during = shown.first("at work on sentinel1")
    after = shown.first("The run on sentinel1 has ended, refused: Sentinel ")
    assert before.at_s < during.at_s < after.at_s
