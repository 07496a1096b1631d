# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients whose servers are functions: a command goes in, an answer comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import (
    Access,
    Client,
    ConnectionOptions,
    Fleet,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address

Answer = Callable[[Sequence[object]], Any]
"""Answers a command; an error of the server is returned, one of the connection is raised."""
Exchange = tuple[Address, list[tuple[object, ...]]]


class ScriptedClient(Client):
    """A client whose server is a function, or is not there.

    Args:
        address: What the server is called.
        answer: What it answers; ``None`` if nobody is there.
        exchanges: Where it is kept what was sent to whom.
        closed: Where it is kept which clients were closed.
    """

    def __init__(
        self, address: Address, answer: Answer | None, exchanges: list[Exchange], closed: list[Address]
    ) -> None:
        super().__init__(address, lambda: None, 3.0)
        self._answer = answer
        self._exchanges = exchanges
        self._closed = closed

    def _exchange(self, commands: list[tuple[object, ...]], timeout_s: float | None, once: bool = True) -> list[Any]:
        if self._answer is None:
            raise LinkError(str(self.address), "Connection refused", sent=False)
        self._exchanges.append((self.address, commands))
        return [self._answer(command) for command in commands]

    def close(self) -> None:
        self._closed.append(self.address)


class ScriptedFleet(Fleet):
    """A fleet of servers that are functions.

    Args:
        given: The Sentinels that the caller names.
        servers: What each server answers; where there is none, or ``None``, nobody is there. It may change.
    """

    def __init__(self, given: Iterable[Address], servers: dict[Address, Answer | None], **options: Any) -> None:
        super().__init__(ConnectionOptions(tuple(given), **options))
        self.servers = servers
        self.exchanges: list[Exchange] = []
        self.closed: list[Address] = []

    def answer(self, address: Address) -> Answer | None:
        """What a server answers."""
        return self.servers.get(address)

    def sentinel(self, address: Address) -> Client:
        return ScriptedClient(address, self.answer(address), self.exchanges, self.closed)

    def node(self, address: Address) -> Client:
        return ScriptedClient(address, self.answer(address), self.exchanges, self.closed)

    def with_node_access(self, access: Access) -> Fleet:
        raise NotImplementedError

    def asked(self, address: Address) -> int:
        """How often something was sent to a server."""
        return sum(server == address for server, _commands in self.exchanges)

    def sent(self, address: Address) -> list[tuple[object, ...]]:
        """What was sent to a server, in the order of time."""
        return [command for server, commands in self.exchanges if server == address for command in commands]
