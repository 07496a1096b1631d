# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What git tracks in the checkout, and copies of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab.modules import CHECKOUT


def git(folder: Path, *words: str) -> str:
    """What git says there.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def copy_tracked(target: Path) -> None:
    """Copies what git tracks in the checkout, or would track, to a folder that becomes a git repository of its own."""
    listed = git(CHECKOUT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (CHECKOUT / name).exists():  # else it is deleted, but not yet in git
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target / name, follow_symlinks=False)
    git(target, "init", "--quiet")
    git(target, "add", "--all")
