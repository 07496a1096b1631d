# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`python -m bench.scale`: how long it takes, and how much memory, to look at many masters at once (with PYTHONPATH=tests).

Every master and every replica is a server process of its own. The whole command is measured, start of Python included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import Deployment
from lab.modules import COLLECTIONS, MODULES

# Four hundred idle servers on two cores: what each does by itself is kept small.
LIGHT = ("hz 1", "activerehashing no", "repl-ping-replica-period 60", "repl-backlog-size 16kb", "io-threads 1")


@dataclass(frozen=True)
class Taken:
    """What a command took: by the clock, of a processor, and of memory at its peak."""

    seconds: float
    cpu_s: float
    peak_mb: float
    output: str


def measure(command: Sequence[str], environment: dict[str, str]) -> Taken:
    """Run a command to its end; wall clock and the largest resident memory of the process.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    with tempfile.TemporaryFile("w+") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=output)
        _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, text)
    return Taken(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def topology(deployment: Deployment, folder: Path) -> Taken:
    """`topology_info` for all masters."""
    arguments = folder / "arguments.json"
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {"sentinels": deployment.sentinel_addresses}}))
    taken = measure(
        [sys.executable, "-m", f"{MODULES}.topology_info", str(arguments)], {"PYTHONPATH": str(COLLECTIONS)}
    )
    assert len(json.loads(taken.output)["masters"]) == len(deployment.master_names)
    return taken


def inventory(deployment: Deployment, folder: Path) -> Taken:
    """`ansible-inventory --list`, a host for each server."""
    source = folder / "sentinel.yml"
    source.write_text(
        json.dumps(
            {
                "plugin": "redis_ha.sentinel.sentinel",
                "sentinels": deployment.sentinel_addresses,
                "host_for": "server",
            }
        )
    )
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(source), "--list"]
    taken = measure(command, {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)})
    assert len(json.loads(taken.output)["redis_masters"]["hosts"]) == len(deployment.master_names)
    return taken


MEASURED = {"topology_info": topology, "inventory": inventory}


def main(words: Sequence[str]) -> int:
    """Starts the servers, measures, and prints a row for each."""
    parser = argparse.ArgumentParser(prog="bench.scale", description="Looks at many masters at once.")
    parser.add_argument("--server", default="redis-7.0", help="as in `python -m lab servers` (%(default)s)")
    parser.add_argument("--masters", type=int, default=200, help="each with one replica (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--only", choices=MEASURED, help="one of them (all)")
    options = parser.parse_args(words)
    names = [f"cache-{number:03}" for number in range(options.masters)]
    deployment = Deployment(
        options.server, masters=names, replicas=1, sentinels=3, down_after_ms=30000, node_config=LIGHT
    )
    deployment.start(timeout_s=300.0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in [options.only] if options.only else MEASURED:
                runs = [MEASURED[name](deployment, Path(folder)) for _run in range(options.runs)]
                seconds = [taken.seconds for taken in runs]
                print(
                    f"{name}: {options.masters} masters, {len(runs)} runs: median {statistics.median(seconds):.2f} s, "
                    f"slowest {max(seconds):.2f} s, {statistics.median(taken.cpu_s for taken in runs):.2f} s of a processor, "
                    f"at most {max(taken.peak_mb for taken in runs):.0f} MB",
                    flush=True,
                )
    finally:
        deployment.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
