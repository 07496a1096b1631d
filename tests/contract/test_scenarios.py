# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Molecule's scenarios run side by side: what a host is called, and which addresses it has, is its own."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import yaml

from lab.machine import HOST_TOO_SLOW

INVENTORIES = sorted(Path(__file__).resolve().parents[2].glob("molecule/*/inventory/hosts.yml"))


def test_no_two_scenarios_have_a_host_of_one_name() -> None:
    hosts = [name for file in INVENTORIES for name in re.findall(r"^ +([a-z_]+-\d+):", file.read_text(), re.MULTILINE)]
    assert len(hosts) > 30
    assert [name for name, count in Counter(hosts).items() if count > 1] == []


def test_each_scenario_has_a_number_of_its_own() -> None:
    groups = [yaml.safe_load(file.read_text())["all"] for file in INVENTORIES if file.parts[-3] != "shared"]
    numbers = [group["vars"]["scenario_number"] for group in groups]
    assert sorted(set(numbers)) == sorted(numbers)
    assert set(numbers) <= set(range(1, 16))


def test_the_scenario_failover_knows_a_slow_machine_by_the_same_words_as_other_tests() -> None:
    (inventory,) = (file for file in INVENTORIES if file.parts[-3] == "failover")
    assert yaml.safe_load(inventory.read_text())["all"]["vars"]["host_too_slow"] == f"^{HOST_TOO_SLOW.pattern}"
