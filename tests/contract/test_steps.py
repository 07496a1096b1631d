# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a run: the table of docs/failover.md, ``STEPS``, the lines of a plan and what a run goes through are one thing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils import _steps
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    CATCH_UP,
    DEMOTE,
    DISCONNECT,
    FENCE,
    JOIN,
    PROBE,
    PROMOTE,
    REPAIR,
    SETTLE,
    STEER,
    STEPS,
    TRIGGER,
    Step,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Timeline
from unit.builders import L0, L1, NAME, OM, R, S
from unit.fake_connection import FakeClock, FakeFleet
from unit.world import World

PAGE = (Path(__file__).resolve().parents[2] / "docs/failover.md").read_text()

PLAN_LINES: dict[str, Step] = {
    "put back on": REPAIR,
    "wait until the failover that is in progress has ended": JOIN,
    "check that every replica follows the new master": SETTLE,
    "raise replica-priority on": STEER,
    "reach the master's offset while writes go on": PROBE,
    "pause writes on": FENCE,
    "refuse writes on": FENCE,
    "apply everything that": CATCH_UP,
    "make OM a replica of": DEMOTE,
    "lower failover-timeout": TRIGGER,
    "send SENTINEL FAILOVER": TRIGGER,
    "the master, and tell the Sentinels": PROMOTE,
    "become the master, and every Sentinel name it": PROMOTE,
    "rewrite the configuration of": DISCONNECT,
    "see every replica follow": SETTLE,
    "put the priorities back": SETTLE,
}
"""What tells a line of a plan from the others -> the step in which a run does it."""


def rows(page: str) -> list[list[str]]:
    """The cells of the table under the heading of the steps."""
    section = page.split("\n## The steps\n", 1)[1].split("\n## ", 1)[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def step_of(line: str) -> str:
    found = {step.name for words, step in PLAN_LINES.items() if words in line.replace(str(OM), "OM", 1)}
    assert len(found) == 1, f"{line!r} belongs to {sorted(found) or 'no step'}"
    return found.pop()


def test_every_step_is_a_row_of_the_page_and_no_other_is() -> None:
    assert rows(PAGE) == [[step.name, step.purpose, step.effect, step.if_killed] for step in STEPS]


def test_every_step_that_the_code_knows_stands_in_the_table() -> None:
    known = [value for value in vars(_steps).values() if isinstance(value, Step)]
    assert sorted(step.name for step in known) == sorted(step.name for step in STEPS)
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_what_the_page_says_that_a_step_sends_is_about_a_step() -> None:
    named = re.findall(r"^- \*\*(\w+)\*\* ", PAGE, re.MULTILINE)
    order = [step.name for step in STEPS]
    assert named
    assert named == sorted(named, key=order.index)


def healthy(**options: Any) -> World:
    return World(3, **options)


def steered() -> World:
    """A replica that Sentinel could choose, and that lags."""
    world = World(3)
    world.nodes[S].settings["replica-priority"] = "10"
    return world


def of_valkey() -> World:
    """Sentinels that know COORDINATED."""
    world = World(3)
    for sentinel in world.sentinels.values():
        sentinel.coordinated = True
    return world


CASES: dict[str, tuple[Callable[[], World], dict[str, Any]]] = {
    "the program promotes": (healthy, {}),
    "fenced by settings": (lambda: healthy(modern=False), {}),
    "Sentinel promotes": (healthy, {"promotion": "sentinel"}),
    "a target that Sentinel would not choose": (steered, {"promotion": "sentinel", "target": R}),
    "coordinated": (of_valkey, {"strategy": "coordinated"}),
    "plain": (healthy, {"strategy": "plain", "accept_loss": True}),
    "one Sentinel alone": (lambda: healthy(sentinels=[L0], quorum=1), {}),
    "two Sentinels": (lambda: healthy(sentinels=[L0, L1]), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_through_the_steps_of_its_plan_in_their_order(case: str) -> None:
    build, wishes = CASES[case]
    order = [step.name for step in STEPS]
    world = build()
    planned = [step_of(line) for line in fail_over(run_of(world, wishes), check_mode=True)["plan"]["steps"]]
    world = build()
    result = fail_over(run_of(world, wishes))
    assert result["outcome"] == "switched", result.get("msg")
    begun = [entry["step"] for entry in result["timeline"] if entry["kind"] == "step_begins"]

    assert [order.index(name) for name in begun] == sorted(order.index(name) for name in begun)
    assert [order.index(name) for name in planned] == sorted(order.index(name) for name in planned)
    assert set(planned) <= set(begun), "the plan names a step that the run did not come to"
    done_unplanned = set(begun) - set(planned)
    assert done_unplanned <= {
        "discover",
        "plan",
        "lock",
        "recheck",
        "teach",
        "announce",
        "agree",
        "follow",
        "disconnect",
    }


def run_of(world: World, wishes: dict[str, Any]) -> Run:
    clock = FakeClock(world)
    return Run(FakeFleet(world), replace(Request(NAME), **wishes), clock, Timeline(clock))


def test_a_line_of_a_plan_that_belongs_to_no_step_is_noticed() -> None:
    with pytest.raises(AssertionError, match="no step"):
        step_of("dance with the replicas")
    assert step_of(f"make {Address('10.0.0.1', 6379)} a replica of {R}") == "demote"
