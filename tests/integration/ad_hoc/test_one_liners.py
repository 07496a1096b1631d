# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command of docs/ad-hoc.md, run as it stands there, in its order and in one shell."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import Deployment
from lab.adhoc import read_results
from lab.modules import modules_that_run
from lab.pages import with_addresses
from lab.playbooks import CommandLines, Workspace

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "ad-hoc.md").read_text()
MODULES = modules_that_run()
PASSWORDS = {"redis": f"node-{secrets.token_hex(12)}", "sentinel": f"sentinel-{secrets.token_hex(12)}"}
# Thirty commands, each a start of Ansible.
pytestmark = pytest.mark.timeout(1200)
WITH_A_ROLE_ALONE = {"watch_failover"}
"""It runs in the background, while the role drill stops the master."""
END = "== end of a block =="


def blocks() -> list[str]:
    """The commands of the page, block by block."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_shows_every_module() -> None:
    shown = set(re.findall(r"-m redis_ha\.sentinel\.(\w+)", "".join(blocks())))
    assert shown == set(MODULES) - WITH_A_ROLE_ALONE


def test_no_password_is_among_the_arguments() -> None:
    assert not re.search(r"password=(?!\{\{|\"\$\(cat)", "".join(blocks()))


@dataclass(frozen=True)
class Done:
    """One block: its commands, and what they printed."""

    commands: str
    output: str

    @property
    def results(self) -> list[dict[str, Any]]:
        """What modules returned."""
        return read_results(self.output)


@dataclass(frozen=True)
class Session:
    deployment: Deployment
    done: list[Done]
    seen_in_process_list: set[str]

    def block(self, part: str) -> Done:
        """The only block in which these words stand."""
        (found,) = [done for done in self.done if part in done.commands]
        return found


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """All blocks in one shell, with the addresses of a deployment in place of the page's."""
    with (
        Workspace() as workspace,
        Deployment(
            down_after_ms=2000,
            host=("127.0.0.1", "127.0.0.2", "127.0.0.3"),
            node_config=(f"requirepass {PASSWORDS['redis']}", f"masterauth {PASSWORDS['redis']}"),
            sentinel_config=(f"requirepass {PASSWORDS['sentinel']}", f"sentinel sentinel-pass {PASSWORDS['sentinel']}"),
            sentinel_master_config=(f"sentinel auth-pass {{name}} {PASSWORDS['redis']}",),
            node_auth=(None, PASSWORDS["redis"]),
            sentinel_auth=(None, PASSWORDS["sentinel"]),
        ) as deployment,
    ):
        deployment.ask_every_second()
        _fill(workspace)
        script = "set -euo pipefail\n" + f"echo '{END}'\n".join(with_addresses(deployment, block) for block in blocks())
        with CommandLines(list(PASSWORDS.values())) as processes:
            ran = subprocess.run(
                ["bash"],
                input=script,
                env=workspace.environment(),
                capture_output=True,
                text=True,
                timeout=1150,
                check=False,
            )
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
        done = [Done(*pair) for pair in zip(blocks(), ran.stdout.split(f"{END}\n"), strict=True)]
        yield Session(deployment, done, processes.found)


def _fill(workspace: Workspace) -> None:
    """What the page takes for granted in the home folder."""
    home = workspace.home
    (home / ".redis-password").write_text(PASSWORDS["redis"])
    (home / ".sentinel-password").write_text(PASSWORDS["sentinel"])
    (home / ".vault-password").write_text(secrets.token_hex(12))
    (home / "inventory.ini").write_text(
        f"sentinel1 ansible_connection=local ansible_python_interpreter={workspace.python}\n"
    )
    subprocess.run(
        [
            "ansible-vault",
            "encrypt",
            "--vault-password-file",
            f"{home}/.vault-password",
            "--output",
            f"{home}/secrets.yml",
        ],
        input="".join(f"{name}_password: {password}\n" for name, password in PASSWORDS.items()),
        env=workspace.environment(),
        capture_output=True,
        text=True,
        check=True,
    )


def test_every_command_succeeds(session: Session) -> None:
    results = [result for done in session.done for result in done.results]
    assert len(results) == sum(done.commands.count(" -m redis_ha.sentinel.") for done in session.done)
    assert {result["status"] for result in results} == {"SUCCESS", "CHANGED"}
    recaps = re.findall(r"failed=(\d+)", "".join(done.output for done in session.done))
    assert len(recaps) == sum(done.commands.count("ansible-playbook ") for done in session.done)
    assert set(recaps) == {"0"}


def test_each_does_what_the_page_says(session: Session) -> None:
    first = session.deployment.nodes()[0]
    (planned,) = session.block("--check").results
    assert planned["outcome"] == "planned"
    left, again = session.block("avoid=192.0.2.21").results
    assert (left["outcome"], left["old_master"]["host"]) == ("switched", first.host)
    assert (again["outcome"], again["changed"]) == ("unchanged", False)
    (back,) = session.block('target=192.0.2.21:6379"').results
    assert back["new_master"] == {"host": first.host, "port": first.port}
    (elsewhere,) = session.block("expected_master=").results
    assert elsewhere["old_master"] == {"host": first.host, "port": first.port}
    assert session.block("-e report_directory").output.count("mymaster was moved from") == 1
    (drained,) = session.block("sentinel.drain").results
    assert (drained["changed"], [it["outcome"] for it in drained["masters"]]) == (False, ["unchanged"])
    (whole,) = session.block("wait_for_servers").results
    assert whole["changed"] is False
    (settled,) = session.block("wait_for_replicas").results
    assert settled["settled"]
    (marker,) = session.block("replication_marker").results
    assert marker["arrived"]
    (after,) = session.block("phase=after").results
    assert after["healthy"]
    assert session.deployment.master() is first


def test_no_password_was_in_the_list_of_processes(session: Session) -> None:
    assert not session.seen_in_process_list
    assert not any(password in done.output for done in session.done for password in PASSWORDS.values())
