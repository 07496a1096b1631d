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
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_files import file_name, write
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import render
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import clean, read_run


class ActionModule(ActionBase):
    """The module copy would start Python four times for two files, and have the pages made anew each time."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(
        {
            *("result", "before", "after", "master_name", "failure", "title", "operator", "job"),
            *("directory", "name", "formats"),
        }
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the files."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        now = datetime.now(timezone.utc)
        args = self._task.args
        run = read_run(
            args["result"],
            args.get("before"),
            args.get("after"),
            *(str(args.get(name) or "") for name in ("master_name", "failure", "operator", "job")),
        )
        pages = render(run, clean(args.get("title"), 200), now.strftime("%Y-%m-%d %H:%M:%S UTC"))
        name = file_name(str(args.get("name") or ""), run.master_name, now)
        folder = Path(str(args["directory"])).expanduser().resolve()
        texts = {"html": pages.html, "markdown": pages.markdown}
        try:
            files = write(folder, name, {wanted: texts[wanted] for wanted in args["formats"]})
        except OSError as error:
            raise AnsibleActionFail(
                f"The report cannot be written to {error.filename or folder}: {error.strerror}. Correct report_directory, or its rights."
            ) from error
        # What is reported as changed is the deployment.
        return quiet({**result, "changed": False, "files": files, "headline": pages.headline}, self._display.verbosity)
