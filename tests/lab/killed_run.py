# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that counts its own messages that change something, and is killed at one of them: `python -m lab.killed_run MODULE ARGUMENTS_FILE`.

It stands below the program, where bytes go out, and reads them as a server does: so it knows every message, whatever the program looks like. The environment
says what to do, ``LAB_KILL``: ``log`` is the file that gets a line before each such message is sent; ``at`` the number of the message, from 1, at which the
program kills itself, or words of the first one that has them, or null; ``when`` is ``before`` or ``after`` the message has gone out.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from redis import connection

QUESTIONS = frozenset(
    [
        "AUTH",
        "COMMAND",
        "DBSIZE",
        "ECHO",
        "EXEC",
        "HELLO",
        "INFO",
        "MULTI",
        "PING",
        "PSUBSCRIBE",
        "PUBSUB",
        "PUNSUBSCRIBE",
        "ROLE",
        "SELECT",
        "SUBSCRIBE",
        "TIME",
        "UNSUBSCRIBE",
        "WAIT",
    ]
)
"""Commands that change nothing that anybody else sees."""
CHANGES = {
    "ACL": frozenset(("DELUSER", "LOAD", "SAVE", "SETUSER")),
    "CLIENT": frozenset(("KILL", "PAUSE", "UNPAUSE")),
    "CONFIG": frozenset(("SET", "REWRITE", "RESETSTAT")),
    "MODULE": frozenset(("LOAD", "LOADEX", "UNLOAD")),
    "SENTINEL": frozenset(
        ("CONFIG", "DEBUG", "FAILOVER", "FLUSHCONFIG", "MONITOR", "REMOVE", "RESET", "SET", "SIMULATE-FAILURE")
    ),
}
"""Commands of which some kinds change something."""
_HELLO_FIELDS = 8
_NOBODY = "redis_ha.sentinel:"
"""Begins the name of a master that does not exist: with it the program asks whether it may order something."""

Command = list[str]


def commands_of(message: bytes) -> list[Command]:
    """The commands of a message, as a server reads it."""
    commands, rest = [], message
    while rest:
        head, _end, rest = rest.partition(b"\r\n")
        words = []
        for _number in range(int(head[1:])):
            length, _end, rest = rest.partition(b"\r\n")
            size = int(length[1:])
            words.append(rest[:size].decode(errors="replace"))
            rest = rest[size + 2 :]
        commands.append(words)
    return commands


def changes(commands: Sequence[Command]) -> list[Command]:
    """Those that change something; none where a transaction is thrown away."""
    if commands and commands[-1][0].upper() == "DISCARD":
        return []
    return [command for command in commands if _changes(command)]


def _changes(command: Command) -> bool:
    name = command[0].upper()
    if any(word.startswith(_NOBODY) for word in command[2:3]):
        return False
    if name in CHANGES:
        return len(command) > 1 and command[1].upper() in CHANGES[name]
    if name == "PUBLISH" and len(command) > 2:
        # Sentinel throws a hello away that does not have all its fields.
        return len(command[2].split(",")) == _HELLO_FIELDS
    return name not in QUESTIONS


class Messages:
    """Counts, writes down, and kills."""

    def __init__(self, log: Path, at: int | str | None, when: str) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._at = at
        self._when = when
        self._count = 0
        self._lock = threading.Lock()

    def send(self, to: str, packed: bytes | str | Iterable[bytes], really: Callable[[], Any]) -> Any:
        """Sends a message, and kills this process at the one that was chosen."""
        message = packed.encode() if isinstance(packed, str) else packed
        found = changes(commands_of(message if isinstance(message, bytes) else b"".join(message)))
        if not found:
            return really()
        with self._lock:
            self._count += 1
            number = self._count
        said: dict[str, Any] = {"number": number, "to": to, "commands": [" ".join(command) for command in found]}
        os.write(self._log, json.dumps(said).encode() + b"\n")
        chosen = (
            any(self._at in words for words in said["commands"]) if isinstance(self._at, str) else number == self._at
        )
        if chosen and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = really()
        if chosen and self._when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return done


def observe(messages: Messages) -> None:
    """Puts the count below every connection of redis-py, of whichever version."""
    base: Any = getattr(connection, "AbstractConnection", connection.Connection)
    send = base.send_packed_command

    def counted(self: Any, command: Any, *words: Any, **options: Any) -> Any:
        packed = [command] if isinstance(command, (bytes, str)) else list(command)
        whole = b"".join(part.encode() if isinstance(part, str) else part for part in packed)
        return messages.send(f"{self.host}:{self.port}", whole, lambda: send(self, packed, *words, **options))

    base.send_packed_command = counted


def begin() -> None:
    """Counts from now on, as the environment says."""
    asked = json.loads(os.environ["LAB_KILL"])
    observe(Messages(Path(asked["log"]), asked["at"], asked["when"]))


def main(module: str, arguments: str) -> None:
    """Runs the module as Ansible does, in this process."""
    begin()
    sys.argv = [module, arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
