# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin guard: refuses names that nobody knows, and says what was understood. Asks no server."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._names import (
    CHECKS,
    WAITED_FOR,
    Known,
    examine,
    listed,
    refusal,
    understood,
    unknown_waivers,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._places import ADDRESS

FILTERS = "ansible_collections.redis_ha.sentinel.plugins.filter"
COLLECTION = Path(__file__).resolve().parents[2]
ROLES = ("precheck", "failover", "postcheck", "report", "drain", "drill", "rolling", "move_back", "fleet")
PLAYBOOK_VARIABLES = ("options", "failover", "drill")
"""The files in which a playbook's variable takes what was given under a shorter name."""
SHORT = re.compile(r"\{\{ (\w+) \| default\(")
"""How the value of such a variable begins."""
SHARED = frozenset(
    {
        # The play itself takes these two: which hosts, and how many at once.
        *("fleet_hosts", "fleet_serial"),
        *("redis_ha_master_name", "redis_ha_min_sentinels", "redis_ha_max_lag_bytes"),
        *("redis_ha_delegate_to", "redis_ha_run_once", "redis_ha_python_interpreter", "redis_ha_playbook"),
        ADDRESS,
    }
)
"""What sets the variables of several roles at once."""


def load_filters() -> None:
    """Load all filters of this collection, and what they import.

    Ansible has a process of its own for each task, and none of them keeps what another has compiled. What is loaded here, in the process from
    which they come, is loaded once.
    """
    for found in pkgutil.iter_modules(importlib.import_module(FILTERS).__path__):
        importlib.import_module(f"{FILTERS}.{found.name}")


# Ansible loads an action plugin before it begins the process of the task. This one comes first in every role.
load_filters()


class ActionModule(ActionBase):
    """The only one that can tell extra variables from others."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"request", "waivers", "playbook"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look at the names of all variables; their values are nobody's business."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        options = self._options()
        others = listed(self._templar.template(variables.get("redis_ha_other_variables", ())))
        plain = self._plain_names() if self._task.args.get("playbook") else frozenset()
        known = Known(frozenset(options) | SHARED, plain, frozenset(others))
        findings = examine(variables, load_extra_vars(self._loader), known)
        refused = (*findings.refused, *self._waivers())
        if refused:
            return {**result, "failed": True, "error": "name_unknown", "msg": refusal(refused)}
        for warning in findings.warnings:
            self._display.warning(warning)
        if request := self._task.args.get("request"):
            defaults = {name[len("failover_") :]: rules.get("default") for name, rules in options.items()}
            result["msg"] = understood(request, defaults)
            result["_ansible_verbose_always"] = True
        return {**result, "changed": False}

    def _waivers(self) -> tuple[str, ...]:
        return unknown_waivers(listed(self._task.args.get("waivers")), CHECKS | WAITED_FOR)

    def _options(self) -> dict[str, dict[str, Any]]:
        """The variables of all roles, as their argument specifications have them."""
        # They are only read: nobody needs a copy.
        found: dict[str, dict[str, Any]] = {}
        for role in ROLES:
            specs = self._loader.load_from_file(str(COLLECTION / f"roles/{role}/meta/argument_specs.yml"), unsafe=True)
            found.update(specs["argument_specs"]["main"]["options"])
        return found

    def _plain_names(self) -> frozenset[str]:
        """The options that the playbooks take by their own names."""
        names: set[str] = set()
        for file in PLAYBOOK_VARIABLES:
            variables = self._loader.load_from_file(str(COLLECTION / f"playbooks/vars/{file}.yml"), unsafe=True)
            names |= {match[1] for match in map(SHORT.match, map(str, variables.values())) if match}
        return frozenset(names)
