# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of drain: runs the module; its result, which is long, does not fill the terminal."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._quiet import quiet


class ActionModule(ActionBase):
    """The module does the work."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        result.update(self._execute_module(module_name="redis_ha.sentinel.drain", task_vars=task_vars))
        return quiet(result, self._display.verbosity)
