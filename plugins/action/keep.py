# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin keep: a value for register, which the terminal does not show."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._quiet import kept, quiet


class ActionModule(ActionBase):
    """What set_fact keeps, it prints, whatever its length."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"value"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the value; that it tells of a failure is no failure of this task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        return quiet({**result, **kept(self._task.args["value"])}, self._display.verbosity)
