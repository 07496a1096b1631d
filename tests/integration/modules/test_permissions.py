# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The permissions of docs/permissions.md are enough, and one less is named before anything is touched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab import Deployment, Process
from lab.modules import CHECKOUT, run_module

PAGE = (CHECKOUT / "docs" / "permissions.md").read_text(encoding="utf-8")
NODE_USER, SENTINEL_USER, SENTINELS_OWN_USER, REPLICAS_USER, PEER_USER = (
    line.split() for line in re.findall(r"^```text\nuser (.+)\n```$", PAGE, re.MULTILINE)
)
NEEDED_BY_EVERY_QUESTION = {"+info", "+role", "+multi", "+discard", "+exec"}


def permissions(rules: list[str]) -> list[str]:
    return [rule for rule in rules if rule.startswith("+")]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with Deployment(
        replicas=2,
        sentinels=3,
        down_after_ms=2000,
        node_config=[
            *(f"user {' '.join(rules)}" for rules in (SENTINELS_OWN_USER, REPLICAS_USER)),
            f"masteruser {REPLICAS_USER[0]}",
            "masterauth PASSWORD",
        ],
        sentinel_config=[
            f"user {' '.join(PEER_USER)}",
            f"sentinel sentinel-user {PEER_USER[0]}",
            "sentinel sentinel-pass PASSWORD",
        ],
        sentinel_master_config=[
            f"sentinel auth-user {{name}} {SENTINELS_OWN_USER[0]}",
            "sentinel auth-pass {name} PASSWORD",
        ],
    ) as running:
        yield running


def allow(processes: list[Process], rules: list[str]) -> None:
    for process in processes:
        process.command("ACL", "SETUSER", rules[0], "reset", *rules[1:])


def fail_over(deployment: Deployment) -> dict[str, Any]:
    return run_module(
        "failover",
        sentinels=deployment.sentinel_addresses,
        master_name="mymaster",
        align=False,
        redis_username="failover",
        redis_password="PASSWORD",
        sentinel_username="failover",
        sentinel_password="PASSWORD",
        strategy="fenced",
    )


def test_they_are_enough(deployment: Deployment) -> None:
    allow(deployment.nodes(), NODE_USER)
    allow(deployment.sentinels, SENTINEL_USER)
    result = fail_over(deployment)
    assert (result["outcome"], result["lossless"]) == ("switched", True), result
    assert not [note for note in result["notes"] if "events" in note]
    deployment.wait_ready()


@pytest.mark.parametrize("missing", permissions(NODE_USER))
def test_one_less_on_the_nodes_is_named(deployment: Deployment, missing: str) -> None:
    allow(deployment.nodes(), [rule for rule in NODE_USER if rule != missing])
    allow(deployment.sentinels, SENTINEL_USER)
    master = deployment.master().address
    result = fail_over(deployment)
    assert (result["outcome"], result["changed"]) == ("refused", False), result
    assert result["error"] == "node_not_permitted", result["msg"]
    assert missing.strip("+").split("|")[-1] in result["msg"].lower(), result["msg"]
    assert deployment.master().address == master


@pytest.mark.parametrize(
    "missing",
    [rule for rule in permissions(SENTINEL_USER) if rule not in {"+psubscribe", "+sentinel|masters", "+sentinel|myid"}],
)
def test_one_less_on_the_sentinels_is_named(deployment: Deployment, missing: str) -> None:
    allow(deployment.nodes(), NODE_USER)
    allow(deployment.sentinels, [rule for rule in SENTINEL_USER if rule != missing])
    result = fail_over(deployment)
    assert (result["outcome"], result["changed"]) == ("refused", False), result
    assert result["error"] == "sentinel_not_permitted", result["msg"]
    assert missing.strip("+").split("|")[-1] in result["msg"].lower(), result["msg"]


def test_they_are_enough_for_sentinel_to_replace_a_master_that_dies(deployment: Deployment) -> None:
    deployment.wait_ready()
    dead = deployment.master()
    dead.kill()
    others = [node for node in deployment.nodes() if node is not dead]
    deployment.wait_for(lambda: any(node.command("ROLE")[0] == "master" for node in others), 30, "another master")
    dead.restart()
    deployment.wait_ready(60)
    refused = [
        entry
        for process in deployment.processes
        for entry in process.command("ACL", "LOG")
        if of_sentinel_or_replica(entry)
    ]
    assert not refused


def of_sentinel_or_replica(entry: Any) -> bool:
    fields = entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))
    return fields["username"] in {SENTINELS_OWN_USER[0], REPLICAS_USER[0], PEER_USER[0]}
