# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab on the command line: `python -m lab up` and `python -m lab servers` (with PYTHONPATH=tests)."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from lab.deployment import Deployment
from lab.errors import LabError
from lab.servers import find_server, known_specs, verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command."""
    options = _parser().parse_args(arguments)
    try:
        return _up(options) if options.command == "up" else _servers(options.spec)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="Real Redis and Valkey deployments on loopback.")
    commands = parser.add_subparsers(dest="command", required=True)

    servers = commands.add_parser("servers", help="install server binaries, start each once, and list them")
    servers.add_argument("spec", nargs="*", help=f"one of {', '.join(known_specs())}, or the path of a binary; all")

    up = commands.add_parser("up", help="run a deployment until Ctrl-C")
    up.add_argument("--server", help="as in `servers`; else the one on PATH, else Redis 7.0")
    up.add_argument("--sentinel-server", help="another server for the Sentinels")
    up.add_argument(
        "--masters", type=_at_least_one, default=1, help="how many: mymaster, mymaster-2, ... (%(default)s)"
    )
    up.add_argument("--replicas", type=int, default=2, help="for each master (%(default)s)")
    up.add_argument("--sentinels", type=int, default=3, help="(%(default)s)")
    up.add_argument("--quorum", type=int, help="(majority)")
    up.add_argument("--down-after-ms", type=int, default=5000, metavar="MS", help="(%(default)s)")
    up.add_argument("--failover-timeout-ms", type=int, default=60000, metavar="MS", help="(%(default)s)")
    up.add_argument("--base-port", type=int, metavar="PORT", help="first of a row of ports (free ones are chosen)")
    up.add_argument("--host", action="append", metavar="ADDRESS", help="loopback address; repeat to spread the nodes")
    up.add_argument("--node-config", action="append", default=[], metavar="LINE", help="repeat for more lines")
    up.add_argument("--sentinel-config", action="append", default=[], metavar="LINE", help="repeat for more lines")
    up.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _servers(specs: Sequence[str]) -> int:
    failed = False
    for spec in specs or known_specs():
        try:
            server = find_server(spec)
            verify(server)
        except LabError as error:
            failed = True
            print(f"{spec}: {error}", file=sys.stderr)
        else:
            print(f"{server.name:<14} {' '.join(server.argv)}", flush=True)
    return 1 if failed else 0


def _up(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    deployment = Deployment(
        options.server,
        sentinel_server=options.sentinel_server,
        masters=[f"mymaster-{number}" if number > 1 else "mymaster" for number in range(1, options.masters + 1)],
        replicas=options.replicas,
        sentinels=options.sentinels,
        quorum=options.quorum,
        down_after_ms=options.down_after_ms,
        failover_timeout_ms=options.failover_timeout_ms,
        base_port=options.base_port,
        host=options.host or "127.0.0.1",
        node_config=options.node_config,
        sentinel_config=options.sentinel_config,
    )
    try:
        with deployment:
            print(json.dumps(deployment.describe()) if options.json else _text(deployment), flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _text(deployment: Deployment) -> str:
    lines = [f"{deployment.server.name}, Sentinel of {deployment.sentinel_server.name}, files in {deployment.folder}"]
    for name in deployment.master_names:
        for node, role in deployment.roles(name).items():
            lines.append(f"  {name:<14} {'master' if role == 'master' else 'replica':<8} {node.address}")
    lines += [f"  {'sentinel':<23} {address}" for address in deployment.sentinel_addresses]
    return "\n".join([*lines, "Ctrl-C ends it."])


if __name__ == "__main__":
    sys.exit(main())
