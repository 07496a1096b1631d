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


def tracked_files(folder: Path, *patterns: str) -> list[Path]:
    """The files that git tracks in a repository, or would track, and that are there.

    Caches are no part of them: programs that run beside a test write and remove files there.

    Args:
        folder: The repository.
        patterns: Their names match one of these, as git reads them: `*.md` matches in every folder. Without any, all files.
    """
    listed = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns)
    return sorted(folder / name for name in listed.split("\0") if name and (folder / name).exists())


def copy_tracked(target: Path) -> None:
    """Copies the tracked files of the checkout to a folder that becomes a git repository of its own."""
    for path in tracked_files(CHECKOUT):
        copy = target / path.relative_to(CHECKOUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy, follow_symlinks=False)
    git(target, "init", "--quiet")
    git(target, "add", "--all")
