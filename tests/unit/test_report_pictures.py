# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timeline, messages and states: what they claim stands in the events, and everything stands inside its picture."""

from __future__ import annotations

from itertools import pairwise

import pytest
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import Trace, WriteStop, trace
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_messages import (
    MOST_MESSAGES,
    NOTE,
    WIDTH,
    Conversation,
    converse,
    course,
    draw_conversation,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_picture import (
    NARROW,
    WIDE,
    Style,
    draw,
    moment,
    short_names,
    shorten,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import read_run
from unit.report_runs import (
    ABORTED,
    EVERY_KIND,
    GIVEN_BACK,
    IN_DOUBT,
    INCOMPLETE,
    JOINED,
    LEADER,
    NEW,
    OLD,
    OTHER,
    PLAIN,
    SECOND,
    SWITCHED,
    THIRD,
    Result,
    plan,
    replica,
    timeline,
)

TRIED = ("switched", "plain", "joined", "incomplete", "aborted", "given_back", "in_doubt")


def traced(result: Result) -> Trace:
    found = trace(read_run(result))
    assert found is not None
    return found


def states(result: Result, address: str) -> list[tuple[str, float]]:
    """Each state of a server, and when it began."""
    lane = traced(result).lane(address)
    assert lane is not None
    return [(segment.state, segment.start_ms) for segment in lane.segments]


def said(result: Result) -> Conversation:
    return converse(read_run(result), traced(result))


def lines(result: Result) -> list[str]:
    conversation = said(result)
    return [f"{conversation.between(message)}: {message.full_text}" for message in conversation.messages]


# ---- lanes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_only_what_was_tried_has_a_timeline(kind: str) -> None:
    assert (trace(read_run(EVERY_KIND[kind])) is not None) is (kind in TRIED)


@pytest.mark.parametrize("kind", TRIED)
def test_lanes_have_no_holes(kind: str) -> None:
    found = traced(EVERY_KIND[kind])
    for lane in found.lanes:
        assert lane.segments[-1].end_ms == found.end_ms
        for one, other in pairwise(lane.segments):
            assert one.end_ms == other.start_ms
            assert one.state != other.state


def test_a_fenced_switch() -> None:
    assert states(SWITCHED, OLD) == [("master", 0.0), ("stopped", 9655.3), ("replica", 9657.2)]
    assert states(SWITCHED, NEW) == [("replica", 0.0), ("promoting", 9657.2), ("master", 9825.8)]
    assert states(SWITCHED, OTHER) == [("replica", 0.0), ("redirected", 9875.0), ("replica", 10875.2)]
    assert states(SWITCHED, LEADER) == [("names_old", 0.0), ("names_new", 9825.3)]
    assert states(SWITCHED, SECOND) == [("names_old", 0.0), ("names_new", 9878.9)]
    assert states(SWITCHED, THIRD) == [("names_old", 0.0), ("names_new", 9879.2)]
    found = traced(SWITCHED)
    assert found.stops == (WriteStop(9655.3, 9825.8, True),)
    assert found.stops[0].end_ms == pytest.approx(9655.3 + SWITCHED["write_gap_ms"])
    assert (found.zero_ms, found.agreed_ms) == (9655.3, 9879.4)


def test_there_is_never_a_second_master_under_a_fence() -> None:
    for result in (SWITCHED, INCOMPLETE, ABORTED, GIVEN_BACK):
        masters = [
            segment
            for lane in traced(result).lanes
            for segment in lane.segments
            if segment.state in ("master", "stopped", "stray")
        ]
        for one in masters:
            assert all(
                other.start_ms >= one.end_ms or other.end_ms <= one.start_ms for other in masters if other != one
            )


def test_a_plain_switch_has_two_masters() -> None:
    assert states(PLAIN, OLD) == [("master", 0.0), ("stray", 227.1), ("replica", 10315.3)]
    assert traced(PLAIN).stops == ()


def test_a_joined_failover_is_told_by_the_sentinels_alone() -> None:
    assert states(JOINED, NEW) == [("replica", 0.0), ("master", 421.7)]
    assert traced(JOINED).zero_means == "the run begins"


def test_writes_go_on_where_it_was_given_up() -> None:
    assert states(ABORTED, OLD)[-1] == ("stopped", 10057.6)
    assert traced(ABORTED).stops == (WriteStop(10057.6, 11062.6, False),)
    assert states(ABORTED, OTHER) == [("replica", 0.0), ("down", 6202.2)]
    assert traced(GIVEN_BACK).stops == (WriteStop(20.3, 24.0, False),)


def test_what_the_run_did_not_see_is_not_made_up() -> None:
    assert traced(IN_DOUBT).stops == (WriteStop(20.3, None, False),)
    assert traced(IN_DOUBT).promoted_ms is None


def test_a_missed_moment_is_a_write_stop_of_its_own() -> None:
    again = timeline(f"""
        1 | program | fence | {OLD} acknowledges no more writes; its offset is 7
        4 | program | moment missed | the replicas took too long to catch up; writes go on
        50 | program | fence | {OLD} acknowledges no more writes; its offset is 9
        52 | program | demoted | {OLD} is a replica of {NEW}; final offset 9
        90 | program | promoted | {NEW} is a master
    """)
    found = traced({**SWITCHED, "timeline": again})
    assert found.stops == (WriteStop(1.0, 4.0, False), WriteStop(50.0, 90.0, True))
    assert found.zero_ms == 50.0


def test_another_replica_than_planned_may_win() -> None:
    other = timeline(f"""
        1 | program | trigger | Sentinel {LEADER} leads the failover
        9 | program | promoted | {OTHER} is a master
    """)
    result = {**PLAIN, "timeline": other, "new_master": {"host": "192.0.2.23", "port": 6379}}
    assert [state for state, _at_ms in states(result, NEW)] == ["replica", "promoting"]
    found = traced(result)
    assert found.promoted_ms == 9.0


def test_replicas_that_were_down_before_are_shown_so() -> None:
    result = {**SWITCHED, "replicas": [replica(OTHER, following=False, excused=True)]}
    assert states(result, OTHER)[0] == ("down", 0.0)


# ---- the picture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", [WIDE, NARROW], ids=lambda style: style.name)
@pytest.mark.parametrize("kind", TRIED)
def test_everything_is_inside_the_picture(kind: str, style: Style) -> None:
    picture = draw(traced(EVERY_KIND[kind]), style)
    bars = [each for row in picture.rows for each in row.bars]
    assert bars
    for each in bars:
        assert style.names_width <= each.x <= each.x + each.width <= style.width
    for panel in picture.panels:
        assert panel.width > 20
        assert all(panel.x <= tick.x <= panel.x + panel.width for tick in panel.ticks)
        assert all(b.x - a.x > 40 for a, b in pairwise(panel.ticks))
    for one, other in pairwise(picture.panels):
        assert one.x + one.width < other.x
        assert one.end_ms == other.start_ms
    for band in picture.bands:
        assert style.names_width <= band.x <= band.x + band.width <= style.width


def test_the_second_that_counts_gets_the_room() -> None:
    """The write stop is a sixtieth of the run, and more than a third of the picture."""
    picture = draw(traced(SWITCHED), WIDE)
    assert [panel.close_up for panel in picture.panels] == [False, True, False]
    stop = next(band for band in picture.bands if band.kind == "stop")
    assert SWITCHED["write_gap_ms"] / SWITCHED["timeline"][-1]["at_ms"] < 1 / 60
    assert stop.width > WIDE.width / 3
    assert stop.label == "writes stood still: 170 ms"


def test_a_short_run_needs_no_close_up() -> None:
    assert len(draw(traced(GIVEN_BACK), WIDE).panels) <= 2


def test_the_legend_has_what_is_shown() -> None:
    shown = {each.state for row in draw(traced(PLAIN), WIDE).rows if row.kind != "program" for each in row.bars}
    assert {item.state for item in draw(traced(PLAIN), WIDE).legend} == shown


def test_names_are_short_as_long_as_they_differ() -> None:
    nodes = ["a1.x.example.com:6379", "a2.x.example.com:6379", "a2.x.example.com:26379", "[2001:db8::1]:6379"]
    assert list(short_names(nodes).values()) == ["a1:6379", "a2:6379", "a2:26379", "[2001:db8::1]:6379"]
    same = ["redis.eu.example.com:6379", "redis.us.example.com:6379"]
    assert list(short_names(same).values()) == same
    assert list(short_names([OLD, NEW]).values()) == [OLD, NEW]
    assert shorten("redis-production-node-17:6379", 16) == "redis…de-17:6379"


@pytest.mark.parametrize(("ms", "text"), [(0, "0"), (-9630.0, "\u22129.63 s"), (1.94, "+1.9 ms"), (0.01, "0")])
def test_moments(ms: float, text: str) -> None:
    assert moment(ms) == text


# ---- messages and states ---------------------------------------------------------------------------------------------


def test_messages_of_a_fenced_switch_in_their_order() -> None:
    assert lines(SWITCHED) == [
        "this run → replica: CONFIG SET replica-priority 1000000100",
        "this run → master before: CLIENT PAUSE … WRITE",
        "master before → clients: writes wait",
        "master after → this run: has applied every write",
        "this run → master before: REPLICAOF, and the fence is lifted",
        "master before → clients: READONLY: look for the master",
        "this run → Sentinel, leads: SENTINEL FAILOVER",
        "Sentinel, leads: begins the failover",
        "Sentinel, leads: leads it",
        f"Sentinel, leads: selects {NEW}",
        "Sentinel, leads → master after: SLAVEOF NO ONE",
        "master after → Sentinel, leads: INFO: role master",
        "master after → this run: ROLE: master",
        "Sentinel, leads → replica: SLAVEOF the new master",
        f"Sentinel, leads → Sentinel {SECOND}: the new master's address",
        f"Sentinel, leads → Sentinel {THIRD}: the new master's address",
        "Sentinel, leads → clients: every Sentinel names the new master",
        "this run → master before: CONFIG REWRITE, CLIENT KILL",
        "master before → clients: connections closed",
        "this run → replica: CONFIG SET replica-priority 100",
        "replica → Sentinel, leads: follows, link up",
        "Sentinel, leads: the failover is over",
        "this run: every replica follows",
    ]


def test_the_old_fence_has_its_own_words() -> None:
    told = lines({**SWITCHED, "plan": plan(fence="min_replicas")})
    assert "this run → master before: CONFIG SET min-replicas-to-write" in told
    assert "master before → clients: writes are refused" in told


def test_a_failover_that_was_given_up() -> None:
    told = lines(GIVEN_BACK)
    assert any(line.startswith("Sentinel, leads → this run: refused: ") for line in told)
    assert told[-1] == "this run → master before: REPLICAOF NO ONE: the master again"
    assert lines(ABORTED)[-2:] == ["this run → master before: CLIENT UNPAUSE", "master before → clients: writes go on"]


def test_sentinels_that_demote_the_old_master_themselves() -> None:
    assert f"Sentinel {SECOND} → master before: SLAVEOF the new master" in lines(PLAIN)


def test_up_again_is_only_said_of_what_was_down() -> None:
    up = timeline(f"""
        1 | program | trigger | Sentinel {LEADER} leads the failover
        2 | sentinel {LEADER} | -sdown | master orders 192.0.2.21 6379
        3 | sentinel {LEADER} | +sdown | slave {OTHER} 192.0.2.23 6379 @ orders 192.0.2.21 6379
        4 | sentinel {LEADER} | -sdown | slave {OTHER} 192.0.2.23 6379 @ orders 192.0.2.21 6379
    """)
    assert lines({**SWITCHED, "timeline": up})[1:] == [
        f"Sentinel, leads: does not reach {OTHER}",
        f"Sentinel, leads: reaches again {OTHER}",
    ]


def many(replicas: int, sentinels: int) -> Result:
    """A switch with many replicas and Sentinels."""
    more = [f"192.0.2.{30 + number}:6379" for number in range(replicas)]
    events = [
        {"at_ms": 9879.0, "who": "program", "what": "steered", "detail": f"{it}: replica-priority 7"} for it in more
    ]
    for number in range(sentinels):
        detail = "sentinel e3654ffcdf8c566858a409a05a00e8e99c0d39c8 192.0.2.12 26379 @ orders 192.0.2.21 6379"
        who = f"sentinel 192.0.2.{60 + number}:26379"
        events.append({"at_ms": 9879.1, "who": who, "what": "+config-update-from", "detail": detail})
    return {**SWITCHED, "timeline": [*SWITCHED["timeline"], *events], "replicas": [replica(it) for it in more]}


def test_many_servers_share_columns() -> None:
    conversation = said(many(9, 7))
    assert len(conversation.participants) <= 9
    assert [it.name for it in conversation.participants if it.key in ("replicas", "Sentinels")] == ["10 more", "9 more"]
    merged = [message.full_text for message in conversation.messages if message.times > 1]
    assert "CONFIG SET replica-priority 7 (9 times)" in merged


def test_a_long_conversation_is_cut_and_says_so() -> None:
    noise = [
        {"at_ms": float(number), "who": "program", "what": "moment missed", "detail": f"number {number}"}
        for number in range(100)
    ]
    conversation = said({**SWITCHED, "timeline": noise + SWITCHED["timeline"]})
    assert len(conversation.messages) == MOST_MESSAGES
    assert conversation.left_out == 100 + len(lines(SWITCHED)) - MOST_MESSAGES


@pytest.mark.parametrize("kind", TRIED)
def test_every_message_is_inside_the_diagram(kind: str) -> None:
    diagram = draw_conversation(said(EVERY_KIND[kind]))
    places = [column.x for column in diagram.columns]
    assert places == sorted(places)
    for arrow in diagram.arrows:
        assert 0 <= min(arrow.x, arrow.end_x) <= max(arrow.x, arrow.end_x) <= WIDTH
        assert arrow.y < diagram.height
        if arrow.kind != NOTE:
            assert arrow.x in places
            assert arrow.end_x in places
    heights = [arrow.y for arrow in diagram.arrows]
    assert all(below - above >= 20 for above, below in pairwise(heights))


def test_the_course_of_a_switch() -> None:
    gone = course(read_run(SWITCHED), traced(SWITCHED))
    assert [state.key for state in gone.outer_states] == ["Ready", "ReadyAgain"]
    assert [state.key for state in gone.inner_states] == ["WritesWait", "Demoted", "Triggered", "Promoted"]
    assert gone.promoting_ms == pytest.approx(SWITCHED["write_gap_ms"] + SWITCHED["agree_ms"], abs=0.2)
    assert gone.steps[-1].source == "Promoting"
    assert gone.steps[-1].text == "after 224 ms"


def test_the_course_ends_where_the_run_did() -> None:
    ends = {kind: course(read_run(EVERY_KIND[kind]), traced(EVERY_KIND[kind])).states[-1] for kind in TRIED}
    assert {kind: (state.key, state.title) for kind, state in ends.items()} == {
        "switched": ("ReadyAgain", "Ready"),
        "plain": ("ReadyAgain", "Ready"),
        "joined": ("ReadyAgain", "Ready"),
        "incomplete": ("ReadyAgain", "Ready, work left"),
        "aborted": ("NotMoved", "Not moved"),
        "given_back": ("NotMoved", "Not moved"),
        "in_doubt": ("NotKnown", "Not known"),
    }
