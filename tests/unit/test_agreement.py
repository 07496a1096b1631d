# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which master a majority of the Sentinels names, and what is said where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import SentinelView
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._agreement import Agreement, agreement
from unit.builders import L0, L1, L2, NAME, OM, R, S, sentinel_view

SPELLED = Address("db-1", OM.port)


def naming(sentinel: Address, master: Address) -> SentinelView:
    return replace(sentinel_view(sentinel), current=master)


def dead(sentinel: Address) -> SentinelView:
    return SentinelView(sentinel, error="Connection refused.", error_code="unreachable")


def ignorant(sentinel: Address) -> SentinelView:
    return replace(sentinel_view(sentinel), current=None, master=None)


def vote(*views: SentinelView) -> Agreement:
    return agreement(NAME, views, lambda address: OM if address == SPELLED else address)


@pytest.mark.parametrize(
    ("views", "master"),
    [
        ([naming(L0, OM), naming(L1, OM), naming(L2, OM)], OM),
        ([naming(L0, OM), naming(L1, OM), naming(L2, R)], OM),
        ([naming(L0, R), naming(L1, OM), naming(L2, OM)], OM),
        ([naming(L0, OM), naming(L1, OM), dead(L2)], OM),
        ([naming(L0, OM), dead(L1), dead(L2)], None),
        ([naming(L0, OM), naming(L1, R), naming(L2, S)], None),
        ([naming(L0, OM), naming(L1, R)], None),
        ([naming(L0, OM), dead(L1)], None),
        ([naming(L0, OM)], OM),
        ([naming(L0, SPELLED), naming(L1, OM), naming(L2, R)], SPELLED),
        ([naming(L0, OM), ignorant(L1), ignorant(L2)], OM),
        ([ignorant(L0), ignorant(L1)], None),
        ([dead(L0)], None),
        ([], None),
    ],
    ids=[
        "all",
        "two of three",
        "two of three, not the first",
        "two, and one is dead",
        "one, and two are dead",
        "three minds",
        "one against one",
        "one, and one is dead",
        "the only one",
        "two spellings of one address",
        "those that do not know the master are not its Sentinels",
        "nobody knows it",
        "nobody answers",
        "nobody",
    ],
)
def test_a_majority_of_all_that_are_known(views: list[SentinelView], master: Address | None) -> None:
    assert vote(*views).master == master


def test_the_reason_says_what_each_of_them_said() -> None:
    assert vote(naming(L0, OM), naming(L1, R), dead(L2)).reason == (
        f"No majority of the Sentinels names one master of {NAME}: at most 1 of 3 name the same, 2 are needed. "
        f"Sentinel {L0}: {OM}; Sentinel {L1}: {R}; Sentinel {L2}: Connection refused."
    )


def test_the_reason_where_nobody_knows_the_master() -> None:
    assert vote(ignorant(L0), dead(L1)).reason == (
        f"No Sentinel knows a master called {NAME}. Sentinel {L0}: no such master; Sentinel {L1}: Connection refused."
    )


def test_the_reason_where_nobody_answers() -> None:
    assert vote(dead(L0), dead(L1)).reason == (
        f"No Sentinel can be asked for the master of {NAME}. Sentinel {L0}: Connection refused; Sentinel {L1}: Connection refused."
    )
