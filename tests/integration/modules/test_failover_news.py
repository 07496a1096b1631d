# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who can be told of a new master: where the program carries the news, where Sentinel has to, and where a Sentinel does not listen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from lab import Deployment, Process
from lab.machine import times_slower
from lab.modules import RunningModule, moved_by_program, run_module
from lab.recorder import Recorder, Recording
from lab.servers import Server, find_server

MOST_BY_SENTINEL_S = 4.0
"""Sentinel takes 1.2 s in its own time, on an idle machine."""


def fail_over(deployment: Deployment, **options: Any) -> dict[str, Any]:
    return run_module("failover", **{"sentinels": deployment.sentinel_addresses, "master_name": "mymaster", **options})


@contextmanager
def load(deployment: Deployment) -> Iterator[list[Recording]]:
    """Applications that write; what became of that is in the list afterwards."""
    nodes = [node.address for node in deployment.nodes()]
    recordings: list[Recording] = []
    with Recorder(deployment.sentinel_addresses, "mymaster", nodes=nodes) as recorder:
        recorder.wait_for_writes(300)
        yield recordings
        recorder.wait_for_writes(300)
        recordings.append(recorder.finish(deployment.master().address))


def names(sentinel: Process, node: Process) -> bool:
    return bool(sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") == [node.host, str(node.port)])


def assert_all_name_the_master(deployment: Deployment) -> None:
    master = deployment.master()
    assert all(names(sentinel, master) for sentinel in deployment.sentinels)
    others = len(deployment.sentinels) - 1
    for sentinel in deployment.sentinels:
        reply = sentinel.command("SENTINEL", "MASTER", "mymaster")
        row = dict(zip(reply[::2], reply[1::2], strict=True))
        assert row["num-other-sentinels"] == str(others), "nobody was entered as a new Sentinel"


def mute(deployment: Deployment, *sentinels: Process) -> dict[str, str]:
    """Give the collection's user all but PUBLISH on these Sentinels; how it logs in."""
    for sentinel in deployment.sentinels:
        rule = ["-publish"] if sentinel in sentinels else []
        sentinel.command("ACL", "SETUSER", "ours", "on", ">ours", "+@all", "allchannels", "~*", *rule)
    return {"sentinel_username": "ours", "sentinel_password": "ours"}


def test_a_sentinel_alone_cannot_be_told_by_anybody() -> None:
    with Deployment(replicas=2, sentinels=1) as deployment:
        with load(deployment) as recordings:
            result = fail_over(deployment)
        assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "sentinel"), str(
            result
        )
        assert deployment.sentinel_addresses[0] in result["promotion_reason"]
        assert recordings[0].writes_lost == 0
        assert recordings[0].longest_gap_s < MOST_BY_SENTINEL_S * times_slower()
        refused = fail_over(deployment, promotion="program")
        assert (refused["outcome"], refused["error"]) == ("refused", "news_closed"), str(refused)


def test_no_sentinel_permits_publish() -> None:
    with Deployment(replicas=2, sentinels=3) as deployment:
        login = mute(deployment, *deployment.sentinels)
        refused = fail_over(deployment, promotion="program", **login)
        assert (refused["outcome"], refused["error"], refused["changed"]) == ("refused", "news_closed", False)
        assert any(address in refused["msg"] for address in deployment.sentinel_addresses)
        with load(deployment) as recordings:
            result = fail_over(deployment, **login)
        assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "sentinel"), str(
            result
        )
        assert (recordings[0].writes_lost, recordings[0].unknown) == (0, 0)
        assert_all_name_the_master(deployment)


@pytest.mark.parametrize("number", [0, 2])
def test_one_sentinel_does_not_permit_publish(number: int) -> None:
    """One that does not learn that the epoch is taken could begin a failover of the same epoch."""
    with Deployment(replicas=2, sentinels=3) as deployment:
        deaf = deployment.sentinels[number]
        login = mute(deployment, deaf)
        refused = fail_over(deployment, promotion="program", **login)
        assert (refused["outcome"], refused["error"], refused["changed"]) == ("refused", "news_closed", False)
        with load(deployment) as recordings:
            result = fail_over(deployment, **login)
        assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "sentinel"), str(
            result
        )
        assert deaf.address in result["promotion_reason"]
        assert (recordings[0].writes_lost, recordings[0].unknown) == (0, 0)
        assert recordings[0].longest_gap_s < MOST_BY_SENTINEL_S * times_slower()
        assert_all_name_the_master(deployment)


@pytest.mark.parametrize("promotion", ["auto", "program"])
def test_a_client_reconfig_script_is_called_as_leader_where_sentinel_promotes(tmp_path: Path, promotion: str) -> None:
    script, calls = tmp_path / "reconfig.sh", tmp_path / "calls"
    # Sentinel's arguments: name, role, state, from address, to address.
    script.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    script.chmod(0o755)
    with Deployment(
        replicas=2, sentinels=3, sentinel_master_config=[f"sentinel client-reconfig-script {{name}} {script}"]
    ) as deployment:

        def move() -> dict[str, Any]:
            calls.unlink(missing_ok=True)
            return fail_over(deployment, promotion=promotion)

        with load(deployment) as recordings:
            result = moved_by_program(move)
        by = "sentinel" if promotion == "auto" else "program"
        assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, by), str(result)
        master = deployment.master()
        wanted = f" {master.host} {master.port}"
        deployment.wait_for(
            lambda: calls.exists() and calls.read_text().count(wanted) >= len(deployment.sentinels),
            30,
            "every Sentinel to call its script",
        )
    assert ("client-reconfig-script" in result["promotion_reason"]) == (by == "sentinel")
    roles = {line.split()[1] for line in calls.read_text().splitlines()}
    assert ("leader" in roles) == (by == "sentinel")
    assert recordings[0].writes_lost == 0


@contextmanager
def mixed(older: str, newer: str, leads: str) -> Iterator[Deployment]:
    """Sentinels in the middle of an upgrade; the first is one of those that are older, or newer."""
    with Deployment("redis-7.0", sentinel_server=older, replicas=2, sentinels=3) as deployment:
        upgraded = deployment.sentinels[:2] if leads == "newer" else deployment.sentinels[1:]
        for sentinel in upgraded:
            sentinel.restart(find_server(newer))
            if older == "redis-6.0":
                # It knows no channels, and its file leaves the user default without any.
                sentinel.command("ACL", "SETUSER", "default", "allchannels")
        deployment.wait_ready()
        yield deployment


@pytest.mark.parametrize(("older", "newer"), [("redis-6.0", "redis-7.0"), ("redis-7.0", "valkey-9.1")])
@pytest.mark.parametrize("leads", ["older", "newer"])
def test_sentinels_of_mixed_versions(older: str, newer: str, leads: str) -> None:
    with mixed(older, newer, leads) as deployment:
        with load(deployment) as recordings:
            result = moved_by_program(lambda: fail_over(deployment))
        assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "program"), str(
            result
        )
        assert result["leader"] == deployment.sentinel_addresses[0]
        assert not [entry for entry in result["timeline"] if entry["kind"] == "announce_failed"]
        assert (recordings[0].writes_lost, recordings[0].unknown) == (0, 0)
        assert_all_name_the_master(deployment)


def test_a_sentinel_upgraded_from_6_0_whose_user_has_no_channels() -> None:
    """Redis 6.0 writes its users without channels into the file, and 7.0 reads them as users that have none."""
    with mixed("redis-6.0", "redis-7.0", "newer") as deployment:
        first = deployment.sentinels[0]
        first.command("ACL", "SETUSER", "default", "resetchannels")
        with load(deployment) as recordings:
            result = fail_over(deployment)
        assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "sentinel"), str(
            result
        )
        assert first.address in result["promotion_reason"]
        assert (recordings[0].writes_lost, recordings[0].unknown) == (0, 0)
        assert_all_name_the_master(deployment)


NAMES = ("db-0.example", "db-1.example", "db-2.example")
MOST_IN_VAIN_MS = 10_000
"""Nobody waits for what never comes; the time of the module would be two minutes."""
SERVERS = os.environ.get("REDIS_HA_LAB_SERVERS", "redis-7.0").split(",")
"""Every version looks a name up after it has taken the epoch; the variable names more, to see that."""


def looking_up_in(server: Server, hosts: Path) -> Server:
    """The same, in a mount namespace of its own, in which this is the file of hosts."""
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    in_own_namespace = ("unshare", *(() if os.geteuid() == 0 else ("--map-root-user",)), "--mount")
    return replace(server, argv=(*in_own_namespace, "sh", "-c", script, str(hosts), *server.argv))


def write_until_refused(node: Process) -> int:
    """Count up on a node until it is no master any more; the last number that it acknowledged."""
    number = 0
    with node.client() as client:
        while True:
            try:
                client.set("written", number + 1)
            except redis.ReadOnlyError:
                return number
            number += 1


@pytest.mark.parametrize("server", SERVERS)
def test_a_sentinel_that_cannot_look_up_the_new_master(server: str, tmp_path: Path) -> None:
    hosts, hosts_of_one = tmp_path / "all", tmp_path / "one"
    for file in (hosts, hosts_of_one):
        file.write_text("".join(f"127.0.0.1 {host}\n" for host in ("localhost", *NAMES)))
    everybody, one = (looking_up_in(find_server(server), file) for file in (hosts, hosts_of_one))
    with Deployment(
        everybody,
        node_config=lambda place: [f"replica-announce-ip {NAMES[place.index]}"] if place.index else [],
        sentinel_config=["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"],
    ) as deployment:
        blind, old = deployment.sentinels[2], deployment.master()
        blind.restart(one)
        deployment.wait_ready()
        hosts_of_one.write_text("127.0.0.1 localhost\n")
        options: dict[str, Any] = {"address_map": dict.fromkeys(NAMES, "127.0.0.1")}
        with RunningModule(
            "failover", sentinels=deployment.sentinel_addresses, master_name="mymaster", **options
        ) as running:
            acknowledged = write_until_refused(old)
            result = running.result()
        assert deployment.master().command("GET", "written") == str(acknowledged)
        assert (result["outcome"], result["error"], result["lossless"]) == ("incomplete", "left_to_do", True), str(
            result
        )
        new = result["new_master"]["host"]
        assert new in NAMES
        assert result["msg"].count(f"Sentinel {blind.address}") == 1
        assert f"its host cannot resolve {new}" in result["msg"]
        assert not [other for other in deployment.sentinels[:2] if other.address in result["msg"]]
        assert result["timeline"][-1]["at_ms"] < MOST_IN_VAIN_MS * times_slower()
        # It stays so, and both the next run and the check say why.
        assert names(blind, old)
        refused = fail_over(deployment, **options)
        assert (refused["outcome"], refused["error"]) == ("refused", "sentinels_disagree")
        assert f"its host cannot resolve {new}" in refused["remedy"]
        # What is advised helps.
        hosts_of_one.write_text(hosts.read_text())
        blind.command("SENTINEL", "REMOVE", "mymaster")
        blind.command("SENTINEL", "MONITOR", "mymaster", new, result["new_master"]["port"], 2)
        deployment.wait_ready()


def test_five_sentinels_of_which_two_do_not_answer() -> None:
    with Deployment(replicas=2, sentinels=5) as deployment:
        deployment.ask_every_second()
        silent = deployment.sentinels[3:]
        for sentinel in silent:
            sentinel.pause()
        answering = {"sentinels": deployment.sentinel_addresses[:3]}
        assert fail_over(deployment, **answering)["error"] == "sentinels_missing"
        with load(deployment) as recordings:
            result = moved_by_program(lambda: fail_over(deployment, min_sentinels=3, **answering))
        assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "program"), str(
            result
        )
        assert all(sentinel.address in " ".join(result["notes"]) for sentinel in silent)
        assert (recordings[0].writes_lost, recordings[0].unknown) == (0, 0)
        for sentinel in silent:
            sentinel.resume()
        master = deployment.master()
        deployment.wait_for(
            lambda: all(names(sentinel, master) for sentinel in silent), 20, "those that were silent to hear of it"
        )
        deployment.wait_ready()
        assert_all_name_the_master(deployment)


def test_a_sentinel_of_a_low_epoch_hears_of_it_all_the_same() -> None:
    """It was restored from an old file: its own epoch is lower than what the others know."""
    with Deployment(replicas=2, sentinels=3) as deployment:
        deployment.ask_every_second()
        first = deployment.sentinels[0]
        old_file = first.config_path.read_text()
        assert fail_over(deployment)["outcome"] == "switched"
        assert fail_over(deployment, expected_master=deployment.master().address)["outcome"] == "switched"
        deployment.wait_ready()
        first.stop()
        first.config_path.write_text(old_file)
        first.start()
        deployment.ask_every_second()
        deployment.wait_ready()
        with load(deployment) as recordings:
            result = fail_over(deployment)
        assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
        assert (recordings[0].writes_lost, recordings[0].unknown) == (0, 0)
        assert_all_name_the_master(deployment)
