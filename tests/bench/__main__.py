# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`python -m bench` measures, `python -m bench report FILE...` renders what was measured (with PYTHONPATH=tests)."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from bench.measure import CLIENTS, STRATEGIES, Case, SystematicFailureError, collections_folder, record, session
from bench.report import load, page, table


def main(words: Sequence[str]) -> int:
    """Measures or reports."""
    if words[:1] == ["report"]:
        return _report(words[1:])
    options = _parser().parse_args(words)
    if options.out.exists() and not options.resume:
        print(f"bench: {options.out} exists; --resume goes on with it", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    cases = [
        (Case(server, strategy, options.client), options.runs)
        for server in options.servers
        for strategy in options.strategies
        if strategy != "coordinated" or server.startswith("valkey-9")
    ]
    for server in options.servers if options.adhoc else ():
        cases.append((Case(server, ad_hoc=True), options.adhoc))
        cases.append((Case(server, ad_hoc=True, align=False, easy=True), options.adhoc))
    done = load([options.out]).counts() if options.out.exists() else {}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    ended = 0
    with collections_folder(options.commit) as (collections, version), options.out.open("a") as out:
        print(json.dumps(session(version, ["make", "bench", f"BENCH_ARGS={shlex.quote(shlex.join(words))}"])), file=out)
        try:
            record(cases, options.block, collections, out, done)
        except SystematicFailureError as error:
            print(f"bench: {error}", file=sys.stderr)
            ended = 1
        except KeyboardInterrupt:
            print("bench: interrupted; --resume goes on", file=sys.stderr)
            ended = 130
    print("\n".join(table(load([options.out]))))
    return ended


def _report(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench report", description="Renders what was measured as Markdown.")
    parser.add_argument("files", nargs="+", type=Path, help="what `bench --out` has written")
    print(page(load(parser.parse_args(words).files)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Moves masters under load and records what that did to the writers; `bench report FILE...` renders it.",
    )
    parser.add_argument(
        "--servers",
        type=_names,
        metavar="NAME,...",
        default=["redis-7.0"],
        help="as in `python -m lab servers` (redis-7.0)",
    )
    parser.add_argument(
        "--strategies", type=_names, metavar="NAME,...", default=["fenced"], help=f"of {', '.join(STRATEGIES)} (fenced)"
    )
    parser.add_argument("--client", choices=CLIENTS, default="redis-py", help="what the writers use (%(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="of each server and strategy (%(default)s)")
    parser.add_argument(
        "--adhoc",
        type=int,
        default=0,
        metavar="RUNS",
        help="also the whole command `ansible localhost -m ...`, aligned, and not aligned where nothing is to steer",
    )
    parser.add_argument("--block", type=int, default=20, help="runs on one deployment, cases in turn (%(default)s)")
    parser.add_argument("--commit", help="measure the plugins of this commit (those of the working tree)")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench.jsonl"), help="JSON lines (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with FILE: runs in it are not made again")
    return parser


def _names(text: str) -> list[str]:
    return text.split(",")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
