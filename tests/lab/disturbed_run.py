# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run of the failover that is disturbed at a chosen step: `python -m lab.disturbed_run DISTURBANCE OPTIONS`, both as JSON.

The step is the name of one, whose beginning counts, or a kind of entry of the timeline. The real program against real servers; only the moment of
the disturbance is ours.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import Route, routes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    CONNECTION,
    FAILOVER,
    connection_options,
    failover_request,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    MasterEntry,
    parse_address,
    parse_master_entry,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import ENTRY_KINDS, STEP_BEGINS, STEPS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import PROGRAM, Clock, Entry, Timeline

_COMES_WITHIN_S = 60.0


@dataclass(frozen=True)
class Disturbance:
    """What happens at a step.

    Attributes:
        step: When: at the beginning of the step of that name, or at the first entry of that kind.
        signal: The name of a signal, which the program sends itself.
        leader: The process of each Sentinel: the signal is for the one that leads, and the program goes on.
        rival: A Sentinel, as ``host:port``, that an operator tells to fail over in that moment, in place of a signal.
        misled: The same, a Sentinel that hears in that moment of another new master of the same epoch, as from a second failover that took it, too.
        led_away: Then the leader of that failover has led our replica to its own one, and ours has done the same: no node is a master.
    """

    step: str
    signal: str = ""
    leader: Mapping[str, int] = field(default_factory=dict)
    rival: str = ""
    misled: str = ""
    led_away: bool = False

    def strike(self, run: Run) -> bool:
        """Do it; whether that came in time."""
        if self.misled:
            return _mislead(self.misled, run, self.led_away)
        if self.rival:
            _fail_over_by_hand(self.rival, run.request.master_name)
        else:
            process = self.leader[str(run.record.leader)] if self.leader else os.getpid()
            os.kill(process, signal.Signals[f"SIG{self.signal}"])
        return True


def _fail_over_by_hand(sentinel: str, master_name: str) -> None:
    host, _colon, port = sentinel.rpartition(":")
    client = redis.Redis(host, int(port))
    try:
        client.execute_command("SENTINEL", "FAILOVER", master_name)
    except redis.ResponseError as error:
        # Refused as any operator may be; the run has to be right all the same.
        print(f"SENTINEL FAILOVER: {error}", file=sys.stderr)
    finally:
        client.close()


def _mislead(sentinel: str, run: Run, led_away: bool) -> bool:
    """Let a Sentinel hear that a replica which is not promoted is the master since the epoch of the failover that is under way.

    Returns:
        Whether it heard that first. Where the host is slow, the leader may have told it of our new master before.
    """
    ours, old_master, misled = run.record.new_master, run.record.old_master, parse_address(sentinel)
    if ours is None or run.record.leader is None:
        # A run that finishes what another has begun.
        return False
    theirs = next(node.address for node in run.snapshot.nodes if node.address not in (ours, old_master))
    way = routes(run.snapshot, theirs)[misled]
    assert isinstance(way, Route), way
    master_name = run.request.master_name
    _order(misled, *way.news(master_name, _entry_of(run.record.leader, master_name).config_epoch))
    if _entry_of(misled, master_name).address != theirs:
        return False
    if led_away:
        for one, other in ((ours, theirs), (theirs, ours)):
            _order(one, "REPLICAOF", other.host, str(other.port))
            # As Sentinel does in the same transaction.
            _order(one, "CONFIG", "REWRITE")
    return True


def _entry_of(sentinel: Address, master_name: str) -> MasterEntry:
    return parse_master_entry(_order(sentinel, "SENTINEL", "MASTER", master_name))


def _order(server: Address, *words: str) -> Any:
    with redis.Redis(server.host, server.port, decode_responses=True, protocol=2) as client:
        # By the connection: of a Sentinel's table the client would make a dictionary of its own.
        connection = client.connection_pool.get_connection()
        connection.send_command(*words)
        return connection.read_response()


def is_moment(entry: Entry, moment: str) -> bool:
    """Whether an entry of the program is a chosen moment: the beginning of the step of that name, or an entry of that kind."""
    return entry.who == PROGRAM and moment in (entry.kind, entry.step if entry.kind == STEP_BEGINS else "")


def check_moment(moment: str) -> None:
    """Make sure that there can be such a moment.

    Raises:
        ValueError: There cannot.
    """
    if moment not in ENTRY_KINDS and moment not in {step.name for step in STEPS}:
        raise ValueError(f"{moment!r} is neither a step nor a kind of entry")


def main(disturbance: Disturbance, options: dict[str, Any]) -> None:
    """Run, disturb when the step comes up for the first time, and print the result.

    A host that is too slow to promote in time leaves that to Sentinel, and does not come to each step, or disturbs too late: then the master is moved
    once more, and once more.
    """
    check_moment(disturbance.step)
    deadline_s = time.monotonic() + _COMES_WITHIN_S
    while True:
        disturbed, result = attempt(disturbance, options)
        if disturbed or time.monotonic() > deadline_s:
            break
    print(json.dumps(result))
    if not disturbed:
        sys.exit(f"no run was disturbed in time at {disturbance.step}")


def attempt(disturbance: Disturbance, options: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """One run; whether it was disturbed, and its result."""
    defaults = {name: spec.get("default") for name, spec in {**CONNECTION, **FAILOVER}.items()}
    params = {**defaults, **options}
    clock = Clock()
    fleet = Fleet(connection_options(params))
    runs: list[Run] = []

    def disturb(entry: Entry) -> None:
        if is_moment(entry, disturbance.step) and not moments:
            moments.append(entry)
            in_time.append(disturbance.strike(runs[0]))

    moments: list[Entry] = []
    in_time: list[bool] = []
    runs.append(Run(fleet, failover_request(params), clock, Timeline(clock, disturb)))
    try:
        result = fail_over(runs[0])
        return any(in_time), result
    finally:
        fleet.close()


if __name__ == "__main__":
    main(Disturbance(**json.loads(sys.argv[1])), json.loads(sys.argv[2]))
