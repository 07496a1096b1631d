# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs in deployments where the news cannot be carried, or somebody else is at work at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from unit.builders import L0, L1, L2, NAME, OM, R, S
from unit.faults import Fault, Killed, text
from unit.runs import assert_never_split, assert_truthful, killed, masters, run
from unit.world import World

from lab.machine import HOST_TOO_SLOW

NOPERM = "NOPERM No permissions to access a channel"
HELLO = "PUBLISH __sentinel__:hello 10.0.0."
TRIGGER = f"SENTINEL FAILOVER {NAME}"
NEWS = f",{NAME},{R.host},{R.port},"
"""In a hello that says that R is the master."""
PROMOTE = "REPLICAOF NO ONE"
NEXT_HELLO_S = 2.2
"""A Sentinel tells the others what it knows every two seconds."""


def named(world: World) -> set[Address]:
    return {sentinel.named for sentinel in world.sentinels.values() if sentinel.awake}


def assert_moved(world: World, result: dict[str, Any], by: str) -> None:
    assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, by), result
    assert_truthful(world, result)
    assert_never_split(world)
    assert world.lost() == 0


# ---- the news cannot be carried ------------------------------------------------------------------------------------


def forbid_publish(world: World) -> None:
    for sentinel in world.sentinels.values():
        sentinel.refuses_hello = NOPERM


def show_script(world: World) -> None:
    world.sentinels[L2].script = "/usr/local/bin/tell-the-clients"


@pytest.mark.parametrize("hurt", [forbid_publish, show_script], ids=["no publish", "client-reconfig-script"])
def test_sentinel_promotes_where_the_news_cannot_be_carried(hurt: Callable[[World], None]) -> None:
    world = World(1)
    hurt(world)
    result = run(world)
    assert result["write_gap_ms"] <= 1600
    assert not [commands for _s, _to, commands in world.exchanges if any(HELLO in text(one) for one in commands)]
    assert_moved(world, result, "sentinel")


def test_a_sentinel_alone_promotes_by_itself() -> None:
    world = World(1, sentinels=(L0,), quorum=1)
    assert_moved(world, run(world), "sentinel")


def test_a_script_is_no_hindrance_where_the_program_is_told_to_promote() -> None:
    world = World(1)
    show_script(world)
    assert_moved(world, run(world, promotion="program"), "program")


@pytest.mark.parametrize("closed", [L0, L1, L2])
def test_sentinel_promotes_where_one_of_them_cannot_be_told(closed: Address) -> None:
    """It would not know that the epoch is taken."""
    world = World(1)
    world.sentinels[closed].refuses_hello = NOPERM
    result = run(world)
    assert result["write_gap_ms"] <= 1600
    assert not world.sent(NEWS)
    assert_moved(world, result, "sentinel")


# ---- Sentinels in a bad state --------------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [L0, L1])
def test_a_sentinel_of_an_old_file_is_refused_before_anything_is_touched(low: Address) -> None:
    world = World(1)
    for address, sentinel in world.sentinels.items():
        if address != low:
            sentinel.current_epoch = sentinel.config_epoch = 5
    result = run(world)
    assert (result["outcome"], result["error"]) == ("refused", "sentinels_disagree")
    assert world.writes_refused_s == 0
    world.advance(NEXT_HELLO_S)
    assert_moved(world, run(world), "program")


def test_the_leader_stands_still_between_its_trigger_and_the_news() -> None:
    world = World(1)

    def stand_still() -> None:
        world.sentinels[L0].frozen = True
        world.at(world.now_s + 8.0, world.sentinels[L0].thaw)

    world.faults.append(Fault("run", NEWS, L0, action=stand_still))
    result = run(world)
    assert set(world.sent(NEWS)) <= {L0}, "nobody else is told before the leader has given in"
    assert len(world.sent(TRIGGER)) == 1
    assert_moved(world, result, "sentinel")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("stall", TRIGGER, L0, delay_s=0.15), "this host did not promote within 100 ms of the trigger"),
        (Fault("refuse", PROMOTE, R, error="NOPERM none", alone=True), f"{R} refused to be promoted by the program"),
        (Fault("freeze", NEWS, L0, delay_s=8.0), f"Sentinel {L0} did not take the news over"),
    ],
    ids=["slow", "refused", "silent"],
)
def test_why_it_was_left_to_sentinel_is_told(fault: Fault, reason: str) -> None:
    world = World(1)
    world.faults.append(fault)
    result = run(world)
    assert result["promotion_reason"] == f"it was left to Sentinel: {reason}"
    # Tests on real servers move the master once more where it is this machine.
    assert bool(HOST_TOO_SLOW.match(result["promotion_reason"])) == ("refused" not in reason)
    assert_moved(world, result, "sentinel")


@pytest.mark.parametrize(("slow_looks", "promotion"), [(1, "program"), (4, "program"), (40, "sentinel")])
def test_a_look_that_took_too_long_is_taken_again(slow_looks: int, promotion: str) -> None:
    """What it has shown may be over by the time at which anybody is told."""
    world = World(1)
    slow = Fault("stall", "GET-MASTER-ADDR-BY-NAME", L1, times=slow_looks, delay_s=0.07)
    world.faults.append(Fault("run", PROMOTE, R, alone=True, action=lambda: world.faults.append(slow)))
    result = run(world)
    assert slow.struck >= min(slow_looks, 10)
    assert bool(HOST_TOO_SLOW.match(result["promotion_reason"])) == (promotion == "sentinel")
    assert_moved(world, result, promotion)


@pytest.mark.parametrize("other", [L1, L2])
def test_another_stands_still_while_it_is_told(other: Address) -> None:
    world = World(1)
    world.faults.append(Fault("freeze", NEWS, other, delay_s=8.0))
    result = run(world)
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "left_to_do", True)
    assert str(other) in result["msg"]
    world.advance(10.0)
    assert named(world) == {R}
    assert_never_split(world)
    assert world.lost() == 0


def announced_by_name(*who_cannot: Address) -> World:
    """R announces a name, which some Sentinels cannot resolve."""
    world = World(1)
    name = Address("replica.example", R.port)
    world.announced[name] = R
    for address, sentinel in world.sentinels.items():
        sentinel.spelling[R] = name
        if address in who_cannot:
            sentinel.cannot_resolve.add(name.host)
    return world


def test_a_replica_with_an_announced_name() -> None:
    world = announced_by_name()
    result = run(world)
    assert (result["outcome"], result["new_master"]["host"]) == ("switched", "replica.example")
    assert set(world.sent(f"{NAME},replica.example,")) == {L0, L1, L2}
    assert named(world) == {R}
    assert world.lost() == 0


@pytest.mark.parametrize("who", [L0, L1])
def test_a_name_that_one_of_them_cannot_resolve_is_told_as_left_to_do(who: Address) -> None:
    world = announced_by_name(who)
    began_s = world.now_s
    result = run(world)
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "left_to_do", True)
    assert result["msg"].count(f"Sentinel {L1}") == 1
    if who == L1:
        assert "cannot resolve replica.example" in result["msg"]
        assert world.now_s - began_s < 3, "nobody waits for what never comes"
    world.advance(60.0)
    assert len(masters(world)) == 1
    assert not world.violations
    assert world.lost() == 0


FIVE = (L0, L1, L2, Address("10.0.0.4", 26379), Address("10.0.0.5", 26379))


def die(world: World, address: Address) -> None:
    world.sentinels[address].alive = False


def stand_still(world: World, address: Address) -> None:
    world.sentinels[address].frozen = True


def cut_off(world: World, address: Address) -> None:
    world.cut_off.add(address)


@pytest.mark.parametrize("hurt", [die, stand_still, cut_off])
def test_two_of_five_do_not_answer(hurt: Callable[[World, Address], None]) -> None:
    world = World(1, sentinels=FIVE, quorum=3)
    for address in FIVE[3:]:
        hurt(world, address)
    assert run(world)["error"] == "sentinels_missing"
    assert world.writes_refused_s == 0
    result = run(world, min_sentinels=3)
    assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "program")
    world.advance(NEXT_HELLO_S)
    assert named(world) == {R}
    assert_never_split(world)
    assert world.lost() == 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_failover_of_another_master_shares_the_epochs(moment: str) -> None:
    world = World(1)
    leader = world.sentinels[L0]

    def other_master() -> None:
        if moment == "before":
            leader.begin_other("other")
        else:
            world.at(world.now_s + 0.0001, lambda: leader.begin_other("other"))

    world.faults.append(Fault("run", TRIGGER, L0, action=other_master))
    assert_moved(world, run(world), "program")
    assert {sentinel.config_epoch for sentinel in world.sentinels.values()} == {3 if moment == "before" else 2}


# ---- an operator's own SENTINEL FAILOVER, at any moment ------------------------------------------------------------

LENGTH = 90
"""More messages than a run sends before it is through."""


def message(world: World, word: str, receiver: Address) -> int:
    """The number of the first message with this word to a server."""
    return next(
        number
        for number, (_s, to, commands) in enumerate(world.exchanges)
        if to == receiver and any(word in text(one) for one in commands)
    )


def healthy_run() -> World:
    world = World(1)
    run(world)
    return world


PATTERN = healthy_run()
DEMOTED = message(PATTERN, "REPLICAOF 10.0.0.", OM)
LAST_LOOK_BEFORE = DEMOTED - 2
"""Before the demotion: L1 has answered the look, L2 is asked, the transaction is begun."""
LEADER_TOLD = message(PATTERN, NEWS, L0)
OTHERS_TOLD = message(PATTERN, NEWS, L1)


def prefer(world: World, leader: Address, replica: Address) -> None:
    """What a Sentinel was told last makes it choose this replica."""
    for address, seen in world.sentinels[leader].seen.items():
        seen.priority, seen.at_s = (1 if address == replica else 100), world.now_s


def rival_at(number: int, ours: Address, theirs: Address, seed: int = 1) -> World:
    """An operator tells L1 to fail over right before a message of our run."""
    world = World(seed)

    def trigger() -> None:
        prefer(world, L0, ours)
        prefer(world, L1, theirs)
        world.start_failover(world.sentinels[L1])

    world.faults.append(Fault("run", "", skip=number, action=trigger))
    return world


@pytest.mark.parametrize(("ours", "theirs"), [(R, R), (S, S), (R, S), (S, R)])
def test_an_operators_failover_after_the_last_look_gives_in_to_the_news(ours: Address, theirs: Address) -> None:
    for number in range(LEADER_TOLD, OTHERS_TOLD + 1):
        world = rival_at(number, ours, theirs, seed=number)
        result = run(world)
        assert (result["outcome"], result["new_master"], result["lossless"]) == ("switched", R.as_result(), True), (
            number
        )
        assert_never_split(world)
        assert named(world) == {R}
        assert world.lost() == 0


@pytest.mark.parametrize("ahead", [0, 1, 7])
def test_the_epoch_is_taken_everywhere_before_anybody_hears_of_the_new_master(ahead: int) -> None:
    """Also where the leader has led failovers of other masters, of which nobody has heard."""
    world = World(1)
    world.sentinels[L0].current_epoch += ahead
    known: list[set[int]] = []
    epochs = world.sentinels.values()
    world.faults.append(Fault("run", NEWS, L0, action=lambda: known.append({one.current_epoch for one in epochs})))
    run(world)
    assert known == [{2 + ahead}]


@pytest.mark.parametrize("preferred", [R, S])
def test_an_operators_failover_between_the_looks_is_joined(preferred: Address) -> None:
    for number in range(LAST_LOOK_BEFORE, LEADER_TOLD):
        world = rival_at(number, preferred, preferred, seed=number)
        result = run(world)
        # Where both leaders choose another than we have promoted, nobody knows what a proxy that looks at roles has sent to ours.
        shown = not world.sent(PROMOTE) or result["new_master"] == R.as_result()
        assert (result["outcome"], result["lossless"]) == ("switched", shown), (number, result)
        assert_never_split(world)
        assert named(world) == set(masters(world)) == {Address(**result["new_master"])}
        assert world.lost() == 0


def test_a_second_failover_to_another_replica_is_never_called_lossless() -> None:
    """Its Sentinel makes another replica the master while ours is one already: clients that ours was named to write there, and that is lost."""
    switched = 0
    for number in range(DEMOTED + 1, LEADER_TOLD):
        for seed in range(1, 5):
            world = rival_at(number, R, S, seed=seed)
            result = run(world)
            world.advance(20.0)
            assert result["lossless"] is not True or world.lost() == 0, (number, seed, result)
            if result["outcome"] == "switched" and world.lost():
                switched += 1
                assert str(R) in result["lossless_reason"]
    assert switched


@pytest.mark.parametrize("theirs", [R, S])
def test_an_operators_failover_before_the_demotion_stops_ours(theirs: Address) -> None:
    for number in range(0, LAST_LOOK_BEFORE, 3):
        world = rival_at(number, R, theirs)
        result = run(world)
        assert not world.sent(TRIGGER), number
        assert result["lossless"] is not True or result["outcome"] == "switched"
        world.advance(20.0)
        assert (named(world), masters(world)) == ({theirs}, [theirs]), number


@pytest.mark.parametrize("preferred", [R, S])
@pytest.mark.parametrize("word", [PROMOTE, NEWS])
def test_late_news_and_an_operators_failover(word: str, preferred: Address) -> None:
    """We stand still right before we promote or tell the leader, for so long that both leaders have gone their way."""
    for delay_s in (0.06, 0.15, 0.4, 1.5):
        world = rival_at(DEMOTED + 1, preferred, preferred)
        world.faults.append(Fault("stall", word, R if word == PROMOTE else L0, delay_s=delay_s, alone=word == PROMOTE))
        result = run(world)
        assert result["outcome"] in ("switched", "incomplete"), (delay_s, result)
        assert_never_split(world)
        assert named(world) == set(masters(world)), delay_s
        assert world.lost() == 0


TAKEN = f",4,{NAME},"
"""The hello which says that the epoch is taken that brings two leaders together: theirs is the third."""


def two_leaders(seed: int = 1) -> World:
    """Two Sentinels lead failovers of one epoch to two replicas, and we cannot promote.

    They have the same epoch where the leader's is higher than what the others were taught before.
    """
    world = rival_at(DEMOTED + 1, R, S, seed)
    world.sentinels[L0].current_epoch += 1
    world.faults.append(Fault("lose_before", PROMOTE, R, alone=True))
    return world


def test_two_leaders_that_lead_each_others_replica_are_brought_together() -> None:
    """Each has made the replica of the other one a replica of its own: no node is a master, until Sentinel fails over again half a minute later."""
    world = two_leaders()
    result = run(world)
    assert (result["outcome"], result["lossless"], named(world), masters(world)) == ("switched", False, {R}, [R])
    assert_truthful(world, result)
    assert "named two masters" in result["lossless_reason"]
    assert f"names {S}" in str(result["notes"])
    assert result["timeline"][-1]["at_ms"] < 3000
    again = next(index for index, it in enumerate(world.exchanges) if it[1] == R and "NO ONE" in text(it[2][-1]))
    assert any(it[1] == R and "CONFIG REWRITE" in text(it[2][-1]) for it in world.exchanges[again:])


def test_one_that_does_not_take_it_hears_it_from_the_others() -> None:
    world = two_leaders()
    world.faults.append(Fault("refuse", f"{TAKEN}{R.host},{R.port},4", L1, error="NOPERM no permission"))
    result = run(world)
    assert (result["outcome"], result["lossless"], named(world), masters(world)) == ("switched", False, {R}, [R])
    assert_truthful(world, result)


def test_of_two_leaders_the_only_master_is_kept() -> None:
    """The other replica follows it by now, so that what it alone had is gone anyway."""
    world = two_leaders()
    world.faults.append(Fault("run", TAKEN, L2, action=lambda: world.promote(world.nodes[S])))
    result = run(world)
    assert (result["outcome"], result["lossless"]) == ("switched", False)
    assert (result["new_master"], named(world), masters(world)) == (S.as_result(), {S}, [S])
    assert_truthful(world, result)
    assert {node.master for node in world.nodes.values()} == {None, S}


def test_from_the_only_master_that_is_no_target_the_run_goes_on_to_it() -> None:
    world = two_leaders()
    world.faults.append(Fault("run", TAKEN, L2, action=lambda: world.promote(world.nodes[S])))
    result = run(world, target=R)
    assert (result["outcome"], result["lossless"]) == ("switched", False)
    assert_truthful(world, result)
    assert (result["new_master"], named(world), masters(world)) == (R.as_result(), {R}, [R])


def test_one_that_is_led_away_in_that_moment_is_made_a_master_again() -> None:
    """A leader that has promoted still leads replicas, until it is told."""
    world = two_leaders()

    def lead_away() -> None:
        world.follow(world.nodes[S], R)

    world.faults.append(Fault("run", TAKEN, L2, action=lambda: world.promote(world.nodes[S])))
    led_away = Fault("run", f"{TAKEN}{S.host},{S.port},4", L0, action=lead_away)
    world.faults.append(led_away)
    result = run(world)
    assert led_away.struck
    assert (result["outcome"], result["new_master"], masters(world)) == ("switched", S.as_result(), [S])
    assert_truthful(world, result)


def test_a_node_that_does_not_answer_may_be_a_master_and_no_second_one_is_made() -> None:
    world = two_leaders()

    def hide() -> None:
        world.promote(world.nodes[S])
        world.cut_off.add(S)

    world.faults.append(Fault("run", TAKEN, L2, action=hide))
    result = run(world, timeout_s=5.0)
    assert (result["outcome"], result["error"], result["lossless"]) == ("unknown", "sentinels_split", False)
    assert f"{S} does not say what it is" in result["msg"]
    assert masters(world) == [S]


def test_a_node_that_sentinels_spell_in_two_ways_is_one() -> None:
    world = two_leaders()
    announced = Address("10.9.9.3", 6379)
    world.announced[announced] = S
    world.sentinels[L1].spelling[S] = announced
    world.faults.append(Fault("run", TAKEN, L2, action=lambda: world.promote(world.nodes[S])))
    result = run(world)
    assert (result["outcome"], masters(world)) == ("switched", [S])


@pytest.mark.parametrize("late_s", [0.15, 0.3, 0.4])
@pytest.mark.parametrize("seed", range(1, 9))
def test_a_rival_of_a_later_epoch_that_leads_each_to_the_other_leaves_a_master(seed: int, late_s: float) -> None:
    world = rival_at(DEMOTED + 1, R, S, seed)
    world.sentinels[L1].current_epoch += 3
    world.faults.append(Fault("stall", TRIGGER, L0, delay_s=late_s))
    result = run(world)
    assert result["outcome"] in ("switched", "incomplete"), result
    assert result["timeline"][-1]["at_ms"] < 10_000
    assert len(masters(world)) == 1
    assert result["new_master"] == masters(world)[0].as_result()


def test_a_node_that_cannot_be_made_a_master_again_is_left_to_do() -> None:
    world = two_leaders()
    refuse = Fault("refuse", PROMOTE, R, error="NOPERM no permission", times=99)
    world.faults.append(Fault("run", TAKEN, L2, action=lambda: world.faults.append(refuse)))
    result = run(world, timeout_s=5.0)
    assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "left_to_do", False)
    assert f"{R}: it is a replica of {S}" in result["msg"]
    assert "could not be made a master again (no permission)" in str(result["notes"])


@pytest.mark.parametrize("seed", range(1, 13))
@pytest.mark.parametrize("late_s", [0.15, 0.4])
def test_two_leaders_behind_a_host_that_stands_still_end_with_one_master(late_s: float, seed: int) -> None:
    """Whichever of the two nodes is a master in the end: all name it, and at once, not half a minute later."""
    world = rival_at(DEMOTED + 1, R, S, seed)
    world.sentinels[L0].current_epoch += 1
    world.faults.append(Fault("stall", TRIGGER, L0, delay_s=late_s))
    result = run(world)
    assert (result["outcome"], result["error"]) in (("switched", None), ("incomplete", "moved_on"))
    assert_truthful(world, result)
    assert named(world) == set(masters(world)) == {Address(**result["new_master"])}


def stuck(world: World) -> None:
    """A Sentinel begins a failover and never goes on."""
    sentinel = world.sentinels[L2]
    world.start_failover(sentinel)
    vars(sentinel)["tick"] = lambda: None


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (
            lambda world: world.faults.append(Fault("lose_before", "SENTINEL MASTER", L0, times=999)),
            f"Sentinel {L0} does not answer",
        ),
        (lambda world: world.cut_off.add(L2), "not every Sentinel has read that epoch 4 is taken"),
        (stuck, f"Sentinel {L2} leads a failover"),
        (lambda world: world.cut_off.add(R), f"{R} does not say what it is"),
        (lambda world: world.promote(world.nodes[OM]), f"{R} is a replica, and a master is {OM}"),
    ],
    ids=["silent", "not reached", "leads", "lost", "the old master is one"],
)
def test_two_leaders_that_cannot_be_brought_together_are_never_called_switched(
    trouble: Callable[[World], object], why: str
) -> None:
    """Sentinel's own split is told, with why it stays and what heals it."""
    world = two_leaders()
    world.faults.append(Fault("run", TAKEN, L2, action=lambda: trouble(world)))
    result = run(world, timeout_s=5.0)
    assert (result["outcome"], result["error"], result["lossless"]) == ("unknown", "sentinels_split", False)
    assert f"names {S}" in result["msg"]
    assert why in result["msg"]
    assert result["remedy"]


def test_where_the_old_master_was_not_demoted_first_nobody_is_told_otherwise() -> None:
    """Which of the two replicas has more is not known."""
    world = World(2)
    world.nodes[OM].alive = False
    world.advance(3.0)

    def rival() -> None:
        prefer(world, L1, R)
        prefer(world, L2, S)
        world.start_failover(world.sentinels[L2])

    world.faults.append(Fault("run", TRIGGER, L1, action=rival))
    result = run(world, strategy="plain", accept_loss=True)
    assert (result["outcome"], result["error"], result["lossless"]) == ("unknown", "sentinels_split", False)
    assert "which of the two has more is not known" in result["msg"]
    assert named(world) == {R, S}


@pytest.mark.parametrize("delay_s", [0.2, 0.45, 0.52])
@pytest.mark.parametrize("promotion", ["auto", "sentinel"])
def test_an_operators_failover_by_a_sentinel_that_fell_silent_under_the_fence_is_not_met(
    promotion: str, delay_s: float
) -> None:
    """Nobody can see it. Begun beside ours, of one epoch with it, it would make a second master."""
    world = World(2)

    def rival() -> None:
        prefer(world, L2, S)
        world.start_failover(world.sentinels[L2])

    def fall_silent() -> None:
        world.cut_off.add(L2)
        world.at(world.now_s + delay_s, rival)

    world.faults.append(Fault("run", "CLIENT PAUSE 1250", OM, action=fall_silent))
    result = run(world, target=R, promotion=promotion)
    assert (result["outcome"], result["error"], result["lossless"]) == ("aborted", "sentinels_missing", None)
    assert f"Sentinel {L2} has stopped answering" in result["msg"]
    assert not world.sent("REPLICAOF 10.", OM)
    assert not world.sent(TRIGGER)
    world.advance(30.0)
    assert named(world) == set(masters(world)) == {S}


@pytest.mark.parametrize("seed", [1, 2, 4, 5])
def test_a_replica_that_was_named_beside_one_that_is_finished_is_told(seed: int) -> None:
    """An operator's failover, of a lower epoch than ours: its Sentinel leads clients to another replica until it hears of ours."""
    world = World(seed)
    world.faults.append(Fault("kill_after", "REPLICAOF 10.0.0.", OM))
    killed(world, target=R)

    def rival() -> None:
        world.sentinels[L1].current_epoch += 1
        prefer(world, L1, R)
        prefer(world, L2, S)
        world.start_failover(world.sentinels[L2])

    world.faults.append(Fault("run", TRIGGER, L1, action=rival))
    result = run(world, target=R, promotion="sentinel")
    assert (result["outcome"], result["new_master"]) == ("switched", R.as_result())
    assert world.violations, "both took writes"
    assert result["lossless"] is False
    assert f"{S} was made a master too" in result["lossless_reason"]


# ---- killed at any message -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["kill_before", "kill_after"])
def test_killed_at_any_message_it_heals_alone(kind: str) -> None:
    for number in range(LENGTH):
        world = World(number)
        fault = Fault(kind, "", skip=number)
        world.faults.append(fault)
        with contextlib.suppress(Killed):
            run(world)
        assert_never_split(world)
        assert named(world) == set(masters(world)), number
        assert world.lost() == 0, number
        if not fault.struck:
            break
    else:
        pytest.fail("a run sends more messages than were tried")


def run_again_after_a_kill(kind: str, number: int, preferred: Address = R) -> float:
    """How long the next run took, in seconds; the leader, left alone, promotes the preferred replica."""
    world = World(1)
    prefer(world, L0, preferred)
    world.faults.append(Fault(kind, "", skip=number))
    killed(world)
    world.advance(0.1)
    began_s = world.now_s
    result = run(world, expected_master=OM) if masters(world) == [OM] else run(world)
    assert result["outcome"] in ("switched", "unchanged"), (number, result)
    assert_truthful(world, result)
    assert named(world) == set(masters(world))
    assert not world.violations
    assert world.lost() == 0
    return world.now_s - began_s


SIBLING_FOLLOWS = message(PATTERN, "REPLICAOF 10.0.0.2 6379", S)


@pytest.mark.parametrize("preferred", [R, S])
@pytest.mark.parametrize("kind", ["kill_before", "kill_after"])
def test_killed_at_any_message_and_run_again_it_is_finished(kind: str, preferred: Address) -> None:
    for number in range(len(PATTERN.exchanges)):
        within_s = 5.0
        assert run_again_after_a_kill(kind, number, preferred) <= within_s, number


def test_a_replica_that_a_killed_run_had_not_yet_told_is_told_by_the_next_at_once() -> None:
    assert run_again_after_a_kill("kill_before", SIBLING_FOLLOWS) <= 5.0


@pytest.mark.parametrize("seed", range(20))
def test_two_faults_anywhere(seed: int) -> None:
    """Drawn at random, the same each time."""
    world = World(seed)
    draw = world.random
    kinds = ("refuse", "lose_before", "lose_after", "hang_before", "hang_after", "stall", "kill_before", "kill_after")
    for _number in range(2):
        skip = draw.randint(DEMOTED - 10, len(PATTERN.exchanges) - 1)
        world.faults.append(Fault(draw.choice(kinds), "", skip=skip, delay_s=draw.choice((0.05, 0.2, 1.5))))
    with contextlib.suppress(Killed):
        assert_truthful(world, run(world))
    assert_never_split(world)
    assert named(world) == set(masters(world))
    assert world.lost() == 0
