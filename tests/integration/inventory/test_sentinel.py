# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin on real servers: hosts, groups, variables, cache, whoever cannot be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment, LabError
from lab.inventories import Listing, list_inventory, read_by_a_play, write_source
from lab.modules import run_module
from lab.playbooks import Workspace

PASSWORD, SENTINEL_PASSWORD = "a-very-secret-word", "another-secret-word"
CREDENTIALS = {"REDIS_PASSWORD": PASSWORD, "REDIS_SENTINEL_PASSWORD": SENTINEL_PASSWORD}
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture(scope="module")
def shared() -> Iterator[Deployment]:
    """Two masters with one replica each on the first two hosts, three Sentinels, and passwords for both."""
    with Deployment(
        masters=("alpha", "beta"),
        replicas=1,
        sentinels=3,
        down_after_ms=2000,
        host=HOSTS,
        node_config=[f"requirepass {PASSWORD}", f"masterauth {PASSWORD}"],
        sentinel_config=[f"requirepass {SENTINEL_PASSWORD}"],
        sentinel_master_config=[f"sentinel auth-pass {{name}} {PASSWORD}"],
        node_auth=(None, PASSWORD),
        sentinel_auth=(None, SENTINEL_PASSWORD),
    ) as deployment:
        yield deployment


def listing(workspace: Workspace, folder: Path, options: dict[str, Any], **environment: str) -> Listing:
    found = list_inventory(workspace, write_source(folder, options), {**CREDENTIALS, **environment})
    for secret in (PASSWORD, SENTINEL_PASSWORD):
        assert secret not in json.dumps(found.variables) + found.warnings
    return found


def test_hosts_groups_and_variables(shared: Deployment, workspace: Workspace, tmp_path: Path) -> None:
    found = listing(workspace, tmp_path, {"sentinels": shared.sentinel_addresses[:1]})
    assert found.variables.keys() == set(HOSTS)
    for name in ("alpha", "beta"):
        assert found.groups[f"redis_master_of_{name}"] == {shared.master(name).host}
        assert found.groups[f"redis_replicas_of_{name}"] == {node.host for node in shared.replicas(name)}
        assert found.groups[f"redis_sentinels_of_{name}"] == set(HOSTS)
        assert found.groups[f"redis_{name}"] == set(HOSTS)
    assert found.groups["redis_masters"] == {shared.master(name).host for name in ("alpha", "beta")}
    assert found.groups["redis_replicas"] == {node.host for name in ("alpha", "beta") for node in shared.replicas(name)}
    assert found.groups["redis_sentinels"] == set(HOSTS)
    servers = {server["address"]: server for host in found.variables.values() for server in host["redis_servers"]}
    assert servers.keys() == {process.address for process in shared.processes}
    for name in ("alpha", "beta"):
        master, (replica,) = servers[shared.master(name).address], shared.replicas(name)
        assert (master["role"], master["role_reported"], master["master_names"]) == ("master", "master", [name])
        row = servers[replica.address]
        assert (row["role"], row["role_reported"], row["link_up"], row["error"]) == ("replica", "replica", True, None)
        assert isinstance(row["lag_bytes"], int)
        assert row["version"] == ".".join(map(str, shared.server.version))
    for sentinel in shared.sentinels:
        row = servers[sentinel.address]
        assert (row["role"], row["master_names"], row["port"]) == ("sentinel", ["alpha", "beta"], sentinel.port)
    assert found.warnings == ""


def test_a_host_for_each_server_and_what_is_made_of_its_variables(
    shared: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    options = {
        "sentinels": shared.sentinel_addresses,
        "host_for": "server",
        "master_names": ["alpha"],
        "strict": True,
        "compose": {"ansible_port": "22", "url": "'redis://' ~ redis_address"},
        "groups": {"sure": "redis_role == 'replica' and redis_lag_bytes is not none and redis_lag_bytes < 1000000"},
        "keyed_groups": [{"key": "redis_version", "prefix": "version"}],
    }
    found = listing(workspace, tmp_path, options)
    nodes = {f"{node.host}_{node.port}": node for node in shared.nodes("alpha")}
    sentinels = {f"{sentinel.host}_{sentinel.port}" for sentinel in shared.sentinels}
    assert found.variables.keys() == nodes.keys() | sentinels
    for name, node in nodes.items():
        own = found.variables[name]
        assert (own["ansible_host"], own["redis_port"], own["url"]) == (node.host, node.port, f"redis://{node.address}")
    assert found.groups["sure"] == {f"{node.host}_{node.port}" for node in shared.replicas("alpha")}
    (version,) = (name for name in found.groups if name.startswith("version_"))
    assert found.groups[version] == found.variables.keys()


def test_an_address_map_says_where_servers_are_reached(
    shared: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    (replica,), sentinel = shared.replicas("alpha"), shared.sentinels[1]
    options = {
        "sentinels": [f"10.0.0.2:{sentinel.port}"],
        # The second entry leads astray: nothing listens there.
        "address_map": {"10.0.0.2": sentinel.host, replica.address: f"127.0.0.99:{replica.port}"},
        "host_for": "server",
    }
    found = listing(workspace, tmp_path, options)
    assert found.groups["redis_masters"] == {
        f"{node.host}_{node.port}" for node in map(shared.master, ("alpha", "beta"))
    }
    assert f"1 of 4 nodes cannot be asked. {replica.address}: Connection refused" in found.warnings
    assert found.variables[f"{replica.host}_{replica.port}"]["ansible_host"] == "127.0.0.99"
    assert found.variables[f"10.0.0.2_{sentinel.port}"]["ansible_host"] == sentinel.host


def test_what_is_kept_in_the_cache_is_used_until_it_is_flushed(
    shared: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    options = {
        "sentinels": shared.sentinel_addresses,
        "cache": True,
        "cache_plugin": "jsonfile",
        "cache_connection": str(tmp_path / "cache"),
    }
    first = listing(workspace, tmp_path, options)
    (kept,) = (tmp_path / "cache").iterdir()
    assert PASSWORD not in kept.read_text()
    # Nobody is asked: a password that is wrong is not noticed.
    again = listing(workspace, tmp_path, options, REDIS_SENTINEL_PASSWORD="wrong")
    assert (again.variables, again.groups) == (first.variables, first.groups)
    wrong = {**CREDENTIALS, "REDIS_SENTINEL_PASSWORD": "wrong"}
    read_by_a_play(workspace, tmp_path / "sentinel.yml", wrong)
    with pytest.raises(LabError, match="refuses the login"):
        read_by_a_play(workspace, tmp_path / "sentinel.yml", wrong, "--flush-cache")


def test_the_new_master_is_in_the_group_after_a_failover(
    shared: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    (replica,) = shared.replicas("beta")
    moved = run_module(
        "failover",
        sentinels=shared.sentinel_addresses,
        master_name="beta",
        redis_password=PASSWORD,
        sentinel_password=SENTINEL_PASSWORD,
    )
    assert moved["outcome"] == "switched", moved
    found = listing(workspace, tmp_path, {"sentinels": shared.sentinel_addresses})
    assert found.groups["redis_master_of_beta"] == {replica.host}
    shared.wait_ready()


def test_who_cannot_be_asked_is_warned_of_and_does_not_hide_the_rest(
    shared: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    (replica,), sentinel = shared.replicas("alpha"), shared.sentinels[2]
    replica.stop()
    sentinel.stop()
    try:
        found = listing(workspace, tmp_path, {"sentinels": shared.sentinel_addresses})
        assert "1 of 3 Sentinels cannot be asked" in found.warnings
        assert f"1 of 4 nodes cannot be asked. {replica.address}: Connection refused" in found.warnings
        assert found.groups["redis_replicas_of_alpha"] == {replica.host}
        assert found.groups["redis_master_of_alpha"] == {shared.master("alpha").host}
    finally:
        replica.start()
        sentinel.start()
        shared.wait_ready()


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        ({"sentinels": ["127.0.0.1:1"]}, {}, "127.0.0.1:1"),
        ({}, {"REDIS_SENTINEL_PASSWORD": "wrong"}, "refuses the login"),
        ({"master_names": ["gamma"]}, {}, "None of the named Sentinels watches gamma"),
        ({"connect_timeout": 100}, {}, "connect_timeout=100"),
        ({"deployments": [{"sentinels": ["127.0.0.1:1"]}]}, {}, "needs a name of its own"),
        (
            {"deployments": [{"name": "shop", "sentinel": "x"}]},
            {},
            "There is no option sentinel. Those of the connection are sentinels,",
        ),
        ({"deployments": [{"name": "shop", "sentinels": ["127.0.0.1:1"]}]}, {}, "Deployment shop: "),
        ({"client_cert_file": "/dev/null"}, {}, "client_key_file"),
    ],
    ids=[
        "nobody there",
        "wrong password",
        "unknown master",
        "out of range",
        "no name",
        "unknown option",
        "one deployment is not there",
        "certificate without key",
    ],
)
def test_a_source_that_cannot_be_used_fails_with_the_reason(
    options: dict[str, Any],
    environment: dict[str, str],
    said: str,
    shared: Deployment,
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    with pytest.raises(LabError) as failed:
        listing(workspace, tmp_path, {"sentinels": shared.sentinel_addresses, **options}, **environment)
    assert said in str(failed.value)
    assert "Traceback" not in str(failed.value)
    assert SENTINEL_PASSWORD not in str(failed.value)


SECRETS = {f"site{number}": f"the-{number}-secret-word" for number in range(1, 6)}


@pytest.fixture(scope="module")
def five() -> Iterator[dict[str, Deployment]]:
    """Five deployments, each with a password and an address of its own, and all of them with a master of one name."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                Deployment(
                    replicas=1,
                    sentinels=1,
                    host=f"127.0.1.{number}",
                    node_config=[f"requirepass {secret}", f"masterauth {secret}"],
                    sentinel_master_config=[f"sentinel auth-pass {{name}} {secret}"],
                    node_auth=(None, secret),
                )
            )
            for number, (name, secret) in enumerate(SECRETS.items(), 1)
        }


def test_five_deployments_in_one_inventory(five: dict[str, Deployment], workspace: Workspace, tmp_path: Path) -> None:
    deployments = [
        {
            "name": name,
            "sentinels": deployment.sentinel_addresses,
            "redis_password": f"{{{{ lookup('ansible.builtin.env', 'SECRET_OF_{name}') }}}}",
        }
        for name, deployment in five.items()
    ]
    source = write_source(tmp_path, {"deployments": deployments, "host_for": "server"}, "fleet.sentinel.yml")
    found = list_inventory(workspace, source, {f"SECRET_OF_{name}": secret for name, secret in SECRETS.items()})
    assert found.warnings == ""
    for name, deployment in five.items():
        master, (replica,) = deployment.master(), deployment.replicas()
        assert found.groups[f"redis_master_of_{name}_mymaster"] == {f"{master.host}_{master.port}"}
        assert found.groups[f"redis_replicas_of_{name}_mymaster"] == {f"{replica.host}_{replica.port}"}
        assert len(found.groups[f"redis_{name}"]) == 3
        assert found.variables[f"{replica.host}_{replica.port}"]["redis_deployments"] == [name]
    assert len(found.groups["redis_masters"]) == len(found.groups["redis_sentinels"]) == 5
