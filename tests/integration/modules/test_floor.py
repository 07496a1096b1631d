# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The oldest Python and the oldest redis-py that are promised: a real failover with them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Deployment
from lab.modules import CHECKOUT, RunningModule

OLDEST_REDIS_PY = "3.5.3"
# 3.5 wants distutils, which Python 3.12 has no more; this is what the matrix tests with later ones.
OLDEST_SINCE_PYTHON_3_12 = "4.3.4"
# The last of ansible-core that runs on this Python; what a managed host gets of it is the same.
ANSIBLE_CORE = {"3.9": "ansible-core>=2.15,<2.16", "3.10": "ansible-core>=2.16,<2.17"}


def oldest_python() -> tuple[str, str]:
    """The oldest Python from 3.9 up on this machine, and its version."""
    for minor in range(9, sys.version_info.minor):
        version = f"3.{minor}"
        candidates = [
            shutil.which(f"python{version}"),
            *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
        ]
        for candidate in candidates:
            if candidate and _runs(str(candidate), version):
                return str(candidate), version
    return sys.executable, f"3.{sys.version_info.minor}"


def _runs(python: str, version: str) -> bool:
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    outcome = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return outcome.returncode == 0 and outcome.stdout.strip() == version


def oldest_redis_py(python: str) -> str:
    return OLDEST_REDIS_PY if int(python.partition(".")[2]) < 12 else OLDEST_SINCE_PYTHON_3_12


@pytest.fixture(scope="module")
def floor_python() -> str:
    """Python of a private environment with the oldest redis-py that it can import."""
    base, version = oldest_python()
    redis_py = oldest_redis_py(version)
    folder = CHECKOUT / ".cache" / f"floor-{version}-redis-{redis_py}"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "floor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            subprocess.run([base, "-m", "venv", "--clear", str(folder)], check=True)
            core = ANSIBLE_CORE.get(version, "ansible-core")
            pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, f"redis=={redis_py}", core], check=True)
            (folder / "ready").touch()
    return str(folder / "bin/python")


@pytest.mark.timeout(600)
def test_switched_without_loss(floor_python: str) -> None:
    with Deployment(replicas=2, sentinels=3) as deployment:
        old = deployment.master()
        environment = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
        with RunningModule(
            "failover",
            python=floor_python,
            environment=environment,
            sentinels=deployment.sentinel_addresses,
            master_name="mymaster",
        ) as running:
            result = running.result()
        assert (result["outcome"], result["error"], result["lossless"]) == ("switched", None, True), str(result)
        assert result["old_master"] == {"host": old.host, "port": old.port}
        new = deployment.master()
        assert result["new_master"] == {"host": new.host, "port": new.port}
        assert {row["resync"] for row in result["replicas"]} == {"partial"}
        deployment.wait_ready()


def test_it_is_the_library_that_was_asked_for(floor_python: str) -> None:
    code = "import redis; print(redis.__version__)"
    outcome = subprocess.run([floor_python, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == oldest_redis_py(oldest_python()[1])
