# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin write_report: the report on one failover, made and written on the controller in one step."""

from __future__ import annotations

from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report import report
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_action import ReportAction, options

OPTIONS = options(
    {
        "result": {"type": "dict", "required": True},
        **{name: {"type": "dict", "default": {}} for name in ("before", "after", "drill")},
    },
    texts=("master_name", "failure"),
)


class ActionModule(ReportAction):
    """Writes the report on one failover."""

    taken = OPTIONS

    def make(self, given: dict[str, Any], made_at: str) -> dict[str, Any]:
        """The report on what the modules returned."""
        about = {name: given[name] for name in ("master_name", "failure", "title", "operator", "job", "drill")}
        return report(given["result"], given["before"], given["after"], made_at=made_at, **about)

    def about(self, made: dict[str, Any]) -> str:
        """The master."""
        return str(made["master_name"])
