# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong between the program and a server of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address

Command = tuple[Any, ...]


class Killed(BaseException):
    """The program was killed: from here on it sends nothing."""


@dataclass
class Fault:
    """What goes wrong with an exchange (the commands that were sent together).

    ``kind`` is one of

    - ``refuse``: the server answers with an error,
    - ``lose_before``, ``lose_after``: the connection closes before or after the server has executed it,
    - ``hang_before``, ``hang_after``: no answer comes; it was not, or was, executed,
    - ``late``: no answer comes, and it is executed ``delay_s`` later,
    - ``freeze``: the Sentinel stands still for ``delay_s``, and then executes it,
    - ``die_before``, ``die_after``: the server dies,
    - ``kill_before``, ``kill_after``: the program is killed,
    - ``stall``: the program stands still for ``delay_s`` before it sends,
    - ``run``: ``action`` is called before it is executed; nothing is wrong by itself.
    """

    kind: str
    word: str
    """The exchange is one with this in a command."""
    server: Address | None = None
    alone: bool = False
    """Only where nothing else is sent with it."""
    skip: int = 0
    times: int = 1
    delay_s: float = 0.0
    error: str = "ERR refused by the test"
    action: Callable[[], object] | None = None
    struck: int = 0

    def strikes(self, server: Address, commands: list[Command]) -> bool:
        """Whether this exchange is the one."""
        if self.server not in (None, server) or not any(self.word in text(command) for command in commands):
            return False
        if self.alone and len(commands) > 1:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times <= 0:
            return False
        self.times -= 1
        self.struck += 1
        return True


def text(command: Command) -> str:
    """A command as one line."""
    return " ".join(str(word) for word in command)
