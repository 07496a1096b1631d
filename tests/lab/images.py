# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the container images of the scenarios: `python -m lab.images [NAME ...]` (with PYTHONPATH=tests and DOCKER_HOST).

An image is built again only if what it is made from has changed. Its base, debian:SUITE-slim, comes from a registry where one answers;
else it is made here from the mirror that this machine's own apt uses, and has the machine's apt settings.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.errors import LabError
from lab.servers import debian_mirrors, find_server

REPOSITORY = "redis-ha-sentinel-test"
MADE_FROM = "redis-ha-sentinel.made-from"
_SOURCES = Path(__file__).resolve().parents[1] / "images"
_PULL_TIMEOUT_S = 120
_APT_SETTINGS = Path("/etc/apt/apt.conf.d")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Image:
    """An image and what it is made from: the Debian suite, and its packages or a server of `lab.servers`."""

    name: str
    suite: str
    packages: str = ""
    programs: str = ""

    @property
    def tag(self) -> str:
        """The name by which Docker knows it."""
        return f"{REPOSITORY}:{self.name}"

    @property
    def base(self) -> str:
        """The image that it starts from."""
        return f"debian:{self.suite}-slim"


def known_images() -> dict[str, Image]:
    """All images, by name."""
    described = yaml.safe_load((_SOURCES / "images.yml").read_text())
    return {name: Image(name, **words) for name, words in described.items()}


def build(images: Sequence[Image]) -> list[str]:
    """Builds what is missing or stale, and returns the names of those that were built."""
    stale = [image for image in images if _label(image.tag) != _made_from(image)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        suites = list(dict.fromkeys(image.suite for image in stale))
        list(pool.map(_ensure_base, suites))
        # The first of a suite makes the layers that the others share.
        firsts = [next(image for image in stale if image.suite == suite) for suite in suites]
        list(pool.map(_build, firsts))
        list(pool.map(_build, [image for image in stale if image not in firsts]))
    return [image.name for image in stale]


def _made_from(image: Image) -> str:
    return hashlib.sha256(((_SOURCES / "Dockerfile").read_text() + repr(image)).encode()).hexdigest()


def _label(tag: str) -> str | None:
    found = _docker("image", "inspect", tag, check=False)
    if found.returncode != 0:
        return None
    return str((json.loads(found.stdout)[0]["Config"]["Labels"] or {}).get(MADE_FROM))


def _build(image: Image) -> None:
    with tempfile.TemporaryDirectory(prefix="redis-ha-image-") as folder:
        context = Path(folder)
        shutil.copy2(_SOURCES / "Dockerfile", context)
        (context / "programs").mkdir()
        if image.programs:
            server = find_server(image.programs)
            shutil.copy2(server.argv[-1], context / "programs" / "redis-server")
            # The wheels bring no client of their own age; that of another does.
            client = (server if server.cli_argv else find_server("redis-6.2")).cli_argv
            assert client is not None
            shutil.copy2(client[-1], context / "programs" / "redis-cli")
        arguments = {"SUITE": image.suite, "PACKAGES": image.packages}
        _docker(
            *("build", "--quiet", "--force-rm"),
            # The builder reaches the package mirror as this machine does.
            *("--network", "host"),
            *("--tag", image.tag),
            *("--label", f"{MADE_FROM}={_made_from(image)}"),
            *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
            str(context),
        )


def _ensure_base(suite: str) -> None:
    tag = f"debian:{suite}-slim"
    if _docker("image", "inspect", tag, check=False).returncode == 0:
        return
    if _docker("pull", "--quiet", tag, check=False, timeout_s=_PULL_TIMEOUT_S).returncode == 0:
        return
    with tempfile.TemporaryDirectory(prefix="redis-ha-base-") as folder:
        archive = Path(folder) / "root.tar"
        _bootstrap(suite, archive)
        _docker("import", "--message", "made by mmdebstrap", str(archive), tag)


def _bootstrap(suite: str, archive: Path) -> None:
    """Makes the smallest root of a suite that has apt, with this machine's way to the mirror."""
    if not shutil.which("mmdebstrap"):
        raise LabError(f"no registry has debian:{suite}-slim, and mmdebstrap is missing: apt-get install mmdebstrap")
    mirrors = debian_mirrors()
    if not mirrors:
        raise LabError("this machine's apt configuration names no Debian mirror to make images from")
    hooks = []
    for path in (*sorted(_APT_SETTINGS.glob("*")), _CERTIFICATES):
        if path.is_file():
            hooks.append(f'--customize-hook=mkdir -p "$1{path.parent}" && cp -n "{path}" "$1{path}"')
    settings = ('--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Retries "3"')
    _run(["mmdebstrap", "--quiet", "--variant=minbase", *settings, *hooks, suite, str(archive), mirrors[0]])


def _docker(*words: str, check: bool = True, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
    return _run(["docker", *words], check=check, timeout_s=timeout_s)


def _run(
    command: Sequence[str], check: bool = True, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is missing: {error}") from error
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, returncode=124, stdout="", stderr=f"no end after {timeout_s} s")
    if check and done.returncode != 0:
        raise LabError(f"`{' '.join(command)}` failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")
    return done


def main(names: Sequence[str]) -> int:
    """Builds the images that are named, or all."""
    known = known_images()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"lab.images: {', '.join(unknown)} is not known; known are {', '.join(known)}", file=sys.stderr)
        return 2
    try:
        built = build([known[name] for name in names or known])
    except LabError as error:
        print(f"lab.images: {error}", file=sys.stderr)
        return 1
    print(f"built {', '.join(built) or 'nothing: all are up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
