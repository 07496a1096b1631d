# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The failover against a model of a deployment: every step, and everything that can go wrong in it.

Whatever goes wrong: never two masters that take writes, nothing acknowledged is lost, no fence is left, and the result says
what the model knows to be true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import UnknownOutcomeError, failure
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over
from ansible_collections.redis_ha.sentinel.plugins.module_utils._plan import Steering
from ansible_collections.redis_ha.sentinel.plugins.module_utils._prepare import LOCK_NAME, raised_priorities
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._strategies import _has_everything
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Entry, Timeline
from unit.builders import L0, L1, L2, NAME, OM, S2, R, S, replication
from unit.fake_connection import FakeClock, FakeFleet
from unit.fake_sentinel import FakeSentinel
from unit.faults import Fault, Killed
from unit.runs import assert_never_split, assert_truthful, attempt, killed, late, masters, run
from unit.world import World

LEASE_MS = 1250
PAUSE = f"CLIENT PAUSE {LEASE_MS}"
FENCE = "CONFIG SET min-replicas-to-write 2000"
DEMOTE = "REPLICAOF 10.0.0."
TRIGGER = f"SENTINEL FAILOVER {NAME}"


# ---- nothing goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modern", [True, False], ids=["pause", "min_replicas"])
@pytest.mark.parametrize("seed", range(8))
def test_a_healthy_deployment_is_switched_without_loss(seed: int, modern: bool) -> None:
    world = World(seed, modern=modern)
    result = run(world)
    assert (result["outcome"], result["error"], result["lossless"]) == ("switched", None, True)
    assert result["old_master"] == OM.as_result()
    assert result["new_master"] == R.as_result()
    assert 0 < result["write_gap_ms"] <= 60
    assert result["promotion"] == "program"
    assert result["leader"] == str(L0), "clients ask the first Sentinel that was given, so it hears first"
    assert [row["resync"] for row in result["replicas"]] == ["partial", "partial"]
    assert len(world.sent(TRIGGER)) == 1
    assert world.nodes[R].sync_full == 0
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


def test_the_write_stop_is_what_the_model_measured() -> None:
    world = World(3)
    result = run(world)
    assert result["write_gap_ms"] == pytest.approx(world.writes_refused_s * 1000, abs=10)


@pytest.mark.parametrize("target", [R, S])
def test_the_named_target_is_promoted_and_the_priorities_are_put_back(target: Address) -> None:
    world = World(2)
    result = run(world, target=target)
    assert (result["outcome"], result["lossless"], result["new_master"]) == ("switched", True, target.as_result())
    for node in world.nodes.values():
        assert node.settings["replica-priority"] == node.rewritten["replica-priority"] == "100"
    assert_never_split(world)


def test_check_mode_plans_and_sends_nothing_that_changes() -> None:
    world = World(1)
    result = run(world, check_mode=True)
    assert (result["outcome"], result["changed"], result.get("failed", False)) == ("planned", True, False)
    assert masters(world) == [OM]
    assert not world.demotions
    assert not world.failovers
    for node in world.nodes.values():
        assert node.settings == node.rewritten
        assert node.pause_until_s == 0


def test_the_target_that_is_master_already_is_left_alone() -> None:
    world = World(1)
    result = run(world, target=OM)
    assert (result["outcome"], result["changed"], result["lossless"]) == ("unchanged", False, None)
    assert masters(world) == [OM]


def test_promoted_by_sentinel_it_loses_nothing_either() -> None:
    world = World(5)
    result = run(world, promotion="sentinel")
    assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "sentinel")
    assert result["leader"] != str(L0), "it shows the old master until its failover is over, and clients ask it first"
    assert 100 <= result["write_gap_ms"] < 1700
    assert world.lost() == 0


@pytest.mark.parametrize("modern", [True, False], ids=["pause", "min_replicas"])
def test_coordinated_lowers_failover_timeout_and_puts_it_back(modern: bool) -> None:
    world = World(1, modern=modern)
    for sentinel in world.sentinels.values():
        sentinel.coordinated = True
    result = run(world, strategy="coordinated")
    assert (result["outcome"], result["strategy"]) == ("switched", "coordinated")
    assert [sentinel.failover_timeout_ms for sentinel in world.sentinels.values()] == [60_000] * 3
    assert any("failover-timeout 10000" in " ".join(map(str, c)) for _t, _a, cs in world.exchanges for c in cs)
    assert world.lost() == 0
    assert_never_split(world)


@pytest.mark.parametrize("seed", range(3))
def test_a_caller_who_reaches_sentinels_only_is_told_that_it_was_switched(seed: int) -> None:
    """What the nodes do after a coordinated failover, the Sentinels show."""
    world = World(seed)
    for sentinel in world.sentinels.values():
        sentinel.coordinated = True
    world.cut_off |= {OM, R, S}
    result = run(world)
    assert (result["outcome"], result["strategy"], result["lossless"]) == ("switched", "coordinated", False)
    assert [row["following"] for row in result["replicas"]] == [True, True]
    assert world.lost() == 0
    assert_never_split(world)


def test_a_failover_timeout_that_stays_lowered_is_named_where_nothing_was_moved() -> None:
    world = World(1)
    for sentinel in world.sentinels.values():
        sentinel.coordinated = True
    world.faults += [
        Fault("refuse", f"{TRIGGER} COORDINATED", error="NOGOODPRIMARY Primary does not support FAILOVER command"),
        Fault("refuse", "failover-timeout 60000", times=9),
    ]
    result = run(world, strategy="coordinated")
    assert (result["outcome"], result["error"], result["leader"]) == ("aborted", "trigger_refused", None)
    assert any("set failover-timeout 60000" in note for note in result["notes"])
    assert result["changed"]


def test_a_priority_that_stays_raised_is_named_where_nothing_was_moved() -> None:
    world = World(1)
    cut: list[bool] = []

    def cut_off() -> None:
        cut.append(True)
        world.cut_off.add(S)

    world.faults.append(
        Fault("run", "CONFIG SET replica-priority 1000000100", S, action=lambda: world.at(world.now_s + 0.01, cut_off))
    )
    clock, fleet = FakeClock(world), FakeFleet(world)
    request = Request(NAME, target=R, promotion="sentinel")
    result = fail_over(Run(fleet, request, clock, Timeline(clock), lambda: bool(cut)))
    assert (result["outcome"], result["error"], masters(world)) == ("refused", "interrupted", [OM])
    assert world.nodes[S].settings["replica-priority"] == "1000000100"
    assert any(f"{S}: set replica-priority back to 100" in note for note in result["notes"])
    assert result["changed"]


def test_a_priority_that_may_not_be_raised_is_not_said_to_be_changed() -> None:
    world = World(1)
    refused = Fault("refuse", "CONFIG SET replica-priority", S, skip=1, times=9, error="NOPERM none")
    world.faults.append(refused)
    result = run(world, target=R, promotion="sentinel")
    assert (result["outcome"], result["error"], result["changed"]) == ("refused", "steering_failed", False)
    assert not any("set replica-priority back" in note for note in result["notes"])


def test_plain_says_that_writes_may_be_lost() -> None:
    world = World(1)
    result = run(world, strategy="plain", accept_loss=True)
    assert (result["changed"], result["lossless"]) == (True, False)
    assert "eleven seconds" in result["lossless_reason"]
    assert world.violations, "the old master goes on taking writes"


# ---- what goes wrong in one step -----------------------------------------------------------------------------------

KINDS = (
    "refuse",
    "lose_before",
    "lose_after",
    "hang_before",
    "hang_after",
    "die_before",
    "die_after",
    "kill_before",
    "kill_after",
    "stall",
)
HELLO = "PUBLISH __sentinel__:hello 10.0.0."
BY_SENTINEL: dict[str, Any] = {"promotion": "sentinel"}
STEERED: dict[str, Any] = {"promotion": "sentinel", "target": R}


@dataclass(frozen=True)
class Exchange:
    """Where a fault strikes."""

    word: str
    server: Address | None
    modern: bool = True
    alone: bool = False
    """Not in the snapshot, where everything is asked at once, or tried in MULTI and discarded."""
    skip: int = 0
    request: Mapping[str, Any] = field(default_factory=dict)


STEPS = {
    "lock": Exchange("CLIENT SETNAME redis", OM),
    "lock list": Exchange("CLIENT LIST", OM, alone=True),
    "recheck": Exchange("ROLE", OM, alone=True),
    "recheck look": Exchange("SENTINEL MASTER ", L2, skip=1),
    "fence": Exchange(PAUSE, OM),
    "fence settings": Exchange(FENCE, OM, modern=False),
    "catch up": Exchange("INFO replication", R, alone=True),
    "last look": Exchange("SENTINEL MASTER ", L2, skip=2),
    "demote": Exchange(DEMOTE, OM),
    "demote 6.0": Exchange(DEMOTE, OM, modern=False),
    "trigger": Exchange(TRIGGER, None),
    "trigger 6.0": Exchange(TRIGGER, None, modern=False),
    "promote": Exchange("REPLICAOF NO ONE", R, alone=True),
    "announce": Exchange(HELLO, L0),
    "teach": Exchange(HELLO, L1),
    "announce others": Exchange(HELLO, L1, skip=1),
    "follow": Exchange("REPLICAOF 10.0.0.", S),
    "rewrite": Exchange("CONFIG REWRITE", R, alone=True),
    "disconnect": Exchange("CONFIG REWRITE", OM, alone=True),
    "kill": Exchange("CLIENT KILL TYPE normal", OM),
    "settle": Exchange("SENTINEL MASTER ", L2, skip=4),
    "trigger by sentinel": Exchange(TRIGGER, None, request=BY_SENTINEL),
    "promote by sentinel": Exchange("ROLE", R, alone=True, request=BY_SENTINEL),
    "agree": Exchange("GET-MASTER", L1, alone=True, request=BY_SENTINEL),
    "steer": Exchange("CONFIG SET replica-priority 1000", S, request=STEERED),
    "unsteer": Exchange("CONFIG SET replica-priority 100", S, request=STEERED),
}


def faulty(step: str, kind: str, seed: int = 1) -> tuple[World, Fault]:
    exchange = STEPS[step]
    world = World(seed, modern=exchange.modern, proxy=False)
    fault = Fault(kind, exchange.word, exchange.server, alone=exchange.alone, skip=exchange.skip, delay_s=4.0)
    world.faults.append(fault)
    return world, fault


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
def test_one_fault_in_one_step(step: str, kind: str) -> None:
    world, fault = faulty(step, kind)
    try:
        result = run(world, **STEPS[step].request)
    except Killed:
        result = None
    assert fault.struck == 1
    if result is not None:
        assert_truthful(world, result)
    # Sentinel heals whatever is left, also where the program was killed, without loss and without two masters.
    died = kind.startswith("die")
    assert_never_split(world)
    if not died:
        assert world.lost() == 0


@pytest.mark.parametrize("kind", ["kill_before", "kill_after"])
@pytest.mark.parametrize(
    "step",
    [
        *("lock", "fence", "fence settings", "demote", "demote 6.0", "trigger", "trigger 6.0", "promote", "announce"),
        *("announce others", "follow", "rewrite", "disconnect", "kill", "trigger by sentinel", "steer", "unsteer"),
    ],
)
def test_the_next_run_finishes_what_a_killed_one_left(step: str, kind: str) -> None:
    world, _fault = faulty(step, kind)
    killed(world, **STEPS[step].request)
    world.advance(0.5)
    result = run(world, expected_master=OM) if masters(world) == [OM] else run(world)
    assert result["outcome"] in ("switched", "unchanged")
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0
    for node in world.nodes.values():
        assert node.settings["min-replicas-to-write"] == "1"
        assert node.settings["replica-priority"] == "100"


def test_killed_between_demotion_and_trigger_sentinel_heals_alone() -> None:
    world, _fault = faulty("trigger", "kill_before")
    killed(world)
    assert masters(world) == []
    began_s = world.now_s
    while not masters(world):
        world.advance(1.0)
    assert world.now_s - began_s <= 45
    assert world.lost() == 0


def test_a_failover_that_somebody_else_began_is_joined() -> None:
    world = World(1)
    world.start_failover(world.sentinels[L1])
    result = run(world)
    assert (result["outcome"], result["plan"]["action"], result["lossless"]) == ("switched", "join", False)
    assert not world.sent(TRIGGER)


# ---- faults with their outcomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "kind", "outcome", "error"),
    [
        ("fence", "refuse", "aborted", "fence_failed"),
        ("fence", "die_before", "aborted", "fence_failed"),
        ("fence settings", "refuse", "aborted", "fence_failed"),
        ("demote", "refuse", "aborted", "demotion_refused"),
        ("demote", "lose_before", "aborted", "demotion_lost"),
        ("demote", "hang_before", "aborted", "demotion_lost"),
        ("demote", "lose_after", "switched", None),
        ("demote", "hang_after", "switched", None),
        ("demote", "die_before", "unknown", "demotion_in_doubt"),
        ("demote 6.0", "refuse", "aborted", "demotion_refused"),
        ("demote 6.0", "lose_after", "switched", None),
        ("trigger", "refuse", "switched", None),
        ("trigger", "lose_before", "switched", None),
        ("trigger", "lose_after", "switched", None),
        ("trigger", "hang_after", "switched", None),
        ("trigger", "die_before", "incomplete", "left_to_do"),
        ("promote", "refuse", "switched", None),
        ("promote", "lose_before", "switched", None),
        ("promote", "lose_after", "switched", None),
        ("announce", "refuse", "switched", None),
        ("announce", "lose_before", "switched", None),
        ("announce", "lose_after", "switched", None),
        ("teach", "refuse", "switched", None),
        ("teach", "die_before", "aborted", "sentinels_missing"),
        ("announce others", "refuse", "switched", None),
        ("announce others", "die_before", "incomplete", "left_to_do"),
        ("last look", "die_before", "aborted", "sentinels_missing"),
        ("disconnect", "refuse", "incomplete", "left_to_do"),
        ("steer", "refuse", "refused", "steering_failed"),
        ("lock", "refuse", "refused", None),
    ],
)
def test_outcome_of_a_fault(step: str, kind: str, outcome: str, error: str | None) -> None:
    world, fault = faulty(step, kind)
    if step == "lock":
        fault.error = "NOPERM this user has no permissions to run the 'client|setname' command"
    result = run(world, **STEPS[step].request)
    assert fault.struck == 1
    assert result["outcome"] == outcome, result
    if error is not None or outcome == "switched":
        assert result["error"] == error
    if result.get("failed"):
        assert result["msg"]
        assert result["remedy"]


@pytest.mark.parametrize("kind", ["lose_after", "hang_after"])
def test_a_trigger_whose_answer_was_lost_is_not_sent_again(kind: str) -> None:
    world, _fault = faulty("trigger", kind)
    result = run(world)
    assert (result["outcome"], result["lossless"]) == ("switched", True)
    assert len(world.sent(TRIGGER)) == 1


def test_no_sentinel_takes_the_trigger_and_the_old_master_is_given_back() -> None:
    world = World(1)
    world.faults.append(Fault("refuse", TRIGGER, times=9, error="NOGOODSLAVE No suitable replica to promote"))
    result = run(world)
    assert (result["outcome"], result["error"]) == ("aborted", "trigger_refused")
    assert "NOGOODSLAVE" in result["msg"]
    assert masters(world) == [OM]
    assert set(world.sent(TRIGGER)) == {L0, L1, L2}
    assert_never_split(world)
    assert world.lost() == 0


def test_the_first_sentinel_given_leads_where_no_other_takes_it() -> None:
    world = World(1)
    world.faults += [Fault("refuse", TRIGGER, server, times=9, error="NOGOODSLAVE none") for server in (L1, L2)]
    result = run(world)
    assert (result["outcome"], result["leader"]) == ("switched", str(L0))


AFTER_THE_TRIGGER = pytest.mark.parametrize(
    ("after_s", "promotion"), [(0.0, "program"), (0.001, "sentinel"), (0.1, "sentinel"), (0.4, "sentinel")]
)


@AFTER_THE_TRIGGER
def test_a_leader_that_dies_after_its_answer(after_s: float, promotion: str) -> None:
    """Before it has ordered the promotion, or before it has told the others. Nobody is told a second time: the other Sentinels heal it."""
    world = World(1, proxy=False)
    died: list[Address] = []

    def die(leader: Address) -> None:
        if not died:
            died.append(leader)
            world.at(world.now_s + after_s, lambda: setattr(world.sentinels[leader], "alive", False))

    def die_later(leader: Address) -> Callable[[], None]:
        return lambda: die(leader)

    world.faults += [Fault("run", TRIGGER, leader, action=die_later(leader)) for leader in (L0, L1, L2)]
    result = run(world, promotion=promotion)
    assert len(died) == 1
    assert (result["outcome"], result["lossless"]) == ("incomplete", True), "the dead Sentinel is left to do"
    assert len(world.sent(TRIGGER)) == 1
    assert str(died[0]) in result["msg"]
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


@AFTER_THE_TRIGGER
def test_a_leader_that_we_lose_goes_on(after_s: float, promotion: str) -> None:
    """To those whom it has told of R, a further SENTINEL FAILOVER would be one away from R."""
    world = World(1, proxy=False)
    lose_when_told(world, lambda leader: (leader,), after_s)
    result = run(world, promotion=promotion)
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "left_to_do", True)
    assert len(world.sent(TRIGGER)) == 1
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


@pytest.mark.parametrize("promotion", ["program", "sentinel"])
def test_a_replica_that_we_lose_is_a_master_where_its_leader_says_so(promotion: str) -> None:
    world = World(1, proxy=False)
    lose_when_told(world, lambda _leader: (R,), 0.0)
    result = run(world, promotion=promotion)
    assert (result["outcome"], result["new_master"], result["lossless"]) == ("switched", R.as_result(), True)
    assert result["promotion"] == "sentinel"
    assert_truthful(world, result)
    assert world.lost() == 0


@pytest.mark.parametrize(
    ("after_s", "promotion"), [(0.0, "program"), (0.001, "sentinel"), (0.3, "sentinel"), (0.6, "sentinel")]
)
def test_a_host_with_leader_and_replica_that_we_lose_is_not_robbed_of_the_master(
    after_s: float, promotion: str
) -> None:
    """The others name R as soon as the leader has told them. Told to fail over, they would move the master away from it."""
    world = World(1, proxy=False)
    lose_when_told(world, lambda leader: (leader, R), after_s)
    result = run(world, promotion=promotion)
    assert (result["outcome"], result["new_master"], result["lossless"]) == ("incomplete", R.as_result(), True)
    assert len(world.sent(TRIGGER)) == 1
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


def lose_when_told(world: World, whom: Callable[[Address], tuple[Address, ...]], after_s: float) -> None:
    """The program loses the way to servers once a Sentinel was told to fail over."""

    def lose(leader: Address) -> Callable[[], None]:
        def cut() -> None:
            world.cut_off.update(whom(leader))

        return lambda: world.at(world.now_s + max(after_s, world.latency_s), cut)

    world.faults += [Fault("run", TRIGGER, leader, action=lose(leader)) for leader in (L0, L1, L2)]


def test_a_replica_that_does_not_catch_up_under_the_fence() -> None:
    world = World(1)

    def stick() -> None:
        world.nodes[R].stuck = True

    world.faults.append(Fault("run", PAUSE, OM, action=stick))
    result = run(world, catch_up_timeout_s=0.5)
    assert (result["outcome"], result["error"]) == ("aborted", "catch_up_timeout")
    assert result["seen"]["behind"]
    assert 0.5 <= world.writes_refused_s <= 0.6, "the bound, and 100 ms at most"
    assert masters(world) == [OM]
    assert world.nodes[OM].pause_until_s <= world.now_s
    assert_never_split(world)


def test_a_target_that_lags_is_refused_before_writes_stop() -> None:
    world = World(1)
    world.nodes[R].delay_s = 2.0
    result = run(world, target=R)
    assert (result["outcome"], result["error"]) == ("refused", "target_lagging")
    assert world.writes_refused_s == 0
    assert not world.sent(PAUSE)


def test_a_sibling_that_lags_is_steered_and_not_waited_for() -> None:
    world = World(1)
    world.nodes[S].delay_s = 3.0
    result = run(world, target=R)
    assert (result["outcome"], result["new_master"], result["lossless"]) == ("switched", R.as_result(), True)
    assert any(str(S) in note and "lags" in note for note in result["notes"])
    assert world.writes_refused_s < 0.4
    assert world.lost() == 0


def test_what_was_written_after_a_lease_that_ended_unnoticed_is_not_lost() -> None:
    """The program stands still between fence and demotion until the lease is over."""
    world = World(1)
    world.faults.append(Fault("stall", DEMOTE, OM, delay_s=2.0))
    result = run(world)
    assert (result["outcome"], result["lossless"]) == ("switched", True)
    assert world.lost() == 0


@pytest.mark.parametrize("times", [1, 9])
def test_late_writes_that_the_replica_does_not_get_are_given_back(times: int) -> None:
    world = World(1)

    def fall_behind() -> None:
        world.nodes[R].stuck = True
        world.advance(2.0)
        world.at(world.now_s + 0.3, lambda: setattr(world.nodes[R], "stuck", False))

    world.faults.append(Fault("run", DEMOTE, OM, times=times, action=fall_behind))
    result = run(world)
    assert (result["outcome"], result["error"]) == (("switched", None) if times == 1 else ("aborted", "late_writes"))
    assert any(line["kind"] == "rolled_back" for line in result["timeline"])
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


def test_a_ping_between_fence_and_demotion_is_not_taken_for_a_write() -> None:
    world = World(1)
    om = world.nodes[OM]
    world.faults.append(Fault("run", DEMOTE, OM, action=lambda: om.set_offset(om.offset + 14)))
    result = run(world)
    assert (result["outcome"], result["lossless"]) == ("switched", True)
    assert not any(line["kind"] == "rolled_back" for line in result["timeline"])


@pytest.mark.parametrize("times", [1, 9])
def test_what_a_script_writes_behind_the_fence_of_6_0_is_not_lost(times: int) -> None:
    """EVAL is not refused by min-replicas-to-write there; it is acknowledged, and 6.0 drops its replicas when it is demoted."""
    world = World(1, modern=False)
    om = world.nodes[OM]

    def evaluate() -> None:
        om.set_offset(om.offset + 500)
        om.changes += 1
        world.acknowledged[om.replid] = om.offset

    world.faults.append(Fault("run", DEMOTE, OM, times=times, action=evaluate))
    result = run(world)
    assert any(line["kind"] == "rolled_back" for line in result["timeline"])
    assert result["outcome"] == ("switched" if times == 1 else "aborted")
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


def test_a_ping_behind_the_fence_of_6_0_is_not_taken_for_a_write() -> None:
    world = World(1, modern=False)
    om = world.nodes[OM]
    world.faults.append(Fault("run", DEMOTE, OM, action=lambda: om.set_offset(om.offset + 14)))
    result = run(world)
    assert (result["outcome"], result["lossless"]) == ("switched", True)
    assert not any(line["kind"] == "rolled_back" for line in result["timeline"])


BEFORE_THE_FENCE = {
    "lock": ("CLIENT SETNAME redis", OM),
    "probe": ("INFO replication", OM),
    "recheck": ("ROLE", OM),
}


def before_the_fence(world: World, step: str, action: Callable[[], None]) -> None:
    """Something happens when the program sends the first command of a step."""
    word, server = BEFORE_THE_FENCE[step]
    world.faults.append(Fault("run", word, server, alone=True, action=action))


@pytest.mark.parametrize("step", BEFORE_THE_FENCE)
def test_a_failover_by_sentinel_in_the_middle_stops_ours_before_writes_stop(step: str) -> None:
    world = World(1, proxy=False)
    before_the_fence(world, step, lambda: world.start_failover(world.sentinels[L0]))
    result = run(world)
    assert (result["outcome"], result["error"]) == ("refused", "failover_started")
    assert not world.sent(PAUSE)
    assert not world.sent(TRIGGER)


def test_a_failover_by_sentinel_that_begins_under_the_fence_lets_writes_go_on() -> None:
    world = World(1, proxy=False)
    world.faults.append(Fault("run", PAUSE, OM, action=lambda: world.start_failover(world.sentinels[L1])))
    result = run(world)
    assert (result["outcome"], result["error"]) == ("aborted", "rival_failover")
    assert str(L1) in result["msg"]
    assert not world.sent(TRIGGER)
    assert world.nodes[OM].pause_until_s <= world.now_s


def test_tilt_right_before_the_fence() -> None:
    world = World(1)
    before_the_fence(world, "recheck", lambda: setattr(world.sentinels[L0], "tilt", True))
    result = run(world)
    assert (result["outcome"], result["error"], result["phase"]) == ("refused", "tilt", "recheck")
    assert world.writes_refused_s == 0


def test_two_runs_do_not_meet() -> None:
    world = World(1)
    world.nodes[OM].strangers.append((3, LOCK_NAME))
    result = run(world)
    assert (result["outcome"], result["error"]) == ("refused", "another_run")
    assert f"its connection to {OM} comes from 10.9.9.9:1 and is 7 s old" in result["msg"]
    assert "send CLIENT KILL ID 3 to the master" in result["remedy"]
    assert not world.sent(PAUSE)


def test_a_run_that_came_later_gives_way_to_ours() -> None:
    world = World(1)
    world.nodes[OM].strangers.append((10**6, LOCK_NAME))
    assert run(world)["outcome"] == "switched"


def test_asked_to_end_it_stops_before_the_fence() -> None:
    world = World(1)
    clock = FakeClock(world)
    result = fail_over(Run(FakeFleet(world), Request(NAME, target=R), clock, Timeline(clock), lambda: True))
    assert (result["outcome"], result["error"]) == ("refused", "interrupted")
    assert world.writes_refused_s == 0
    assert world.nodes[S].settings["replica-priority"] == "100"


def test_a_dead_master_is_moved_plainly_and_the_loss_is_not_denied() -> None:
    world = World(1)
    world.nodes[OM].alive = False
    result = run(world)
    assert (result["strategy"], result["lossless"]) == ("plain", False)
    assert masters(world) in ([R], [S])
    assert "could not be asked" in result["lossless_reason"]


@pytest.mark.parametrize("leftover", ["steering", "fence"])
def test_what_a_killed_run_left_is_put_back(leftover: str) -> None:
    world = World(1)
    if leftover == "steering":
        world.nodes[S].settings["replica-priority"] = "1000000100"
    else:
        world.nodes[OM].settings.update({"min-replicas-to-write": "2000000001", "min-replicas-max-lag": "1000000007"})
    result = run(world)
    assert result["repaired"]
    assert result["outcome"] == ("unchanged" if leftover == "steering" else "switched")
    assert world.nodes[OM].settings["min-replicas-to-write"] == "1"
    assert world.nodes[OM].settings["min-replicas-max-lag"] == "7"
    assert world.nodes[S].settings["replica-priority"] == "100"
    assert world.nodes[S].rewritten["replica-priority"] == "100"


# ---- found by the model --------------------------------------------------------------------------------------------


def test_a_finished_run_promotes_the_replica_that_the_killed_one_had_chosen() -> None:
    """Put back before the trigger, the priorities let Sentinel choose another, which may lag: acknowledged writes are lost."""
    world = World(1, priorities={R: 50, S: 100})
    world.nodes[R].stuck = True
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=S)
    assert world.nodes[OM].master == S
    result = run(world)
    # The one that lags hangs for good, and is named.
    assert (result["outcome"], result["plan"]["action"]) == ("incomplete", "finish")
    assert str(R) in result["msg"]
    assert world.lost() == 0
    assert (result["new_master"], result["lossless"]) == (S.as_result(), True)


def test_of_equal_priorities_the_finished_run_promotes_the_one_that_was_chosen() -> None:
    world, _fault = faulty("trigger", "kill_before")
    killed(world)
    result = run(world)
    assert (result["outcome"], result["plan"]["action"]) == ("switched", "finish")
    assert (result["new_master"], result["lossless"]) == (R.as_result(), True)
    assert any("; it is finished" in note for note in result["notes"])


@pytest.mark.parametrize("seed", range(4))
def test_steering_left_on_the_replica_to_promote_is_off_before_the_trigger(seed: int) -> None:
    """Put back on R, but not yet seen by the leader, it lets Sentinel promote the sibling."""
    world = World(seed, priorities={R: 1_000_000_100, S: 200})
    for sentinel in world.sentinels.values():
        sentinel.seen[R].at_s = sentinel.seen[S].at_s = world.now_s - 0.1 * (seed + 1)
    result = run(world, expected_master=OM)
    assert (result["outcome"], result["new_master"], result["lossless"]) == ("switched", R.as_result(), True)


def test_the_old_master_is_not_given_back_while_a_lost_trigger_may_still_take_effect() -> None:
    """The leader stands still for 8 s with the trigger in its socket, and no other Sentinel takes it."""
    world = World(1)
    world.faults.append(Fault("freeze", TRIGGER, delay_s=8.0))
    world.faults.append(Fault("refuse", TRIGGER, times=9, error="NOGOODSLAVE No suitable replica to promote"))
    result = run(world)
    world.advance(60.0)
    assert not world.violations, result["msg"]
    assert world.lost() == 0


@pytest.mark.parametrize("kind", ["refuse", "hang_before", "die_before"])
def test_a_master_that_cannot_be_asked_in_the_probe_ends_in_a_result(kind: str) -> None:
    world = World(1)
    world.faults.append(Fault(kind, "INFO replication", OM, alone=True))
    result = run(world)
    assert (result["outcome"], result["error"], result["phase"]) == ("refused", "node_unreachable", "probe")


@pytest.mark.parametrize("kind", ["refuse", "lose_before", "hang_before"])
def test_a_fence_that_cannot_be_lifted_ends_in_a_result(kind: str) -> None:
    world = World(1)
    stuck = Fault("run", PAUSE, OM, action=lambda: setattr(world.nodes[R], "stuck", True))
    world.faults += [stuck, Fault(kind, "CLIENT UNPAUSE", OM, alone=True)]
    result = run(world)
    assert all(fault.struck for fault in world.faults)
    assert (result["outcome"], result["error"]) == ("aborted", "catch_up_timeout")
    assert_truthful(world, result)


def test_a_run_that_stopped_writes_is_not_called_refused() -> None:
    """R dies at the demotion: OM is given back, and there is nobody left to promote."""
    world = World(1)
    world.faults.append(Fault("run", DEMOTE, OM, action=lambda: setattr(world.nodes[R], "alive", False)))
    result = run(world)
    assert masters(world) == [OM]
    assert world.writes_refused_s > 0
    assert result["outcome"] == "aborted"
    assert "is steered" not in result["msg"], "R is down; steering has nothing to do with it"


def test_a_repair_that_fails_is_not_called_a_move() -> None:
    world = World(1)
    world.nodes[S].settings["replica-priority"] = "1000000100"
    world.faults.append(Fault("refuse", "CONFIG SET replica-priority 100", S, skip=1, times=9))
    result = run(world)
    assert (result["error"], masters(world)) == ("repair_failed", [OM])
    assert (result["outcome"], result["changed"]) == ("refused", False)


@pytest.mark.parametrize("down_after_ms", [1000, 2000, 5000, 20000])
def test_no_pause_is_asked_for_beyond_half_of_down_after(down_after_ms: int) -> None:
    """Killed after its last renewal, the program must not leave a pause that Sentinel takes for a dead master."""
    world = World(1, down_after_ms=down_after_ms)

    def stick() -> None:
        world.nodes[R].stuck = True
        world.at(world.now_s + 0.001, lambda: fenced_at_s.append(world.now_s))

    fenced_at_s: list[float] = []
    lease_ms = min(2000, down_after_ms // 4)
    world.faults.append(Fault("run", f"CLIENT PAUSE {lease_ms}", OM, action=stick))
    asked_until_s = [0.0]
    for step_ms in range(0, 30_000, 20):
        world.at(
            1000.0 + step_ms / 1000,
            lambda: asked_until_s.append(world.nodes[OM].pause_until_s),
        )
    result = run(world, catch_up_timeout_s=60.0)
    assert result["error"] == "catch_up_timeout"
    assert max(asked_until_s) - fenced_at_s[0] <= down_after_ms / 2000 + 0.002


def test_a_lock_that_was_lost_with_its_connection_is_looked_at_anew() -> None:
    """The server closed our connection, and another run has come between the old and the new one: it goes on, so we must not."""
    world = World(1)
    old = world.nodes[OM]

    def come_between() -> None:
        world.kill_clients(old)
        old.strangers.append((next(world._ids), LOCK_NAME))

    before_the_fence(world, "probe", come_between)
    result = run(world)
    assert (result["outcome"], result["error"]) == ("refused", "another_run")


# ---- found by reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "error"), [(L0, "sentinels_missing"), (L2, "sentinels_missing"), (R, "node_unreachable")]
)
def test_what_stops_answering_before_the_fence_costs_no_writes(lost: Address, error: str) -> None:
    world = World(1)
    before_the_fence(world, "recheck", lambda: world.cut_off.add(lost))
    result = run(world)
    assert (result["outcome"], result["error"], result["phase"]) == ("refused", error, "recheck")
    assert str(lost) in result["msg"]
    assert world.writes_refused_s == 0
    assert world.nodes[S].settings["replica-priority"] == "100"


def test_a_sentinel_that_the_caller_can_do_without_may_stop_answering() -> None:
    world = World(1)
    before_the_fence(world, "probe", lambda: world.cut_off.add(L0))
    result = run(world, min_sentinels=2)
    assert result["lossless"]
    assert world.lost() == 0


def test_a_plain_failover_gives_way_to_one_that_began_meanwhile() -> None:
    """Told afterwards, the leader, which adopts the new master at once, would move it away from a healthy one."""
    world = World(1)
    world.nodes[OM].alive = False
    world.faults.append(
        Fault("run", "CONFIG SET replica-priority", S, action=lambda: world.start_failover(world.sentinels[L2]))
    )
    result = run(world, strategy="plain", target=R)
    assert (result["outcome"], result["error"]) == ("refused", "failover_started")
    assert not world.sent(TRIGGER)


def test_a_killed_run_that_left_writes_behind_is_undone_and_not_finished() -> None:
    world = World(1)
    om = world.nodes[OM]
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=R)
    assert om.master == R
    world.nodes[R].stuck = True
    om.set_offset(om.offset + 500)
    world.acknowledged[om.replid] = om.offset
    result = run(world)
    assert (result["outcome"], result["error"]) == ("aborted", "late_writes")
    assert om.is_master
    assert not world.sent(TRIGGER)
    world.nodes[R].stuck = False
    world.advance(5.0)
    assert run(world, expected_master=OM)["lossless"]
    assert world.lost() == 0


def test_steering_stands_as_long_as_the_demotion_may() -> None:
    """Taken down, it would let Sentinel, which heals this by itself, choose another replica than the one that has everything."""
    world = World(1)
    world.faults += [
        Fault("run", PAUSE, OM, action=lambda: world.at(world.now_s + 0.1, lambda: world.cut_off.add(OM))),
        Fault("hang_after", DEMOTE, OM),
    ]
    result = run(world, promotion="sentinel", target=R)
    assert (result["outcome"], result["error"]) == ("unknown", "demotion_in_doubt")
    assert world.nodes[OM].master == R
    assert world.nodes[S].settings["replica-priority"] == "1000000100"
    assert any("stays raised" in note for note in result["notes"])
    world.cut_off.clear()
    world.advance(3.0)
    result = run(world)
    assert result["outcome"] == "switched"
    assert world.nodes[S].settings["replica-priority"] == "100"
    assert world.lost() == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_master_of_a_killed_run_that_nobody_names_gives_way_to_the_one_that_sentinel_chooses(seed: int) -> None:
    """Taken for the new master, it would rob the one that every Sentinel names of its role."""
    world = World(seed, priorities={R: 100, S: 50}, proxy=False)
    world.faults.append(Fault("kill_after", "REPLICAOF NO ONE", R, alone=True))
    killed(world, target=R)
    world.sentinels[L0].alive = False
    result = run(world, promotion="sentinel", min_sentinels=2)
    assert result["plan"]["action"] == "finish"
    assert result["new_master"] == S.as_result()
    assert {world.sentinels[address].named for address in (L1, L2)} == {S}
    assert masters(world) == [S]
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


def test_the_old_master_is_not_given_back_once_a_sentinel_names_another() -> None:
    """Every trigger is refused, and a failover by an operator has begun and ended between the last look and the end."""
    world = World(1, priorities={R: 100, S: 50}, proxy=False)

    def overtake() -> None:
        world.sentinels[L2].refuses = "NOGOODSLAVE No suitable replica to promote"
        world.start_failover(world.sentinels[L0])
        world.advance(4.0)

    world.faults += [
        Fault("refuse", TRIGGER, L0, error="NOGOODSLAVE No suitable replica to promote"),
        Fault("refuse", TRIGGER, L1, error="NOGOODSLAVE No suitable replica to promote"),
        Fault("run", TRIGGER, L2, action=overtake),
    ]
    result = run(world, target=R)
    assert masters(world) == [S]
    assert (result["outcome"], result["error"]) == ("unknown", "promotion_in_doubt")
    assert f"names {S}" in result["msg"]
    assert_never_split(world)
    assert world.lost() == 0


def test_priorities_are_put_back_where_a_run_ends_in_doubt_after_the_move() -> None:
    """Sentinels that are split stop the next run, too: it would not come so far as to put them back."""
    world = World(1)
    clock = FakeClock(world)
    moved = Run(FakeFleet(world), Request(NAME), clock, Timeline(clock))

    def end_in_doubt() -> None:
        with raised_priorities(moved) as raised:
            raised.raise_all((Steering(S, 100),))
            world.nodes[S].rewritten["replica-priority"] = "1000000100"
            moved.record.moved = True
            raise failure("promotion_in_doubt", "nobody knows")

    with pytest.raises(UnknownOutcomeError):
        end_in_doubt()
    assert world.sent("CONFIG SET replica-priority 1000000100") == [S]
    assert world.nodes[S].settings["replica-priority"] == world.nodes[S].rewritten["replica-priority"] == "100"


def test_clients_of_the_old_master_do_not_wait_for_a_replica_that_needs_a_copy_of_everything() -> None:
    """Some stay at the old master, refused, until their connection is closed; the copy may take minutes."""
    world = World(1)
    straggler = world.nodes[S]
    straggler.data = [("history-of-its-own", 5.0)]
    straggler.linked, straggler.stuck = False, True
    world.faults.append(Fault("run", "REPLICAOF 10.0.0.", S, action=lambda: setattr(straggler, "stuck", False)))
    result = run(world, timeout_s=30.0)
    assert (result["outcome"], result["lossless"]) == ("switched", True)
    sent = [address for _at_s, address, commands in world.exchanges if ends_a_wait(commands)]
    assert sent == [OM, S]


def test_all_replicas_together_are_waited_for_no_longer_than_timeout() -> None:
    """Each gets its copy only when the one before has its own: with four of them it would be five times as long."""
    slow = (S, S2, Address("10.0.0.5", 6379), Address("10.0.0.6", 6379))
    world = World(1, replicas=(R, *slow))
    for address in slow:
        straggler = world.nodes[address]
        straggler.data = [("history-of-its-own", 5.0)]
        straggler.linked, straggler.stuck = False, True
    result = run(world, timeout_s=20.0)
    assert (result["outcome"], result["lossless"]) == ("incomplete", True)
    assert all(str(address) in result["msg"] for address in slow)
    assert 20_000 <= result["phases_ms"]["follow"] + result["phases_ms"]["settle"] < 25_000
    assert [world.nodes[address].master for address in slow] == [R] * len(slow)


def ends_a_wait(commands: list[Any]) -> bool:
    words = [" ".join(map(str, command)) for command in commands]
    return words[0].startswith("CLIENT KILL TYPE normal") or words[0] == f"REPLICAOF {R.host} {R.port}"


def strangers_come(world: World, master: Address | None) -> None:
    """Where S was, a server of another deployment answers now."""
    stranger = world.nodes[S]
    stranger.alive = True
    stranger.master = stranger.shown_master = master
    stranger.data = [("history-of-another-deployment", 77.0)]
    stranger.stuck, stranger.linked = True, master is not None


@pytest.mark.parametrize("theirs", [None, Address("10.9.9.9", 6379)], ids=["a master", "a replica of theirs"])
def test_a_server_of_another_deployment_that_comes_up_at_a_dead_replicas_address_is_told_nothing(
    theirs: Address | None,
) -> None:
    """The address was given to somebody else: to make that server a replica of ours would throw its data away."""
    world = World(1)
    world.nodes[S].alive = False
    world.advance(40.0)
    world.faults.append(Fault("run", PAUSE, OM, action=lambda: strangers_come(world, theirs)))
    result = run(world, timeout_s=5.0)
    assert result["lossless"]
    assert not world.sent("REPLICAOF", S)
    assert not world.sent("CONFIG", S)
    assert any(str(S) in note for note in result["notes"])


def test_a_master_that_a_sentinel_names_by_now_is_not_made_a_replica() -> None:
    """An operator has failed over again while this host stood still, after the news and before the replicas were told."""
    world = World(1, priorities={R: 100, S: 50}, proxy=False)

    def overtake() -> None:
        world.at(world.now_s + 0.001, lambda: world.start_failover(world.sentinels[L1]))
        world.advance(4.0)

    world.faults.append(Fault("run", HELLO, L2, skip=1, action=overtake))
    result = run(world, target=R)
    assert world.sentinels[L1].named == S
    assert world.nodes[S].is_master
    assert not world.sent("REPLICAOF 10.", S)
    assert (result["outcome"], result["error"]) == ("incomplete", "moved_on")


def test_nobody_is_told_to_follow_a_master_that_was_moved_on_while_a_replica_got_its_copy() -> None:
    """What was known of the next one is minutes old by then."""
    world = World(1, replicas=(R, S, S2), priorities={R: 100, S: 200, S2: 50}, proxy=False)
    for address in (S, S2):
        world.nodes[address].data = [("history-of-its-own", 5.0)]
        world.nodes[address].linked, world.nodes[address].stuck = False, True

    def move_on() -> None:
        world.nodes[S].stuck = world.nodes[S2].stuck = False
        world.at(world.now_s + 0.05, lambda: world.start_failover(world.sentinels[L1]))
        world.advance(4.0)

    world.faults.append(Fault("run", "REPLICAOF 10.0.0.", alone=True, action=move_on))
    result = run(world, target=R, timeout_s=30.0)
    assert R not in {sentinel.named for sentinel in world.sentinels.values()}
    assert len(world.sent("REPLICAOF 10.", S) + world.sent("REPLICAOF 10.", S2)) == 1
    assert (result["outcome"], result["error"]) == ("incomplete", "moved_on")


def test_the_old_master_is_given_back_though_it_has_closed_our_connection() -> None:
    """A server closes idle connections (``timeout``), and those of a node whose role Sentinel changes."""
    world = World(1, sentinels=(L0, L1))

    def refuse_and_close() -> None:
        world.sentinels[L1].refuses = "NOGOODSLAVE No suitable replica to promote"
        world.kill_clients(world.nodes[OM])

    world.faults += [
        Fault("refuse", TRIGGER, L0, error="NOGOODSLAVE No suitable replica to promote"),
        Fault("run", TRIGGER, L1, action=refuse_and_close),
    ]
    result = run(world)
    assert (result["outcome"], result["error"]) == ("aborted", "trigger_refused")
    assert masters(world) == [OM]
    assert len(world.sent("REPLICAOF NO ONE", OM)) == 2, "once to try whether it is permitted, once to do it"


def test_a_failover_of_a_later_epoch_while_the_sentinels_agree_is_told_and_not_worked_against() -> None:
    """An operator tells a Sentinel that has not heard of ours, and whose epoch is higher: all name another replica in the end."""
    world = World(1, priorities={R: 100, S: 50}, proxy=False)
    rival = world.sentinels[L2]

    def overtake() -> None:
        rival.deaf, rival.current_epoch = True, 5
        rival.seen[S].priority, world.nodes[S].settings["replica-priority"] = 1, "1"
        world.at(world.now_s + 0.5, lambda: world.start_failover(rival))

    world.faults.append(Fault("run", TRIGGER, L0, action=overtake))
    result = run(world, target=R, promotion="sentinel")
    assert {sentinel.named for sentinel in world.sentinels.values()} == {S}
    assert world.nodes[S].is_master
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "moved_on", False)
    assert result["new_master"] == S.as_result()
    assert not world.sent("REPLICAOF 10.", S)


@pytest.mark.parametrize(
    ("link", "everything"),
    [
        ({"replid2": "a" * 40, "second_offset": 1001}, True),
        ({"replid2": "a" * 40, "second_offset": 1002}, False),
        ({"replid2": "0" * 40, "second_offset": -1}, False),
    ],
    ids=["went on where it ended", "had more", "got a copy of everything"],
)
def test_an_old_master_that_follows_already_may_have_had_more(link: dict[str, Any], everything: bool) -> None:
    """Whoever moved it by hand may have lost writes; a copy of everything hides them."""
    new = replication(role="master", master=None, replid="b" * 40, replid2="a" * 40, second_offset=1001, offset=2000)
    old = replication(master=R, replid="b" * 40, offset=2000, **link)
    assert _has_everything(new, old) is everything


def test_a_repair_that_cannot_be_written_to_the_file_is_not_called_unchanged() -> None:
    world = World(1)
    world.nodes[S].settings["replica-priority"] = "1000000100"
    world.faults.append(
        Fault("refuse", "CONFIG REWRITE", S, alone=True, error="ERR Rewriting config file: No space left on device")
    )
    result = run(world)
    assert (result["outcome"], result["error"], result["changed"]) == ("incomplete", "left_to_do", True)
    assert "No space left" in result["msg"]


def test_offsets_of_another_history_are_not_compared() -> None:
    """The master has restarted empty right before the fence: what the replicas hold is further, and says nothing."""
    world = World(1)
    om = world.nodes[OM]

    def restart() -> None:
        for replica in (R, S):
            world.nodes[replica].stuck = True
        om.data = [("history-of-a-restart", 1000.0)]

    before_the_fence(world, "recheck", restart)
    result = run(world)
    assert (result["outcome"], result["error"]) == ("aborted", "catch_up_timeout")
    assert "another history" in result["msg"]
    assert om.is_master


def test_a_pause_of_somebody_else_is_noted_before_the_move_ends_it() -> None:
    world = World(1)
    world.nodes[OM].held.append("publish")
    result = run(world)
    assert result["outcome"] == "switched"
    assert any("a pause that this run did not ask for" in note for note in result["notes"])


def test_only_clients_that_came_during_the_run_are_waited_for_before_connections_are_closed() -> None:
    """Who was there before knows by its -READONLY; who is on the way with a write must have that first. Sentinels connect anew by themselves."""
    took_ms = {}
    for who, newcomer in (("before", (1, "")), ("sentinel", (999, "sentinel-0a1b2c3d-cmd")), ("during", (999, ""))):
        world = World(1)
        world.nodes[OM].newcomers.append(newcomer)
        took_ms[who] = run(world)["phases_ms"]["disconnect"]
    assert max(took_ms["before"], took_ms["sentinel"]) < 30 < 60 < took_ms["during"]


# ---- an interrupted run had demoted a master that has more than the replica --------------------------------------------


def killed_with_writes_behind_its_fence() -> World:
    """A script writes behind the fence of 6.0, and the run is killed before it can make the old master a master again."""
    world = World(1, modern=False)
    om = world.nodes[OM]

    def write() -> None:
        om.set_offset(om.offset + 500)
        world.acknowledged[om.replid] = om.offset

    world.faults.append(Fault("run", DEMOTE, OM, action=write))
    world.faults.append(Fault("kill_before", "INFO persistence", OM, skip=1))
    killed(world, target=R)
    world.faults.clear()
    assert masters(world) == []
    assert om.offset > world.nodes[R].offset
    return world


@pytest.mark.parametrize("times", [0, 1, 3])
def test_one_slow_answer_does_not_make_the_next_run_throw_those_writes_away(times: int) -> None:
    world = killed_with_writes_behind_its_fence()
    world.faults.append(Fault("hang_before", "GET-MASTER-ADDR-BY-NAME", L2, skip=1, times=times))
    result = run(world, target=R)
    assert (result["outcome"], result["error"]) == ("aborted", "late_writes")
    assert masters(world) == [OM]
    assert not world.sent(TRIGGER)
    assert_never_split(world)
    assert world.lost() == 0


def test_a_master_that_the_next_run_has_brought_back_is_told_as_a_change() -> None:
    """Before it there was no master."""
    world = killed_with_writes_behind_its_fence()
    result = run(world, target=R)
    assert (result["outcome"], result["changed"]) == ("aborted", True)
    assert result["repaired"] == [f"{OM} made the master again"]
    assert result["new_master"] == OM.as_result()


@pytest.mark.parametrize("request_of", [{}, {"min_sentinels": 2}], ids=["falls silent", "was silent before"])
def test_while_a_sentinel_may_promote_unseen_nobody_is_told_and_the_writes_are_named(
    request_of: dict[str, Any],
) -> None:
    world = killed_with_writes_behind_its_fence()
    if request_of:
        world.sentinels[L2].alive = False
    else:
        world.faults.append(Fault("run", "INFO replication", OM, alone=True, action=lambda: world.cut_off.add(L2)))
    result = run(world, target=R, **request_of)
    assert (result["outcome"], result["error"], result["changed"]) == ("unknown", "writes_missing", True)
    assert f"{R} has not got all that {OM} had acknowledged" in result["msg"]
    assert f"Sentinel {L2}" in result["msg"]
    assert masters(world) == []
    assert not world.sent(TRIGGER)
    world.cut_off.clear()
    world.sentinels[L2].alive = True
    assert run(world, target=R)["error"] == "late_writes"
    assert_never_split(world)
    assert world.lost() == 0


def test_a_sentinel_that_has_begun_to_promote_the_replica_gets_no_second_order() -> None:
    """Its failover goes where it goes. Told again after it had given up, it would be ours that loses the writes."""
    world = killed_with_writes_behind_its_fence()

    def begin() -> None:
        world.start_failover(world.sentinels[L1])
        world.sentinels[L1].tilt = True

    world.faults.append(Fault("run", "INFO replication", OM, alone=True, action=begin))
    result = run(world, target=R)
    assert (result["outcome"], result["error"]) == ("unknown", "promotion_in_doubt")
    assert f"Sentinel {L1} has begun a failover of its own" in result["msg"]
    give_up(world.sentinels[L1])
    assert not world.sent(TRIGGER)
    assert run(world, target=R)["error"] == "late_writes"
    assert world.lost() == 0


@pytest.mark.parametrize("request_of", [{"target": OM}, {"avoid": (R.host,)}], ids=["target", "avoid"])
def test_a_master_that_an_interrupted_run_demoted_is_not_called_the_master(request_of: dict[str, Any]) -> None:
    """The replica that it follows has died: nothing can be finished, and nothing is as it was asked for."""
    world = World(1)
    world.faults.append(Fault("kill_after", DEMOTE, OM))
    killed(world, target=R)
    world.nodes[R].alive = False
    result = run(world, **request_of)
    assert masters(world) == []
    assert (result["outcome"], result["error"], result["new_master"]) == ("refused", "master_is_replica", None)
    assert f"says it is a replica of {R}" in result["msg"]


# ---- a Sentinel comes back and has not heard yet -----------------------------------------------------------------------


def world_with_a_sentinel_that_is_back(behind: Address = L2) -> World:
    """A move to R had ended long ago. This Sentinel was down meanwhile, and names the old master until the next hello."""
    world = World(1)
    sentinel = world.sentinels[behind]
    sentinel.alive = False
    run(world, target=R, min_sentinels=2)
    world.advance(30.0)
    world.exchanges.clear()
    sentinel.alive, sentinel.master_alive_at_s = True, world.now_s
    world.at(world.now_s + 0.05, sentinel.tick)
    assert {sentinel.named for sentinel in world.sentinels.values()} == {OM, R}
    return world


def disconnected(world: World) -> list[Address]:
    """Nodes whose clients were sent away; where it was only tried whether that is permitted, they were not."""
    kills = [
        (address, commands)
        for _at_s, address, commands in world.exchanges
        if ("CLIENT", "KILL", "TYPE", "normal") in commands
    ]
    return [address for address, commands in kills if ("DISCARD",) not in commands]


def test_a_move_away_from_a_master_that_one_sentinel_does_not_know_yet_is_made() -> None:
    """Taken for the rest of the move before, it would end well with the master on the node that is to be taken down."""
    world = world_with_a_sentinel_that_is_back()
    result = run(world, expected_master=R)
    assert (result["outcome"], result["lossless"], result["old_master"]) == ("switched", True, R.as_result())
    assert masters(world) != [R]
    assert disconnected(world) == [R], "who reads at the old master of before stays there"
    assert f"expected_master={masters(world)[0]}" in result["way_back"]
    assert_never_split(world)
    assert world.lost() == 0


@pytest.mark.parametrize("request_of", [{}, {"avoid": (R.host,)}, {"target": OM}])
def test_another_master_than_the_expected_one_is_refused_there_too(request_of: dict[str, Any]) -> None:
    world = world_with_a_sentinel_that_is_back()
    result = run(world, expected_master=S, **request_of)
    assert (result["outcome"], result["error"]) == ("refused", "expected_master_mismatch")
    assert f"the master is {R}, not {S} as expected" in result["msg"]
    assert not world.sent(HELLO)
    assert not disconnected(world)
    assert masters(world) == [R]


def test_a_sentinel_that_does_not_hear_is_not_waited_for_without_end() -> None:
    world = world_with_a_sentinel_that_is_back()
    world.sentinels[L2].deaf = True
    began_s = world.now_s
    result = run(world, expected_master=R)
    assert (result["outcome"], result["error"]) == ("refused", "sentinels_disagree")
    assert world.now_s - began_s < 10


def test_the_same_command_finishes_what_is_half_told_whatever_it_was_to_begin_with() -> None:
    """Killed as it moved on from the replica that Sentinel had chosen, it has another master to move than the one that it was given."""
    world = World(1)
    late(world)
    world.faults.append(Fault("kill_before", HELLO, L1, skip=2))
    killed(world, target=R, expected_master=OM)
    result = run(world, target=R, expected_master=OM)
    assert (result["outcome"], masters(world)) == ("switched", [R])
    assert world.lost() == 0


# ---- a failover that was joined comes to nothing -----------------------------------------------------------------------


def killed_with_a_stuck_leader(world: World, kind: str, word: str, server: Address | None = None) -> FakeSentinel:
    """A run is killed, and a Sentinel in TILT leads a failover."""
    world.faults.append(Fault(kind, word, server))
    killed(world, target=R)
    leading = [sentinel for sentinel in world.sentinels.values() if sentinel.in_progress]
    leader = leading[0] if leading else world.sentinels[L1]
    if not leading:
        world.start_failover(leader)
    leader.tilt = True
    return leader


def restart(world: World, leader: FakeSentinel) -> None:
    """It has forgotten its failover."""
    leader.state, leader.promoted, leader.tilt = "", None, False


def test_a_joined_failover_that_comes_to_nothing_and_left_no_master_is_finished() -> None:
    world = World(1)
    leader = killed_with_a_stuck_leader(world, "kill_after", TRIGGER)
    world.at(world.now_s + 3.0, lambda: restart(world, leader))
    result = run(world, target=R)
    assert (result["outcome"], result["error"], result["lossless"]) == ("switched", None, True)
    assert (result["old_master"], result["new_master"]) == (OM.as_result(), R.as_result())
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


def test_one_that_comes_to_nothing_and_cannot_be_finished_names_no_master() -> None:
    world = World(1)
    leader = killed_with_a_stuck_leader(world, "kill_after", TRIGGER)
    world.nodes[R].alive = False
    world.at(world.now_s + 3.0, lambda: restart(world, leader))
    result = run(world, target=R)
    assert (result["outcome"], result["error"], result["new_master"]) == ("unknown", "promotion_in_doubt", None)
    assert f"without moving {OM}, which is a replica; it cannot be finished" in result["msg"]


def test_one_that_comes_to_nothing_and_left_the_master_is_given_up() -> None:
    world = World(1)
    leader = world.sentinels[L1]
    world.start_failover(leader)
    leader.tilt = True
    world.at(world.now_s + 3.0, lambda: restart(world, leader))
    result = run(world, target=R)
    assert (result["outcome"], result["error"], result["new_master"]) == (
        "aborted",
        "joined_failover_failed",
        OM.as_result(),
    )
    assert_truthful(world, result)


def test_the_fence_of_6_0_does_not_outlast_a_joined_failover_that_came_to_nothing() -> None:
    """The run that was killed under it had moved nothing, and the failover has not either: nothing is left that would lift it."""
    world = World(1, modern=False)
    leader = killed_with_a_stuck_leader(world, "kill_after", FENCE, OM)
    assert world.nodes[OM].fenced
    world.at(world.now_s + 3.0, lambda: restart(world, leader))
    result = run(world, target=R)
    assert (result["outcome"], result["error"], result["changed"]) == ("aborted", "joined_failover_failed", True)
    assert not world.nodes[OM].fenced
    assert result["repaired"] == [f"put back on {OM}: min-replicas-to-write 1, min-replicas-max-lag 7"]


def test_a_fence_that_stands_while_a_joined_failover_goes_on_is_named() -> None:
    """Lifted before the end, it would let writes through that Sentinel throws away."""
    world = World(1, modern=False)
    killed_with_a_stuck_leader(world, "kill_after", FENCE, OM)
    result = run(world, target=R, timeout_s=5.0)
    assert (result["outcome"], result["error"]) == ("unknown", "joined_failover_unfinished")
    assert f"{OM} refuses writes until what an interrupted run left is put back" in result["msg"]
    assert world.nodes[OM].fenced


# ---- somebody makes the old master a master again --------------------------------------------------------------------


def give_back(world: World) -> None:
    """An operator does, who sees no master; clients write there again."""
    world.promote(world.nodes[OM])
    world.nodes[OM].has_writers = True


def run_with_a_stuck_leader(world: World, end_tilt: Callable[[FakeSentinel], None], **request: Any) -> dict[str, Any]:
    """The leader goes into TILT right after its trigger. The old master is given back after 8 s, and the TILT ends after 10 s."""
    clock, fleet = FakeClock(world), FakeFleet(world)
    stuck: list[FakeSentinel] = []

    def stick(entry: Entry) -> None:
        if entry.kind == "triggered" and not stuck:
            stuck.extend(sentinel for sentinel in world.sentinels.values() if sentinel.in_progress)
            stuck[0].tilt = True
            world.at(world.now_s + 8.0, lambda: give_back(world))
            world.at(world.now_s + 10.0, lambda: end_tilt(stuck[0]))

    wanted = Request(NAME, target=R, promotion="sentinel", timeout_s=45.0, **request)
    result = fail_over(Run(fleet, wanted, clock, Timeline(clock, stick)))
    fleet.close()
    assert len(stuck) == 1
    return result


def give_up(leader: FakeSentinel) -> None:
    leader.tilt = False
    leader._abort("-failover-abort-slave-timeout")


def go_on(leader: FakeSentinel) -> None:
    leader.tilt = False


def test_no_second_trigger_goes_to_a_master_that_somebody_has_given_back() -> None:
    """It would promote first, and throw away what the old master acknowledges until Sentinel demotes it."""
    world = World(1)
    result = run_with_a_stuck_leader(world, give_up)
    assert (result["outcome"], result["error"], result["lossless"]) == ("unknown", "promotion_in_doubt", None)
    assert f"somebody has made {OM} a master again" in result["msg"]
    assert len(world.sent(TRIGGER)) == 1
    assert masters(world) == [OM]
    assert_never_split(world)
    assert world.lost() == 0
    assert run(world, target=R)["lossless"]


def test_a_move_whose_old_master_was_given_back_meanwhile_is_not_called_lossless() -> None:
    """The leader goes on after all. What it throws away then was written after the offset that was proved."""
    world = World(1)
    result = run_with_a_stuck_leader(world, go_on)
    assert (result["outcome"], result["new_master"], result["lossless"]) == ("switched", R.as_result(), False)
    assert str(OM) in result["lossless_reason"]
    assert world.lost() > 0, "not by this run"


@pytest.mark.parametrize("promotion", ["program", "sentinel"])
def test_no_first_trigger_goes_to_it_either_where_this_host_stood_still(promotion: str) -> None:
    """Between the demotion and the trigger, for so long that somebody lost patience."""
    world = World(1)

    def stand_still() -> None:
        world.at(world.now_s + 4.0, lambda: give_back(world))
        world.advance(4.5)

    after_the_demotion(world, stand_still)
    result = run(world, target=R, promotion=promotion)
    assert (result["outcome"], result["error"]) == ("unknown", "promotion_in_doubt")
    assert not world.sent(TRIGGER)
    assert_never_split(world)
    assert world.lost() == 0


def after_the_demotion(world: World, action: Callable[[], None]) -> None:
    """Something happens when the program looks whether the replica has everything."""
    looks = Fault("run", "INFO replication", R, alone=True, action=action)
    world.faults.append(Fault("run", DEMOTE, OM, action=lambda: world.faults.append(looks)))


def test_an_old_master_that_took_writes_and_is_a_replica_again_has_more_than_was_proved() -> None:
    world = World(1)

    def stand_still() -> None:
        world.nodes[R].stuck = True
        world.at(world.now_s + 1.0, lambda: give_back(world))
        world.at(world.now_s + 1.5, lambda: world.follow(world.nodes[OM], R))
        world.advance(2.0)

    after_the_demotion(world, stand_still)
    result = run(world, target=R)
    assert (result["outcome"], result["error"]) == ("unknown", "promotion_in_doubt")
    assert "has been a master again" in result["msg"]
    assert not world.sent(TRIGGER)
    again = run(world, target=R)
    assert (again["outcome"], again["error"]) == ("aborted", "late_writes"), "it has what nobody else has"
    assert world.lost() == 0


def test_nobody_is_told_while_an_old_master_does_not_say_what_it_is() -> None:
    world = World(1)

    def stand_still() -> None:
        world.advance(4.0)
        world.cut_off.add(OM)

    after_the_demotion(world, stand_still)
    result = run(world, target=R)
    assert (result["outcome"], result["error"]) == ("unknown", "promotion_in_doubt")
    assert f"{OM} does not say whether it is still a replica" in result["msg"]
    assert not world.sent(TRIGGER)
    world.cut_off.clear()
    assert run(world, target=R)["lossless"]
    assert_never_split(world)
    assert world.lost() == 0


def test_an_old_master_that_does_not_answer_right_after_its_demotion_keeps_writes_stopped_no_longer() -> None:
    world = World(1)

    def stand_still() -> None:
        world.advance(0.2)
        world.cut_off.add(OM)

    after_the_demotion(world, stand_still)
    result = run(world, target=R)
    assert len(world.sent(TRIGGER)) == 1
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "left_to_do", True)
    assert masters(world) == [R]
    assert world.lost() == 0


# ---- the program has a fault ---------------------------------------------------------------------------------------


MODULES = "ansible_collections.redis_ha.sentinel.plugins.module_utils"


def fault(*_: object) -> None:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("where", "outcome"),
    [("_failover.move", "refused"), ("_strategies.agree", "unknown"), ("_strategies.settle", "unknown")],
)
def test_a_fault_of_the_program_hides_nothing_and_the_next_run_puts_it_right(
    where: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(0)
    with monkeypatch.context() as patched:
        patched.setattr(f"{MODULES}.{where}", fault)
        result = attempt(world)
    assert (result["outcome"], result["error"], result["failed"]) == (outcome, "program_failed", True)
    assert result["msg"].startswith("ZeroDivisionError in fault, test_failover.py line "), result["msg"]
    assert result["timeline"], "what was done up to there is told"
    assert_truthful(world, result)
    again = run(world, avoid=(OM.host,))
    assert again["outcome"] in ("switched", "unchanged"), again["msg"]
    assert_never_split(world)
    assert masters(world) != [OM]
    assert world.lost() == 0


def test_a_fault_after_a_plain_failover_was_begun_does_not_say_that_nothing_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{MODULES}._promotion._wait_for_promotion", fault)
    result = attempt(World(0), strategy="plain", accept_loss=True)
    assert (result["outcome"], result["error"], result["changed"]) == ("unknown", "program_failed", True)


def test_a_fault_while_a_killed_run_is_finished_does_not_say_that_nothing_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(0)
    world.faults.append(Fault("kill_before", TRIGGER))
    killed(world)
    with monkeypatch.context() as patched:
        patched.setattr(f"{MODULES}._strategies.agree", fault)
        result = attempt(world)
    assert (result["outcome"], result["error"]) == ("unknown", "program_failed")
