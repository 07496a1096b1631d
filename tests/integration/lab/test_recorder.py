# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorder sees loss where there is loss, none where there is none, and calls each failure by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment
from lab.certificates import make_certificates
from lab.process import Process
from lab.recorder import (
    Access,
    Client,
    Recorder,
    RecorderError,
    Resynchronisations,
    SyncCounters,
    longest_gap,
    resynchronisations,
    writer_program,
)
from lab.recorder_writer import format_address, parse_address, reachable

CLIENTS: tuple[Client, ...] = ("redis-py", "ioredis", "node-redis")


@pytest.fixture(scope="module")
def shared() -> Iterator[Deployment]:
    """A deployment whose master stays the same; a test that makes it refuse writes puts an end to that."""
    with Deployment() as deployment:
        yield deployment


@pytest.fixture
def own() -> Iterator[Deployment]:
    """A deployment whose master fails."""
    with Deployment(down_after_ms=1000) as deployment:
        yield deployment


def recorder_of(deployment: Deployment, **options: Any) -> Recorder:
    nodes = [node.address for node in deployment.nodes()]
    return Recorder(deployment.sentinel_addresses, "mymaster", nodes=nodes, **options)


def refusals(node: Process) -> dict[str, int]:
    """How many commands a node has refused so far, by error code."""
    with node.client() as client:
        counts: dict[str, dict[str, int]] = client.info("errorstats")
    return {name.removeprefix("errorstat_"): count["count"] for name, count in counts.items()}


def writes_held_back(node: Process) -> int:
    """How many writers wait for a node that was told to pause writes."""
    with node.client() as client:
        return sum("b" in connection["flags"] for connection in client.client_list() if connection["cmd"] == "set")


def writers_at(node: Process) -> int:
    """How many writers are connected to a node."""
    with node.client() as client:
        return sum(connection["cmd"] == "set" for connection in client.client_list())


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_is_lost_while_nothing_happens(shared: Deployment, client: Client) -> None:
    master = shared.master()
    with recorder_of(shared, client=client) as recorder:
        recorder.wait_for_writes(1000)
        recording = recorder.finish(master.address)
        assert recording.writes_acknowledged == recorder.acknowledged >= 1000
    assert master.command("DBSIZE") == recording.writes_acknowledged
    recorder.cleanup(master.address)
    assert master.command("DBSIZE") == 0
    assert recording.writes_lost == recording.refused == recording.not_sent == recording.unknown == 0
    assert recording.denied_but_present == recording.unknown_but_present == 0
    assert 0 < recording.longest_gap_s < recording.duration_s
    assert recording.writes_per_s == pytest.approx(recording.writes_acknowledged / recording.duration_s)
    assert not recording.timed_out
    assert recording.resynchronisations == Resynchronisations(0, 0, 0, (), ())


def test_a_plain_failover_of_a_healthy_master_loses_writes(own: Deployment) -> None:
    old = own.master()
    with recorder_of(own) as recorder:
        recorder.wait_for_writes(500)
        own.sentinels[0].command("SENTINEL", "FAILOVER", "mymaster")
        own.wait_for(lambda: own.master() is not old, 40, "the old master to be demoted")
        recorder.wait_for_writes(500)
        own.wait_ready(40)
        recording = recorder.finish(own.master().address)
    assert recording.writes_lost > 300
    assert 9 <= recording.longest_gap_s <= 13
    assert recording.longest_gap_began_s >= recording.began_s
    assert recording.longest_gap_began_after_s == pytest.approx(recording.longest_gap_began_s - recording.began_s)
    assert recording.denied_but_present == 0
    assert recording.resynchronisations is not None
    assert recording.resynchronisations.full >= 1
    assert recording.resynchronisations.restarted == recording.resynchronisations.unread == ()


def test_a_killed_master_leaves_at_most_one_unknown_write_for_each_writer(own: Deployment) -> None:
    old = own.master()
    with recorder_of(own) as recorder:
        recorder.wait_for_writes(500)
        old.kill()
        recorder.wait_for_writes(500, timeout_s=60)
        new = own.master()
        recording = recorder.finish(new.address)
    assert recording.unknown <= 4
    assert recording.unknown_but_present <= recording.unknown
    assert recording.not_sent > 10
    assert recording.longest_gap_s > 1
    assert recording.denied_but_present == 0
    present = recording.writes_acknowledged - recording.writes_lost + recording.unknown_but_present
    assert new.command("DBSIZE") == present
    assert recording.resynchronisations is not None
    assert recording.resynchronisations.unread == (old.address,)


def test_a_write_under_way_when_the_master_dies_is_unknown(own: Deployment) -> None:
    old = own.master()
    with recorder_of(own) as recorder:
        recorder.wait_for_writes(500)
        old.command("CLIENT", "PAUSE", 60_000, "WRITE")
        own.wait_for(lambda: writes_held_back(old) == 4, 10, "all writers to wait")
        old.kill()
        recorder.wait_for_writes(100, timeout_s=60)
        recording = recorder.finish(own.master().address)
    assert recording.unknown == 4
    assert recording.unknown_but_present == 0
    assert recording.writes_lost == 0
    assert recording.refused == 0


def test_a_write_without_a_reply_in_time_is_unknown_and_may_be_there(own: Deployment) -> None:
    master = own.master()
    with recorder_of(own, reply_timeout_s=0.2) as recorder:
        recorder.wait_for_writes(500)
        master.pause()
        own.wait_for(lambda: recorder.failed >= 4, 10, "the writers' patience to end")
        master.resume()
        recorder.wait_for_writes(500)
        recording = recorder.finish(master.address)
    assert recording.unknown >= 4
    assert recording.unknown_but_present >= 1
    assert recording.writes_lost == recording.refused == recording.denied_but_present == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_a_write_still_under_way_at_the_end_is_unknown(shared: Deployment, client: Client) -> None:
    master = shared.master()
    with recorder_of(shared, client=client, reply_timeout_s=1) as recorder:
        recorder.wait_for_writes(100)
        master.command("CLIENT", "PAUSE", 60_000, "WRITE")
        try:
            shared.wait_for(lambda: writes_held_back(master) == 4, 10, "all writers to wait")
            recorder.stop()
        finally:
            master.command("CLIENT", "UNPAUSE")
        recording = recorder.finish(master.address)
    recorder.cleanup(master.address)
    assert recording.unknown == 4
    assert recording.writes_lost == recording.refused == recording.not_sent == recording.denied_but_present == 0


def read_only(master: Process) -> Callable[[], None]:
    master.command("REPLICAOF", "127.0.0.1", 1)
    return lambda: master.command("REPLICAOF", "NO", "ONE")


def no_replicas(master: Process) -> Callable[[], None]:
    master.command("CONFIG", "SET", "min-replicas-to-write", 9)
    return lambda: master.command("CONFIG", "SET", "min-replicas-to-write", 0)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("refuse", "code"), [(read_only, "READONLY"), (no_replicas, "NOREPLICAS")])
def test_a_refused_write_is_known_not_to_have_happened(
    shared: Deployment, client: Client, refuse: Callable[[Process], Callable[[], None]], code: str
) -> None:
    master = shared.master()
    before = refusals(master).get(code, 0)
    with recorder_of(shared, client=client) as recorder:
        recorder.wait_for_writes(200)
        accept_again = refuse(master)
        shared.wait_for(lambda: refusals(master).get(code, 0) >= before + 100, 10, "writes to be refused")
        accept_again()
        recorder.wait_for_writes(200)
        recording = recorder.finish(master.address)
    recorder.cleanup(master.address)
    refused_by_server = refusals(master)[code] - before
    assert recording.refused_by_code == {code: recording.refused}
    if client == "node-redis" and code == "READONLY":
        # It repeats such a write by itself, so one that failed was refused many times.
        assert 0 < recording.refused < refused_by_server
    else:
        assert recording.refused == refused_by_server
    assert recording.denied_but_present == recording.unknown == recording.not_sent == recording.writes_lost == 0


def test_an_announced_address_is_mapped() -> None:
    with Deployment(masters=("mymaster", "elsewhere"), replicas=0, sentinels=1) as deployment:
        announced, reached = deployment.master("mymaster"), deployment.master("elsewhere")
        address_map = {announced.address: reached.address}
        with pytest.raises(RecorderError, match="node-redis cannot be told of other addresses"):
            recorder_of(deployment, client="node-redis", address_map=address_map)
        mapping_clients: tuple[Client, ...] = ("redis-py", "ioredis")
        for client in mapping_clients:
            with recorder_of(deployment, client=client, address_map=address_map) as recorder:
                recorder.wait_for_writes(100)
                recording = recorder.finish(announced.address)
            assert recording.writes_lost == 0
            assert reached.command("DBSIZE") == recording.writes_acknowledged
            assert announced.command("DBSIZE") == 0
            recorder.cleanup(announced.address)


def test_nothing_is_read_back_from_a_replica(shared: Deployment) -> None:
    with recorder_of(shared) as recorder:
        recorder.wait_for_writes(100)
        with pytest.raises(RecorderError, match="it is no master but a slave"):
            recorder.finish(shared.replicas()[0].address)
    recorder.cleanup(shared.master().address)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Access]]:
    """A deployment that speaks TLS alone and wants passwords, and how to get in."""
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"))
    access = Access(
        redis_password="of-the-nodes",
        sentinel_password="of-the-sentinels",
        tls=True,
        ca_certs=str(certificates.ca),
        client_cert_file=str(certificates.client.cert),
        client_key_file=str(certificates.client.key),
    )
    with Deployment(
        tls=certificates,
        node_config=["requirepass of-the-nodes", "masterauth of-the-nodes"],
        node_auth=(None, "of-the-nodes"),
        sentinel_config=["requirepass of-the-sentinels"],
        sentinel_auth=(None, "of-the-sentinels"),
        sentinel_master_config=["sentinel auth-pass {name} of-the-nodes"],
    ) as deployment:
        yield deployment, access


@pytest.mark.parametrize("client", CLIENTS)
def test_writers_log_in_and_speak_tls(closed: tuple[Deployment, Access], client: Client) -> None:
    deployment, access = closed
    with recorder_of(deployment, client=client, access=access) as recorder:
        recorder.wait_for_writes(500)
        recording = recorder.finish(deployment.master().address)
    assert recording.writes_lost == recording.unknown == recording.refused == 0


def test_the_recorder_ends_by_itself(shared: Deployment) -> None:
    with recorder_of(shared, max_s=0.5) as recorder:
        with pytest.raises(RecorderError, match="ended with 0"):
            recorder.wait_for_writes(1_000_000, timeout_s=20)
        recording = recorder.finish(shared.master().address)
    recorder.cleanup(shared.master().address)
    assert recording.timed_out


@pytest.mark.parametrize("client", CLIENTS)
def test_the_writers_end_with_the_process_that_started_them(shared: Deployment, tmp_path: Path, client: Client) -> None:
    master = shared.master()
    program = (
        "import sys, lab.recorder\n"
        "recorder = lab.recorder.Recorder(sys.argv[2:], 'mymaster', client=sys.argv[1])\n"
        "recorder.start(); recorder.wait_for_writes(100); print('writing', flush=True); sys.stdin.read()\n"
    )
    # What is missing is missed here: the process of its own could only fail.
    writer_program(client)
    argv = [sys.executable, "-c", program, client, *shared.sentinel_addresses]
    tests = str(Path(__file__).parents[2])
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": tests}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "writing\n"
        assert writers_at(master) == 4
        assert list(tmp_path.iterdir()) != []
        caller.kill()
    shared.wait_for(lambda: writers_at(master) == 0, 10, "the writers to end")
    shared.wait_for(lambda: list(tmp_path.iterdir()) == [], 30, "the records to be removed")
    master.command("FLUSHALL")


def test_a_writing_process_that_cannot_begin_is_an_error(shared: Deployment) -> None:
    access = Access(tls=True, ca_certs="/does/not/exist")
    recorder = Recorder(shared.sentinel_addresses, "mymaster", client="ioredis", access=access)
    with pytest.raises(RecorderError, match="no such file"), recorder:
        recorder.wait_for_writes(1)


def test_a_gap_lies_between_two_writes_or_at_an_end() -> None:
    assert longest_gap([12, 13, 18, 19], 10, 20) == (5, 13)
    assert longest_gap([16, 17], 10, 20) == (6, 10)
    assert longest_gap([11, 12, 25], 10, 20) == (8, 12)
    assert longest_gap([], 10, 20) == (10, 10)


def test_resynchronisations_are_counted_from_a_restart_on() -> None:
    before = {"a": SyncCounters("1", 5, 7, 1), "b": SyncCounters("2", 3, 3, 3), "c": SyncCounters("3", 1, 1, 1)}
    after = {"a": SyncCounters("1", 6, 9, 1), "b": SyncCounters("9", 1, 0, 0), "d": SyncCounters("4", 1, 1, 0)}
    counted = resynchronisations(before, after, ["a", "b", "c", "d", "e"])
    assert counted == Resynchronisations(3, 3, 0, restarted=("b",), unread=("c", "d", "e"))


@pytest.mark.parametrize(("host", "port", "text"), [("10.0.0.1", 6379, "10.0.0.1:6379"), ("::1", 1, "[::1]:1")])
def test_addresses_are_read_as_they_are_written(host: str, port: int, text: str) -> None:
    assert format_address(host, port) == text
    assert parse_address(text) == (host, port)


def test_an_address_is_mapped_whole_or_by_its_host() -> None:
    address_map = {"10.0.0.1:6379": "127.0.0.1:7001", "10.0.0.1": "127.0.0.2"}
    assert reachable("10.0.0.1", 6379, address_map) == ("127.0.0.1", 7001)
    assert reachable("10.0.0.1", 6380, address_map) == ("127.0.0.2", 6380)
    assert reachable("10.0.0.3", 6379, address_map) == ("10.0.0.3", 6379)
