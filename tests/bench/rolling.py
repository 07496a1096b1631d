# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`python -m bench.rolling`: a fleet is maintained host by host, every server is restarted, under write load (with PYTHONPATH=tests).

Masters with two replicas each stand mixed on five loopback addresses, which stand for hosts, with a Sentinel on each. The whole playbook is measured.
How many nodes of a master were away at once is seen, not computed: from the moment at which they are to be stopped until they are seen in sync again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.drain import lost_writes, percentile
from bench.light_writers import LightWriters
from bench.scale import LIGHT
from lab import Deployment
from lab.maintenance import RESTART, Away, Restarter, look_often
from lab.modules import CHECKOUT, PYTHON
from lab.playbooks import Workspace

HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 6))
INVENTORY = "".join(
    f"redis-{number} ansible_host={host} ansible_connection=local ansible_python_interpreter={PYTHON}\n"
    for number, host in enumerate(HOSTS, 1)
)


@dataclass(frozen=True)
class Rolled:
    """One maintenance: what it took, and what became of masters, servers and writes.

    Attributes:
        message: What the playbook failed with; empty if it did not.
        most_away: The most nodes of one master that were away at once.
        restarted: How many servers were restarted, of how many.
        back: How many masters are where they were before, of how many.
        gaps_s: The longest stretch without an acknowledgement, of each master.
    """

    seconds: float
    message: str
    most_away: int
    restarted: tuple[int, int]
    back: tuple[int, int]
    gaps_s: Sequence[float]
    acknowledged: int
    lost: int
    load: float

    @property
    def good(self) -> bool:
        return (
            not self.message
            and self.most_away == 1
            and not self.lost
            and self.restarted[0] == self.restarted[1]
            and self.back[0] == self.back[1]
        )

    def __str__(self) -> str:
        gaps_ms = sorted(1000 * gap for gap in self.gaps_s)
        return (
            f"{self.seconds:6.1f} s  restarted {self.restarted[0]} of {self.restarted[1]} servers  most nodes of a master away at once {self.most_away}  "
            f"lost {self.lost} of {self.acknowledged}  masters back in their places {self.back[0]} of {self.back[1]}  "
            f"longest gap of a master: median {percentile(gaps_ms, 50):.0f} ms, longest {gaps_ms[-1]:.0f} ms  load {self.load:.1f}"
            + (f"  FAILED: {self.message}" if self.message else "")
        )


def rolled(deployment: Deployment, workspace: Workspace, pause_ms: float) -> Rolled:
    """Maintain every host once, and give each its masters back."""
    names = deployment.master_names
    before = {name: deployment.master(name).address for name in names}
    pids = {process.address: process.pid for process in deployment.processes}
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory() as folder,
        Away(deployment) as away,
        Restarter(deployment, away) as restarter,
        LightWriters(deployment.sentinel_addresses, names, pause_ms) as writers,
    ):
        given = {
            "sentinels": deployment.sentinel_addresses[0],
            "rolling_maintenance_tasks": str(RESTART),
            "rolling_state_file": str(Path(folder) / "state.json"),
            "rolling_poll_interval": 0.5,
            "rolling_give_back": True,
            "restarter": restarter.url,
        }
        began_s = time.monotonic()
        run = workspace.run("rolling_maintenance.yml", given, project=CHECKOUT / "playbooks", inventory=INVENTORY)
        seconds = time.monotonic() - began_s
        written = writers.end(timeout_s=120.0)
    deployment.wait_ready(120.0)
    now = {name: deployment.master(name).address for name in names}
    return Rolled(
        seconds,
        "" if run.succeeded else run.message,
        max(away.most.values(), default=0),
        (sum(process.pid != pids[process.address] for process in deployment.processes), len(pids)),
        (sum(now[name] == before[name] for name in names), len(names)),
        [it.longest_gap_s() for it in written.values()],
        sum(len(it.acknowledged) for it in written.values()),
        lost_writes(deployment, written),
        load,
    )


def main(words: Sequence[str]) -> int:
    """Starts the servers, maintains their hosts, and prints a line for each run."""
    options = _parser().parse_args(words)
    deployment = Deployment(
        options.server,
        masters=[f"cache-{number:03}" for number in range(options.masters)],
        replicas=2,
        sentinels=5,
        host=HOSTS,
        mixed=True,
        down_after_ms=30_000,
        node_config=LIGHT,
    )
    deployment.start(timeout_s=300.0)
    bad = 0
    try:
        look_often(deployment.sentinels)
        with Workspace() as workspace:
            for _run in range(options.runs):
                found = rolled(deployment, workspace, options.pause_ms)
                bad += not found.good
                print(f"{len(HOSTS)} hosts, {options.masters} masters: {found}", flush=True)
    finally:
        deployment.stop()
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.rolling", description="Maintains a fleet host by host.")
    parser.add_argument("--server", default="redis-7.0", help="as in `python -m lab servers` (%(default)s)")
    parser.add_argument("--masters", type=int, default=10, help="each with two replicas (%(default)s)")
    parser.add_argument("--runs", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--pause-ms", type=float, default=10.0, help="between the writes to a master (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
