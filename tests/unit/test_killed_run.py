# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which messages of a program change something is read from the bytes that it sends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from lab.killed_run import Messages, changes, commands_of


def message(*commands: str) -> bytes:
    """As a client sends them."""
    packed = b""
    for command in commands:
        words = [word.encode() for word in command.split(" ")]
        packed += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    return packed


def test_commands_are_read_as_a_server_reads_them() -> None:
    assert commands_of(message("MULTI") + message("SET key *2\r\n")) == [["MULTI"], ["SET", "key", "*2\r\n"]]


@pytest.mark.parametrize(
    "command",
    [
        "REPLICAOF 127.0.0.1 6379",
        "replicaof no one",
        "CLIENT PAUSE 1000 WRITE",
        "CLIENT KILL TYPE normal",
        "CONFIG SET replica-priority 100",
        "CONFIG REWRITE",
        "SENTINEL FAILOVER mymaster",
        "SENTINEL SET mymaster failover-timeout 1000",
        "PUBLISH __sentinel__:hello 127.0.0.1,26379,id,7,mymaster,127.0.0.1,6380,7",
        "A-COMMAND-THAT-NOBODY-KNOWS",
    ],
)
def test_what_changes_something(command: str) -> None:
    assert changes(commands_of(message(command))) == [command.split(" ")]


@pytest.mark.parametrize(
    "command",
    [
        "INFO replication",
        "CONFIG GET replica-priority",
        "CLIENT LIST",
        "CLIENT SETNAME redis_ha.sentinel:1",
        "SENTINEL MASTER mymaster",
        "SENTINEL FAILOVER redis_ha.sentinel:no-such-master",
        "PUBLISH __sentinel__:hello x",
        "MULTI",
        "EXEC",
    ],
)
def test_what_only_asks(command: str) -> None:
    assert changes(commands_of(message(command))) == []


def test_a_transaction_that_is_thrown_away_changes_nothing() -> None:
    assert changes(commands_of(message("REPLICAOF NO ONE", "DISCARD"))) == []
    assert changes(commands_of(message("INFO replication", "REPLICAOF NO ONE", "EXEC"))) == [["REPLICAOF", "NO", "ONE"]]


def test_messages_are_written_down_before_they_are_sent(tmp_path: Path) -> None:
    log, sent = tmp_path / "log", []
    messages = Messages(log, None, "before")

    def send(text: str) -> None:
        sent.append((text, log.read_text().count("\n")))

    for text in ("INFO", "CONFIG REWRITE", "ROLE", "REPLICAOF NO ONE"):
        messages.send("127.0.0.1:1", message(text), partial(send, text))
    assert sent == [("INFO", 0), ("CONFIG REWRITE", 1), ("ROLE", 1), ("REPLICAOF NO ONE", 2)]
    assert [json.loads(line)["number"] for line in log.read_text().splitlines()] == [1, 2]
