# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration: the usual command and this collection move the same master under the same load (`make demo`)."""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

import redis

from lab import Deployment, LabError, Process
from lab.adhoc import ad_hoc_command, run_ad_hoc
from lab.recorder import Recorder, Recording
from lab.servers import server_environment

MASTER = "mymaster"
WIDTH = 100
_WRITES_BEFORE = 1000
_WRITES_AFTER = 1000
_DEMOTION_TIMEOUT_S = 40.0
_ANSWER_MS = 2.0
"""The last answers that were sent before the fence reach the writers about this much later."""
_LABEL_WIDTH = 42
_COLUMN_WIDTH = 29

# What the demonstration says for an entry of the timeline, by its kind; None: left out, a person learns nothing from it. The braces
# hold the subject of the entry, and what its text names beside it. What is not here is shown as it is.
_STEPS = {
    "discover": "asks every Sentinel and every node; all is well",
    "probe": "sees that the replicas keep up while writes go on",
}
_PROGRAM = {
    "priority_raised": "raises the replica-priority of {0}, so that Sentinel will not choose it",
    "priority_restored": "puts the replica-priority of {0} back",
    "fence_raised": "{0} acknowledges no more writes",
    "demoted": "{1} has everything that {0} acknowledged; {0} is a replica now",
    "triggered": "SENTINEL FAILOVER, to {0}",
    "promoted": "{0} is a master",
    "announced": "tells {0}, which names the new master at once",
    "agreed": "every Sentinel names {0}",
    "following": "{0} follows the new master",
    "disconnected": "closes what is still connected to {0}",
    "settled": "every replica follows, and the failover is over",
}
_SENTINEL = {
    "+new-epoch": None,
    "+try-failover": None,
    "+vote-for-leader": None,
    "+elected-leader": None,
    "+failover-state-select-slave": None,
    "+selected-slave": "chooses {0}",
    "+failover-state-send-slaveof-noone": None,
    "+failover-state-wait-promotion": "orders {0} to be a master",
    "-role-change": None,
    "+role-change": None,
    "+promoted-slave": "sees that {0} is one",
    "+failover-state-reconf-slaves": None,
    "+slave-reconf-sent": "sends {0} to its new master",
    "+slave-reconf-inprog": None,
    "+slave-reconf-done": "sees that {0} follows",
    "+config-update-from": None,
    "+switch-master": "names {1}, no longer {0}",
    "+slave": None,
    "+failover-end": None,
}


class Screen:
    """Plain lines, with colour where a person looks."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, text: str = "") -> None:
        print(text, flush=True)

    def bold(self, text: str) -> str:
        return self._in("1", text)

    def dim(self, text: str) -> str:
        return self._in("2", text)

    def good(self, text: str) -> str:
        return self._in("32", text)

    def bad(self, text: str) -> str:
        return self._in("1;31", text)

    def _in(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text


class Names:
    """Short names: A, B, C for the nodes, S1, S2, S3 for the Sentinels."""

    def __init__(self, deployment: Deployment) -> None:
        nodes = {node.address: chr(ord("A") + index) for index, node in enumerate(deployment.nodes())}
        sentinels = {address: f"S{index}" for index, address in enumerate(deployment.sentinel_addresses, 1)}
        self._names = nodes | sentinels
        spellings = [re.escape(address).replace(":", "[: ]") for address in self._names]
        self._pattern = re.compile(rf"(?<!\d)({'|'.join(spellings)})(?!\d)")

    def __getitem__(self, address: str) -> str:
        return self._names[address]

    def named_in(self, text: str) -> list[str]:
        """The names of what a text speaks of, each once, in the order in which it comes."""
        return list(dict.fromkeys(self._names[found.replace(" ", ":")] for found in self._pattern.findall(text)))

    def shorten(self, text: str) -> str:
        """The text with names for addresses."""
        return self._pattern.sub(lambda found: self._names[found[0].replace(" ", ":")], text)


class Watch:
    """Hears what the Sentinels publish. Moments are those of `time.monotonic()`."""

    def __init__(self, sentinels: Sequence[Process], heard: Callable[[float, Process, str, str], None]) -> None:
        self._heard = heard
        self._clients = [sentinel.client() for sentinel in sentinels]
        self._threads = [
            threading.Thread(target=self._listen, args=pair, daemon=True)
            for pair in zip(sentinels, self._clients, strict=True)
        ]
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()

    def _listen(self, sentinel: Process, client: redis.Redis) -> None:
        with client.pubsub(ignore_subscribe_messages=True) as events:
            events.psubscribe("*")
            while not self._ended.is_set():
                message = events.get_message(timeout=0.1)
                if message is not None:
                    self._heard(time.monotonic(), sentinel, message["channel"], message["data"])


@dataclass(frozen=True)
class Move:
    """One way of moving the master, and what it did.

    `took_s` is how long the command took, `stopped_ms` from when to when the writers stood still, in milliseconds from the fence.
    """

    recording: Recording
    took_s: float
    result: Mapping[str, Any] | None = None
    stopped_ms: tuple[float, float] | None = None


class Demonstration:
    """Both moves on one deployment, and what is said about them."""

    def __init__(self, deployment: Deployment, screen: Screen) -> None:
        self._deployment = deployment
        self._screen = screen
        self._names = Names(deployment)

    def run(self) -> bool:
        """Whether ours lost nothing and did all that it should."""
        say = self._screen
        self._introduce()
        say(say.bold("1. The usual way"))
        plain = self._plain()
        say("   Waiting until everything is in sync again ...")
        self._deployment.wait_ready(60)
        say()
        say(say.bold("2. This collection"))
        fenced = self._fenced()
        say()
        self._compare(plain, fenced)
        self._tell_timeline(fenced)
        return self._judge(plain, fenced)

    def _introduce(self) -> None:
        deployment, names = self._deployment, self._names
        roles = deployment.roles()
        nodes = [f"{names[node.address]} {node.address}" for node in roles]
        sentinels = [f"{names[address]} {address}" for address in deployment.sentinel_addresses]
        self._screen(self._screen.bold("A master is moved under load, in two ways"))
        self._screen()
        self._screen(
            f"   Real servers on loopback: {deployment.server.name}, one master, two replicas, three Sentinels."
        )
        self._screen("   Four applications (redis-py) write without a pause; every acknowledged write is kept in mind")
        self._screen("   and looked for afterwards.")
        self._screen()
        self._screen(f"   nodes      {'   '.join(nodes)}")
        self._screen(f"   Sentinels  {'   '.join(sentinels)}")
        self._screen()

    @contextmanager
    def _load(self) -> Iterator[Recorder]:
        nodes = [node.address for node in self._deployment.nodes()]
        with Recorder(self._deployment.sentinel_addresses, MASTER, nodes=nodes, pause_ms=1.0) as recorder:
            recorder.wait_for_writes(_WRITES_BEFORE)
            yield recorder

    def _finish(self, recorder: Recorder) -> Recording:
        recorder.wait_for_writes(_WRITES_AFTER)
        master = self._deployment.wait_for(self._deployment.master, 30, "one master").address
        recording = recorder.finish(master)
        recorder.cleanup(master)
        return recording

    def _plain(self) -> Move:
        say, names, old = self._screen, self._names, self._deployment.master()
        sentinel = self._deployment.sentinels[0]
        words = ["SENTINEL", "FAILOVER", MASTER]
        if sentinel.server.cli_argv is None:
            say(f"   {' '.join(words)}, sent to {names[sentinel.address]} (this server comes without redis-cli)")
        else:
            say(f"   $ redis-cli -h {sentinel.host} -p {sentinel.port} {' '.join(words)}")
        with self._load() as recorder:
            began_s = time.monotonic()
            told: set[str] = set()
            stories = {
                "+promoted-slave": f"{{0}} is the new master. {names[old.address]} still takes writes, and nobody stops it.",
                "+convert-to-slave": "Sentinel makes {0} a replica. What it took meanwhile is thrown away.",
            }

            def heard(at_s: float, _sentinel: Process, channel: str, data: str) -> None:
                if channel in stories and channel not in told:
                    told.add(channel)
                    say(f"   {at_s - began_s:5.1f} s  {stories[channel].format(*names.named_in(data))}")

            with Watch(self._deployment.sentinels, heard):
                answer = _redis_cli(sentinel, words)
                took_s = time.monotonic() - began_s
                say(f"   {took_s:5.1f} s  {answer}")
                if answer != "OK":
                    raise LabError(f"SENTINEL FAILOVER was refused: {answer}")
                self._deployment.wait_for(
                    lambda: self._deployment.roles()[old] == "slave",
                    _DEMOTION_TIMEOUT_S,
                    "Sentinel to demote the old master",
                )
                recording = self._finish(recorder)
        return Move(recording, took_s)

    def _fenced(self) -> Move:
        say = self._screen
        arguments = {"sentinels": self._deployment.sentinel_addresses, "master_name": MASTER}
        say("\n".join(f"   {line}" for line in _command_lines(arguments)))
        with self._load() as recorder:
            say("   It asks everybody, checks, and moves the master ...")
            began_s = time.monotonic()
            result = run_ad_hoc("failover", arguments)
            took_s = time.monotonic() - began_s
            say(f"   {took_s:5.1f} s  {self._headline(result)}")
            recording = self._finish(recorder)
        fence_s, promoted_s = moment_of(result, "fence_raised"), moment_of(result, "promoted")
        if fence_s is None or promoted_s is None:
            return Move(recording, took_s, result)
        began_s, ended_s = recorder.gap_within(fence_s, promoted_s)
        return Move(recording, took_s, result, ((began_s - fence_s) * 1000, (ended_s - fence_s) * 1000))

    def _headline(self, result: Mapping[str, Any]) -> str:
        if result.get("failed"):
            return self._screen.bad(f"failed, outcome {result.get('outcome')}: {result.get('msg')}")
        old, new = (self._names[f"{result[key]['host']}:{result[key]['port']}"] for key in ("old_master", "new_master"))
        lossless = str(result["lossless"]).lower()
        return f"changed: the master was {old} and is {new} now (outcome {result['outcome']}, lossless {lossless})"

    # What is said at the end

    def _compare(self, plain: Move, fenced: Move) -> None:
        say = self._screen
        say(
            say.bold(
                f"{'':<{_LABEL_WIDTH}}{'SENTINEL FAILOVER':>{_COLUMN_WIDTH}}{'redis_ha.sentinel.failover':>{_COLUMN_WIDTH}}"
            )
        )
        left, right = plain.recording, fenced.recording
        self._row("acknowledged writes", left.writes_acknowledged, right.writes_acknowledged)
        self._row("  of these lost", left.writes_lost, right.writes_lost, judged=True)
        gaps = (f"{recording.longest_gap_s * 1000:,.0f} ms" for recording in (left, right))
        self._row("longest gap without a lasting write", *gaps)
        self._row(
            "refused or not sent (surely not written)", left.refused + left.not_sent, right.refused + right.not_sent
        )
        self._row("outcome unknown to the application", left.unknown, right.unknown, judged=True)
        syncs = left.resynchronisations, right.resynchronisations
        self._row("full resynchronisations", *(sync.full if sync else "?" for sync in syncs), judged=True)
        self._row("partial resynchronisations", *(sync.partial if sync else "?" for sync in syncs))
        self._row("the command came back after", f"{plain.took_s:.1f} s", f"{fenced.took_s:.1f} s")
        say()

    def _row(self, label: str, *values: int | str, judged: bool = False) -> None:
        cells = []
        for value in values:
            text = f"{value:,}" if isinstance(value, int) else value
            cell = f"{text:>{_COLUMN_WIDTH}}"
            cells.append((self._screen.bad if value else self._screen.good)(cell) if judged else cell)
        self._screen(f"{label:<{_LABEL_WIDTH}}{''.join(cells)}")

    def _tell_timeline(self, fenced: Move) -> None:
        say = self._screen
        assert fenced.result is not None
        timeline = fenced.result.get("timeline", [])
        fence_ms = next((entry["at_ms"] for entry in timeline if entry["kind"] == "fence_raised"), None)
        say(say.bold("What our run did") + ("" if fence_ms is None else ", in milliseconds from the fence"))
        say()
        lines = [(entry["at_ms"] - (fence_ms or 0), *self._story(entry)) for entry in timeline]
        stopped_ms = fenced.stopped_ms
        if stopped_ms is not None:
            lines.append((stopped_ms[1], "writers", "the first write that lasts is acknowledged by the new master"))
        for at_ms, who, text in sorted(line for line in lines if line[2]):
            stopped = stopped_ms is not None and stopped_ms[0] - _ANSWER_MS <= at_ms <= stopped_ms[1]
            edge = say.bad("|") if stopped else " "
            room = WIDTH - 26
            text = text if len(text) <= room else text[: room - 3] + "..."
            say(f" {edge} {at_ms:>10,.1f}  {say.dim(f'{who:<8}')}  {text}")
        if stopped_ms is not None:
            say()
            say(
                f" {say.bad('|')} writes stand still, as the applications see it: {stopped_ms[1] - stopped_ms[0]:.0f} ms"
            )
        say()

    def _story(self, entry: Mapping[str, Any]) -> tuple[str, str]:
        """Who did it, and what in a person's words; nothing where a person would learn nothing."""
        ours = entry["who"] == "program"
        who = "program" if ours else self._names.shorten(entry["who"].removeprefix("sentinel "))
        # The text of a Sentinel's event names its servers in an order of its own.
        named = self._names.named_in(f"{entry['subject']} {entry['detail']}" if ours else entry["detail"])
        kind = entry["kind"]
        if kind == "step_begins":
            return who, _STEPS.get(entry["step"], "")
        words: Mapping[str, str | None] = _PROGRAM if ours else _SENTINEL
        if kind not in words:
            return who, self._names.shorten(f"{kind}: {entry['detail']}" if entry["detail"] else kind)
        return who, (words[kind] or "").format(*named)

    def _judge(self, plain: Move, fenced: Move) -> bool:
        say, recording, result = self._screen, fenced.recording, fenced.result
        assert result is not None
        troubles = find_troubles(result, recording)
        for trouble in troubles:
            say(say.bad(f"OUR RUN IS NOT AS IT SHOULD BE: {trouble}"))
        if troubles:
            return False
        before = plain.recording
        lost = (
            f"lost {before.writes_lost:,} of {before.writes_acknowledged:,} acknowledged writes"
            if before.writes_lost
            else "lost nothing this time"
        )
        gap_ms = recording.longest_gap_s * 1000
        say(f"SENTINEL FAILOVER {lost}, with a gap of {before.longest_gap_s:.1f} s.")
        say(say.good(say.bold(f"redis_ha.sentinel.failover lost none, with a gap of {gap_ms:.0f} ms.")))
        return True


def moment_of(result: Mapping[str, Any], kind: str) -> float | None:
    """When the first entry of a kind was made, in the time of `time.monotonic()`; the module tells UTC."""
    at_ms: float | None = next((entry["at_ms"] for entry in result.get("timeline", []) if entry["kind"] == kind), None)
    if at_ms is None:
        return None
    started_at = datetime.datetime.fromisoformat(result["started_at"]).timestamp()
    return time.monotonic() - time.time() + started_at + at_ms / 1000


def find_troubles(result: Mapping[str, Any], recording: Recording) -> list[str]:
    """What of our run is not as it should be."""
    troubles = []
    if result.get("failed"):
        troubles.append(f"the module failed: {result.get('msg')}")
    if recording.writes_lost:
        troubles.append(f"{recording.writes_lost:,} acknowledged writes were lost")
    if recording.timed_out:
        troubles.append("the writers ended before the run did")
    if recording.denied_but_present:
        troubles.append("writes that were refused are there, so the count cannot be trusted")
    return troubles


def _command_lines(arguments: Mapping[str, Any]) -> list[str]:
    """The command as it can be copied, on two lines."""
    *words, options = ad_hoc_command("failover", arguments)
    return [f"$ {shlex.join(words[:-1])} \\", f'    {words[-1]} "{options}"']


def _redis_cli(sentinel: Process, words: Sequence[str]) -> str:
    """Sends a command as a person would; by the lab's own client where the server comes without redis-cli."""
    if sentinel.server.cli_argv is None:
        return str(sentinel.command(*words))
    argv = [*sentinel.server.cli_argv, "-h", sentinel.host, "-p", str(sentinel.port), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=server_environment())
    return (done.stdout + done.stderr).strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demonstration; 0 if ours lost nothing."""
    parser = argparse.ArgumentParser(prog="lab.demo", description="Moves a master of a real deployment in two ways.")
    parser.add_argument("--server", help="as in `python -m lab servers`; else the one on PATH, else Redis 7.0")
    parser.add_argument("--keep", action="store_true", help="leave the deployment running afterwards, until Ctrl-C")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen()
    try:
        with Deployment(options.server) as deployment:
            succeeded = Demonstration(deployment, screen).run()
            if options.keep:
                _keep(deployment, screen)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if not options.keep:
        screen(screen.dim("Nothing is left running. `make lab` starts such a deployment to play with."))
    return 0 if succeeded else 1


def _keep(deployment: Deployment, screen: Screen) -> None:
    screen()
    screen("The deployment runs until Ctrl-C. In another terminal, in this folder:")
    screen()
    screen("  export PATH=$PWD/.cache/venv/bin:$PATH LC_ALL=C.UTF-8")
    screen("  export ANSIBLE_COLLECTIONS_PATH=$PWD/.cache/collections ANSIBLE_HOME=$PWD/.cache/ansible")
    arguments = {"sentinels": deployment.sentinel_addresses, "master_name": MASTER}
    screen("\n".join(f"  {line.removeprefix('$ ')}" for line in _command_lines(arguments)))
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        screen()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
