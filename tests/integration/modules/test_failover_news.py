# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who can be told of a new master: where the program carries the news, where Sentinel has to, and where a Sentinel does not listen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment, Process
from lab.modules import run_module
from lab.recorder import Recorder, Recording
from lab.servers import find_server

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
    """Give our user all but PUBLISH on these Sentinels; how it logs in."""
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
        assert recordings[0].longest_gap_s < MOST_BY_SENTINEL_S
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
        assert recordings[0].longest_gap_s < MOST_BY_SENTINEL_S
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
        with load(deployment) as recordings:
            result = fail_over(deployment, promotion=promotion)
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
            result = fail_over(deployment)
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


def test_five_sentinels_of_which_two_do_not_answer() -> None:
    with Deployment(replicas=2, sentinels=5) as deployment:
        silent = deployment.sentinels[3:]
        for sentinel in silent:
            sentinel.pause()
        answering = {"sentinels": deployment.sentinel_addresses[:3]}
        assert fail_over(deployment, **answering)["error"] == "sentinels_missing"
        with load(deployment) as recordings:
            result = fail_over(deployment, min_sentinels=3, **answering)
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
        first = deployment.sentinels[0]
        old_file = first.config_path.read_text()
        assert fail_over(deployment)["outcome"] == "switched"
        assert fail_over(deployment, expected_master=deployment.master().address)["outcome"] == "switched"
        deployment.wait_ready()
        first.stop()
        first.config_path.write_text(old_file)
        first.start()
        deployment.wait_ready()
        with load(deployment) as recordings:
            result = fail_over(deployment)
        assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
        assert (recordings[0].writes_lost, recordings[0].unknown) == (0, 0)
        assert_all_name_the_master(deployment)
