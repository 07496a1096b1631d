# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples for alerts and metrics of docs/maintenance-window.md, run as they stand there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment
from lab.playbooks import Workspace
from lab.web import Answer, Asked, WebServer

PAGE = (Path(__file__).resolve().parents[3] / "docs/maintenance-window.md").read_text()
QUICK = {"failover_precheck": False, "failover_postcheck": False, "failover_report": False}
FAR = {"TZ": "Asia/Tokyo"}
LINE = re.compile(r"[a-z_]+\{[a-z_]+=\"[^\"]*\"\} [0-9.e+-]+")


def example(name: str, folder: Path) -> str:
    """An example of the page, as a file."""
    (text,) = re.findall(rf"^```yaml\n(# {name}\.yml.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = folder / f"{name}.yml"
    path.write_text("---\n" + text)
    return str(path)


@pytest.fixture
def alertmanager() -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """Notes what it is asked, and answers as Alertmanager does."""
    asked: list[tuple[str, str, Any]] = []

    def answer(request: Asked) -> Answer:
        is_new = request.method == "POST"
        asked.append((request.method, request.path, json.loads(request.body) if is_new else None))
        return 200, b'{"silenceID": "4711"}' if is_new else b""

    with WebServer(answer) as server:
        yield server.url, asked


def wanted(deployment: Deployment, **more: Any) -> dict[str, Any]:
    return {"sentinels": deployment.sentinel_addresses[0], "master_name": "mymaster", **QUICK, **more}


def test_alerts_are_silenced_before_the_move_and_come_back_however_it_ends(
    deployment: Deployment, workspace: Workspace, tmp_path: Path, alertmanager: tuple[str, list[tuple[str, str, Any]]]
) -> None:
    url, asked = alertmanager
    silence, end = example("silence", tmp_path), example("end_silence", tmp_path)
    tasks = {"failover_before_tasks": silence, "failover_after_tasks": end, "failover_failure_tasks": end}
    run = workspace.run("failover.yml", wanted(deployment, alertmanager_url=url, **tasks), environment=FAR)
    assert run.succeeded, run.stdout
    (post, path, body), delete = asked
    assert (post, path, delete) == ("POST", "/api/v2/silences", ("DELETE", "/api/v2/silence/4711", None))
    assert body["matchers"] == [{"name": "master_name", "value": "mymaster", "isRegex": False, "isEqual": True}]
    begins, ends = (datetime.strptime(body[key], "%Y-%m-%dT%H:%M:%SZ") for key in ("startsAt", "endsAt"))
    assert abs(begins - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=2)
    assert timedelta(minutes=9) < ends - begins < timedelta(minutes=11)
    deployment.wait_ready()

    asked.clear()
    veto = tmp_path / "veto.yml"
    veto.write_text(
        Path(silence).read_text() + "\n- name: Speak against it\n  ansible.builtin.fail:\n    msg: not today\n"
    )
    run = workspace.run(
        "failover.yml", wanted(deployment, alertmanager_url=url, **{**tasks, "failover_before_tasks": str(veto)})
    )
    assert run.message == "not today"
    assert [method for method, _path, _body in asked] == ["POST", "DELETE"]


def test_the_figures_of_a_run_are_there_for_node_exporter(
    deployment: Deployment, workspace: Workspace, tmp_path: Path
) -> None:
    run = workspace.run(
        "failover.yml",
        wanted(deployment, failover_after_tasks=example("metrics", tmp_path), textfile_directory=str(tmp_path)),
        environment=FAR,
    )
    assert run.succeeded, run.stdout
    lines = (tmp_path / "redis_ha_failover.prom").read_text().splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert all(LINE.fullmatch(line) for line in lines if not line.startswith("#"))
    assert samples['redis_ha_failover_lossless{master_name="mymaster"}'] == "1"
    assert 0 < float(samples['redis_ha_failover_write_gap_seconds{master_name="mymaster"}']) < 10
    assert abs(float(samples['redis_ha_failover_timestamp_seconds{master_name="mymaster"}']) - time.time()) < 120
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == {name.split("{")[0] for name in samples}
    deployment.wait_ready()
