# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tasks that wait: how often they look, what they show, and what ends them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.redis_ha.sentinel.plugins.action.wait_for_replicas import ActionModule as WaitForReplicas
from ansible_collections.redis_ha.sentinel.plugins.action.wait_for_servers import ActionModule as WaitForServers
from unit.actions import Started

LATE = {"master_name": "orders", "server": "192.0.2.22:6379", "detail": "catches up", "remedy": "It needs time."}


def look(number: int = 0, missing: bool = True, **more: Any) -> dict[str, Any]:
    """One look of wait_for_servers, in which something has moved with each number."""
    return {
        "changed": False,
        "mark": f"{number} bytes",
        "settled": not missing,
        "missing": [LATE] if missing else [],
        **more,
    }


class Time:
    """Passes by sleep alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def waiting(looks: list[dict[str, Any]], kind: Any = WaitForServers, **task: Any) -> Started:
    """A task that sees these looks, the last one again and again."""
    left = list(looks)
    args = task.pop("args", {})
    return Started(kind, args, lambda _task: left.pop(0) if len(left) > 1 else left[0], **task)


def test_it_looks_until_all_is_settled_and_shows_what_it_waits_for(passing: Time) -> None:
    started = waiting([look(1), look(2), look(3, missing=False)])
    result = started.run()
    assert started.modules == ["redis_ha.sentinel.wait_for_servers"] * 3
    assert passing.slept == [2.0, 2.0], "the default of poll_interval"
    assert started.terminal.lines == [
        "    0.0 s  waits: orders: 192.0.2.22:6379 catches up",
        "    4.0 s  everything is back",
    ]
    assert (result["settled"], result["waited_ms"], result["progress"]) == (True, 4000.0, started.terminal.lines)
    assert "failed" not in result


def test_poll_interval_is_how_long_it_waits_between_two_looks(passing: Time) -> None:
    waiting([look(1), look(2, missing=False)], args={"poll_interval": "0.5"}).run()
    assert passing.slept == [0.5]


def test_where_nothing_moves_it_gives_up(passing: Time) -> None:
    result = waiting([look(1)], args={"stall_timeout": 20, "timeout": 1000}).run()
    assert (result["failed"], result["error"], result["remedy"]) == (True, "servers_stalled", "It needs time.")
    assert passing.now_s == 120.0
    assert result["waited_ms"] == 20000.0


def test_it_waits_no_longer_than_it_may_though_everything_moves(passing: Time) -> None:
    result = waiting([look(number) for number in range(200)], args={"timeout": 30}).run()
    assert result["error"] == "servers_timeout"
    assert passing.now_s == 130.0


def test_a_look_that_fails_ends_it(passing: Time) -> None:
    failed = {"failed": True, "error": "no_sentinel", "msg": "no Sentinel answers"}
    result = waiting([look(1), failed]).run()
    assert (result["error"], len(passing.slept)) == ("no_sentinel", 1)


def test_options_are_read_when_the_module_has_seen_them(passing: Time) -> None:
    refused = {"failed": True, "error": "option_invalid", "msg": "timeout is no number"}
    result = waiting([refused], args={"timeout": "no number"}).run()
    assert (result["error"], passing.slept) == ("option_invalid", [])


def test_what_is_not_to_be_logged_is_in_the_result_alone(passing: Time) -> None:
    started = waiting([look(1), look(2, missing=False)], no_log=True)
    assert len(started.run()["progress"]) == 2
    assert started.terminal.lines == []


# ---- replicas --------------------------------------------------------------------------------------------------------


def replicas(number: int = 0, **more: Any) -> dict[str, Any]:
    """One look of wait_for_replicas."""
    return {"changed": False, "mark": str(number), "settled": False, "replicas": [], "unsettled": [], **more}


def test_sentinels_that_fall_silent_later_may_come_back(passing: Time) -> None:
    silent = replicas(1, failed=True, error="no_sentinel", msg="no Sentinel answers")
    result = waiting([replicas(1), silent, replicas(2, settled=True)], WaitForReplicas).run()
    assert (result["settled"], len(passing.slept)) == (True, 2)


def test_sentinels_that_are_silent_from_the_start_are_not_waited_for(passing: Time) -> None:
    silent = replicas(1, failed=True, error="no_sentinel", msg="no Sentinel answers")
    result = waiting([silent], WaitForReplicas).run()
    assert (result["error"], passing.slept) == ("no_sentinel", [])


def test_a_module_that_was_killed_is_no_look(passing: Time) -> None:
    result = waiting([replicas(1), {"failed": True, "msg": "MODULE FAILURE"}], WaitForReplicas).run()
    assert result["msg"] == "MODULE FAILURE"
    assert len(passing.slept) == 1
