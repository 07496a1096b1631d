# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves the master of a real deployment under load, again and again, and writes down what each run did to it.

A run that fails is a line of the record like any other: what is measured includes how often it fails.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO, get_args

import redis

from bench.busy import busy
from bench.ways import DOWN_AFTER_MS, MASTER, SWITCHED, Stage, stage
from lab import LabError
from lab.modules import CHECKOUT
from lab.recorder import Client, Recorder

CLIENTS: tuple[Client, ...] = get_args(Client)
NOT_MEASURED = "not measured"
"""The outcome of a run of which the module's own cannot be told: a server or a writer was not as it should be."""

LONG_GAP_S = 0.4
_WRITES_BEFORE = 500
_WRITES_AFTER = 200
_READY_TIMEOUT_S = 120.0
_RUN_TIMEOUT_S = 300.0
_LOG_LINES = 80
_FAILURES_IN_A_ROW = 3


class SystematicFailureError(Exception):
    """So many runs have failed one after another that more of them would tell nothing."""


@dataclass(frozen=True)
class Case:
    """What is measured together.

    `ad_hoc` is the whole command `ansible localhost -m ...` instead of the module's own process. `load` is the number of other processes that
    keep the machine busy meanwhile.
    """

    server: str
    strategy: str = "fenced"
    client: Client = "redis-py"
    ad_hoc: bool = False
    load: int = 0

    def __str__(self) -> str:
        words = [self.server, self.strategy, self.client]
        words += ["ad hoc"] * self.ad_hoc + [f"load {self.load}"] * (self.load > 0)
        return " ".join(words)


@contextmanager
def collections_folder(commit: str | None) -> Iterator[tuple[Path, str]]:
    """A copy of the plugins, so that all runs measure one version, and the name of that version.

    Without a commit the working tree is copied.
    """
    with tempfile.TemporaryDirectory(prefix="redis-ha-bench-") as folder:
        collection = Path(folder) / "ansible_collections" / "redis_ha" / "sentinel"
        collection.mkdir(parents=True)
        if commit is None:
            archive = subprocess.run(
                ["tar", "--create", "--exclude=__pycache__", "plugins"], cwd=CHECKOUT, capture_output=True, check=True
            ).stdout
            name = _git("describe", "--always", "--dirty", "--exclude=*")
        else:
            archive = subprocess.run(
                ["git", "archive", commit, "plugins"], cwd=CHECKOUT, capture_output=True, check=True
            ).stdout
            name = _git("rev-parse", "--short", commit)
        subprocess.run(["tar", "--extract", "--directory", str(collection)], input=archive, check=True)
        yield Path(folder), name


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def session(version: str, command: Sequence[str]) -> dict[str, Any]:
    """What all runs of one bench have in common."""
    return {
        "kind": "session",
        "at": now(),
        "version": version,
        "command": " ".join(command),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "redis_py": redis.__version__,
        "down_after_ms": DOWN_AFTER_MS,
    }


def record(
    cases: Sequence[tuple[Case, int]], block: int, collections: Path, out: TextIO, done: dict[Case, int]
) -> None:
    """Brings every case up to its number of runs, a block of runs of each in turn, and writes a line after each run.

    Each block has a deployment of its own. `done` are the runs that have been made already.

    Raises:
        SystematicFailureError: Run after run of one case has failed.
    """
    rounds = max((-(-runs // block) for _case, runs in cases), default=0)
    for round_number in range(1, rounds + 1):
        for case, runs in cases:
            wanted = min(runs, block * round_number) - done.get(case, 0)
            if wanted > 0:
                _record_block(case, done.get(case, 0), wanted, collections, out)
                done[case] = done.get(case, 0) + wanted


def _record_block(case: Case, first: int, runs: int, collections: Path, out: TextIO) -> None:
    number, last, failures = first, first + runs, 0

    def put_down(run: dict[str, Any]) -> None:
        nonlocal number, failures
        print(json.dumps(run), file=out, flush=True)
        _tell(case, run)
        number += 1
        failures = 0 if run["outcome"] == SWITCHED else failures + 1
        if failures == _FAILURES_IN_A_ROW:
            raise SystematicFailureError(f"{case}: {failures} runs in a row failed, the last: {run['message']}")

    while number < last:
        try:
            with busy(case.load), stage(case.server, case.strategy, case.ad_hoc, collections) as staged:
                served = 0
                # A run that failed may have left anything behind: the next one gets a new deployment.
                while number < last and served != staged.moves:
                    run = _measure(case, number, staged)
                    put_down(run)
                    served += 1
                    if run["outcome"] != SWITCHED:
                        break
        except LabError as error:
            put_down(_new_run(case, number) | {"message": str(error), "odd": [NOT_MEASURED]})


def _new_run(case: Case, number: int) -> dict[str, Any]:
    return {
        "kind": "run",
        **asdict(case),
        "number": number,
        "server_version": case.server,
        "at": now(),
        "machine_load": round(os.getloadavg()[0], 2),
        "outcome": NOT_MEASURED,
        "message": None,
    }


def _measure(case: Case, number: int, staged: Stage) -> dict[str, Any]:
    run = _new_run(case, number) | {"server_version": staged.server_version}
    try:
        staged.wait_ready(_READY_TIMEOUT_S)
        with Recorder(
            staged.sentinels,
            MASTER,
            nodes=staged.nodes,
            client=staged.client or case.client,
            key_prefix=staged.key_prefix,
            pause_ms=1.0,
            max_s=_RUN_TIMEOUT_S + 60,
        ) as recorder:
            recorder.wait_for_writes(_WRITES_BEFORE)
            began_s = time.monotonic()
            result = staged.move()
            run["run_s"] = round(time.monotonic() - began_s, 3)
            run["result"] = result
            recorder.wait_for_writes(_WRITES_AFTER, timeout_s=30)
            master = staged.master()
            recording = recorder.finish(master)
            recorder.cleanup(master)
        run["recording"] = asdict(recording) | {"began_after_module_start_s": round(recording.began_s - began_s, 4)}
        run["outcome"], run["message"] = result["outcome"], result.get("msg")
    except (LabError, redis.RedisError, subprocess.TimeoutExpired) as error:
        run["message"] = f"{type(error).__name__}: {error}"
    run["odd"] = odd(run)
    if run["odd"]:
        run["logs"] = {process.name: process.log_text(_LOG_LINES) for process in staged.processes}
    return run


def odd(run: dict[str, Any]) -> list[str]:
    """What of a run is not as it should be; the other strategies lose time, or more, by their nature."""
    if run["outcome"] != SWITCHED:
        return [run["outcome"]]
    recording, fenced = run["recording"], run["strategy"] == "fenced"
    findings = [f"{recording['unknown']} unknown outcomes"] * (recording["unknown"] > 0)
    findings += ["writes stopped by the end of recording"] * recording["timed_out"]
    findings += ["refused writes are there"] * (recording["denied_but_present"] > 0)
    if fenced:
        findings += [f"{recording['writes_lost']} lost"] * (recording["writes_lost"] > 0)
        findings += [f"{recording['resynchronisations']['full']} full"] * (recording["resynchronisations"]["full"] > 0)
        findings += [f"gap {recording['longest_gap_s']:.3f} s"] * (
            recording["longest_gap_s"] > LONG_GAP_S and run["client"] != "node-redis"
        )
        findings += ["not shown to be lossless"] * (not run["result"]["lossless"])
    return findings


def _tell(case: Case, run: dict[str, Any]) -> None:
    recording = run.get("recording")
    figures = ""
    if recording:
        figures = (
            f"lost {recording['writes_lost']:>5}  gap {recording['longest_gap_s']:6.3f} s"
            f"  refused {recording['refused']}  unknown {recording['unknown']}  full {recording['resynchronisations']['full']}  in {run['run_s']:4.1f} s"
        )
    text = f"{case} {run['number'] + 1:>3}: {run['outcome']}  {figures}  {', '.join(run['odd'])} {run['message'] or ''}"
    print(text.rstrip(), file=sys.stderr, flush=True)


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
