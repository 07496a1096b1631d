# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make` as a reader types it, where no set-up is made: in a folder that looks like a checkout."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from lab.modules import CHECKOUT, COLLECTIONS

_SETUP = "tests/tools/setup.sh"
REAL: Mapping[str, str] = {".cache/venv/bin/python": f'exec {shlex.quote(sys.executable)} "$@"', _SETUP: "true"}
"""The programs of the environment in which the tests run, and a set-up that has nothing to do."""


def recording(file: Path, *programs: str) -> Mapping[str, str]:
    """Programs that only write down what they are called with, and a set-up that does so, too; `recorded` reads it."""
    line = f'{{ printf \'%s\\0\' "${{0##*/}}" "$@"; echo; }} >> {shlex.quote(str(file))}'
    return dict.fromkeys((*(f".cache/venv/bin/{program}" for program in programs), _SETUP), line)


def recorded(file: Path) -> list[list[str]]:
    """The words of each call, the program's name first, in their order."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.split("\0")[:-1] for line in lines]


def checkout_for_make(folder: Path, programs: Mapping[str, str]) -> Path:
    """Makes a checkout of the folder, with scripts of our own at the paths that are named.

    Args:
        folder: An empty folder.
        programs: What the scripts do, as lines of a shell, by their paths in the checkout.

    Returns:
        The folder.
    """
    (folder / "Makefile").symlink_to(CHECKOUT / "Makefile")
    (folder / "docs").mkdir()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "collections").symlink_to(COLLECTIONS)
    for path in (*(CHECKOUT / "tests").iterdir(), *(CHECKOUT / "tests" / "tools").iterdir()):
        link = folder / path.relative_to(CHECKOUT)
        if path.name == "tools":
            link.mkdir(parents=True)
        elif str(link.relative_to(folder)) not in programs:
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path)
    for name, lines in programs.items():
        program = folder / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o755)
    return folder


def environment_of_make(**more: str) -> dict[str, str]:
    """That of this process, without what a `make` that runs the tests hands on to one below it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return {**inherited, **more}
