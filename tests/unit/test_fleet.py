# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many deployments: what each hands on, and what is said of all of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._fleet import (
    entry,
    handed_on_as,
    in_words,
    lines,
    read,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report import fleet_report

OLD, NEW = {"host": "192.0.2.21", "port": 6379}, {"host": "192.0.2.22", "port": 6379}


def told(deployment: str = "shop", role: str = "failover", **more: Any) -> dict[str, Any]:
    return entry({"deployment": deployment, "role": role, "master_name": "mymaster", **more})


def switched(**more: Any) -> dict[str, Any]:
    return {"outcome": "switched", "old_master": OLD, "new_master": NEW, "write_gap_ms": 18.6, "lossless": True, **more}


REFUSED = {
    "outcome": "refused",
    "old_master": OLD,
    "new_master": OLD,
    "lossless": None,
    "msg": "Another one is master. Look again.",
    "remedy": "Look again.",
}


def row(**changes: Any) -> dict[str, Any]:
    return {
        "name": "mymaster",
        "outcome": "switched",
        "old_master": "192.0.2.21:6379",
        "new_master": "192.0.2.22:6379",
        "write_gap_ms": 18.6,
        "lossless": True,
        "msg": "",
        "remedy": "",
        **changes,
    }


def test_a_failover_a_drain_and_a_check_hand_on_rows_of_one_form() -> None:
    files = {"markdown": "/srv/a.md", "html": "/srv/a.html"}
    assert told(failover=switched(), report_files=files) == {
        "deployment": "shop",
        "role": "failover",
        "failure": "",
        "masters": [row()],
        "report": "/srv/a.html",
    }
    moved = {"name": "cart", "outcome": "planned", "old_master": "a:1", "new_master": "a:1", "planned_master": "b:1"}
    stayed = {"name": "user", "outcome": "unchanged"}
    (planned,) = told(role="drain", drain_plan={"masters": [moved, stayed]})["masters"]
    assert (planned["name"], planned["old_master"], planned["new_master"]) == ("cart", "a:1", "b:1")
    checks = [
        {"name": "quorum", "status": "critical", "detail": "2 of 5", "remedy": "Start them."},
        {"name": "modules", "status": "ok", "detail": "", "remedy": ""},
    ]
    health = {"checks": checks, "snapshot": {"master": "192.0.2.21:6379"}}
    (unfit,) = told(role="precheck", precheck=health, failure="quorum has failed")["masters"]
    assert (unfit["outcome"], unfit["msg"], unfit["remedy"]) == ("not_fit", "quorum: 2 of 5", "Start them.")
    assert told(role="precheck", precheck=health)["masters"][0]["outcome"] == "fit"


@pytest.mark.parametrize("role", ["failover", "drain", "precheck"])
def test_a_role_that_failed_before_it_asked_has_a_failure_and_no_row(role: str) -> None:
    found = told(role=role, failure="no Sentinel answers")
    assert (found["failure"], found["masters"]) == ("no Sentinel answers", [])


def test_what_servers_wrote_is_no_template_in_the_next_job() -> None:
    found = told(failover={**REFUSED, "msg": "said {{ lookup('pipe', 'id') }} {% x %} {# y #}"}, failure="{{ x }}")
    assert not re.search(r"\{[{%#]", str(found["masters"][0]["msg"]) + found["failure"])


@pytest.mark.parametrize("names", [("mail-1", "mail_1"), ("shop.example", "shop_example"), ("müll", "m_ll")])
def test_each_hands_on_under_a_name_of_its_own_that_a_variable_may_have(names: tuple[str, str]) -> None:
    found = {handed_on_as(name) for name in names}
    assert len(found) == 2
    assert all(re.fullmatch(r"redis_ha_fleet_of_\w+", name, re.ASCII) for name in found)
    assert handed_on_as("shop") == "redis_ha_fleet_of_shop"


SAID: dict[str, tuple[list[dict[str, Any]], list[str], str, str]] = {
    "all well": (
        [told(failover=switched()), told("mail", failover=switched(write_gap_ms=31.2))],
        [],
        "good",
        "2 deployments, 2 masters: 2 switched. No acknowledged write was lost. Writes stood still for 31 ms at most.",
    ),
    "one is refused": (
        [told(failover=switched()), told("mail", failover=REFUSED, failure="refused")],
        [],
        "attention",
        "2 deployments, 2 masters: 1 switched, 1 refused. Failed: mail. No acknowledged write was lost. Writes stood still for 19 ms at most.",
    ),
    "a loss comes first": (
        [told(failover=switched(lossless=False)), told("mail", failure="no Sentinel answers")],
        [],
        "bad",
        "Acknowledged writes may be lost: shop (mymaster). 2 deployments, 1 master: 1 switched. Failed: mail. Writes stood still for 19 ms at most.",
    ),
    "a move of which the proof is missing": (
        [told(failover=switched(lossless=None))],
        [],
        "bad",
        "Acknowledged writes may be lost: shop (mymaster). 1 deployment, 1 master: 1 switched. Writes stood still for 19 ms at most.",
    ),
    "some have not begun": (
        [told(failover=switched())],
        ["mail", "shop"],
        "attention",
        "2 deployments, 1 master: 1 switched. Not begun: mail. No acknowledged write was lost. Writes stood still for 19 ms at most.",
    ),
    "a plan": (
        [told(failover={**switched(), "outcome": "planned", "planned_master": None, "write_gap_ms": None})],
        [],
        "neutral",
        "1 deployment, 1 master: 1 planned.",
    ),
    "nobody": ([], [], "attention", "0 deployments, 0 masters."),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_said_of_all(case: str) -> None:
    entries, expected, tone, headline = SAID[case]
    words = in_words(read(entries, expected))
    assert (words.tone, words.headline) == (tone, headline)
    made = fleet_report(entries, expected)
    assert made["done"] is (tone in ("good", "neutral"))
    assert headline.partition(".")[0] in made["html"]


def test_each_master_and_each_failure_has_its_line() -> None:
    entries = [
        told(failover=switched()),
        told("mail", failover=REFUSED, failure="refused"),
        told("wiki", failure="no Sentinel answers"),
        told("blog", role="drain"),
    ]
    assert lines(read(entries, ["shop", "mail", "wiki", "blog", "chat"]))[1:] == [
        "shop  mymaster  192.0.2.21:6379 -> 192.0.2.22:6379  writes stood still for 19 ms  nothing lost",
        "mail  mymaster  192.0.2.21:6379  refused: Another one is master. Look again.",
        "wiki  FAILED: no Sentinel answers",
        "blog  nothing to do",
        "chat  not begun",
    ]


def test_the_pages_have_a_row_for_each_a_link_to_its_report_and_escape_what_they_show() -> None:
    entries = [
        told("<b>shop", failover=switched(), report_files={"html": "/srv/reports/a b.html"}),
        told("mail", failover=REFUSED, failure="refused"),
        told("wiki", failure="no | Sentinel <answers>"),
    ]
    made = fleet_report(entries, title="CHG0031337", operator="ops", job="47")
    page = made["html"]
    assert 'href="a%20b.html"' in page
    assert "&lt;b&gt;shop" in page
    assert "<b>shop" not in page.replace("<b>&lt;", "")
    assert page.count("Look again.") == 1, "a remedy that the message has is not said twice"
    assert "no | Sentinel &lt;answers&gt;" in page
    assert "CHG0031337" in page
    assert r"no \| Sentinel &lt;answers&gt;" in made["markdown"]
    assert "| mail | mymaster | refused |" in made["markdown"]


def test_what_is_no_entry_is_left_out() -> None:
    assert read([None, "x", {}, {"deployment": ""}]) == []
    (found,) = read([{"deployment": "shop", "masters": [{"name": 7, "write_gap_ms": "x"}, None], "failure": ["x"]}])
    assert (found.failure, found.masters[0].outcome, found.masters[0].write_gap_ms) == ("", "unknown", None)
