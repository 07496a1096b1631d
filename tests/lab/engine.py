# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Docker engine of this checkout's own: in namespaces of its own, and with nothing left of it but its images.

Its data are in .cache/docker. Its network namespace and its mounts are held by a process that ends with the program that uses them, so that
they end with it, too, however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.interruption import interruptible
from lab.leftovers import engine_paths_as_before, folder_of_this_run, processes_with

CACHE = Path(__file__).resolve().parents[2] / ".cache"
_START_S = 60
_STOP_S = 60
_PR_SET_PDEATHSIG = 1  # prctl(2)


class EngineUnusableError(Exception):
    """There is no engine, and none can be started, or it does not stop."""


def answers(docker_host: str) -> bool:
    """Whether a Docker engine listens at an address."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        return (
            subprocess.run(
                ["docker", "version"], env={**os.environ, "DOCKER_HOST": docker_host}, capture_output=True, check=False
            ).returncode
            == 0
        )
    return False


def lacking() -> str:
    """What this machine lacks to run containers, and what would bring it; empty if it lacks nothing."""
    if answers(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")):
        return ""
    missing = [program for program in ("dockerd", "docker", "ip", "mmdebstrap") if not shutil.which(program)]
    if missing:
        return f"no Docker engine answers, and {', '.join(missing)} is missing: sudo apt-get install docker.io iproute2 mmdebstrap"
    if os.geteuid() != 0:
        return "no Docker engine answers, and only root can start one: start Docker, or become root"
    try:
        subprocess.run(["unshare", "--mount", "--net", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "no Docker engine answers, and this machine allows no namespaces to start one in: start Docker"
    return ""


@contextlib.contextmanager
def own_engine(*, isolated: bool) -> Iterator[tuple[str, Sequence[str]]]:
    """The address of an engine that only we use, and the words that put a command beside it; isolated, it reaches nothing but its containers."""
    for program in ("dockerd", "docker"):
        if not shutil.which(program):
            raise EngineUnusableError(f"no Docker engine answers, and {program} is missing: apt-get install docker.io")
    if os.geteuid() != 0:
        raise EngineUnusableError("no Docker engine answers, and only root can start one")
    with (
        _locked() as lock,
        engine_paths_as_before(),
        _namespaces(isolated=isolated) as inside,
        folder_of_this_run("redis-ha-docker-") as folder,
        _daemon(folder, inside, lock) as docker_host,
    ):
        yield docker_host, inside


def end_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Between fork and exec: whatever ends this program, the new one is asked to end as well."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)


@contextlib.contextmanager
def _locked() -> Iterator[int]:
    """Two runs in one checkout would share the data folder: the second waits."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "docker.lock").open("w") as lock:
        with interruptible():
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@contextlib.contextmanager
def _namespaces(*, isolated: bool) -> Iterator[Sequence[str]]:
    """The words that run a command among mounts of its own; isolated, in a network in which there is nothing but a loopback interface."""
    kinds = ("--mount", "--net") if isolated else ("--mount",)
    holder = subprocess.Popen(
        ["unshare", *kinds, "--propagation", "private", "sleep", "infinity"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )
    try:
        # unshare becomes sleep when the namespaces are there.
        while not Path(f"/proc/{holder.pid}/cmdline").read_bytes().startswith(b"sleep"):
            if holder.poll() is not None:
                raise EngineUnusableError("this machine allows no namespaces")
            time.sleep(0.01)
        # Not `ip netns exec`, which puts another /sys in place, one without the control groups that containers need.
        # Among other mounts a program begins in /.
        inside = ("nsenter", "--target", str(holder.pid), *kinds, "--", "env", f"--chdir={Path.cwd()}")
        if isolated:
            subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        yield inside
    finally:
        holder.terminate()
        holder.wait()


@contextlib.contextmanager
def _daemon(folder: Path, inside: Sequence[str], lock: int) -> Iterator[str]:
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
            preexec_fn=end_with_parent,
            # Should this program be killed, the next one waits until the engine has stopped.
            pass_fds=(lock,),
        )
        try:
            deadline = time.monotonic() + _START_S
            with interruptible():
                while not answers(address):
                    if engine.poll() is not None or time.monotonic() > deadline:
                        text = log.read_text(errors="replace")[-3000:]
                        raise EngineUnusableError(f"the Docker engine does not start:\n{text}")
                    time.sleep(0.2)
            yield address
        finally:
            _stop(engine, folder)


def _stop(engine: subprocess.Popen[bytes], folder: Path) -> None:
    engine.terminate()
    try:
        engine.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()
    # containerd and the shims of containers end after it; those that do not are ended.
    ending = time.monotonic() + _STOP_S
    killing = ending - _STOP_S / 2
    while left := processes_with("cmdline", str(folder)):
        if time.monotonic() > ending:
            raise EngineUnusableError(f"processes of the Docker engine still run: {left}")
        for process in left if time.monotonic() > killing else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
