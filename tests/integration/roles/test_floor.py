# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive in an environment of nothing but ansible-core and redis-py, the oldest that are promised: its playbook moves a real master."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import Deployment
from lab.interpreters import interpreter, make_environment
from lab.modules import CHECKOUT

CACHE = CHECKOUT / ".cache" / "floor-playbook"
PYTHONS = ("3.10", "3.11")
"""On these the oldest ansible-core runs, and the oldest redis-py can be imported."""


def oldest_promised() -> tuple[str, str]:
    """ansible-core and redis-py as pip takes them."""
    core = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text())["requires_ansible"]
    lines = (CHECKOUT / "meta/ee-requirements.txt").read_text().splitlines()
    (redis_py,) = (line for line in lines if line and not line.startswith("#"))
    return f"ansible-core{core}".replace(">=", "=="), redis_py.replace(">=", "==")


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of the programs of the environment."""
    CACHE.mkdir(exist_ok=True)
    in_use, log = f"{sys.version_info.major}.{sys.version_info.minor}", CACHE / "log"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = Path(sys.executable) if in_use in PYTHONS else interpreter(PYTHONS[-1], log)
        make_environment(oldest_promised(), CACHE / "environment", python, log)
    return CACHE / "environment" / "bin"


def run(words: list[str | Path], programs: Path, folder: Path) -> str:
    """Runs a program of the environment, which knows nothing of this checkout; what it shows."""
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "installed"),
        "ANSIBLE_SHOW_CUSTOM_STATS": "true",
    }
    program, *more = map(str, words)
    done = subprocess.run(
        [str(programs / program), *more],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def handed_on(shown: str) -> dict[str, Any]:
    found = re.search(r"^\tRUN: (.*)$", shown, re.MULTILINE)
    assert found, shown
    summary: dict[str, Any] = json.loads(found[1])["redis_ha_failover"]
    return summary


@pytest.mark.timeout(600)
def test_the_playbook_of_the_archive_moves_a_master_without_loss(programs: Path, tmp_path: Path) -> None:
    run(["ansible-galaxy", "collection", "build", CHECKOUT], programs, tmp_path)
    (archive,) = tmp_path.glob("*.tar.gz")
    run(["ansible-galaxy", "collection", "install", archive, "--offline", "-p", "installed"], programs, tmp_path)
    with Deployment(replicas=2, sentinels=3) as deployment:
        old = deployment.master()
        answers = f"master_name=mymaster sentinels={deployment.sentinel_addresses[0]}"
        shown = run(["ansible-playbook", "redis_ha.sentinel.failover", "-e", answers], programs, tmp_path)
        new = deployment.master()
        assert new is not old
    told = handed_on(shown)
    assert (told["outcome"], told["error"], told["lossless"]) == ("switched", None, True), shown
    assert (told["old_master"], told["new_master"]) == (old.address, new.address)
    for report in told["report_files"].values():
        assert new.address in (tmp_path / report).read_text()


def test_it_is_what_was_asked_for_and_nothing_else(programs: Path) -> None:
    """Beside it stands what ansible-core itself needs."""
    code = (
        "import importlib.metadata as it; print(*sorted(d.name.lower() + '==' + d.version for d in it.distributions()))"
    )
    there = set(
        subprocess.run([programs / "python", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    names = {name.partition("==")[0] for name in there}
    needed = {"cffi", "cryptography", "jinja2", "markupsafe", "packaging", "pycparser", "pyyaml", "resolvelib"}
    assert set(oldest_promised()) <= there
    assert names - needed == {"ansible-core", "redis"}
