# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup plugin on real Sentinels: the current master, or why there is none."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab import Deployment, LabError
from lab.modules import PYTHON
from lab.playbooks import Workspace

PASSWORD = "a-very-secret-word"


@pytest.fixture(scope="module")
def shared() -> Iterator[Deployment]:
    """Two masters with one replica each, and three Sentinels that want a password."""
    with Deployment(
        masters=("alpha", "beta"),
        replicas=1,
        sentinels=3,
        down_after_ms=2000,
        sentinel_config=[f"requirepass {PASSWORD}"],
        sentinel_auth=(None, PASSWORD),
    ) as deployment:
        yield deployment


def look_up(workspace: Workspace, deployment: Deployment, words: str, **environment: str) -> object:
    """What `query` returns.

    Raises:
        LabError: It failed; with the message.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "REDIS_"))}
    own = {"REDIS_SENTINELS": ",".join(deployment.sentinel_addresses), "REDIS_SENTINEL_PASSWORD": PASSWORD}
    message = "{{ query('redis_ha.sentinel.master', " + words + ") | to_json }}"
    command = [str(Path(PYTHON).parent / "ansible"), "localhost", "-m", "ansible.builtin.debug", "-a"]
    done = subprocess.run(
        [*command, f'msg="{message}"'],
        env={**inherited, **workspace.environment({**own, **environment})},
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert PASSWORD not in done.stdout + done.stderr
    if done.returncode:
        raise LabError(" ".join((done.stdout + done.stderr).split()))
    found = re.search(r"SUCCESS => (\{.*\})", done.stdout, re.DOTALL)
    assert found is not None, done.stdout
    value = yaml.safe_load(found[1])["msg"]
    return yaml.safe_load(value) if isinstance(value, str) else value


def test_the_address_of_each_master_in_its_place(shared: Deployment, workspace: Workspace) -> None:
    beta, alpha = shared.master("beta"), shared.master("alpha")
    assert look_up(workspace, shared, "'beta', 'alpha'") == [beta.address, alpha.address]
    assert look_up(workspace, shared, "'beta', result='parts'") == [{"host": beta.host, "port": beta.port}]


def test_options_count_before_the_environment(shared: Deployment, workspace: Workspace) -> None:
    words = f"'alpha', sentinels=['{shared.sentinel_addresses[1]}'], connect_timeout=1.5"
    assert look_up(workspace, shared, words, REDIS_SENTINELS="127.0.0.1:1") == [shared.master("alpha").address]


def test_a_majority_is_enough_and_less_is_not(shared: Deployment, workspace: Workspace) -> None:
    first, second, third = shared.sentinels
    address = shared.master("alpha").address
    third.stop()
    try:
        assert look_up(workspace, shared, "'alpha'") == [address]
        second.stop()
        with pytest.raises(LabError) as failed:
            look_up(workspace, shared, "'alpha'")
        assert (
            "No majority of the Sentinels names one master of alpha: at most 1 of 3 name the same, 2 are needed. "
            f"Sentinel {first.address}: {address}; Sentinel {second.address}: Connection refused; "
            f"Sentinel {third.address}: Connection refused."
        ) in str(failed.value)
    finally:
        for sentinel in (second, third):
            if not sentinel.alive:
                sentinel.start()
        shared.wait_ready()


def test_sentinels_that_disagree_are_quoted(shared: Deployment, workspace: Workspace) -> None:
    first, second, third = shared.sentinels
    master, (replica,) = shared.master("beta"), shared.replicas("beta")

    def monitor(host: str, port: int) -> None:
        third.command("SENTINEL", "REMOVE", "beta")
        third.command("SENTINEL", "MONITOR", "beta", host, str(port), "2")

    second.stop()
    monitor(replica.host, replica.port)
    try:
        with pytest.raises(LabError) as failed:
            look_up(
                workspace, shared, "'beta'", REDIS_SENTINELS=",".join([first.address, second.address, third.address])
            )
        assert f"Sentinel {first.address}: {master.address}" in str(failed.value)
        assert f"Sentinel {third.address}: {replica.address}" in str(failed.value)
    finally:
        monitor(master.host, master.port)
        second.start()
        shared.wait_ready()


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ("'gamma'", {}, "No Sentinel knows a master called gamma"),
        ("'  '", {}, "Name a master"),
        ("'alpha', sentinels=['127.0.0.1:1']", {}, "No Sentinel can be asked for the master of alpha"),
        ("'alpha'", {"REDIS_SENTINEL_PASSWORD": "wrong"}, "refuses the login"),
        ("'alpha', sentinels=['127.0.0.1:0']", {}, "the port must be from 1 to 65535"),
        ("'alpha', client_key_file='/dev/null'", {}, "client_cert_file"),
    ],
    ids=["unknown", "no name", "nobody there", "wrong password", "no address", "key without certificate"],
)
def test_what_it_fails_with(
    words: str, environment: dict[str, str], said: str, shared: Deployment, workspace: Workspace
) -> None:
    with pytest.raises(LabError) as failed:
        look_up(workspace, shared, words, **environment)
    assert said in str(failed.value)
