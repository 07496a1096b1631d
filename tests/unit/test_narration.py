# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the terminal shows of a run while it goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    AGREED,
    ANNOUNCED,
    DEMOTED,
    ENTRY_KINDS,
    FENCE,
    FENCE_RAISED,
    SETTLED,
    STEP_BEGINS,
    STEPS,
    WAITING,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import Entry
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._narration import (
    LONGEST_SILENCE_S,
    NOT_SHOWN,
    SHOWN,
    Growing,
    Narrator,
    Telling,
)
from unit.builders import L0, OM, R
from unit.runs import run
from unit.world import World


def said(at_ms: float, kind: str, step: str = "fence", subject: str = "", detail: str = "") -> dict[str, Any]:
    return Entry(at_ms, "program", kind, step, subject, detail).as_result()


# ---- words -----------------------------------------------------------------------------------------------------------


def test_every_kind_of_entry_is_shown_or_it_is_said_why_not() -> None:
    assert SHOWN | set(NOT_SHOWN) == set(ENTRY_KINDS)
    assert not SHOWN & set(NOT_SHOWN)
    assert all(NOT_SHOWN.values())


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_is_told_in_the_words_of_the_table(step: Any) -> None:
    line = Narrator().line(said(1234.5, STEP_BEGINS, step.name))
    assert line is not None
    assert line.split(maxsplit=3) == ["1.234", "s", step.name, step.purpose]


def test_what_matters_has_the_time_since_writes_were_stopped() -> None:
    narrator = Narrator()
    up = narrator.line(said(400.0, FENCE_RAISED, "fence", str(OM), f"{OM} acknowledges no more writes"))
    down = narrator.line(said(404.2, DEMOTED, "demote", str(OM), f"{OM} is a replica of {R}"))
    agreed = narrator.line(said(412.5, AGREED, "announce", str(R), f"every Sentinel names {R}"))
    assert up == f"    0.400 s  fence       {OM} acknowledges no more writes"
    assert down == f"    0.404 s  demote      {OM} is a replica of {R}, 4.2 ms after writes were stopped"
    assert agreed is not None
    assert agreed.endswith(f"every Sentinel names {R}, 12.5 ms after writes were stopped")


def test_without_a_fence_no_time_since_then_is_told() -> None:
    line = Narrator().line(said(412.5, AGREED, "agree", str(R), f"every Sentinel names {R}"))
    assert line is not None
    assert line.endswith(f"every Sentinel names {R}")


def test_a_wait_says_what_it_waits_for() -> None:
    line = Narrator().line(said(4000, WAITING, "settle", "", f"{OM}: its link to the new master is down"))
    assert line == f"    4.000 s  settle      still waiting: {OM}: its link to the new master is down"


def test_an_entry_without_words_of_its_own_has_those_of_its_kind() -> None:
    line = Narrator().line(said(4000, SETTLED, "settle", str(R)))
    assert line == f"    4.000 s  settle      everybody follows {R}"


def test_what_sentinels_publish_and_what_is_told_in_sum_has_no_line() -> None:
    narrator = Narrator()
    assert narrator.line(Entry(1.0, f"sentinel {L0}", "+tilt", "fence", "", "").as_result()) is None
    assert narrator.line(said(1.0, ANNOUNCED, "announce", str(L0), "it names it")) is None


def test_nothing_that_a_server_says_moves_the_cursor() -> None:
    line = Narrator().line(said(1.0, WAITING, "settle", "", "ERR \x1b[2J\r\nlocalhost | CHANGED"))
    assert line is not None
    assert line.isprintable()


def test_a_whole_run_is_told_step_by_step() -> None:
    result = run(World(3))
    narrator = Narrator()
    lines = [line for entry in result["timeline"] if (line := narrator.line(entry))]
    begun = [entry["step"] for entry in result["timeline"] if entry["kind"] == STEP_BEGINS]
    told = [line.split()[2] for line in lines]
    assert list(dict.fromkeys(told)) == list(dict.fromkeys(begun))
    assert not any("the subject" in line for line in lines)
    assert sum(f"every Sentinel names {R}" in line for line in lines) == 1
    assert not any(line.count("every Sentinel names") > 1 for line in lines)
    assert len(lines) <= 2 * len(begun)


# ---- a file that grows -----------------------------------------------------------------------------------------------


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "entries"
    path.touch()
    growing = Growing(path)
    whole = [json.dumps(said(at_ms, WAITING, detail="Ünïcode")) + "\n" for at_ms in (1.0, 2.0)]
    assert growing.news() == []
    with path.open("a") as file:
        for part, expected in (
            (whole[0] + whole[1][:20], [1.0]),
            ("", []),
            (whole[1][20:], [2.0]),
            (whole[0] + whole[1], [1.0, 2.0]),
        ):
            file.write(part)
            file.flush()
            assert [entry["at_ms"] for entry in growing.news()] == expected


def test_what_comes_last_is_told_though_the_run_is_over(tmp_path: Path) -> None:
    path = tmp_path / "entries"
    path.touch()
    lines: list[str] = []
    with Telling(lines.append, "localhost", path, Narrator()):
        path.write_text(json.dumps(said(1.0, STEP_BEGINS, FENCE.name)) + "\n")
    assert [line.split()[2] for line in lines] == [FENCE.name]


def test_a_silent_run_is_said_to_be_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    path = tmp_path / "entries"
    path.write_text(json.dumps(said(500.0, STEP_BEGINS, FENCE.name)) + "\n")
    lines: list[str] = []
    telling = Telling(lines.append, "localhost", path, Narrator())
    shown = []
    for _look in range(40):
        telling.look()
        shown.append(len(lines))
        now_s += 0.25
    assert lines[1] == "      3.0 s  fence       still at work"
    assert (len(lines) - 1) == int(39 * 0.25 / LONGEST_SILENCE_S)


def test_before_the_first_entry_it_says_where_the_work_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    lines: list[str] = []
    telling = Telling(lines.append, "sentinel1", None, Narrator())
    now_s += LONGEST_SILENCE_S
    telling.look()
    assert lines == ["      2.5 s  at work on sentinel1"]


@pytest.mark.parametrize("content", ["no json\n", "[]\n", "{}\n", None])
def test_a_file_that_cannot_be_read_is_told_once_and_fails_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "entries"
    if content is not None:
        path.write_text(content)
    lines: list[str] = []
    with Telling(lines.append, "localhost", path, Narrator()) as telling:
        telling.look()
    assert len(lines) == 1
    assert lines[0].startswith("The steps cannot be shown while they are taken: ")
