# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says: true for every outcome, and never more than is known."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import STEPS
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import trace
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import read_run
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_words import Fact, Words, duration, in_words
from unit.report_runs import (
    ABORTED,
    COORDINATED,
    EVERY_KIND,
    INCOMPLETE,
    JOINED,
    NEW,
    NOT_RUN,
    OLD,
    OTHER,
    PLAIN,
    PLANNED,
    REFUSED,
    SWITCHED,
    UNCHANGED,
    Result,
    checks,
    no_plan,
    plan,
    replica,
)


def words(result: Result, before: Any = None, after: Any = None, **more: Any) -> Words:
    more.setdefault("master_name", "orders")
    run = read_run(result, before, after, **more)
    return in_words(run, trace(run))


def fact(said: Words, label: str) -> Fact:
    return next(it for it in said.facts if it.label == label)


HEADLINES = {
    "switched": (
        "good",
        f"orders was moved from {OLD} to {NEW}. No acknowledged write was lost; writes stood still for 12 ms.",
    ),
    "plain": (
        "bad",
        f"Acknowledged writes may be lost: {OLD} went on taking writes for 10.1 s after {NEW} had become the master, "
        f"and all of those are lost. orders was moved from {OLD} to {NEW}.",
    ),
    "coordinated": (
        "attention",
        "The servers handed over by themselves; that no write was lost is not proven. "
        f"orders was moved from {OLD} to {NEW}.",
    ),
    "joined": (
        "bad",
        f"Acknowledged writes may be lost: {OLD} went on taking writes for 10.1 s after {NEW} had become the master, "
        f"and all of those are lost. orders was moved from {OLD} to {NEW} by a failover that somebody else had begun.",
    ),
    "incomplete": ("bad", f"orders was moved from {OLD} to {NEW}, and something is left to do."),
    "aborted": ("attention", f"Moving orders from {OLD} to {NEW} was tried and given up; it was not moved."),
    "unheard": ("bad", f"orders was moved from {OLD} to {NEW}, and something is left to do."),
    "rolled_back": ("attention", f"Moving orders from {OLD} to {NEW} was tried and given up; it was not moved."),
    "in_doubt": ("bad", "It is not known whether orders was moved. It may still happen."),
    "planned": (
        "neutral",
        f"Only planned, nothing was changed. A run would move orders from {OLD} to {NEW}; "
        "writes would stand still for about 15 ms.",
    ),
    "refused": (
        "attention",
        "orders was not moved; nothing was tried: 192.0.2.99:6379 is no replica of orders; "
        f"its replicas are {NEW}, {OTHER}.",
    ),
    "unchanged": ("neutral", f"Nothing was to be done: orders was not moved, its master is {OLD}."),
    "repaired": (
        "neutral",
        f"orders was not moved, its master is {OLD}. What an interrupted run had left was put back.",
    ),
    "module_broke": ("bad", "It is not known whether orders was moved. It may still happen."),
    "not_run": ("neutral", "No failover of orders was run."),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_has_its_headline(kind: str) -> None:
    said = words(EVERY_KIND[kind])
    assert (said.tone, said.headline) == HEADLINES[kind]


def test_shapes_differ_where_colours_do() -> None:
    """Who does not see colours sees whether a switch went well."""
    assert words(SWITCHED).symbol == "switched"
    assert words(PLAIN).symbol != "switched"
    assert words(SWITCHED, None, checks("quorum")).symbol != "switched"


def test_no_headline_praises_what_the_checks_afterwards_found_wrong() -> None:
    said = words(SWITCHED, checks(), checks("replica_fit", "quorum"))
    assert said.tone == "attention"
    assert said.headline.endswith("The checks afterwards found 2 problems.")
    assert [todo.remedy for todo in said.todos] == ["Mend quorum.", "Mend replica_fit."]


def test_checks_afterwards_that_could_not_be_made_are_no_good_news() -> None:
    said = words(SWITCHED, checks(), {"failed": True, "msg": "no Sentinel answers"})
    assert said.tone == "attention"
    assert "could not be made" in said.headline
    assert "no Sentinel answers" in said.todos[0].what


def test_checks_afterwards_can_be_better_news_than_the_run() -> None:
    said = words(INCOMPLETE, checks(), checks())
    assert (said.tone, said.word) == ("attention", "Incomplete")
    assert said.headline.endswith("The checks afterwards found nothing wrong.")


def test_a_loss_is_said_first_and_in_red() -> None:
    for result in (PLAIN, JOINED, {**SWITCHED, "lossless": False}, {**SWITCHED, "lossless": None}):
        said = words(result, checks(), checks())
        assert (said.tone, said.word) == ("bad", "Switched, writes may be lost")
        assert said.headline.startswith("Acknowledged writes may be lost")
        assert fact(said, "Acknowledged writes lost").tone == "bad"


def test_a_loss_is_said_of_what_is_incomplete_too() -> None:
    said = words({**INCOMPLETE, "lossless": False}, checks(), checks())
    assert said.tone == "bad"
    assert said.headline.startswith("Acknowledged writes may be lost. orders was moved")


def test_full_resynchronisations_are_discarded_history_where_a_healthy_master_was_left() -> None:
    assert words(PLAIN).history_discarded
    assert fact(words(PLAIN), "Replicas").explanation == "2 full resynchronisations: what only they had was discarded"
    assert not words(SWITCHED).history_discarded
    dead = {**PLAIN, "timeline": [], "replicas": [replica(OTHER, "full"), replica(OLD, following=False, excused=True)]}
    assert not words(dead).history_discarded


def test_coordinated_claims_no_proof() -> None:
    assert fact(words(COORDINATED), "Acknowledged writes lost").value == "not ruled out"
    assert words(COORDINATED).word == "Switched, loss not ruled out"


def test_a_repair_without_a_fence_has_no_figure_for_writes() -> None:
    finished = {**SWITCHED, "write_gap_ms": None, "plan": plan(action="finish")}
    assert words(finished).headline.endswith("No acknowledged write was lost.")


@pytest.mark.parametrize(
    ("the_plan", "tone", "said"),
    [
        (plan(strategy="plain", expected_write_stop_ms=11000), "attention", "acknowledged writes may be lost"),
        (plan(action="finish"), "attention", "which finishes what an interrupted run began"),
        (no_plan("join"), "attention", "is in progress already"),
        (no_plan("repair"), "neutral", "would put back what an interrupted run left"),
        (no_plan("nothing", repairs=["x"]), "neutral", "would put back what an interrupted run left"),
    ],
)
def test_plans(the_plan: dict[str, Any], tone: str, said: str) -> None:
    planned = words({**PLANNED, "plan": the_plan})
    assert planned.tone == tone
    assert said in planned.headline
    assert planned.headline.startswith("Only planned, nothing was changed.")


def test_several_reasons_are_counted_and_all_listed() -> None:
    reasons = REFUSED["seen"]["reasons"] + [{"name": "tilt", "detail": "in TILT", "remedy": "Wait 30 s."}]
    said = words({**REFUSED, "seen": {"reasons": reasons}})
    assert said.headline == "orders was not moved; nothing was tried, for 2 reasons."
    assert [todo.remedy for todo in said.todos][1] == "Wait 30 s."


def test_a_refusal_after_a_repair_is_not_nothing() -> None:
    said = words({**REFUSED, "repaired": ["put back on x: replica-priority 100"]})
    assert said.headline == "orders was not moved. Only what an interrupted run had left was put back."


def test_where_nothing_was_run_the_checks_before_say_why() -> None:
    said = words(NOT_RUN, checks("quorum"), master_name="orders")
    assert said.headline == "orders was not touched: the checks before found 1 problem."
    assert [todo.remedy for todo in said.todos] == ["Mend quorum."]
    vetoed = words(NOT_RUN, checks(), master_name="orders", failure="the freeze has begun")
    assert vetoed.headline == "orders was not touched: the freeze has begun."


def test_what_the_role_failover_makes_of_checks_that_fail_before() -> None:
    told = "orders is not fit to be moved: 1 of 6 checks failed. quorum: Mend quorum."
    stopped = {**REFUSED, "error": "precheck_failed", "msg": told, "seen": {}, "remedy": "Mend what has failed."}
    said = words(stopped, checks("quorum"), failure=told)
    assert said.headline == "orders was not moved; nothing was tried: the checks before found 1 problem."
    assert said.why == ""
    assert [todo.remedy for todo in said.todos] == ["Mend quorum.", "Mend what has failed."]


def test_what_the_role_failover_makes_of_a_veto() -> None:
    vetoed = {**REFUSED, "error": "vetoed", "msg": "the freeze has begun", "seen": {}, "remedy": "Run it again."}
    said = words(vetoed, checks("quorum"), failure="the freeze has begun")
    assert said.headline == "orders was not moved; nothing was tried: the freeze has begun."
    long = words({**vetoed, "msg": "the freeze has begun " * 20}, checks())
    assert long.headline == "orders was not moved; nothing was tried."
    assert long.why.startswith("the freeze has begun the freeze")


def test_what_the_role_failover_makes_of_checks_that_fail_afterwards() -> None:
    told = "2 checks failed: one, and the other"
    unsettled = {**INCOMPLETE, "error": "postcheck_failed", "msg": told, "remedy": "Run the checks again."}
    said = words(unsettled, checks(), checks("quorum"), failure=told)
    assert said.headline.endswith("and something is left to do. The checks afterwards found 1 problem.")
    assert [(todo.what, todo.remedy) for todo in said.todos] == [
        ("quorum was looked at", "Mend quorum."),
        ("", "Run the checks again."),
    ]
    unchanged = words(UNCHANGED, checks(), checks("quorum"), failure=told)
    assert unchanged.headline.endswith("The checks afterwards found 1 problem.")


def test_what_fails_around_a_good_run_is_said() -> None:
    said = words(SWITCHED, failure="the monitoring could not be told")
    assert said.tone == "attention"
    assert said.headline.endswith("Something around it failed.")
    assert said.why == "the monitoring could not be told"


def test_the_master_after() -> None:
    after = {kind: words(result).master_after for kind, result in EVERY_KIND.items()}
    assert after["switched"] == after["incomplete"] == after["planned"] == NEW
    assert after["unchanged"] == after["repaired"] == OLD
    assert after["aborted"] == after["refused"] == "not moved by this run"
    assert after["in_doubt"] == after["module_broke"] == "not known"


def test_why_and_what_to_do() -> None:
    aborted = words(ABORTED)
    assert aborted.why == f"not caught up within 1000 ms: {OTHER}: it does not answer in time."
    assert aborted.todos[0].remedy.startswith("Nothing was moved")
    incomplete = words(INCOMPLETE)
    assert "left to do" in incomplete.todos[0].what
    assert words(SWITCHED).todos == words(UNCHANGED).todos == ()


def test_facts_of_a_switch() -> None:
    said = words(SWITCHED, checks(warned=("quorum",)), checks())
    assert [(it.label, it.value, it.tone) for it in said.facts] == [
        ("Acknowledged writes lost", "none", "good"),
        ("Writes stood still", "12 ms", "neutral"),
        ("Replicas", "2 of 2 follow", "good"),
        ("Checks before", "1 warning", "attention"),
        ("Checks after", "all 6 passed", "good"),
    ]
    assert fact(said, "Acknowledged writes lost").explanation == SWITCHED["lossless_reason"]
    assert fact(said, "Writes stood still").explanation == (
        "from 2026-11-27 01:02:04.492 UTC until every Sentinel named the new master and it took writes"
    )


def test_how_long_there_were_two_masters_is_how_much_was_lost() -> None:
    for result in (PLAIN, JOINED):
        assert fact(words(result), "Acknowledged writes lost").value == "all that the old master took in 10.1 s"


def test_steps_have_the_words_of_the_table() -> None:
    named = {step.name.replace("_", " "): step for step in STEPS}
    taken = words(SWITCHED).steps
    assert [step.name for step in taken] == [name.replace("_", " ") for name in SWITCHED["phases_ms"]]
    for step in taken:
        known = named[step.name]
        assert (step.purpose, step.clients or "none") == (known.purpose, known.effect)
    assert all(not step.clients for step in words({**SWITCHED, "strategy": "plain"}).steps)


def test_servers_of_several_versions_are_named() -> None:
    details = {detail.label: detail.value for detail in words(COORDINATED).about}
    assert details["Servers"].startswith(f"valkey 9.1.1: {OTHER}; valkey 9.1.2: {OLD}, {NEW}")
    assert details["Promoted by"] == "Sentinel: the strategy is coordinated"


def test_a_write_stop_in_vain_is_told() -> None:
    assert fact(words(ABORTED), "Writes stood still").value == "1.00 s"
    assert fact(words(EVERY_KIND["in_doubt"]), "Writes stood still").value == "not known"


def test_a_replica_that_was_down_before_is_not_passed_over() -> None:
    down = {**SWITCHED, "replicas": [replica(OTHER, "unknown", following=False, excused=True), replica(OLD)]}
    told = fact(words(down), "Replicas")
    assert (told.value, told.explanation, told.tone) == (
        "1 of 2 follow",
        "1 partial resynchronisation, 1 down before",
        "attention",
    )


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0.04, "0.0 ms"),
        (3.14, "3.1 ms"),
        (9.96, "10 ms"),
        (170.5, "170 ms"),
        (999.6, "1.00 s"),
        (9_994, "9.99 s"),
        (12_345, "12.3 s"),
        (59_960, "1 min 0 s"),
        (125_000, "2 min 5 s"),
        (None, "not known"),
    ],
)
def test_durations(ms: float | None, text: str) -> None:
    assert duration(ms) == text
