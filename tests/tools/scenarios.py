# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs Molecule's scenarios on containers, and sees that nothing of them is left.

    scenarios.py                         all scenarios, some side by side: most of their time is waiting
    scenarios.py test -s tls             one of them; the words are Molecule's
    scenarios.py images                  only makes the images, so that a later run finds them
    scenarios.py engine -- docker ps     a command beside the engine

Where no Docker engine answers, Debian's is started as root on a socket and a data folder of its own (.cache/docker, which keeps the images)
and stopped again (lab.engine). It and all that speaks to its containers are in a network namespace of their own: no address, route or filter
of the machine is touched, and no packet leaves it. Beside an engine that is there already, a run has a block of addresses of 198.18.0.0/15 (RFC
2544) to itself, so that two runs do not meet.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import compiled
from lab.engine import EngineUnusableError, answers, end_with_parent, own_engine
from lab.interruption import interruptible, listen
from lab.leftovers import Swept, folder_of_this_run, remove_folders_of_dead_runs, sweep_engine, sweep_run, traces

ROOT = Path(__file__).resolve().parents[2]
SIDE_BY_SIDE = ("--workers=3", "--continue-on-failure")
LONGEST = ("rolling_maintenance", "partition", "failover", "passwords", "precheck_refuses")
"""Begin first. Most of their time is waiting, in which the others go on; what is short fills the end."""
_END_S = 20
_SHOWN_LINES = 40
"""Of each step that failed: what failed in it stands at its end."""
# How a step ended that failed is coloured, whatever is said against it.
_STEP = re.compile(r"(INFO|ERROR) +\[(?P<name>\w+) > \w+\] (\x1b\[\d+m)?Execut(ing|ed)")
_RECAP = re.compile(r"(?P<name>\w+) +: actions=\d+ .* failed=(?P<failed>\d+)")
_BLOCKS = [(second, third) for second in (18, 19) for third in range(0, 256, 16)]
# What Ansible, Molecule and the image builder write while they run, they write to a folder of this run: not into the home folder of the user.
_FOLDER_VARIABLES = (
    *("ANSIBLE_ASYNC_DIR", "ANSIBLE_LOCAL_TEMP", "ANSIBLE_REMOTE_TMP"),
    *("LAB_COMPILED", "LAB_RESULTS", "MOLECULE_EPHEMERAL_DIRECTORY", "TMPDIR"),
)
_COLOUR_VARIABLES = ("PY_COLORS", "CLICOLOR", "FORCE_COLOR", "ANSIBLE_FORCE_COLOR")


class TroubleError(Exception):
    """The scenarios cannot be run."""


class Failures:
    """Keeps the ends of the boxes in which Molecule shows the steps that failed, where scenarios ran side by side."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._box: deque[str] | None = None

    def see(self, line: str) -> None:
        line = line.rstrip()
        if "─ Failed: " in line:
            self.told.append(line)
            self._box = deque(maxlen=_SHOWN_LINES)
        elif self._box is not None and line.lstrip().startswith("└"):
            self.told += [*self._box, line]
            self._box = None
        elif self._box is not None:
            self._box.append(line)


@dataclass
class Run:
    """One call of this program: its name, how Molecule's scenarios ended, and what was found after it."""

    name: str = field(default_factory=lambda: f"rhs-{secrets.token_hex(3)}")
    failed: dict[str, bool] = field(default_factory=dict)
    first_seen_s: dict[str, float] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failures: Failures = field(default_factory=Failures)

    def see(self, line: str) -> None:
        """Takes from a line of Molecule's what scenario it is about, how that ended, and why."""
        self.failures.see(line)
        now_s = time.monotonic()
        if step := _STEP.match(line):
            self.took_s[step["name"]] = now_s - self.first_seen_s.setdefault(step["name"], now_s)
        # default stands there up to three times: it makes and removes what the others share.
        if recap := _RECAP.match(line):
            self.failed[recap["name"]] = self.failed.get(recap["name"], False) or recap["failed"] != "0"

    def swept(self, swept: Swept, *, expected: bool) -> None:
        """What is removed after an end that was asked for is no fault."""
        if expected:
            for what in swept.removed:
                print(f"removed: {what}")
        else:
            self.left += swept.removed
        self.left += [f"{what} (still there)" for what in swept.remaining]


def main(words: Sequence[str]) -> int:
    """Runs Molecule, or another command; its exit code, or 1 if something is left after it."""
    listen()
    before = traces(used=True)
    run = Run()
    try:
        code = _do(words, run)
    except (EngineUnusableError, TroubleError) as trouble:
        print(f"scenarios: {trouble}", file=sys.stderr)
        code = 1
    except SystemExit as end:
        print(f"scenarios: ended by {signal.Signals(int(end.code or 0) - 128).name}", file=sys.stderr)
        code = int(end.code or 0)
    # What a process uses now is another run's: ours have ended.
    run.left += sorted(traces(used=False) - before)
    _tell(run.figures)
    for name, seconds in run.took_s.items():
        print(f"{'FAILED' if run.failed.get(name, True) else 'passed'}  {name:<24} {seconds:6.1f} s")
    missing = set() if words else _all_scenarios() - run.failed.keys()
    for name in sorted(missing - run.took_s.keys()):
        print(f"not run: {name}")
    for what in run.left:
        print(f"left behind: {what}")
    print(f"{len(run.left)} leftovers", flush=True)
    if words[:1] not in (["images"], ["engine"]):
        passed = list(run.failed.values()).count(False)
        print(f"{passed} passed, {len(run.failed) - passed + len(missing)} failed", flush=True)
    # Last: whoever sees only the end of a long output sees why.
    for line in run.failures.told:
        print(line, flush=True)
    return code or int(bool(run.left or missing))


def _all_scenarios() -> set[str]:
    return {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}


def _words_for_all() -> list[str]:
    names = [*LONGEST, *sorted(_all_scenarios() - set(LONGEST))]
    return ["test", *SIDE_BY_SIDE, *(word for name in names for word in ("-s", name))]


def _do(words: Sequence[str], run: Run) -> int:
    answering = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    theirs = answers(answering)
    if words[:1] == ["images"] or not theirs:
        code = _make_images(answering if theirs else None, run)
        if code or words[:1] == ["images"]:
            return code
    if theirs:
        return _beside(words, run, answering, ())
    with own_engine(isolated=True) as (docker_host, inside):
        _clear(docker_host)
        return _beside(words, run, docker_host, inside)


def _beside(words: Sequence[str], run: Run, docker_host: str, inside: Sequence[str]) -> int:
    """Does what is wanted beside an engine that answers."""
    if words[:1] == ["engine"]:
        command = subprocess.Popen([*inside, *words[2:]], env={**os.environ, "DOCKER_HOST": docker_host})
        try:
            with interruptible():
                return command.wait()
        finally:
            command.terminate()
            command.wait()
    with _block_of_addresses(inside) as block, _environment(run, docker_host) as environment:
        environment["LAB_SECOND_OCTET"], environment["LAB_THIRD_OCTET"] = str(block[0]), str(block[1])
        ended = False
        try:
            # Modules are forks of a process that has loaded what they import.
            molecule = [sys.executable, "-m", "lab.module_server", "molecule", *(words or _words_for_all())]
            code = _watch([*_together(inside), *molecule], environment, run)
            ended = True
        finally:
            run.swept(sweep_run(docker_host, run.name), expected=not ended)
        results = sorted(Path(environment["LAB_RESULTS"]).glob("*.json"))
        run.figures = [json.loads(path.read_text()) for path in results]
    return code


def _make_images(docker_host: str | None, run: Run) -> int:
    """On an engine that is there, or on one of our own that can reach what this machine can reach."""
    if docker_host is None:
        with own_engine(isolated=False) as (own_host, inside):
            _clear(own_host)
            return _build(own_host, inside, run, ours=True)
    return _build(docker_host, (), run, ours=False)


def _build(docker_host: str, inside: Sequence[str], run: Run, *, ours: bool) -> int:
    with _environment(run, docker_host) as environment:
        code = 1
        ended = False
        try:
            code = _watch([*_together(inside), sys.executable, "-m", "lab.images"], environment, None)
            ended = True
        finally:
            # An image that was built again leaves the one before without a name.
            mark = f"LAB_RUN={run.name}\0"
            swept = sweep_engine(docker_host, mark) if ours else sweep_run(docker_host, run.name)
            run.swept(swept, expected=not ended or code == 0)
    return code


def _clear(docker_host: str) -> None:
    """Of an engine that was not in use, what a run that was killed has left, and its processes."""
    swept = sweep_engine(docker_host, f"LAB_ROOT={ROOT}\0")
    for what in (*swept.removed, *remove_folders_of_dead_runs()):
        print(f"removed from an earlier run: {what}")
    if swept.remaining:
        raise TroubleError(f"what an earlier run has left cannot be removed: {', '.join(swept.remaining)}")


@contextlib.contextmanager
def _environment(run: Run, docker_host: str) -> Iterator[dict[str, str]]:
    """The environment of a program that is to be swept after, with folders that are removed."""
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _COLOUR_VARIABLES},
        "DOCKER_HOST": docker_host,
        "LAB_RUN": run.name,
        "LAB_ROOT": str(ROOT),
        # In colours Molecule's lines have another form, too.
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
        "TERM": "dumb",
    }
    with folder_of_this_run("redis-ha-scenarios-") as folder:
        for name in _FOLDER_VARIABLES:
            environment[name] = str(folder / name.lower())
            Path(environment[name]).mkdir()
        # Hundreds of runs of Ansible compile each text once.
        yield compiled.beside(environment, Path(environment["LAB_COMPILED"]))


def _together(inside: Sequence[str]) -> Sequence[str]:
    """The words that let all processes of a command end when it ends or when this program is killed; only root can have that."""
    if not inside:
        return ()
    # The first process of a PID namespace has to wait for those that lose their parent, as a shell does.
    first = ("bash", "-c", '"$@"; exit $?', "bash")
    return (*inside, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--", *first)


def _watch(command: Sequence[str], environment: Mapping[str, str], run: Run | None) -> int:
    """Runs a program in full view, and ends all of it if this one is asked to end; its exit code."""
    program = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # An interrupt from the keyboard is for this program, which then ends all of them.
        start_new_session=True,
        preexec_fn=lambda: end_with_parent(signal.SIGKILL),
    )
    assert program.stdout is not None
    try:
        with interruptible():
            for line in program.stdout:
                print(line, end="", flush=True)
                if run:
                    run.see(line)
            return program.wait()
    except BaseException:
        _end_group(program)
        raise


def _end_group(program: subprocess.Popen[str]) -> None:
    """Asks a session to end, and ends it."""
    deadline = time.monotonic() + _END_S
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            program.poll()
            os.killpg(program.pid, 0)
            time.sleep(0.1)
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def _tell(figures: list[dict[str, Any]]) -> None:
    """A line for each recording of writes that a scenario made, and one for all of the same name."""
    for figure in figures:
        print(
            f"{figure['name']:<32} {figure['writes_acknowledged']:>7} writes acknowledged, {figure['writes_lost']} lost,"
            f" longest gap {figure['longest_gap_s']:.3f} s"
        )
    for name in dict.fromkeys(figure["name"] for figure in figures):
        gaps_s = [figure["longest_gap_s"] for figure in figures if figure["name"] == name]
        if len(gaps_s) > 1:
            print(
                f"{name:<32} {len(gaps_s):>7} runs, median gap {statistics.median(gaps_s):.3f} s, most {max(gaps_s):.3f} s"
            )


# Addresses


@contextlib.contextmanager
def _block_of_addresses(inside: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Second and third octet of a /20 of 198.18.0.0/15 that nobody on this machine uses; reserved as long as this program runs."""
    listing = subprocess.run([*inside, "ip", "-4", "-json", "route"], capture_output=True, text=True, check=True).stdout
    used = set(re.findall(r'"dst":\s*"198\.(18|19)\.(\d+)\.', listing))
    taken = {(int(second), int(third) // 16 * 16) for second, third in used}
    for block in _BLOCKS:
        # An abstract socket is a reservation that ends with its process, however that ends.
        with socket.socket(socket.AF_UNIX) as reservation:
            try:
                reservation.bind(f"\0redis-ha-sentinel-block-{block[0]}-{block[1]}")
            except OSError:
                continue
            if block not in taken:
                yield block
                return
    raise TroubleError("every block of test addresses in 198.18.0.0/15 is in use on this machine")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
