# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input and bad states: one clear error with its code, and nothing changed on any server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab import Deployment
from lab.deployment import Place
from lab.modules import run_module

NOBODY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with Deployment(replicas=2, sentinels=3, down_after_ms=2000) as running:
        yield running


def settings(deployment: Deployment) -> dict[str, Any]:
    """Everything that a run could have changed."""
    found: dict[str, Any] = {}
    for node in deployment.nodes():
        if node.alive:
            configuration = node.client().config_get("*")
            found[node.address] = (node.command("ROLE")[0], configuration)
    for sentinel in deployment.sentinels:
        if sentinel.alive:
            row = dict(zip(*[iter(sentinel.command("SENTINEL", "MASTER", "mymaster"))] * 2, strict=False))
            found[sentinel.address] = (row["config-epoch"], row["failover-timeout"], row["ip"], row["port"])
    return found


def shown_priorities(deployment: Deployment) -> set[str]:
    rows = [row for sentinel in deployment.sentinels for row in sentinel.command("SENTINEL", "REPLICAS", "mymaster")]
    return {dict(zip(row[::2], row[1::2], strict=True))["slave-priority"] for row in rows}


def refused(deployment: Deployment, **options: Any) -> dict[str, Any]:
    """Run the module; it must refuse and change nothing."""
    before = settings(deployment)
    result = run_module(
        "failover", **{"sentinels": deployment.sentinel_addresses, "master_name": "mymaster", **options}
    )
    assert settings(deployment) == before
    assert (result["failed"], result["changed"], result["outcome"]) == (True, False, "refused"), str(result)
    assert result["msg"]
    assert result["remedy"]
    return result


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": "nonsense:port"}, "target: 'nonsense:port' is not host:port"),
        ({"target": "127.0.0.1"}, "target: '127.0.0.1' has no port"),
        ({"expected_master": "127.0.0.1:99999"}, "the port must be from 1 to 65535"),
        ({"sentinels": ["::1:26379"]}, "an IPv6 address is written [address]:port"),
        ({"sentinels": []}, "sentinels is empty"),
        ({"master_name": " "}, "master_name is empty"),
        ({"timeout": 1}, "timeout=1.0 is out of range: it must be from 5 to 86400"),
        ({"catch_up_timeout": 0}, "catch_up_timeout=0.0 is out of range: it must be from 0.05 to 60"),
        ({"max_lag_bytes": -1}, "max_lag_bytes=-1 is out of range"),
        ({"min_sentinels": 0}, "min_sentinels=0 is out of range"),
        ({"connect_timeout": 0}, "connect_timeout=0.0 is out of range"),
        ({"address_map": {"a b": "c:d"}}, "address_map: 'a b' is not host:port"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(deployment: Deployment, options: dict[str, Any], text: str) -> None:
    result = refused(deployment, **options)
    assert result["error"] == "option_invalid"
    assert text in result["msg"]


def test_unknown_master_name(deployment: Deployment) -> None:
    result = refused(deployment, master_name="nobody")
    assert result["error"] == "master_unknown"
    assert "no master named 'nobody'" in result["msg"]


def test_no_sentinel_reachable(deployment: Deployment) -> None:
    result = refused(deployment, sentinels=[NOBODY])
    assert result["error"] == "sentinel_unreachable"
    assert NOBODY in result["msg"]


def test_a_data_node_is_no_sentinel(deployment: Deployment) -> None:
    result = refused(deployment, sentinels=[deployment.master().address])
    assert result["error"] == "sentinel_unreachable"
    assert "this is a data node, not a Sentinel" in result["msg"]


def test_a_given_sentinel_that_does_not_answer(deployment: Deployment) -> None:
    result = refused(deployment, sentinels=[deployment.sentinel_addresses[0], NOBODY])
    assert result["error"] == "sentinels_missing"
    assert f"3 of the 4 known Sentinels answer, 4 are wanted; Sentinel {NOBODY}" in result["msg"]


def test_a_sentinel_wants_no_password(deployment: Deployment) -> None:
    result = refused(deployment, sentinel_password="not-wanted-here")
    assert result["error"] == "sentinel_auth"
    assert "not-wanted-here" not in str(result)


def test_a_node_wants_no_password(deployment: Deployment) -> None:
    result = refused(deployment, redis_password="not-wanted-here", strategy="fenced")
    assert result["error"] == "node_auth"
    assert "redis_password" in result["remedy"]


def test_target_is_no_replica_of_this_master(deployment: Deployment) -> None:
    assert refused(deployment, target=NOBODY)["error"] == "target_unknown"


def test_target_is_the_master_already(deployment: Deployment) -> None:
    before = settings(deployment)
    result = run_module(
        "failover",
        sentinels=deployment.sentinel_addresses,
        master_name="mymaster",
        target=deployment.master().address,
        expected_master=NOBODY,
    )
    assert (result["outcome"], result["changed"]) == ("unchanged", False)
    assert settings(deployment) == before


def test_another_master_than_expected(deployment: Deployment) -> None:
    result = refused(deployment, expected_master=NOBODY)
    assert result["error"] == "expected_master_mismatch"
    assert f"the master is {deployment.master().address}, not {NOBODY} as expected" in result["msg"]


def test_avoid_leaves_nobody(deployment: Deployment) -> None:
    result = refused(deployment, avoid=["localhost"])
    assert result["error"] == "avoid_leaves_nobody"


def test_hosts_to_leave_that_carry_nothing_are_refused_with_those_that_do(deployment: Deployment) -> None:
    """A management address: to go on would take down a host that nothing has left."""
    result = refused(deployment, avoid=["198.18.0.1"])
    assert result["error"] == "avoid_unknown"
    assert "198.18.0.1" in result["msg"]
    assert deployment.master().host in result["msg"]


def test_coordinated_where_no_sentinel_knows_it(deployment: Deployment) -> None:
    assert refused(deployment, strategy="coordinated")["error"] == "strategy_unavailable"


def test_priority_zero(deployment: Deployment) -> None:
    replica, other = deployment.replicas()
    replica.command("CONFIG", "SET", "replica-priority", "0")
    other.command("CONFIG", "SET", "replica-priority", "0")
    try:
        result = refused(deployment, target=replica.address)
        assert result["error"] == "target_never_promoted"
        result = refused(deployment)
        assert result["error"] == "no_suitable_replica"
        assert replica.address in result["msg"]
        assert other.address in result["msg"]
    finally:
        for node in (replica, other):
            node.command("CONFIG", "SET", "replica-priority", "100")
        deployment.wait_for(lambda: shown_priorities(deployment) == {"100"}, 30, "the Sentinels to show it")


def test_replica_read_only_no(deployment: Deployment) -> None:
    master = deployment.master()
    master.command("CONFIG", "SET", "replica-read-only", "no")
    try:
        assert refused(deployment, strategy="fenced")["error"] == "replica_writable"
    finally:
        master.command("CONFIG", "SET", "replica-read-only", "yes")


def test_old_master_could_not_log_in_to_the_new_one() -> None:
    def lines(place: Place) -> list[str]:
        return ["requirepass of-the-nodes", *(["masterauth of-the-nodes"] if place.index else [])]

    with Deployment(
        replicas=1,
        sentinels=1,
        node_config=lines,
        sentinel_master_config=["sentinel auth-pass {name} of-the-nodes"],
        node_auth=(None, "of-the-nodes"),
    ) as passwords:
        result = refused(passwords, redis_password="of-the-nodes", strategy="fenced")
    assert result["error"] == "masterauth_missing"
    assert "of-the-nodes" not in str(result)


def test_a_password_for_replication_that_was_never_tried() -> None:
    """A node that is connected, or is the master, does not notice that its own masterauth is wrong."""
    with Deployment(
        node_config=["requirepass of-the-nodes", "masterauth of-the-nodes"],
        sentinel_master_config=["sentinel auth-pass {name} of-the-nodes"],
        node_auth=(None, "of-the-nodes"),
    ) as passwords:
        master, (target, sibling) = passwords.master(), passwords.replicas()
        for node, part in ((master, "the master"), (sibling, "a replica")):
            node.command("CONFIG", "SET", "masterauth", "of-yesterday")
            result = refused(passwords, redis_password="of-the-nodes", target=target.address)
            assert result["error"] == "replication_login"
            assert f"{node.address} ({part}) could not follow a new master" in result["msg"]
            assert f"({target.address}: " in result["msg"]
            assert not re.search("of-the-nodes|of-yesterday", str(result))
            node.command("CONFIG", "SET", "masterauth", "of-the-nodes")
        result = run_module(
            "failover",
            sentinels=passwords.sentinel_addresses,
            master_name="mymaster",
            redis_password="of-the-nodes",
            target=target.address,
        )
        assert result["outcome"] == "switched"


def test_another_run_is_at_work(deployment: Deployment) -> None:
    lock = deployment.master().client()
    lock.client_setname("redis_ha.sentinel:failover")
    try:
        result = refused(deployment)
        assert result["error"] == "another_run"
        assert "comes from 127.0.0.1:" in result["msg"]
        # What the remedy says does: the lock of a host that is lost is ended.
        ended = re.search(r"CLIENT KILL ID (\d+)", result["remedy"])
        assert ended
        deployment.master().command("CLIENT", "KILL", "ID", ended[1])
        assert "redis_ha.sentinel:failover" not in str(deployment.master().command("CLIENT", "LIST"))
    finally:
        lock.close()


def test_a_command_that_our_user_may_not_run(deployment: Deployment) -> None:
    master = deployment.master()
    master.command("ACL", "SETUSER", "limited", "on", ">limited", "+@all", "allkeys", "allchannels", "-client|pause")
    for replica in deployment.replicas():
        replica.command("ACL", "SETUSER", "limited", "on", ">limited", "+@all", "allkeys", "allchannels")
    result = refused(deployment, redis_username="limited", redis_password="limited", strategy="fenced")
    assert result["error"] == "node_not_permitted"
    assert f"{master.address} (the old master) refuses CLIENT PAUSE" in result["msg"]


def test_sentinel_does_not_permit_failover(deployment: Deployment) -> None:
    for sentinel in deployment.sentinels:
        sentinel.command("ACL", "SETUSER", "reader", "on", ">reader", "+@all", "allchannels", "-sentinel|failover")
    result = refused(deployment, sentinel_username="reader", sentinel_password="reader")
    assert result["error"] == "sentinel_not_permitted"
