# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is noted of a failover that Sentinel makes: of whom, since when, and that nothing is noted twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._automatic import SILENT_S, LastAnswer, NodeState
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address, Event, parse_event
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._watcher import Watcher
from unit.builders import L0, L1, L2, NAME, OM, R, S, snapshot
from unit.scripted import Answer, ScriptedFleet
from unit.situations import dead, nodes, unreachable, views

BEGAN_S = 100.0
REAL_S = time.monotonic
AGAIN = 2
"""Of two more looks, the first has begun after whatever came before, and is noted: the second would not have begun else."""


def as_node(master: Address | None, offset: int = 700, link: str = "up", second_offset: int = -1) -> Answer:
    """Answers as a data node that follows a master, or is one."""
    lines = [f"role:{'slave' if master else 'master'}", f"master_repl_offset:{offset}"]
    lines += [f"second_repl_offset:{second_offset}"]
    if master:
        lines += [f"master_host:{master.host}", f"master_port:{master.port}", f"master_link_status:{link}"]
    return lambda _command: "\r\n".join(lines)


def as_sentinel(named: Address | None) -> Answer:
    """Answers as a Sentinel that names a master, or does not know it."""
    return lambda _command: [named.host, str(named.port)] if named else None


def stopped(_command: object) -> Any:
    """Takes a question and does not answer it, as a process that is stopped."""
    raise LinkError(str(OM), "it does not answer in time", sent=True)


class WatchedFleet(ScriptedFleet):
    """A healthy deployment, to be looked at."""

    def __init__(self) -> None:
        servers: dict[Address, Answer | None] = {OM: as_node(None), R: as_node(OM), S: as_node(OM)}
        servers.update({sentinel: as_sentinel(OM) for sentinel in (L0, L1, L2)})
        super().__init__([L0], servers)
        self.looks: dict[Address, int] = dict.fromkeys(servers, 0)
        self.without_events: set[Address] = set()
        self.listeners: dict[Address, Callable[[Address, float, Event], None]] = {}

    def answer(self, address: Address) -> Answer | None:
        self.looks[address] += 1
        return super().answer(address)

    def listen(self, address: Address, on_event: Callable[[Address, float, Event], None]) -> None:
        if address in self.without_events:
            raise LinkError(str(address), "it sends no events")
        self.listeners[address] = on_event

    def resolve(self, host: str) -> str:
        return {"redis-1": OM.host}.get(host, host)


class Watch:
    """A watch in a time of its own, which passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = BEGAN_S
        self.fleet = WatchedFleet()
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)

    def of(self, seen: Snapshot | None = None) -> Watcher:
        return Watcher(self.fleet, seen or snapshot(), OM)

    def look(self, *servers: Address) -> None:
        """Wait until each of them was looked at, and what it said was noted."""
        looks = self.fleet.looks
        wanted = {server: looks[server] + AGAIN for server in servers or looks}
        limit_s = REAL_S() + 20
        while any(looks[server] < number for server, number in wanted.items()):
            assert REAL_S() < limit_s, f"no more looks at {wanted}: {looks}"
            time.sleep(0.002)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watch = Watch(monkeypatch)
    yield watch
    watch.fleet.close()


def test_what_stays_as_it_is_is_noted_once(watch: Watch) -> None:
    with watch.of() as watcher:
        watch.look()
        watch.now_s += 0.5
        watch.look()
        seen = watcher.seen()
    assert seen.states == {
        OM: (NodeState(BEGAN_S, True, is_master=True),),
        R: (NodeState(BEGAN_S, True, follows=OM, link_up=True),),
        S: (NodeState(BEGAN_S, True, follows=OM, link_up=True),),
    }
    assert seen.named == dict.fromkeys((L0, L1, L2), ((BEGAN_S, OM),))
    assert seen.last_answers[OM] == LastAnswer(BEGAN_S + 0.5, 700)
    assert (seen.began_s, seen.old_master, seen.history_ended_at) == (BEGAN_S, OM, None)
    assert seen.waited_for == {R, S}
    assert seen.asked == {L0, L1, L2}


def test_servers_are_asked_nothing_but_who_is_master(watch: Watch) -> None:
    with watch.of():
        watch.look()
    assert {command for node in (OM, R, S) for command in watch.fleet.sent(node)} == {("INFO", "replication")}
    assert {command for sentinel in (L0, L1, L2) for command in watch.fleet.sent(sentinel)} == {
        ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
    }


def test_nobody_is_asked_any_more_when_the_watch_is_over(watch: Watch) -> None:
    # A thread of another test may end meanwhile.
    before = set(threading.enumerate())
    with watch.of():
        watch.look()
        asking = set(threading.enumerate()) - before
        assert len(asking) == len((OM, R, S, L0, L1, L2))
    assert not any(thread.is_alive() for thread in asking)


@pytest.mark.parametrize("silence", [stopped, None], ids=["process stopped", "connection refused"])
def test_a_silence_counts_from_the_last_answer_and_only_where_it_is_long(watch: Watch, silence: Answer | None) -> None:
    with watch.of() as watcher:
        watch.look()
        watch.now_s += 7.0
        watch.look()
        watch.fleet.servers[OM] = silence
        watch.now_s += SILENT_S - 0.01
        watch.look()
        assert watcher.seen().states[OM] == (NodeState(BEGAN_S, True, is_master=True),)
        watch.now_s += 0.02
        watch.look()
        seen = watcher.seen()
    assert seen.states[OM][1:] == (NodeState(BEGAN_S + 7.0, answers=False),)
    assert seen.last_answers[OM] == LastAnswer(BEGAN_S + 7.0, 700)


def test_a_server_that_never_answers_is_silent_since_the_watch_began(watch: Watch) -> None:
    watch.fleet.servers.update({S: None, L2: None})
    with watch.of() as watcher:
        watch.look()
        assert S not in watcher.seen().states
        watch.now_s += SILENT_S
        watch.look()
        seen = watcher.seen()
    assert seen.states[S] == (NodeState(BEGAN_S, answers=False),)
    assert seen.named[L2] == ((BEGAN_S, None),)
    assert seen.asked == {L0, L1}, "who answers nothing cannot name the new master"


def test_a_server_that_answers_with_an_error_is_as_good_as_silent(watch: Watch) -> None:
    watch.fleet.servers[R] = lambda _command: ReplyError(str(R), "LOADING", "Redis is loading the dataset in memory")
    watch.fleet.servers[L1] = lambda _command: ReplyError(str(L1), "NOPERM", "no")
    with watch.of() as watcher:
        watch.now_s += SILENT_S
        watch.look()
        seen = watcher.seen()
    assert seen.states[R] == (NodeState(BEGAN_S, answers=False),)
    assert seen.asked == {L0, L2}


def test_a_promotion_is_noted_with_the_end_of_the_old_history(watch: Watch) -> None:
    with watch.of() as watcher:
        watch.look()
        watch.now_s += 1.0
        watch.fleet.servers[R] = as_node(None, offset=720, second_offset=701)
        watch.fleet.servers[L0] = as_sentinel(R)
        watch.look()
        watch.now_s += 1.0
        watch.fleet.servers[S] = as_node(R, link="down")
        watch.look()
        watch.now_s += 1.0
        watch.fleet.servers[S] = as_node(R)
        watch.look()
        seen = watcher.seen()
    assert seen.states[R][1:] == (NodeState(BEGAN_S + 1.0, True, is_master=True),)
    assert seen.history_ended_at == 700, "its own history begins with the next byte"
    assert seen.named[L0] == ((BEGAN_S, OM), (BEGAN_S + 1.0, R))
    assert seen.states[S][1:] == (
        NodeState(BEGAN_S + 2.0, True, follows=R, link_up=False),
        NodeState(BEGAN_S + 3.0, True, follows=R, link_up=True),
    )


def test_two_new_masters_have_no_history_in_common_to_be_compared(watch: Watch) -> None:
    watch.fleet.servers[R] = as_node(None, second_offset=701)
    watch.fleet.servers[S] = as_node(None, second_offset=651)
    with watch.of() as watcher:
        watch.look()
        assert watcher.seen().history_ended_at is None


def test_a_sentinel_that_answers_again_counts_again(watch: Watch) -> None:
    watch.fleet.servers[L2] = None
    with watch.of() as watcher:
        watch.now_s += SILENT_S
        watch.look()
        watch.fleet.servers[L2] = as_sentinel(OM)
        watch.now_s += 1.0
        watch.look()
        seen = watcher.seen()
    assert seen.named[L2] == ((BEGAN_S, None), (BEGAN_S + SILENT_S + 1.0, OM))
    assert L2 in seen.asked


def test_a_sentinel_that_does_not_know_the_master_names_nobody(watch: Watch) -> None:
    watch.fleet.servers[L1] = as_sentinel(None)
    with watch.of() as watcher:
        watch.look()
        assert watcher.seen().named[L1] == ((BEGAN_S, None),)


def test_a_master_by_another_name_is_the_same_master(watch: Watch) -> None:
    name = Address("redis-1", OM.port)
    watch.fleet.servers.update({R: as_node(name), L1: as_sentinel(name), S: as_node(Address("10.0.9.9", 1))})
    with watch.of() as watcher:
        watch.look()
        seen = watcher.seen()
    assert seen.states[R][0].follows == OM
    assert seen.named[L1] == ((BEGAN_S, OM),)
    assert seen.states[S][0].follows == Address("10.0.9.9", 1), "one that nobody knows stays as it is"


def test_who_could_not_be_asked_before_is_neither_asked_nor_waited_for(watch: Watch) -> None:
    known = views()
    with watch.of(snapshot([*known[:2], dead(known[2])], nodes(unreachable(S)))) as watcher:
        watch.look(OM, R, L0, L1)
        seen = watcher.seen()
    assert watch.fleet.looks[S] == watch.fleet.looks[L2] == 0
    assert seen.waited_for == {R}
    assert seen.asked == {L0, L1}


def test_events_are_kept_with_their_sentinel_and_who_sends_none_is_named(watch: Watch) -> None:
    watch.fleet.without_events.add(L1)
    event = parse_event("+sdown", f"master {NAME} {OM.host} {OM.port}")
    with watch.of() as watcher:
        watch.fleet.listeners[L0](L0, BEGAN_S + 5.1, event)
        seen = watcher.seen()
    assert seen.events == ((L0, BEGAN_S + 5.1, event),)
    assert watch.fleet.listeners.keys() == {L0, L2}
    assert watcher.deaf == {L1: f"{L1}: it sends no events"}
