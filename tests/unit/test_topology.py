# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom a snapshot asks, and what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._commands import PROBED_COMMANDS
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._identity import foreign_nodes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import (
    ask_node,
    ask_settings,
    take_snapshot,
    with_hellos,
)
from unit.builders import L0, L1, L2, NAME, OM, S2, R, S, master_node, replica_node, sentinel_view, snapshot
from unit.fake_connection import FakeConnection, FakeFleet
from unit.scripted import Answer, Exchange, ScriptedClient, ScriptedFleet
from unit.world import Node, World

LOOPBACK = Address("127.0.0.1", 26379)


class FleetOnTheHostOfASentinel(FakeFleet):
    """L0 answers at the loopback address, too, which is the one that was given."""

    def __init__(self, world: World) -> None:
        super().__init__(world, [LOOPBACK])
        self._fakes["sentinel", LOOPBACK] = Client(LOOPBACK, lambda: FakeConnection(world, L0, 3.0), 3.0)


@pytest.mark.parametrize("tells_its_id", [True, False], ids=["6.2", "6.0"])
def test_a_sentinel_with_two_addresses_is_one(tells_its_id: bool) -> None:
    world = World()
    for sentinel in world.sentinels.values():
        sentinel.tells_its_id = tells_its_id
    snapshot = take_snapshot(FleetOnTheHostOfASentinel(world), NAME)
    assert [view.address for view in snapshot.sentinels] == [LOOPBACK, L1, L2]
    asked = {server for _at_s, server, _commands in world.exchanges if server in world.sentinels}
    assert asked == {L0, L1, L2}


class WorldWithAStranger(World):
    """S2 stands in the tables of the Sentinels, and follows somebody else."""

    def __init__(self) -> None:
        super().__init__(replicas=(R, S, S2))
        stranger = self.nodes[S2]
        stranger.master = stranger.shown_master = Address("10.0.9.9", 6379)
        stranger.data = [("another history", 7.0)]

    def _replicate(self, node: Node) -> None:
        if node.address != S2:
            super()._replicate(node)


def test_a_stranger_is_asked_what_it_is_and_nothing_more() -> None:
    world = WorldWithAStranger()
    seen = take_snapshot(FakeFleet(world), NAME, PROBED_COMMANDS)
    assert [node.address for node in foreign_nodes(seen)] == [S2]
    asked = [command for _at_s, server, commands in world.exchanges if server == S2 for command in commands]
    assert asked == [("INFO",), ("ROLE",)]
    ours = [command for _at_s, server, commands in world.exchanges if server == R for command in commands]
    assert ("MULTI",) in ours


# ---- what a node is asked --------------------------------------------------------------------------------------------

NOT_PERMITTED = ReplyError(str(R), "NOPERM", "user default has no permissions to run it")
HELP = ["CLIENT <subcommand>", "PAUSE <timeout> [WRITE|ALL]", "UNPAUSE"]


def node(**answers: Any) -> Answer:
    """Answers as a replica with nothing unusual, but for what is given: by the first words of a command, with _ between."""
    own: dict[str, Any] = {
        "INFO": "redis_version:7.0.15\r\nrun_id:7\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379",
        "ROLE": ["slave", OM.host, OM.port, "connected", 7],
        "CLIENT HELP": HELP,
        "MODULE LIST": [],
        "CLIENT LIST": "",
        "CONFIG GET": [],
    }
    own.update({words.replace("_", " "): answer for words, answer in answers.items()})

    def answer(command: Sequence[object]) -> Any:
        return next(said for words, said in own.items() if list(command[: len(words.split())]) == words.split())

    return answer


def asked(answer: Answer, view: NodeView | None = None) -> tuple[NodeView, list[Exchange]]:
    """What a node is found to be, and what it was asked."""
    exchanges: list[Exchange] = []
    client = ScriptedClient(R, answer, exchanges, [])
    return ask_settings(client, view or ask_node(client)), exchanges


@pytest.mark.parametrize("command", ["INFO", "ROLE"])
def test_a_node_that_does_not_say_what_it_is_cannot_be_asked(command: str) -> None:
    with pytest.raises(ReplyError) as caught:
        asked(node(**{command: NOT_PERMITTED}))
    assert caught.value is NOT_PERMITTED


def test_a_sentinel_where_a_node_should_be_is_told() -> None:
    with pytest.raises(LinkError, match="this is a Sentinel, not a data node") as caught:
        asked(node(INFO="redis_version:7.0.15\r\nsentinel_masters:1"))
    assert not caught.value.sent


def test_a_node_that_loads_its_data_is_asked_nothing_more() -> None:
    loading = replica_node(R, info={"loading": "1"})
    view, exchanges = asked(node(), loading)
    assert (view, exchanges) == (loading, [])


def test_what_a_node_has_loaded_is_known_by_name_in_both_forms_of_the_reply() -> None:
    view, _exchanges = asked(node(MODULE_LIST=[["name", "search", "ver", 2], ["path", "/x", "name", "bf"]]))
    assert view.modules == ("search", "bf")


def test_what_may_not_be_asked_is_not_known() -> None:
    view, _exchanges = asked(node(MODULE_LIST=NOT_PERMITTED, CLIENT_LIST=NOT_PERMITTED, CONFIG_GET=NOT_PERMITTED))
    assert (view.modules, view.watchers, view.config) == (None, None, {})
    assert (view.master_auth_set, view.password_set) == (None, None)


@pytest.mark.parametrize(
    ("version", "client_help", "trusted"),
    [
        ("6.0.16", ["PAUSE <timeout>"], False),
        ("6.2.5", HELP, False),
        ("6.2.6", HELP, True),
        ("6.2.6", NOT_PERMITTED, True),
        ("6.0.16", NOT_PERMITTED, False),
        ("12.0.0", HELP, True),
    ],
)
def test_a_pause_of_writes_is_trusted_where_it_is_known_and_ends(version: str, client_help: Any, trusted: bool) -> None:
    info = f"redis_version:{version}\r\nrun_id:7\r\nrole:master"
    view, _exchanges = asked(node(INFO=info, ROLE=["master", 7, []], CLIENT_HELP=client_help))
    assert view.write_pause is trusted


# ---- whom nobody explains --------------------------------------------------------------------------------------------

STRANGER, OTHER_STRANGER = "d3" * 20, "e4" * 20


class Heard(ScriptedFleet):
    """A deployment on whose nodes something is published."""

    def __init__(self, said: Mapping[Address, Sequence[str] | LinkError]) -> None:
        super().__init__([L0], {})
        self.said = said
        self.heard: list[str] = []

    def hear(self, address: Address, channel: str, seconds: float, is_enough: Callable[[str], bool]) -> None:
        said = self.said[address]
        if isinstance(said, LinkError):
            raise said
        for text in said:
            self.heard.append(text)
            if is_enough(text):
                return


def hello(run_id: str, master_name: str, host: str = "10.0.7.7") -> str:
    return f"{host},26379,{run_id},3,{master_name},{OM.host},{OM.port},3"


def with_strangers(*run_ids: str, second: str = "") -> Snapshot:
    watchers = {run_id[:8]: 1 for run_id in run_ids}
    known = [sentinel_view(sentinel, run_id=str(number) * 40, peers=()) for number, sentinel in enumerate((L0, L1, L2))]
    others = [replica_node(R, watchers={second[:8]: 1} if second else {}), replica_node(S)]
    return snapshot(known, [master_node(watchers=watchers), *others])


def test_where_all_are_known_nobody_is_listened_to() -> None:
    seen = with_strangers()
    assert with_hellos(Heard({}), seen) is seen


def test_a_stranger_is_listened_to_until_it_has_named_its_master() -> None:
    said = [
        "no hello",
        hello("0" * 40, NAME),
        hello(STRANGER, NAME),
        hello(STRANGER, "legacy"),
        hello(STRANGER, "late"),
    ]
    fleet = Heard({OM: said})
    seen = with_hellos(fleet, with_strangers(STRANGER))
    assert [(it.run_id, it.master_name) for it in seen.hellos[OM]] == [
        ("0" * 40, NAME),
        (STRANGER, "legacy"),
        (STRANGER, NAME),
    ]
    assert fleet.heard == said[:-1]
    assert seen.identities[Address("10.0.7.7", 26379)] == Address("10.0.7.7", 26379)


def test_each_of_two_strangers_is_waited_for() -> None:
    said = [hello(STRANGER, "legacy"), hello(OTHER_STRANGER, "cart")]
    fleet = Heard({OM: [*said, hello(STRANGER, "late")]})
    seen = with_hellos(fleet, with_strangers(STRANGER, OTHER_STRANGER))
    assert {it.master_name for it in seen.hellos[OM]} == {"legacy", "cart"}
    assert fleet.heard == said


def test_a_node_that_cannot_be_listened_to_tells_nothing_and_the_others_do() -> None:
    fleet = Heard({OM: LinkError(str(OM), "it cannot be listened to"), R: [hello(STRANGER, "legacy")]})
    seen = with_hellos(fleet, with_strangers(STRANGER, second=STRANGER))
    assert seen.hellos.keys() == {R}
