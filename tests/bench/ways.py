# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways in which a master can be moved, each with a deployment of its kind and the applications that go with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from lab import Deployment, LabError
from lab.adhoc import run_ad_hoc
from lab.cluster import Cluster
from lab.modules import run_module
from lab.process import Process
from lab.servers import find_server

MASTER = "mymaster"
DOWN_AFTER_MS = 5000
STRATEGIES = ("fenced", "plain", "coordinated", "failover_to", "cluster")
"""Ours, and the servers' own: `SENTINEL FAILOVER`, the same with `COORDINATED`, `FAILOVER TO` and `CLUSTER FAILOVER`."""

SWITCHED = "switched"
MOVES_OF_A_CLUSTER = 2
"""A cluster is measured while it is fresh."""
_RUN_TIMEOUT_S = 300.0
_MOVE_TIMEOUT_S = 60.0
_POLL_S = 0.01
_INFO_PERIOD_MS = 10_000
"""What a Sentinel begins with (`sentinel_info_period` in sentinel.c)."""

Result = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """What is moved, and who writes to it.

    Attributes:
        server_version: As the server calls itself.
        nodes: ``host:port`` of the data nodes.
        sentinels: ``host:port`` of the Sentinels, if there are any.
        client: The recorder's client, ``None`` for that of the case.
        key_prefix: Begins every key.
        wait_ready: Waits until a move may begin, so many seconds at most.
        master: The address of the master now; an error if there is not exactly one.
        move: Moves it; what came of that.
        processes: For their logs.
        moves: How many moves it serves, if not any number.
    """

    server_version: str
    nodes: Sequence[str]
    sentinels: Sequence[str]
    client: str | None
    key_prefix: str
    wait_ready: Callable[[float], None]
    master: Callable[[], str]
    move: Callable[[], Result]
    processes: Sequence[Process]
    moves: int | None = None


def supports(server: str, strategy: str) -> bool:
    """Whether a server, named as in ``python -m lab servers``, has what a strategy needs.

    Raises:
        LabError: There is no such server.
    """
    if strategy not in ("coordinated", "failover_to"):
        return True
    found = find_server(server)
    if strategy == "coordinated":
        return found.family == "valkey" and found.version >= (9, 0, 0)
    return found.family == "valkey" or found.version >= (6, 2, 0)


@contextmanager
def stage(server: str, strategy: str, ad_hoc: bool, collections: Path) -> Iterator[Stage]:
    """Starts what a strategy needs; everything is ended with the ``with`` block."""
    if strategy == "cluster":
        with Cluster(server) as cluster:
            yield _of_cluster(cluster)
        return
    with_sentinels = strategy != "failover_to"
    with Deployment(
        server,
        replicas=2 if with_sentinels else 1,
        sentinels=3 if with_sentinels else 0,
        down_after_ms=DOWN_AFTER_MS,
    ) as deployment:
        moves: dict[str, Callable[[], Result]] = {
            "fenced": lambda: _by_the_program(deployment, ad_hoc, collections),
            "plain": lambda: _by_sentinel(deployment, "FAILOVER", MASTER),
            "coordinated": lambda: _by_sentinel(deployment, "FAILOVER", MASTER, "COORDINATED"),
            "failover_to": lambda: _by_failover_to(deployment),
        }
        yield Stage(
            server_version=deployment.server.name,
            nodes=[node.address for node in deployment.nodes()],
            sentinels=deployment.sentinel_addresses,
            client=None if with_sentinels else "redis-py nodes",
            key_prefix="recorder",
            wait_ready=lambda timeout_s: wait_ready(deployment, timeout_s),
            master=lambda: deployment.wait_for(deployment.master, _MOVE_TIMEOUT_S, "one master").address,
            move=moves[strategy],
            processes=deployment.processes,
        )


def wait_ready(deployment: Deployment, timeout_s: float) -> None:
    """A Sentinel looks at its nodes every ten seconds. Between two moves, where nothing is measured, it looks more often."""
    if deployment.server.version >= (7, 0, 0):
        _look_every(deployment, 500)
    deployment.wait_ready(timeout_s)
    if deployment.server.version >= (7, 0, 0):
        _look_every(deployment, _INFO_PERIOD_MS)


def _look_every(deployment: Deployment, milliseconds: int) -> None:
    for sentinel in deployment.sentinels:
        sentinel.command("SENTINEL", "DEBUG", "INFO-PERIOD", str(milliseconds))


def _by_the_program(deployment: Deployment, ad_hoc: bool, collections: Path) -> Result:
    arguments = {"sentinels": deployment.sentinel_addresses, "master_name": MASTER, "strategy": "fenced"}
    if ad_hoc:
        return run_ad_hoc("failover", arguments, collections=collections, timeout_s=_RUN_TIMEOUT_S)
    return run_module("failover", timeout_s=_RUN_TIMEOUT_S, collections=collections, **arguments)


def _by_sentinel(deployment: Deployment, *words: str) -> Result:
    old_master = deployment.master().address
    deployment.sentinels[0].command("SENTINEL", *words)

    def moved() -> bool:
        return deployment.master().address != old_master and all(
            _named(sentinel) != old_master for sentinel in deployment.sentinels
        )

    deployment.wait_for(moved, _MOVE_TIMEOUT_S, "Sentinel to move the master")
    return {"outcome": SWITCHED}


def _named(sentinel: Process) -> str:
    host, port = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
    return f"{host}:{port}"


def _by_failover_to(deployment: Deployment) -> Result:
    old_master = deployment.master()
    (target,) = deployment.replicas()
    old_master.command("FAILOVER", "TO", target.host, target.port)
    deployment.wait_for(lambda: deployment.master() is target, _MOVE_TIMEOUT_S, "the master to move")
    return {"outcome": SWITCHED}


def _of_cluster(cluster: Cluster) -> Stage:
    return Stage(
        server_version=cluster.server.name,
        nodes=[node.address for node in cluster.nodes],
        sentinels=(),
        client="redis-py cluster",
        key_prefix=f"{{{cluster.tag()}}}",
        wait_ready=cluster.wait_ready,
        master=lambda: _in_role(cluster, "master").address,
        move=lambda: _by_cluster_failover(cluster),
        processes=cluster.processes,
        moves=MOVES_OF_A_CLUSTER,
    )


def _by_cluster_failover(cluster: Cluster) -> Result:
    old_master, target = _in_role(cluster, "master"), _in_role(cluster, "slave")
    target.command("CLUSTER", "FAILOVER")
    deadline_s = time.monotonic() + _MOVE_TIMEOUT_S
    while (_role(old_master), _role(target)) != ("slave", "master"):
        if time.monotonic() > deadline_s:
            raise LabError(f"the cluster did not move a master within {_MOVE_TIMEOUT_S} s")
        time.sleep(_POLL_S)
    return {"outcome": SWITCHED}


def _in_role(cluster: Cluster, role: str) -> Process:
    found = [node for node in cluster.shard if _role(node) == role]
    if len(found) != 1:
        raise LabError(f"{len(found)} nodes of the shard have the role {role}")
    return found[0]


def _role(node: Process) -> str:
    try:
        return str(node.command("ROLE")[0])
    except redis.RedisError:
        return "silent"
