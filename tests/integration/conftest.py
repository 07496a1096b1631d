# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests on real servers share, and which of them are run by one process."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from lab import compiled
from lab.modules import quick_starts
from lab.playbooks import Workspace

HERE = "tests/integration/"
ALONE = tuple(
    HERE + beginning
    for beginning in (
        "ad_hoc/test_told_live.py",
        "bench/",
        "lab/test_demo.py::test_interrupted",
        "lab/test_deployment.py",
        "modules/test_causes.py",
        "modules/test_failover.py",
        "modules/test_failover_interrupted.py",
        "modules/test_failover_news.py",
        "modules/test_failover_states.py",
        "modules/test_health_info.py::test_nothing_is_wrong",
        "report/test_report_role.py",
        "roles/test_failover.py::test_hosts_that_stand_for",
        "roles/test_postcheck.py::test_a_replica_that_needs_a_full_resync",
    )
)
"""Tests that share nothing with others, or nothing that is dear: each goes to whichever process is free. The others of a file stay together."""
PARTS = tuple(
    HERE + beginning
    for beginning in (
        "pages/test_commands.py::test_commands[README.md",
        "pages/test_commands.py::test_commands[docs/",
        "roles/test_failover.py::TestConfirmation",
        "roles/test_failover.py::test_names_",
        "roles/test_failover.py::test_the_truth_is_told",
    )
)
"""Tests that stay together, and not with the others of their file: else what begins first would be what all wait for in the end."""


@pytest.fixture(scope="session", autouse=True)
def runs_begin_quickly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # That of all processes of this run.
        folder = folder.parent
    (folder / "compiled").mkdir(exist_ok=True)
    with quick_starts(), compiled.once(folder / "compiled"):
        yield


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    with Workspace() as made:
        yield made


def unit_of(node_id: str) -> str:
    """What is run by one process, in one go: a test, a part of a file, or a file."""
    if node_id.startswith(ALONE):
        return node_id
    return next((part for part in PARTS if node_id.startswith(part)), node_id.partition("::")[0])


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Most of the time of nearly every test is waiting, in which others go on."""
    from xdist.scheduler import LoadScopeScheduling

    # In the order of the collection, which is ours.
    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = unit_of
    return scheduler


def limit_s(test: pytest.Item) -> float:
    """How many seconds a test may take; 0 where it is content with what is permitted to all."""
    marker = test.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may take longest begins first, then the files with the most tests."""
    sizes = Counter(unit_of(item.nodeid) for item in items)
    limits_s: dict[str, float] = {}
    for item in items:
        unit = unit_of(item.nodeid)
        limits_s[unit] = max(limits_s.get(unit, 0.0), limit_s(item))

    def rank(item: pytest.Item) -> tuple[float, int]:
        unit = unit_of(item.nodeid)
        return (-limits_s[unit], -sizes[unit])

    items.sort(key=rank)
