# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The model itself: its Sentinels do what ``sentinel.c`` does, so that what is proved in it says something."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event
from unit.builders import L0, L1, L2, NAME, OM, R, S
from unit.fake_connection import FakeFleet
from unit.fake_sentinel import NEVER_S
from unit.world import World

CHANNEL = "__sentinel__:hello"


def hello(world: World, about: Address, config_epoch: int, *, by: Address = L1, **changes: Any) -> str:
    """A hello in another Sentinel's words."""
    fields: dict[str, Any] = {
        "ip": by.host,
        "port": by.port,
        "run_id": world.sentinels[by].run_id if by in world.sentinels else "",
        "current_epoch": config_epoch,
        "name": NAME,
        "master_ip": about.host,
        "master_port": about.port,
        "config_epoch": config_epoch,
    }
    return ",".join(str(value) for value in {**fields, **changes}.values())


def tell(world: World, receiver: Address, text: str) -> Any:
    """PUBLISH, as the program sends it."""
    return FakeFleet(world).sentinel(receiver).ask("PUBLISH", CHANNEL, text)


def listen(world: World, *sentinels: Address) -> list[tuple[str, str]]:
    """What these Sentinels publish from here on."""
    heard: list[tuple[str, str]] = []

    def on_event(_address: Address, _at_s: float, event: Event) -> None:
        heard.append((event.channel, event.payload))

    for address in sentinels:
        world.listeners.append((address, on_event))
    return heard


def channels(heard: list[tuple[str, str]]) -> list[str]:
    return [channel for channel, _payload in heard]


# ---- a hello -------------------------------------------------------------------------------------------------------


def test_a_newer_hello_changes_the_master_and_ends_the_failover_that_was_under_way() -> None:
    world = World(1)
    sentinel = world.sentinels[L0]
    world.start_failover(sentinel)
    heard = listen(world, L0)
    assert tell(world, L0, hello(world, R, 2)) == 1
    assert (sentinel.master, sentinel.named, sentinel.config_epoch, sentinel.in_progress) == (R, R, 2, False)
    assert sentinel.started_s == NEVER_S, "no back-off for a failover of its own"
    assert set(sentinel.seen) == {OM, S}
    assert {seen.at_s for seen in sentinel.seen.values()} == {NEVER_S}
    assert heard[:2] == [
        ("+config-update-from", f"sentinel sentinel-{L1} {L1.host} {L1.port} @ {NAME} {OM.host} {OM.port}"),
        ("+switch-master", f"{NAME} {OM.host} {OM.port} {R.host} {R.port}"),
    ]


@pytest.mark.parametrize("config_epoch", [0, 1])
def test_a_hello_that_is_not_newer_is_read_and_ignored(config_epoch: int) -> None:
    world = World(1)
    assert tell(world, L0, hello(world, R, config_epoch)) == 1
    assert (world.sentinels[L0].master, world.sentinels[L0].config_epoch) == (OM, 1)


@pytest.mark.parametrize("text", ["x", "", "a,b,c,d,e,f,g", "a,b,c,d,e,f,g,h,i"])
def test_what_has_not_eight_fields_is_answered_and_thrown_away(text: str) -> None:
    world = World(1)
    heard = listen(world, L0)
    assert tell(world, L0, text) == 1
    assert not heard
    assert not world.violations


def test_a_hello_about_another_master_does_nothing() -> None:
    world = World(1)
    assert tell(world, L0, hello(world, R, 9, name="other", run_id="unknown")) == 1
    assert (world.sentinels[L0].current_epoch, len(world.sentinels[L0].peers)) == (1, 2)


@pytest.mark.parametrize("run_id", ["f" * 40, f"sentinel-{L0}"], ids=["unknown", "its own"])
def test_a_sentinel_that_nobody_knows_is_entered_and_stays(run_id: str) -> None:
    world = World(1)
    tell(world, L0, hello(world, R, 2, run_id=run_id))
    world.advance(60.0)
    assert len(world.sentinels[L0].peers) == 3
    assert any("ghost" in violation for violation in world.violations)


def test_a_peer_under_a_wrong_address_is_put_right_by_its_own_hello() -> None:
    world = World(1)
    tell(world, L0, hello(world, OM, 1, port=1))
    assert world.sentinels[L0].peers[f"sentinel-{L1}"].port == 1
    world.advance(2.5)
    assert world.sentinels[L0].peers[f"sentinel-{L1}"] == L1
    assert not world.violations


def test_the_epoch_can_be_taught() -> None:
    world = World(1)
    heard = listen(world, L0)
    tell(world, L0, hello(world, OM, 1, current_epoch=40))
    FakeFleet(world).sentinel(L0).ask("SENTINEL", "FAILOVER", NAME)
    assert heard[:3] == [
        ("+new-epoch", "40"),
        ("+new-epoch", "41"),
        ("+try-failover", f"master {NAME} {OM.host} {OM.port}"),
    ]


def test_a_name_that_it_cannot_resolve_uses_the_epoch_up() -> None:
    world = World(1)
    sentinel = world.sentinels[L0]
    sentinel.cannot_resolve.add(R.host)
    sentinel.deaf = True
    tell(world, L0, hello(world, R, 2))
    assert (sentinel.master, sentinel.config_epoch) == (OM, 2)
    tell(world, L0, hello(world, S, 2))
    assert sentinel.master == OM, "the same epoch can never mend it"
    world.advance(4.0)
    assert world.sentinels[L1].config_epoch == 2, "its own hellos spread that"


def test_publish_can_be_forbidden() -> None:
    world = World(1)
    world.sentinels[L0].refuses_hello = "NOPERM No permissions to access a channel"
    with pytest.raises(ReplyError, match="No permissions"):
        tell(world, L0, hello(world, R, 2))
    assert world.sentinels[L0].master == OM


def test_sentinels_spread_a_configuration_among_themselves() -> None:
    world = World(1)
    tell(world, L0, hello(world, R, 2))
    world.advance(2.2)
    assert {sentinel.master for sentinel in world.sentinels.values()} == {R}


# ---- its own failover ----------------------------------------------------------------------------------------------


def test_the_epoch_of_a_failover_is_published_before_its_answer_and_right_before_its_name() -> None:
    world = World(1)
    sentinel = world.sentinels[L0]
    heard = listen(world, L0)
    sentinel.begin_other("other")
    FakeFleet(world).sentinel(L0).ask("SENTINEL", "FAILOVER", NAME)
    sentinel.begin_other("other")
    assert [payload for channel, payload in heard if channel == "+new-epoch"] == ["2", "3", "4"]
    position = heard.index(("+try-failover", f"master {NAME} {OM.host} {OM.port}"))
    assert heard[position - 1] == ("+new-epoch", "3")


def test_the_steps_of_a_leader() -> None:
    world = World(2)
    heard = listen(world, L0)
    began_s = world.now_s
    world.start_failover(world.sentinels[L0])
    while not world.nodes[R].is_master and not world.nodes[S].is_master:
        world.advance(0.001)
    assert 0.104 <= world.now_s - began_s <= 0.301
    while world.sentinels[L1].master == OM:
        world.advance(0.001)
    assert world.now_s - began_s <= 1.6
    world.advance(20.0)
    told = [channel for channel in channels(heard) if channel not in ("+slave", "-role-change", "+role-change")]
    assert told == [
        "+new-epoch",
        "+try-failover",
        "+vote-for-leader",
        "+elected-leader",
        "+failover-state-select-slave",
        "+selected-slave",
        "+failover-state-send-slaveof-noone",
        "+failover-state-wait-promotion",
        "+promoted-slave",
        "+failover-state-reconf-slaves",
        "+slave-reconf-sent",
        "+failover-end",
        "+switch-master",
    ]
    assert world.nodes[OM].master == R, "one of them has converted it"
    assert {sentinel.config_epoch for sentinel in world.sentinels.values()} == {2}


def test_two_failovers_of_one_epoch_can_split_the_sentinels() -> None:
    split = 0
    for seed in range(20):
        world = World(seed)
        world.sentinels[L0].seen[R].priority = 1
        world.sentinels[L1].seen[S].priority = 1
        for sentinel in (world.sentinels[L0], world.sentinels[L1]):
            for seen in sentinel.seen.values():
                seen.at_s = world.now_s
            world.start_failover(sentinel)
        world.advance(10.0)
        split += len({sentinel.master for sentinel in world.sentinels.values()}) > 1
    assert split > 0


def test_a_master_that_reports_to_be_a_replica_is_down_after_a_while_and_replaced() -> None:
    world = World(1)
    heard = listen(world, L0, L1, L2)
    began_s = world.now_s
    world.follow(world.nodes[OM], R)
    while world.nodes[OM].master == R and not world.nodes[R].is_master and not world.nodes[S].is_master:
        world.advance(0.1)
    assert 25.0 <= world.now_s - began_s <= 45.0
    assert {"-role-change", "+sdown", "+odown", "+vote-for-leader"} <= set(channels(heard))
    world.advance(30.0)
    assert world.lost() == 0


def test_a_replica_that_reports_to_be_a_master_is_converted() -> None:
    world = World(1)
    heard = listen(world, L0, L1, L2)
    world.promote(world.nodes[R])
    world.advance(7.9)
    assert world.nodes[R].is_master
    world.advance(22.0)
    assert world.nodes[R].master == OM
    assert "+convert-to-slave" in channels(heard)


def test_a_replica_is_not_converted_while_the_master_reports_to_be_one_too() -> None:
    world = World(1)
    world.follow(world.nodes[OM], R)
    world.promote(world.nodes[R])
    world.advance(60.0)
    assert world.nodes[R].is_master or world.nodes[S].is_master
    assert world.lost() == 0


def test_no_majority_no_failover() -> None:
    world = World(1)
    world.nodes[OM].alive = world.sentinels[L1].alive = world.sentinels[L2].alive = False
    heard = listen(world, L0)
    world.advance(120.0)
    assert not world.nodes[R].is_master
    assert "+odown" not in channels(heard)


@pytest.mark.parametrize("ghosts", [0, 2])
def test_ghosts_count_towards_the_majority(ghosts: int) -> None:
    world = World(1)
    for sentinel in world.sentinels.values():
        for number in range(ghosts):
            sentinel.peers[f"ghost-{number}"] = Address("10.0.0.99", number)
    world.nodes[OM].alive = world.sentinels[L2].alive = False
    world.advance(60.0)
    assert (world.nodes[R].is_master or world.nodes[S].is_master) is (ghosts == 0)


def test_one_that_stands_still_hears_everything_when_it_goes_on() -> None:
    world = World(1)
    world.sentinels[L1].frozen = True
    tell(world, L0, hello(world, R, 2))
    world.advance(5.0)
    assert world.sentinels[L1].master == OM
    world.sentinels[L1].thaw()
    assert world.sentinels[L1].master == R


def test_writers_of_sentinel_are_not_on_a_master_that_nobody_names() -> None:
    world = World(1, proxy=False)
    world.promote(world.nodes[R])
    world.advance(1.0)
    assert not world.violations
    assert list(world.acknowledged) == ["history-0"]
