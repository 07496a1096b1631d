# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happened, when, told by whom."""

from __future__ import annotations

import threading

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import parse_event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Happening, Timeline
from unit.builders import L0, L1


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
    timeline.add("discover")
    clock.moment_s = 100.2504
    timeline.add("fence", "up")
    timeline.add_event(L0, 100.1, parse_event("+try-failover", "master mymaster 10.0.0.1 6379"))
    timeline.add("earlier", at_s=100.05)
    assert timeline.as_result() == [
        {"at_ms": 0.0, "who": "program", "what": "discover", "detail": ""},
        {"at_ms": 50.0, "who": "program", "what": "earlier", "detail": ""},
        {"at_ms": 100.0, "who": f"sentinel {L0}", "what": "+try-failover", "detail": "master mymaster 10.0.0.1 6379"},
        {"at_ms": 250.4, "who": "program", "what": "fence", "detail": "up"},
    ]
    assert timeline.started_wall_s == 1_700_000_000.0


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


def test_each_happening_is_handed_on() -> None:
    seen: list[Happening] = []
    timeline = Timeline(StillClock(), seen.append)
    timeline.add("fence", "up")
    timeline.add_event(L0, 100.0, parse_event("+tilt", "#tilt mode entered"))
    assert [(it.who, it.what) for it in seen] == [("program", "fence"), (f"sentinel {L0}", "+tilt")]


def test_events_come_from_threads() -> None:
    timeline = Timeline(Clock())
    event = parse_event("+sdown", "master mymaster 10.0.0.1 6379")

    def tell() -> None:
        for _number in range(200):
            timeline.add_event(L0, 0.0, event)
            timeline.as_result()

    threads = [threading.Thread(target=tell) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(timeline.as_result()) == 800


def test_the_clock_goes_on() -> None:
    clock = Clock()
    before_s = clock.now_s()
    clock.sleep(0.002)
    assert clock.now_s() - before_s >= 0.002
    assert clock.wall_s() > 1_700_000_000
