# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked beyond a snapshot: is anything held, may Sentinel do its work, could a replica log in, are writes coming."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Access, Fleet, Tls
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import AuthError, LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._logins import possible_links, try_logins
from ansible_collections.redis_ha.sentinel.plugins.module_utils._probes import (
    FAILOVER_ABORT,
    SECOND_LOOK_LIMIT_S,
    SECOND_LOOK_POLL_S,
    SECOND_LOOK_S,
    SENTINEL_COMMANDS,
    gather_evidence,
    save_role,
    save_sentinel_configs,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock
from unit.builders import L0, L1, L2, OM, S2, R, S, master_node, replica_node, snapshot
from unit.scripted import Answer, ScriptedFleet
from unit.situations import nodes, unreachable, views

SENTINEL_ROW = "id=4 addr=10.0.0.1:1 name=sentinel-a0a0a0a0-cmd age=9 flags=N cmd=publish user=watcher"
NOT_PERMITTED = ReplyError("it", "NOPERM", "this user has no permissions")
RATE_BYTES_S = 4000


class Hand(Clock):
    """Time that passes by nothing but sleep."""

    def __init__(self) -> None:
        self.at_s = 50.0

    def now_s(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds


@dataclass
class NodeScript:
    """Answers as a data node, whose offset moves with the clock."""

    clock: Hand
    is_master: bool = False
    lag_s: float = 0.0
    link: str = "up"
    clients: Any = f"{SENTINEL_ROW}\n"
    held: Any = 0
    """What PFCOUNT is answered: a number, an error, or silence if it is held."""
    forbidden: frozenset[str] = frozenset()
    """First words of the commands that Sentinel's user may not send."""
    dry_run: Any = None
    """What ACL DRYRUN is answered whatever it asks."""
    settings: dict[str, str] = field(default_factory=dict)
    rewrite: Any = "OK"
    began_s: float = 50.0

    def __call__(self, command: Sequence[object]) -> Any:
        words = [str(word) for word in command]
        answers: dict[str, Callable[[list[str]], Any]] = {
            "PING": lambda _words: "PONG",
            "CLIENT LIST": lambda _words: self.clients,
            "INFO replication": lambda _words: self._replication(),
            "PFCOUNT": lambda _words: self._count(),
            "ACL DRYRUN": self._dry_run,
            "CONFIG GET": lambda words: [words[2], self.settings[words[2]]] if words[2] in self.settings else [],
            "CONFIG REWRITE": lambda _words: self.rewrite,
        }
        for start, answer in answers.items():
            if words[: len(start.split())] == start.split():
                return answer(words)
        raise AssertionError(f"nobody asks {words}")

    def _replication(self) -> str:
        offset = 1000 + round(RATE_BYTES_S * max(0.0, self.clock.at_s - self.lag_s - self.began_s))
        if self.is_master:
            return f"role:master\r\nmaster_repl_offset:{offset}"
        return (
            f"role:slave\r\nmaster_host:{OM.host}\r\nmaster_port:{OM.port}\r\nmaster_link_status:{self.link}\r\n"
            f"master_repl_offset:{offset}\r\nslave_repl_offset:{offset}"
        )

    def _count(self) -> Any:
        if isinstance(self.held, Exception) and not isinstance(self.held, ReplyError):
            raise self.held
        return self.held

    def _dry_run(self, words: list[str]) -> Any:
        if self.dry_run is not None:
            return self.dry_run
        return f"User {words[2]} has no permissions to run it" if words[3] in self.forbidden else "OK"


HELD = LinkError("it", "it does not answer in time", sent=True)


class ProbedFleet(ScriptedFleet):
    """A healthy deployment: a master that is written to, two replicas, and whoever logs in to them."""

    def __init__(self) -> None:
        self.clock = Hand()
        self.nodes = {
            OM: NodeScript(self.clock, is_master=True),
            R: NodeScript(self.clock),
            S: NodeScript(self.clock),
        }
        servers: dict[Address, Answer | None] = {**self.nodes}
        servers.update(dict.fromkeys((L0, L1, L2), self._flush))
        super().__init__([L0], servers)
        self.logged_in: list[Access] = []
        self.login: Callable[[Address, Access], Any] = lambda _leader, _access: "PONG"

    def _flush(self, command: Sequence[object]) -> Any:
        assert command == ("SENTINEL", "FLUSHCONFIG")
        return "OK"

    def with_node_access(self, access: Access) -> Fleet:
        self.logged_in.append(access)
        leaders: dict[Address, Answer | None] = {}
        for leader in self.nodes:
            leaders[leader] = partial(self._at_login, leader, access)
        return ScriptedFleet([], leaders)

    def _at_login(self, leader: Address, access: Access, _command: Sequence[object]) -> Any:
        return self.login(leader, access)


@pytest.fixture
def fleet() -> Iterator[ProbedFleet]:
    fleet = ProbedFleet()
    yield fleet
    fleet.close()


def seen_with(*changed: NodeView, version: tuple[int, int, int] = (7, 0, 15)) -> Snapshot:
    return snapshot(views(version=version), nodes(*changed))


def evidence(fleet: ProbedFleet, seen: Snapshot | None = None, moving_soon: bool = True, **more: Any) -> Any:
    return gather_evidence(fleet, seen or snapshot(), fleet.clock, moving_soon, **more)


# ---- a healthy deployment --------------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_healthy_deployment(fleet: ProbedFleet) -> None:
    found = evidence(fleet)
    assert found.held == {OM: "", R: "", S: ""}
    assert found.logins == {(OM, R): "", (OM, S): "", (R, S): "", (S, R): ""}
    assert found.sentinel_refused == {node: {"watcher": ()} for node in (OM, R, S)}
    assert found.write_rate_bytes_s == pytest.approx(RATE_BYTES_S, rel=0.01)


def test_after_a_move_logins_and_permissions_are_not_asked_for(fleet: ProbedFleet) -> None:
    found = evidence(fleet, moving_soon=False)
    assert (found.logins, found.sentinel_refused) == ({}, {})
    assert not [command for node in (OM, R, S) for command in fleet.sent(node) if command[0] == "ACL"]
    assert fleet.logged_in == []


def test_a_node_that_cannot_be_reached_is_not_asked(fleet: ProbedFleet) -> None:
    fleet.servers[S] = None
    found = evidence(fleet, seen_with(unreachable(S)))
    assert found.held.keys() == found.sentinel_refused.keys() == {OM, R}
    assert found.logins == {(OM, R): ""}
    assert fleet.asked(S) == 0


def test_a_node_of_another_deployment_is_asked_nothing(fleet: ProbedFleet) -> None:
    apart = {"replid": "c" * 40, "master": Address("10.0.9.9", 6379)}
    found = evidence(fleet, seen_with(replica_node(S, link=apart)))
    assert found.held.keys() == {OM, R}
    assert fleet.asked(S) == 0


def test_what_falls_silent_meanwhile_is_not_known(fleet: ProbedFleet) -> None:
    fleet.servers[S] = None
    found = evidence(fleet)
    assert (found.held[S], found.sentinel_refused[S]) == (None, None)
    assert (found.logins[S, R], found.logins[R, S]) == (None, "")
    assert S not in found.later


# ---- is anything held ------------------------------------------------------------------------------------------------


def test_a_count_that_is_held_twice_while_ping_is_answered_is_a_pause(fleet: ProbedFleet) -> None:
    fleet.nodes[OM].held = HELD
    found = evidence(fleet)
    assert "PFCOUNT is not answered within 0.5 s, twice" in found.held[OM]
    assert [command[0] for command in fleet.sent(OM)].count("PFCOUNT") == 2
    assert (found.held[R], found.held[S]) == ("", "")


def test_a_count_that_is_held_once_is_chance(fleet: ProbedFleet) -> None:
    answers = iter([HELD, 0])

    def answer(command: Sequence[object]) -> Any:
        fleet.nodes[OM].held = next(answers) if command[0] == "PFCOUNT" else fleet.nodes[OM].held
        return fleet.nodes[OM](command)

    fleet.servers[OM] = answer
    assert evidence(fleet).held[OM] == ""


def test_a_connection_that_is_lost_before_anything_was_sent_is_no_pause(fleet: ProbedFleet) -> None:
    fleet.nodes[OM].held = LinkError(str(OM), "Connection refused", sent=False)
    assert evidence(fleet).held[OM] is None


@pytest.mark.parametrize(
    ("info", "held"),
    [
        ({"paused_actions": "none"}, ""),
        (
            {"paused_actions": "write", "paused_timeout_milliseconds": "4000"},
            "INFO says paused_actions write for 4000 ms more",
        ),
        ({"paused_actions": "all"}, "INFO says paused_actions all for ? ms more"),
    ],
    ids=["nothing", "writes", "all"],
)
def test_a_server_that_tells_of_its_pause_is_not_tried(fleet: ProbedFleet, info: dict[str, str], held: str) -> None:
    assert evidence(fleet, seen_with(master_node(info={"loading": "0", **info}))).held[OM] == held
    assert "PFCOUNT" not in [command[0] for command in fleet.sent(OM)]


def test_before_6_2_an_answer_shows_that_nothing_is_held(fleet: ProbedFleet) -> None:
    old = master_node(version=(6, 0, 16), compatible_version=(6, 0, 16))
    assert evidence(fleet, seen_with(old)).held[OM] == ""
    assert "PFCOUNT" not in [command[0] for command in fleet.sent(OM)]


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ("id=4 name=sentinel-a0a0a0a0-cmd flags=b cmd=publish", "PUBLISH of sentinel-a0a0a0a0-cmd waits"),
        ("id=5 name= flags=bM cmd=set", "SET of its link to the master waits"),
        ("id=6 name=worker flags=b cmd=blpop", ""),
        ("id=7 name=sentinel-a0a0a0a0-cmd flags=N cmd=publish", ""),
    ],
    ids=["hello of a Sentinel", "what the master sends", "a client that waits for a list", "a Sentinel at work"],
)
def test_the_list_of_clients_shows_what_a_pause_holds(fleet: ProbedFleet, row: str, held: str) -> None:
    fleet.nodes[R].clients = f"{row}\n"
    assert evidence(fleet).held[R] == held


@pytest.mark.parametrize(
    ("clients", "held"),
    [(f"{SENTINEL_ROW}\n", ""), ("id=9 name=worker flags=N cmd=get\n", None), (NOT_PERMITTED, None)],
    ids=["a Sentinel is connected", "nobody watches", "the list is not permitted"],
)
def test_where_the_count_is_not_permitted_a_sentinel_at_work_is_proof_enough(
    fleet: ProbedFleet, clients: Any, held: str | None
) -> None:
    fleet.nodes[OM].clients = clients
    fleet.nodes[OM].held = NOT_PERMITTED
    assert evidence(fleet).held[OM] == held


# ---- may Sentinel do its work ----------------------------------------------------------------------------------------


def test_the_commands_that_the_users_of_sentinels_may_not_send_are_named(fleet: ProbedFleet) -> None:
    fleet.nodes[R].clients = f"{SENTINEL_ROW}\n{SENTINEL_ROW.replace('user=watcher', 'user=default')}\n"
    fleet.nodes[R].forbidden = frozenset({"SLAVEOF", "CONFIG"})
    found = evidence(fleet).sentinel_refused[R]
    assert found == {"default": ("SLAVEOF", "CONFIG REWRITE"), "watcher": ("SLAVEOF", "CONFIG REWRITE")}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (NOT_PERMITTED, None),
        (ReplyError("it", "ERR", "unknown command 'ACL'"), None),
        (ReplyError("it", "ERR", "Command 'SLAVEOF' not found"), {"watcher": ()}),
    ],
    ids=["not to us", "before 7.0", "renamed"],
)
def test_what_the_server_does_not_tell_is_not_known(fleet: ProbedFleet, answer: Any, found: Any) -> None:
    fleet.nodes[R].dry_run = answer
    assert evidence(fleet).sentinel_refused[R] == found


@pytest.mark.parametrize(
    ("version", "asked"), [((9, 0, 0), True), ((9, 0, 1), False), ((7, 0, 15), False)], ids=["9.0.0", "9.0.1", "7.0"]
)
def test_failover_abort_is_asked_for_where_sentinel_sends_it(
    fleet: ProbedFleet, version: tuple[int, int, int], asked: bool
) -> None:
    fleet.nodes[R].forbidden = frozenset({"FAILOVER"})
    refused = evidence(fleet, seen_with(version=version)).sentinel_refused[R]
    assert refused == {"watcher": tuple(FAILOVER_ABORT) if asked else ()}
    dry = [command for command in fleet.sent(R) if command[:3] == ("ACL", "DRYRUN", "watcher")]
    assert len(dry) == len(SENTINEL_COMMANDS) + asked


# ---- could a replica log in ------------------------------------------------------------------------------------------


def test_each_node_is_tried_with_its_own_login_once_for_all_that_have_the_same(fleet: ProbedFleet) -> None:
    for node in (OM, R):
        fleet.nodes[node].settings = {"masteruser": "repl", "masterauth": "hidden"}
    fleet.nodes[S].settings = {"masteruser": "left over", "masterauth": ""}
    evidence(fleet)
    assert fleet.logged_in == [Access("repl", "hidden"), Access(None, None)], "a user name counts with a password only"


def test_a_login_that_fails_is_told_of_who_has_it_and_where(fleet: ProbedFleet) -> None:
    fleet.nodes[OM].settings = {"masterauth": "wrong"}

    def login(leader: Address, access: Access) -> Any:
        if access.password != "wrong":
            return "PONG"
        if leader == S:
            raise LinkError(str(S), "no connection in time")
        raise AuthError(str(leader), "it refuses the login: WRONGPASS")

    fleet.login = login
    found = evidence(fleet).logins
    assert found == {(OM, R): "it refuses the login: WRONGPASS", (OM, S): None, (R, S): "", (S, R): ""}


def test_a_login_that_may_not_replicate_is_named_with_its_user(fleet: ProbedFleet) -> None:
    fleet.nodes[OM].settings = {"masteruser": "repl", "masterauth": "hidden"}
    fleet.nodes[R].forbidden = frozenset({"PSYNC"})
    found = evidence(fleet).logins
    assert found[OM, R] == "user repl may not send PSYNC there"
    assert found[S, R] == "user default may not send PSYNC there"
    assert found[OM, S] == ""


def test_an_error_after_the_login_is_no_failed_login(fleet: ProbedFleet) -> None:
    fleet.login = lambda _leader, _access: NOT_PERMITTED
    fleet.servers[R] = None
    found = try_logins(fleet, [OM], [R, S])
    assert found == {(OM, R): "", (OM, S): ""}, "what it may send there cannot be asked of R, and that is no failure"


def test_settings_that_may_not_be_read_tell_nothing(fleet: ProbedFleet) -> None:
    node = fleet.nodes[OM]
    fleet.servers[OM] = lambda command: NOT_PERMITTED if command[:2] == ("CONFIG", "GET") else node(command)
    found = evidence(fleet).logins
    assert (found[OM, R], found[OM, S], found[R, S]) == (None, None, "")


def test_replicas_log_in_by_tls_as_we_do(fleet: ProbedFleet) -> None:
    tls = Tls(ca_certs="/ca.pem")
    fleet.options = replace(fleet.options, node_access=Access("ops", "ours", tls))
    try_logins(fleet, [OM], [R])
    assert fleet.logged_in == [Access(None, None, tls)], "our own user has nothing to do with it"


def test_who_may_become_the_master_is_whom_sentinel_may_choose_and_whom_the_move_promotes() -> None:
    seen = snapshot(nodes=nodes(replica_node(R, link={"priority": 0}), replica_node(S2)))
    assert possible_links(seen, None) == ([OM, R, S, S2], [S, S2])
    assert possible_links(seen, S)[1] == [S, S2]
    assert possible_links(seen, R)[1] == [S, S2, R]


# ---- are writes coming -----------------------------------------------------------------------------------------------


def test_the_second_look_waits_for_a_replica_that_comes_late(fleet: ProbedFleet) -> None:
    fleet.nodes[R].lag_s = 1.0
    fleet.clock.at_s += 2.0
    found = evidence(fleet)
    assert found.later[R].applied_offset >= found.later[OM].offset - RATE_BYTES_S * 1.01
    assert fleet.clock.at_s - 52.0 == pytest.approx(1.0, abs=2 * SECOND_LOOK_POLL_S)
    assert found.write_rate_bytes_s == pytest.approx(RATE_BYTES_S, rel=0.01)


def test_the_second_look_does_not_wait_for_ever_nor_for_a_link_that_is_down(fleet: ProbedFleet) -> None:
    fleet.nodes[R].lag_s = 1e6
    began_s = fleet.clock.at_s = 52.0
    evidence(fleet)
    assert fleet.clock.at_s - began_s == pytest.approx(SECOND_LOOK_LIMIT_S, abs=2 * SECOND_LOOK_POLL_S)
    began_s = fleet.clock.at_s
    fleet.nodes[R].link = "down"
    evidence(fleet)
    assert fleet.clock.at_s - began_s == pytest.approx(SECOND_LOOK_S, abs=2 * SECOND_LOOK_POLL_S)


def test_a_master_that_goes_back_has_no_negative_rate(fleet: ProbedFleet) -> None:
    looks = iter([5000, 100, 100, 100, 100, 100, 100, 100])
    node = fleet.nodes[OM]

    def answer(command: Sequence[object]) -> Any:
        return f"role:master\r\nmaster_repl_offset:{next(looks)}" if command[0] == "INFO" else node(command)

    fleet.servers[OM] = answer
    fleet.nodes[R].lag_s = fleet.nodes[S].lag_s = 1e6
    fleet.nodes[R].link = fleet.nodes[S].link = "down"
    assert evidence(fleet).write_rate_bytes_s == 0


@pytest.mark.parametrize("master", [unreachable(OM), replica_node(OM)], ids=["cannot be asked", "is none"])
def test_without_a_master_there_is_no_second_look(fleet: ProbedFleet, master: NodeView) -> None:
    found = evidence(fleet, seen_with(master), moving_soon=False)
    assert (found.later, found.write_rate_bytes_s) == ({}, None)
    assert fleet.clock.at_s == 50.0


def test_where_the_master_falls_silent_the_rate_is_not_known(fleet: ProbedFleet) -> None:
    fleet.servers[OM] = None
    found = evidence(fleet, moving_soon=False)
    assert found.later.keys() == {R, S}
    assert found.write_rate_bytes_s is None


# ---- configuration files ---------------------------------------------------------------------------------------------


def test_each_sentinel_saves_its_file_and_says_why_not(fleet: ProbedFleet) -> None:
    fleet.servers[L1] = lambda _command: ReplyError(str(L1), "ERR", "Failed to save config file: Permission denied")
    fleet.servers[L2] = None
    assert save_sentinel_configs(fleet, snapshot()) == {
        L0: "",
        L1: "ERR Failed to save config file: Permission denied",
        L2: "Connection refused",
    }


def test_each_node_saves_its_file_and_says_why_not(fleet: ProbedFleet) -> None:
    fleet.nodes[R].rewrite = ReplyError(str(R), "ERR", "The server is running without a config file")
    assert save_role(fleet, [OM, R]) == {OM: "", R: "ERR The server is running without a config file"}
    assert fleet.asked(S) == 0
