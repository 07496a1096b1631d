# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role, run by ansible-playbook on real failovers of a deployment with passwords."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment, compiled

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
PASSWORD = "correct-horse-battery-staple"

MOVES = """
- name: Fail over and report
  hosts: all
  gather_facts: false
  module_defaults:
    group/redis_ha.sentinel.all:
      sentinels: "{{ sentinels }}"
      redis_password: "{{ redis_password }}"
  tasks:
    - name: Look before
      redis_ha.sentinel.health_info: {master_name: mymaster, phase: before}
      register: before
      delegate_to: localhost
      run_once: true

    - name: Plan
      redis_ha.sentinel.failover: {master_name: mymaster}
      check_mode: true
      register: planned
      delegate_to: localhost
      run_once: true

    - name: Ask for what cannot be
      redis_ha.sentinel.failover: {master_name: mymaster, target: "127.0.0.1:1"}
      register: refused
      failed_when: refused.outcome != 'refused'
      delegate_to: localhost
      run_once: true

    - name: Move
      redis_ha.sentinel.failover: {master_name: mymaster}
      register: switched
      delegate_to: localhost
      run_once: true

    - name: Look after
      redis_ha.sentinel.health_info: {master_name: mymaster, phase: after}
      register: after
      delegate_to: localhost
      run_once: true

    - name: Move to where it is
      redis_ha.sentinel.failover:
        master_name: mymaster
        target: "{{ switched.new_master.host }}:{{ switched.new_master.port }}"
      register: unchanged
      delegate_to: localhost
      run_once: true

    - name: Report on all but the last
      ansible.builtin.include_role:
        name: redis_ha.sentinel.report
      vars:
        report_master_name: mymaster
        report_result: "{{ lookup('ansible.builtin.vars', item) }}"
        report_before: "{{ before }}"
        report_after: "{{ after if item == 'switched' else {} }}"
        report_directory: "{{ reports }}/made/by/the/role"
        report_name: "{{ item }}"
        report_title: CHG0031337
      loop: [planned, refused, switched]

    - name: Report on the last, with nothing but the result
      ansible.builtin.include_role:
        name: redis_ha.sentinel.report
      vars:
        report_master_name: mymaster
        report_result: "{{ unchanged }}"
        report_directory: "{{ reports }}"

    - name: Every host knows where the files are
      ansible.builtin.assert:
        that:
          - report_headline is search('mymaster was not moved, its master is ')
          - report_files.html is match(reports ~ '/mymaster-\\\\d{8}T\\\\d{6}Z.html$')
          - report_files.markdown is match(reports ~ '/mymaster-\\\\d{8}T\\\\d{6}Z.md$')
          - lookup('ansible.builtin.file', report_files.html) is search(report_headline)
"""

REPORT = """
- name: Report
  hosts: all
  gather_facts: false
  roles:
    - role: redis_ha.sentinel.report
"""

REPORTS_BY_NAME = """
- name: Report
  hosts: all
  gather_facts: false
  tasks:
    - name: Report
      ansible.builtin.include_role:
        name: redis_ha.sentinel.report
      vars:
        report_name: "{{ item }}"
        report_master_name: "{{ item }}"
      loop: "{{ names }}"
"""


@dataclass(frozen=True)
class Play:
    """How ansible-playbook ended."""

    output: str
    changed: int
    passed: bool


def play(folder: Path, playbook: str, *words: str, **variables: Any) -> Play:
    """Runs a playbook for two hosts that do not exist: everything happens on the controller."""
    path = folder / "playbook.yml"
    path.write_text(playbook)
    given = folder / "variables.json"
    given.write_text(json.dumps(variables))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "one.invalid,two.invalid", str(path)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "ANSIBLE_"))},
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        **compiled.in_use(),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [*command, "-e", f"@{given}", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    return Play(output, sum(map(int, re.findall(r"changed=(\d+)", output))), done.returncode == 0)


@pytest.mark.timeout(400)
def test_real_runs_are_reported(tmp_path: Path) -> None:
    with Deployment(
        node_config=[f"requirepass {PASSWORD}", f"masterauth {PASSWORD}"],
        sentinel_master_config=[f"sentinel auth-pass {{name}} {PASSWORD}"],
        node_auth=(None, PASSWORD),
    ) as deployment:
        old_master = deployment.master().address
        folder = tmp_path / "reports"
        sentinels = deployment.sentinel_addresses
        ended = play(tmp_path, MOVES, "-vvvv", sentinels=sentinels, redis_password=PASSWORD, reports=str(folder))
        new_master = deployment.master().address
    assert ended.passed, ended.output[-3000:]
    made = {path.name: path.read_text() for path in folder.rglob("*.*")}
    assert {re.sub(r"\d{8}T\d{6}Z", "TIME", name) for name in made} == {
        *("planned.html", "planned.md", "refused.html", "refused.md", "switched.html", "switched.md"),
        *("mymaster-TIME.html", "mymaster-TIME.md"),
    }
    for ending in ("html", "md"):
        switched = made[f"switched.{ending}"]
        moved = f"mymaster was moved from {old_master} to {new_master}. No acknowledged write was lost"
        assert moved in switched
        assert "CHG0031337" in switched
        assert "every Sentinel names the new master" in switched
        assert "Checks after" in switched
        assert "Only planned, nothing was changed." in made[f"planned.{ending}"]
        assert "127.0.0.1:1 is no replica of mymaster" in made[f"refused.{ending}"]
        assert "Checks after" not in made[f"refused.{ending}"]
    assert PASSWORD not in ended.output
    assert all(PASSWORD not in text for text in made.values())
    assert all(len(text.encode()) < 300_000 for text in made.values())


def test_in_check_mode_the_report_on_a_plan_is_written(tmp_path: Path) -> None:
    planned = {"outcome": "planned", "old_master": {"host": "a", "port": 1}, "new_master": {"host": "b", "port": 2}}
    options = {
        "report_result": planned,
        "report_name": "plan",
        "report_master_name": "orders",
        "report_formats": ["html"],
        "awx_user_name": "mara",
        "awx_job_id": 4711,
        "awx_job_template_name": "Move a master",
    }
    ended = play(tmp_path, REPORT, "--check", "--diff", **options)
    assert ended.passed, ended.output
    assert ended.changed == 0
    page = (tmp_path / "reports" / "plan.html").read_text()
    assert "A run would move orders from a:1 to b:2" in page
    assert re.findall(r"<dt>(?:Run by|Job)</dt><dd>(.*?)</dd>", page) == ["mara", "4711 Move a master"]
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["plan.html"], "only what was wanted"
    assert "<html" not in ended.output, "a page is no diff for a person"


def test_who_runs_ansible_is_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "rita")
    options = {"report_result": {"outcome": "refused"}, "report_master_name": "orders", "report_formats": ["html"]}
    assert play(tmp_path, REPORT, **options, report_name="user").passed
    assert play(tmp_path, REPORT, **options, report_name="named", report_operator="mara", report_job="night 7").passed
    found = {
        path.stem: re.findall(r"<dt>(?:Run by|Job)</dt><dd>(.*?)</dd>", path.read_text())
        for path in (tmp_path / "reports").iterdir()
    }
    assert found == {"user": ["rita"], "named": ["mara", "night 7"]}


def test_hostile_names_make_harmless_files(tmp_path: Path) -> None:
    names = ["../../../etc/<script>x{{ 7 * 7 }}", "日本"]
    hostile = [{"__ansible_unsafe": name} for name in names]
    ended = play(tmp_path, REPORTS_BY_NAME, report_result={"outcome": "refused"}, names=hostile)
    assert ended.passed, ended.output
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("reports/*")}
    assert written == {
        f"reports/{name}.{ending}" for name in ("etc_script_x_7_7_", "report") for ending in ("html", "md")
    }


def test_a_result_is_demanded(tmp_path: Path) -> None:
    ended = play(tmp_path, REPORT)
    assert not ended.passed
    assert "missing required arguments: report_master_name, report_result" in ended.output
