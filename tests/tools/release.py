# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a release of what is committed: `make release VERSION=0.1.0 REPOSITORY=https://...`.

It writes the version and the addresses of repository, issues and documentation into galaxy.yml, the name of the archive into the pages and the fragments
into the release notes, builds the archive, lets it be judged, commits, and sets a tag. ISSUES and DOCUMENTATION are addresses, too, where they are not
those that GitHub has. Nothing leaves the machine: what is left to do is printed. All of it is done in a clone, so that nothing has changed where it fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.tracked import tracked_files

ROOT = Path(__file__).resolve().parents[2]
RELEASES = ".cache/release"
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
ADDRESS = re.compile(r"https://[\w.-]+(/[\w.~-]+)+/?")
ARCHIVE = re.compile(r"redis_ha-sentinel-\d[\w.-]*\.tar\.gz")
"""As the pages name it."""


class NotReleasedError(Exception):
    """Nothing was released, and nothing has changed; the text says why."""


def run(words: Sequence[str | Path], folder: Path) -> str:
    """Runs a command in a folder and returns what it prints.

    Raises:
        NotReleasedError: It failed.
    """
    command = [str(word) for word in words]
    # A collection is found by the folders that it is in, not where the one of this checkout is.
    environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_COLLECTIONS_PATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotReleasedError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Addresses:
    """Where others find the collection.

    Attributes:
        repository: The code.
        issues: Where faults are told; empty for where GitHub has it.
        documentation: The pages of this version; empty for where GitHub has them.
    """

    repository: str
    issues: str = ""
    documentation: str = ""

    def fields(self, version: str) -> dict[str, str]:
        """The fields of galaxy.yml, of a version whose tag has its name."""
        code = self.repository.removesuffix("/").removesuffix(".git")
        return {
            "repository": self.repository,
            "documentation": self.documentation or f"{code}/blob/{version}/docs/README.md",
            "issues": self.issues or f"{code}/issues",
        }


def require_ready(checkout: Path, version: str, addresses: Addresses) -> None:
    """The words are a version and addresses, all is committed, there is something to tell, and this version is new.

    Raises:
        NotReleasedError: One of these is not so.
    """
    if not VERSION.fullmatch(version):
        raise NotReleasedError(f"VERSION is {version!r}, and is to be three numbers, as 0.1.0")
    for name, address in addresses.fields(version).items():
        if not ADDRESS.fullmatch(address):
            raise NotReleasedError(f"{name.upper()} is {address!r}, and is to be an https address")
    if run(["git", "tag", "--list", version], checkout):
        raise NotReleasedError(f"there is a tag {version}: take the next version")
    if changed := run(["git", "status", "--porcelain"], checkout):
        raise NotReleasedError(f"commit this first, or undo it:\n{changed}")
    if not list((checkout / "changelogs/fragments").glob("*.yml")):
        raise NotReleasedError("nothing is in changelogs/fragments: nothing has changed since the last release")


def with_fields(galaxy: str, fields: dict[str, str]) -> str:
    """The text of galaxy.yml with some fields changed, or added after the version."""
    for name, value in fields.items():
        line = f"{name}: {value}"
        galaxy, count = re.subn(rf"^{name}: .*$", line, galaxy, flags=re.MULTILINE)
        if not count:
            galaxy = re.sub(r"^version: .*$", rf"\g<0>\n{line}", galaxy, flags=re.MULTILINE)
    return galaxy


def name_archive(checkout: Path, version: str) -> None:
    """Lets the pages name the archive of this version. The release notes stay as they are."""
    for page in tracked_files(checkout, "*.md"):
        text = page.read_text()
        named = ARCHIVE.sub(f"redis_ha-sentinel-{version}.tar.gz", text)
        if named != text and page.name != "CHANGELOG.md":
            page.write_text(named)


def judge(clone: Path) -> None:
    """The archive is built, installed, used and imported as by Galaxy.

    Raises:
        NotReleasedError: Something is wrong with it.
    """
    run([sys.executable, "tests/tools/artifact.py"], clone)


def release(checkout: Path, version: str, addresses: Addresses, judged: Callable[[Path], None] = judge) -> Path:
    """Releases what is committed in a checkout; the archive.

    Raises:
        NotReleasedError: It may not be, or something fails; nothing has changed then.
    """
    require_ready(checkout, version, addresses)
    with tempfile.TemporaryDirectory(prefix="release-") as temporary:
        clone = Path(temporary) / "ansible_collections/redis_ha/sentinel"
        run(["git", "clone", "--quiet", checkout, clone], checkout)
        galaxy = clone / "galaxy.yml"
        galaxy.write_text(with_fields(galaxy.read_text(), {"version": version, **addresses.fields(version)}))
        name_archive(clone, version)
        run(["antsibull-changelog", "release", "--version", version], clone)
        judged(clone)
        run(["git", "add", "--all"], clone)
        who = ["-c", f"user.name={_git_setting(checkout, 'user.name')}"]
        who += ["-c", f"user.email={_git_setting(checkout, 'user.email')}"]
        run(["git", *who, "commit", "--quiet", "--message", f"Release {version}"], clone)
        run(["git", *who, "tag", "--annotate", version, "--message", f"Release {version}"], clone)
        run(["ansible-galaxy", "collection", "build", "--output-path", temporary], clone)
        (built,) = Path(temporary).glob("*.tar.gz")
        run(["git", "pull", "--quiet", "--ff-only", "--tags", clone, "HEAD"], checkout)
        archive = checkout / RELEASES / built.name
        archive.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(built, archive)
    return archive


def _git_setting(checkout: Path, name: str) -> str:
    try:
        return run(["git", "config", name], checkout)
    except NotReleasedError:
        raise NotReleasedError(f"git does not know who releases: git config {name} ...") from None


def main(words: Sequence[str]) -> int:
    """Releases, and says what is left to do."""
    parser = argparse.ArgumentParser(prog="release.py", description="Makes a release of what is committed.")
    parser.add_argument("version", help="three numbers")
    parser.add_argument("repository", help="the https address where the code is")
    parser.add_argument("--issues", default="", help="the https address where faults are told (as GitHub has it)")
    parser.add_argument("--documentation", default="", help="the https address of the pages (as GitHub has it)")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="(this one)")
    options = parser.parse_args(words)
    try:
        addresses = Addresses(options.repository, options.issues, options.documentation)
        archive = release(options.checkout, options.version, addresses)
    except NotReleasedError as why:
        print(f"Not released: {why}", file=sys.stderr)
        return 1
    named = archive.relative_to(options.checkout)
    print(f"Committed and tagged {options.version}. What is left:\n  git push origin HEAD {options.version}")
    print(f"  ansible-galaxy collection publish {named}")
    print("Where the code is on GitHub, its workflow publishes what is tagged.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
