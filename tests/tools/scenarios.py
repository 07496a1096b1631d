# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs Molecule's scenarios on containers, and sees that nothing of them is left.

    scenarios.py                         all scenarios
    scenarios.py test -s tls             one of them; the words are Molecule's
    scenarios.py images                  only makes the images, so that a later run finds them
    scenarios.py engine -- docker ps     a command beside the engine

Where no Docker engine answers, Debian's is started as root on a socket and a data folder of its own (.cache/docker, which keeps the images)
and stopped again. It and all that speaks to its containers are in a network namespace of their own: no address, route or filter of the
machine is touched, and no packet leaves it. Beside an engine that is there already, a run has a block of addresses of 198.18.0.0/15 (RFC
2544) to itself, so that two runs do not meet.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
RUN_LABEL = "redis-ha-sentinel.run"
ALL_SCENARIOS = ("test", "--all")
_ENGINE_START_S = 60
_ENGINE_STOP_S = 60
_PR_SET_PDEATHSIG = 1  # prctl(2)
_STEP = re.compile(r"INFO +\[(?P<name>\w+) > \w+\] Execut(ing|ed)")
_RECAP = re.compile(r"(?P<name>\w+) +: actions=\d+ .* failed=(?P<failed>\d+)")
_BLOCKS = [(second, third) for second in (18, 19) for third in range(0, 256, 16)]


class Trouble(Exception):
    """The scenarios cannot be run, or have left something behind."""


def main(words: Sequence[str]) -> int:
    """Runs Molecule, or another command; its exit code, or 1 if something is left after it."""
    signal.signal(signal.SIGTERM, _end)
    try:
        if words[:1] == ["images"]:
            return _make_images()
        with _engine() as (docker_host, inside):
            if words[:1] == ["engine"]:
                environment = {**os.environ, "DOCKER_HOST": docker_host}
                return subprocess.run([*inside, *words[2:]], env=environment, check=False).returncode
            with _block_of_addresses(inside) as block:
                return _run_molecule(words or ALL_SCENARIOS, docker_host, inside, block)
    except Trouble as trouble:
        print(f"scenarios: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _end(*_: object) -> None:
    """As after Ctrl-C, what was begun is undone; a second request does not disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _make_images() -> int:
    with _engine_for_images() as docker_host:
        environment = {**os.environ, "DOCKER_HOST": docker_host}
        return subprocess.run([sys.executable, "-m", "lab.images"], env=environment, check=False).returncode


def _run_molecule(words: Sequence[str], docker_host: str, inside: Sequence[str], block: tuple[int, int]) -> int:
    run = f"rhs-{secrets.token_hex(3)}"
    environment = {
        **os.environ,
        "DOCKER_HOST": docker_host,
        "LAB_RUN": run,
        "LAB_SECOND_OCTET": str(block[0]),
        "LAB_THIRD_OCTET": str(block[1]),
        "LAB_ROOT": str(ROOT),
    }
    with tempfile.TemporaryDirectory(prefix="redis-ha-scenarios-") as folder:
        # What Ansible and Molecule write while they run, they write here: not into the home folder of the user.
        for name in (
            "ANSIBLE_ASYNC_DIR",
            "ANSIBLE_LOCAL_TEMP",
            "ANSIBLE_REMOTE_TMP",
            "LAB_RESULTS",
            "MOLECULE_EPHEMERAL_DIRECTORY",
            "TMPDIR",
        ):
            environment[name] = str(Path(folder) / name.lower())
            Path(environment[name]).mkdir()
        try:
            code, failed, took_s = _molecule([*inside, "molecule", *words], environment)
        except BaseException:
            _leftovers(run, docker_host)
            raise
        figures = [json.loads(path.read_text()) for path in sorted(Path(environment["LAB_RESULTS"]).glob("*.json"))]
    left = _leftovers(run, docker_host)
    _tell(figures)
    for name, seconds in took_s.items():
        print(f"{'FAILED' if failed.get(name, True) else 'passed'}  {name:<24} {seconds:6.1f} s")
    for what in left:
        print(f"left behind: {what}")
    print(
        f"{len(left)} leftovers\n{list(failed.values()).count(False)} passed, {list(failed.values()).count(True)} failed",
        flush=True,
    )
    return code or int(bool(left))


def _molecule(command: Sequence[str], environment: dict[str, str]) -> tuple[int, dict[str, bool], dict[str, float]]:
    """Runs Molecule in full view; its exit code, which scenarios failed, and how many seconds each took."""
    failed: dict[str, bool] = {}
    took_s: dict[str, float] = {}
    seen_at_s = time.monotonic()
    molecule = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # An interrupt from the keyboard is for this program, which then ends all of them.
        start_new_session=True,
    )
    assert molecule.stdout is not None
    try:
        for line in molecule.stdout:
            print(line, end="", flush=True)
            if step := _STEP.match(line):
                now_s = time.monotonic()
                took_s[step["name"]] = took_s.get(step["name"], 0.0) + now_s - seen_at_s
                seen_at_s = now_s
            # default stands there up to three times: it makes and removes what the others share.
            if recap := _RECAP.match(line):
                failed[recap["name"]] = failed.get(recap["name"], False) or recap["failed"] != "0"
    except BaseException:
        os.killpg(molecule.pid, signal.SIGTERM)
        raise
    finally:
        molecule.wait()
    return molecule.returncode, failed, took_s


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


def _leftovers(run: str, docker_host: str) -> list[str]:
    """Ends and removes what carries the name of the run, and names it."""
    left = []
    for process in _processes_with("environ", f"LAB_RUN={run}\0"):
        left.append(f"process {process}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    for kind, listing, removal in (
        ("container", ["ps", "--all"], ["rm", "--force", "--volumes"]),
        ("network", ["network", "ls"], ["network", "rm"]),
        ("volume", ["volume", "ls"], ["volume", "rm"]),
    ):
        template = "{{.ID}} {{.Names}}" if kind == "container" else "{{.Name}} {{.Name}}"
        found = _docker(docker_host, *listing, "--filter", f"label={RUN_LABEL}={run}", "--format", template)
        for line in found.splitlines():
            identifier, name = line.split(maxsplit=1)
            left.append(f"{kind} {name}")
            _docker(docker_host, *removal, identifier)
    return left


def _docker(docker_host: str, *words: str) -> str:
    done = subprocess.run(
        ["docker", *words], env={**os.environ, "DOCKER_HOST": docker_host}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Trouble(f"`docker {' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout


# The engine


@contextlib.contextmanager
def _engine() -> Iterator[tuple[str, Sequence[str]]]:
    """The address of a Docker engine, and the words that put a command where it can reach the containers.

    Of the engine that answers already, else of one of our own, in a network namespace of its own.
    """
    answering = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if _answers(answering):
        yield answering, ()
        return
    if _make_images() != 0:
        raise Trouble("the images cannot be built")
    with _locked(), _network_namespace() as inside, _started_engine(inside) as docker_host:
        yield docker_host, inside


@contextlib.contextmanager
def _engine_for_images() -> Iterator[str]:
    """An engine that can reach what this machine can reach."""
    answering = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if _answers(answering):
        yield answering
        return
    for program in ("dockerd", "docker"):
        if not shutil.which(program):
            raise Trouble(
                f"no Docker engine answers at {answering}, and {program} is missing: apt-get install docker.io"
            )
    if os.geteuid() != 0:
        raise Trouble(f"no Docker engine answers at {answering}, and only root can start one")
    with _locked(), _started_engine(()) as docker_host:
        yield docker_host


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Two runs in one checkout would share the data folder: the second waits."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "docker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _network_namespace() -> Iterator[Sequence[str]]:
    """The words that run a command in a network namespace in which there is nothing but a loopback interface."""
    name = f"redis-ha-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    # Not `ip netns exec`, which puts another /sys in place, one without the control groups that containers need.
    inside = ("nsenter", f"--net=/run/netns/{name}", "--")
    try:
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        yield inside
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def _answers(docker_host: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return (
            subprocess.run(
                ["docker", "version"], env={**os.environ, "DOCKER_HOST": docker_host}, capture_output=True, check=False
            ).returncode
            == 0
        )
    return False


@contextlib.contextmanager
def _started_engine(inside: Sequence[str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="redis-ha-docker-") as folder, _daemon(Path(folder), inside) as docker_host:
        yield docker_host


@contextlib.contextmanager
def _daemon(folder: Path, inside: Sequence[str]) -> Iterator[str]:
    address = f"unix://{folder}/docker.sock"
    settings = folder / "daemon.json"
    settings.write_text("{}")
    command = [
        *inside,
        "dockerd",
        *("--config-file", str(settings)),
        *("--host", address),
        *("--data-root", str(CACHE / "docker")),
        *("--exec-root", str(folder / "exec")),
        *("--pidfile", str(folder / "pid")),
        # The network stays as it is: containers speak to each other and to their host, and to nobody else.
        *("--bridge", "none"),
        *("--iptables=false", "--ip-masq=false", "--ip-forward=false"),
    ]
    log = CACHE / "docker.log"
    with log.open("wb") as output:
        engine = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        try:
            deadline = time.monotonic() + _ENGINE_START_S
            while not _answers(address):
                if engine.poll() is not None or time.monotonic() > deadline:
                    raise Trouble(f"the Docker engine does not start:\n{log.read_text(errors='replace')[-3000:]}")
                time.sleep(0.2)
            yield address
        finally:
            _stop(engine, folder)


def _end_with_parent() -> None:
    """Whatever ends this program, the engine is asked to end as well."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(engine: subprocess.Popen[bytes], folder: Path) -> None:
    engine.terminate()
    try:
        engine.wait(_ENGINE_STOP_S)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()
    deadline = time.monotonic() + _ENGINE_STOP_S
    while left := _processes_with("cmdline", str(folder)):
        if time.monotonic() > deadline:
            raise Trouble(f"processes of the Docker engine still run: {left}")
        time.sleep(0.1)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mounted = line.split()[1]
        if mounted.startswith((str(folder), str(CACHE / "docker"))):
            subprocess.run(["umount", "--lazy", mounted], check=True)


def _processes_with(file_name: str, text: str) -> list[int]:
    """Other processes that have a text in their command line or in their environment, as /proc shows it."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{file_name}"):
        # One that has ended, or that even root may not look into, is none that this program started.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if text.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


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
    raise Trouble("every block of test addresses in 198.18.0.0/15 is in use on this machine")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
