# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the captured replies of this folder anew, from real servers: `python tests/unit/replies/capture.py [version ...]`.

With `PYTHONPATH=tests`. For each version a folder with `sentinel.json` (before a failover, and its events), `nodes.json`
and `sentinel_after.json`. What names this machine is replaced; everything else is as the servers sent it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import redis

from lab import Deployment
from lab.process import Process

FOLDER = Path(__file__).parent
VERSIONS = ("redis-6.0", "redis-6.2", "redis-7.0", "redis-8.0", "redis-8.2", "valkey-8.1", "valkey-9.1")
NAME = "mymaster"
OF_THIS_MACHINE = ("executable", "config_file", "os", "gcc_version", "monotonic_clock", "process_supervised")
REPLACEMENT = "replaced"


def capture(version: str) -> None:
    """Start a deployment, ask everything, fail over, ask again, and write it down."""
    with Deployment(version, replicas=2, sentinels=3) as deployment:
        sentinel = deployment.sentinels[0]
        with sentinel.client() as client, client.pubsub() as events:
            events.psubscribe("*")
            before = _sentinel(sentinel)
            nodes = {
                "master": _node(deployment.master()),
                "replica": _node(deployment.replicas()[0]),
            }
            old = deployment.master()
            sentinel.command("SENTINEL", "FAILOVER", NAME)
            heard = _events(events)
            deployment.wait_for(lambda: deployment.master() is not old, 20.0, "a new master")
        after = _sentinel(sentinel)
    folder = FOLDER / version
    folder.mkdir(exist_ok=True)
    _write(folder / "sentinel.json", before)
    _write(folder / "sentinel_after.json", {**after, "events": heard})
    _write(folder / "nodes.json", nodes)


def _events(events: Any) -> list[list[str]]:
    heard: list[list[str]] = []
    deadline_s = time.monotonic() + 30.0
    while not any(channel == "+switch-master" for channel, _payload in heard):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"no +switch-master came; heard {heard}")
        message = events.get_message(timeout=0.5)
        if message and message["type"] == "pmessage":
            heard.append([message["channel"], message["data"]])
    return heard


def _sentinel(sentinel: Process) -> dict[str, Any]:
    ask = _raw(sentinel)
    return {
        "INFO": _without_machine(ask("INFO")),
        "SENTINEL MASTER": ask("SENTINEL", "MASTER", NAME),
        "SENTINEL MASTERS": ask("SENTINEL", "MASTERS"),
        "SENTINEL GET-MASTER-ADDR-BY-NAME": ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME),
        "SENTINEL REPLICAS": ask("SENTINEL", "REPLICAS", NAME),
        "SENTINEL SENTINELS": ask("SENTINEL", "SENTINELS", NAME),
        "SENTINEL CKQUORUM": ask("SENTINEL", "CKQUORUM", NAME),
        "ROLE": ask("ROLE"),
        "CLIENT LIST": ask("CLIENT", "LIST"),
    }


def _node(node: Process) -> dict[str, Any]:
    ask = _raw(node)
    return {
        "INFO": _without_machine(ask("INFO")),
        "INFO replication": ask("INFO", "replication"),
        "ROLE": ask("ROLE"),
        "CLIENT LIST": ask("CLIENT", "LIST"),
    }


def _raw(process: Process) -> Any:
    """Asks without redis-py's own reading of replies."""

    def ask(*command: str) -> Any:
        with process.client() as client:
            connection = client.connection_pool.get_connection()
            try:
                connection.send_command(*command)
                return connection.read_response()
            except redis.ResponseError as error:
                return {"error": str(error)}
            finally:
                client.connection_pool.release(connection)

    return ask


def _without_machine(info: str) -> str:
    names = "|".join(OF_THIS_MACHINE)
    return re.sub(rf"^({names}):.*?(\r?)$", rf"\1:{REPLACEMENT}\2", info, flags=re.MULTILINE)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or VERSIONS:
        capture(wanted)
        print(wanted, flush=True)
