# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A typing error in a name is refused with the name that was meant; what is somebody else's is left alone."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.redis_ha.sentinel.plugins.action.guard import ROLES, SHARED
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._names import (
    CHECKS,
    KEPT_BY_ANSIBLE,
    LEFT_BY_ROLES,
    Known,
    examine,
    listed,
    nearest,
    one_slip,
    refusal,
    understood,
    unknown_waivers,
)
from unit.untraced import untraced

ROOT = Path(__file__).resolve().parents[2]


def variables_of_the_roles() -> frozenset[str]:
    names: set[str] = set(SHARED)
    for role in ROLES:
        specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())
        names |= set(specs["argument_specs"]["main"]["options"])
    return frozenset(names)


def plain_names() -> frozenset[str]:
    names: set[str] = set()
    for file, prefix in (("options", "redis_ha_"), ("failover", "failover_")):
        names |= {
            name.removeprefix(prefix) for name in yaml.safe_load((ROOT / f"playbooks/vars/{file}.yml").read_text())
        }
    return frozenset(names)


ROLE_NAMES = variables_of_the_roles()
PLAIN = plain_names()
KNOWN = Known(ROLE_NAMES, PLAIN)


def typing_errors(name: str) -> Iterator[str]:
    """Every name that one slip makes: a letter too few, two swapped, another one, one too many."""
    for place in range(len(name)):
        yield name[:place] + name[place + 1 :]
        if place + 1 < len(name):
            yield name[:place] + name[place + 1] + name[place] + name[place + 2 :]
        for letter in string.ascii_lowercase + "_":
            yield name[:place] + letter + name[place + 1 :]
    for place in range(len(name) + 1):
        for letter in string.ascii_lowercase + "_":
            yield name[:place] + letter + name[place:]


def errors_in(names: frozenset[str]) -> list[tuple[str, str]]:
    right = ROLE_NAMES | PLAIN | KEPT_BY_ANSIBLE.keys()
    return sorted({(typed, name) for name in names for typed in typing_errors(name) if typed not in right})


def test_every_typing_error_in_an_option_of_the_playbooks_is_refused_among_the_extra_variables() -> None:
    cases = errors_in(PLAIN)
    assert len(cases) >= 300
    accepted = untraced(lambda: [typed for typed, _name in cases if not examine([], {typed}, KNOWN).refused])
    assert not accepted


def test_every_typing_error_in_a_variable_of_the_roles_is_refused_wherever_it_stands() -> None:
    cases = errors_in(ROLE_NAMES)
    assert len(cases) >= 300
    known = Known(ROLE_NAMES)
    accepted = untraced(lambda: [typed for typed, _name in cases[::7] if not examine({typed}, [], known).refused])
    assert not accepted


def test_the_name_that_was_meant_is_named() -> None:
    for typed, meant in (
        ("avoidd", "avoid"),
        ("tagret", "target"),
        ("expected_mater", "expected_master"),
        ("sentinel", "sentinels"),
    ):
        assert examine([], {typed}, KNOWN).refused == (f"{typed} is unknown; did you mean {meant}?",)
    for typed, meant in (
        ("failover_stratgy", "failover_strategy"),
        ("redis_ha_master", "redis_ha_master_name"),
        ("fialover_target", "failover_target"),
    ):
        assert examine({typed}, [], Known(ROLE_NAMES)).refused == (f"{typed} is unknown; did you mean {meant}?",)


@pytest.mark.parametrize(
    "name",
    [
        *("change", "veto", "vip", "upgraded", "inventory_hostname", "groups", "item"),
        *("ansible_host", "awx_job_id", "tower_user_name", "awx_setup_image"),
        *("redis_ha_failover", "redis_ha_precheck", "redis_ha_status"),
    ],
)
def test_what_is_somebody_elses_or_handed_on_is_left_alone(name: str) -> None:
    found = examine({name}, {name}, KNOWN)
    assert not found.refused
    assert not found.warnings


@pytest.mark.parametrize("name", sorted(ROLE_NAMES | PLAIN))
def test_every_right_name_is_accepted(name: str) -> None:
    assert not examine({name}, {name}, KNOWN).refused


def test_a_misspelt_plain_name_that_is_not_given_for_the_run_is_only_a_warning() -> None:
    found = examine({"tagret"}, [], KNOWN)
    assert not found.refused
    assert found.warnings == ("The variable tagret is not used. If target is meant, correct it.",)
    assert examine({"tagret"}, {"tagret"}, Known(ROLE_NAMES)) == examine([], [], KNOWN), "a play of somebody else"


def test_a_declared_name_is_left_alone() -> None:
    others = Known(ROLE_NAMES, PLAIN, frozenset({"failover_timeout_ms", "targets"}))
    assert not examine({"failover_timeout_ms"}, {"targets"}, others).refused
    assert examine({"failover_timeout_ms"}, {"targets"}, KNOWN).refused == (
        "failover_timeout_ms is unknown; did you mean failover_timeout?",
        "targets is unknown; did you mean target?",
    )


@pytest.mark.parametrize("name", [*sorted(LEFT_BY_ROLES), "__failover_ask", "__report_time", "__precheck_waivers"])
def test_what_the_roles_leave_cannot_be_given_and_is_no_error_where_they_have_left_it(name: str) -> None:
    assert examine([], {name}, KNOWN).refused == (f"{name} is what the roles leave, and cannot be given",)
    assert not examine({name}, [], KNOWN).refused


@pytest.mark.parametrize(("name", "meant"), sorted(KEPT_BY_ANSIBLE.items()))
def test_words_that_ansible_keeps_are_refused_for_they_would_be_ignored(name: str, meant: str) -> None:
    assert examine([], {name}, KNOWN).refused == (f"{name} is a word that Ansible keeps for itself; say {meant}",)
    assert not examine({name}, [], KNOWN).refused


@pytest.mark.parametrize(
    ("typed", "meant", "expected"),
    [
        ("avoid", "avoid", False),
        ("avoidd", "avoid", True),
        ("avid", "avoid", True),
        ("aviod", "avoid", True),
        ("avoix", "avoid", True),
        ("vaodi", "avoid", False),
        ("", "a", True),
        ("", "ab", False),
        ("ab", "ba", True),
    ],
)
def test_one_slip_whichever_of_the_two_is_the_wrong_one(typed: str, meant: str, expected: bool) -> None:
    assert {one_slip(*pair) for pair in itertools.permutations((typed, meant))} == {expected}


def test_nothing_is_near_where_nothing_is() -> None:
    assert nearest("veto", PLAIN) == ""
    assert nearest("tagret", []) == ""


def test_waivers_that_no_check_has_are_refused() -> None:
    assert unknown_waivers(["known_replicas", "no_tilt"]) == ()
    assert unknown_waivers(["known_replica"]) == ("the waiver known_replica is no check; did you mean known_replicas?",)
    assert unknown_waivers(["zzz"]) == ("the waiver zzz is no check",)
    wrong = {typed for name in CHECKS for typed in typing_errors(name)} - CHECKS
    assert all(unknown_waivers([typed]) for typed in sorted(wrong)[::50])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["a", " b "], ("a", "b")), ("a, b,,", ("a", "b")), ("", ()), (None, ()), ([], ()), (["", "a"], ("a",))],
)
def test_a_list_may_be_a_text(value: object, expected: tuple[str, ...]) -> None:
    assert listed(value) == expected


def test_the_refusal_says_that_nothing_was_asked_and_what_to_do() -> None:
    said = refusal(["avoidd is unknown; did you mean avoid?"])
    assert said.startswith(
        "Nothing was asked of any server: avoidd is unknown; did you mean avoid? If a name belongs to"
    )


def test_one_line_says_what_was_understood() -> None:
    defaults = {"strategy": "auto", "timeout": 120.0, "accept_loss": False, "report": True}
    plain = {"master_name": "mymaster", "target": "", "avoid": [], "expected_master": "", "strategy": "auto"}
    assert understood(plain, defaults) == "mymaster: target any; leave none; expected any"
    full = {
        **plain,
        "target": "192.0.2.22:6379",
        "avoid": "a, b",
        "expected_master": "192.0.2.21:6379",
        "strategy": "plain",
        "timeout": "120",
        "accept_loss": "true",
        "report": "yes",
    }
    assert understood(full, defaults) == (
        "mymaster: target 192.0.2.22:6379; leave a, b; expected 192.0.2.21:6379; strategy plain; accept_loss yes"
    )
