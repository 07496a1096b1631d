# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugins share that show on the controller what their module does while it does it.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.module_utils._live import ENTRIES_FILE
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._narration import Teller, Telling
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._quiet import quiet


class ToldAction(ActionBase):
    """The module does the work. It cannot print while it runs; this can."""

    TRANSFERS_FILES = False
    module_name: str

    def teller(self) -> Teller:
        """What puts the entries of the module into lines."""
        raise NotImplementedError

    def ended(self, result: dict[str, Any]) -> str:
        """How it ended, in a few words."""
        raise NotImplementedError

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, and tell what it does."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        tell = self._run_here if self._connection.transport == "local" else self._run_elsewhere
        result.update(tell(task_vars or {}))
        return quiet(result, self._display.verbosity)

    def _run_here(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        with self._entries_file() as path, Telling(self._show, self._where(task_vars), path, self.teller()):
            return self._run_module(task_vars)

    def _run_elsewhere(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """On another host: what its file says cannot be read from here before it has ended."""
        where = self._where(task_vars)
        self._show(f"The run is on {where}. Its steps cannot be shown before it has ended.")
        with Telling(self._show, where, None, self.teller()):
            result = self._run_module(task_vars)
        self._show(f"The run on {where} has ended, {self.ended(result)}")
        return result

    def _run_module(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name=self.module_name, task_vars=task_vars)
        return result

    @contextmanager
    def _entries_file(self) -> Iterator[Path]:
        """The file that the module writes to, for this user alone; its name is in the environment of the module."""
        before = self._task.environment
        # Ansible clears this folder at its end, also where it ends this process.
        folder = Path(tempfile.mkdtemp(prefix="redis_ha_", dir=constants.DEFAULT_LOCAL_TMP))
        try:
            path = folder / "entries"
            path.touch(mode=0o600)
            self._task.environment = [*(before or []), {ENTRIES_FILE: str(path)}]
            yield path
        finally:
            self._task.environment = before
            shutil.rmtree(folder, ignore_errors=True)

    def _where(self, task_vars: dict[str, Any]) -> str:
        return str(self._task.delegate_to or task_vars.get("inventory_hostname", "this host"))

    def _show(self, line: str) -> None:
        if not self._task.no_log:
            self._display.display(line)
