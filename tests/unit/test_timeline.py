# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happened, when, told by whom."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, parse_event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import FENCE_RAISED, STEP_BEGINS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Entry, Timeline
from unit.builders import L0, L1, OM


class StillClock(Clock):
    """A clock that is set by hand."""

    moment_s = 100.0

    def now_s(self) -> float:
        return self.moment_s

    def wall_s(self) -> float:
        return 1_700_000_000.0


def test_it_is_told_in_the_order_of_time() -> None:
    clock = StillClock()
    timeline = Timeline(clock)
    timeline.begin("discover")
    clock.moment_s = 100.2504
    timeline.add(FENCE_RAISED, OM, "up")
    timeline.add_event(L0, 100.1, parse_event("+try-failover", "master mymaster 10.0.0.1 6379"))
    timeline.begin("fence", at_s=100.05)
    told = {"detail": "master mymaster 10.0.0.1 6379", "subject": str(OM)}
    step = {"who": "program", "kind": STEP_BEGINS, "subject": "", "detail": ""}
    assert timeline.as_result() == [
        {**step, "at_ms": 0.0, "step": "discover"},
        {**step, "at_ms": 50.0, "step": "fence"},
        {"at_ms": 100.0, "who": f"sentinel {L0}", "kind": "+try-failover", "step": "discover", **told},
        {
            "at_ms": 250.4,
            "who": "program",
            "kind": FENCE_RAISED,
            "step": "discover",
            "subject": str(OM),
            "detail": "up",
        },
    ]


def test_a_moment_by_the_wall_clock_is_in_utc() -> None:
    timeline = Timeline(StillClock())
    assert timeline.utc_at() == "2023-11-14T22:13:20.000Z"
    assert timeline.utc_at(101.25) == "2023-11-14T22:13:21.250Z"


def test_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind of entry"):
        Timeline(StillClock()).add("fense_raised", OM)


def test_the_epoch_is_read_from_what_one_sentinel_published_in_its_order() -> None:
    timeline = Timeline(StillClock())
    for moment_s, who, channel in ((100.0, L0, "+sdown"), (100.2, L1, "+tilt"), (100.2, L0, "+new-epoch")):
        timeline.add_event(who, moment_s, parse_event(channel, "7"))
    assert [event.channel for event in timeline.events_of(L0, 100.1)] == ["+new-epoch"]


def test_events_by_moment_channel_and_master() -> None:
    timeline = Timeline(StillClock())
    abort = "-failover-abort-no-good-slave"
    timeline.add_event(L0, 100.0, parse_event(abort, "master mymaster 10.0.0.1 6379"))
    timeline.add_event(L1, 101.0, parse_event(abort, "master mymaster 10.0.0.1 6379"))
    timeline.add_event(L1, 101.0, parse_event(abort, "master other 10.0.0.1 6379"))
    timeline.add_event(L1, 101.0, parse_event("+sdown", "master mymaster 10.0.0.1 6379"))
    found = timeline.events(100.5, "-failover-abort", "mymaster")
    assert [(sentinel, event.channel) for sentinel, event in found] == [(L1, abort)]
    assert len(timeline.events(100.0, "-failover-abort", "mymaster")) == 2


def test_each_entry_is_handed_on() -> None:
    seen: list[Entry] = []
    timeline = Timeline(StillClock(), seen.append)
    timeline.add(FENCE_RAISED, OM, "up")
    timeline.add_event(L0, 100.0, parse_event("+tilt", "#tilt mode entered"))
    assert [(it.who, it.kind) for it in seen] == [("program", FENCE_RAISED), (f"sentinel {L0}", "+tilt")]


def test_events_come_from_threads() -> None:
    timeline = Timeline(Clock())
    events = [parse_event(f"{sign}sdown", "master mymaster 10.0.0.1 6379") for sign in "+-"]

    def tell(sentinel: Address) -> None:
        for number in range(200):
            timeline.add_event(sentinel, 0.0, events[number % 2])
            timeline.as_result()

    threads = [threading.Thread(target=tell, args=(Address("10.0.0.1", port),)) for port in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(timeline.as_result()) == 800


def test_a_sentinel_that_repeats_itself_is_put_down_once() -> None:
    """One that cannot resolve the new master's name publishes +switch-master at each of its ticks."""
    timeline = Timeline(Clock())
    event = parse_event("+switch-master", "mymaster 10.0.0.1 6379 replica.example 6379")
    other = parse_event("+sdown", "master mymaster 10.0.0.1 6379")
    for sentinel, said in [(L0, event), (L0, event), (L1, event), (L0, event), (L0, other), (L0, event)]:
        timeline.add_event(sentinel, 0.0, said)
    assert [(it["who"], it["kind"]) for it in timeline.as_result()] == [
        (f"sentinel {L0}", "+switch-master"),
        (f"sentinel {L1}", "+switch-master"),
        (f"sentinel {L0}", "+sdown"),
        (f"sentinel {L0}", "+switch-master"),
    ]
    assert len(timeline.events_of(L0, 0.0)) == 5


def test_the_clock_goes_on() -> None:
    clock = Clock()
    before_s = clock.now_s()
    clock.sleep(0.002)
    assert clock.now_s() - before_s >= 0.002
    assert clock.wall_s() > 1_700_000_000
