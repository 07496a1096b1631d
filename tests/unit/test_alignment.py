# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The moment of the trigger, held against a simulation of Sentinel's timer."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._alignment import (
    BLIND_AGE_S,
    EARLIEST_TICK_AGE_S,
    LATEST_BLIND_AGE_S,
    LATEST_TICK_AGE_S,
    MISSED,
    TAKE,
    TICKS_S,
    WAIT,
    TickForecast,
    verdict,
)

DRAWS = 4000


def test_how_long_a_tick_lasts() -> None:
    assert (max(TICKS_S), min(TICKS_S), len(TICKS_S)) == (0.1, 0.052, 10)
    assert pytest.approx(0.894) == LATEST_TICK_AGE_S
    assert pytest.approx(0.794) == EARLIEST_TICK_AGE_S
    assert EARLIEST_TICK_AGE_S < BLIND_AGE_S < LATEST_BLIND_AGE_S


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (0.0, WAIT),
        (0.5, WAIT),
        (0.793, WAIT),
        (0.80, WAIT),
        (0.827, WAIT),
        (0.830, TAKE),
        (0.85, TAKE),
        (0.893, TAKE),
        (0.895, MISSED),
        (1.5, MISSED),
    ],
)
def test_verdicts(age_s: float, expected: str) -> None:
    assert verdict(age_s) == expected


def test_a_verdict_waits_only_while_the_next_tick_is_likelier_in_time_than_not() -> None:
    for thousandths in range(795, 894):
        age_s = thousandths / 1000
        in_time = sum(age_s + tick_s <= LATEST_TICK_AGE_S for tick_s in TICKS_S)
        assert verdict(age_s) == (WAIT if in_time >= 5 else TAKE)


# ---- the forecast --------------------------------------------------------------------------------------------------


def test_nothing_is_foretold_before_a_tick_was_seen() -> None:
    forecast = TickForecast()
    assert forecast.next_s is None
    forecast.observe(10.0, 12)
    forecast.observe(10.05, 12)
    assert forecast.next_s is None


def test_a_new_draw_shows_a_tick_and_how_long_it_lasts() -> None:
    forecast = TickForecast()
    forecast.observe(10.000, 12)
    forecast.observe(10.001, 12)
    forecast.observe(10.002, 19)
    assert forecast.next_s == pytest.approx(10.001 + 0.052)
    forecast.observe(10.053, 10)
    assert forecast.next_s == pytest.approx(10.002 + 0.1)


def test_the_earlier_of_two_moments_is_the_safe_one() -> None:
    forecast = TickForecast()
    forecast.observe(10.000, 12)
    forecast.observe(10.040, 10)
    assert forecast.next_s == pytest.approx(10.1), "not later than the tick itself"


def test_the_same_draw_twice() -> None:
    forecast = TickForecast()
    forecast.observe(10.000, 12)
    forecast.observe(10.001, 10)
    forecast.observe(10.099, 10)
    assert forecast.next_s == pytest.approx(10.1), "still before the tick"
    forecast.observe(10.103, 10)
    assert forecast.next_s == pytest.approx(10.1), "it may be late"
    forecast.observe(10.110, 10)
    assert forecast.next_s == pytest.approx(10.2), "it has drawn the same"


def test_a_late_observation_after_a_tick_with_the_same_draw() -> None:
    forecast = TickForecast()
    forecast.observe(10.000, 12)
    forecast.observe(10.001, 10)
    forecast.observe(10.150, 10)
    forecast.observe(10.251, 10)
    assert forecast.next_s == pytest.approx(10.3)


@pytest.mark.parametrize("seed", range(20))
def test_asked_each_millisecond_it_foretells_every_tick(seed: int) -> None:
    draw = random.Random(seed)
    forecast = TickForecast()
    tick_s, hz = 5.0, draw.randint(10, 19)
    ticks: list[float] = []
    at_s, seen = 5.0005, 0
    while len(ticks) < 60:
        while tick_s + 1000 // hz / 1000 <= at_s:
            tick_s += 1000 // hz / 1000
            hz = draw.randint(10, 19)
            ticks.append(tick_s)
        forecast.observe(at_s, hz)
        truth_s = tick_s + 1000 // hz / 1000
        if forecast.next_s is not None and at_s - tick_s > 0.010:
            seen += 1
            assert truth_s - 0.0021 <= forecast.next_s <= truth_s + 0.0001
        at_s += 0.001
    assert seen > 2000


# ---- Sentinel, simulated -------------------------------------------------------------------------------------------


@dataclass
class Leader:
    """A Sentinel's timer: it looks at R once the last INFO is more than a second old, after that tick's step."""

    draw: random.Random
    tick_s: float = 0.0
    period_s: float = 0.0

    def next(self) -> float:
        """The tick after this one."""
        self.period_s = 1000 // self.draw.randint(10, 19) / 1000
        self.tick_s += self.period_s
        return self.tick_s


def noticed_after_s(leader: Leader, info_at_s: float, triggered_at_s: float) -> tuple[float, list[int]]:
    """Trigger, and step until the promotion is noticed.

    Returns:
        How long it took, and in which ticks after the trigger an INFO was sent.
    """
    infos: list[int] = []
    tick_s = leader.tick_s
    while tick_s < triggered_at_s:
        tick_s = leader.next()
    number = 1
    while True:
        # Tick 1 wakes up, tick 2 selects, tick 3 orders the promotion; then that tick's INFO, on the same connection.
        if tick_s - info_at_s > 1.0:
            infos.append(number)
            info_at_s = tick_s
            if number >= 3:
                return tick_s - triggered_at_s, infos
        tick_s = leader.next()
        number += 1


def by_verdict(seed: int) -> tuple[float, list[int]] | None:
    """One trigger sent right before the tick that the verdict takes; ``None`` where it missed."""
    draw = random.Random(seed)
    leader = Leader(draw, tick_s=draw.uniform(0.0, 0.1))
    while True:
        tick_s = leader.next()
        decision = verdict(tick_s)
        if decision == MISSED:
            return None
        if decision == TAKE:
            return noticed_after_s(leader, 0.0, tick_s - 0.003)


def test_triggered_by_verdict_no_info_comes_too_early() -> None:
    runs = [by_verdict(seed) for seed in range(DRAWS)]
    hits = [run for run in runs if run is not None]
    assert not [infos for _took_s, infos in hits if 1 in infos or 2 in infos]
    assert {infos[0] for _took_s, infos in hits} == {3, 4, 5}
    took_ms = sorted(1000 * took_s for took_s, _infos in hits)
    assert took_ms[0] > 2 * 52
    assert 165 <= took_ms[len(took_ms) // 2] <= 185
    assert took_ms[-1] <= 280, "the fifth tick, and only where ticks are short"


def test_the_verdict_misses_one_time_in_eight() -> None:
    """The tick that is waited for may come too late; then another period is waited, which costs clients nothing."""
    missed = sum(by_verdict(seed) is None for seed in range(DRAWS))
    assert 0.10 < missed / DRAWS < 0.15


@pytest.mark.parametrize(("age_s", "most"), [(BLIND_AGE_S, 0.01), (0.80, 0.0)])
def test_a_blind_trigger_comes_too_early_in_fewer_than_one_of_a_hundred(age_s: float, most: float) -> None:
    early = 0
    for seed in range(DRAWS):
        draw = random.Random(seed)
        leader = Leader(draw, tick_s=draw.uniform(-0.2, -0.1))
        _took_s, infos = noticed_after_s(leader, 0.0, age_s)
        early += infos[0] < 3
    assert early / DRAWS <= most


def test_a_trigger_at_any_moment_takes_a_second_far_more_often() -> None:
    """What alignment is for: the same count without it."""
    slow = 0
    for seed in range(1000):
        draw = random.Random(seed)
        leader = Leader(draw, tick_s=draw.uniform(-0.1, 0.0))
        slow += noticed_after_s(leader, 0.0, draw.uniform(0.0, 10.0))[0] > 0.6
    assert slow > 500
