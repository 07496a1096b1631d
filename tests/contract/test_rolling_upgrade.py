# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rolling upgrade that is documented is the one that the scenario `versions` runs."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_documented_plays_are_those_of_the_scenario() -> None:
    plays = (ROOT / "molecule/versions/upgrade.yml").read_text().partition("---\n")[2]
    assert f"```yaml\n# upgrade.yml\n{plays}```\n" in (ROOT / "docs/upgrading.md").read_text()
