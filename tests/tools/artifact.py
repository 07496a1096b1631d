# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges what is published: the archive that `ansible-galaxy collection build` makes.

It holds only what belongs in it. It installs into an empty environment, and works there with only meta, plugins, roles and playbooks. From what
it says of itself, `ansible-builder` makes an execution environment with redis-py and nothing else, by its floor; it makes one of the definition for
AWX, too. Galaxy's importer takes the archive, by the rules of the community and by those of certification.
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
from dataclasses import dataclass
from pathlib import Path

import yaml

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


@dataclass(frozen=True)
class Rules:
    """By what Galaxy's importer judges.

    Attributes:
        name: Whose rules they are.
        settings: What the importer does otherwise than by itself.
        version: What the archive calls itself for them; empty for what it is.
    """

    name: str
    settings: tuple[str, ...]
    version: str = ""


# The importer runs ansible-lint as one of its users would. The judge `lint` runs the same profile, with all rules.
WITHOUT_LINT = "run_ansible_lint = false"
COMMUNITY = Rules("community", (WITHOUT_LINT,))
CERTIFICATION = Rules(
    "certification",
    (WITHOUT_LINT, "check_required_tags = true", "require_v1_or_greater = true"),
    "1.0.0",
)
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


def image_of(definition: Path, context: Path, environment: Mapping[str, str]) -> str:
    """The recipe that `ansible-builder` makes of the definition of an execution environment.

    Raises:
        WrongError: It makes none, or one that installs no collection.
    """
    words: list[str | Path] = ["--file", definition, "--context", context, "--output-filename", "Containerfile"]
    run(["ansible-builder", "create", *words], environment, definition.parent)
    made = (context / "Containerfile").read_text()
    if "ansible-galaxy collection install" not in made:
        raise WrongError(f"the image of {definition.name} installs no collection:\n{made}")
    return made


def judge_execution_environment(archive: Path, environment: Mapping[str, str], folder: Path) -> None:
    """Holds what `ansible-builder` makes of the collection against its floor.

    Raises:
        WrongError: It makes something else of it.
    """
    definition = folder / "execution-environment.yml"
    definition.write_text(
        "version: 3\nimages: {base_image: {name: base:latest}}\n"
        f"dependencies: {{galaxy: {{collections: [{{name: {archive.name}, type: file}}]}}}}\n"
    )
    image_of(definition, folder / "context", environment)
    found = run(["ansible-builder", "introspect", folder / "installed"], environment, folder)
    python = [line.strip(" -'\"") for line in found.splitlines() if "from collection" in line]
    if python != [REDIS_PY]:
        raise WrongError(f"an execution environment would hold {python}, not {REDIS_PY}")


def judge_awx_environment(awx: Path, floor: str, environment: Mapping[str, str], context: Path) -> None:
    """Holds what `ansible-builder` makes of the definition for AWX against what the collection demands.

    Args:
        awx: The folder of the archive that AWX reads.
        floor: Which ansible-core the collection demands, as meta/runtime.yml says it.
        environment: That of the commands.
        context: The folder for what is made.

    Raises:
        WrongError: It makes nothing, or the image would hold something else.
    """
    made = image_of(awx / "execution-environment.yml", context, environment)
    cores = set(re.findall(r"ansible-core([^\s\"']+)", made))
    if cores != {floor.removesuffix(".0")}:
        raise WrongError(f"the image for AWX would hold ansible-core {sorted(cores)}, not {floor}:\n{made}")
    asked = yaml.safe_load((context / "_build/requirements.yml").read_text())
    if [collection["name"] for collection in asked["collections"]] != ["redis_ha.sentinel"]:
        raise WrongError(f"the image for AWX would hold these collections: {asked}")


def renamed(archive: Path, version: str, folder: Path) -> Path:
    """The same archive, as a version if one is given, with an address of its repository where it names none."""
    with tarfile.open(archive) as content:
        manifest = json.loads(_text_of(content, "MANIFEST.json"))
        told = manifest["collection_info"]
        told["repository"] = told["repository"] or PLACEHOLDER
        told["version"] = version or told["version"]
        text = json.dumps(manifest).encode()
        named = folder / f"{told['namespace']}-{told['name']}-{told['version']}.tar.gz"
        with tarfile.open(named, "w:gz", compresslevel=1) as copied:
            for member in content.getmembers():
                file = content.extractfile(member)
                if member.name == "MANIFEST.json":
                    member.size, file = len(text), io.BytesIO(text)
                copied.addfile(member, file)
    return named


def _text_of(content: tarfile.TarFile, name: str) -> str:
    file = content.extractfile(name)
    if file is None:
        raise WrongError(f"{name} is no file")
    return file.read().decode()


def judge_import(archive: Path, rules: Rules, environment: Mapping[str, str], folder: Path) -> None:
    """Lets Galaxy's importer look at the archive by some rules.

    Raises:
        WrongError: It does not take it, or has something to say.
    """
    place = folder / rules.name
    place.mkdir()
    settings = place / "importer.cfg"
    settings.write_text("\n".join(["[galaxy-importer]", *rules.settings, ""]))
    its_own = {name: value for name, value in environment.items() if name != "ANSIBLE_COLLECTIONS_PATH"}
    its_own["GALAXY_IMPORTER_CONFIG"] = str(settings)
    imported = renamed(archive, rules.version, place)
    said = run([sys.executable, "-m", "galaxy_importer.main", imported], its_own, place)
    found = re.findall(r"^(?:WARNING|ERROR|CRITICAL): .*", said, re.MULTILINE)
    if found or "completed successfully" not in said:
        raise WrongError(f"Galaxy's importer says by the rules of {rules.name}:\n" + "\n".join(found or [said]))


def judge(environment: Mapping[str, str], folder: Path) -> list[str]:
    """Builds and installs the archive, and lets it be judged side by side; what is wrong with it, in words."""
    galaxy = ["ansible-galaxy", "collection"]
    try:
        run([*galaxy, "build", ROOT, "--output-path", folder], environment, folder)
        (archive,) = folder.glob("*.tar.gz")
        judge_content(archive)
        run([*galaxy, "install", archive, "--offline", "-p", folder / "installed"], environment, folder)
    except WrongError as wrong:
        return [str(wrong)]
    installed = folder / "installed/ansible_collections/redis_ha/sentinel"
    # What the use of the collection is tried without.
    awx = shutil.copytree(installed / "awx", folder / "awx")
    floor = yaml.safe_load((installed / "meta/runtime.yml").read_text())["requires_ansible"]
    found: list[str] = []
    with ThreadPoolExecutor() as pool:
        judged = [
            pool.submit(judge_import, archive, COMMUNITY, environment, folder),
            pool.submit(judge_import, archive, CERTIFICATION, environment, folder),
            pool.submit(judge_use, installed, environment, folder),
            pool.submit(judge_execution_environment, archive, environment, folder),
            pool.submit(judge_awx_environment, awx, floor, environment, folder / "awx-context"),
        ]
        for judgement in judged:
            try:
                judgement.result()
            except WrongError as wrong:
                found.append(str(wrong))
    return found


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
        wrong = judge(environment, folder)
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
