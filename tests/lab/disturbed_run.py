# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run of the failover that kills or suspends itself at a chosen step: `python -m lab.disturbed_run KILL demote OPTIONS`.

The real program against real servers; only the moment of the disturbance is ours.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import Failover
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    CONNECTION,
    FAILOVER,
    connection_options,
    failover_request,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Happening, Timeline


def main(signal_name: str, step: str, options: dict[str, Any]) -> None:
    """Run, send ourselves the signal when `step` comes up for the first time, and print the result."""
    number = signal.Signals[f"SIG{signal_name}"]
    disturbed = False

    def disturb(happening: Happening) -> None:
        nonlocal disturbed
        if happening.what == step and not disturbed:
            disturbed = True
            os.kill(os.getpid(), number)

    defaults = {name: spec.get("default") for name, spec in {**CONNECTION, **FAILOVER}.items()}
    params = {**defaults, **options}
    clock = Clock()
    fleet = Fleet(connection_options(params))
    try:
        print(json.dumps(Failover(fleet, failover_request(params), clock, Timeline(clock, disturb)).run()))
    finally:
        fleet.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
