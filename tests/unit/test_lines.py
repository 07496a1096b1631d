# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks and topologies as lines for a person."""

from __future__ import annotations

from ansible_collections.redis_ha.sentinel.plugins.filter.check_lines import WIDTH, check_lines
from ansible_collections.redis_ha.sentinel.plugins.filter.topology_lines import topology_lines
from ansible_collections.redis_ha.sentinel.plugins.module_utils._views import deployment_view
from unit.builders import L0, L1, L2, OM, R, S, master_node, replica_node, sentinel_view, snapshot
from unit.situations import dead, unreachable


def check(name: str, status: str = "ok", detail: str = "found", remedy: str = "") -> dict[str, str]:
    return {"name": name, "status": status, "detail": detail, "remedy": remedy}


def test_what_failed_comes_first_then_what_was_waived_then_warnings() -> None:
    checks = [
        check("fine"),
        check("odd", "warning", "it is odd", "Look at it."),
        check("accepted", "critical", "it is bad", "Mend it."),
        check("fine"),
        check("bad", "critical", "it is worse", "Mend it first."),
    ]
    assert check_lines(checks, ["accepted", "unheard_of"]) == [
        "FAILED   bad: it is worse",
        "         What to do: Mend it first.",
        "waived   accepted: it is bad",
        "         What to do: Mend it.",
        "warning  odd: it is odd",
        "         What to do: Look at it.",
        "ok       1 checks: fine",
        "note     waivers of which nothing made use: unheard_of",
    ]


def test_a_warning_needs_no_waiver_and_makes_no_use_of_one() -> None:
    lines = check_lines([check("odd", "warning")], ["odd"])
    assert lines == ["warning  odd: found", "note     waivers of which nothing made use: odd"]


def test_long_lines_are_wrapped_and_addresses_are_not_broken() -> None:
    addresses = ", ".join(f"server-with-a-long-name-{number}.example:6379" for number in range(9))
    lines = check_lines([check("long", "critical", addresses)])
    assert len(lines) > 1
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line.startswith(" " * 9) for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == f"FAILED long: {addresses}"


def test_a_topology_is_two_tables_for_each_master() -> None:
    seen = snapshot(
        [sentinel_view(L0), sentinel_view(L1, tilt=True), dead(sentinel_view(L2))],
        [master_node(), replica_node(R, link={"link_up": False}), unreachable(S, error="it does not answer in time")],
    )
    lines = topology_lines({"mymaster": deployment_view(seen)})
    assert lines[0] == f"mymaster: master {OM}, replicas 1, Sentinels 3"
    header, *rows = lines[1:5]
    assert [row.split()[:4] for row in rows] == [
        [str(OM), "master", "-", "-"],
        [str(R), "replica", str(OM), "connected"],
        [str(S), "cannot", "be", "asked:"],
    ]
    assert header.index("ROLE") == rows[0].index("master") == rows[2].index("cannot")
    _header, *sentinels = lines[5:]
    assert [row.split()[0] for row in sentinels] == [str(L0), str(L1), str(L2)]
    assert sentinels[0].endswith(" ok")
    assert sentinels[1].endswith(" TILT")
    assert sentinels[2].endswith("cannot be asked: Connection refused")


def test_a_master_on_which_nobody_agrees() -> None:
    seen = snapshot([sentinel_view(L0), sentinel_view(L1, current=R)])
    assert (
        topology_lines({"mymaster": deployment_view(seen)})[0]
        == "mymaster: master not agreed on, replicas 2, Sentinels 2"
    )
