# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs playbooks as AWX does: through ansible-runner, with the answers of a survey as extra variables."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner

from lab import compiled
from lab.background import Background
from lab.errors import LabError
from lab.modules import CHECKOUT, COLLECTIONS, PYTHON, quick_python

AWX = CHECKOUT / "awx"
_YOUNG_S = 1.0


@dataclass(frozen=True)
class PlaybookRun:
    """What a run left.

    Attributes:
        status: `successful`, `failed`, and so on.
        events: What the runner told, event by event.
        stdout: What a person saw.
        artifacts: What `set_stats` handed on.
        seconds: How long it took.
        folder: All that the runner wrote; gone with the `Workspace`.
    """

    status: str
    events: tuple[dict[str, Any], ...]
    stdout: str
    artifacts: dict[str, Any]
    seconds: float
    folder: Path

    @property
    def succeeded(self) -> bool:
        return self.status == "successful"

    def results(self, task: str) -> list[dict[str, Any]]:
        """The results of the tasks whose name begins so, skipped ones left out."""
        return [
            event["event_data"]["res"]
            for event in self.events
            if event["event"] in ("runner_on_ok", "runner_on_failed")
            and event["event_data"]["task"].startswith(task)
            and "res" in event["event_data"]
        ]

    def result(self, task: str) -> dict[str, Any]:
        """The result of the only task whose name begins so."""
        found = self.results(task)
        if len(found) != 1:
            raise LabError(f"{len(found)} results of a task {task!r}:\n{self.stdout[-3000:]}")
        return found[0]

    def tasks(self) -> list[str]:
        """The names of the tasks that were come to, in their order."""
        return [
            event["event_data"]["task"]
            for event in self.events
            if event["event"] in ("runner_on_ok", "runner_on_failed")
        ]

    @property
    def failures(self) -> list[str]:
        """The messages of tasks that failed and were not rescued, last."""
        return [
            str(event["event_data"]["res"].get("msg"))
            for event in self.events
            if event["event"] == "runner_on_failed" and not event["event_data"].get("ignore_errors")
        ]

    @property
    def message(self) -> str:
        """What the play failed with."""
        if not self.failures:
            raise LabError(f"the playbook ended {self.status}:\n{self.stdout[-3000:]}")
        return self.failures[-1]


class Workspace:
    """A private folder for runs: nothing of the user's own Ansible is read, nothing is left in the user's home.

    Args:
        from_nothing: Whether each run compiles and loads everything, as it does for a user, where others find what was compiled before, and their
            modules are forks.

    Attributes:
        python: What its runs run modules with.
    """

    def __init__(self, *, from_nothing: bool = False) -> None:
        self.python = PYTHON if from_nothing else quick_python()
        self._quick = {} if from_nothing else {**compiled.in_use(), "LAB_PYTHON": self.python}
        self.folder = Path(tempfile.mkdtemp(prefix="redis-ha-runner-"))
        self.home = self.folder / "home"
        self.reports = self.folder / "reports"
        self.home.mkdir()
        # A module that is killed leaves there what it was unpacked to.
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        # How often Ansible looks whether a task has ended: a thousand times a second takes a part of the processor for itself.
        settings = ["[defaults]", "internal_poll_interval = 0.01", *([] if from_nothing else ["pipelining = true"])]
        (self.home / "ansible.cfg").write_text("\n".join(settings) + "\n")
        self._count = 0

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a run, beside what is inherited."""
        return {
            "PATH": os.pathsep.join([str(Path(PYTHON).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(self.home),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(self.home / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.home / "ansible"),
            "ANSIBLE_REMOTE_TMP": str(self.home / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(self.temporary),
            **self._quick,
            **(more or {}),
        }

    def run(
        self,
        playbook: str,
        variables: Mapping[str, Any],
        *,
        project: Path = AWX,
        environment: Mapping[str, str] | None = None,
        inventory: str = "localhost ansible_connection=local\n",
        check: bool = False,
        verbosity: int = 0,
        options: str = "",
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> PlaybookRun:
        """Runs a playbook of a project to its end.

        Args:
            playbook: Its file in the project, or its name as `namespace.collection.playbook`.
            variables: Extra variables; flat, as a survey gives them.
            project: The folder of the project; the one that AWX reads by itself.
            environment: What a credential type injects.
            inventory: Text of the inventory.
            check: Whether to run in check mode.
            verbosity: How many `-v`.
            options: Further words of the command line.
            on_event: Called with each event as it comes, from another thread.
        """
        self._count += 1
        folder = self.folder / f"run-{self._count}"
        (folder / "env").mkdir(parents=True)
        (folder / "inventory").mkdir()
        (folder / "inventory" / "hosts").write_text(inventory)
        defaults = {"report_directory": str(self.reports)}
        (folder / "env" / "extravars").write_text(json.dumps({**defaults, **variables}))

        def keep(event: dict[str, Any]) -> bool:
            if on_event is not None:
                on_event(event)
            return True

        began_s = time.monotonic()
        with _WithoutSettingsOfTheUser():
            run = ansible_runner.run(
                private_data_dir=str(folder),
                project_dir=str(project),
                playbook=playbook,
                envvars=self.environment(environment),
                # As AWX does: what a credential injects is in the environment of the process and in no file.
                suppress_env_files=True,
                cmdline=f"{'--check ' if check else ''}{options}".strip() or None,
                verbosity=verbosity or None,
                quiet=True,
                event_handler=keep,
            )
        seconds = time.monotonic() - began_s
        events = tuple(run.events)
        stats = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
        stdout = "\n".join(event["stdout"] for event in events if event.get("stdout"))
        artifacts = stats[-1].get("artifact_data", {}) if stats else {}
        return PlaybookRun(run.status, events, stdout, artifacts, seconds, folder)

    def run_typed(
        self,
        command: str,
        *,
        inventory: str,
        folder: Path = AWX,
        environment: Mapping[str, str] | None = None,
    ) -> PlaybookRun:
        """Runs `ansible-playbook NAME ...` of a page with the page's own words.

        Args:
            command: The command; `with_addresses` has put the addresses of a deployment into it.
            inventory: Text of the inventory, in place of the file that follows `-i`.
            folder: Where the files are that it names.
            environment: As for `run`.
        """
        _program, playbook, *words = shlex.split(command)
        if "-i" in words:
            del words[words.index("-i") : words.index("-i") + 2]
        return self.run(
            playbook, {}, project=folder, environment=environment, inventory=inventory, options=shlex.join(words)
        )


class _WithoutSettingsOfTheUser:
    """The runner hands on the environment of this process."""

    def __enter__(self) -> None:
        self._saved = {key: value for key, value in os.environ.items() if key.startswith(("ANSIBLE_", "REDIS_"))}
        for key in self._saved:
            del os.environ[key]

    def __exit__(self, *_: object) -> None:
        os.environ.update(self._saved)


class CommandLines(Background):
    """Looks, as long as the `with` block lasts, for texts among the words of every process of this machine."""

    def __init__(self, wanted: list[str]) -> None:
        super().__init__()
        self._wanted = [text.encode() for text in wanted]
        self.found: set[str] = set()
        self.seen: set[str] = set()

    def work(self) -> None:
        """Look again and again."""
        next_look_s: dict[str, float] = {}
        born_s: dict[str, float] = {}
        while not self.over.wait(0.01):
            now_s = time.monotonic()
            there = [name for name in os.listdir("/proc") if name.isdecimal()]
            born_s = {process: born_s.get(process, now_s) for process in there}
            for process in there:
                # A process becomes another program soon after it has begun, or hardly ever.
                if now_s - born_s[process] < _YOUNG_S or now_s >= next_look_s.get(process, 0.0):
                    next_look_s[process] = now_s + _YOUNG_S
                    self._look(process)

    def _look(self, process: str) -> None:
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended between the two looks.
            return
        program = words.split(b"\0")[0].decode(errors="replace")
        self.seen.add(program)
        if any(text in words for text in self._wanted):
            self.found.add(program)


def files_with(folder: Path, texts: list[str], but: Callable[[Path], bool] = lambda _path: False) -> list[str]:
    """The files below a folder in which one of the texts stands."""
    pattern = re.compile("|".join(map(re.escape, texts)).encode())
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not but(path) and pattern.search(path.read_bytes())
    ]
