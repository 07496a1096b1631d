# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the applications of one client for a recorder, a process each: `python -m lab.clients.run`, never by hand.

It speaks with the recorder as ``recorder_writer.py`` does. What an application could know of a write that failed is decided here, once for all languages.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.sentinel import Sentinel

from lab import clients
from lab.clients.outcomes import outcome
from lab.ports import PortReservation

_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_GRACE_S = 12.0
_PROXY_READY_S = 20.0
_DRAIN_S = 25.0
_POLL_S = 0.05

Child = subprocess.Popen[bytes]


def main() -> int:
    """Starts the applications, ends them when standard input closes or the time is up, and sums up."""
    recorder = os.getppid()
    asked: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    library, settings = clients.find(asked["client"])
    directory = Path(asked["directory"])
    configuration = {**asked, "library": library.name, "settings": dict(settings)}
    with PortReservation() as ports, _helper(configuration, directory, ports):
        file = directory / "configuration.json"
        file.write_text(json.dumps(configuration))
        argv, environment = clients.command(library)
        began_ns = time.monotonic_ns()
        children = [_start([*argv, str(file), str(writer)], environment) for writer in range(asked["writers"])]
        print(json.dumps({"began_ns": began_ns}), flush=True)
        timed_out = _wait_for_the_end(children, asked["max_s"])
        (directory / "stop").touch()
        ended_ns = time.monotonic_ns()
        stuck = _end(children)
        if library.name == "Celery":
            _drain(asked)
    if os.getppid() != recorder:
        shutil.rmtree(directory)
        return 0
    attempts = [_judge(directory / f"writer-{number}.jsonl", number in stuck) for number in range(asked["writers"])]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime
    print(json.dumps({"ended_ns": ended_ns, "timed_out": timed_out, "cpu_s": cpu_s, "attempts": attempts}), flush=True)
    return 0


def _start(argv: Sequence[str], environment: Mapping[str, str]) -> Child:
    return subprocess.Popen(
        [*_DIE_WITH_PARENT, *argv], env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
    )


def _wait_for_the_end(children: Sequence[Child], max_s: float) -> bool:
    """Returns whether the time was up before the recorder asked for the end.

    Raises:
        SystemExit: An application has ended by itself: without it the recording would look better than it was.
    """
    deadline_s = time.monotonic() + max_s
    while time.monotonic() < deadline_s:
        if select.select([sys.stdin], [], [], _POLL_S)[0]:
            return False
        for child in children:
            if child.poll() is not None:
                raise SystemExit(f"an application has ended with {child.returncode}")
    return True


def _end(children: Sequence[Child]) -> set[int]:
    """Waits for the applications; those that do not end are killed, and their numbers returned."""
    deadline_s = time.monotonic() + _GRACE_S
    stuck = set()
    for number, child in enumerate(children):
        try:
            child.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            stuck.add(number)
        if number not in stuck and child.returncode != 0:
            raise SystemExit(f"an application has ended with {child.returncode}")
    return stuck


def _judge(path: Path, stuck: bool) -> int:
    """Puts an outcome in the place of each error; the number of attempts."""
    judged = []
    for line in path.read_text().splitlines():
        sequence, began_ns, ended_ns, *said = json.loads(line)
        if said[0] == "error":
            ended, code = outcome(said[1])
            said = [ended] if code is None else [ended, code]
            print(f"{sequence}: {ended}", line, file=sys.stderr)
        judged.append([sequence, began_ns, ended_ns, *said])
    if stuck:
        last_ns = judged[-1][2] if judged else 0
        judged.append([len(judged), last_ns, time.monotonic_ns(), "unknown"])
    path.write_text("".join(json.dumps(record) + "\n" for record in judged))
    return len(judged)


# What stands between an application and its writes


@contextmanager
def _helper(configuration: dict[str, Any], directory: Path, ports: PortReservation) -> Iterator[None]:
    """A proxy, or a worker, as long as the applications write."""
    started: list[Child] = []
    if configuration["library"] == "HAProxy":
        port = ports.take()
        configuration["proxy"] = ["127.0.0.1", port]
        started.append(_start_proxy(configuration, directory, port))
    if configuration["library"] == "Celery":
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "REDIS_"))}
        environment["LAB_CONFIGURATION"] = json.dumps(configuration)
        started.append(_start(clients.celery_worker(), environment))
    try:
        yield
    finally:
        for child in started:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _start_proxy(configuration: Mapping[str, Any], directory: Path, port: int) -> Child:
    servers = "".join(
        f"  server node{number} {host}:{node_port} {configuration['settings']['proxy']}\n"
        for number, (host, node_port) in enumerate(configuration["nodes"])
    )
    file = directory / "haproxy.cfg"
    file.write_text(_PROXY.format(port=port, servers=servers, socket=directory / "haproxy.socket"))
    child = _start(["haproxy", "-db", "-f", str(file)], {"PATH": f"{os.environ['PATH']}:/usr/sbin"})
    deadline_s = time.monotonic() + _PROXY_READY_S
    while _servers_up(directory / "haproxy.socket") != 1:
        if time.monotonic() > deadline_s:
            child.kill()
            raise SystemExit(f"HAProxy did not find one master within {_PROXY_READY_S} s")
        time.sleep(_POLL_S)
    return child


def _servers_up(path: Path) -> int:
    """To how many servers the proxy would send a connection now; it takes all to be up until it has looked."""
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"show stat -1 4 -1\n")
            while part := connection.recv(65536):
                answer += part
    except OSError:
        return 0
    return sum(row.split(",")[17].startswith("UP") for row in answer.decode().splitlines()[1:] if "," in row)


_PROXY = """\
global
  maxconn 200
  stats socket {socket}
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
frontend redis
  bind 127.0.0.1:{port}
  default_backend master
backend master
  option tcp-check
  tcp-check connect
  tcp-check send PING\\r\\n
  tcp-check expect string +PONG
  tcp-check send info\\ replication\\r\\n
  tcp-check expect string role:master
  tcp-check send QUIT\\r\\n
  tcp-check expect string +OK
{servers}"""


def _drain(configuration: Mapping[str, Any]) -> None:
    """Waits until the workers have done what was entrusted to them, or some time has passed in which they have not."""
    sentinel = Sentinel([tuple(address) for address in configuration["sentinels"]])
    master = sentinel.master_for(configuration["master_name"])
    deadline_s = time.monotonic() + _DRAIN_S
    while time.monotonic() < deadline_s:
        try:
            if not master.llen("celery") and not master.hlen("unacked"):
                return
        except (redis.RedisError, OSError):
            pass
        time.sleep(_POLL_S)


if __name__ == "__main__":
    sys.exit(main())
