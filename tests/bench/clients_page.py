# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns measured runs of clients into tables and a page. What is advised stands in `clients_advice.md`, a section for each library."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.tables import markdown, milliseconds

Line = dict[str, Any]
_ADVICE = Path(__file__).with_name("clients_advice.md")
_HEAD = (
    "settings",
    "runs",
    "failed",
    "lost",
    "refused",
    "not sent",
    "unknown",
    "of the move",
    "stop",
    "longest stop",
    "of one writer",
)
COME_BACK_S = 5
"""For how long an application that has not written since the move is waited for."""
BY_SENTINEL = "sentinel"
"""What the result of a move says of who promoted, where the program did not."""


def table(lines: Iterable[Line]) -> list[str]:
    """All libraries and settings."""
    groups = _groups(lines)
    rows = [[_named(runs), *_row(setting, runs)] for (_library, setting), runs in groups.items()]
    return markdown(("client", *_HEAD), rows, left=2)


def page(lines: Sequence[Line]) -> str:
    """What docs/clients.md holds."""
    introduction, sections = _advice()
    groups = _groups(lines)
    measured = {library for library, _setting in groups}
    parts = [introduction, "## All of them", "\n".join(table(lines)), "\n".join(_COLUMNS), "\n".join(_left_out(lines))]
    for library, text in sections.items():
        parts.append(f"## {library}")
        if library in measured:
            rows = [_row(setting, runs) for (of, setting), runs in groups.items() if of == library]
            parts.append("\n".join(markdown(_HEAD, rows, left=1)))
        parts.append(text)
    parts += ["## How it was measured", "\n".join(_circumstances(lines))]
    return "\n\n".join(part for part in parts if part)


def _groups(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """Runs by library and setting, in the order in which they were made; apart from them those in which Sentinel promoted."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line["kind"] == "run":
            apart = "; Sentinel promoted" if line.get("promotion") == BY_SENTINEL else ""
            groups.setdefault((line["library"], line["setting"] + apart), []).append(line)
    return groups


def _named(runs: Sequence[Line]) -> str:
    return f"{runs[0]['library']} {runs[0]['version']}"


def _row(setting: str, runs: Sequence[Line]) -> list[str]:
    recordings = [run["recording"] for run in runs if "recording" in run]
    failed = sum(run["outcome"] != "switched" for run in runs)
    cells = [setting, str(len(runs)), str(failed)]
    if not recordings:
        return [*cells, "not measured", *[""] * (len(_HEAD) - len(cells) - 1)]
    gaps = [recording["longest_gap_s"] for recording in recordings]
    # One that had not come back when the recording ended would have waited longer.
    more = "" if all(run["all_writers_came_back"] for run in runs if "recording" in run) else "> "
    return [
        *cells,
        str(sum(recording["writes_lost"] for recording in recordings)),
        *(
            _middle_and_most([recording[name] for recording in recordings])
            for name in ("refused", "not_sent", "unknown")
        ),
        _of_the_move(runs),
        milliseconds(statistics.median(gaps)),
        milliseconds(max(gaps)),
        more + milliseconds(max(recording["longest_gap_of_a_writer_s"] for recording in recordings)),
    ]


def _of_the_move(runs: Sequence[Line]) -> str:
    """How long writes stood still by the program's own account, in the middle."""
    stops_ms = [run["write_gap_ms"] for run in runs if run.get("write_gap_ms") is not None]
    return milliseconds(statistics.median(stops_ms) / 1000) if stops_ms else ""


def _middle_and_most(counts: Sequence[int]) -> str:
    middle, most = statistics.median(counts), max(counts)
    return f"{middle:g}" if middle == most else f"{middle:g} (most {most})"


_COLUMNS = (
    "- *failed*: moves whose outcome was not `switched`.",
    "- *lost*: acknowledged writes that the new master lacks, over all runs. With Celery: tasks that were taken and never done.",
    "- *refused*: errors that the application sees and that say for certain that the write was not made, for four applications together in one move; "
    "the median, and the most if that is another number.",
    "- *not sent*: errors of which the same holds, because there was no connection to send it on.",
    "- *unknown*: errors after which the application cannot know whether the write was made.",
    "- *of the move*: for how long writes stood still by the move's own account, `write_gap_ms` of its result; median.",
    "- *stop*: the longest stretch between two acknowledged writes of any application that are there afterwards; median, and longest of all runs.",
    f"- *of one writer*: the same for the application that waited longest; `>` where one had not come back {COME_BACK_S} s after the move.",
    "- *Sentinel promoted*: runs in which the program left the promotion to Sentinel, which takes a second longer. They have a line of their own.",
)


def _left_out(lines: Iterable[Line]) -> list[str]:
    return [f"Left out: {line['library']}, {line['why']}" for line in lines if line["kind"] == "left out"]


def _advice() -> tuple[str, dict[str, str]]:
    """What stands before the first heading of the second level, and the text under each of those."""
    introduction, *sections = re.split(r"^## ", _ADVICE.read_text(), flags=re.MULTILINE)
    texts = {}
    for section in sections:
        name, _newline, text = section.partition("\n")
        texts[name.strip()] = text.strip()
    return introduction.strip(), texts


def _circumstances(lines: Sequence[Line]) -> list[str]:
    sessions = [line for line in lines if line["kind"] == "session"]
    runs = [line for line in lines if line["kind"] == "run"]
    if not runs:
        return ["Nothing was measured."]
    loads = [run["machine_load"] for run in runs]
    servers = ", ".join(sorted({run["server_version"] for run in runs}))
    return [
        f"- {runs[0]['at'][:10]}, version {sessions[0]['version']} of the plugins, {servers}; "
        f"one master, two replicas, three Sentinels on loopback, {sessions[0]['cores']} cores.",
        "- Four applications, a process each, write one key after another, 2 ms apart; an application that sees "
        "an error goes on with the next key 10 ms later.",
        f"- Load average of the machine at the start of a run: median {statistics.median(loads):.1f}, most {max(loads):.1f}.",
        "- Written by `make clients`; no figure here was typed by hand.",
    ]
