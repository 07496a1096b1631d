# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugins as Ansible runs them, but for the module that they would start: what that returns is given."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ansible.playbook.task import Task

Module = Callable[[Any], dict[str, Any]]
"""What a module does and returns; it is handed the task."""


class Terminal:
    """What a person sees."""

    def __init__(self, verbosity: int = 0) -> None:
        self.verbosity = verbosity
        self.lines: list[str] = []

    def display(self, line: str) -> None:
        self.lines.append(line)


class Started:
    """One task with an action plugin.

    Args:
        kind: The class of the plugin.
        args: What the task gives.
        module: What the module does; ``None`` where none may be started.
        transport: The kind of connection.
        verbosity: How many -v.
        task: What else the task says.
    """

    def __init__(
        self,
        kind: Any,
        args: dict[str, Any],
        module: Module | None = None,
        transport: str = "local",
        verbosity: int = 0,
        **task: Any,
    ) -> None:
        self.task = Task()
        self.task.args = args
        for name, value in task.items():
            setattr(self.task, name, value)
        self.terminal = Terminal(verbosity)
        self.modules: list[str] = []
        shell = SimpleNamespace(tmpdir=None)
        self.plugin = kind(
            task=self.task,
            connection=SimpleNamespace(transport=transport, _shell=shell),
            play_context=None,
            loader=None,
            templar=None,
            shared_loader_obj=None,
        )
        # Ansible's loader says under which name it has found it; up to 2.18 a refusal of options has the name in it.
        self.plugin._load_name = kind.__module__
        self._module = module
        self.plugin._display = self.terminal
        self.plugin._execute_module = self._execute

    def run(self, **variables: Any) -> dict[str, Any]:
        """The result of the task."""
        result: dict[str, Any] = self.plugin.run(task_vars=variables)
        return result

    def _execute(self, module_name: str, task_vars: Any) -> dict[str, Any]:
        assert self._module is not None, f"it starts {module_name}"
        self.modules.append(module_name)
        return self._module(self.task)
