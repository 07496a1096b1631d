# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What belongs to a deployment, and what Sentinel could do with it: other names, strangers, hidden replicas, on real servers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from lab import Deployment, Process
from lab.modules import run_module
from lab.recorder import Recorder

SERVERS = os.environ.get("REDIS_HA_LAB_SERVERS", "redis-7.0").split(",")
"""Servers are told apart alike on every version; the variable names more, to see that."""
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture(scope="module", params=SERVERS)
def shared(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Sentinels that ask every second, so that what is done is seen soon, and what is undone, too."""
    with Deployment(request.param, host=HOSTS) as running:
        running.ask_every_second()
        yield running


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    """A healthy deployment. What a test does to nodes and names is undone afterwards."""
    yield shared
    for sentinel in shared.sentinels:
        if "other" in sentinel.command("ROLE")[1]:
            sentinel.command("SENTINEL", "REMOVE", "other")
    for node in shared.nodes():
        if node.paused:
            node.resume()
        node.command("CONFIG", "SET", "replica-announced", "yes")
        node.command("CONFIG", "SET", "replica-priority", "100")
    shared.wait_ready()
    # A node with data that was made a master by hand has a history of its own.
    shared.master().command("FLUSHALL")
    shared.wait_for(
        lambda: all(
            row["slave-priority"] == "100"
            for sentinel in shared.sentinels
            for row in rows(sentinel, "REPLICAS", "mymaster")
        ),
        20,
        "the Sentinels to show the old priorities",
    )


@pytest.fixture(params=SERVERS)
def own(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A deployment for one test alone."""
    # Sentinel leads a replica of somebody else to its master by itself, failover-timeout after it has seen it.
    with Deployment(request.param, failover_timeout_ms=600_000, host=HOSTS) as running:
        yield running


def module(name: str, deployment: Deployment, **options: Any) -> dict[str, Any]:
    return run_module(name, **{"sentinels": deployment.sentinel_addresses, "master_name": "mymaster", **options})


def refused(deployment: Deployment, **options: Any) -> dict[str, Any]:
    """The move is refused, check mode says so before, and everybody's role stays."""
    roles = {node: node.command("ROLE")[:3] for node in deployment.nodes() if node.alive and not node.paused}
    planned = module("failover", deployment, check_mode=True, **options)
    result = module("failover", deployment, **options)
    assert (result.get("failed"), result["changed"], result["outcome"]) == (True, False, "refused"), str(result)
    assert (planned["outcome"], planned["error"]) == ("refused", result["error"]), str(planned)
    now = {node: node.command("ROLE")[:3] for node in roles}
    assert [answer[0] for answer in now.values()] == [answer[0] for answer in roles.values()]
    return result


def check(deployment: Deployment, name: str) -> dict[str, Any]:
    """What the pre-check finds under one name; it must be critical."""
    result = module("health_info", deployment, phase="before", patience=0)
    found = [row for row in result["checks"] if row["name"] == name and row["status"] == "critical"]
    assert found, [row for row in result["checks"] if row["status"] != "ok"]
    assert not result["healthy"]
    return dict(found[0])


def rows(sentinel: Process, *question: str) -> list[dict[str, str]]:
    return [dict(zip(row[::2], row[1::2], strict=True)) for row in sentinel.command("SENTINEL", *question)]


def listed(deployment: Deployment, name: str = "mymaster") -> list[set[str]]:
    """The replicas that each Sentinel lists."""
    return [
        {f"{row['ip']}:{row['port']}" for row in rows(sentinel, "REPLICAS", name)} for sentinel in deployment.sentinels
    ]


# ---- other names and other Sentinels -----------------------------------------------------------------------------------


def monitor(sentinel: Process, name: str, master: Process, quorum: int) -> None:
    sentinel.command("SENTINEL", "MONITOR", name, master.host, str(master.port), str(quorum))
    sentinel.command("SENTINEL", "SET", name, "down-after-milliseconds", "5000")


@pytest.mark.parametrize("sentinels", [3, 1], ids=["every Sentinel", "one Sentinel"])
def test_the_same_sentinels_have_another_name_for_it(deployment: Deployment, sentinels: int) -> None:
    for sentinel in deployment.sentinels[-sentinels:]:
        monitor(sentinel, "other", deployment.master(), min(2, sentinels))
    result = refused(deployment)
    assert result["error"] == "other_names"
    assert "other" in result["msg"]
    assert "other" in check(deployment, "other_names")["detail"]


def test_a_name_that_a_failover_has_left_behind_is_finished(deployment: Deployment) -> None:
    """Sentinel moves one name. Some 30 s later the other would move by itself, and what was written meanwhile would be lost."""
    for sentinel in deployment.sentinels:
        monitor(sentinel, "other", deployment.master(), 2)
    deployment.wait_for(
        lambda: (
            all(len(rows(sentinel, "REPLICAS", "other")) == 2 for sentinel in deployment.sentinels)
            and all(
                [row["flags"] for row in rows(sentinel, "SENTINELS", "other")] == ["sentinel"] * 2
                for sentinel in deployment.sentinels
            )
        ),
        20,
        "every Sentinel to know everybody under the other name",
    )
    old = deployment.master()
    deployment.sentinels[0].command("SENTINEL", "FAILOVER", "mymaster")
    deployment.wait_for(lambda: not [here for here in named(deployment, "mymaster") if here == old.address], 20, "it")
    (address,) = set(named(deployment, "mymaster"))
    new = deployment.process(address)
    old.command("REPLICAOF", new.host, str(new.port))
    deployment.wait_for(lambda: old.command("ROLE")[3] == "connected", 20, "the old master to follow")
    deployment.wait_for(
        lambda: not [row for row in rows(deployment.sentinels[0], "MASTERS") if "failover" in row["flags"]],
        20,
        "its end",
    )
    new.command("SET", "written", "meanwhile")
    behind = refused(deployment)
    assert behind["error"] == "other_names"
    assert "master_name=other" in behind["remedy"]
    result = module("failover", deployment, master_name="other")
    assert result["outcome"] == "switched", str(result)
    assert "a failover under another name had demoted" in result["notes"][0]
    assert result["new_master"] == {"host": new.host, "port": new.port}
    assert named(deployment, "other") == named(deployment, "mymaster") == [new.address] * 3
    assert (new.command("ROLE")[0], new.command("GET", "written")) == ("master", "meanwhile")


def named(deployment: Deployment, name: str) -> list[str]:
    """The master that each Sentinel names."""
    replies = [sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name) for sentinel in deployment.sentinels]
    return [f"{host}:{port}" for host, port in replies]


def test_another_name_for_a_replica(deployment: Deployment) -> None:
    """A Sentinel that was set up with a replica's address asks it for nothing but INFO, and takes it for a master that is down."""
    monitor(deployment.sentinels[0], "other", deployment.replicas()[0], 3)
    result = refused(deployment)
    assert result["error"] == "other_names"
    assert deployment.replicas()[0].address in result["msg"]


@contextlib.contextmanager
def legacy(deployment: Deployment) -> Iterator[Deployment]:
    """Another set of Sentinels, which calls our master ``legacy``."""
    with Deployment(deployment.server, masters=("legacy",), replicas=0, sentinels=1) as others:
        (watcher,) = others.sentinels
        watcher.command("SENTINEL", "REMOVE", "legacy")
        monitor(watcher, "legacy", deployment.master(), 1)
        deployment.wait_for(
            lambda: len(rows(watcher, "REPLICAS", "legacy")) == 2, 20, "the other Sentinel to see the replicas"
        )
        yield others


def test_other_sentinels_watch_it(deployment: Deployment) -> None:
    with legacy(deployment) as others:
        result = refused(deployment)
        assert result["error"] == "other_names"
        assert "legacy" in result["msg"]
        assert others.sentinels[0].address in result["msg"]
        assert "legacy" in check(deployment, "other_names")["detail"]


def test_a_sentinel_that_we_cannot_ask_has_another_name_for_it(deployment: Deployment) -> None:
    """The nodes show it: one id more often than one name explains."""
    silent = deployment.sentinels[2]
    monitor(silent, "other", deployment.master(), 1)
    deployment.wait_for(lambda: len(rows(silent, "REPLICAS", "other")) == 2, 20, "it to see the replicas")
    silent.command("ACL", "SETUSER", "ours", "on", ">ours", "-@all", "+ping", "+publish", "+client", "+hello")
    for sentinel in deployment.sentinels[:2]:
        sentinel.command("ACL", "SETUSER", "ours", "on", ">ours", "+@all", "allchannels")
    result = refused(deployment, min_sentinels=2, sentinel_username="ours", sentinel_password="ours")
    assert result["error"] == "other_names"
    assert "other" in result["msg"]


# ---- strangers ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stranger(deployment: Deployment, role: str, *config: str) -> Iterator[Process]:
    """A node of another deployment, with data, that stands in the table of our Sentinels."""
    with Deployment(deployment.server, replicas=1, sentinels=0, node_config=config) as foreign:
        foreign.master().command("SET", "theirs", "1")
        node = foreign.master() if role == "master" else foreign.replicas()[0]
        foreign.wait_for(lambda: node.command("GET", "theirs") == "1", 10, "their data")
        for sentinel in deployment.sentinels:
            sentinel.stop()
            with sentinel.config_path.open("a") as file:
                file.write(f"sentinel known-replica mymaster {node.host} {node.port}\n")
        for sentinel in deployment.sentinels:
            sentinel.start()
        deployment.wait_for(
            lambda: (
                all("OK" in sentinel.command("SENTINEL", "CKQUORUM", "mymaster") for sentinel in deployment.sentinels)
                and all(
                    row["flags"] == "slave" and row["role-reported"]
                    for sentinel in deployment.sentinels
                    for row in rows(sentinel, "REPLICAS", "mymaster")
                )
            ),
            20,
            "the Sentinels to see everybody",
        )
        before = node.command("ROLE")[:3]
        node.command("CONFIG", "RESETSTAT")
        yield node
        assert node.command("ROLE")[0] == before[0]
        assert node.command("GET", "theirs") == "1"
        assert node.command("CONFIG", "GET", "replica-priority")[1] == "100"
        asked = set(node.client().info("commandstats"))
        orders = {
            "multi",
            "exec",
            "discard",
            "config|set",
            "config|rewrite",
            "replicaof",
            "client|kill",
            "client|pause",
        }
        assert not asked & {f"cmdstat_{name}" for name in orders}, asked


def test_a_replica_of_another_deployment_stands_in_the_table(own: Deployment) -> None:
    with stranger(own, "replica") as node:
        for options in ({}, {"target": node.address}, {"strategy": "plain"}):
            result = refused(own, **options)
            assert result["error"] == "foreign_node", str(result)
            assert node.address in result["msg"]
            assert "REPLICAOF" not in result["remedy"]
        assert node.address in check(own, "foreign_nodes")["detail"]


def test_a_master_of_another_deployment_stands_in_the_table(own: Deployment) -> None:
    with stranger(own, "master", 'rename-command SLAVEOF ""') as node:
        result = refused(own)
        assert result["error"] == "foreign_node"
        assert node.address in result["msg"]
        assert "demote" not in result["remedy"].replace("demotes", "demote") or "before" in result["remedy"]
        assert node.address in check(own, "foreign_nodes")["detail"]


def test_our_own_old_master_that_came_back_is_no_stranger(deployment: Deployment) -> None:
    old, new = deployment.master(), deployment.replicas()[0]
    assert module("failover", deployment, target=new.address)["outcome"] == "switched"
    deployment.wait_ready()
    old.command("REPLICAOF", "NO", "ONE")
    try:
        result = refused(deployment)
        assert result["error"] == "two_masters"
        assert old.address in result["msg"]
    finally:
        old.command("REPLICAOF", new.host, str(new.port))


def test_an_own_replica_that_lost_its_data_is_no_stranger(deployment: Deployment) -> None:
    replica = deployment.replicas()[1]
    replica.kill()
    replica.start()
    assert module("failover", deployment, check_mode=True)["outcome"] == "planned"


# ---- hidden replicas ---------------------------------------------------------------------------------------------------


def hide(deployment: Deployment, replica: Process, priority: str = "10") -> None:
    replica.command("CONFIG", "SET", "replica-announced", "no")
    replica.command("CONFIG", "SET", "replica-priority", priority)
    deployment.wait_for(
        lambda: all(replica.address not in seen for seen in listed(deployment)), 30, "the Sentinels to hide it"
    )


def test_a_hidden_replica_is_waited_for(deployment: Deployment) -> None:
    hidden, shown = deployment.replicas()
    hide(deployment, hidden)
    planned = module("failover", deployment, check_mode=True)
    assert planned["plan"]["siblings"] == [hidden.address]
    with Recorder(deployment.sentinel_addresses, "mymaster", nodes=[n.address for n in deployment.nodes()]) as recorder:
        recorder.wait_for_writes(500)
        result = module("failover", deployment)
        recorder.wait_for_writes(500)
        deployment.wait_for(lambda: deployment.master() in (hidden, shown), 20, "one master")
        recording = recorder.finish(deployment.master().address)
    assert result["outcome"] == "switched", str(result)
    assert recording.writes_lost == 0


def test_a_hidden_replica_that_is_not_in_step(deployment: Deployment) -> None:
    hidden = deployment.replicas()[0]
    hide(deployment, hidden)
    hidden.pause()
    result = refused(deployment, connect_timeout=1)
    assert result["error"] == "hidden_replica"
    assert hidden.address in result["msg"]
    assert "replica-announced" in result["remedy"]


def test_a_hidden_replica_on_a_host_to_leave(deployment: Deployment) -> None:
    hidden, shown = deployment.replicas()
    hide(deployment, hidden)
    result = refused(deployment, avoid=[deployment.master().host, hidden.host], promotion="sentinel")
    assert result["error"] == "hidden_replica"
    # The program promotes the other one itself, and the leading Sentinel gives in.
    planned = module("failover", deployment, check_mode=True, avoid=[deployment.master().host, hidden.host])
    assert (planned["outcome"], planned["new_master"]["host"]) == ("planned", shown.host), str(planned)
    # One that Sentinel never promotes is in nobody's way.
    hidden.command("CONFIG", "SET", "replica-priority", "0")
    planned = module("failover", deployment, check_mode=True, avoid=[deployment.master().host, hidden.host])
    assert planned["outcome"] == "planned", str(planned)
    assert planned["new_master"]["host"] == shown.host


def test_all_replicas_are_hidden(deployment: Deployment) -> None:
    for replica in deployment.replicas():
        hide(deployment, replica)
    result = refused(deployment)
    assert result["error"] == "no_replica"
    assert "replica-announced" in result["remedy"]
