# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The figures of an automatic failover: what was seen in, what came about when out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._automatic import (
    CAME_BACK,
    DONE,
    NOT_STOPPED,
    TIMED_OUT,
    WAIT,
    LastAnswer,
    NodeState,
    Watched,
    figures_ms,
    missing_bytes,
    new_master,
    stopped_s,
    story,
    verdict,
    write_gap_ms,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, parse_event

OLD, NEW, OTHER = (Address("192.0.2.21", 6379), Address("192.0.2.22", 6379), Address("192.0.2.23", 6379))
S1, S2 = Address("192.0.2.11", 26379), Address("192.0.2.12", 26379)
ABOUT = f"master shop {OLD.host} {OLD.port}"


def follows(at_s: float, master: Address, link_up: bool = True) -> NodeState:
    return NodeState(at_s, True, False, master, link_up)


def whole() -> Watched:
    """Silent from 10.0 on; all follow at 16.6."""
    return Watched(
        master_name="shop",
        old_master=OLD,
        began_s=9.0,
        states={
            OLD: (NodeState(9.0, True, True), NodeState(10.0, False)),
            NEW: (follows(9.0, OLD), NodeState(15.5, True, True)),
            OTHER: (follows(9.0, OLD), follows(16.5, NEW, False), follows(16.6, NEW)),
        },
        last_answers={OLD: LastAnswer(10.0, 700), NEW: LastAnswer(17.0, 690), OTHER: LastAnswer(17.0, 690)},
        named={S1: ((9.0, OLD), (16.0, NEW)), S2: ((9.0, OLD), (16.4, NEW))},
        events=(
            (S1, 9.5, parse_event("+sdown", f"slave x {OTHER.host} {OTHER.port} @ shop {OLD.host} {OLD.port}")),
            (S1, 15.0, parse_event("+sdown", "master cart 192.0.2.31 6379")),
            (S2, 15.1, parse_event("+sdown", ABOUT)),
            (S1, 15.2, parse_event("+sdown", ABOUT)),
            (S1, 15.3, parse_event("+odown", f"{ABOUT} #quorum 2/2")),
            (S1, 15.4, parse_event("+elected-leader", ABOUT)),
        ),
        history_ended_at=680,
        waited_for=frozenset({NEW, OTHER}),
        asked=frozenset({S1, S2}),
    )


def test_each_part_counts_from_the_last_answer() -> None:
    assert figures_ms(whole(), 10.0) == {
        "detected": 5100.0,
        "agreed": 5300.0,
        "elected": 5400.0,
        "promoted": 5500.0,
        "named": 6400.0,
        "followed": 6600.0,
    }
    assert write_gap_ms(figures_ms(whole(), 10.0)) == 6400.0
    assert verdict(whole(), 17.0, 60, 300) == DONE


def test_what_has_not_come_about_has_no_figure() -> None:
    late = replace(whole(), named={S1: ((9.0, OLD), (16.0, NEW)), S2: ((9.0, OLD),)})
    assert set(figures_ms(late, 10.0)) == {"detected", "agreed", "elected"}
    assert new_master(late) is None
    assert write_gap_ms(figures_ms(late, 10.0)) is None


def test_a_link_that_goes_down_again_does_not_count_as_following() -> None:
    rows = (*whole().states[OTHER], follows(16.7, NEW, False), follows(16.9, NEW))
    again = replace(whole(), states={**whole().states, OTHER: rows})
    assert figures_ms(again, 10.0)["followed"] == 6900.0
    lost = replace(whole(), states={**whole().states, OTHER: rows[:-1]})
    assert "followed" not in figures_ms(lost, 10.0)


def test_a_sentinel_that_fell_silent_with_the_master_is_not_waited_for() -> None:
    assert new_master(replace(whole(), named={**whole().named, S2: ((9.0, OLD),)}, asked=frozenset({S1}))) == NEW


ANSWERING = replace(whole(), states={OLD: (NodeState(9.0, True, True),)}, named={}, events=())
SILENT = replace(ANSWERING, states={OLD: (NodeState(9.0, True, True), NodeState(10.0, False))})
BACK = replace(ANSWERING, states={OLD: (*SILENT.states[OLD], NodeState(12.0, True, True))})
BACK_AFTERWARDS = replace(whole(), states={**whole().states, OLD: (*whole().states[OLD], follows(16.9, NEW))})


@pytest.mark.parametrize(
    ("seen", "now_s", "expected"),
    [
        (ANSWERING, 20.0, WAIT),
        (ANSWERING, 70.0, NOT_STOPPED),
        (SILENT, 70.0, WAIT),
        (SILENT, 311.0, TIMED_OUT),
        (BACK, 13.0, CAME_BACK),
        (BACK_AFTERWARDS, 17.0, DONE),
    ],
    ids=["answers", "never stops", "silent", "nobody moves it", "back before anybody moved it", "back as a replica"],
)
def test_the_verdict(seen: Watched, now_s: float, expected: str) -> None:
    assert verdict(seen, now_s, 60, 300) == expected


def test_the_last_answer_is_the_one_before_the_silence() -> None:
    assert stopped_s(ANSWERING) is None
    assert stopped_s(whole()) == 10.0


def test_what_the_new_master_never_got_is_counted_where_it_can_be() -> None:
    assert missing_bytes(whole()) == 20
    assert missing_bytes(replace(whole(), history_ended_at=705)) == 0
    assert missing_bytes(replace(whole(), history_ended_at=None)) is None


def test_the_story_is_told_in_the_order_of_time_and_of_this_master_alone() -> None:
    told = story(whole(), 10.0)
    assert [row["at_ms"] for row in told] == sorted(row["at_ms"] for row in told)
    assert told[0] == {"at_ms": 0.0, "who": f"node {OLD}", "what": "does not answer"}
    assert {"at_ms": 5500.0, "who": f"node {NEW}", "what": "is master"} in told
    assert not any("cart" in row["what"] for row in told)
