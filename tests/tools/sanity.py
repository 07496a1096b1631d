# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs all of ansible-test sanity on what is published, with the oldest and the newest ansible-core that are supported.

    python tests/tools/sanity.py                        both
    python tests/tools/sanity.py --only 2.16            this one
    python tests/tools/sanity.py -- --test pylint -v    words after -- are handed to ansible-test

What is judged is the archive that `ansible-galaxy collection build` makes, as Galaxy gets it. Our own tests are not in it: ruff, mypy and
shellcheck look at them.

Environments are kept below .cache/sanity, which is the home folder of ansible-test, too. Where an ansible-core needs another Python than the one in
use, it is Debian's (see tests/lab/interpreters.py). If that cannot be had, this ansible-core is left out, in words; where CI=true, that is a failure.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.matrix import CASES, Case

from lab.errors import NotToBeHadError, leave_out
from lab.interpreters import SUITES, interpreter, make_environment, pip_for_others

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".cache" / "sanity"
LOG = HOME / "environments.log"

# ansible-test fetches this script from a server of its own unless it finds it here. It runs it in each environment that it makes, which has no pip
# yet. To copy what was installed once takes a tenth of the time.
GET_PIP = """\
import pathlib, shutil, subprocess, sys, sysconfig

words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
kept = pathlib.Path({home!r}, "-".join([sysconfig.get_python_version()] + [word for word in words if "==" in word]))
part = kept.with_name(kept.name + ".part")
if not kept.exists():
    shutil.rmtree(str(part), ignore_errors=True)
    subprocess.check_call({pip!r} + [sys.executable, "install", "--target", str(part)] + words)
    part.rename(kept)
shutil.copytree(str(kept), sysconfig.get_path("purelib"), dirs_exist_ok=True)
"""
PIP_VERSIONS = ("23_1_2", "25_2")
"""Those that ansible-test asks for."""
NOT_HANDED_ON = ("ANSIBLE_HOME", "ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH")
"""What is set for the ansible-core of this checkout."""


@dataclass(frozen=True)
class Core:
    """An ansible-core, and the Pythons on the controller that the matrix tests it with."""

    version: str
    pythons: tuple[str, ...]

    @property
    def requirement(self) -> str:
        return f"ansible-core=={self.version}.*"

    def python(self, in_use: str) -> str:
        """Which of them to take: the one in use if it is among them, else one that Debian has."""
        return in_use if in_use in self.pythons else next(filter(SUITES.__contains__, self.pythons), self.pythons[0])


def ends(cases: Sequence[Case]) -> tuple[Core, Core]:
    """The oldest and the newest ansible-core of the matrix; what is there for information is not supported."""
    supported = [case for case in cases if not case.information]
    versions = sorted({case.core for case in supported}, key=lambda core: [int(part) for part in core.split(".")])
    oldest, *_, newest = (
        Core(version, tuple(dict.fromkeys(case.python for case in supported if case.core == version)))
        for version in versions
    )
    return oldest, newest


def pip_settings() -> configparser.RawConfigParser:
    """The machine's settings of pip, for a file: ansible-test drops the environment variables among them."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    )
    settings = configparser.RawConfigParser()
    settings["global"] = {}
    # pip lets its environment variables win over its files, so they come last here.
    for line in sorted(listing.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        name, value = line.split("=", 1)
        section, option = name.rsplit(".", 1)
        section = "global" if section == ":env:" else section
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, option, ast.literal_eval(value))
    settings.set("global", "quiet", "2")  # errors only
    return settings


def prepare_home() -> None:
    """Gives ansible-test what stands for its bootstrap script, and the machine's settings of pip.

    Raises:
        NotToBeHadError: There is no pip that works for another Python.
    """
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in PIP_VERSIONS:
        (cache / f"get_pip_{version}.py").write_text(GET_PIP.format(home=str(HOME / "pip"), pip=pip_for_others(LOG)))
    folder = HOME / ".config" / "pip"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pip.conf").open("w") as config:
        pip_settings().write(config)


def judge(core: Core, archive: Path, words: Sequence[str]) -> int:
    """Runs ansible-test of this ansible-core; its exit code.

    Raises:
        NotToBeHadError: The ansible-core, or a Python for it, cannot be had here.
    """
    in_use = f"{sys.version_info.major}.{sys.version_info.minor}"
    version = core.python(in_use)
    python = Path(sys.executable) if version == in_use else interpreter(version, LOG)
    environment = HOME / f"core-{core.version}"
    make_environment((core.requirement,), environment, python, LOG)
    prepare_home()
    variables = {
        **{name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON},
        "HOME": str(HOME),
        "PATH": os.pathsep.join([str(environment / "bin"), os.environ.get("PATH", os.defpath)]),
    }
    print(f"ansible-core {core.version}, Python {version}:", flush=True)
    with tempfile.TemporaryDirectory(prefix="sanity-") as folder:
        target = Path(folder) / "ansible_collections" / "redis_ha" / "sentinel"
        with tarfile.open(archive) as content:
            # Python 3.11.2 of Debian 12 has no filters yet.
            content.extraction_filter = getattr(tarfile, "data_filter", None)
            content.extractall(target)
        command = [str(environment / "bin" / "ansible-test"), "sanity", "--local", "--requirements", "--color", "no"]
        command += ["--python", version, *words]
        return subprocess.run(command, cwd=target, env=variables, check=False).returncode


def passes(core: Core, archive: Path, words: Sequence[str]) -> bool:
    """Whether this ansible-core finds nothing; where it cannot be had, whether it may be left out."""
    try:
        return judge(core, archive, words) == 0
    except NotToBeHadError as missing:
        left_out = NotToBeHadError(f"ansible-core {core.version}: {missing}")
        print(left_out, flush=True)
        return leave_out(left_out)


def main(words: Sequence[str]) -> int:
    """Runs them one after the other; 0 if none finds anything."""
    cores = ends(CASES)
    parser = argparse.ArgumentParser(prog="sanity.py", description="Runs ansible-test sanity on what is published.")
    parser.add_argument("--only", choices=[core.version for core in cores], help="with this ansible-core alone")
    parser.add_argument("words", nargs="*", help="for ansible-test, after --")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="sanity-") as folder:
        build = ["ansible-galaxy", "collection", "build", str(ROOT), "--output-path", folder]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tar.gz")
        wanted = [core for core in cores if options.only in (None, core.version)]
        passed = [passes(core, archive, options.words) for core in wanted]
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
