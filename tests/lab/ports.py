# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""TCP ports that two labs on one machine never share."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from lab.errors import LabError

_LOWEST = 10_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortReservation:
    """Ports that stay ours until `release`, or until this process ends in whatever way.

    A port is reserved by the name of an abstract Unix socket, which the kernel drops with the process and which is
    seen by every user of the network namespace. The ports lie below the range that the kernel takes for outgoing
    connections, so a node that is down for a while finds its own port free again.
    """

    def __init__(self, hosts: Sequence[str] = ("127.0.0.1",)) -> None:
        self._hosts = tuple(hosts)
        self._held: dict[int, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self, port: int | None = None) -> int:
        """Reserves `port`, or any free one."""
        if port is not None:
            if not self._try(port):
                raise LabError(f"port {port} is in use on {self._hosts}; choose another base port, or none")
            return port
        first_ephemeral = _first_ephemeral()
        for candidate in _from_somewhere(range(_LOWEST, first_ephemeral)):
            if self._try(candidate):
                return candidate
        raise LabError(f"no free port between {_LOWEST} and {first_ephemeral} on {self._hosts}")

    def take_row(self, length: int) -> int:
        """Reserves free ports that follow each other, and returns the first."""
        first_ephemeral = _first_ephemeral()
        for first in _from_somewhere(range(_LOWEST, first_ephemeral - length)):
            row = range(first, first + length)
            if all(self._try(port) for port in row):
                return first
            for port in row:
                self._drop(port)
        raise LabError(f"no {length} free ports in a row on {self._hosts}")

    def release(self) -> None:
        """Gives every port back."""
        for port in list(self._held):
            self._drop(port)

    def _drop(self, port: int) -> None:
        if port in self._held:
            self._held.pop(port).close()

    def _try(self, port: int) -> bool:
        name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            name.bind(f"\0redis-ha-lab-port-{port}")
            for host in self._hosts:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                with socket.socket(family, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
        except OSError:
            name.close()
            return False
        self._held[port] = name
        return True


def _from_somewhere(ports: range) -> Iterator[int]:
    """All of them, from one that nobody knows before, so that labs that begin together seldom try the same."""
    start = random.randrange(len(ports))
    yield from ports[start:]
    yield from ports[:start]


def _first_ephemeral() -> int:
    return int(_EPHEMERAL_RANGE.read_text().split()[0])
