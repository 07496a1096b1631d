# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance of hosts that are addresses of loopback: every server of one is restarted when a task asks for it, and it is seen who is away meanwhile."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis

from lab.background import Background
from lab.deployment import Deployment
from lab.modules import PYTHON
from lab.process import Process
from lab.web import Answer, Asked, WebServer

RESTART = Path(__file__).parent / "restart.yml"
"""Tasks for rolling_maintenance_tasks: they ask the `Restarter` whose address is in the variable `restarter`."""

# In place of the module to which ansible.builtin.service hands on, whichever that is here. A host has two services; the restart of the first one does both.
_MANAGER = """#!/usr/bin/python
import http.client, os
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec={"name": {"required": True}, "state": {"choices": ["restarted"]}})
if module.params["name"] == "redis-server":
    connection = http.client.HTTPConnection(os.environ["LAB_RESTARTER"])
    connection.request("GET", "/" + os.environ["LAB_HOST"])
    answer = connection.getresponse()
    if answer.status != 200:
        module.fail_json(msg="redis-server does not start: %d" % answer.status)
module.exit_json(changed=True)
"""


def service_managers(folder: Path, restarter: str, hosts: Sequence[str]) -> dict[str, Path]:
    """Makes hosts on which the `Restarter` restarts the services redis-server and redis-sentinel.

    Args:
        folder: An empty folder; it becomes a library of modules.
        restarter: The address of the `Restarter`.
        hosts: Their addresses.

    Returns:
        By address, the Python that a host has to be given: one that knows where it is.
    """
    for name in ("service", "systemd", "sysvinit"):
        (folder / f"{name}.py").write_text(_MANAGER)
    pythons = {host: folder / f"python-on-{host}" for host in hosts}
    for host, python in pythons.items():
        where = f"LAB_HOST={host} LAB_RESTARTER={restarter.removeprefix('http://')}"
        python.write_text(f'#!/bin/sh\n{where} exec {shlex.quote(PYTHON)} "$@"\n')
        python.chmod(0o755)
    return pythons


class Away(Background):
    """Which nodes of each master are away: from the moment at which they are to be stopped until they are seen in sync again."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self._deployment = deployment
        self._lock = threading.Lock()
        self._names = {node.address: name for name in deployment.master_names for node in deployment.nodes(name)}
        # Whether it runs again; only then can it be seen in sync.
        self._away: dict[Process, bool] = {}
        self.most: Counter[str] = Counter()
        self.seen: set[str] = set()

    def stops(self, nodes: list[Process]) -> None:
        """These are about to be stopped."""
        with self._lock:
            self._away.update(dict.fromkeys(nodes, False))
            self.seen |= {node.address for node in nodes}
            for name, count in Counter(self._names[node.address] for node in self._away).items():
                self.most[name] = max(self.most[name], count)

    def runs(self, nodes: list[Process]) -> None:
        """These run again."""
        with self._lock:
            self._away.update(dict.fromkeys(nodes, True))

    def work(self) -> None:
        """See who is back."""
        while not self.over.wait(0.02):
            for node in [node for node, runs in list(self._away.items()) if runs]:
                with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                    role = node.command("ROLE", timeout_s=1.0)
                    if role[0] == "master" or role[3] == "connected":
                        with self._lock:
                            del self._away[node]


class Restarter(WebServer):
    """Restarts every server of a host when a maintenance task asks for it, as the machine's own service manager would."""

    def __init__(self, deployment: Deployment, away: Away) -> None:
        self._deployment = deployment
        self._away = away
        self.restarted: list[str] = []
        self.refuses: set[str] = set()
        self.keeps_down: set[str] = set()
        super().__init__(self._answer)

    def _answer(self, asked: Asked) -> Answer:
        host = asked.path.strip("/")
        if host in self.refuses:
            return 500, b""
        self.restart(host)
        return 200, b""

    def restart(self, host: str) -> None:
        there = [process for process in self._deployment.processes if process.host == host]
        nodes = [process for process in there if process.role == "node"]
        self._away.stops(nodes)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Process.stop if host in self.keeps_down else Process.restart, there))
        if host in self.keeps_down:
            return
        self._away.runs(nodes)
        look_often([process for process in there if process.role == "sentinel"])
        self.restarted.append(host)


def look_often(sentinels: list[Process]) -> None:
    """Sentinel looks at a replica every ten seconds; nobody has to wait that long for a test."""
    for sentinel in sentinels:
        sentinel.command("SENTINEL", "DEBUG", "info-period", "500")
