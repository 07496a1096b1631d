# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of wait_for_servers: runs the module again and again, and shows on the controller what it saw."""

from __future__ import annotations

from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import SERVERS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._returned import Watch, gave_up
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._looking import LookingAction


class ActionModule(LookingAction):
    """Waits for every server."""

    module_name = "redis_ha.sentinel.wait_for_servers"
    options = SERVERS
    watch = Watch
    gave_up = staticmethod(gave_up)
