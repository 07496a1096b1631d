# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fresh cluster on loopback: three masters with a replica each, no Sentinel."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.crc import key_slot

from lab.errors import LabError
from lab.ports import PortReservation
from lab.process import Access, Process
from lab.servers import Server, find_server

SLOTS = 16384
NODE_TIMEOUT_MS = 5000
_SHARDS = 3
_BUS_OFFSET = 10_000
_POLL_S = 0.02


class Cluster:
    """Three masters, the first three nodes, and a replica of each. Ended with the ``with`` block."""

    def __init__(self, server: Server | str) -> None:
        self.server = server if isinstance(server, Server) else find_server(server)
        self.nodes: list[Process] = []
        self._folder = Path()
        self._ports = PortReservation()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="redis-ha-cluster-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends every process and removes the folder."""
        for node in self.nodes:
            node.kill()
        self._ports.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def processes(self) -> list[Process]:
        """Every node."""
        return self.nodes

    @property
    def shard(self) -> list[Process]:
        """The two nodes of the first shard."""
        return [self.nodes[0], self.nodes[_SHARDS]]

    def tag(self) -> str:
        """A hash tag whose slot the first shard has."""
        return next(tag for tag in map(str, range(SLOTS)) if key_slot(tag.encode()) < SLOTS // _SHARDS)

    def wait_ready(self, timeout_s: float) -> None:
        """Waits until every node knows all, all slots are served and every replica is in sync.

        Raises:
            LabError: That is not so in time.
        """
        self._wait(self._missing, timeout_s)

    def _start(self) -> None:
        for index in range(2 * _SHARDS):
            port = self._take_port()
            label = f"cluster-{index}"
            data = self._folder / label
            data.mkdir()
            lines = ["bind 127.0.0.1", f"port {port}", "protected-mode no", f"dir {data}", 'save ""', "appendonly no"]
            lines += ["repl-diskless-sync no", "repl-diskless-sync-delay 0", "repl-backlog-size 64mb"]
            lines += ["cluster-enabled yes", f"cluster-node-timeout {NODE_TIMEOUT_MS}"]
            text = "\n".join(lines) + "\n"
            self.nodes.append(Process(self.server, "node", label, "127.0.0.1", port, self._folder, text, Access()))
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_up()
        bounds = [SLOTS * shard // _SHARDS for shard in range(_SHARDS + 1)]
        for number, node in enumerate(self.nodes, 1):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number)
        for node, first, end in zip(self.nodes[:_SHARDS], bounds, bounds[1:], strict=False):
            node.command("CLUSTER", "ADDSLOTS", *range(first, end))
        for node in self.nodes[1:]:
            self.nodes[0].command("CLUSTER", "MEET", node.host, node.port)
        self._wait(self._strangers, 30)
        for replica, master in zip(self.nodes[_SHARDS:], self.nodes, strict=False):
            identity = master.command("CLUSTER", "MYID")
            replica.command("CLUSTER", "REPLICATE", identity)
        self.wait_ready(60)

    def _take_port(self) -> int:
        """A port whose companion, on which the nodes of a cluster speak with each other, is free, too."""
        while True:
            port = self._ports.take()
            try:
                self._ports.take(port + _BUS_OFFSET)
            except LabError:
                continue
            return port

    def _wait(self, find_missing: Callable[[], list[str]], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while missing := find_missing():
            if time.monotonic() > deadline_s:
                raise LabError(f"the cluster is not ready after {timeout_s} s: {missing}")
            time.sleep(_POLL_S)

    def _strangers(self) -> list[str]:
        """Nodes that do not know all others."""
        found = []
        for node in self.nodes:
            with node.client() as client:
                known = client.execute_command("CLUSTER INFO")
            if int(known["cluster_known_nodes"]) != 2 * _SHARDS:
                found.append(f"{node.name} knows {known['cluster_known_nodes']} nodes")
        return found

    def _missing(self) -> list[str]:
        found = self._strangers()
        for node in self.nodes:
            try:
                with node.client() as client:
                    state = client.execute_command("CLUSTER INFO")["cluster_state"]
                    replicas = _replicas(client)
                role = node.command("ROLE")
            except (redis.ConnectionError, redis.TimeoutError) as error:
                found.append(f"{node.name}: {error}")
                continue
            if state != "ok" or replicas != _SHARDS:
                found.append(f"{node.name}: state {state}, {replicas} replicas")
            if role[0] == "slave" and role[3] != "connected":
                found.append(f"{node.name}: link {role[3]}")
        return found


def _replicas(client: redis.Redis) -> int:
    """How many replicas one node of the cluster knows."""
    nodes = client.execute_command("CLUSTER NODES")
    return sum("slave" in fields["flags"].split(",") for fields in nodes.values())
