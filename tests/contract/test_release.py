# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make release`: what it leaves in a checkout, and what it refuses without a trace."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tools.release import NotReleasedError, release

ROOT = Path(__file__).resolve().parents[2]
VERSION = "99.0.0"
REPOSITORY = "https://example.org/team/redis_ha.sentinel"


def git(checkout: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What git tracks here or would track, and something to tell of it, committed in a repository of its own."""
    made = tmp_path / "checkout"
    for name in filter(None, git(ROOT, "ls-files", "-z", "-co", "--exclude-standard").split("\0")):
        if (ROOT / name).exists():  # else it is deleted, but not yet in git
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, made / name, follow_symlinks=False)
    # From here on nothing that its user wants of git.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(made, "init", "--quiet")
    git(made, "config", "user.name", "Somebody")
    git(made, "config", "user.email", "somebody@example.org")
    (made / "changelogs/fragments").mkdir(exist_ok=True)
    (made / "changelogs/fragments/news.yml").write_text("---\nbugfixes:\n  - failover - something is mended.\n")
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "News")
    return made


def take_it(_clone: Path) -> None:
    """The judge `artifact` looks at every archive; here it is about what a release does around that."""


def test_a_release_is_committed_tagged_built_and_told(checkout: Path) -> None:
    archive = release(checkout, VERSION, REPOSITORY, take_it)
    assert git(checkout, "tag", "--points-at", "HEAD") == VERSION
    assert git(checkout, "status", "--porcelain") == ""
    with tarfile.open(archive) as content:
        manifest = content.extractfile("MANIFEST.json")
        assert manifest is not None
        told = json.load(manifest)["collection_info"]
        names = content.getnames()
    assert (told["version"], told["repository"]) == (VERSION, REPOSITORY)
    assert not [name for name in names if name.startswith("changelogs/fragments/")]
    assert "something is mended" in (checkout / "CHANGELOG.md").read_text()
    assert VERSION in yaml.safe_load((checkout / "changelogs/changelog.yaml").read_text())["releases"]
    with pytest.raises(NotReleasedError, match=f"there is a tag {re.escape(VERSION)}"):
        release(checkout, VERSION, REPOSITORY, take_it)


def _change_something(checkout: Path) -> None:
    (checkout / "README.md").write_text("Unfinished.\n")


def _tell_nothing(checkout: Path) -> None:
    git(checkout, "rm", "--quiet", "-r", "changelogs/fragments")
    git(checkout, "commit", "--quiet", "--message", "Nothing to tell")


def _spoil_a_fragment(checkout: Path) -> None:
    (checkout / "changelogs/fragments/spoilt.yml").write_text("---\nno_such_section:\n  - It is new.\n")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Spoilt")


@pytest.mark.parametrize(
    ("version", "repository", "before", "why"),
    [
        pytest.param("0.1", REPOSITORY, None, "VERSION is '0.1'", id="no version"),
        pytest.param("", REPOSITORY, None, "VERSION is ''", id="version not given"),
        pytest.param(VERSION, "", None, "REPOSITORY is ''", id="repository not given"),
        pytest.param(VERSION, "git@example.org:team/it", None, "https address", id="repository that nobody can read"),
        pytest.param(VERSION, REPOSITORY, _change_something, "README.md", id="not committed"),
        pytest.param(VERSION, REPOSITORY, _tell_nothing, "nothing has changed", id="nothing to tell"),
        pytest.param(VERSION, REPOSITORY, _spoil_a_fragment, "no_such_section", id="fragment that cannot be read"),
    ],
)
def test_what_may_not_be_released_leaves_no_trace(
    checkout: Path, version: str, repository: str, before: Callable[[Path], None] | None, why: str
) -> None:
    if before:
        before(checkout)
    then = git(checkout, "rev-parse", "HEAD"), git(checkout, "status", "--porcelain"), git(checkout, "tag")
    with pytest.raises(NotReleasedError, match=re.escape(why)):
        release(checkout, version, repository, take_it)
    assert (git(checkout, "rev-parse", "HEAD"), git(checkout, "status", "--porcelain"), git(checkout, "tag")) == then
    assert not (checkout / ".cache").exists()
