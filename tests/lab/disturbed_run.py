# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run of the failover that kills or suspends itself at a chosen step: `python -m lab.disturbed_run KILL demote OPTIONS`.

The step is the name of one, whose beginning counts, or a kind of entry of the timeline. The real program against real servers; only the moment of
the disturbance is ours.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    CONNECTION,
    FAILOVER,
    connection_options,
    failover_request,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import ENTRY_KINDS, STEP_BEGINS, STEPS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import PROGRAM, Clock, Entry, Timeline


def is_moment(entry: Entry, moment: str) -> bool:
    """Whether an entry of the program is a chosen moment: the beginning of the step of that name, or an entry of that kind."""
    return entry.who == PROGRAM and moment in (entry.kind, entry.step if entry.kind == STEP_BEGINS else "")


def check_moment(moment: str) -> str:
    """The moment itself, if there can be one of that name.

    Raises:
        ValueError: There cannot.
    """
    if moment not in ENTRY_KINDS and moment not in {step.name for step in STEPS}:
        raise ValueError(f"{moment!r} is neither a step nor a kind of entry")
    return moment


def main(signal_name: str, step: str, options: dict[str, Any]) -> None:
    """Run, send ourselves the signal when `step` comes up for the first time, and print the result."""
    check_moment(step)
    number = signal.Signals[f"SIG{signal_name}"]
    disturbed = False

    def disturb(entry: Entry) -> None:
        nonlocal disturbed
        if is_moment(entry, step) and not disturbed:
            disturbed = True
            os.kill(os.getpid(), number)

    defaults = {name: spec.get("default") for name, spec in {**CONNECTION, **FAILOVER}.items()}
    params = {**defaults, **options}
    clock = Clock()
    fleet = Fleet(connection_options(params))
    try:
        print(json.dumps(fail_over(Run(fleet, failover_request(params), clock, Timeline(clock, disturb)))))
    finally:
        fleet.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
