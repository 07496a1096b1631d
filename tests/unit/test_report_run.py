# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report takes from a result: named fields, clean lines, nothing secret, whatever the result is like."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import NOT_SETTLED
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_pages import render
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import (
    LONGEST_TEXT,
    MOST_ENTRIES,
    Health,
    clean,
    read_run,
)
from unit.report_runs import EVERY_KIND, INCOMPLETE, NEW, OLD, SWITCHED, checks
from unit.untraced import untraced

SECRET = "hunter2-in-the-clear"
NONSENSE: tuple[Any, ...] = (None, [], {}, "x", 1e400, True)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\nb\tc\r\n d", "a b c d"),
        ("bell\x07, escape\x1b[31m", "bell , escape [31m"),
        ("evil \u202etxt.exe\u202c, zero\u200bwidth", "evil txt.exe, zerowidth"),
        ("half a \ud800 character", "half a character"),
        ("line\u2028paragraph\u2029", "line paragraph"),
        ("naïve 日本 ü", "naïve 日本 ü"),
        (7, "7"),
        (None, ""),
        ({"a": 1}, ""),
        (["a"], ""),
    ],
)
def test_text_is_one_visible_line(raw: object, shown: str) -> None:
    assert clean(raw) == shown


def test_text_is_not_endless() -> None:
    shown = clean("x" * 10_000)
    assert len(shown) == LONGEST_TEXT
    assert shown.endswith("…")


def test_fields_of_a_switch() -> None:
    run = read_run(SWITCHED, checks(), checks("quorum"))
    assert (run.outcome, run.moved, run.lossless) == ("switched", True, True)
    assert (run.master_before, run.master_after, run.master_name) == (OLD, NEW, "orders")
    assert run.write_gap_ms == 12.0
    assert (run.started_at, run.fenced_at) == ("2026-11-27 01:02:03.456 UTC", "2026-11-27 01:02:04.492 UTC")
    assert run.request == (("avoid", "192.0.2.21"), ("strategy", "auto"), ("timeout", "120"))
    assert dict(run.server_versions)[OLD] == "redis 7.0.15"
    assert len(run.timeline) == len(SWITCHED["timeline"])
    assert [check.name for check in run.after.problems] == ["quorum"]


def test_the_name_of_the_master_is_found() -> None:
    assert read_run(SWITCHED).master_name == "orders"
    assert read_run(SWITCHED, master_name="payments").master_name == "payments"
    assert read_run({"outcome": "refused"}).master_name == ""


def test_a_run_that_lost_nothing_but_its_name_of_the_outcome_is_unknown() -> None:
    assert read_run({"failed": True, "msg": "MODULE FAILURE"}).outcome == "unknown"
    assert read_run({"outcome": "marvellous"}).outcome == "unknown"
    assert read_run({"skipped": True, "changed": False}).outcome == "not_run"
    assert read_run({}).outcome == "not_run"


def test_whether_it_was_moved() -> None:
    assert {kind: read_run(result).moved for kind, result in EVERY_KIND.items()} == {
        "switched": True,
        "plain": True,
        "coordinated": True,
        "joined": True,
        "incomplete": True,
        "unheard": True,
        "aborted": False,
        "rolled_back": False,
        "in_doubt": False,
        "planned": False,
        "refused": False,
        "unchanged": False,
        "repaired": False,
        "module_broke": False,
        "not_run": False,
    }


def test_something_left_to_do_does_not_mean_that_it_was_moved() -> None:
    not_put_back = {**INCOMPLETE, "error": "repair_failed", "timeline": []}
    assert not read_run(not_put_back).moved


def test_health_that_nobody_asked_and_health_that_failed() -> None:
    assert read_run({}, None, {}).before == Health()
    assert read_run({}, {"skipped": True}).before == Health()
    assert read_run({}, {"failed": True, "msg": "no Sentinel answers"}).before.error == "no Sentinel answers"


def test_a_long_timeline_loses_its_middle_and_says_so() -> None:
    line = {"at_ms": 0.0, "who": "program", "kind": NOT_SETTLED, "detail": "again"}
    timeline = [{**line, "at_ms": float(number)} for number in range(MOST_ENTRIES + 100)]
    run = read_run({**SWITCHED, "timeline": timeline})
    assert (len(run.timeline), run.left_out) == (MOST_ENTRIES, 100)
    assert run.timeline[-1].at_ms == MOST_ENTRIES + 99
    pages = render(run)
    assert "100 in the middle left out" in pages.html
    assert "100 in the middle left out" in pages.markdown
    assert len(pages.html.encode()) < 300_000


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything within, containers and what they contain."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from leaves(child, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    result = copy.deepcopy(value)
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return result


@pytest.mark.parametrize("kind", ["switched", "refused"])
def test_what_is_missing_or_of_another_type_is_no_error(kind: str) -> None:
    # One event of a kind is as good as all.
    result = {**EVERY_KIND[kind], "timeline": EVERY_KIND[kind]["timeline"][::7]}
    paths = list(leaves(result))
    assert len(paths) > 30

    def report_all_the_same(path: tuple[Any, ...], nonsense: object) -> None:
        pages = render(read_run(replaced(result, path, nonsense), checks(), checks()))
        assert "<h1>" in pages.html, (path, nonsense)
        assert pages.markdown.startswith("# "), (path, nonsense)

    for number, case in enumerate(itertools.product(paths, NONSENSE)):
        attempt = partial(report_all_the_same, *case)
        # Each kind of nonsense in some places shows which lines are reached.
        if number % (len(NONSENSE) + 1):
            untraced(attempt)
        else:
            attempt()


def test_no_secret_beside_the_named_fields_is_shown() -> None:
    """Whatever a module, a plugin or a later version adds to a result stays out of the report."""

    def with_secrets(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{key: with_secrets(child) for key, child in value.items()}, "password": SECRET, SECRET: SECRET}
        return [with_secrets(child) for child in value] if isinstance(value, list) else value

    result = with_secrets(SWITCHED)
    result["invocation"]["module_args"].update(redis_password=SECRET, sentinel_password=SECRET, sentinels=[SECRET])
    result["phases_ms"] = SWITCHED["phases_ms"]
    result["server_versions"] = SWITCHED["server_versions"]
    result["request"]["renamed_commands"] = {"CONFIG": SECRET}
    result["exception"] = result["stdout"] = result["module_stderr"] = SECRET
    assert SECRET in json.dumps(result)
    pages = render(read_run(result, with_secrets(checks("quorum")), with_secrets(checks())))
    assert SECRET not in pages.html + pages.markdown + pages.headline


def test_a_timeline_without_kinds_is_no_timeline() -> None:
    entry = {"at_ms": 1.0, "who": "program", "what": "fence", "detail": "x acknowledges no more writes"}
    assert read_run({**SWITCHED, "timeline": [entry]}).timeline == ()


def test_no_word_of_a_detail_is_read() -> None:
    """Other sentences make the same report, but for these sentences."""
    other = [{**it, "detail": "z"} if it["who"] == "program" and it["detail"] else it for it in SWITCHED["timeline"]]
    told, silent = (
        render(read_run({**SWITCHED, "timeline": timeline})).html.split("<details>")[0]
        for timeline in (SWITCHED["timeline"], other)
    )
    assert told == silent
