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

from bench.measure import CLIENTS, Case, SystematicFailureError, collections_folder, record, session
from bench.report import load, page, table
from bench.ways import STRATEGIES, supports
from lab.recorder import Client


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
        (Case(server, strategy, _client(strategy, options.client), load=options.load), _runs(strategy, options))
        for server in options.servers
        for strategy in options.strategies
        if supports(server, strategy)
    ]
    cases += [
        (Case(server, ad_hoc=True, load=options.load), options.adhoc) for server in options.servers if options.adhoc
    ]
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


def _client(strategy: str, client: Client) -> Client:
    """The other ways than ours are compared with one client."""
    return client if strategy == "fenced" else "redis-py"


def _runs(strategy: str, options: argparse.Namespace) -> int:
    runs: int = options.runs if strategy == "fenced" or options.other_runs is None else options.other_runs
    return runs


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
        "--strategies",
        type=_strategies,
        metavar="NAME,...",
        default=["fenced"],
        help=f"of {', '.join(STRATEGIES)}, or all; those that a server lacks are left out (fenced)",
    )
    parser.add_argument("--client", choices=CLIENTS, default="redis-py", help="what the writers use (%(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="of each server and strategy (%(default)s)")
    parser.add_argument("--other-runs", type=int, help="of each strategy but fenced, if not as many as of that")
    parser.add_argument(
        "--load", type=int, default=0, help="processes that keep the machine busy meanwhile (%(default)s)"
    )
    parser.add_argument(
        "--adhoc",
        type=int,
        default=0,
        metavar="RUNS",
        help="also the whole command `ansible localhost -m ...`",
    )
    parser.add_argument("--block", type=int, default=20, help="runs on one deployment, cases in turn (%(default)s)")
    parser.add_argument("--commit", help="measure the plugins of this commit (those of the working tree)")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench.jsonl"), help="JSON lines (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with FILE: runs in it are not made again")
    return parser


def _names(text: str) -> list[str]:
    return text.split(",")


def _strategies(text: str) -> list[str]:
    names = list(STRATEGIES) if text == "all" else _names(text)
    if unknown := set(names) - set(STRATEGIES):
        raise argparse.ArgumentTypeError(f"no strategy {', '.join(sorted(unknown))}")
    return names


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
