# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of the scenarios may leave on this machine: how it is found, and how it is removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RUN_LABEL = "redis-ha-sentinel.run"
FOLDER_PREFIXES = ("redis-ha-scenarios-", "redis-ha-docker-")
_TEMPORARY_PREFIXES = (
    *FOLDER_PREFIXES,
    *("redis-ha-base-", "redis-ha-image-"),
    *("ansible", ".ansible", "molecule", "mmdebstrap"),
)
# Docker's engine makes them, whatever its settings are. A folder stands after what may be in it.
_ENGINE_PATHS = (
    *("/etc/docker/key.json", "/etc/docker"),
    *("/opt/containerd/bin", "/opt/containerd/lib", "/opt/containerd"),
    *("/run/containerd/s", "/run/containerd", "/run/docker/plugins", "/run/docker"),
)
_ENGINE_DATA = Path(__file__).resolve().parents[2] / ".cache" / "docker"
_NETWORKS = Path("/run/netns")
_SWEEP_S = 30


class EngineTroubleError(Exception):
    """The Docker engine refused a command."""


@dataclass
class Swept:
    """What was found and removed, and what is still there."""

    removed: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)


def docker(docker_host: str, *words: str) -> str:
    """What a command of Docker's client prints."""
    done = subprocess.run(
        ["docker", *words], env={**os.environ, "DOCKER_HOST": docker_host}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise EngineTroubleError(f"`docker {' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout


def sweep_run(docker_host: str, run: str) -> Swept:
    """Ends and removes what carries the name of a run."""
    labelled = ("--filter", f"label={RUN_LABEL}={run}")
    return _sweep(
        docker_host,
        f"LAB_RUN={run}\0",
        dict.fromkeys(("container", "network", "volume"), labelled),
    )


def sweep_engine(docker_host: str, environment: str) -> Swept:
    """Of an engine that is ours alone, removes all but the images: of any run, and of builds that failed."""
    labelled = ("--filter", f"label={RUN_LABEL}")
    wanted = {"container": (), "network": labelled, "volume": labelled, "image": ("--filter", "dangling=true")}
    return _sweep(docker_host, environment, wanted)


def _sweep(docker_host: str, environment: str, wanted: dict[str, tuple[str, ...]]) -> Swept:
    """Looks again until nothing is found: what is being ended may still make something."""
    swept: dict[str, None] = {}
    deadline = time.monotonic() + _SWEEP_S
    while True:
        found: list[str] = []
        errors: list[str] = []
        for process in processes_with("environ", environment):
            found.append(f"process {process}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for kind, filters in wanted.items():
            try:
                listing = docker(docker_host, kind, *_LISTING[kind], *filters)
            except EngineTroubleError as trouble:
                errors.append(str(trouble))
                continue
            found += [f"{kind} {line.split(maxsplit=1)[1]}" for line in listing.splitlines()]
            errors += _removed(docker_host, kind, listing)
        swept.update(dict.fromkeys(found))
        if not found and not errors:
            return Swept(removed=list(swept))
        if time.monotonic() > deadline:
            remaining = list(dict.fromkeys([*found, *errors]))
            return Swept(removed=[what for what in swept if what not in remaining], remaining=remaining)
        time.sleep(0.1)


def _removed(docker_host: str, kind: str, listing: str) -> list[str]:
    """Removes what is listed; what went wrong."""
    errors = []
    for line in listing.splitlines():
        try:
            docker(docker_host, kind, *_REMOVAL[kind], line.split(maxsplit=1)[0])
        except EngineTroubleError as trouble:
            errors.append(str(trouble))
    return errors


_LISTING = {
    "container": ("ls", "--all", "--format", "{{.ID}} {{.Names}}"),
    "network": ("ls", "--format", "{{.ID}} {{.Name}}"),
    "volume": ("ls", "--format", "{{.Name}} {{.Name}}"),
    "image": ("ls", "--format", "{{.ID}} {{.ID}}"),
}
_REMOVAL = {
    "container": ("rm", "--force", "--volumes"),
    "network": ("rm",),
    "volume": ("rm",),
    "image": ("rm", "--force"),
}


def processes_with(file_name: str, text: str) -> list[int]:
    """Other processes that have a text in their command line or in their environment, as /proc shows it."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{file_name}"):
        # One that has ended, or that even root may not look into, is none that this program started.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if text.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


# Files and mounts


@contextlib.contextmanager
def folder_of_this_run(prefix: str) -> Iterator[Path]:
    """A temporary folder that is seen to be in use as long as this program runs, however it ends."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield Path(folder)
        finally:
            os.close(held)


def remove_folders_of_dead_runs() -> list[str]:
    """Removes the folders of runs that could not do it, and names them."""
    removed = []
    for path in Path(tempfile.gettempdir()).iterdir():
        if path.name.startswith(FOLDER_PREFIXES) and path.is_dir() and not _is_used(path):
            for mounted in _mounts():
                if mounted.startswith(f"{path}/"):
                    subprocess.run(["umount", "--lazy", mounted], check=True)
            shutil.rmtree(path)
            removed.append(str(path))
    return removed


def traces(*, used: bool) -> set[str]:
    """What is there of the things that a run, its tools or its engine make outside of the checkout; with or without what a process uses."""
    there = Path(tempfile.gettempdir()).iterdir()
    # No scenario starts ansible-test; somebody else may, at the same time.
    named = [it for it in there if it.name.startswith(_TEMPORARY_PREFIXES) and not it.name.startswith("ansible-test-")]
    named += _NETWORKS.glob("redis-ha-*")
    folders = [path for path in named if used or not _is_used(path)]
    found = {str(path) for path in folders}
    found |= {path for path in _ENGINE_PATHS if Path(path).exists()}
    if used or not _is_used(_ENGINE_DATA):
        folders.append(_ENGINE_DATA)
    return found | {f"mount {mounted}" for mounted in _mounts() if any(map(Path(mounted).is_relative_to, folders))}


@contextlib.contextmanager
def engine_paths_as_before() -> Iterator[None]:
    """What the engine makes outside of its own folders is removed, unless it was there before or somebody has put something into it."""
    absent = [Path(path) for path in _ENGINE_PATHS if not Path(path).exists()]
    try:
        yield
    finally:
        for path in absent:
            if path.is_dir():
                # Of another's engine there may be something in it by now.
                with contextlib.suppress(OSError):
                    path.rmdir()
            else:
                path.unlink(missing_ok=True)


def _mounts() -> list[str]:
    return [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]


def _is_used(path: Path) -> bool:
    """Whether a process names a path in its command line or its environment, or has it open."""
    if processes_with("cmdline", str(path)) or processes_with("environ", str(path)):
        return True
    for opened in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(opened).startswith(str(path)):
                return True
    return False
