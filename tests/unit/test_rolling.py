# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rolling maintenance: the order, who may go with whom, what is refused, and where it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.filter.rolling_file import rolling_file
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._rolling import (
    course,
    maintenance_file,
    plan,
    read_groups,
    targets,
    way_back,
)

HOSTS = {f"redis-{number}": [f"192.0.2.{number}", f"redis-{number}"] for number in range(1, 6)}
NOW = "2026-10-05T02:00:00Z"


def node(number: int, port: int, role: str, **more: Any) -> dict[str, Any]:
    replication = {"link_up": None if role == "master" else True, "priority": 100, **more.pop("replication", {})}
    return {
        "address": f"192.0.2.{number}:{port}",
        "error": None,
        "loading": False,
        "foreign": False,
        "role": role,
        "replication": replication,
        **more,
    }


def sentinel(number: int, others: int, quorum: int, **more: Any) -> dict[str, Any]:
    return {
        "address": f"192.0.2.{number}:26379",
        "error": None,
        "quorum": quorum,
        "sentinels": [{}] * others,
        **more,
    }


def master(
    port: int, numbers: Sequence[int], watched_by: Sequence[int] = (1, 2, 3), quorum: int = 2, **of_node: Any
) -> dict[str, Any]:
    """A master on the first of some hosts with replicas on the others; ``of_node`` changes the last of them."""
    nodes = [node(number, port, "replica") for number in numbers]
    nodes[0] = node(numbers[0], port, "master")
    if of_node:
        nodes[-1] = node(numbers[-1], port, "replica", **of_node)
    return {
        "master": f"192.0.2.{numbers[0]}:{port}",
        "nodes": nodes,
        "sentinels": [sentinel(number, len(watched_by) - 1, quorum) for number in watched_by],
    }


def asked(masters: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "maintenance": "restart",
        "wanted": [],
        "hosts": HOSTS,
        "groups": {"redis": list(HOSTS)},
        "serial": 1,
        "min_replicas": 1,
        "waivers": [],
        "state": "",
        "now": NOW,
        "masters": masters,
        "health": [],
        **more,
    }


MIXED = {
    "shop": master(6379, (1, 2, 3)),
    "cart": master(6380, (1, 3, 4)),
    "user": master(6381, (2, 4, 5)),
}


CROSSED = {"shop": master(6379, (1, 2, 3)), "cart": master(6380, (2, 1, 3))}
"""Each where the other is to be."""


def test_hosts_without_a_master_come_first_then_those_with_the_fewest() -> None:
    found = plan(asked(MIXED))
    assert found["refusal"] == ""
    assert found["order"] == ["redis-3", "redis-4", "redis-5", "redis-2", "redis-1"]
    assert found["serial"] == [1, 1, 1, 1, 1]
    assert found["lines"][0].strip() == "1. redis-3: has no master now"
    assert found["lines"][-1].strip() == "5. redis-1: leaves cart, shop"


def test_every_sentinel_is_handed_on_since_the_named_one_may_stand_on_the_host_that_is_away() -> None:
    assert plan(asked(MIXED))["sentinels"] == ["192.0.2.1:26379", "192.0.2.2:26379", "192.0.2.3:26379"]


def test_two_hosts_with_nodes_of_one_master_never_go_together() -> None:
    # Seven Sentinels elsewhere: only the nodes keep hosts apart here.
    elsewhere = tuple(range(11, 18))
    masters = {
        "shop": master(6379, (1, 2, 3), elsewhere, 4),
        "cart": master(6380, (4, 5, 3), elsewhere, 4),
    }
    found = plan(asked(masters, serial=2))
    assert found["batches"] == [["redis-2", "redis-5"], ["redis-3"], ["redis-1", "redis-4"]]
    for batch in found["batches"]:
        for view in masters.values():
            on_batch = [row for row in view["nodes"] if f"redis-{row['address'].split('.')[3].split(':')[0]}" in batch]
            assert len(on_batch) <= 1


def test_two_hosts_with_sentinels_go_together_only_where_enough_are_left() -> None:
    apart = {"shop": master(6379, (4, 5), (1, 2, 3), 2)}
    assert plan(asked(apart, serial=3, min_replicas=0, wanted="redis-1,redis-2"))["serial"] == [1, 1]
    five = {"shop": master(6379, (4, 5), (1, 2, 3, 11, 12), 3)}
    assert plan(asked(five, serial=3, min_replicas=0, wanted="redis-1,redis-2,redis-3"))["serial"] == [2, 1]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no maintenance": (asked(MIXED, maintenance=""), "Say in rolling_maintenance_tasks"),
    "a host that nobody has": (asked(MIXED, wanted=["redis-9"]), "no host and no group redis-9"),
    "an inventory without servers": (
        asked({"shop": master(6379, (11, 12, 13), (11, 12, 13))}),
        "No host of the inventory carries a server",
    ),
    "a host without a server": (
        asked({"shop": master(6379, (1, 2, 3))}, wanted=["redis-1", "redis-5"]),
        "redis-5 carries no server",
    ),
    "the quorum would be lost": (
        asked({"shop": master(6379, (1, 2, 3), (1, 2, 3), 3)}),
        "redis-1 cannot be taken away: 2 of 3 Sentinels of shop would be left, and 3 are needed",
    ),
    "a Sentinel is down already": (
        asked(
            {
                "shop": {
                    **MIXED["shop"],
                    "sentinels": [sentinel(1, 2, 2), sentinel(2, 2, 2), sentinel(3, 2, 2, error="x")],
                }
            }
        ),
        "1 of 3 Sentinels of shop would be left, and 2 are needed",
    ),
    "every replica would be away": (
        asked({"shop": master(6379, (1, 2))}),
        "redis-1 cannot be taken away: 0 replicas of shop in sync would be left, and 1 is wanted (rolling_min_replicas)",
    ),
    "the other replica is not in sync": (
        asked({"shop": master(6379, (1, 2, 3), replication={"link_up": False})}),
        "redis-1 cannot be taken away: 0 replicas of shop in sync",
    ),
    "the Sentinels disagree": (
        asked({"shop": {**MIXED["shop"], "master": None}}),
        "the Sentinels do not name one master of shop",
    ),
    "the check before": (
        asked(MIXED, health=[{"item": "shop", "checks": [{"name": "quorum", "status": "critical", "detail": "none"}]}]),
        "The deployment is not fit: shop: quorum: none",
    ),
    "a check that could not be made": (
        asked(MIXED, health=[{"item": "shop", "msg": "no Sentinel"}]),
        "The deployment is not fit: shop: no Sentinel",
    ),
    "a file of something else": (asked(MIXED, state="[]"), "was not written by this role"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    seen, reason = REFUSED[case]
    found = plan(seen)
    assert reason in found["refusal"]
    assert found["refusal"].endswith("Nothing was done.")
    assert found["order"] == []


def test_what_a_waiver_names_is_not_refused() -> None:
    health = [{"item": "shop", "checks": [{"name": "modules", "status": "critical", "detail": "x"}]}]
    assert plan(asked(MIXED, health=health, waivers="modules"))["refusal"] == ""


def test_one_replica_each_will_do_where_that_is_accepted() -> None:
    pair = {"shop": master(6379, (4, 5))}
    assert plan(asked(pair, min_replicas=0, wanted=["redis-4", "redis-5"]))["order"] == ["redis-5", "redis-4"]


# ---- going on ------------------------------------------------------------------------------------------------------


def state(done: Sequence[str], hosts: Sequence[str] = tuple(HOSTS), ended_at: str = "") -> str:
    masters = {"shop": "192.0.2.1:6379"}
    return json.dumps(
        {"hosts": list(hosts), "done": list(done), "masters": masters, "began_at": NOW, "ended_at": ended_at}
    )


def test_a_second_run_goes_on_where_the_first_one_stopped_and_remembers_where_the_masters_were() -> None:
    found = plan(asked(MIXED, state=state(["redis-3", "redis-4"]), now="later"))
    assert found["order"] == ["redis-5", "redis-2", "redis-1"]
    assert found["state"]["masters"] == {"shop": "192.0.2.1:6379"}
    assert found["state"]["began_at"] == NOW
    assert found["lines"][0] == "done before: redis-3, redis-4"


def test_a_maintenance_that_ended_is_begun_anew() -> None:
    found = plan(asked(MIXED, state=state(list(HOSTS), ended_at=NOW), now="later"))
    assert len(found["order"]) == 5
    assert found["state"]["began_at"] == "later"
    assert found["state"]["masters"]["cart"] == "192.0.2.1:6380"


def test_a_file_of_other_hosts_that_is_not_done_is_refused() -> None:
    found = plan(asked(MIXED, state=state([], ["db-1", "db-2"])))
    assert f"of a maintenance of db-1, db-2 that was begun at {NOW}" in found["refusal"]


# ---- host by host --------------------------------------------------------------------------------------------------


def at(batch: Sequence[str], done: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    return {
        "batch": list(batch),
        "hosts": HOSTS,
        "min_replicas": 1,
        "waivers": [],
        "state": state(done),
        "now": NOW,
        "look": {"masters": MIXED},
        "drain": {},
        "wait": {},
        "health": {},
        "hurt": {host: {} for host in batch},
        **more,
    }


def test_a_master_goes_to_a_host_that_is_done_so_that_it_moves_once() -> None:
    step = course(at(["redis-1"], ["redis-3", "redis-4"]))["step"]
    assert step["leave"] == ["192.0.2.1"]
    assert step["master_names"] == ["shop", "cart"]
    assert step["targets"] == {"shop": "192.0.2.3:6379", "cart": "192.0.2.4:6380"}
    assert step["expected"]["user"]["sentinels"], "its Sentinel is on this host"
    assert step["lines"][1].strip() == "shop leaves 192.0.2.1:6379 for 192.0.2.3:6379"


def test_where_no_host_is_done_the_choice_is_left_to_the_drain() -> None:
    step = course(at(["redis-1"]))["step"]
    assert step["master_names"] == ["shop", "cart"]
    assert step["targets"] == {}


def test_a_target_is_one_that_sentinel_would_take_as_gladly() -> None:
    later = master(6379, (1, 2, 3), replication={"priority": 200})
    assert targets(read_groups({"shop": later}, HOSTS), ["redis-1"], ["redis-3"]) == {}
    never = master(6379, (1, 2, 3), replication={"priority": 0})
    assert targets(read_groups({"shop": never}, HOSTS), ["redis-1"], ["redis-3"]) == {}
    apart = master(6379, (1, 2, 3), replication={"link_up": False})
    assert targets(read_groups({"shop": apart}, HOSTS), ["redis-1"], ["redis-3"]) == {}


def test_masters_that_leave_together_are_spread_over_the_hosts_that_are_done() -> None:
    masters = {f"m{number}": master(6400 + number, (1, 2, 3)) for number in range(4)}
    chosen = targets(read_groups(masters, HOSTS), ["redis-1"], ["redis-2", "redis-3"])
    assert sorted(address.split(":")[0] for address in chosen.values()) == ["192.0.2.2"] * 2 + ["192.0.2.3"] * 2


STOPPED: dict[str, tuple[dict[str, Any], str, str]] = {
    "nobody can be asked": ({"look": {"msg": "no Sentinel answers"}}, "look", "no Sentinel answers"),
    "quorum about to be lost": (
        {"look": {"masters": {"shop": master(6379, (1, 2, 3), (1, 2, 3), 3)}}},
        "look",
        "2 of 3 Sentinels of shop would be left",
    ),
    "own tasks before": ({"hurt": {"redis-3": {"before": "no silence"}}}, "before", "redis-3: no silence"),
    "a master that stays": (
        {"drain": {"failed": True, "masters": [{"name": "shop", "outcome": "refused", "msg": "lagging"}]}},
        "drain",
        "shop: refused: lagging",
    ),
    "a drain without a result": ({"drain": {"failed": True, "msg": "killed"}}, "drain", "killed"),
    "the maintenance": ({"hurt": {"redis-3": {"maintenance": "no space"}}}, "maintenance", "redis-3: no space"),
    "it does not come back": (
        {"wait": {"failed": True, "msg": "Left: shop: 192.0.2.3:6379 does not answer"}},
        "wait",
        "192.0.2.3:6379 does not answer",
    ),
    "the check afterwards": (
        {
            "health": {
                "results": [{"item": "shop", "checks": [{"name": "replica", "status": "critical", "detail": "gone"}]}]
            }
        },
        "postcheck",
        "shop: replica: gone",
    ),
    "own tasks after": ({"hurt": {"redis-3": {"after": "no ticket"}}}, "after", "redis-3: no ticket"),
}


@pytest.mark.parametrize("case", STOPPED)
def test_where_it_stops_is_said_with_host_and_reason_and_what_is_left(case: str) -> None:
    more, stage, reason = STOPPED[case]
    found = course(at(["redis-3"], ["redis-4"], **more))
    assert found["stop"]["stage"] == stage
    assert reason in found["stop"]["msg"]
    said = found["end"]["msg"]
    assert said.startswith("Stopped at redis-3, ")
    assert reason in said
    assert "Done: redis-4. Left: redis-1, redis-2, redis-3, redis-5." in said
    assert found["end"]["state"]["done"] == ["redis-4"], "a host that failed is not done"


def test_a_host_that_went_well_is_done_and_the_last_one_ends_it() -> None:
    drained = {"masters": [{"name": "shop", "outcome": "switched"}, {"name": "cart", "outcome": "unchanged"}]}
    found = course(at(["redis-3"], ["redis-4"], drain=drained))
    assert found["stop"] == {"stage": "", "msg": ""}
    assert found["end"]["state"]["done"] == ["redis-4", "redis-3"]
    assert found["end"]["state"]["ended_at"] == ""
    last = course(at(["redis-1"], ["redis-2", "redis-3", "redis-4", "redis-5"], drain=drained))
    assert last["end"]["state"]["ended_at"] == NOW


def test_a_check_afterwards_that_nobody_wanted_stops_nothing() -> None:
    left_out = {"skipped": True, "results": [{"item": "shop", "skipped": True, "changed": False}]}
    assert course(at(["redis-3"], ["redis-4"], health=left_out))["stop"] == {"stage": "", "msg": ""}


def test_the_maintenance_is_one_of_the_roles_own_or_a_file() -> None:
    assert maintenance_file("reboot") == "maintenance_reboot.yml"
    assert rolling_file("reboot") == "maintenance_reboot.yml"
    assert rolling_file("patch.yml") == str(Path.cwd() / "patch.yml"), "found from where Ansible was started"
    refused = plan({**asked(MIXED), "missing": ["/etc/patch.yml"]})
    assert refused["refusal"] == "There is no file /etc/patch.yml. Nothing was done."
    assert maintenance_file("/etc/patch.yml") == "/etc/patch.yml"


# ---- giving back ---------------------------------------------------------------------------------------------------


def test_what_is_elsewhere_goes_back_and_the_rest_stays() -> None:
    told = json.loads(state([]))
    told["masters"] = {"shop": "192.0.2.2:6379", "cart": "192.0.2.1:6380"}
    found = way_back({"targets": {}, "state": json.dumps(told), "masters": MIXED})
    assert found["refusal"] == ""
    assert found["drains"] == [{"host": "192.0.2.1", "targets": {"shop": "192.0.2.2:6379"}}]
    assert found["lines"] == ["shop: 192.0.2.1:6379 to 192.0.2.2:6379"]


def test_a_host_that_one_master_leaves_may_be_the_place_of_another() -> None:
    found = way_back({"targets": {"shop": "192.0.2.2:6379", "cart": "192.0.2.1:6380"}, "masters": CROSSED})
    assert found["drains"] == [
        {"host": "192.0.2.1", "targets": {"shop": "192.0.2.2:6379"}},
        {"host": "192.0.2.2", "targets": {"cart": "192.0.2.1:6380"}},
    ]


def test_nothing_is_moved_where_every_master_is_in_its_place() -> None:
    found = way_back({"targets": {"shop": "192.0.2.1:6379"}, "masters": MIXED})
    assert (found["refusal"], found["drains"]) == ("", [])
    assert found["lines"] == ["every master is where it is to be"]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, "Say in move_back_targets"),
        ({"blog": "192.0.2.1:6379"}, "No Sentinel knows a master blog"),
        ({"shop": "192.0.2.5:6379"}, "shop has no node 192.0.2.5:6379"),
    ],
)
def test_a_place_that_nobody_knows_is_refused(wanted: dict[str, str], reason: str) -> None:
    found = way_back({"targets": wanted, "masters": MIXED})
    assert reason in found["refusal"]
    assert found["drains"] == []
