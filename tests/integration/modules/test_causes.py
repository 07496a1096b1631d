# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A refusal names the real cause, and the pre-check fails on it, too: on real servers."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab import Deployment, Process
from lab.modules import run_module

SERVERS = os.environ.get("REDIS_HA_LAB_SERVERS", "redis-7.0").split(",")
"""A cause is told alike on every version; the variable names others to see that."""
PASSWORDS: dict[str, Any] = {
    "node_config": ["requirepass of-the-nodes", "masterauth of-the-nodes"],
    "sentinel_master_config": ["sentinel auth-pass {name} of-the-nodes"],
    "node_auth": (None, "of-the-nodes"),
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=SERVERS)
def shared(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """For tests that undo what they do."""
    with Deployment(request.param) as running:
        yield running


def module(name: str, deployment: Deployment, **options: Any) -> dict[str, Any]:
    return run_module(name, **{"sentinels": deployment.sentinel_addresses, "master_name": "mymaster", **options})


def refused(deployment: Deployment, **options: Any) -> dict[str, Any]:
    """The move is refused, check mode says so before, and the pre-check fails; the result of the move, and what the pre-check found, by name."""
    planned = module("failover", deployment, check_mode=True, **options)
    result = module("failover", deployment, **options)
    assert (result.get("failed"), result["changed"], result["outcome"]) == (True, False, "refused"), str(result)
    assert (planned["outcome"], planned["error"]) == ("refused", result["error"]), str(planned)
    asked = {
        key: value for key, value in options.items() if key in ("min_sentinels", "redis_password", "connect_timeout")
    }
    health = module("health_info", deployment, phase="before", patience=0, **asked)
    wrong = [check for check in health["checks"] if check["status"] != "ok"]
    assert wrong
    # Where servers can hand over by themselves, what stands in the way of a fence alone is worth a warning.
    others_go = "strategy" in options and module(
        "failover", deployment, check_mode=True, **{**options, "strategy": "auto"}
    )
    assert health["healthy"] is bool(others_go and others_go["strategy"] == "coordinated"), wrong
    return {**result, "checks": {check["name"]: check for check in health["checks"]}}


def rows(sentinel: Process, *question: str) -> list[dict[str, str]]:
    return [dict(zip(row[::2], row[1::2], strict=True)) for row in sentinel.command("SENTINEL", *question)]


def test_one_server_under_two_addresses(server: str) -> None:
    """A replica that answers at two addresses, and has announced both, one after the other."""
    with Deployment(server, node_config=lambda place: ["bind 127.0.0.1 127.0.0.2"]) as deployment:
        deployment.ask_every_second()
        master, replica = deployment.master(), deployment.replicas()[0]
        replica.command("CONFIG", "SET", "replica-announce-ip", "127.0.0.2")
        replica.command("REPLICAOF", "NO", "ONE")
        replica.command("REPLICAOF", master.host, str(master.port))
        deployment.wait_for(
            lambda: (
                all(len(rows(sentinel, "REPLICAS", "mymaster")) == 3 for sentinel in deployment.sentinels)
                and all(
                    row["runid"] and row["flags"] == "slave"
                    for sentinel in deployment.sentinels
                    for row in rows(sentinel, "REPLICAS", "mymaster")
                )
            ),
            30,
            "the Sentinels to list both addresses",
        )
        result = refused(deployment)
        assert result["error"] == "one_address"
        assert f"127.0.0.1:{replica.port}" in result["msg"]
        assert f"127.0.0.2:{replica.port}" in result["msg"]


def test_sentinels_that_were_set_up_with_different_masters(server: str) -> None:
    with Deployment(server) as deployment:
        sentinel, replica = deployment.sentinels[2], deployment.replicas()[0]
        replica.command("REPLICAOF", "NO", "ONE")
        sentinel.command("SENTINEL", "REMOVE", "mymaster")
        sentinel.command("SENTINEL", "MONITOR", "mymaster", replica.host, str(replica.port), "2")
        result = refused(deployment)
        assert result["error"] == "sentinels_disagree"
        assert "never agree by themselves" in result["remedy"]


def test_sentinels_that_have_one_run_id(server: str) -> None:
    with Deployment(server) as deployment:
        first, copied = deployment.sentinels[0], deployment.sentinels[2]
        identity = first.command("SENTINEL", "MYID")
        own = copied.command("SENTINEL", "MYID")
        copied.stop()
        copied.config_path.write_text(copied.config_path.read_text().replace(own, identity))
        copied.start()
        result = refused(deployment)
        assert result["error"] in ("sentinel_ids", "no_quorum")
        assert result["checks"]["sentinel_ids"]["status"] == "critical"
        assert first.address in result["checks"]["sentinel_ids"]["detail"]


def test_a_sentinel_that_does_not_get_into_the_master(server: str) -> None:
    with Deployment(server, down_after_ms=1000, **PASSWORDS) as deployment:
        wrong = deployment.sentinels[2]
        wrong.stop()
        text = wrong.config_path.read_text()
        kept = "\n".join(line for line in text.splitlines() if "known-sentinel" not in line)
        # Some versions write the password in quotes.
        changed, times = re.subn(r"(?m)^(sentinel auth-pass .*)of-the-nodes", r"\1wrong", kept)
        assert times == 1
        wrong.config_path.write_text(changed + "\n")
        wrong.start()
        deployment.wait_for(lambda: "s_down" in rows_of_master(wrong)["flags"], 20, "it to see the master down")
        result = refused(deployment, redis_password="of-the-nodes")
        assert result["error"] in ("no_quorum", "master_seen")
        assert wrong.address in result["msg"]
        assert "auth-pass" in result["remedy"]


def rows_of_master(sentinel: Process) -> dict[str, str]:
    reply = sentinel.command("SENTINEL", "MASTER", "mymaster")
    return dict(zip(reply[::2], reply[1::2], strict=True))


def test_a_quorum_that_no_number_of_votes_reaches(shared: Deployment) -> None:
    for sentinel in shared.sentinels:
        sentinel.command("SENTINEL", "SET", "mymaster", "quorum", "5")
    try:
        result = refused(shared)
    finally:
        for sentinel in shared.sentinels:
            sentinel.command("SENTINEL", "SET", "mymaster", "quorum", "2")
    assert result["error"] == "no_quorum"
    assert "the quorum is 5, and there are 3 Sentinels" in result["msg"]
    assert "quorum 2" in result["remedy"]


@contextlib.contextmanager
def crowded(node: Process, left: int) -> Iterator[None]:
    """Only so many connections are left on a node."""
    control = node.client()
    used = int(control.info("clients")["connected_clients"])
    control.config_set("maxclients", str(used + left))
    try:
        yield
    finally:
        control.config_set("maxclients", "1000")
        control.close()


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_master_without_connections_left(shared: Deployment, left: int) -> None:
    with crowded(shared.master(), left):
        result = refused(shared, strategy="fenced")
    assert result["error"] == "node_clients"
    assert "maxclients" in result["msg"]


def test_a_password_that_was_changed_on_one_replica_only(server: str) -> None:
    """Whichever it is: where servers hand over by themselves, Sentinel may choose the one that cannot be asked from here."""
    with Deployment(server, **PASSWORDS) as deployment:
        for replica in deployment.replicas():
            client = replica.client()
            client.config_set("requirepass", "of-today")
            try:
                result = refused(deployment, redis_password="of-the-nodes", strategy="fenced")
                assert result["error"] == "node_auth"
                assert replica.address in result["msg"]
            finally:
                client.config_set("requirepass", "of-the-nodes")
                client.close()


def test_renamed_commands(server: str) -> None:
    renamed = {"CONFIG": "ADMINCONFIG", "REPLICAOF": "ADMINREPLICAOF"}
    with Deployment(
        server,
        node_config=[f"rename-command {name} {called}" for name, called in renamed.items()],
        sentinel_master_config=["sentinel rename-command {name} CONFIG ADMINCONFIG"],
    ) as deployment:
        result = refused(deployment, strategy="fenced")
        assert result["error"] == "command_unavailable"
        assert "renamed_commands" in result["remedy"]
        health = module("health_info", deployment, phase="before", renamed_commands=renamed)
        assert health["healthy"], [check for check in health["checks"] if check["status"] != "ok"]
        moved = module("failover", deployment, renamed_commands=renamed, strategy="fenced")
        assert (moved["outcome"], moved["lossless"]) == ("switched", True), str(moved)
