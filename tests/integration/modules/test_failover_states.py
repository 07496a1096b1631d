# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deployments in a bad state: refused with the reason, or moved with a note, on real servers."""

from __future__ import annotations

import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from lab import Deployment, Process
from lab.modules import COLLECTIONS, run_module


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with Deployment(replicas=2, sentinels=3, down_after_ms=1000) as running:
        yield running


def fail_over(deployment: Deployment, **options: Any) -> dict[str, Any]:
    return run_module(
        "failover",
        **{"sentinels": deployment.sentinel_addresses, "master_name": "mymaster", **options},
    )


def row(sentinel: Process, *command: str) -> dict[str, str]:
    reply = sentinel.command("SENTINEL", *command)
    return dict(zip(reply[::2], reply[1::2], strict=True))


def flags(sentinel: Process, address: str) -> str:
    for reply in sentinel.command("SENTINEL", "REPLICAS", "mymaster"):
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        if f"{fields['ip']}:{fields['port']}" == address:
            return str(fields["flags"])
    return ""


def test_a_sentinel_is_down_and_the_caller_may_accept_that(deployment: Deployment) -> None:
    deployment.sentinels[2].stop()
    result = fail_over(deployment, sentinels=deployment.sentinel_addresses[:1])
    assert (result["outcome"], result["error"]) == ("refused", "sentinels_missing")
    assert deployment.sentinels[2].address in result["msg"]
    result = fail_over(deployment, sentinels=deployment.sentinel_addresses[:1], min_sentinels=2)
    assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
    assert deployment.sentinels[2].address in " ".join(result["notes"])


def test_no_quorum(deployment: Deployment) -> None:
    for sentinel in deployment.sentinels[1:]:
        sentinel.stop()
    deployment.wait_for(
        lambda: "NOQUORUM" in _answer(deployment.sentinels[0], "SENTINEL", "CKQUORUM", "mymaster"),
        10,
        "quorum to be lost",
    )
    result = fail_over(deployment, sentinels=deployment.sentinel_addresses[:1], min_sentinels=1)
    assert (result["outcome"], result["error"]) == ("refused", "no_quorum")


def _answer(process: Process, *command: str) -> str:
    try:
        return str(process.command(*command))
    except redis.ResponseError as error:
        return str(error)


def test_tilt(deployment: Deployment) -> None:
    sentinel = deployment.sentinels[1]
    sentinel.command("SENTINEL", "DEBUG", "tilt-trigger", "50")
    sentinel.pause()
    # That time passes is the very condition: several times the tilt-trigger.
    time.sleep(0.3)
    sentinel.resume()
    deployment.wait_for(lambda: sentinel.client().info("sentinel")["sentinel_tilt"] == 1, 5, "TILT")
    result = fail_over(deployment)
    assert (result["outcome"], result["error"]) == ("refused", "tilt")
    assert sentinel.address in result["msg"]


def test_sentinels_that_name_different_masters(deployment: Deployment) -> None:
    """Two deployments whose masters have one name, and a list of Sentinels that mixes them up."""
    with Deployment(replicas=1, sentinels=1) as other:
        result = fail_over(deployment, sentinels=[deployment.sentinel_addresses[0], other.sentinel_addresses[0]])
        assert (result["outcome"], result["error"]) == ("refused", "sentinels_disagree"), str(result)
        assert deployment.master().address in result["msg"]
        assert other.master().address in result["msg"]


def test_no_replica() -> None:
    with Deployment(replicas=0, sentinels=3) as alone:
        result = fail_over(alone)
    assert (result["outcome"], result["error"]) == ("refused", "no_replica")


def test_the_target_is_down(deployment: Deployment) -> None:
    target, other = deployment.replicas()
    target.kill()
    deployment.wait_for(lambda: "s_down" in flags(deployment.sentinels[0], target.address), 10, "Sentinel to notice")
    result = fail_over(deployment, target=target.address)
    assert (result["outcome"], result["error"]) == ("refused", "target_down"), str(result)
    assert target.address in result["msg"]
    result = fail_over(deployment)
    assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
    assert result["new_master"] == {"host": other.host, "port": other.port}
    assert any(target.address in note and "down before" in note for note in result["notes"])


def test_the_target_follows_another_replica(deployment: Deployment) -> None:
    target, other = deployment.replicas()
    target.command("REPLICAOF", other.host, str(other.port))
    result = fail_over(deployment, target=target.address)
    assert (result["outcome"], result["error"]) == ("refused", "target_chained"), str(result)


def test_a_replica_too_far_behind() -> None:
    """The link stands, and what the master sends is not read: a paused replica that answers INFO."""
    # The pause holds up Sentinel's hellos, too, and what it sends behind them: for longer than down-after, the replica would be down.
    with Deployment(replicas=1, sentinels=1, down_after_ms=60_000) as patient:
        target = patient.replicas()[0]
        # A paused replica does not apply what its master sends (CLIENT PAUSE does not exempt the master's link).
        target.command("CLIENT", "PAUSE", "60000", "WRITE")
        patient.master().command("SET", "ballast", "x" * 4_000_000)
        result = fail_over(patient, target=target.address, max_lag_bytes=1_000_000)
        assert (result["outcome"], result["error"]) == ("refused", "target_lagging"), str(result)
        result = fail_over(patient, target=target.address, max_lag_bytes=10_000_000, catch_up_timeout=0.3)
        assert (result["outcome"], result["error"], result["phase"]) == ("refused", "target_lagging", "probe"), str(
            result
        )


def test_commands_that_are_renamed_on_the_master() -> None:
    with Deployment(replicas=1, sentinels=1, node_config=["rename-command REPLICAOF moved-away"]) as renamed:
        result = fail_over(renamed, strategy="fenced")
    assert (result["outcome"], result["error"]) == ("refused", "command_unavailable"), str(result)
    assert "refuses REPLICAOF" in result["msg"]


def test_a_master_that_is_down_is_failed_over_plainly(deployment: Deployment) -> None:
    """Sentinel would do it by itself after down-after; asked earlier, the module says what it cannot promise."""
    old_master = deployment.master()
    old_master.kill()
    result = fail_over(deployment, strategy="auto", timeout=60)
    if result["outcome"] == "refused":
        # Not yet down for the Sentinels: unreachable from here alone is no reason to lose writes.
        assert result["error"] in ("node_unreachable", "master_seen"), str(result)
        assert "plain" not in result["remedy"]
        deployment.wait_for(
            lambda: (
                "o_down" in row(deployment.sentinels[0], "MASTER", "mymaster")["flags"]
                or row(deployment.sentinels[0], "MASTER", "mymaster")["port"] != str(old_master.port)
            ),
            20,
            "the Sentinels to call it down",
        )
        result = fail_over(deployment, strategy="auto", timeout=60)
    assert result["outcome"] == "switched", str(result)
    assert result["lossless"] is not True or result["old_master"]["port"] != old_master.port


def test_strategy_plain_says_that_writes_may_be_lost(deployment: Deployment) -> None:
    old_master = deployment.master().address
    refused = fail_over(deployment, strategy="plain")
    assert (refused["outcome"], refused["error"], refused["changed"]) == ("refused", "loss_not_accepted", False)
    assert deployment.master().address == old_master
    result = fail_over(deployment, strategy="plain", accept_loss=True)
    assert (result["outcome"], result["changed"], result["lossless"]) == ("switched", True, False), str(result)
    assert "leaves the old master writable" in result["lossless_reason"]
    assert deployment.master().address != old_master, "and it waits until the old master follows"


def test_strategy_coordinated_restores_the_failover_timeout() -> None:
    with Deployment("valkey-9.1", replicas=2, sentinels=3) as valkey:
        result = fail_over(valkey, strategy="coordinated")
        assert (result["outcome"], result["strategy"]) == ("switched", "coordinated"), str(result)
        for sentinel in valkey.sentinels:
            assert row(sentinel, "MASTER", "mymaster")["failover-timeout"] == "60000"


def test_a_coordinated_failover_is_shown_by_a_flag_for_as_long_as_it_lasts() -> None:
    """By it a run that joins one tells that no interrupted run has demoted the old master."""

    def flags(sentinel: Process) -> set[str]:
        return set(row(sentinel, "MASTER", "mymaster")["flags"].split(","))

    with Deployment("valkey-9.1", replicas=2, sentinels=3) as valkey:
        old_master, leader = valkey.master(), valkey.sentinels[0]
        leader.command("SENTINEL", "FAILOVER", "mymaster", "COORDINATED")
        assert flags(leader) >= {"failover_in_progress", "coordinated_failover"}
        valkey.wait_for(lambda: "failover_in_progress" not in flags(leader), 60, "the failover to end")
        assert "coordinated_failover" not in flags(leader)
        assert valkey.master() is not old_master


def test_a_host_is_left_and_the_second_run_changes_nothing() -> None:
    with Deployment(replicas=2, sentinels=3, host=("127.0.0.1", "127.0.0.2", "127.0.0.3")) as spread:
        old_master = spread.master()
        options = {"avoid": [old_master.host]}
        result = fail_over(spread, **options)
        assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
        assert spread.master().host != old_master.host
        again = fail_over(spread, **options)
        assert (again["outcome"], again["changed"]) == ("unchanged", False), again


def test_a_target_and_the_second_run_changes_nothing(deployment: Deployment) -> None:
    old_master = deployment.master().address
    target = deployment.replicas()[1].address
    result = fail_over(deployment, target=target, expected_master=old_master)
    assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
    assert deployment.master().address == target
    again = fail_over(deployment, target=target, expected_master=old_master)
    assert (again["outcome"], again["changed"]) == ("unchanged", False), again


def test_redis_py_missing_and_too_old(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    python = str(tmp_path / "bare" / "bin" / "python")
    base = next(path for path in sys.path if path.endswith("site-packages"))
    ansible_only = tmp_path / "ansible_only"
    ansible_only.mkdir()
    (ansible_only / "ansible").symlink_to(Path(base) / "ansible")
    environment = {"PYTHONPATH": f"{COLLECTIONS}:{ansible_only}"}
    result = run_module("failover", master_name="mymaster", python=python, environment=environment)
    assert (result["error"], result["outcome"]) == ("library_missing", "refused"), str(result)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(ansible_only), "redis==3.4.1"],
        check=True,
    )
    result = run_module("failover", master_name="mymaster", python=python, environment=environment)
    if sys.version_info < (3, 12):
        assert (result["error"], result["outcome"]) == ("library_too_old", "refused"), str(result)
        assert "3.4.1 is too old, 3.5 is the oldest" in result["msg"]
    else:
        # It wants distutils, which is gone: it cannot be imported, so nobody can ask for its version.
        assert (result["error"], result["outcome"]) == ("library_missing", "refused"), str(result)
        imported = subprocess.run(
            [python, "-c", "import redis"], env=environment, capture_output=True, text=True, check=False
        )
        assert "No module named 'distutils'" in imported.stderr
