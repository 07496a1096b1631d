# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of wait_for_replicas: runs the module again and again, and shows on the controller what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import WAIT
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replication import Watch, gave_up
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._looking import LookingAction


class ActionModule(LookingAction):
    """Waits for every replica."""

    module_name = "redis_ha.sentinel.wait_for_replicas"
    options = WAIT
    watch = Watch
    gave_up = staticmethod(gave_up)

    def is_end(self, seen: Mapping[str, Any], first: bool) -> bool:
        """Sentinels that fall silent later may come back; while they are silent, nothing moves."""
        return "mark" not in seen or (first and bool(seen.get("failed")))
