# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rolling upgrade that is documented is the one that the scenario `rolling_maintenance` runs."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "molecule/rolling_maintenance"


def test_the_documented_playbooks_are_those_of_the_scenario() -> None:
    section = (ROOT / "docs/upgrading.md").read_text().split("## The servers", 1)[1]
    plays = yaml.safe_load((SCENARIO / "converge.yml").read_text())
    (upgrade,) = (play for play in plays if play["name"] == "Upgrade every server of each host")
    rolled = yaml.safe_load((SCENARIO / "tasks/roll.yml").read_text())[0]["vars"]["playbook"]
    ran = [task["vars"].get("playbook", rolled) for task in upgrade["tasks"] if "vars" in task]
    assert re.findall(r"^ansible-playbook (\S+)", section, re.MULTILINE) == ran
    assert ran == ["redis_ha.sentinel.drain", "redis_ha.sentinel.rolling_maintenance"]
