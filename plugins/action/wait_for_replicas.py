# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of wait_for_replicas: runs the module again and again, and shows on the controller what it saw."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import WAIT
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replication import (
    SETTLED,
    Watch,
    gave_up,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replication import (
    WAIT as WAIT_ON,
)


class ActionModule(ActionBase):
    """A module cannot print while it runs; this can."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look until all is settled, or waiting is of no use any more."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        watch: Watch | None = None
        shown: list[str] = []
        while True:
            seen = self._execute_module(module_name="redis_ha.sentinel.wait_for_replicas", task_vars=task_vars)
            # Sentinels that fall silent later may come back; while they are silent, nothing moves.
            if "mark" not in seen or (seen.get("failed") and watch is None):
                return {**result, **seen}
            # The module has held the options against their types and ranges by now.
            watch = watch or Watch(self._seconds("timeout"), self._seconds("stall_timeout"))
            now_s = time.monotonic()
            verdict, lines = watch.look(now_s, seen)
            for line in lines:
                shown.append(line)
                if not self._task.no_log:
                    self._display.display(line)
            if verdict != WAIT_ON:
                break
            time.sleep(self._seconds("poll_interval"))
        waited = {"waited_ms": round(1000 * (now_s - watch.began_s), 1), "progress": shown}
        return {
            **result,
            **seen,
            **waited,
            **(gave_up(verdict, seen, now_s - watch.began_s) if verdict != SETTLED else {}),
        }

    def _seconds(self, option: str) -> float:
        return float(self._task.args.get(option, WAIT[option]["default"]))
