# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python reads this when it starts, and so every module of ours tells what it ran with, from within its own process."""

import atexit
import sys

_PARTS = {"_failover": "failover", "_health": "health_info"}


def _tell():
    redis = sys.modules.get("redis")
    ours = {
        name.rpartition(".")[2] for name in sys.modules if name.startswith("ansible_collections.redis_ha.sentinel.")
    }
    if redis is not None and ours:
        module = next((module for part, module in _PARTS.items() if part in ours), "topology_info")
        with open("/tmp/ran-with", "a") as lines:
            python = ".".join(map(str, sys.version_info[:2]))
            lines.write(f"{module} {python} {redis.__version__} {sys.executable}\n")


atexit.register(_tell)
