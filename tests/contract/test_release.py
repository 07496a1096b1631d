# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make release`: what it leaves in a checkout, and what it refuses without a trace."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tools.release import ARCHIVE, Addresses, NotReleasedError, release

from lab.tracked import copy_tracked, git, tracked_files

VERSION = "99.0.0"
REPOSITORY = "https://example.org/team/redis_ha.sentinel"
THERE = Addresses(REPOSITORY)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What git tracks here or would track, and something to tell of it, committed in a repository of its own."""
    made = tmp_path / "checkout"
    copy_tracked(made)
    # From here on nothing that its user wants of git.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
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
    archive = release(checkout, VERSION, THERE, take_it)
    assert git(checkout, "tag", "--points-at", "HEAD") == VERSION
    assert git(checkout, "status", "--porcelain") == ""
    with tarfile.open(archive) as content:
        manifest = content.extractfile("MANIFEST.json")
        assert manifest is not None
        told = json.load(manifest)["collection_info"]
        names = content.getnames()
    assert (told["version"], told["repository"]) == (VERSION, REPOSITORY)
    assert told["issues"] == f"{REPOSITORY}/issues"
    assert told["documentation"] == f"{REPOSITORY}/blob/{VERSION}/docs/README.md"
    assert not [name for name in names if name.startswith("changelogs/fragments/")]
    assert "something is mended" in (checkout / "CHANGELOG.md").read_text()
    assert VERSION in yaml.safe_load((checkout / "changelogs/changelog.yaml").read_text())["releases"]
    pages = [path for path in tracked_files(checkout, "*.md") if path.name != "CHANGELOG.md"]
    named = {str(path.relative_to(checkout)): set(ARCHIVE.findall(path.read_text())) for path in pages}
    assert {page for page, names in named.items() if names} >= {"README.md", "docs/upgrading.md"}
    assert set().union(*named.values()) == {archive.name}
    with pytest.raises(NotReleasedError, match=f"there is a tag {re.escape(VERSION)}"):
        release(checkout, VERSION, THERE, take_it)


def test_what_is_not_where_github_has_it_is_given() -> None:
    elsewhere = Addresses("https://example.org/it.git", "https://faults.example.org/it", "https://docs.example.org/it")
    assert elsewhere.fields(VERSION) == {
        "repository": "https://example.org/it.git",
        "issues": "https://faults.example.org/it",
        "documentation": "https://docs.example.org/it",
    }
    assert Addresses("https://example.org/it.git").fields(VERSION)["issues"] == "https://example.org/it/issues"


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
    ("version", "addresses", "before", "why"),
    [
        pytest.param("0.1", THERE, None, "VERSION is '0.1'", id="no version"),
        pytest.param("", THERE, None, "VERSION is ''", id="version not given"),
        pytest.param(VERSION, Addresses(""), None, "REPOSITORY is ''", id="repository not given"),
        pytest.param(
            VERSION, Addresses("git@example.org:team/it"), None, "https address", id="repository that nobody can read"
        ),
        pytest.param(VERSION, Addresses(REPOSITORY, issues="mail"), None, "ISSUES is 'mail'", id="issues nowhere"),
        pytest.param(VERSION, THERE, _change_something, "README.md", id="not committed"),
        pytest.param(VERSION, THERE, _tell_nothing, "nothing has changed", id="nothing to tell"),
        pytest.param(VERSION, THERE, _spoil_a_fragment, "no_such_section", id="fragment that cannot be read"),
    ],
)
def test_what_may_not_be_released_leaves_no_trace(
    checkout: Path, version: str, addresses: Addresses, before: Callable[[Path], None] | None, why: str
) -> None:
    if before:
        before(checkout)
    then = git(checkout, "rev-parse", "HEAD"), git(checkout, "status", "--porcelain"), git(checkout, "tag")
    with pytest.raises(NotReleasedError, match=re.escape(why)):
        release(checkout, version, addresses, take_it)
    assert (git(checkout, "rev-parse", "HEAD"), git(checkout, "status", "--porcelain"), git(checkout, "tag")) == then
    assert not (checkout / ".cache").exists()
