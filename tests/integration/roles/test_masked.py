# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible masks a password wherever its letters stand in a result: in the address of a node, too, where that is the password."""

from __future__ import annotations

from lab import Deployment
from lab.playbooks import Workspace

NAME = "localhost"
"""The name that every node announces, and the password of all of them."""


def test_the_password_is_the_name_of_the_nodes(workspace: Workspace) -> None:
    with Deployment(
        host=NAME,
        node_config=[f"replica-announce-ip {NAME}", f"requirepass {NAME}", f"masterauth {NAME}"],
        sentinel_config=["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"],
        sentinel_master_config=[f"sentinel auth-pass {{name}} {NAME}"],
        node_auth=(None, NAME),
    ) as deployment:
        old = deployment.master()
        run = workspace.run(
            "failover.yml",
            {
                "sentinels": deployment.sentinel_addresses[0].replace(NAME, "127.0.0.1"),
                "master_name": "mymaster",
                "redis_ha_redis_password": NAME,
            },
        )
        print(run.stdout)
        print(run.artifacts)
        assert run.succeeded
        assert deployment.master() is not old
