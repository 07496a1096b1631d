# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin write_fleet_report: one report on many deployments, made and written on the controller."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._quiet import quiet
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report import fleet_report
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_files import ENDINGS, file_name, write

TEXT = {"type": "str", "default": ""}
OPTIONS: dict[str, dict[str, Any]] = {
    "entries": {"type": "list", "elements": "dict", "required": True},
    "expected": {"type": "list", "elements": "str", "default": []},
    **dict.fromkeys(("title", "operator", "job", "name"), TEXT),
    "directory": {"type": "path", "required": True},
    "formats": {"type": "list", "elements": "str", "choices": sorted(ENDINGS), "required": True},
}


class ActionModule(ActionBase):
    """Asks nobody: everything has been handed on."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the files."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _checked, args = self.validate_argument_spec(OPTIONS)
        now = datetime.now(timezone.utc)
        about = {name: args[name] for name in ("title", "operator", "job")}
        made = fleet_report(args["entries"], args["expected"], made_at=now.strftime("%Y-%m-%d %H:%M:%S UTC"), **about)
        folder = Path(args["directory"]).resolve()
        wanted = {name: made[name] for name in args["formats"]}
        try:
            files = write(folder, file_name(args["name"], "fleet", now), wanted)
        except OSError as error:
            raise AnsibleActionFail(
                f"The report cannot be written to {error.filename or folder}: {error.strerror}. Correct report_directory, or its rights."
            ) from error
        # What is reported as changed is the deployment.
        told = {name: made[name] for name in ("headline", "lines", "done")}
        return quiet({**result, **told, "changed": False, "files": files}, self._display.verbosity)
