# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of wait_for_servers: runs the module again and again, and shows on the controller what it saw."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import SERVERS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._returned import (
    SETTLED,
    WAIT,
    Patience,
    gave_up,
)


class ActionModule(ActionBase):
    """A module cannot print while it runs; this can."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look until all is settled, or waiting is of no use any more."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        patience: Patience | None = None
        shown: list[str] = []
        while True:
            seen = self._execute_module(module_name="redis_ha.sentinel.wait_for_servers", task_vars=task_vars)
            if seen.get("failed"):
                return {**result, **seen}
            # The module has held the options against their types and ranges by now.
            patience = patience or Patience(self._seconds("timeout"), self._seconds("stall_timeout"))
            now_s = time.monotonic()
            verdict, line = patience.look(now_s, seen)
            if line:
                shown.append(line)
                self._show(line)
            if verdict != WAIT:
                break
            time.sleep(self._seconds("poll_interval"))
        waited_s = patience.waited_s(now_s)
        ended = {"waited_ms": round(1000 * waited_s, 1), "progress": shown}
        return {**result, **seen, **ended, **({} if verdict == SETTLED else gave_up(verdict, seen, waited_s))}

    def _show(self, line: str) -> None:
        if not self._task.no_log:
            self._display.display(line)

    def _seconds(self, option: str) -> float:
        return float(self._task.args.get(option, SERVERS[option]["default"]))
