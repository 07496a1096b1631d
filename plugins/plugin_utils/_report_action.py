# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugins share that make a report and write its files on the controller.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._quiet import quiet
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_files import ENDINGS, file_name, write

Options = dict[str, dict[str, Any]]


def options(own: Options, texts: Iterable[str] = ()) -> Options:
    """The options of such a plugin.

    Args:
        own: Those that no other has.
        texts: The names of those of its own that are a text, empty unless it is given.
    """
    return {
        **own,
        **{name: {"type": "str", "default": ""} for name in (*texts, "title", "operator", "job", "name")},
        "directory": {"type": "path", "required": True},
        "formats": {"type": "list", "elements": "str", "choices": sorted(ENDINGS), "required": True},
    }


class ReportAction(ActionBase):
    """Asks nobody, for everything is there. The module copy would start Python four times for two files, and have the pages made anew each time.

    Attributes:
        taken: The options.
        told: What of the report is returned besides the paths of its files.
    """

    TRANSFERS_FILES = False
    _requires_connection = False
    taken: Options
    told: tuple[str, ...] = ("headline",)

    def make(self, given: dict[str, Any], made_at: str) -> dict[str, Any]:
        """The report: a text for each format, and what is told."""
        raise NotImplementedError

    def about(self, made: dict[str, Any]) -> str:
        """What the files are called by, unless they are given a name."""
        raise NotImplementedError

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the files."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        _checked, given = self.validate_argument_spec(self.taken)
        now = datetime.now(timezone.utc)
        made = self.make(given, now.strftime("%Y-%m-%d %H:%M:%S UTC"))
        wanted = {name: made[name] for name in given["formats"]}
        folder = Path(given["directory"]).resolve()
        try:
            files = write(folder, file_name(given["name"], self.about(made), now), wanted)
        except OSError as error:
            raise AnsibleActionFail(
                f"The report cannot be written to {error.filename or folder}: {error.strerror}. Correct report_directory, or its rights."
            ) from error
        # What is reported as changed is the deployment.
        told = {name: made[name] for name in self.told}
        return quiet({**result, **told, "changed": False, "files": files}, self._display.verbosity)
