# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replies of real servers of every version, read; addresses and events in all their forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    NEVER_MS,
    Address,
    parse_address,
    parse_client_list,
    parse_event,
    parse_info,
    parse_master_entry,
    parse_peer_entries,
    parse_replica_entries,
    parse_replication,
    parse_role,
    parse_version,
)

FOLDER = Path(__file__).parent / "replies"
VERSIONS = sorted(path.name for path in FOLDER.iterdir() if (path / "nodes.json").exists())


def load(version: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / version / f"{name}.json").read_text())
    return content


def test_every_version_is_here() -> None:
    assert VERSIONS == ["redis-6.0", "redis-6.2", "redis-7.0", "redis-8.0", "redis-8.2", "valkey-8.1", "valkey-9.1"]


@pytest.mark.parametrize("version", VERSIONS)
class TestRealReplies:
    """What every version says, the same dataclasses."""

    def test_master_entry(self, version: str) -> None:
        replies = load(version, "sentinel")
        entry = parse_master_entry(replies["SENTINEL MASTER"])
        assert entry.name == "mymaster"
        assert [entry.address.host, str(entry.address.port)] == replies["SENTINEL GET-MASTER-ADDR-BY-NAME"]
        assert entry.flags == {"master"}
        assert (entry.config_epoch, entry.quorum, entry.parallel_syncs) == (0, 2, 1)
        assert (entry.down_after_ms, entry.failover_timeout_ms) == (5000, 60000)
        assert (entry.known_replicas, entry.known_peers) == (2, 2)
        assert 0 < entry.info_age_ms < 60_000
        assert entry.role_reported == "master"
        assert len(entry.run_id) == 40
        assert not entry.failover_in_progress
        assert not entry.objectively_down

    def test_masters_holds_the_same_row(self, version: str) -> None:
        (row,) = load(version, "sentinel")["SENTINEL MASTERS"]
        assert parse_master_entry(row).name == "mymaster"

    def test_replica_entries(self, version: str) -> None:
        replies = load(version, "sentinel")
        master = parse_master_entry(replies["SENTINEL MASTER"])
        entries = parse_replica_entries(replies["SENTINEL REPLICAS"])
        assert len(entries) == 2
        assert list(entries) == sorted(entries, key=lambda entry: entry.address)
        for entry in entries:
            assert entry.master == master.address
            assert entry.flags == {"slave"}
            assert entry.link_up
            assert entry.link_down_ms == 0
            assert (entry.priority, entry.announced, entry.down) == (100, True, False)
            assert 0 < entry.info_age_ms < 60_000
            assert 0 <= entry.last_ok_ping_ms < 5_000
            assert len(entry.run_id) == 40

    def test_peer_entries(self, version: str) -> None:
        entries = parse_peer_entries(load(version, "sentinel")["SENTINEL SENTINELS"])
        assert len(entries) == 2
        for entry in entries:
            assert "sentinel" in entry.flags
            assert len(entry.run_id) == 40
            assert not entry.down

    def test_quorum_is_told(self, version: str) -> None:
        assert load(version, "sentinel")["SENTINEL CKQUORUM"].startswith("OK 3 usable Sentinels")

    def test_sentinel_info(self, version: str) -> None:
        info = parse_info(load(version, "sentinel")["INFO"])
        assert info["sentinel_masters"] == "1"
        assert info["sentinel_tilt"] == "0"
        assert 10 <= int(info["hz"]) <= 19, "the tick that it has drawn"
        wanted = version.partition("-")[2]
        found = parse_version(info.get("valkey_version") or info["redis_version"])
        assert ".".join(map(str, found[:2])) == wanted
        assert ("valkey_version" in info) is version.startswith("valkey")

    def test_sentinel_role(self, version: str) -> None:
        assert parse_role(load(version, "sentinel")["ROLE"]).role == "sentinel"

    def test_replication_of_a_master(self, version: str) -> None:
        replies = load(version, "nodes")["master"]
        state = parse_replication(parse_info(replies["INFO replication"]))
        assert state.is_master
        assert state.master is None
        assert state.applied_offset == -1
        assert len(state.replid) == 40
        assert state.failover_state == "no-failover"
        assert len(state.attached) == 2
        assert {replica.state for replica in state.attached} == {"online"}
        assert all(replica.address.port for replica in state.attached)
        assert state.backlog_active
        assert state.backlog_size == 64 * 2**20
        whole = parse_replication(parse_info(replies["INFO"]))
        assert whole.is_master

    def test_replication_of_a_replica(self, version: str) -> None:
        replies = load(version, "nodes")
        state = parse_replication(parse_info(replies["replica"]["INFO replication"]))
        master = parse_replication(parse_info(replies["master"]["INFO replication"]))
        assert (state.role, state.link_up, state.sync_in_progress, state.read_only) == ("replica", True, False, True)
        assert state.master is not None
        assert state.replid == master.replid
        assert state.priority == 100
        assert 0 <= state.applied_offset <= master.offset
        assert state.link_down_s == -1
        assert state.attached == ()

    def test_role(self, version: str) -> None:
        replies = load(version, "nodes")
        master, replica = parse_role(replies["master"]["ROLE"]), parse_role(replies["replica"]["ROLE"])
        assert (master.role, master.is_master, master.master) == ("master", True, None)
        assert (replica.role, replica.is_master, replica.link) == ("replica", False, "connected")
        assert replica.master is not None
        assert master.offset >= replica.offset >= 0

    def test_client_list(self, version: str) -> None:
        rows = parse_client_list(load(version, "nodes")["master"]["CLIENT LIST"])
        assert len(rows) >= 8, "two connections of each Sentinel, two replicas, and our own"
        assert len({row.id for row in rows}) == len(rows)
        assert all(row.id > 0 and row.address for row in rows)
        assert sum(row.name.startswith("sentinel-") for row in rows) == 6

    def test_the_entry_after_a_failover(self, version: str) -> None:
        before, after = load(version, "sentinel"), load(version, "sentinel_after")
        old, new = parse_master_entry(before["SENTINEL MASTER"]), parse_master_entry(after["SENTINEL MASTER"])
        assert new.address != old.address
        assert new.config_epoch == 1
        assert old.address in {entry.address for entry in parse_replica_entries(after["SENTINEL REPLICAS"])}

    def test_events_of_a_failover(self, version: str) -> None:
        replies = load(version, "sentinel_after")
        old = parse_master_entry(load(version, "sentinel")["SENTINEL MASTER"]).address
        new = parse_master_entry(replies["SENTINEL MASTER"]).address
        events = {channel: parse_event(channel, payload) for channel, payload in replies["events"]}
        assert {"+try-failover", "+elected-leader", "+selected-slave", "+promoted-slave", "+switch-master"} <= set(
            events
        )
        assert events["+try-failover"].instance == old
        assert events["+selected-slave"].instance == events["+promoted-slave"].instance == new
        assert events["+switch-master"].instance == new
        for channel in ("+try-failover", "+promoted-slave", "+switch-master", "+failover-end", "-role-change"):
            assert events[channel].master_name == "mymaster"


@pytest.mark.parametrize(
    ("text", "default_port", "expected"),
    [
        ("10.0.0.1:6379", None, Address("10.0.0.1", 6379)),
        ("redis-1.example:1", None, Address("redis-1.example", 1)),
        ("host:65535", 26379, Address("host", 65535)),
        ("host", 26379, Address("host", 26379)),
        (" host:6379 ", None, Address("host", 6379)),
        ("[::1]:6379", None, Address("::1", 6379)),
        ("[2001:db8::1]", 26379, Address("2001:db8::1", 26379)),
    ],
)
def test_addresses(text: str, default_port: int | None, expected: Address) -> None:
    assert parse_address(text, default_port) == expected


@pytest.mark.parametrize(
    ("text", "default_port", "reason"),
    [
        ("", 1, "is not host:port"),
        ("host", None, "has no port"),
        ("[::1]", None, "has no port"),
        ("::1:6379", None, "[address]:port"),
        ("host:", None, "is not host:port"),
        (":6379", None, "is not host:port"),
        ("host:port", None, "is not host:port"),
        ("host:-1", None, "is not host:port"),
        ("a b:1", None, "is not host:port"),
        ("[]:1", None, "is not host:port"),
        ("[::1:1", None, "is not host:port"),
        ("host:0", None, "from 1 to 65535"),
        ("host:65536", None, "from 1 to 65535"),
        ("host", 0, "from 1 to 65535"),
    ],
)
def test_what_is_no_address(text: str, default_port: int | None, reason: str) -> None:
    with pytest.raises(ValueError, match=r"is not|has no port|must be from") as caught:
        parse_address(text, default_port)
    assert reason in str(caught.value)


@pytest.mark.parametrize("host", ["redis..example", f"{'a' * 64}.example"])
def test_what_no_host_can_be_called(host: str) -> None:
    with pytest.raises(ValueError, match=f"'{host}:1': no host is called so"):
        parse_address(f"{host}:1")


@pytest.mark.parametrize("text", ["10.0.0.1:6379", "[::1]:6379", "redis.example:1"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7.0.15", (7, 0, 15)), ("8.0", (8, 0, 0)), ("7.4.0-rc1", (7, 4, 0)), ("", (0, 0, 0)), ("unstable", (0, 0, 0))],
)
def test_versions(text: str, expected: tuple[int, int, int]) -> None:
    assert parse_version(text) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [("0", NEVER_MS), ("1", 1), ("9999", 9999), ("1700000000000", NEVER_MS), ("", NEVER_MS), ("x", NEVER_MS)],
)
def test_the_age_of_an_info_that_never_came(shown: str, expected: int) -> None:
    assert parse_master_entry(["info-refresh", shown]).info_age_ms == expected
    (entry,) = parse_replica_entries([["ip", "h", "port", "1", "info-refresh", shown]])
    assert entry.info_age_ms == expected


@pytest.mark.parametrize(("run_id", "expected"), [("a" * 40, 0), ("", NEVER_MS)])
def test_an_age_of_0_ms_is_not_never_where_info_has_brought_the_run_id(run_id: str, expected: int) -> None:
    assert parse_master_entry(["info-refresh", "0", "runid", run_id]).info_age_ms == expected
    (entry,) = parse_replica_entries([["ip", "h", "port", "1", "info-refresh", "0", "runid", run_id]])
    assert entry.info_age_ms == expected


@pytest.mark.parametrize(
    ("flags", "down"),
    [
        ("slave", False),
        ("slave,reconf_done", False),
        ("s_down,slave", True),
        ("slave,disconnected", True),
        ("o_down,slave", True),
        ("slave,master_down", False),
    ],
)
def test_flags_of_a_replica(flags: str, down: bool) -> None:
    (entry,) = parse_replica_entries([["ip", "h", "port", "1", "flags", flags]])
    assert entry.down is down
    (peer,) = parse_peer_entries([["ip", "h", "port", "1", "flags", flags.replace("slave", "sentinel")]])
    assert peer.down is down


def test_a_replica_that_is_not_announced() -> None:
    (entry,) = parse_replica_entries([["ip", "h", "port", "1", "replica-announced", "0"]])
    assert not entry.announced


def test_a_replica_in_the_middle_of_a_full_synchronisation() -> None:
    state = parse_replication(
        parse_info(
            "role:slave\r\nmaster_host:::1\r\nmaster_port:6379\r\nmaster_link_status:down\r\n"
            "master_sync_in_progress:1\r\nmaster_sync_total_bytes:100\r\nmaster_sync_read_bytes:40\r\n"
            "master_sync_left_bytes:60\r\nmaster_link_down_since_seconds:7\r\nslave_read_only:0\r\n"
        )
    )
    assert state.master == Address("::1", 6379)
    assert (state.sync_in_progress, state.link_up, state.link_down_s, state.read_only) == (True, False, 7, False)
    assert (state.sync_read_bytes, state.sync_left_bytes, state.sync_total_bytes) == (40, 60, 100)


MASTER = "master mymaster 10.0.0.1 6379"
REPLICA = "slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379"
SENTINEL = "sentinel abcdef 10.0.0.9 26379 @ mymaster 10.0.0.1 6379"
OM, R, PEER = Address("10.0.0.1", 6379), Address("10.0.0.2", 6379), Address("10.0.0.9", 26379)


@pytest.mark.parametrize(
    ("channel", "payload", "name", "instance"),
    [
        ("+new-epoch", "3", "", None),
        ("+try-failover", MASTER, "mymaster", OM),
        ("-failover-abort-no-good-slave", MASTER, "mymaster", OM),
        ("+vote-for-leader", "abcdef 3", "", None),
        ("+selected-slave", REPLICA, "mymaster", R),
        ("+promoted-slave", REPLICA, "mymaster", R),
        ("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6379", "mymaster", R),
        ("+switch-master", "mymaster ::1 6379 2001:db8::2 6379", "mymaster", Address("2001:db8::2", 6379)),
        ("+config-update-from", SENTINEL, "mymaster", PEER),
        ("+sdown", MASTER, "mymaster", OM),
        ("+sdown", REPLICA, "mymaster", R),
        ("+sdown", SENTINEL, "mymaster", PEER),
        ("+odown", f"{MASTER} #quorum 2/2", "mymaster", OM),
        ("-role-change", f"{REPLICA} new reported role is master", "mymaster", R),
        ("+tilt", "#tilt mode entered", "", None),
        ("-tilt", "#tilt mode exited", "", None),
        ("+sentinel-address-switch", f"{MASTER} ip 10.0.0.9 port 26379 for abcdef", "mymaster", OM),
        ("+monitor", f"{MASTER} quorum 2", "mymaster", OM),
        ("+set", f"{MASTER} failover-timeout", "mymaster", OM),
        ("-script-error", "/path 0 3", "", None),
        ("+slave", "slave [::2]:6379 ::2 6379 @ mymaster ::1 6379", "mymaster", Address("::2", 6379)),
        ("+slave", "slave [::2]:6379 [::2] 6379 @ mymaster ::1 6379", "mymaster", Address("::2", 6379)),
        ("+try-failover", "master mymaster", "", None),
        ("+try-failover", "master mymaster host port", "mymaster", None),
        ("+switch-master", "", "", None),
        ("", "", "", None),
    ],
)
def test_events(channel: str, payload: str, name: str, instance: Address | None) -> None:
    event = parse_event(channel, payload)
    assert (event.channel, event.payload, event.master_name, event.instance) == (channel, payload, name, instance)


def test_the_value_that_was_set_is_not_kept() -> None:
    assert "secret" not in str(parse_event("+set", f"{MASTER} auth-pass secret"))


def test_the_names_of_clients() -> None:
    rows = parse_client_list(
        "id=7 addr=10.0.0.1:5 name=ours user=ops flags=bN cmd=set\nid=8 addr=[::1]:5 name= cmd=ping\n"
    )
    assert [(row.id, row.name, row.address) for row in rows] == [(7, "ours", "10.0.0.1:5"), (8, "", "[::1]:5")]
    assert (rows[0].user, rows[0].flags, rows[0].command) == ("ops", "bN", "set")
