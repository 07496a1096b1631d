# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ansible-test sanity on the tracked and the new, unignored files of this checkout.

ansible-test wants a real folder named ansible_collections/redis_ha/sentinel inside a git repository, so the files are
copied to one. Its home folder is .cache/sanity: the environments it makes there are kept for the next run.
"""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".cache" / "sanity"

# ansible-test fetches this script from a server of its own unless it finds it here; pip can come with Python instead.
GET_PIP = """\
import runpy, subprocess, sys

# In a process of its own, because ensurepip turns off pip's settings where it runs.
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
sys.argv = ["pip", "install"] + [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def copy_collection(target: Path) -> None:
    """Copies what git tracks or would track to ``target``, as the first commit of a repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listing.stdout.split("\0")):
        if not (ROOT / name).exists():  # deleted, but not yet in git
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    git = ["git", "-c", "user.name=sanity", "-c", "user.email=sanity@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "-q"], cwd=target, check=True)
    subprocess.run([*git, "add", "-A"], cwd=target, check=True)
    subprocess.run([*git, "commit", "-q", "--no-verify", "-m", "sanity"], cwd=target, check=True)


def prepare_home() -> None:
    """Gives ansible-test the bootstrap script and the machine's pip settings, whose environment variables it drops."""
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for pip_version in ("23_1_2", "24_2", "25_2"):
        (cache / f"get_pip_{pip_version}.py").write_text(GET_PIP)

    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    )
    settings = configparser.RawConfigParser()
    settings["global"] = {}
    lines = listing.stdout.splitlines()
    # pip lets its environment variables win over its files, so they come last here.
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        name, value = line.split("=", 1)
        section, option = name.rsplit(".", 1)
        section = "global" if section == ":env:" else section
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, option, ast.literal_eval(value))
    settings.set("global", "quiet", "2")  # errors only
    folder = HOME / ".config" / "pip"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pip.conf").open("w") as config:
        settings.write(config)


def main() -> int:
    """Runs the sanity tests with the Python in use; arguments are handed on to ansible-test."""
    prepare_home()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = {
        **os.environ,
        "HOME": str(HOME),
        # Interpreters themselves come before wrappers that choose one by variables, which ansible-test drops.
        "PATH": os.pathsep.join(
            [str(Path(sys.prefix) / "bin"), str(Path(sys.base_prefix) / "bin"), os.environ["PATH"]]
        ),
    }
    for name in ("ANSIBLE_HOME", "ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH"):
        environment.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="sanity-") as temporary:
        target = Path(temporary) / "ansible_collections" / "redis_ha" / "sentinel"
        target.mkdir(parents=True)
        copy_collection(target)
        command = ["ansible-test", "sanity", "--local", "--requirements", "--color", "no", "--python", python]
        return subprocess.run([*command, *sys.argv[1:]], cwd=target, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
