# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures what applications see while the master moves, by client library and by setting: `python -m bench.clients`, or `make clients`.

A library that cannot be had on this machine is left out, in words.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence, Set
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import redis

from bench.clients_page import BY_SENTINEL, COME_BACK_S, page, table
from bench.measure import collections_folder, now, session
from bench.ways import DOWN_AFTER_MS, MASTER, wait_ready
from lab import Deployment, LabError, clients
from lab.modules import run_module
from lab.recorder import Recorder

WRITERS = 4
PAUSE_MS = 2.0
_READY_S = 90.0
_RUN_S = 120.0
_WRITES = 200
_WRITES_S = 30.0
_MESSAGE = 600
_OF_THE_MOVE = ("promotion", "promotion_reason", "write_gap_ms", "phases_ms", "notes", "timeline")
"""What is kept of a move: with it a long stop can be explained."""


def main(words: Sequence[str]) -> int:
    """Measures, and writes the page if one is wanted."""
    options = _parser().parse_args(words)
    if options.render:
        _write_page(options.out, options.page)
        return 0
    deadline_s = time.monotonic() + 60 * options.max_minutes
    options.out.parent.mkdir(parents=True, exist_ok=True)
    wanted = [library for library in clients.LIBRARIES if not options.only or library.name in options.only]
    kept = kept_of_before(options.out, {library.name for library in wanted}) if options.only else []
    with collections_folder(options.commit) as (collections, version), options.out.open("w") as out:
        _put(out, session(version, ["make", "clients"]))
        for line in kept:
            _put(out, line)
        for library in wanted:
            if time.monotonic() > deadline_s:
                _put(out, {"kind": "left out", "library": library.name, "why": "the time was up"})
                continue
            try:
                clients.install(library)
                _measure_library(library, options.server, options.runs, collections, out)
            except LabError as error:
                print(f"clients: {library.name} is left out: {error}", file=sys.stderr)
                _put(out, {"kind": "left out", "library": library.name, "why": str(error)})
    lines = _read(options.out)
    print("\n".join(table(lines)))
    if options.page:
        _write_page(options.out, options.page)
    return 0 if any(line["kind"] == "run" for line in lines) else 1


def kept_of_before(measured: Path, anew: Set[str]) -> list[dict[str, Any]]:
    """What an earlier call has measured of other libraries than those that are measured anew."""
    lines = _read(measured) if measured.exists() else []
    return [line for line in lines if line.get("library") not in {None, *anew}]


def _measure_library(library: clients.Library, server: str, runs: int, collections: Path, out: TextIO) -> None:
    version = clients.version(library)
    with Deployment(server, down_after_ms=DOWN_AFTER_MS) as deployment:
        for label in library.settings:
            for number in range(runs):
                run = {"library": library.name, "version": version, "setting": label, "number": number}
                run |= _measure(clients.SEPARATOR.join((library.name, label)), deployment, collections)
                _put(out, run)
                _tell(run)


def _measure(client: str, deployment: Deployment, collections: Path) -> dict[str, Any]:
    """One move under the load of one client."""
    run: dict[str, Any] = {"kind": "run", "at": now(), "machine_load": round(os.getloadavg()[0], 2)}
    run |= {"server_version": deployment.server.name, "outcome": "not measured", "message": None}
    try:
        wait_ready(deployment, _READY_S)
        nodes = [node.address for node in deployment.nodes()]
        with Recorder(
            deployment.sentinel_addresses,
            MASTER,
            nodes=nodes,
            client=client,
            writers=WRITERS,
            pause_ms=PAUSE_MS,
            max_s=_RUN_S,
        ) as recorder:
            recorder.wait_for_writes(_WRITES, timeout_s=_WRITES_S)
            recorder.wait_for_every_writer(_WRITES_S)
            result = run_module(
                "failover",
                timeout_s=_RUN_S,
                collections=collections,
                sentinels=deployment.sentinel_addresses,
                master_name=MASTER,
            )
            run["all_writers_came_back"] = recorder.wait_for_every_writer(COME_BACK_S)
            master = deployment.wait_for(deployment.master, 60, "one master").address
            run["recording"] = asdict(recorder.finish(master))
            recorder.cleanup(master)
        run |= {"outcome": result["outcome"], "message": result.get("msg")}
        run |= {key: result[key] for key in _OF_THE_MOVE}
    except (LabError, redis.RedisError) as error:
        run["message"] = f"{type(error).__name__}: {error}"[-_MESSAGE:]
    return run


def _tell(run: dict[str, Any]) -> None:
    figures = ""
    if recording := run.get("recording"):
        figures = (
            f"lost {recording['writes_lost']}  refused {recording['refused']}  not sent {recording['not_sent']}"
            f"  unknown {recording['unknown']}  gap {1000 * recording['longest_gap_s']:.0f} ms"
            f"  of one writer {1000 * recording['longest_gap_of_a_writer_s']:.0f} ms"
        )
    said = "" if run["outcome"] == "switched" else f"{run['outcome']} {run['message'] or ''}"
    if run.get("promotion") == BY_SENTINEL:
        said += f"Sentinel promoted: {run['promotion_reason']}"
    print(f"{run['library']}, {run['setting']} {run['number'] + 1}: {figures}  {said}".rstrip(), file=sys.stderr)


def _put(out: TextIO, line: dict[str, Any]) -> None:
    print(json.dumps(line), file=out, flush=True)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _write_page(measured: Path, target: Path) -> None:
    target.write_text(page(_read(measured)) + "\n")
    print(f"clients: {target} is written", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.clients", description="Moves a master while applications write, by client library and setting."
    )
    parser.add_argument("--server", default="redis-7.0", help="as in `python -m lab servers` (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each setting (%(default)s)")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="LIBRARY,...", help="these libraries")
    parser.add_argument("--max-minutes", type=float, default=40, help="no library is begun later (%(default)s)")
    parser.add_argument("--commit", help="measure the plugins of this commit (those of the working tree)")
    parser.add_argument("--out", type=Path, default=Path(".cache/clients.jsonl"), help="JSON lines (%(default)s)")
    parser.add_argument("--page", type=Path, help="write the page of the documentation to this file, too")
    parser.add_argument("--render", action="store_true", help="measure nothing: write the page from --out")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
