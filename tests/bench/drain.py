# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`python -m bench.drain`: how long it takes to move all masters off a host, and what their writers feel (with PYTHONPATH=tests).

Every master and every replica is a server process of its own, on one of two loopback addresses that stand for hosts. A writer for each master writes
meanwhile. The whole command is measured, start of Python included. With `--killed`, the module is killed at messages spread over its run, and run again.
With `--loop`, masters are moved one after the other by SENTINEL FAILOVER instead, as a loop in a shell does.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.light_writers import KEY, LightWriters, Written
from bench.scale import LIGHT
from lab import Deployment
from lab.machine import Used
from lab.modules import CHECKOUT, COLLECTIONS, MODULES, run_module
from lab.process import Process

HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
"""The masters begin on the first and their replicas on the second; a Sentinel is on each."""
AFTER_S = 0.5
"""How long is written after the end, so that a gap that is not over by then is seen."""
BEFORE_S = 1.0
"""How long the writers write before a drain, so that it is known what they and the servers need of the processors by themselves."""
LOOP_WAIT_S = 60.0


@dataclass(frozen=True)
class Drained:
    """One drain: seconds of the whole command, its result, what became of the writes, and what the processors did before and during it, in words."""

    seconds: float
    result: dict[str, Any]
    gaps_s: Sequence[float]
    acknowledged: int
    lost: int
    processors_before: str
    processors_during: str

    def __str__(self) -> str:
        gaps_ms = sorted(1000 * gap for gap in self.gaps_s)
        reported = [it["write_gap_ms"] for it in self.result["masters"] if it["write_gap_ms"] is not None]
        said_ms = f"{statistics.median(reported):.0f}/{max(reported):.0f}" if reported else "-"
        return (
            f"{self.seconds:6.2f} s  {self.result.get('counts')}  lost {self.lost} of {self.acknowledged}  gap median {statistics.median(gaps_ms):.0f} ms, "
            f"99 of 100 {percentile(gaps_ms, 99):.0f} ms, longest {gaps_ms[-1]:.0f} ms (by the program, median/longest: {said_ms} ms)  "
            f"{self.processors_during}; before it, by servers and writers alone: {self.processors_before}"
        )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that so many of a hundred do not exceed."""
    return ordered[-(-len(ordered) * percent // 100) - 1]


@contextmanager
def deployment_of(server: str, masters: int) -> Iterator[Deployment]:
    """Masters with a replica each, on two hosts."""
    names = [f"cache-{number:03}" for number in range(masters)]
    deployment = Deployment(
        server, masters=names, replicas=1, sentinels=3, down_after_ms=30000, node_config=LIGHT, host=HOSTS
    )
    deployment.start(timeout_s=300.0)
    try:
        yield deployment
    finally:
        deployment.stop()


def full_host(deployment: Deployment) -> str:
    """The host that the masters are on."""
    return deployment.master(deployment.master_names[0]).host


def lost_writes(deployment: Deployment, written: Mapping[str, Written]) -> int:
    """How many acknowledged writes are nowhere to be found any more; and begin anew."""
    lost = 0
    for name in deployment.master_names:
        with deployment.master(name).client() as client:
            lost += written[name].lost(client)
            client.delete(KEY)
    return lost


def drained(deployment: Deployment, pause_ms: float, max_parallel: int) -> Drained:
    """One drain of the full host, under write load."""
    host = full_host(deployment)
    with LightWriters(deployment.sentinel_addresses, deployment.master_names, pause_ms) as writers:
        writers_began = Used.now()
        time.sleep(BEFORE_S)
        drain_began = Used.now()
        began_s = time.monotonic()
        result = run_module(
            "drain", sentinels=deployment.sentinel_addresses, hosts=[host], max_parallel=max_parallel, timeout_s=600.0
        )
        seconds = time.monotonic() - began_s
        during = Used.now().since(drain_began)
        time.sleep(AFTER_S)
        written = writers.end()
    gaps = [it.longest_gap_s() for it in written.values()]
    acknowledged = sum(len(it.acknowledged) for it in written.values())
    before = drain_began.since(writers_began)
    return Drained(seconds, result, gaps, acknowledged, lost_writes(deployment, written), before, during)


# ---- killed ----------------------------------------------------------------------------------------------------------


def killed(deployment: Deployment, at: int | None, when: str, pause_ms: float) -> tuple[int, list[str]]:
    """One drain that is killed at a message, and run again; how many messages there were, and what is wrong."""
    host = full_host(deployment)
    arguments: dict[str, Any] = {"sentinels": deployment.sentinel_addresses, "hosts": [host]}
    planned = {
        row["name"]: row["planned_master"] for row in run_module("drain", check_mode=True, **arguments)["masters"]
    }
    with LightWriters(deployment.sentinel_addresses, deployment.master_names, pause_ms) as writers:
        code, messages = _killed_run(arguments, at, when)
        result = run_module("drain", timeout_s=300.0, **arguments)
        time.sleep(AFTER_S)
        written = writers.end(timeout_s=120.0)
    wrong = [f"ended with {code}"] * (code != (0 if at is None else -signal.SIGKILL))
    wrong += [f"again: {result['msg']}"] * bool(result.get("failed"))
    lost = lost_writes(deployment, written)
    wrong += [f"{lost} lost"] * bool(lost)
    for name, address in planned.items():
        there = deployment.master(name).address
        wrong += [f"{name} is on {there}, not on {address}"] * (there != address)
    deployment.wait_ready(60.0)
    return messages, wrong


def _killed_run(arguments: Mapping[str, Any], at: int | None, when: str) -> tuple[int, int]:
    with tempfile.TemporaryDirectory(prefix="redis-ha-killed-") as folder:
        file, log = Path(folder) / "arguments.json", Path(folder) / "messages.jsonl"
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments)}))
        asked = {"log": str(log), "at": at, "when": when}
        ended = subprocess.run(
            [sys.executable, "-m", "lab.killed_run", f"{MODULES}.drain", str(file)],
            env=os.environ | {"PYTHONPATH": f"{CHECKOUT / 'tests'}:{COLLECTIONS}", "LAB_KILL": json.dumps(asked)},
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=300.0,
        )
        return ended.returncode, len(log.read_text().splitlines())


def kill_often(deployment: Deployment, moments: int, pause_ms: float) -> int:
    """Kill at so many messages, spread over the run; how many of these went wrong."""
    count, wrong = killed(deployment, None, "before", pause_ms)
    print(f"not killed: {count} messages  {wrong or 'all well'}", flush=True)
    bad = int(bool(wrong))
    for moment in range(moments):
        # A message later where a run happened to send fewer: then it ends by itself, and that is said.
        at, when = 1 + moment * (count - 1) // moments, ("before", "after")[moment % 2]
        _count, wrong = killed(deployment, at, when, pause_ms)
        bad += bool(wrong)
        print(f"killed {when} message {at}: {wrong or 'all well'}  load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"killed at {moments} moments and run again: {bad} went wrong", flush=True)
    return bad


# ---- beside a loop ---------------------------------------------------------------------------------------------------


def loop(deployment: Deployment, masters: int, until: str, pause_ms: float) -> str:
    """Some masters moved one after the other by SENTINEL FAILOVER; seconds for each, and what was lost."""
    names = deployment.master_names[:masters]
    sentinel = deployment.sentinels[0]
    with LightWriters(deployment.sentinel_addresses, deployment.master_names, pause_ms) as writers:
        time.sleep(AFTER_S)
        began_s = time.monotonic()
        for name in names:
            old = deployment.master(name)
            sentinel.command("SENTINEL", "FAILOVER", name)
            _wait(partial(_names_another, sentinel, name, old))
            if until == "replica":
                _wait(partial(_is_replica, old))
        seconds = (time.monotonic() - began_s) / masters
        deployment.wait_ready(120.0)
        written = writers.end(timeout_s=120.0)
    lost = lost_writes(deployment, written)
    return (
        f"SENTINEL FAILOVER, until the old master is {until}: {seconds:.2f} s a master, {lost} acknowledged writes lost"
    )


def _names_another(sentinel: Process, name: str, old: Process) -> bool:
    return tuple(sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)) != (old.host, str(old.port))


def _is_replica(node: Process) -> bool:
    return bool(node.command("ROLE")[0] == "slave")


def _wait(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + LOOP_WAIT_S
    while not is_so():
        if time.monotonic() > deadline_s:
            raise RuntimeError("it did not come about")
        time.sleep(0.05)


# ---- command ---------------------------------------------------------------------------------------------------------


def main(words: Sequence[str]) -> int:
    """Starts the servers, measures, and prints a line for each run."""
    options = _parser().parse_args(words)
    bad = 0
    for masters in options.masters:
        with deployment_of(options.server, masters) as deployment:
            if options.killed:
                bad += kill_often(deployment, options.killed, options.pause_ms)
            elif options.loop:
                for until in ("named", "replica"):
                    print(loop(deployment, options.loop, until, options.pause_ms), flush=True)
            else:
                bad += _measure(deployment, options)
    return 1 if bad else 0


def _measure(deployment: Deployment, options: argparse.Namespace) -> int:
    runs = []
    for _run in range(options.runs):
        runs.append(drained(deployment, options.pause_ms, options.max_parallel))
        print(f"{len(deployment.master_names)} masters, {options.max_parallel} at once: {runs[-1]}", flush=True)
    gaps_ms = sorted(1000 * gap for run in runs for gap in run.gaps_s)
    print(
        f"{len(deployment.master_names)} masters, {len(runs)} runs: median {statistics.median(run.seconds for run in runs):.2f} s, "
        f"lost {sum(run.lost for run in runs)}, gap median {statistics.median(gaps_ms):.0f} ms, 99 of 100 {percentile(gaps_ms, 99):.0f} ms",
        flush=True,
    )
    return sum(bool(run.lost or run.result.get("failed")) for run in runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.drain", description="Moves all masters off a host.")
    parser.add_argument("--server", default="redis-7.0", help="as in `python -m lab servers` (%(default)s)")
    parser.add_argument("--masters", type=_numbers, default=[50, 100], help="each with one replica (50,100)")
    parser.add_argument("--max-parallel", type=int, default=4, help="(%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="(%(default)s)")
    # With 10 ms, the writers of a hundred masters and their servers take half of two cores: then their load is measured, not the drain.
    parser.add_argument("--pause-ms", type=float, default=20.0, help="between the writes to a master (%(default)s)")
    parser.add_argument("--killed", type=int, default=0, metavar="MOMENTS", help="kill it at so many messages instead")
    parser.add_argument("--loop", type=int, default=0, metavar="MASTERS", help="SENTINEL FAILOVER for so many instead")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
