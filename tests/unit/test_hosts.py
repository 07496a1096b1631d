# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts, groups and variables of the inventory, from what Sentinels and nodes say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import ConnectionOptions
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import NodeView, SentinelView, Snapshot
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._hosts import (
    MACHINE,
    SERVER,
    GroupNameTakenError,
    InventoryHost,
    Row,
    inventory_of,
    server_rows,
    warnings,
)
from unit.builders import L0, L1, L2, NAME, OM, R, S, master_entry, master_node, replica_node, sentinel_view, snapshot

REACHED = ConnectionOptions((L0,))


def views(**changes: Any) -> list[SentinelView]:
    return [sentinel_view(address, process_id=f"process-{address}", **changes) for address in (L0, L1, L2)]


def healthy(**changes: Any) -> Snapshot:
    return snapshot(**{"sentinels": views(), **changes})


def moved_by(ports: int, name: str) -> Snapshot:
    """Another master on the same three machines, its nodes on other ports; its master is where R is."""

    def there(address: Address) -> Address:
        return Address(address.host, address.port + ports)

    own = [
        replace(view, current=there(R), master=master_entry(name=name, address=there(R)), replicas=())
        for view in views()
    ]
    return replace(
        healthy(sentinels=own, nodes=[master_node(there(R)), replica_node(there(OM), link={"master": there(R)})]),
        master_name=name,
    )


def rows(snapshots: Mapping[str, Snapshot], deployment: str = "", options: ConnectionOptions = REACHED) -> list[Row]:
    found = server_rows(deployment, snapshots, options)
    assert json.loads(json.dumps(found)) == found, "a cache could not keep it"
    return found


def hosts(found: list[Row], host_for: str = MACHINE, prefix: str = "redis_") -> dict[str, InventoryHost]:
    inventory = inventory_of(found, host_for, prefix)
    named = {host.name: host for host in inventory.hosts}
    assert len(named) == len(inventory.hosts), "two hosts have one name"
    return named


def test_one_host_for_each_machine_with_groups_by_role() -> None:
    found = hosts(rows({NAME: healthy()}))
    sentinel = ("redis_sentinels", f"redis_sentinels_of_{NAME}")
    assert {name: set(host.groups) for name, host in found.items()} == {
        OM.host: {"redis_masters", f"redis_master_of_{NAME}", *sentinel},
        R.host: {"redis_replicas", f"redis_replicas_of_{NAME}", *sentinel},
        S.host: {"redis_replicas", f"redis_replicas_of_{NAME}", *sentinel},
    }
    assert inventory_of(rows({NAME: healthy()}), MACHINE, "redis_").parents == dict.fromkeys(
        (f"redis_master_of_{NAME}", f"redis_replicas_of_{NAME}", f"redis_sentinels_of_{NAME}"), f"redis_{NAME}"
    )


def test_variables_of_a_host_with_one_node() -> None:
    behind = replica_node(R, link={"applied_offset": 900})
    variables = dict(hosts(rows({NAME: healthy(nodes=[master_node(), behind, replica_node(S)])}))[R.host].variables)
    servers = variables.pop("redis_servers")
    assert variables == {
        "ansible_host": R.host,
        "redis_address": str(R),
        "redis_port": R.port,
        "redis_role": "replica",
        "redis_product": "redis",
        "redis_version": "7.0.15",
        "redis_lag_bytes": 100,
        "redis_master_of": [],
        "redis_replica_of": [NAME],
        "redis_sentinel_of": [NAME],
        "redis_deployments": [],
    }
    assert {(server["address"], server["role"]) for server in servers} == {(str(R), "replica"), (str(L1), "sentinel")}
    (node,) = (server for server in servers if server["role"] == "replica")
    assert node == {
        "address": str(R),
        "host": R.host,
        "port": R.port,
        "role": "replica",
        "role_reported": "replica",
        "master_names": [NAME],
        "deployment": None,
        "product": "redis",
        "version": "7.0.15",
        "lag_bytes": 100,
        "link_up": True,
        "error": None,
    }


def test_a_machine_with_nodes_of_several_masters() -> None:
    found = hosts(rows({"alpha": healthy(), "beta": moved_by(1, "beta")}))
    variables = found[OM.host].variables
    assert (variables["redis_master_of"], variables["redis_replica_of"]) == (["alpha"], ["beta"])
    assert variables["redis_sentinel_of"] == ["alpha", "beta"]
    assert {name: variables[name] for name in ("redis_role", "redis_port", "redis_address")} == dict.fromkeys(
        ("redis_role", "redis_port", "redis_address")
    )
    assert variables["redis_version"] == "7.0.15"
    assert {"redis_master_of_alpha", "redis_replicas_of_beta", "redis_masters", "redis_replicas"} <= set(
        found[OM.host].groups
    )
    assert [server["role"] for server in variables["redis_servers"]].count("sentinel") == 1


def test_a_host_for_each_server() -> None:
    found = hosts(rows({"alpha": healthy(), "beta": moved_by(1, "beta")}), SERVER)
    assert found.keys() == {
        f"{address.host}_{address.port}"
        for address in (OM, R, S, L0, L1, L2, Address(OM.host, OM.port + 1), Address(R.host, R.port + 1))
    }
    assert found[f"{R.host}_{R.port + 1}"].variables["redis_role"] == "master"
    assert found[f"{L0.host}_{L0.port}"].variables["redis_role"] == "sentinel"
    assert found[f"{L0.host}_{L0.port}"].groups == (
        "redis_sentinels",
        "redis_sentinels_of_alpha",
        "redis_sentinels_of_beta",
    )


def test_the_sentinels_say_who_is_master_whatever_a_node_says() -> None:
    returned = master_node(R)
    (node,) = (row for row in rows({NAME: healthy(nodes=[master_node(), returned])}) if row["address"] == str(R))
    assert (node["role"], node["role_reported"]) == ("replica", "master")


def test_most_of_those_that_answer_are_enough() -> None:
    dead = SentinelView(L2, error="Connection refused", error_code="unreachable")
    found = rows({NAME: healthy(sentinels=[views()[0], dead])})
    assert [row["address"] for row in found if row["role"] == "master"] == [str(OM)]
    (gone,) = (row for row in found if row["address"] == str(L2))
    assert (gone["role"], gone["error"], gone["master_names"]) == ("sentinel", "Connection refused", [NAME])


def test_without_agreement_nobody_is_master_or_replica_and_a_warning_says_why() -> None:
    split = healthy(sentinels=[views()[0], replace(views()[1], current=R)])
    found = hosts(rows({NAME: split}))
    assert all(not {"redis_masters", "redis_replicas"} & set(host.groups) for host in found.values())
    assert f"redis_{NAME}" in found[OM.host].groups
    (warning,) = warnings({NAME: split})
    assert warning.startswith("No majority of the Sentinels names one master of mymaster")
    assert f"Sentinel {L0}: {OM}" in warning
    assert warning.endswith("None of its nodes is in redis_masters.")


def test_who_cannot_be_asked_is_there_and_warned_of_in_one_line() -> None:
    gone = [NodeView(address, error="Connection refused", error_code="unreachable") for address in (R, S)]
    shown = healthy(nodes=[master_node(), *gone])
    variables = hosts(rows({NAME: shown}))[R.host].variables
    assert (variables["redis_role"], variables["redis_version"], variables["redis_lag_bytes"]) == (
        "replica",
        None,
        None,
    )
    assert warnings({NAME: shown}) == [f"2 of 3 nodes cannot be asked. {R}: Connection refused."]


def test_a_healthy_deployment_is_worth_no_warning() -> None:
    assert warnings({NAME: healthy()}) == []


def test_a_sentinel_that_answers_and_does_not_know_the_master_has_no_part_in_it() -> None:
    stranger = replace(views()[2], master=None, current=None)
    (row,) = (row for row in rows({NAME: healthy(sentinels=[*views()[:2], stranger])}) if row["address"] == str(L2))
    assert row["master_names"] == []


def test_a_name_is_a_better_host_name_than_an_address() -> None:
    named = Address("db-1", L0.port)
    found = hosts(
        rows(
            {
                NAME: healthy(
                    sentinels=[replace(view, address=named) if view.address == L0 else view for view in views()],
                    identities={named: L0},
                )
            }
        )
    )
    assert "db-1" in found
    assert OM.host not in found
    assert {server["address"] for server in found["db-1"].variables["redis_servers"]} == {str(OM), str(named)}


def test_an_address_map_says_where_a_host_is_reached() -> None:
    options = ConnectionOptions(
        (L0,), address_map={OM.host: "192.0.2.1", str(R): "192.0.2.2:16379", str(L1): "192.0.2.2:36379"}
    )
    identities = {
        OM: Address("192.0.2.1", OM.port),
        L0: Address("192.0.2.1", L0.port),
        R: Address("192.0.2.2", 16379),
        L1: Address("192.0.2.2", 36379),
    }
    found = hosts(rows({NAME: healthy(identities=identities)}, options=options))
    assert {name: host.variables["ansible_host"] for name, host in found.items()} == {
        OM.host: "192.0.2.1",
        R.host: "192.0.2.2",
        S.host: S.host,
    }


def test_containers_behind_one_address_are_hosts_of_their_own() -> None:
    options = ConnectionOptions((L0,), address_map=dict.fromkeys((OM.host, R.host, S.host), "127.0.0.1"))
    everything = {address: Address("127.0.0.1", address.port) for address in (OM, R, S, L0, L1, L2)}
    assert hosts(rows({NAME: healthy(identities=everything)}, options=options)).keys() == {OM.host, R.host, S.host}


def test_several_deployments_have_groups_of_their_own() -> None:
    both = rows({NAME: healthy()}, "shop") + rows({NAME: moved_by(1, NAME)}, "search")
    inventory = inventory_of(both, MACHINE, "redis_")
    (host,) = (host for host in inventory.hosts if host.name == OM.host)
    assert {"redis_shop", "redis_search", f"redis_master_of_shop_{NAME}", f"redis_replicas_of_search_{NAME}"} <= set(
        host.groups
    )
    assert inventory.parents[f"redis_shop_{NAME}"] == "redis_shop"
    assert inventory.parents[f"redis_master_of_shop_{NAME}"] == f"redis_shop_{NAME}"
    assert host.variables["redis_deployments"] == ["search", "shop"]


def test_inner_networks_that_use_the_same_addresses_do_not_become_one_host() -> None:
    found: list[Row] = []
    for deployment, outer in (("one", "192.0.2.1"), ("two", "198.51.100.1")):
        options = ConnectionOptions((L0,), address_map={OM.host: outer})
        shown = healthy(
            sentinels=views()[:1],
            nodes=[master_node()],
            identities={OM: Address(outer, OM.port), L0: Address(outer, L0.port)},
        )
        found += rows({NAME: shown}, deployment, options)
    assert {name: host.variables["ansible_host"] for name, host in hosts(found).items()} == {
        f"{OM.host}_192.0.2.1": "192.0.2.1",
        f"{OM.host}_198.51.100.1": "198.51.100.1",
    }


@pytest.mark.parametrize("names", [("a-b", "a_b"), ("x", "master_of_x"), ("masters", "x")])
def test_one_group_is_for_one_thing(names: tuple[str, str]) -> None:
    with pytest.raises(GroupNameTakenError, match="The group redis_"):
        hosts(rows({name: moved_by(offset, name) for offset, name in enumerate(names)}))


def test_a_prefix_of_ones_own() -> None:
    groups = {group for host in hosts(rows({"masters": healthy()}), prefix="ha-").values() for group in host.groups}
    assert groups == {
        "redis_masters", "redis_replicas", "redis_sentinels",
        "ha_master_of_masters", "ha_replicas_of_masters", "ha_sentinels_of_masters",
    }  # fmt: skip


def test_a_node_of_another_deployment_is_left_out_and_said() -> None:
    stranger = Address("10.0.0.66", 6379)
    apart = master_node(stranger, link={"replid": "f" * 40}, run_id="f" * 40, info={"loading": "0", "db0": "keys=1"})
    shown = healthy(nodes=[master_node(), replica_node(R), replica_node(S), apart])
    assert str(stranger) not in {row["address"] for row in rows({NAME: shown})}
    assert warnings({NAME: shown}) == [
        f"{stranger} is in the tables of the Sentinels of {NAME} and belongs to another deployment. It is left out."
    ]
