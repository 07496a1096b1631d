# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin write_fleet_report: one report on many deployments, made and written on the controller."""

from __future__ import annotations

from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report import fleet_report
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_action import ReportAction, options

OPTIONS = options(
    {
        "entries": {"type": "list", "elements": "dict", "required": True},
        "expected": {"type": "list", "elements": "str", "default": []},
    }
)


class ActionModule(ReportAction):
    """Writes the report on many deployments."""

    taken = OPTIONS
    told = ("headline", "lines", "done")

    def make(self, given: dict[str, Any], made_at: str) -> dict[str, Any]:
        """The report on what the deployments handed on."""
        about = {name: given[name] for name in ("title", "operator", "job")}
        return fleet_report(given["entries"], given["expected"], made_at=made_at, **about)

    def about(self, made: dict[str, Any]) -> str:
        """All of them."""
        return "fleet"
