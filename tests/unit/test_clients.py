# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an application can know from an error, and the page that is made of what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.clients import kept_of_before
from bench.clients_page import page, table
from lab import LabError, clients
from lab.clients.outcomes import outcome


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("ReplyError: READONLY You can't write against a read only replica.", ("refused", "READONLY")),
        ("ConnectionError: The previous master is now a slave", ("refused", "READONLY")),
        ("ReadOnlyError: You can't write against a read only replica.", ("refused", "READONLY")),
        ("RedisException: NOREPLICAS Not enough good replicas to write.", ("refused", "NOREPLICAS")),
        ("[set] MASTERDOWN Link with MASTER is down", ("refused", "MASTERDOWN")),
        ("ConnectionError: Error 111 connecting to 127.0.0.1:6379. Connection refused.", ("not_sent", None)),
        ("MasterNotFoundError: No master found for 'mymaster'", ("not_sent", None)),
        ("Redis::CannotConnectError: No sentinels available.", ("not_sent", None)),
        ("ConnectionError: Connection closed by server.", ("unknown", None)),
        ("RedisException: read error on connection", ("unknown", None)),
        ("TimeoutError: Timeout reading from socket", ("unknown", None)),
    ],
)
def test_what_an_error_says_of_its_write(error: str, expected: tuple[str, str | None]) -> None:
    assert outcome(error) == expected


def test_every_client_is_found_by_its_name() -> None:
    assert len(clients.LIBRARIES) >= 12
    for name in clients.names():
        library, settings = clients.find(name)
        assert settings is library.settings[name.removeprefix(f"{library.name}{clients.SEPARATOR}")]
    with pytest.raises(LabError, match="no client"):
        clients.find("redis-py: of another world")


def run(
    library: str, setting: str, came_back: bool = True, promotion: str = "program", **recorded: Any
) -> dict[str, Any]:
    recording = {
        **dict.fromkeys(("writes_lost", "refused", "not_sent", "unknown"), 0),
        "longest_gap_s": 0.012,
        "longest_gap_of_a_writer_s": 0.02,
        **recorded,
    }
    return {
        "kind": "run",
        "library": library,
        "version": "8.1.0",
        "setting": setting,
        "at": "2026-11-27T02:00:00+00:00",
        "server_version": "redis-7.0.15",
        "machine_load": 1.0,
        "outcome": "switched",
        "promotion": promotion,
        "write_gap_ms": 9.4,
        "all_writers_came_back": came_back,
        "recording": recording,
    }


SESSION = {"kind": "session", "version": "abc1234", "cores": 2}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_runs_of_a_setting_are_a_row() -> None:
    made = [run("redis-py", "as it comes", refused=count) for count in (4, 4, 7)]
    (found,) = [cells(line) for line in table(made) if "as it comes" in line]
    assert found == [
        "redis-py 8.1.0",
        "as it comes",
        "3",
        "0",
        "0",
        "4 (most 7)",
        "0",
        "0",
        "9 ms",
        "12 ms",
        "12 ms",
        "20 ms",
    ]


def test_a_writer_that_does_not_come_back_is_shown() -> None:
    made = [run("HAProxy", "inter 1s", came_back=False, longest_gap_of_a_writer_s=17.0)]
    assert cells(table(made)[-1])[-1] == "> 17.00 s"


def test_runs_in_which_sentinel_promoted_are_told_apart() -> None:
    made = [run("redis-py", "as it comes"), run("redis-py", "as it comes", promotion="sentinel", longest_gap_s=1.2)]
    ours, theirs = (cells(line) for line in table(made) if "as it comes" in line)
    assert (ours[1], ours[2], ours[-2]) == ("as it comes", "1", "12 ms")
    assert (theirs[1], theirs[2], theirs[-2]) == ("as it comes; Sentinel promoted", "1", "1.20 s")


def test_the_page_has_advice_for_every_library_and_names_what_is_left_out() -> None:
    left_out = {"kind": "left out", "library": "redis-rb", "why": "needs ruby-redis"}
    text = page([SESSION, run("redis-py", "as it comes"), left_out])
    for library in clients.LIBRARIES:
        assert text.count(f"\n## {library.name}\n") == 1
        section = text.partition(f"\n## {library.name}\n")[2].partition("\n## ")[0]
        (advised,) = re.findall(r"^Advised: (.+)\.$", section, re.MULTILINE)
        named = set(re.findall(r"\*(.+?)\*", advised))
        assert set() < named <= set(library.settings), "advised and not measured"
    assert "Left out: redis-rb, needs ruby-redis" in text


def test_what_was_measured_of_other_libraries_is_kept(tmp_path: Path) -> None:
    measured = tmp_path / "clients.jsonl"
    lines = [
        {"kind": "session", "version": "1"},
        {"kind": "run", "library": "redis-py", "number": 0},
        {"kind": "run", "library": "ioredis", "number": 0},
        {"kind": "left out", "library": "predis", "why": "it cannot be had"},
    ]
    measured.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert kept_of_before(measured, {"ioredis"}) == [lines[1], lines[3]]
    assert kept_of_before(tmp_path / "nothing", {"ioredis"}) == []
