# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kills the program before and after each of its messages that change something: `python -m bench.killed`, or `make killed`.

A first run counts the messages; then each is the end of a run on a deployment of its own, under write load. After that nothing is done, or the program
is run again. What must hold is in `wrong`; the command fails if anything is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, TextIO

import redis
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import FENCE_MIN_REPLICAS

from bench.measure import collections_folder, now, session
from bench.tables import markdown, seconds
from bench.ways import DOWN_AFTER_MS, MASTER
from lab import Deployment, LabError
from lab.modules import CHECKOUT, MODULES, run_module
from lab.process import Process
from lab.recorder import Recorder

SERVERS = ("redis-6.0", "redis-7.0", "redis-8.2", "valkey-9.1")
AGAIN_S = 5.0
"""How long the second run may take."""
HEALS_S = 3.0
"""How long Sentinel takes at most to finish alone what a Sentinel was told to do: 2.5 s, and the time until it is seen."""
HEALS_UNTOLD_S = 40.0
"""The same where the old master is a replica and no Sentinel was told: down-after-milliseconds and half a minute."""
LEFT_OVER = {"min-replicas-to-write": "0", "min-replicas-max-lag": "10", "replica-priority": "100"}
_PAUSE_MS = 5.0
_RUN_S = 90.0
_HEAL_S = 90.0
_WHOLE_S = 150.0
"""Sentinel corrects a replica that follows a wrong master only failover-timeout later, here 60 s."""
_LOAD_MAX_S = 300.0
_POLL_S = 0.02
_WRITES = 200


@dataclass(frozen=True)
class Trial:
    """One kill. ``at`` is the number of the message, ``None`` where nobody is killed; ``then`` is ``nothing`` or ``again``."""

    server: str
    at: int | None
    when: str = "before"
    then: str = "again"


def main(words: Sequence[str]) -> int:
    """Counts, kills, sums up."""
    options = _parser().parse_args(words)
    deadline_s = time.monotonic() + 60 * options.max_minutes
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with collections_folder(options.commit) as (collections, version), options.out.open("w") as out:
        _put(out, session(version, ["make", "killed"]))
        for server in options.servers:
            counted = _attempt(Trial(server, None), collections, options.load_pause_ms)
            _put(out, counted)
            count = len(counted["messages"])
            print(f"{server}: {count} messages, {counted['message'] or counted['outcome']}", file=sys.stderr)
            trials = [
                Trial(server, at, when, then)
                for at, when, then in product(range(1, count + 1), options.when, options.then)
            ]
            _record(trials, options, collections, out, deadline_s)
    lines = [json.loads(line) for line in options.out.read_text().splitlines()]
    print("\n".join(table(lines)))
    wrong = [line for line in lines if line.get("wrong")]
    for line in wrong:
        print(f"{_named(line)}: {', '.join(line['wrong'])}", file=sys.stderr)
    return 1 if wrong else 0


def _record(
    trials: Iterable[Trial], options: argparse.Namespace, collections: Path, out: TextIO, deadline_s: float
) -> None:
    """Side by side, since most of the time is waiting."""

    def attempt(trial: Trial) -> dict[str, Any] | None:
        if time.monotonic() > deadline_s:
            return None
        return _attempt(trial, collections, options.load_pause_ms)

    with ThreadPoolExecutor(options.jobs) as pool:
        for line in pool.map(attempt, trials):
            if line is None:
                continue
            _put(out, line)
            print(f"{_named(line)}: {_said(line)}", file=sys.stderr)


def _attempt(trial: Trial, collections: Path, pause_ms: float) -> dict[str, Any]:
    line: dict[str, Any] = {"kind": "killed", **asdict(trial), "at_time": now(), "outcome": "not measured"}
    line |= {"machine_load": round(os.getloadavg()[0], 2), "messages": [], "message": None, "wrong": []}
    try:
        with Deployment(trial.server, down_after_ms=DOWN_AFTER_MS) as deployment:
            nodes = [node.address for node in deployment.nodes()]
            with Recorder(
                deployment.sentinel_addresses, MASTER, nodes=nodes, pause_ms=pause_ms, max_s=_LOAD_MAX_S
            ) as recorder:
                recorder.wait_for_writes(_WRITES)
                line |= _kill_and_heal(trial, deployment, recorder, collections)
                line |= _sum_up(deployment, recorder)
            line["wrong"] = wrong(line)
    except (LabError, redis.RedisError, subprocess.TimeoutExpired) as error:
        line["message"] = f"{type(error).__name__}: {error}"
        line["wrong"] = [line["message"]]
    return line


def _kill_and_heal(trial: Trial, deployment: Deployment, recorder: Recorder, collections: Path) -> dict[str, Any]:
    old_master = deployment.master().address
    arguments = _arguments(deployment, deployment.replicas()[0].address)
    code, messages, output = _killed_run(trial, arguments, collections)
    died_s = time.monotonic()
    line: dict[str, Any] = {"messages": messages, "old_master": old_master}
    if code != -signal.SIGKILL:
        line["outcome"] = json.loads(output)["outcome"] if output.strip() else f"ended with {code}"
    else:
        line |= {"outcome": "killed", "stands": _fence_stands(deployment)}
        if trial.then == "again" or line["stands"]:
            result = run_module("failover", timeout_s=_RUN_S, collections=collections, **arguments)
            line |= {"again": result["outcome"], "again_s": round(time.monotonic() - died_s, 3)}
            line["again_message"] = result.get("msg")
    _wait_until_healed(deployment, recorder)
    line["healed_s"] = round(time.monotonic() - died_s, 3)
    deployment.wait_ready(_WHOLE_S)
    line["whole_s"] = round(time.monotonic() - died_s, 3)
    line["left_over"] = left_over(deployment)
    return line


def _fence_stands(deployment: Deployment) -> bool:
    """Whether writes stand still until the next run: a fence that is not a pause has no lease."""
    return any(node.alive and _writes_need(node) >= FENCE_MIN_REPLICAS for node in deployment.nodes())


def _writes_need(node: Process) -> int:
    """How many replicas a node demands before it takes a write."""
    with node.client() as client:
        return int(client.config_get("min-replicas-to-write")["min-replicas-to-write"])


def _sum_up(deployment: Deployment, recorder: Recorder) -> dict[str, Any]:
    master = deployment.master().address
    recorder.wait_for_writes(_WRITES, timeout_s=30)
    recording = asdict(recorder.finish(master))
    names = ("writes_acknowledged", "writes_lost", "longest_gap_s", "refused", "not_sent", "unknown")
    figures = {name: recording[name] for name in names}
    return {**figures, "full": recording["resynchronisations"]["full"], "new_master": master}


def _arguments(deployment: Deployment, target: str) -> dict[str, Any]:
    """Repeated with the same target, a move that is finished is not made again."""
    return {"sentinels": deployment.sentinel_addresses, "master_name": MASTER, "target": target}


def _killed_run(trial: Trial, arguments: dict[str, Any], collections: Path) -> tuple[int, list[dict[str, Any]], str]:
    """The module, killed at a message; how it ended, its messages and what it printed."""
    with _arguments_file(arguments) as (file, log):
        asked = {"log": str(log), "at": trial.at, "when": trial.when}
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.killed_run", f"{MODULES}.failover", str(file)],
            env=os.environ | {"PYTHONPATH": f"{CHECKOUT / 'tests'}:{collections}", "LAB_KILL": json.dumps(asked)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            output, _errors = process.communicate(timeout=_RUN_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        messages = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return process.returncode, messages, output


@contextmanager
def _arguments_file(arguments: dict[str, Any]) -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory(prefix="redis-ha-killed-") as folder:
        file = Path(folder) / "arguments.json"
        options = {**arguments, "_ansible_check_mode": False, "_ansible_diff": False}
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
        yield file, Path(folder) / "messages.jsonl"


def _wait_until_healed(deployment: Deployment, recorder: Recorder) -> None:
    """Until every Sentinel names one node, that is a master, and a write that began afterwards was acknowledged."""
    deployment.wait_for(lambda: _agreed(deployment), _HEAL_S, "all Sentinels to name one master")
    recorder.wait_for_writes(2 * _WRITERS_AT_MOST, timeout_s=_HEAL_S)


_WRITERS_AT_MOST = 4


def _agreed(deployment: Deployment) -> bool:
    named = {
        tuple(sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)) for sentinel in deployment.sentinels
    }
    master = deployment.master()
    return named == {(master.host, str(master.port))}


def left_over(deployment: Deployment) -> list[str]:
    """What a finished run must not leave: settings of nodes, in memory and in the file."""
    found = []
    for node in deployment.nodes():
        with node.client() as client:
            for name, value in LEFT_OVER.items():
                now_set = client.config_get(name)[name]
                if now_set != value:
                    found.append(f"{node.name}: {name} {now_set}")
        if "1000000100" in node.config_path.read_text():
            found.append(f"{node.name}: a raised priority in its file")
    return found


def wrong(line: dict[str, Any]) -> list[str]:
    """What of a trial contradicts what is promised."""
    found = [f"{line['writes_lost']} lost"] * (line["writes_lost"] > 0)
    if line["at"] is None:
        return found + [f"outcome {line['outcome']}"] * (line["outcome"] != "switched")
    if "again" in line:
        found += [f"again: {line['again']}, {line['again_message']}"] * (not _is_finished(line))
        found += [f"again took {line['again_s']:.1f} s"] * (line["again_s"] > AGAIN_S)
        found += [f"left: {', '.join(line['left_over'])}"] * bool(line["left_over"])
    if line["outcome"] == "killed" and line["then"] == "nothing" and not line["stands"]:
        found += [f"healed after {line['healed_s']:.1f} s"] * (line["healed_s"] > _heals_within_s(line))
    return found


def _heals_within_s(line: dict[str, Any]) -> float:
    done = [
        " ".join(message["commands"])
        for message in line["messages"]
        if message["number"] < line["at"] + (line["when"] == "after")
    ]
    demoted = any(words.startswith("REPLICAOF") for words in done)
    triggered = any(words.startswith("SENTINEL FAILOVER") for words in done)
    return HEALS_UNTOLD_S if demoted and not triggered else HEALS_S


def _is_finished(line: dict[str, Any]) -> bool:
    """Whether nothing is left to do: the master is where the killed run was to bring it."""
    return line["again"] in ("switched", "unchanged")


# What is shown


def table(lines: Iterable[dict[str, Any]]) -> list[str]:
    """A row for each message and place of the kill."""
    groups: dict[tuple[str, int, str], dict[str, dict[str, Any]]] = {}
    for line in lines:
        if line["kind"] == "killed" and line["at"] is not None:
            groups.setdefault((line["server"], line["at"], line["when"]), {})[line["then"]] = line
    rows = [
        [server, f"{when} {at}", _message_of(next(iter(both.values()))), *_cells(both)]
        for (server, at, when), both in groups.items()
    ]
    head = ("server", "killed", "message", "lost", "nothing done: healed", "gap", "run again", "in", "gap then")
    return markdown(head, rows, left=3)


def _cells(both: dict[str, dict[str, Any]]) -> list[str]:
    nothing, again = both.get("nothing", {}), both.get("again", {})
    lost = sum(line.get("writes_lost", 0) for line in both.values())
    return [
        str(lost),
        "by the next run" if nothing.get("stands") else _duration(nothing, "healed_s"),
        _duration(nothing, "longest_gap_s"),
        str(again.get("again", again.get("outcome", ""))),
        _duration(again, "again_s"),
        _duration(again, "longest_gap_s"),
    ]


def _duration(line: dict[str, Any], name: str) -> str:
    return seconds(line[name]) if name in line else ""


def _message_of(line: dict[str, Any]) -> str:
    found = [message for message in line["messages"] if message["number"] == line["at"]]
    if not found:
        return "not reached"
    words = "; ".join(found[0]["commands"])
    return words if len(words) <= _WIDTH else f"{words[: _WIDTH - 3]}..."


_WIDTH = 48


def _named(line: dict[str, Any]) -> str:
    place = "not killed" if line["at"] is None else f"killed {line['when']} {line['at']} ({_message_of(line)})"
    return f"{line['server']} {place}, then {line['then']}"


def _said(line: dict[str, Any]) -> str:
    if "longest_gap_s" not in line:
        return f"{line['outcome']} {line['message'] or ''}"
    again = f"  again {line['again']} in {line['again_s']:.1f} s" if "again" in line else ""
    return (
        f"{line['outcome']}{again}  lost {line['writes_lost']}  gap {line['longest_gap_s']:.2f} s  healed {line['healed_s']:.1f} s"
        f"  whole {line['whole_s']:.1f} s  left {line['left_over']}  {', '.join(line['wrong'])}"
    )


def _put(out: TextIO, line: dict[str, Any]) -> None:
    print(json.dumps(line), file=out, flush=True)


def _words(text: str) -> list[str]:
    return text.split(",")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.killed", description="Kills the program before and after each message that changes something."
    )
    parser.add_argument("--servers", type=_words, default=list(SERVERS), metavar="NAME,...", help=", ".join(SERVERS))
    parser.add_argument("--when", type=_words, default=["before", "after"], help="before,after")
    parser.add_argument("--then", type=_words, default=["nothing", "again"], help="nothing,again")
    parser.add_argument("--jobs", type=int, default=3, help="trials side by side (%(default)s)")
    parser.add_argument("--load-pause-ms", type=float, default=_PAUSE_MS, help="between writes (%(default)s)")
    parser.add_argument("--max-minutes", type=float, default=60, help="no trial is begun later (%(default)s)")
    parser.add_argument("--commit", help="measure the plugins of this commit (those of the working tree)")
    parser.add_argument("--out", type=Path, default=Path(".cache/killed.jsonl"), help="JSON lines (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
