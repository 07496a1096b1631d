# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The judge of the archive notices what it is there for: each time one thing is wrong with a small collection, or with a definition for AWX."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tools import artifact
from tools.artifact import (
    CERTIFICATION,
    COMMUNITY,
    Rules,
    WrongError,
    judge_awx_environment,
    judge_import,
)

from lab.modules import CHECKOUT

GALAXY = {
    "namespace": "some",
    "name": "thing",
    "version": "0.1.0",
    "readme": "README.md",
    "authors": ["Somebody"],
    "license": ["GPL-3.0-or-later"],
    "tags": ["database"],
}
# The real archive is judged with it, by both rules.
WITHOUT_DOC = "run_ansible_doc = false"
QUICK_COMMUNITY = replace(COMMUNITY, settings=(*COMMUNITY.settings, WITHOUT_DOC))
"""There are no plugins of which ansible-doc could be asked."""


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "LC_ALL": "C.UTF-8", "HOME": str(tmp_path)}


def built(folder: Path, environment: Mapping[str, str], without: str, **galaxy: object) -> Path:
    """The archive of a collection that has nothing but what every collection has."""
    checkout = folder / "checkout"
    (checkout / "meta").mkdir(parents=True)
    (checkout / "galaxy.yml").write_text(yaml.safe_dump({**GALAXY, **galaxy}))
    (checkout / "meta/runtime.yml").write_text('---\nrequires_ansible: ">=2.16.0"\n')
    for page in {"README.md", "CHANGELOG.md"} - {without}:
        (checkout / page).write_text("# A page\n")
    command = ["ansible-galaxy", "collection", "build", str(checkout), "--output-path", str(folder)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.mark.parametrize(
    ("without", "tags", "rules", "said"),
    [
        pytest.param("CHANGELOG.md", ["database"], QUICK_COMMUNITY, "No changelog found", id="community, no changelog"),
        pytest.param("", ["thing"], CERTIFICATION, "At least one tag", id="certification, no tag that it knows"),
        pytest.param(
            "", ["database"], replace(CERTIFICATION, version=""), "to be 1.0.0 or", id="certification, version 0"
        ),
        pytest.param("", ["database"], CERTIFICATION, "", id="certification, nothing wrong"),
    ],
)
def test_each_of_galaxy_s_rules_is_applied(
    tmp_path: Path, environment: Mapping[str, str], without: str, tags: list[str], rules: Rules, said: str
) -> None:
    archive = built(tmp_path, environment, without, tags=tags)
    if said:
        with pytest.raises(WrongError, match=said):
            judge_import(archive, rules, environment, tmp_path)
    else:
        judge_import(archive, rules, environment, tmp_path)


@pytest.mark.parametrize(
    ("line", "instead", "floor", "said"),
    [
        pytest.param("", "", ">=2.16.0", "", id="nothing wrong"),
        pytest.param("", "", ">=2.99.0", "would hold ansible-core", id="another floor"),
        pytest.param("  galaxy: collections/requirements.yml\n", "", ">=2.16.0", "no collection", id="no collection"),
        pytest.param("galaxy: ", "Galaxy: ", ">=2.16.0", "ended with 1", id="a word that it does not know"),
    ],
)
def test_the_definition_for_awx_is_held_against_the_collection(
    tmp_path: Path, environment: Mapping[str, str], line: str, instead: str, floor: str, said: str
) -> None:
    awx = shutil.copytree(CHECKOUT / "awx", tmp_path / "awx")
    definition = awx / "execution-environment.yml"
    text = definition.read_text()
    assert line in text
    definition.write_text(text.replace(line, instead) if line else text)
    if said:
        with pytest.raises(WrongError, match=said):
            judge_awx_environment(awx, floor, environment, tmp_path / "context")
    else:
        judge_awx_environment(awx, floor, environment, tmp_path / "context")


def test_all_that_is_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_words: object) -> None:
        raise WrongError("use")

    def wrong_rules(_archive: Path, rules: Rules, *_words: object) -> None:
        raise WrongError(rules.name)

    def made(words: list[str], *_more: object) -> str:
        """What building and installing leave."""
        (tmp_path / "it.tar.gz").touch()
        awx, meta = (tmp_path / "installed/ansible_collections/redis_ha/sentinel" / name for name in ("awx", "meta"))
        if "install" in words:
            awx.mkdir(parents=True)
            meta.mkdir()
            (meta / "runtime.yml").write_text('requires_ansible: ">=2.16.0"\n')
        return ""

    monkeypatch.setattr(artifact, "run", made)
    monkeypatch.setattr(artifact, "judge_import", wrong_rules)
    monkeypatch.setattr(artifact, "judge_use", wrong)
    for fine in ("judge_content", "judge_execution_environment", "judge_awx_environment"):
        monkeypatch.setattr(artifact, fine, lambda *_words: None)
    assert artifact.judge({}, tmp_path) == ["community", "certification", "use"]
