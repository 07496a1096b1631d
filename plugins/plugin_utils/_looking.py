# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""An action plugin that runs a module again and again until all is settled, and shows on the controller what it saw.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Callable, Protocol

from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.module_utils._patience import SETTLED, WAIT


class Watch(Protocol):
    """Takes in the looks, one after the other."""

    def look(self, now_s: float, result: Mapping[str, Any]) -> tuple[str, list[str]]:
        """Whether to wait on, and the lines to show."""

    def waited_s(self, now_s: float) -> float:
        """Seconds since the first look."""


class LookingAction(ActionBase):
    """A module cannot print while it runs; this can.

    Attributes:
        module_name: The module that takes one look.
        options: The specs of its options, for the defaults of ``timeout``, ``stall_timeout`` and ``poll_interval``.
        watch: Makes a watch of ``timeout`` and ``stall_timeout``, in seconds.
        gave_up: What a result says besides when the wait ended in vain.
    """

    TRANSFERS_FILES = False
    module_name: str
    options: Mapping[str, Mapping[str, Any]]
    watch: Callable[[float, float], Watch]
    gave_up: Callable[[str, Mapping[str, Any], float], dict[str, Any]]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look until all is settled, or waiting is of no use any more."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        watch: Watch | None = None
        shown: list[str] = []
        while True:
            seen = self._execute_module(module_name=self.module_name, task_vars=task_vars)
            if self.is_end(seen, first=watch is None):
                return {**result, **seen}
            # The module has held the options against their types and ranges by now.
            watch = watch or self.watch(self._seconds("timeout"), self._seconds("stall_timeout"))
            now_s = time.monotonic()
            verdict, lines = watch.look(now_s, seen)
            for line in lines:
                shown.append(line)
                if not self._task.no_log:
                    self._display.display(line)
            if verdict != WAIT:
                break
            time.sleep(self._seconds("poll_interval"))
        waited_s = watch.waited_s(now_s)
        ended = {"waited_ms": round(1000 * waited_s, 1), "progress": shown}
        return {**result, **seen, **ended, **({} if verdict == SETTLED else self.gave_up(verdict, seen, waited_s))}

    def is_end(self, seen: Mapping[str, Any], first: bool) -> bool:
        """Whether a look has failed in a way that another one would not mend; ``first``: whether it is the first."""
        del first
        return bool(seen.get("failed"))

    def _seconds(self, option: str) -> float:
        return float(self._task.args.get(option, self.options[option]["default"]))
