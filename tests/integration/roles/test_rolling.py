# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rolling maintenance under write load: every server is restarted, nothing is lost, and a run that stopped is gone on with."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from bench.light_writers import LightWriters
from lab import Deployment, Process
from lab.background import Background
from lab.jobs import survey_answers
from lab.modules import CHECKOUT, PYTHON
from lab.playbooks import PlaybookRun, Workspace

PLAYBOOKS = CHECKOUT / "playbooks"
RESTART = Path(__file__).parent / "project" / "restart.yml"
HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 6))
NAMES = ("shop", "cart", "user")
INVENTORY = "".join(
    f"redis-{number} ansible_host={host} ansible_connection=local ansible_python_interpreter={PYTHON}\n"
    for number, host in enumerate(HOSTS, 1)
)


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


class Restarter:
    """Restarts every server of a host when a maintenance task asks for it, as the machine's own service manager would."""

    def __init__(self, deployment: Deployment, away: Away) -> None:
        self._deployment = deployment
        self._away = away
        self.restarted: list[str] = []
        self.refuses: set[str] = set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host = self.path.strip("/")
                if host not in outer.refuses:
                    outer.restart(host)
                self.send_response(500 if host in outer.refuses else 200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def restart(self, host: str) -> None:
        there = [process for process in self._deployment.processes if process.host == host]
        nodes = [process for process in there if process.role == "node"]
        self._away.stops(nodes)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Process.restart, there))
        self._away.runs(nodes)
        look_often([process for process in there if process.role == "sentinel"])
        self.restarted.append(host)


def look_often(sentinels: list[Process]) -> None:
    """Sentinel looks at a replica every ten seconds; nobody has to wait that long for a test."""
    for sentinel in sentinels:
        sentinel.command("SENTINEL", "DEBUG", "info-period", "500")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Deployment]:
    with Deployment(
        masters=NAMES, replicas=2, sentinels=5, host=HOSTS, mixed=True, down_after_ms=5000, failover_timeout_ms=20_000
    ) as started:
        look_often(started.sentinels)
        yield started


def roll(workspace: Workspace, fleet: Deployment, restarter: str, state: Path, **more: Any) -> PlaybookRun:
    given = {
        # The one that is named is on a host that is taken away, too.
        "sentinels": fleet.sentinel_addresses[0],
        "rolling_maintenance_tasks": str(RESTART),
        "rolling_state_file": str(state),
        "rolling_poll_interval": 0.5,
        "restarter": restarter,
        **more,
    }
    return workspace.run("rolling_maintenance.yml", given, project=PLAYBOOKS, inventory=INVENTORY)


def masters(fleet: Deployment) -> dict[str, str]:
    return {name: fleet.master(name).address for name in NAMES}


@pytest.mark.timeout(1200)
def test_every_server_is_restarted_by_a_run_that_stopped_and_one_that_went_on_and_nothing_is_lost(
    fleet: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    before = masters(fleet)
    pids = {process.address: process.pid for process in fleet.processes}
    with (
        Away(fleet) as away,
        Restarter(fleet, away) as restarter,
        LightWriters(fleet.sentinel_addresses, NAMES, pause_ms=5.0) as writers,
    ):
        restarter.refuses.add(HOSTS[0])
        first = roll(workspace, fleet, restarter.url, state)
        assert first.status == "failed"
        assert set(restarter.restarted) == {HOSTS[3], HOSTS[4]}, "the hosts without a master come first"
        restarter.refuses.clear()
        second = roll(workspace, fleet, restarter.url, state, rolling_give_back=True)
        written = writers.end()

    assert "Stopped at redis-1, in the maintenance itself: redis-1: " in first.message
    assert "Done: redis-4, redis-5. Left: redis-1, redis-2, redis-3." in first.message
    found = first.artifacts["redis_ha_rolling"]
    assert (found["stage"], found["done"]) == ("maintenance", ["redis-4", "redis-5"])
    assert second.succeeded, second.stdout
    assert second.artifacts["redis_ha_rolling"]["ended_at"]

    assert sorted(restarter.restarted) == sorted(HOSTS), "what was done is not done again"
    assert all(process.pid != pids[process.address] for process in fleet.processes)
    assert away.seen == {node.address for name in NAMES for node in fleet.nodes(name)}
    assert set(away.most.values()) == {1}, "never more than one node of a master is away"
    assert masters(fleet) == before, "each host has its masters back, also those that left it in the first run"
    for name in NAMES:
        with fleet.master(name).client() as client:
            assert written[name].lost(client) == 0
        print(f"{name}: {len(written[name].acknowledged)} written, longest gap {written[name].longest_gap_s():.3f} s")
    assert state.stat().st_mode & 0o777 == 0o600
    assert json.loads(state.read_text())["masters"] == before
    fleet.wait_ready()


def test_a_host_that_nobody_has_is_refused_before_anything_is_done(
    fleet: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    run = roll(workspace, fleet, "http://127.0.0.1:1", tmp_path / "state.json", rolling_hosts="redis-9")
    assert run.message == "The inventory has no host and no group redis-9. Nothing was done."
    assert not (tmp_path / "state.json").exists()


def test_in_check_mode_the_job_of_awx_says_the_order_and_does_nothing(
    fleet: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    answers = survey_answers(
        "rolling_maintenance",
        sentinels=fleet.sentinel_addresses[0],
        rolling_maintenance_tasks=str(RESTART),
        rolling_state_file=str(tmp_path / "state.json"),
    )
    given = {**answers, "restarter": "http://127.0.0.1:1"}
    run = workspace.run("rolling_maintenance.yml", given, inventory=INVENTORY, check=True)
    assert run.succeeded, run.stdout
    said = [line.split()[1].strip(":") for line in run.result("Say in which order")["msg"]]
    assert said == ["redis-4", "redis-5", "redis-1", "redis-2", "redis-3"]
    assert not run.results("Restart every server")
    assert not (tmp_path / "state.json").exists()
