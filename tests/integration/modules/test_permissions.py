# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The permissions of docs/permissions.md are enough, one less is named before anything is touched, and its tables say what is sent when."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client, Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._failover import fail_over as run_to_the_end
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    CONNECTION,
    FAILOVER,
    connection_options,
    failover_request,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Clock, Timeline

from lab import Deployment, Process
from lab.modules import CHECKOUT, moved_by_program, run_module

PAGE = (CHECKOUT / "docs" / "permissions.md").read_text(encoding="utf-8")
NODE_USER, SENTINEL_USER, SENTINELS_OWN_USER, REPLICAS_USER, PEER_USER = (
    line.split() for line in re.findall(r"^```text\nuser (.+)\n```$", PAGE, re.MULTILINE)
)
SELDOM = "+config|set"
"""On the nodes: needed where a priority is raised or put back, and by the fence of Redis 6.0."""
NEWS = ("+psubscribe", "+publish")
"""On the Sentinels: without them Sentinel promotes."""
DISPENSABLE = ("+sentinel|masters", "+sentinel|myid")
"""On the Sentinels; the page says what becomes of a run without them."""


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
        running.ask_every_second()
        yield running


def allow(processes: list[Process], rules: list[str]) -> None:
    for process in processes:
        process.command("ACL", "SETUSER", rules[0], "reset", *rules[1:])


def fail_over(deployment: Deployment, **options: Any) -> dict[str, Any]:
    return run_module(
        "failover",
        sentinels=deployment.sentinel_addresses,
        master_name="mymaster",
        redis_username="failover",
        redis_password="PASSWORD",
        sentinel_username="failover",
        sentinel_password="PASSWORD",
        strategy="fenced",
        **options,
    )


def test_they_are_enough(deployment: Deployment) -> None:
    allow(deployment.nodes(), NODE_USER)
    allow(deployment.sentinels, SENTINEL_USER)
    result = moved_by_program(lambda: fail_over(deployment))
    assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "program"), str(result)
    assert not [note for note in result["notes"] if "events" in note]
    deployment.wait_ready()


@pytest.mark.parametrize("missing", [rule for rule in permissions(NODE_USER) if rule != SELDOM])
def test_one_less_on_the_nodes_is_named(deployment: Deployment, missing: str) -> None:
    allow(deployment.nodes(), [rule for rule in NODE_USER if rule != missing])
    allow(deployment.sentinels, SENTINEL_USER)
    master = deployment.master().address
    result = fail_over(deployment)
    assert (result["outcome"], result["changed"]) == ("refused", False), str(result)
    assert result["error"] == "node_not_permitted", result["msg"]
    assert missing.strip("+").split("|")[-1] in result["msg"].lower(), result["msg"]
    assert deployment.master().address == master


def test_what_is_seldom_needed_is_named_where_it_is(deployment: Deployment) -> None:
    deployment.wait_ready()
    allow(deployment.nodes(), [rule for rule in NODE_USER if rule != SELDOM])
    allow(deployment.sentinels, SENTINEL_USER)
    target, sibling = deployment.replicas()
    refused = fail_over(deployment, target=target.address, promotion="sentinel")
    assert (refused["outcome"], refused["error"], refused["changed"]) == ("refused", "node_not_permitted", False)
    assert sibling.address in refused["msg"]
    assert "CONFIG SET" in refused["msg"]
    result = moved_by_program(lambda: fail_over(deployment, target=deployment.replicas()[0].address))
    assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "program"), str(result)


@pytest.mark.parametrize(
    "missing",
    [rule for rule in permissions(SENTINEL_USER) if rule not in (*NEWS, *DISPENSABLE)],
)
def test_one_less_on_the_sentinels_is_named(deployment: Deployment, missing: str) -> None:
    allow(deployment.nodes(), NODE_USER)
    allow(deployment.sentinels, [rule for rule in SENTINEL_USER if rule != missing])
    result = fail_over(deployment)
    assert (result["outcome"], result["changed"]) == ("refused", False), str(result)
    assert result["error"] == "sentinel_not_permitted", result["msg"]
    assert missing.strip("+").split("|")[-1] in result["msg"].lower(), result["msg"]


@pytest.mark.parametrize("missing", [*NEWS, "allchannels"])
def test_without_a_way_for_the_news_sentinel_promotes(deployment: Deployment, missing: str) -> None:
    deployment.wait_ready()
    allow(deployment.nodes(), NODE_USER)
    allow(deployment.sentinels, [rule for rule in SENTINEL_USER if rule != missing])
    result = fail_over(deployment)
    assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "sentinel"), str(result)
    assert any(sentinel.address in result["promotion_reason"] for sentinel in deployment.sentinels)
    without_events = [note for note in result["notes"] if "it sends no events" in note]
    assert len(without_events) == (0 if missing == "+publish" else 3)
    # A Sentinel that has just heard of the new master connects to its replicas anew.
    deployment.wait_ready()
    refused = fail_over(deployment, promotion="program")
    assert (refused["outcome"], refused["error"]) == ("refused", "news_closed"), str(refused)


@pytest.mark.parametrize("missing", DISPENSABLE)
def test_a_run_goes_on_without_what_the_page_says_it_can_do_without(deployment: Deployment, missing: str) -> None:
    deployment.wait_ready()
    allow(deployment.nodes(), NODE_USER)
    allow(deployment.sentinels, [rule for rule in SENTINEL_USER if rule != missing])
    result = moved_by_program(lambda: fail_over(deployment))
    assert (result["outcome"], result["lossless"], result["promotion"]) == ("switched", True, "program"), str(result)
    listed = run_module(
        "topology_info",
        sentinels=deployment.sentinel_addresses,
        sentinel_username="failover",
        sentinel_password="PASSWORD",
    )
    assert listed.get("failed", False) == (missing == "+sentinel|masters"), listed
    assert ("masters" in listed.get("msg", "")) == (missing == "+sentinel|masters"), listed


def test_they_are_enough_for_sentinel_to_replace_a_master_that_dies(deployment: Deployment) -> None:
    deployment.wait_ready()
    for sentinel in deployment.sentinels:
        # A master that comes back is made a replica once it has been seen as a master for four times as long.
        sentinel.command("SENTINEL", "DEBUG", "publish-period", "200")
    dead = deployment.master()
    dead.kill()
    others = [node for node in deployment.nodes() if node is not dead]
    deployment.wait_for(lambda: any(deployment.roles()[node] == "master" for node in others), 30, "another master")
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


ALL_NODES = frozenset({"old master", "new master", "others"})
ALL_SENTINELS = frozenset({"0", "1", "2"})
MOST_RUNS = 5
TRIED = "tried"
"""In place of a phase: queued in MULTI and discarded."""
Steps = dict[tuple[str, str, str], frozenset[str]]
"""By kind of server, command and phase: the servers, by the part that they have (nodes) or by their number (Sentinels)."""


@pytest.fixture(scope="module")
def sent() -> Steps:
    """What three undisturbed runs send: as usual; where Sentinel promotes; on Redis 6.0, where something else stops writes."""
    runs = [undisturbed_run(None), undisturbed_run(None, promotion="sentinel"), undisturbed_run("redis-6.0")]
    return {key: frozenset().union(*(run.get(key, ()) for run in runs)) for key in {key for run in runs for key in run}}


def undisturbed_run(spec: str | None, promotion: str = "auto") -> Steps:
    """What a run sends that triggers once, and in which the one promotes who should. A machine that is too slow for that tries again."""
    wanted = ["program" if promotion == "auto" else promotion]
    ways: list[list[str]] = []
    for _ in range(MOST_RUNS):
        result, steps = watched_run(spec, promotion)
        triggers = [entry for entry in result["timeline"] if entry["kind"] == "triggered"]
        ways.append([result["promotion"]] * len(triggers))
        if ways[-1] == wanted:
            assert (result["outcome"], result["lossless"]) == ("switched", True), str(result)
            return steps
    raise AssertionError(f"who promoted in each run: {ways}")


def watched_run(spec: str | None, promotion: str = "auto") -> tuple[dict[str, Any], Steps]:
    """Its result, and what a run sends as the collection's user to nodes that permit what the page says and no more."""
    steps: dict[tuple[str, str, str], set[str]] = {}
    users = [f"user {' '.join(rules)}" for rules in (NODE_USER, REPLICAS_USER)]
    node_config = [*users, f"masteruser {REPLICAS_USER[0]}", "masterauth PASSWORD"]
    with (
        Deployment(spec, replicas=2, sentinels=3, node_config=node_config) as deployment,
        pytest.MonkeyPatch.context() as patch,
    ):
        old_master, (new_master, other) = deployment.master(), deployment.replicas()
        parts = {old_master.address: "old master", new_master.address: "new master", other.address: "others"}
        numbers = {sentinel.address: str(number) for number, sentinel in enumerate(deployment.sentinels)}
        options = {
            **{name: option.get("default") for name, option in {**CONNECTION, **FAILOVER}.items()},
            "sentinels": deployment.sentinel_addresses,
            "master_name": "mymaster",
            "target": new_master.address,
            "strategy": "fenced",
            "promotion": promotion,
            "redis_username": NODE_USER[0],
            "redis_password": "PASSWORD",
        }
        clock = Clock()
        fleet = Fleet(connection_options(options))
        run = Run(fleet, failover_request(options), clock, Timeline(clock))

        def note(address: Address, command: Sequence[object], phase: str) -> None:
            words = command[: 2 if command[0] in {"ACL", "CLIENT", "CONFIG", "MODULE", "SENTINEL"} else 1]
            kind, server = ("node", parts) if str(address) in parts else ("sentinel", numbers)
            steps.setdefault((kind, " ".join(map(str, words)), phase), set()).add(server[str(address)])

        exchange, listen = Client._exchange, Fleet.listen

        def watched_exchange(client: Client, commands: list[tuple[object, ...]], *args: Any, **options: Any) -> Any:
            if client._access.username != REPLICAS_USER[0]:
                tried = commands[-1] == ("DISCARD",)
                for command in commands:
                    note(client.address, command, TRIED if tried and command != ("DISCARD",) else run.record.step)
            return exchange(client, commands, *args, **options)

        def watched_listen(fleet: Fleet, address: Address, *args: Any) -> None:
            note(address, ("PSUBSCRIBE", "*"), run.record.step)
            listen(fleet, address, *args)

        patch.setattr(Client, "_exchange", watched_exchange)
        patch.setattr(Fleet, "listen", watched_listen)
        try:
            result = run_to_the_end(run)
        finally:
            fleet.close()
    return result, {key: frozenset(servers) for key, servers in steps.items()}


def documented(certain: bool) -> Steps:
    """What the page says is sent: where nothing is in the way, or in any case."""
    steps: dict[tuple[str, str, str], set[str]] = {}
    for kind, title in (
        ("node", "## The collection's user on the nodes"),
        ("sentinel", "## The collection's user on the Sentinels"),
    ):
        section = PAGE.partition(f"{title}\n")[2].partition("\n## ")[0]
        everybody = ALL_NODES if kind == "node" else ALL_SENTINELS
        for commands, where, phases in re.findall(
            r"^\| (`.+?`) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", section, re.MULTILINE
        ):
            named = {name for name in where.split(", ") if not name.startswith("Redis")}
            assert named <= {*everybody, "all", "those that may lead", "the one that leads", "those that do not"}, where
            # To which one of the Sentinels is left to chance.
            servers = (
                everybody & named if named & ALL_NODES else everybody if certain <= ("all" in named) else frozenset()
            )
            for command in re.findall(r"`(.+?)`", commands):
                for phase in set(phases.split(", ")) - {"none"}:
                    if not certain or not phase.startswith("("):
                        steps.setdefault((kind, command, phase.strip("()")), set()).update(servers)
        for permission, phase in re.findall(r"^\| `\+(\w+\\\|\w+)` \| .*?step (\w+)", section, re.MULTILINE):
            command = permission.replace("\\|", " ").upper()
            steps[kind, command, phase] = set(everybody if command != "ACL DRYRUN" else {"new master"})
    return {key: frozenset(servers) for key, servers in steps.items()}


def test_the_tables_leave_nothing_out(sent: Steps) -> None:
    said = documented(certain=False)
    surplus = {key: servers - said.get(key, frozenset()) for key, servers in sent.items() if key[2] != TRIED}
    assert {key: servers for key, servers in surplus.items() if servers} == {}


def test_the_tables_say_nothing_that_is_not_so(sent: Steps) -> None:
    said = documented(certain=True)
    assert {key: servers - sent[key] for key, servers in said.items() if key in sent and servers - sent[key]} == {}
    assert said.keys() - sent.keys() == set()


def test_everything_is_tried_before(sent: Steps) -> None:
    tried = {command: servers for (_kind, command, phase), servers in sent.items() if phase == TRIED}
    said = {command for kind, command, _phase in documented(certain=True) if kind == "node"}
    done_without = {"CLIENT HELP", "MODULE LIST", "ACL DRYRUN"}
    assert tried.keys() | {"MULTI", "EXEC", "DISCARD"} == said - done_without
    assert set(tried.values()) == {ALL_NODES}
