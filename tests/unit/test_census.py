# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many masters asked at once: who is asked, how often, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._census import (
    MASTERS_AT_ONCE,
    ask_sentinels,
    take_snapshots,
    watched_masters,
    with_settings,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Host
from unit.scripted import Answer, ScriptedFleet

S1, S2, S3 = (Address(f"10.0.1.{number}", 26379) for number in (1, 2, 3))
UNKNOWN = "No such master with that name"


def node_of(name: str, number: int = 0) -> Address:
    """The master (0) or a replica of a master, each on a port of its own."""
    return Address("10.0.0.1", 7000 + 10 * int(name.removeprefix("cache-")) + number)


class SentinelScript:
    """Answers as a Sentinel that watches these masters, each with one replica."""

    def __init__(self, address: Address, names: Sequence[str], peers: dict[str, list[Address]], **changes: Any) -> None:
        self.address = address
        self.names = names
        self.peers = peers
        self.changes = changes

    def __call__(self, command: Sequence[object]) -> Any:
        if command == ("INFO",):
            return self.changes.get(
                "info", f"run_id:process-{self.address}\r\nredis_version:7.0.15\r\nsentinel_masters:9"
            )
        if command == ("SENTINEL", "MYID"):
            return self.changes.get("my_id", f"id-{self.address}")
        return self._about(str(command[1]), str(command[2]))

    def _about(self, question: str, name: str) -> Any:
        if name not in self.names:
            return ReplyError(str(self.address), "ERR", UNKNOWN)
        master, replica = node_of(name), node_of(name, 1)
        rows = {
            "MASTER": ["name", name, "ip", master.host, "port", str(master.port), "flags", "master", "quorum", "2"],
            "GET-MASTER-ADDR-BY-NAME": [master.host, str(master.port)],
            "REPLICAS": [["ip", replica.host, "port", str(replica.port), "flags", "slave"]],
            "SENTINELS": [
                ["ip", peer.host, "port", str(peer.port), "runid", f"id-{peer}", "flags", "sentinel"]
                for peer in self.peers.get(name, [])
            ],
            "CKQUORUM": "OK 3 usable Sentinels.",
        }
        return self.changes.get(question, rows[question])


def answer_as_node(follower: Address | None, command: Sequence[object]) -> Any:
    """Answers as a master that one replica follows, or none."""
    if command == ("ROLE",):
        return ["master", 7, []]
    if command[:2] == ("CLIENT", "LIST"):
        return ""
    if command != ("INFO",):
        return []
    attached = f"\r\nslave0:ip={follower.host},port={follower.port},state=online,offset=7,lag=0" if follower else ""
    return f"redis_version:7.0.15\r\nrun_id:\r\nrole:master\r\nmaster_repl_offset:7{attached}"


class CensusFleet(ScriptedFleet):
    """Sentinels that are given; any other address is a healthy node."""

    def __init__(self, given: Sequence[Address], sentinels: dict[Address, Answer | None], **options: Any) -> None:
        self.dead: set[Address] = options.pop("dead", set())
        self.attached: dict[Address, Address] = options.pop("attached", {})
        super().__init__(given, sentinels, **options)

    def answer(self, address: Address) -> Answer | None:
        if address in self.servers or address in self.dead:
            return self.servers.get(address)
        return partial(answer_as_node, self.attached.get(address))


def names(number: int) -> list[str]:
    return [f"cache-{index}" for index in range(number)]


def three(watched: Sequence[str], **changes: Any) -> dict[Address, Answer | None]:
    """Three Sentinels that know each other and watch the same masters."""
    return {
        own: SentinelScript(
            own, watched, {name: [peer for peer in (S1, S2, S3) if peer != own] for name in watched}, **changes
        )
        for own in (S1, S2, S3)
    }


def test_sentinels_are_asked_once_for_fifty_masters_and_nodes_once_for_all() -> None:
    watched = names(2 * MASTERS_AT_ONCE + 1)
    fleet = CensusFleet([S1, S2, S3], three(watched))
    found = take_snapshots(fleet, watched, settings=False)
    assert found.keys() == set(watched)
    assert {sentinel: fleet.asked(sentinel) for sentinel in (S1, S2, S3)} == dict.fromkeys((S1, S2, S3), 1 + 3)
    for name in watched:
        assert [view.address for view in found[name].sentinels] == [S1, S2, S3]
        assert [node.address for node in found[name].nodes] == [node_of(name), node_of(name, 1)]
        assert found[name].master_address == node_of(name)
        assert [fleet.asked(node.address) for node in found[name].nodes] == [1, 1]


class ProbedSentinel(SentinelScript):
    """One that also says which masters it watches, and what it permits."""

    def __call__(self, command: Sequence[object]) -> Any:
        if command == ("SENTINEL", "MASTERS"):
            return [self._about("MASTER", name) for name in self.names]
        if command[:2] == ("SENTINEL", "FAILOVER"):
            known = command[-1] != "COORDINATED"
            return ReplyError(str(self.address), "ERR", UNKNOWN if known else "wrong number of arguments")
        if command[0] == "PUBLISH":
            return ReplyError(str(self.address), "NOPERM", "no permission")
        return super().__call__(command)


def test_what_a_sentinel_permits_is_asked_once_and_stands_in_the_snapshot_of_each_master() -> None:
    sentinel = ProbedSentinel(S1, names(3), {})
    fleet = CensusFleet([S1], {S1: sentinel})
    found = take_snapshots(fleet, names(3), settings=False, probe=True, hosts=["10.0.0.1"])
    assert fleet.asked(S1) == 2
    for name in names(3):
        (view,) = found[name].sentinels
        assert (view.failover_refused, view.hello_refused, view.coordinated) == ("", "NOPERM no permission", False)
        # Of all that it watches, those of its own servers; of the others only where they are.
        assert [entry.name for entry in view.masters] == [name]
        assert found[name].master_hosts == {each: Host(node_of(each).host, node_of(each).host) for each in names(3)}
        assert found[name].on_host(node_of(name), ["10.0.0.1"])


def test_connections_to_nodes_do_not_stay_open() -> None:
    fleet = CensusFleet([S1], three(names(2)))
    take_snapshots(fleet, names(2), settings=False)
    assert sorted(fleet.closed) == sorted(node_of(name, number) for name in names(2) for number in (0, 1))


def test_one_sentinel_is_enough_and_each_is_asked_about_the_masters_that_it_is_known_for() -> None:
    own = names(2)
    sentinels: dict[Address, Answer | None] = {
        S1: SentinelScript(S1, own, {own[0]: [S2], own[1]: [S3]}),
        S2: SentinelScript(S2, own[:1], {own[0]: [S1]}),
        S3: SentinelScript(S3, own[1:], {own[1]: [S1]}),
    }
    fleet = CensusFleet([S1], sentinels)
    found = ask_sentinels(fleet, own)
    assert {name: [view.address for view in views] for name, views in found.items()} == {
        own[0]: [S1, S2],
        own[1]: [S1, S3],
    }
    about = {
        server: {command[2] for command in commands if len(command) > 2}
        for server, commands in fleet.exchanges
        if server != S1
    }
    assert about == {S2: {own[0]}, S3: {own[1]}}


def test_a_sentinel_with_two_addresses_is_one() -> None:
    inner = Address("127.0.0.1", 26379)
    sentinels = three(names(1))
    fleet = CensusFleet([inner, S1], {**sentinels, inner: sentinels[S1]})
    assert [view.address for view in ask_sentinels(fleet, names(1))["cache-0"]] == [inner, S2, S3]


def test_two_names_of_one_address_are_asked_once() -> None:
    other = Address("sentinel-1", 26379)
    fleet = CensusFleet([S1, other], three(names(1)), address_map={"sentinel-1": S1.host})
    assert [view.address for view in ask_sentinels(fleet, names(1))["cache-0"]] == [S1, S2, S3]


@pytest.mark.parametrize(
    ("answer", "code", "error"),
    [
        (None, "unreachable", "Connection refused"),
        (SentinelScript(S2, [], {}, info="redis_version:7.0.15"), "unreachable", "this is a data node, not a Sentinel"),
        (SentinelScript(S2, [], {}, info=ReplyError(str(S2), "NOPERM", "no")), "not_permitted", "NOPERM no"),
        (SentinelScript(S2, names(3), {}, REPLICAS=ReplyError(str(S2), "NOPERM", "no")), "not_permitted", "NOPERM no"),
        (SentinelScript(S2, names(3), {}, REPLICAS=ReplyError(str(S2), "ERR", "no")), "error_reply", "ERR no"),
    ],
    ids=["dead", "data node", "INFO not permitted", "REPLICAS not permitted", "REPLICAS refused"],
)
def test_a_sentinel_that_cannot_be_asked_is_listed_with_the_reason_for_each_master(
    answer: Answer | None, code: str, error: str
) -> None:
    found = ask_sentinels(CensusFleet([S1], {**three(names(3)), S2: answer}), names(3))
    for name in names(3):
        views = {view.address: view for view in found[name]}
        assert (views[S2].error_code, views[S2].error) == (code, error)
        assert (views[S1].reachable, views[S3].reachable) == (True, True)


def test_a_master_that_a_sentinel_does_not_know_is_no_error() -> None:
    fleet = CensusFleet([S1], {S1: SentinelScript(S1, ["cache-0"], {})})
    (view,) = ask_sentinels(fleet, ["cache-1"])["cache-1"]
    assert (view.reachable, view.master, view.current, view.quorum_ok) == (True, None, None, False)
    assert UNKNOWN in view.quorum_detail


def test_a_lost_quorum_is_what_the_sentinel_says_of_the_master() -> None:
    lost = ReplyError(str(S1), "NOQUORUM", "1 usable Sentinels.")
    (view,) = ask_sentinels(CensusFleet([S1], {S1: SentinelScript(S1, ["cache-0"], {}, CKQUORUM=lost)}), ["cache-0"])[
        "cache-0"
    ]
    assert (view.reachable, view.current) == (True, node_of("cache-0"))
    assert (view.quorum_ok, view.quorum_detail) == (False, "1 usable Sentinels.")


def test_no_masters_no_questions() -> None:
    fleet = CensusFleet([S1], three([]))
    assert take_snapshots(fleet, []) == {}
    assert fleet.exchanges == []


def test_a_node_that_cannot_be_asked_is_listed_with_the_reason() -> None:
    fleet = CensusFleet([S1], three(names(1)), dead={node_of("cache-0", 1)})
    found = take_snapshots(fleet, names(1))["cache-0"]
    assert {node.address: (node.error, node.error_code) for node in found.nodes} == {
        node_of("cache-0"): ("", ""),
        node_of("cache-0", 1): ("Connection refused", "unreachable"),
    }


def test_settings_are_asked_of_those_that_answer_only() -> None:
    fleet = CensusFleet([S1], three(names(2)), dead={node_of("cache-0", 1)})
    found = take_snapshots(fleet, names(2))
    assert found["cache-1"].nodes[0].modules == ()
    assert {fleet.asked(node_of(name)) for name in names(2)} == {2}
    assert fleet.asked(node_of("cache-0", 1)) == 0


def test_a_replica_that_no_sentinel_shows_is_asked_too() -> None:
    hidden = Address("10.0.0.9", 7001)
    fleet = CensusFleet([S1], three(names(1)), attached={node_of("cache-0"): hidden})
    found = take_snapshots(fleet, names(1), settings=False)["cache-0"]
    assert hidden in {node.address for node in found.nodes}
    assert fleet.asked(hidden) == 1


# ---- which masters there are -----------------------------------------------------------------------------------------

NOT_PERMITTED = ReplyError(str(S1), "NOPERM", "no permission")


def watching(*masters: str) -> Answer:
    return ProbedSentinel(S1, masters, {})


def test_the_masters_of_all_given_sentinels_are_found_once_each() -> None:
    fleet = CensusFleet(
        [S1, S2, S3], {S1: watching("cache-2", "cache-0"), S2: watching("cache-0", "cache-1"), S3: None}
    )
    assert watched_masters(fleet) == ["cache-0", "cache-1", "cache-2"], "one that is down hides nothing"


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (None, "sentinel_unreachable", "Connection refused"),
        (lambda _command: NOT_PERMITTED, "sentinel_not_permitted", "NOPERM no permission"),
        (
            lambda _command: ReplyError(str(S1), "ERR", "unknown command 'SENTINEL'"),
            "sentinel_unreachable",
            "this is a data node, not a Sentinel",
        ),
        (lambda _command: ReplyError(str(S1), "ERR", "no"), "sentinel_unreachable", "ERR no"),
    ],
    ids=["dead", "not permitted", "data node", "refused"],
)
def test_where_no_sentinel_tells_its_masters_the_first_reason_is_given(
    answer: Answer | None, code: str, words: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        watched_masters(CensusFleet([S1, S2], {S1: answer, S2: None}))
    assert caught.value.code == code
    assert str(S1) in caught.value.sentence
    assert words in caught.value.sentence


def test_a_node_that_falls_silent_before_its_settings_are_asked_is_listed_with_the_reason() -> None:
    fleet = CensusFleet([S1], three(names(1)))
    seen = take_snapshots(fleet, names(1), settings=False)
    fleet.dead.add(node_of("cache-0", 1))
    found = with_settings(fleet, seen)["cache-0"]
    assert {node.address: node.error_code for node in found.nodes} == {
        node_of("cache-0"): "",
        node_of("cache-0", 1): "unreachable",
    }
