# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of judges are followed. Where one is silenced it is for a reason that stands there, and that is seldom."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FEW = 10
# Put together, so that this line is none of them.
COMMENT = re.compile("# *(?:no" + "qa|type: ig" + "nore|shellcheck dis" + "able)")


def lines() -> Iterator[tuple[Path, str, str]]:
    """Every line of code that is ours, and the one before it."""
    for suffix in ("py", "sh", "yml"):
        for path in sorted(ROOT.rglob(f"*.{suffix}")):
            if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
                before = ""
                for line in path.read_text().splitlines():
                    yield path, before, line
                    before = line


def silenced_in_code() -> list[tuple[Path, str, str]]:
    return [row for row in lines() if COMMENT.search(row[2])]


def silenced_in_settings() -> list[str]:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    files = [rule for rules in ruff["per-file-ignores"].values() for rule in rules]
    lint = yaml.safe_load((ROOT / ".ansible-lint").read_text())
    return [*ruff["ignore"], *files, *lint["skip_list"]]


def test_few_rules_are_silenced() -> None:
    found = [f"{path.relative_to(ROOT)}: {line.strip()}" for path, _before, line in silenced_in_code()]
    assert len(found) + len(silenced_in_settings()) < FEW, "\n".join([*found, *silenced_in_settings()])


def test_each_has_its_reason_beside_it() -> None:
    without = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path, before, line in silenced_in_code()
        if " - " not in line.partition("# no" + "qa")[2] and not before.strip().startswith("# ")
    ]
    assert without == []


def test_nothing_is_ignored_by_ansible_test() -> None:
    assert not list((ROOT / "tests").glob("sanity/ignore*"))
