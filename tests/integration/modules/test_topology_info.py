# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`topology_info` on real servers: everybody's view, side by side, whoever cannot be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.redis_ha.sentinel.plugins.modules import topology_info

from lab import Deployment
from lab.certificates import make_certificates
from lab.documented import mismatches
from lab.modules import run_module

PASSWORD = "a-very-secret-word"
DOCUMENTED = yaml.safe_load(topology_info.RETURN)
ONE_MASTER = DOCUMENTED["masters"]["contains"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Deployment]:
    """Two masters with one replica each, two Sentinels, and a password for the nodes."""
    with Deployment(
        masters=("alpha", "beta"),
        replicas=1,
        sentinels=2,
        down_after_ms=2000,
        node_config=[f"requirepass {PASSWORD}", f"masterauth {PASSWORD}"],
        sentinel_master_config=[f"sentinel auth-pass {{name}} {PASSWORD}"],
        node_auth=(None, PASSWORD),
    ) as deployment:
        yield deployment


def show(deployment: Deployment, **options: Any) -> dict[str, Any]:
    result = run_module(
        "topology_info",
        **{
            "sentinels": deployment.sentinel_addresses[:1],
            "redis_password": PASSWORD,
            "connect_timeout": 1.0,
            **options,
        },
    )
    told = json.dumps({name: value for name, value in result.items() if name != "invocation"})
    assert PASSWORD not in told
    return result


def masters(deployment: Deployment, **options: Any) -> dict[str, Any]:
    """Everything that was returned of each master; every key of it is documented."""
    result = show(deployment, **options)
    assert not result.get("failed"), str(result)
    assert result["changed"] is False
    assert result.keys() - {"invocation"} == {"changed", "masters"}
    found: dict[str, Any] = result["masters"]
    for master in found.values():
        assert mismatches(master, ONE_MASTER) == []
    return found


def by_address(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["address"]: row for row in rows}


def test_all_masters_as_everybody_sees_them(shared: Deployment) -> None:
    found = masters(shared)
    assert found.keys() == {"alpha", "beta"}
    for name, master in found.items():
        primary, (replica,) = shared.master(name), shared.replicas(name)
        assert master["master"] == primary.address
        assert by_address(master["sentinels"]).keys() == set(shared.sentinel_addresses)
        for sentinel in master["sentinels"]:
            assert (sentinel["master"], sentinel["quorum"], sentinel["quorum_ok"]) == (primary.address, 2, True)
            assert (sentinel["flags"], sentinel["failover_in_progress"], sentinel["tilt"]) == (["master"], False, False)
            assert [row["address"] for row in sentinel["replicas"]] == [replica.address]
            others = set(shared.sentinel_addresses) - {sentinel["address"]}
            assert {row["address"] for row in sentinel["sentinels"]} == others
        nodes = by_address(master["nodes"])
        assert nodes.keys() == {primary.address, replica.address}
        assert {address: node["role"] for address, node in nodes.items()} == {
            primary.address: "master",
            replica.address: "replica",
        }
        assert nodes[replica.address]["replication"]["master"] == primary.address
        assert nodes[replica.address]["replication"]["link_up"] is True
        assert [row["address"] for row in nodes[primary.address]["replication"]["replicas"]] == [replica.address]
        assert (nodes[primary.address]["password_set"], nodes[primary.address]["master_auth_set"]) == (True, True)
        assert nodes[primary.address]["config_file"] == str(primary.config_path)


def test_one_master_and_the_same_in_check_mode(shared: Deployment) -> None:
    found = masters(shared, master_name="beta", check_mode=True)
    assert found.keys() == {"beta"}
    assert found["beta"]["master"] == shared.master("beta").address
    assert masters(shared, master_name="").keys() == {"alpha", "beta"}


def test_it_only_asks(shared: Deployment) -> None:
    """What the nodes have counted: nothing is tried in MULTI, nothing is set, nobody is paused."""
    nodes = [*shared.nodes("alpha"), *shared.nodes("beta")]
    for node in nodes:
        node.command("CONFIG", "RESETSTAT")
    masters(shared)
    for node in nodes:
        counted = {name.removeprefix("cmdstat_") for name in node.command("INFO", "commandstats")}
        ours = counted - {
            "ping",
            "publish",
            "replconf",
            # What a master sends a replica before the first command that it hands on.
            "select",
            "config|resetstat",
            "auth",
            "client|setname",
            "client|setinfo",
            "subscribe",
        }
        assert (
            {"info", "role", "config|get"}
            <= ours
            <= {"info", "role", "client|help", "client|list", "module|list", "config|get", "command|docs"}
        )


def test_who_cannot_be_asked_is_listed_with_the_reason(shared: Deployment) -> None:
    (replica,), sentinel = shared.replicas("alpha"), shared.sentinels[1]
    replica.stop()
    sentinel.stop()
    try:
        alpha = masters(shared)["alpha"]
        lost = by_address(alpha["nodes"])[replica.address]
        assert (lost["error"], lost["error_code"]) == ("Connection refused", "unreachable")
        assert {
            value for name, value in lost.items() if name not in ("address", "host", "port", "error", "error_code")
        } == {None}
        lost = by_address(alpha["sentinels"])[sentinel.address]
        assert (lost["error"], lost["error_code"]) == ("Connection refused", "unreachable")
        assert alpha["master"] == shared.master("alpha").address
    finally:
        replica.start()
        sentinel.start()
        shared.wait_ready()


def test_a_wrong_password_for_the_nodes_is_a_finding(shared: Deployment) -> None:
    nodes = masters(shared, redis_password="wrong")["alpha"]["nodes"]
    assert {node["error_code"] for node in nodes} == {"auth"}


def test_where_they_disagree_there_is_no_master(shared: Deployment) -> None:
    (replica,), master, sentinel = shared.replicas("beta"), shared.master("beta"), shared.sentinels[1]

    def monitor(host: str, port: int) -> None:
        sentinel.command("SENTINEL", "REMOVE", "beta")
        sentinel.command("SENTINEL", "MONITOR", "beta", host, str(port), "2")
        sentinel.command("SENTINEL", "SET", "beta", "auth-pass", PASSWORD)

    monitor(replica.host, replica.port)
    try:
        beta = masters(shared, sentinels=shared.sentinel_addresses, master_name="beta")["beta"]
        assert beta["master"] is None
        assert {row["address"]: row["master"] for row in beta["sentinels"]} == {
            shared.sentinels[0].address: master.address,
            sentinel.address: replica.address,
        }
    finally:
        monitor(master.host, master.port)
        shared.wait_ready()


def test_it_fails_only_where_nothing_can_be_asked(shared: Deployment) -> None:
    def error(**options: Any) -> str:
        result = show(shared, **options)
        assert result["failed"], str(result)
        failing = {name: entry for name, entry in DOCUMENTED.items() if entry["returned"] == "when the task fails"}
        assert (
            mismatches(
                {
                    name: value
                    for name, value in result.items()
                    if name not in ("changed", "failed", "msg", "invocation")
                },
                failing,
            )
            == []
        )
        assert result["remedy"]
        return str(result["error"])

    assert error(master_name="gamma") == "master_unknown"
    for name in ("alpha", None):
        assert error(master_name=name, sentinels=["127.0.0.1:1"]) == "sentinel_unreachable"
        assert error(master_name=name, sentinel_password="wrong") == "sentinel_auth"
    assert error(sentinels=["not an address"]) == "option_invalid"


def test_over_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with Deployment(tls=certificates, replicas=1, sentinels=1) as deployment:
        trusted = {
            "tls": True,
            "ca_certs": str(certificates.ca),
            "client_cert_file": str(certificates.client.cert),
            "client_key_file": str(certificates.client.key),
            "redis_password": None,
        }
        found = masters(deployment, **trusted)["mymaster"]
        assert found["master"] == deployment.master().address
        assert [node["error"] for node in found["nodes"]] == [None, None]
        for name in ("mymaster", None):
            result = show(deployment, **{**trusted, "ca_certs": str(certificates.other_ca)}, master_name=name)
            assert (result["failed"], result["error"]) == (True, "sentinel_tls")
