# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges what is published: the archive that `ansible-galaxy collection build` makes.

It holds only what belongs in it. It installs into an empty environment, and works there with only meta, plugins, roles and playbooks. From what
it says of itself, `ansible-builder` makes an execution environment with redis-py and nothing else, by its floor. Galaxy's importer takes it, by the
rules of the community and by those of certification.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("meta", "playbooks", "plugins", "roles")
"""What the collection works with."""
PAGES = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "COPYING",
    "LICENSES",
    "README.md",
    "REUSE.toml",
    "awx",
    "changelogs",
    "docs",
)
FOR_ANSIBLE_TEST = ("tests", "tests/config.yml")
"""Whoever judges the archive with ansible-test learns from it which Pythons the modules run on."""
PARTS_OF_GALAXY = ("FILES.json", "MANIFEST.json")
PLACEHOLDER = "https://example.org/redis_ha.sentinel"
"""Galaxy takes nothing without the address of its repository. A release puts it into galaxy.yml (release.py)."""
IMPORTER = """[galaxy-importer]
run_ansible_lint = false
check_required_tags = true
"""
"""What the community asks, and what certification asks beyond it, but that a first release be 1.0.0. ansible-lint and sanity are judges of their own."""
REDIS_PY = "redis>=3.5.3  # from collection redis_ha.sentinel"


class WrongError(Exception):
    """The archive is not as it is to be; the text says where."""


def run(words: Sequence[str | Path], environment: Mapping[str, str], folder: Path, codes: Sequence[int] = (0,)) -> str:
    """Runs a command and returns what it prints.

    Raises:
        WrongError: It ended with another exit code.
    """
    done = subprocess.run(
        [str(word) for word in words],
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in codes:
        raise WrongError(f"`{' '.join(map(str, words))}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def judge_content(archive: Path) -> None:
    """Holds the names in the archive against what belongs there.

    Raises:
        WrongError: Something is missing, or there is more.
    """
    with tarfile.open(archive) as content:
        names = content.getnames()
    top = {name.partition("/")[0] for name in names}
    found = {name for name in names if name.partition("/")[0] == "tests" or "/" not in name} | top
    wanted = {*PARTS, *PAGES, *PARTS_OF_GALAXY, *FOR_ANSIBLE_TEST}
    if found != wanted:
        raise WrongError(f"more than belongs there: {sorted(found - wanted)}; missing: {sorted(wanted - found)}")
    made = [name for name in names if "__pycache__" in name or any(part.startswith(".") for part in Path(name).parts)]
    if made:
        raise WrongError(f"tools made these: {made[:5]}")


def judge_use(installed: Path, environment: Mapping[str, str], folder: Path) -> None:
    """Uses the collection with nothing but its parts.

    Raises:
        WrongError: Something of it does not work.
    """
    for path in installed.iterdir():
        if path.name not in (*PARTS, *PARTS_OF_GALAXY):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    modules = [f"redis_ha.sentinel.{path.stem}" for path in sorted((installed / "plugins/modules").glob("*.py"))]
    playbooks = [f"redis_ha.sentinel.{path.stem}" for path in sorted((installed / "playbooks").glob("*.yml"))]
    nobody = "sentinels=127.0.0.1:1 master_name=mymaster"
    commands: list[tuple[list[str], int]] = [
        (["ansible-doc", "--type", "module", "--json", *modules], 0),
        (["ansible-playbook", "--inventory", "localhost,", "--syntax-check", *playbooks], 0),
        # As far as a module comes where there is no Sentinel.
        (["ansible", "localhost", "--module-name", "redis_ha.sentinel.failover", "--args", nobody], 2),
    ]
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        said = list(pool.map(lambda command: run(command[0], environment, folder, (command[1],)), commands))
    if "127.0.0.1:1" not in said[-1] or "refused" not in said[-1].lower():
        raise WrongError(f"the module said something else than that the Sentinel does not answer:\n{said[-1]}")


def judge_execution_environment(archive: Path, environment: Mapping[str, str], folder: Path) -> None:
    """Holds what `ansible-builder` makes of the collection against its floor.

    Raises:
        WrongError: It makes something else of it.
    """
    (folder / "execution-environment.yml").write_text(
        "version: 3\nimages: {base_image: {name: base:latest}}\n"
        f"dependencies: {{galaxy: {{collections: [{{name: {archive.name}, type: file}}]}}}}\n"
    )
    run(["ansible-builder", "create", "--output-filename", "Containerfile"], environment, folder)
    made = (folder / "context/Containerfile").read_text()
    if "ansible-galaxy collection install" not in made:
        raise WrongError(f"the image installs no collection:\n{made}")
    found = run(["ansible-builder", "introspect", folder / "installed"], environment, folder)
    python = [line.strip(" -'\"") for line in found.splitlines() if "from collection" in line]
    if python != [REDIS_PY]:
        raise WrongError(f"an execution environment would hold {python}, not {REDIS_PY}")


def with_repository(archive: Path, folder: Path) -> Path:
    """The same archive, with an address of its repository where it names none."""
    named = folder / archive.name
    with tarfile.open(archive) as content, tarfile.open(named, "w:gz") as copied:
        for member in content.getmembers():
            file = content.extractfile(member)
            if member.name == "MANIFEST.json" and file is not None:
                manifest = json.load(file)
                manifest["collection_info"]["repository"] = manifest["collection_info"]["repository"] or PLACEHOLDER
                text = json.dumps(manifest).encode()
                member.size, file = len(text), io.BytesIO(text)
            copied.addfile(member, file)
    return named


def judge_import(archive: Path, environment: Mapping[str, str], folder: Path) -> None:
    """Lets Galaxy's importer look at the archive.

    Raises:
        WrongError: It does not take it, or has something to say.
    """
    settings = folder / "importer.cfg"
    settings.write_text(IMPORTER)
    its_own = {name: value for name, value in environment.items() if name != "ANSIBLE_COLLECTIONS_PATH"}
    its_own["GALAXY_IMPORTER_CONFIG"] = str(settings)
    said = run([sys.executable, "-m", "galaxy_importer.main", archive], its_own, folder)
    found = re.findall(r"^(?:WARNING|ERROR|CRITICAL): .*", said, re.MULTILINE)
    if found or "completed successfully" not in said:
        raise WrongError("Galaxy's importer says:\n" + "\n".join(found or [said]))


def main() -> int:
    """Builds, installs and uses the archive."""
    with tempfile.TemporaryDirectory(prefix="artifact-") as temporary:
        folder = Path(temporary)
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)]),
            "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8"),
            "HOME": str(folder / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(folder / "installed"),
        }
        galaxy = ["ansible-galaxy", "collection"]
        try:
            run([*galaxy, "build", ROOT, "--output-path", folder], environment, folder)
            (archive,) = folder.glob("*.tar.gz")
            judge_content(archive)
            run([*galaxy, "install", archive, "--offline", "-p", folder / "installed"], environment, folder)
            judge_execution_environment(archive, environment, folder)
            judge_use(folder / "installed/ansible_collections/redis_ha/sentinel", environment, folder)
            (folder / "importer").mkdir()
            judge_import(with_repository(archive, folder / "importer"), environment, folder / "importer")
        except WrongError as wrong:
            print(wrong)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
