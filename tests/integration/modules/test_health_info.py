# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`health_info` on real servers: silent on what is healthy, and each bad state named with its remedy."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.redis_ha.sentinel.plugins.modules import health_info, topology_info

from lab import Deployment, Process
from lab.certificates import make_certificates
from lab.deployment import Place
from lab.documented import mismatches
from lab.machine import times_slower
from lab.modules import run_module
from lab.servers import known_specs

OUR_PASSWORD = "our-very-secret-word"
SENTINELS_PASSWORD = "another-very-secret-word"
SECRETS = (OUR_PASSWORD, SENTINELS_PASSWORD)

DOCUMENTED = yaml.safe_load(health_info.RETURN)

FIRST_CHOICE = 50
"""The priority of the replica that is promoted: lower than the others', so that nothing has to be steered."""


def look(deployment: Deployment, phase: str = "before", **options: Any) -> dict[str, Any]:
    """Run the module against one Sentinel of a deployment, and see that it tells no secrets."""
    result = run_module(
        "health_info",
        **{
            "sentinels": deployment.sentinel_addresses[:1],
            "master_name": "mymaster",
            "phase": phase,
            "patience": 0,
            "connect_timeout": 1.0,
            **options,
        },
    )
    told = json.dumps({name: value for name, value in result.items() if name != "invocation"})
    assert not [secret for secret in SECRETS if secret in told]
    assert not result.get("failed"), str(result)
    assert result["changed"] is False
    assert result["healthy"] == all(check["status"] != "critical" for check in result["checks"])
    return result


def wrong(result: dict[str, Any]) -> dict[str, str]:
    """Everything that is not ok: the worst status of each check by its name."""
    statuses: dict[str, str] = {}
    for check in result["checks"]:
        if check["status"] != "ok":
            assert check["remedy"], check
            statuses[check["name"]] = (
                "critical" if "critical" in (check["status"], statuses.get(check["name"])) else "warning"
            )
    return statuses


def told(result: dict[str, Any], name: str) -> str:
    """What a check says is wrong, and what to do, in one text."""
    lines = [f"{check['detail']} -> {check['remedy']}" for check in result["checks"] if check["name"] == name]
    return "\n".join(lines)


def fail_over(deployment: Deployment, outcome: str = "switched", **options: Any) -> dict[str, Any]:
    result = run_module("failover", sentinels=deployment.sentinel_addresses[:1], master_name="mymaster", **options)
    assert result["outcome"] == outcome, str(result)
    return result


def row(sentinel: Process) -> dict[str, str]:
    """What a Sentinel says of the master."""
    return _fields(sentinel.command("SENTINEL", "MASTER", "mymaster"))


# ---- healthy deployments ---------------------------------------------------------------------------------------------


def prefer_node_1(place: Place) -> Sequence[str]:
    return [f"replica-priority {FIRST_CHOICE}"] if place.index == 1 else []


IPV6 = {"host": "::1"}


SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "IPv6, Redis": ("redis-7.0", IPV6),
    "IPv6, Valkey": ("valkey-9.1", IPV6),
    "several masters": ("redis-7.0", {"masters": ("mymaster", "other"), "replicas": 1}),
}


@pytest.mark.parametrize("spec", known_specs())
def test_nothing_is_wrong_with_a_healthy_deployment(spec: str) -> None:
    """Before, right after a failover by our module, and before the next one; and what each version shows of a pause and of a file."""
    with Deployment(spec, node_config=prefer_node_1) as deployment:
        old, after = _lives_through_a_failover(deployment, check_config_writable=True)
        assert told(after, "old_master").startswith(f"{old.address} is a replica, and its configuration file says so")
        _see_what_the_version_shows(deployment)
        assert_documented(after)


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_is_wrong_with_a_healthy_deployment_of_another_kind(name: str) -> None:
    spec, shape = SHAPES[name]
    with Deployment(spec, node_config=prefer_node_1, **shape) as deployment:
        _lives_through_a_failover(deployment)
        for other in deployment.master_names[1:]:
            assert wrong(look(deployment, master_name=other, patience=3)) == {}


def test_nothing_is_wrong_with_cascades() -> None:
    """Replicas of replicas, which Sentinel does not know: one of the replica that is promoted, one of another."""
    with (
        Deployment("redis-7.0", node_config=prefer_node_1) as deployment,
        Deployment("redis-7.0", replicas=1, sentinels=0) as below,
    ):
        # What follows the replica that is promoted becomes known to Sentinel: within ten seconds, if it is not asked sooner.
        deployment.ask_every_second()
        for node, leader in zip(below.nodes(), deployment.replicas(), strict=True):
            node.command("REPLICAOF", leader.host, str(leader.port))
        deployment.master().command("SET", "written", "before")
        deployment.wait_for(
            lambda: [node.command("GET", "written") for node in below.nodes()] == ["before"] * 2, 10, "all to have it"
        )
        _lives_through_a_failover(deployment)
        deployment.master().command("SET", "written", "after")
        deployment.wait_for(
            lambda: [node.command("GET", "written") for node in below.nodes()] == ["after"] * 2, 10, "all to have it"
        )


def _lives_through_a_failover(deployment: Deployment, **options: Any) -> tuple[Process, dict[str, Any]]:
    """Nothing is wrong before it, right after it, and before the next one; the old master, and what was seen right after."""
    before = look(deployment, patience=3, **options)
    assert wrong(before) == {}
    old, new = deployment.master(), deployment.nodes()[1]
    assert fail_over(deployment, check_mode=True, outcome="planned")["plan"]["steering"] == {}
    moved = fail_over(deployment)
    assert (moved["new_master"], moved["lossless"]) == ({"host": new.host, "port": new.port}, True)
    after = look(deployment, "after", baseline=before["snapshot"], patience=3, **options)
    assert wrong(after) == {}
    assert f"from {old.address} to {new.address}" in told(after, "master_moved")
    assert "0 full" in told(after, "resynchronised")
    assert wrong(look(deployment, patience=3)) == {}
    return old, after


HOST_NAMES = {
    "host": "localhost",
    "node_config": ["replica-announce-ip localhost"],
    "sentinel_config": ["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"],
}


@pytest.mark.parametrize(
    "shape", [{"replicas": 1}, {"replicas": 4, "sentinels": 5}, HOST_NAMES], ids=["small", "large", "names"]
)
def test_nothing_is_wrong_with_another_shape(shape: dict[str, Any]) -> None:
    with Deployment("redis-7.0", **shape) as deployment:
        assert wrong(look(deployment, patience=3)) == {}


def test_nothing_is_wrong_over_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with Deployment("redis-7.0", tls=certificates) as deployment:
        result = look(
            deployment,
            patience=3,
            tls=True,
            ca_certs=str(certificates.ca),
            client_cert_file=str(certificates.client.cert),
            client_key_file=str(certificates.client.key),
        )
        assert wrong(result) == {}


def _see_what_the_version_shows(deployment: Deployment) -> None:
    """A pause of writes on a replica, and a Sentinel that cannot save its configuration."""
    name = deployment.server.name
    replica, sentinel = deployment.replicas()[0], deployment.sentinels[1]
    has_write_pause = not name.startswith("redis-6.0")
    replica.command("CLIENT", "PAUSE", "20000", *(["WRITE"] if has_write_pause else []))
    with file_replaced_by_a_folder(sentinel):
        result = look(deployment, "after", connect_timeout=0.5, check_config_writable=True)
    if has_write_pause:
        assert f"a pause holds writes on {replica.address}: " in told(result, "no_pause")
        assert "CLIENT UNPAUSE" in told(result, "no_pause")
        # What the master sends meanwhile waits, too.
        expected = {"no_pause"} | (wrong(result).keys() & {"replica_follows"})
    else:
        # There a pause holds everything.
        assert f"node {replica.address}: it does not answer in time" in told(result, "nodes_reachable")
        expected = {"nodes_reachable"}
    if name.startswith("redis-6"):
        assert told(result, "sentinel_config_writable").startswith("not known: before Redis 7.0 a Sentinel says OK")
    else:
        assert f"Sentinel {sentinel.address} cannot save its configuration" in told(result, "sentinel_config_writable")
        assert "full disk" in told(result, "sentinel_config_writable")
        expected |= {"sentinel_config_writable"}
    assert wrong(result) == dict.fromkeys(expected, "critical")


@contextlib.contextmanager
def file_replaced_by_a_folder(process: Process) -> Iterator[None]:
    """A file that even root cannot rewrite."""
    kept = process.config_path.with_suffix(".kept")
    process.config_path.rename(kept)
    process.config_path.mkdir()
    try:
        yield
    finally:
        process.config_path.rmdir()
        kept.rename(process.config_path)


def assert_documented(result: dict[str, Any]) -> None:
    """Every key is in RETURN, and the other way round; the snapshot has what topology_info returns."""
    returned = {name: value for name, value in result.items() if name not in ("changed", "invocation")}
    assert (
        mismatches(returned, {name: entry for name, entry in DOCUMENTED.items() if entry["returned"] == "success"})
        == []
    )
    one_master = yaml.safe_load(topology_info.RETURN)["masters"]["contains"]
    snapshot = {name: value for name, value in result["snapshot"].items() if name not in ("master_name", "taken_at")}
    assert mismatches(snapshot, one_master) == []


# ---- bad states ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared() -> Iterator[Deployment]:
    """Users and passwords everywhere, and a Sentinel that asks every second, so that what is undone is seen to be undone soon."""
    with Deployment(
        down_after_ms=2000,
        node_config=[
            f"requirepass {OUR_PASSWORD}",
            f"masterauth {OUR_PASSWORD}",
            f"user watcher on >{SENTINELS_PASSWORD} ~* &* +@all",
        ],
        sentinel_master_config=[
            "sentinel auth-user {name} watcher",
            f"sentinel auth-pass {{name}} {SENTINELS_PASSWORD}",
        ],
        node_auth=(None, OUR_PASSWORD),
    ) as deployment:
        deployment.ask_every_second()
        yield deployment


def look_at(deployment: Deployment, phase: str = "before", **options: Any) -> dict[str, Any]:
    return look(deployment, phase, **{"redis_password": OUR_PASSWORD, **options})


@pytest.fixture
def sick(shared: Deployment) -> Iterator[Deployment]:
    """A deployment to bring into a bad state; each test undoes it, and the next one begins with a healthy one."""
    yield shared
    shared.wait_ready()
    shared.wait_for(lambda: all(map(_is_well_informed, shared.sentinels)), 10, "every Sentinel to have looked again")


def _is_well_informed(sentinel: Process) -> bool:
    replicas = [_fields(reply) for reply in sentinel.command("SENTINEL", "REPLICAS", "mymaster")]
    return all(
        replica["slave-priority"] == "100"
        and int(replica["info-refresh"]) < 2500
        and int(replica["last-ok-ping-reply"]) < 2500
        for replica in replicas
    )


def _fields(reply: list[str]) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def flags_of_peers(sentinel: Process) -> str:
    """How a Sentinel sees the others."""
    return " ".join(_fields(reply)["flags"] for reply in sentinel.command("SENTINEL", "SENTINELS", "mymaster"))


@contextlib.contextmanager
def setting(process: Process, **settings: object) -> Iterator[None]:
    """CONFIG SET, and back."""
    names = {name.replace("_", "-"): value for name, value in settings.items()}
    before = {name: _get(process, name) for name in names}
    for name, value in names.items():
        process.command("CONFIG", "SET", name, str(value))
    try:
        yield
    finally:
        for name, value in before.items():
            process.command("CONFIG", "SET", name, value)


def _get(process: Process, name: str) -> str:
    with process.client() as client:
        return str(client.config_get(name)[name])


def info(process: Process) -> dict[str, Any]:
    with process.client() as client:
        return dict(client.info("replication"))


def test_a_replica_is_stopped(sick: Deployment) -> None:
    replica = sick.replicas()[0]
    replica.stop()
    try:
        sick.wait_for(
            lambda: all(
                "s_down" in " ".join(map(str, sentinel.command("SENTINEL", "REPLICAS", "mymaster")))
                for sentinel in sick.sentinels
            ),
            10,
            "every Sentinel to see it down",
        )
        result = look_at(sick, min_fit_replicas=2)
        assert wrong(result) == {"fit_replicas": "critical", "replica": "warning", "known_replicas": "warning"}
        assert f"1 of 2 replicas is fit, 2 are wanted ({replica.address}: " in told(result, "fit_replicas")
        assert f"replica {replica.address} is not fit: " in told(result, "replica")
        assert "it cannot be asked: Connection refused" in told(result, "replica")
        assert "Start it" in told(result, "replica")
        assert f"known to the Sentinels and dead: replica {replica.address}" in told(result, "known_replicas")
        result = look_at(sick, "after")
        assert wrong(result)["nodes_reachable"] == "critical"
        assert f"node {replica.address}: Connection refused -> Start it" in told(result, "nodes_reachable")
    finally:
        replica.start()


def test_a_replica_lags(sick: Deployment) -> None:
    replica = sick.replicas()[0]
    replica.command("CLIENT", "PAUSE", "60000", "WRITE")
    try:
        for number in range(3):
            sick.master().command("SET", f"key-{number}", "x" * 1_000_000)
        result = look_at(sick, max_lag_bytes=1_000_000, min_fit_replicas=2)
        assert wrong(result) == {"replica": "warning", "fit_replicas": "critical", "no_pause": "warning"}
        assert "bytes behind the master, 1000000 are allowed" in told(result, "replica")
        assert "Wait until it has caught up, or raise max_lag_bytes." in told(result, "replica")
        result = look_at(sick, "after")
        assert wrong(result) == {"replica_follows": "critical", "no_pause": "critical"}
        assert f"{replica.address} stands still at offset" in told(result, "replica_follows")
    finally:
        replica.command("CLIENT", "UNPAUSE")


def test_a_replica_is_never_to_be_promoted(sick: Deployment) -> None:
    replica = sick.replicas()[0]
    with setting(replica, replica_priority=0):
        result = look_at(sick, min_fit_replicas=2)
        assert wrong(result) == {"replica": "warning", "fit_replicas": "critical"}
        assert f"replica {replica.address} is not fit: its replica-priority is 0" in told(result, "replica")
        assert "Set its replica-priority to more than 0" in told(result, "replica")


def test_a_replica_cannot_log_in_to_the_master(sick: Deployment) -> None:
    replica = sick.replicas()[0]
    with setting(replica, masterauth="wrong"):
        replica.command("CLIENT", "KILL", "TYPE", "master")
        sick.wait_for(lambda: info(replica)["master_link_status"] == "down", 5, "its link to break")
        result = look_at(sick, min_fit_replicas=2)
        assert {"replica", "fit_replicas", "replication_login"} <= wrong(result).keys()
        assert "its link to the master is down" in told(result, "replica")
        assert "Mend its replication: look at masterauth" in told(result, "replica")
        assert f"{replica.address} (a replica) could not follow a new master" in told(result, "replication_login")
        result = look_at(sick, "after")
        assert wrong(result)["replica_follows"] == "critical"
        assert f"{replica.address} has no link to the master" in told(result, "replica_follows")


def test_a_replica_follows_nobody(sick: Deployment) -> None:
    replica, master = sick.replicas()[0], sick.master()
    replica.command("REPLICAOF", "127.0.0.1", "1")
    try:
        result = look_at(sick, min_fit_replicas=2)
        assert wrong(result)["fit_replicas"] == "critical"
        assert "it follows 127.0.0.1:1, not the master" in told(result, "replica")
        result = look_at(sick, "after")
        assert f"{replica.address} does not follow the master: it follows 127.0.0.1:1" in told(
            result, "replica_follows"
        )
        assert "REPLICAOF the master" in told(result, "replica_follows")
    finally:
        replica.command("REPLICAOF", master.host, str(master.port))


def test_a_replica_is_chained(sick: Deployment) -> None:
    (one, other), master = sick.replicas(), sick.master()
    other.command("REPLICAOF", one.host, str(one.port))
    try:
        sick.wait_for(lambda: info(other)["master_link_status"] == "up", 10, "the chain to be up")
        result = look_at(sick, min_fit_replicas=2)
        assert wrong(result)["fit_replicas"] == "critical"
        assert f"it follows {one.address}, not the master" in told(result, "replica")
        result = look_at(sick, "after")
        assert {"replica_follows": "critical", "no_chain": "critical"}.items() <= wrong(result).items()
        assert f"{other.address} is chained: it follows {one.address}" in told(result, "replica_follows")
        assert f"{other.address} is chained behind the replica {one.address}" in told(result, "no_chain")
    finally:
        other.command("REPLICAOF", master.host, str(master.port))


def test_a_sentinel_is_down_and_then_the_quorum_is_lost(sick: Deployment) -> None:
    first, second, third = sick.sentinels
    third.stop()
    try:
        sick.wait_for(
            lambda: all("s_down" in flags_of_peers(sentinel) for sentinel in (first, second)),
            10,
            "it to be called down",
        )
        result = look_at(sick)
        assert wrong(result) == {"sentinels_reachable": "critical", "known_sentinels": "warning"}
        said = f"2 of the 3 known Sentinels answer, 3 are wanted; Sentinel {third.address}"
        assert said in told(result, "sentinels_reachable")
        assert "set min_sentinels to accept that fewer answer" in told(result, "sentinels_reachable")
        assert f"known and dead: Sentinel {third.address}" in told(result, "known_sentinels")
        assert "SENTINEL RESET" in told(result, "known_sentinels")
        second.stop()
        sick.wait_for(lambda: flags_of_peers(first).count("s_down") == 2, 10, "the quorum to be lost")
        result = look_at(sick, min_sentinels=1)
        assert {"sentinels_reachable": "warning", "quorum": "critical"}.items() <= wrong(result).items()
        assert f"Sentinel {first.address}: " in told(result, "quorum")
        assert "Start the Sentinels that are down" in told(result, "quorum")
    finally:
        for sentinel in (second, third):
            if not sentinel.alive:
                sentinel.start()
                sentinel.command("SENTINEL", "DEBUG", "info-period", "1000")


def test_a_sentinel_is_cut_off(sick: Deployment) -> None:
    """It reaches no node any more; the others, and we, reach it."""
    sentinel = sick.sentinels[1]
    sentinel.command("SENTINEL", "SET", "mymaster", "auth-pass", "wrong")
    try:
        sick.wait_for(lambda: "s_down" in row(sentinel)["flags"], 10, "it to see the master down")
        result = look_at(sick)
        assert wrong(result)["master_seen"] == "critical"
        assert f"Sentinel {sentinel.address} sees the master {sick.master().address} as " in told(result, "master_seen")
        assert "this Sentinel is cut off: mend its network, or its auth-user and auth-pass" in told(
            result, "master_seen"
        )
    finally:
        sentinel.command("SENTINEL", "SET", "mymaster", "auth-pass", SENTINELS_PASSWORD)


def test_a_sentinel_is_not_reached_by_the_others(sick: Deployment) -> None:
    sentinel = sick.sentinels[1]
    for each in sick.sentinels:
        each.command("ACL", "SETUSER", "operator", "on", f">{OUR_PASSWORD}", "&*", "+@all")
    with sentinel.client() as client:
        client.execute_command("AUTH", "operator", OUR_PASSWORD)
        client.acl_setuser("default", enabled=False)
        client.client_kill_filter(_type="normal", skipme=True)
        try:
            others = [other for other in sick.sentinels if other is not sentinel]
            sick.wait_for(
                lambda: all("s_down" in flags_of_peers(other) for other in others), 10, "the others to see it down"
            )
            result = look_at(sick, sentinel_username="operator", sentinel_password=OUR_PASSWORD)
            assert wrong(result) == {"known_sentinels": "critical"}
            for other in others:
                said = f"Sentinel {other.address} does not reach Sentinel {sentinel.address} ("
                assert said in told(result, "known_sentinels")
            assert "Mend the network between the two, or their passwords" in told(result, "known_sentinels")
        finally:
            client.acl_setuser("default", enabled=True, nopass=True)


def test_a_sentinel_is_in_tilt(sick: Deployment) -> None:
    sentinel = sick.sentinels[2]
    sentinel.command("SENTINEL", "DEBUG", "tilt-trigger", "300", "tilt-period", "4000")
    try:
        sentinel.pause()
        time.sleep(0.6)  # twice as long as it takes to be called TILT
        sentinel.resume()
        result = look_at(sick)
        assert wrong(result)["no_tilt"] == "critical"
        assert f"Sentinel {sentinel.address} is in TILT" in told(result, "no_tilt")
        assert "Wait 30 s for it to leave TILT by itself" in told(result, "no_tilt")
    finally:
        sentinel.command("SENTINEL", "DEBUG", "tilt-trigger", "2000")
        sick.wait_for(lambda: sentinel.command("INFO", "sentinel")["sentinel_tilt"] == 0, 10, "it to leave TILT")
        sentinel.command("SENTINEL", "DEBUG", "tilt-period", "30000")


def test_a_sentinel_disagrees(sick: Deployment) -> None:
    sentinel, master, replica = sick.sentinels[2], sick.master(), sick.replicas()[0]
    _monitor(sentinel, replica)
    sentinel.command("SENTINEL", "SET", "mymaster", "quorum", "1")
    try:
        result = look_at(sick)
        assert wrong(result)["sentinels_agree"] == "critical"
        assert f"{sentinel.address} says {replica.address} of epoch 0" in told(result, "sentinels_agree")
        assert "never agree by themselves" in told(result, "sentinels_agree")
        assert wrong(result)["sentinel_settings"] == "warning"
        assert f"quorum is 2 at {sick.sentinels[0].address}" in told(result, "sentinel_settings")
        sentinel.command("SENTINEL", "REMOVE", "mymaster")
        assert f"Sentinel {sentinel.address} knows no master named 'mymaster', the others do" in told(
            look_at(sick), "sentinels_agree"
        )
    finally:
        _monitor(sentinel, master)


def _monitor(sentinel: Process, master: Process) -> None:
    if "mymaster" in sentinel.command("ROLE")[1]:
        sentinel.command("SENTINEL", "REMOVE", "mymaster")
    sentinel.command("SENTINEL", "MONITOR", "mymaster", master.host, str(master.port), "2")
    for option, value in (
        ("auth-user", "watcher"),
        ("auth-pass", SENTINELS_PASSWORD),
        ("down-after-milliseconds", "2000"),
        ("failover-timeout", "60000"),
    ):
        sentinel.command("SENTINEL", "SET", "mymaster", option, value)


def test_the_master_could_not_follow_a_new_one(sick: Deployment) -> None:
    master = sick.master()
    with setting(master, masterauth=""):
        result = look_at(sick)
        assert wrong(result) == {"replication_login": "critical"}
        text = told(result, "replication_login")
        assert f"{master.address} (the master) could not follow a new master, it has no masterauth" in text
        assert "CONFIG SET masterauth" in text


def test_too_few_replicas_would_be_left(sick: Deployment) -> None:
    one, other = sick.replicas()
    with setting(one, min_replicas_to_write=3), setting(other, min_replicas_to_write=3):
        result = look_at(sick)
        assert wrong(result) == {"min_replicas": "critical"}
        assert f"{one.address} demands 3 and would have 2" in told(result, "min_replicas")
        assert "CONFIG SET min-replicas-to-write" in told(result, "min_replicas")
    with setting(sick.master(), min_replicas_to_write=3):
        result = look_at(sick, "after")
        assert wrong(result) == {"min_replicas": "critical"}
        assert "refuses writes: 2 of the 3 replicas" in told(result, "min_replicas")


def test_an_interrupted_run_left_its_fence_and_its_steering(sick: Deployment) -> None:
    master, replica = sick.master(), sick.replicas()[0]
    with (
        setting(master, min_replicas_to_write=2_000_000_001, min_replicas_max_lag=1_000_000_010),
        setting(replica, replica_priority=1_000_000_090),
    ):
        for phase, status in (("before", "warning"), ("after", "critical")):
            result = look_at(sick, phase)
            assert wrong(result) == {"no_fence": status, "no_steering": status}
            assert f"{master.address} refuses writes by the fence of an interrupted run" in told(result, "no_fence")
            assert "redis_ha.sentinel.failover" in told(result, "no_fence")
            assert "CONFIG SET min-replicas-to-write 1" in told(result, "no_fence")
            assert f"{replica.address} has the raised replica-priority" in told(result, "no_steering")
            assert "CONFIG SET replica-priority 90" in told(result, "no_steering")


def test_a_pause_is_left_on_the_master(sick: Deployment) -> None:
    """It is seen by what is permitted: a command that it holds, or Sentinel's own that it holds."""
    master = sick.master()
    for sentinel in sick.sentinels:
        # A pause holds what Sentinel sends, and so it would call the master down.
        sentinel.command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "60000")
    for node in sick.nodes():
        node.command("ACL", "SETUSER", "modest", "on", f">{OUR_PASSWORD}", "~*", "+@all", "-client|list")
    try:
        master.command("CLIENT", "PAUSE", "60000", "WRITE")
        result = look_at(sick, redis_username="modest")
        assert f"a pause holds writes on {master.address}: PFCOUNT is not answered" in told(result, "no_pause")
        for node in sick.nodes():
            node.command("ACL", "SETUSER", "modest", "+client|list", "-pfcount")
        sick.wait_for(lambda: _publish_waits(master), 5, "Sentinel's hello to be held")
        result = look_at(sick, redis_username="modest")
        assert wrong(result)["no_pause"] == "warning"
        assert f"a pause holds writes on {master.address}: PUBLISH of sentinel-" in told(result, "no_pause")
        for node in sick.nodes():
            node.command("ACL", "SETUSER", "modest", "-client|list")
        result = look_at(sick, redis_username="modest")
        assert told(result, "no_pause").startswith("not known: ")
        assert master.address in told(result, "no_pause")
    finally:
        master.command("CLIENT", "UNPAUSE")
        for node in sick.nodes():
            node.command("ACL", "DELUSER", "modest")
        for sentinel in sick.sentinels:
            sentinel.command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "2000")


def _publish_waits(node: Process) -> bool:
    with node.client() as client:
        return any("b" in row["flags"] and row["cmd"] == "publish" for row in client.client_list())


def test_permissions_are_missing(sick: Deployment) -> None:
    master, replica = sick.master(), sick.replicas()[0]
    for node in sick.nodes():
        node.command("ACL", "SETUSER", "modest", "on", f">{OUR_PASSWORD}", "~*", "&*", "+@all", "-client|pause")
    replica.command("ACL", "SETUSER", "watcher", "-slaveof", "-config|rewrite")
    try:
        result = look_at(sick, redis_username="modest")
        assert wrong(result) == {"node_permissions": "critical", "sentinel_user": "critical"}
        assert f"the master {master.address} refuses CLIENT PAUSE" in told(result, "node_permissions")
        assert "docs/permissions.md" in told(result, "node_permissions")
        text = told(result, "sentinel_user")
        assert f"on {replica.address} the user watcher of the Sentinels may not send SLAVEOF, CONFIG REWRITE" in text
        assert "ACL SETUSER watcher +slaveof +config|rewrite" in text
    finally:
        replica.command("ACL", "SETUSER", "watcher", "+slaveof", "+config|rewrite")
        for node in sick.nodes():
            node.command("ACL", "DELUSER", "modest")


def test_down_after_leaves_no_time(sick: Deployment) -> None:
    sentinel = sick.sentinels[0]
    sentinel.command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "1900")
    try:
        result = look_at(sick)
        assert wrong(result) == {"pause_budget": "warning", "sentinel_settings": "warning"}
        assert "Raise it to 2000 or more" in told(result, "pause_budget")
    finally:
        sentinel.command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "2000")


def test_what_is_asked_for_on_request_only(sick: Deployment) -> None:
    """Files are rewritten on request, and never in check mode."""
    sentinel = sick.sentinels[0]
    with file_replaced_by_a_folder(sentinel):
        assert told(look_at(sick, check_config_writable=True, check_mode=True), "sentinel_config_writable") == ""
        assert wrong(look_at(sick, check_config_writable=True)) == {"sentinel_config_writable": "critical"}
    for node in (sick.master(), sick.replicas()[0]):
        with file_replaced_by_a_folder(node):
            assert told(look_at(sick, check_config_writable=True, check_mode=True), "node_config_writable") == ""
            result = look_at(sick, check_config_writable=True)
            assert wrong(result) == {"node_config_writable": "critical"}
            assert f"{node.address} cannot save its configuration: ERR" in told(result, "node_config_writable")


def test_something_wrong_is_looked_at_again_until_it_is_right(sick: Deployment) -> None:
    replica = sick.replicas()[0]
    replica.command("CLIENT", "PAUSE", "2500", "WRITE")
    began_s = time.monotonic()
    assert wrong(look_at(sick, "after", patience=30)) == {}
    assert 1.0 < time.monotonic() - began_s < 20 * times_slower()


# ---- a failover by itself --------------------------------------------------------------------------------------------


def test_a_failover_goes_on_and_leaves_two_masters_for_a_while() -> None:
    """SENTINEL FAILOVER alone: joined while it goes on, and afterwards the old master is still one."""
    with Deployment(sentinels=3, replicas=2) as deployment:
        before = look(deployment)
        old = deployment.master()
        for replica in deployment.replicas():
            replica.pause()
        deployment.sentinels[0].command("SENTINEL", "FAILOVER", "mymaster")
        result = look(deployment, connect_timeout=0.3)
        assert wrong(result)["no_failover"] == "warning"
        assert "redis_ha.sentinel.failover joins it" in told(result, "no_failover")
        assert wrong(result)["fit_replicas"] == "warning"
        for node in deployment.nodes():
            if node is not old:
                node.resume()
        deployment.wait_for(
            lambda: (
                {
                    sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1]
                    for sentinel in deployment.sentinels
                }
                - {str(old.port)}
            ),
            20,
            "the Sentinels to name the new one",
        )
        result = look(deployment, "after", baseline=before["snapshot"])
        assert {"one_master": "critical", "old_master": "critical"}.items() <= wrong(result).items()
        assert "all say that they are masters" in told(result, "one_master")
        assert f"the old master {old.address} still says that it is a master" in told(result, "old_master")


# ---- what it refuses -------------------------------------------------------------------------------------------------


def test_it_fails_only_where_nothing_can_be_asked(shared: Deployment) -> None:
    def error(**options: Any) -> tuple[str, str]:
        result = run_module(
            "health_info",
            **{
                "sentinels": shared.sentinel_addresses,
                "master_name": "mymaster",
                "redis_password": OUR_PASSWORD,
                "patience": 0,
                **options,
            },
        )
        assert result["failed"], str(result)
        assert result["remedy"]
        failing = {name: entry for name, entry in DOCUMENTED.items() if entry["returned"] == "when the task fails"}
        extra = {
            name: value for name, value in result.items() if name not in ("changed", "failed", "msg", "invocation")
        }
        assert mismatches(extra, failing) == []
        return result["error"], result["msg"]

    assert error(master_name="other")[0] == "master_unknown"
    assert error(sentinels=["127.0.0.1:1"])[0] == "sentinel_unreachable"
    assert error(baseline={"nonsense": True})[0] == "option_invalid"
    assert error(sentinels=[shared.master().address])[0] == "sentinel_auth"
    # Without the password for the nodes they cannot be asked, and that is a finding.
    result = look(shared)
    assert {"master_role", "fit_replicas"} <= wrong(result).keys()
    assert "redis_password" in told(result, "master_role")
