# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of drain: runs the module, and shows each move when it has ended; its result, which is long, does not fill the terminal."""

from __future__ import annotations

from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._narration import DrainNarrator
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._told_action import ToldAction


class ActionModule(ToldAction):
    """Tells the moves of a drain."""

    module_name = "redis_ha.sentinel.drain"

    def teller(self) -> DrainNarrator:
        """What puts the entries of the module into lines."""
        return DrainNarrator()

    def ended(self, result: dict[str, Any]) -> str:
        """What became of all of them."""
        return str(result.get("msg") or "and how is not known")
