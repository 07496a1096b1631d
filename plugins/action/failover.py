# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of failover: runs the module, and shows each step while it is taken."""

from __future__ import annotations

from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._narration import Narrator
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._told_action import ToldAction


class ActionModule(ToldAction):
    """Tells the steps of a move."""

    module_name = "redis_ha.sentinel.failover"

    def teller(self) -> Narrator:
        """What puts the entries of the module into lines."""
        return Narrator()

    def ended(self, result: dict[str, Any]) -> str:
        """The outcome, and the new master or what is wrong."""
        said = result.get("msg") or f"the master is {result.get('new_master')}"
        return f"{result.get('outcome', 'and how is not known')}: {said}"
