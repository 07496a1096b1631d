# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real browser, and the real Mermaid; both are installed where they are missing."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from lab.errors import NotToBeHadError
from lab.screenshots import chromium

CACHE = Path(__file__).resolve().parents[3] / ".cache"
MERMAID = "mermaid@12.3.0"
MERMAID_SHA512 = "4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw=="


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(chromium())


@pytest.fixture(scope="session")
def mermaid_script() -> Path:
    """Mermaid in one file, out of its npm package."""
    folder = CACHE / "mermaid"
    script = folder / f"{MERMAID}.js"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not script.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                if shutil.which("npm") is None:
                    raise NotToBeHadError("Mermaid comes from npm: sudo apt-get install npm")
                command = ["npm", "pack", MERMAID, "--silent", "--pack-destination", scratch]
                done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"npm could not fetch {MERMAID}: {done.stderr}"
                package = next(Path(scratch).glob("*.tgz"))
                digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
                assert digest == MERMAID_SHA512, f"{package.name} is not the package that this test was written for"
                with tarfile.open(package) as archive:
                    content = archive.extractfile("package/dist/mermaid.min.js")
                    assert content is not None
                    (Path(scratch) / "script").write_bytes(content.read())
                (Path(scratch) / "script").rename(script)
    return script
