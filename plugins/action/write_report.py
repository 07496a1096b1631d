# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin write_report: the report on one failover, made and written on the controller in one step."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._quiet import quiet
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report import report
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_files import ENDINGS, file_name, write

TEXT = {"type": "str", "default": ""}
OPTIONS: dict[str, dict[str, Any]] = {
    "result": {"type": "dict", "required": True},
    "before": {"type": "dict", "default": {}},
    "after": {"type": "dict", "default": {}},
    "drill": {"type": "dict", "default": {}},
    **dict.fromkeys(("master_name", "failure", "title", "operator", "job", "name"), TEXT),
    "directory": {"type": "path", "required": True},
    "formats": {"type": "list", "elements": "str", "choices": sorted(ENDINGS), "required": True},
}


class ActionModule(ActionBase):
    """The module copy would start Python four times for two files, and have the pages made anew each time."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the files."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _checked, args = self.validate_argument_spec(OPTIONS)
        now = datetime.now(timezone.utc)
        about = {name: args[name] for name in ("master_name", "failure", "title", "operator", "job", "drill")}
        made = report(
            args["result"], args["before"], args["after"], made_at=now.strftime("%Y-%m-%d %H:%M:%S UTC"), **about
        )
        wanted = {name: made[name] for name in args["formats"]}
        folder = Path(args["directory"]).resolve()
        try:
            files = write(folder, file_name(args["name"], made["master_name"], now), wanted)
        except OSError as error:
            raise AnsibleActionFail(
                f"The report cannot be written to {error.filename or folder}: {error.strerror}. Correct report_directory, or its rights."
            ) from error
        # What is reported as changed is the deployment.
        return quiet(
            {**result, "changed": False, "files": files, "headline": made["headline"]}, self._display.verbosity
        )
