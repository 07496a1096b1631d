# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timeline, messages and states: what they claim stands in the events, and everything stands inside its picture."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    ENTRY_KINDS,
    NOT_SETTLED,
    PRIORITY_RAISED,
    PROMOTED,
    SETTLE,
    STEER,
    STEPS,
    TRIGGER,
    TRIGGERED,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import (
    DRAWN,
    NOT_DRAWN,
    STAGES,
    Trace,
    WriteStop,
    trace,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_messages import (
    MOST_MESSAGES,
    NOTE,
    SPOKEN,
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
    IN_DOUBT,
    INCOMPLETE,
    JOINED,
    LEADER,
    NEW,
    OLD,
    OTHER,
    PLAIN,
    ROLLED_BACK_RUN,
    SECOND,
    SWITCHED,
    THIRD,
    Result,
    Script,
    plan,
    replica,
)
from unit.report_shapes import SHAPES

TRIED = (
    *("switched", "plain", "coordinated", "joined", "incomplete", "unheard", "aborted", "rolled_back", "in_doubt"),
    *("hostile", "long_names", "crowded", "late"),
)


def test_every_kind_of_entry_is_drawn_or_there_is_a_reason() -> None:
    assert set(DRAWN) | set(NOT_DRAWN) == set(ENTRY_KINDS)
    assert not set(DRAWN) & set(NOT_DRAWN)
    assert all(NOT_DRAWN.values())
    assert set(SPOKEN) == set(ENTRY_KINDS), "every kind of entry is told among the messages"


def test_every_step_belongs_to_a_stage() -> None:
    assert set(STAGES) == {step.name for step in STEPS}


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


@pytest.mark.parametrize("kind", SHAPES)
def test_only_what_was_tried_has_a_timeline(kind: str) -> None:
    assert (trace(read_run(SHAPES[kind])) is not None) is (kind in TRIED)


@pytest.mark.parametrize("kind", TRIED)
def test_lanes_have_no_holes(kind: str) -> None:
    found = traced(SHAPES[kind])
    for lane in found.lanes:
        assert lane.segments[-1].end_ms == found.end_ms
        for one, other in pairwise(lane.segments):
            assert one.end_ms == other.start_ms
            assert one.state != other.state


def test_a_fenced_switch() -> None:
    assert states(SWITCHED, OLD) == [("master", 0.0), ("stopped", 1036.4), ("replica", 1038.1)]
    assert states(SWITCHED, NEW) == [("replica", 0.0), ("promoting", 1039.3), ("master", 1040.2)]
    assert states(SWITCHED, OTHER) == [("replica", 0.0), ("redirected", 1050.1)]
    assert states(SWITCHED, LEADER) == [("names_old", 0.0), ("names_new", 1042.7)]
    assert states(SWITCHED, SECOND) == [("names_old", 0.0), ("names_new", 1047.3)]
    assert states(SWITCHED, THIRD) == [("names_old", 0.0), ("names_new", 1047.5)]
    found = traced(SWITCHED)
    assert found.stops == (WriteStop(1036.4, 1048.4),)
    assert found.stops[0].end_ms == pytest.approx(1036.4 + SWITCHED["write_gap_ms"])
    assert (found.zero_ms, found.agreed_ms) == (1036.4, 1048.4)
    assert [(mark.label, round(mark.at_ms - found.zero_ms, 1)) for mark in found.marks] == [
        ("fence", 0),
        ("catch up", 0.8),
        ("demote", 1.7),
        ("trigger", 2.9),
        ("promote", 3.8),
        ("announce", 7.0),
        ("agree", 12.0),
    ]


def test_a_sentinel_that_does_not_listen_goes_on_naming_the_old_master() -> None:
    unheard = SHAPES["unheard"]
    assert [state for state, _at_ms in states(unheard, SECOND)] == ["names_old", "names_new"]
    assert [state for state, _at_ms in states(unheard, THIRD)] == ["names_old"]
    assert traced(unheard).stops == (WriteStop(1036.4, None),)


def test_there_is_never_a_second_master_under_a_fence() -> None:
    for result in (SWITCHED, INCOMPLETE, ABORTED, ROLLED_BACK_RUN):
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
    assert traced(ABORTED).stops == (WriteStop(10057.6, 11062.6),)
    assert states(ABORTED, OTHER) == [("replica", 0.0), ("down", 6202.2)]
    assert traced(ROLLED_BACK_RUN).stops == (WriteStop(20.3, 24.0),)


def test_what_the_run_did_not_see_is_not_made_up() -> None:
    assert traced(IN_DOUBT).stops == (WriteStop(20.3, None),)
    assert traced(IN_DOUBT).promoted_ms is None


def test_another_replica_than_planned_may_win() -> None:
    other = Script().begin(0.5, TRIGGER).say(1, TRIGGERED, LEADER).say(9, PROMOTED, OTHER).result()
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
    picture = draw(traced(SHAPES[kind]), style)
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
    if picture.stop is not None:
        assert style.names_width <= picture.stop.x <= picture.stop.x + picture.stop.width <= style.width
    for flag in picture.flags:
        assert style.names_width <= flag.x <= flag.end_x <= style.width
        assert flag.y < picture.lanes_top


@pytest.mark.parametrize("style", [WIDE, NARROW], ids=lambda style: style.name)
@pytest.mark.parametrize("kind", TRIED)
def test_no_name_of_a_moment_meets_another_or_its_line(kind: str, style: Style) -> None:
    flags = draw(traced(SHAPES[kind]), style).flags
    for one, other in combinations(flags, 2):
        if one.y == other.y:
            assert one.end_x < other.x
        # The line of each begins beside its name, and goes down.
        assert not (other.y < one.y and one.x < other.x < one.end_x)


@pytest.mark.parametrize("style", [WIDE, NARROW], ids=lambda style: style.name)
def test_the_close_up_shows_milliseconds_and_each_step_of_the_move(style: Style) -> None:
    picture = draw(traced(SWITCHED), style)
    assert [flag.label for flag in picture.flags] == [
        *("fence 0", "catch up +0.8 ms", "demote +1.7 ms", "trigger +2.9 ms", "promote +3.8 ms"),
        *("announce +7.0 ms", "agree +12 ms"),
    ]
    close_up = next(panel for panel in picture.panels if panel.close_up)
    assert close_up.end_ms - close_up.start_ms < 15
    assert all(after.x - before.x > 8 for before, after in pairwise(picture.flags))


def test_the_milliseconds_that_count_get_the_room() -> None:
    """The write stop is a ninetieth of the run, and more than a third of the picture."""
    picture = draw(traced(SWITCHED), WIDE)
    assert [panel.close_up for panel in picture.panels] == [False, True, False]
    assert SWITCHED["write_gap_ms"] / SWITCHED["timeline"][-1]["at_ms"] < 1 / 90
    assert picture.stop is not None
    assert picture.stop.width > WIDE.width / 3
    assert picture.stop.label == "writes stood still: 12 ms"


def test_a_short_run_needs_no_close_up() -> None:
    assert len(draw(traced(ROLLED_BACK_RUN), WIDE).panels) <= 2


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
        "this run → replica: CONFIG SET replica-priority: not to be chosen",
        "this run → master before: CLIENT PAUSE … WRITE",
        "master before → clients: writes wait",
        "master after → this run: has applied every write",
        "this run → master before: REPLICAOF, and the fence is lifted",
        "master before → clients: READONLY: look for the master",
        "Sentinel, leads: begins the failover",
        "this run → Sentinel, leads: SENTINEL FAILOVER",
        "this run → master after: REPLICAOF NO ONE",
        "master after → this run: ROLE: master",
        "this run → Sentinel, leads: PUBLISH hello: the new master",
        "Sentinel, leads → clients: names the new master",
        f"this run → Sentinel {SECOND}: PUBLISH hello: the new master",
        f"this run → Sentinel {THIRD}: PUBLISH hello: the new master",
        "Sentinel, leads → clients: every Sentinel names the new master",
        "this run → replica: REPLICAOF the new master",
        "this run → master before: CONFIG REWRITE, CLIENT KILL",
        "master before → clients: connections closed",
        "this run → replica: CONFIG SET replica-priority: as it was",
        "master after: everybody follows it",
    ]


def test_the_old_fence_has_its_own_words() -> None:
    told = lines({**SWITCHED, "plan": plan(fence="min_replicas")})
    assert "this run → master before: CONFIG SET min-replicas-to-write" in told
    assert "master before → clients: writes are refused" in told


def test_a_failover_that_was_given_up() -> None:
    told = lines(ROLLED_BACK_RUN)
    assert any(line.startswith("Sentinel, leads → this run: refused: ") for line in told)
    assert told[-2] == "this run → master before: REPLICAOF NO ONE: the master again"
    assert lines(ABORTED)[-2:] == ["this run → master before: CLIENT UNPAUSE", "master before → clients: writes go on"]


def test_sentinels_that_demote_the_old_master_themselves() -> None:
    assert f"Sentinel {SECOND} → master before: SLAVEOF the new master" in lines(PLAIN)


def test_up_again_is_only_said_of_what_was_down() -> None:
    up = (
        Script()
        .begin(0.5, TRIGGER)
        .say(1, TRIGGERED, LEADER)
        .hear(f"""
            2 | {LEADER} | -sdown | master orders 192.0.2.21 6379
            3 | {LEADER} | +sdown | slave {OTHER} 192.0.2.23 6379 @ orders 192.0.2.21 6379
            4 | {LEADER} | -sdown | slave {OTHER} 192.0.2.23 6379 @ orders 192.0.2.21 6379
        """)
        .result()
    )
    assert lines({**SWITCHED, "timeline": up})[1:] == [
        f"Sentinel, leads: does not reach {OTHER}",
        f"Sentinel, leads: reaches again {OTHER}",
    ]


def many(replicas: int, sentinels: int) -> Result:
    """A switch with many replicas and Sentinels."""
    more = [f"192.0.2.{30 + number}:6379" for number in range(replicas)]
    script = Script().begin(1049.0, STEER)
    for address in more:
        script.say(1049.0, PRIORITY_RAISED, address)
    for number in range(sentinels):
        script.hear(f"1049.1 | 192.0.2.{60 + number}:26379 | +elected-leader | master orders 192.0.2.21 6379")
    timeline = [*SWITCHED["timeline"], *script.result()]
    return {**SWITCHED, "timeline": timeline, "replicas": [replica(it) for it in more]}


def test_many_servers_share_columns() -> None:
    conversation = said(many(9, 7))
    assert len(conversation.participants) <= 9
    assert [it.name for it in conversation.participants if it.key in ("replicas", "Sentinels")] == ["10 more", "9 more"]
    merged = [message.full_text for message in conversation.messages if message.times > 1]
    assert "CONFIG SET replica-priority: not to be chosen (9 times)" in merged


def test_a_long_conversation_is_cut_and_says_so() -> None:
    script = Script().begin(0.0, SETTLE)
    for number in range(100):
        script.say(float(number), NOT_SETTLED, OTHER, f"number {number}")
    noise = script.result()
    conversation = said({**SWITCHED, "timeline": noise + SWITCHED["timeline"]})
    assert len(conversation.messages) == MOST_MESSAGES
    assert conversation.left_out == 100 + len(lines(SWITCHED)) - MOST_MESSAGES


@pytest.mark.parametrize("kind", TRIED)
def test_every_message_is_inside_the_diagram(kind: str) -> None:
    diagram = draw_conversation(said(SHAPES[kind]))
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
    assert gone.promoting_ms == pytest.approx(SWITCHED["write_gap_ms"])
    assert gone.steps[-1].source == "Promoting"
    assert gone.steps[-1].text == "after 12 ms"


def test_the_course_ends_where_the_run_did() -> None:
    ends = {
        kind: course(read_run(SHAPES[kind]), traced(SHAPES[kind])).states[-1] for kind in TRIED if kind in EVERY_KIND
    }
    assert {kind: (state.key, state.title) for kind, state in ends.items()} == {
        "switched": ("ReadyAgain", "Ready"),
        "plain": ("ReadyAgain", "Ready"),
        "coordinated": ("ReadyAgain", "Ready"),
        "joined": ("ReadyAgain", "Ready"),
        "incomplete": ("ReadyAgain", "Ready, work left"),
        "unheard": ("ReadyAgain", "Ready, work left"),
        "aborted": ("NotMoved", "Not moved"),
        "rolled_back": ("NotMoved", "Not moved"),
        "in_doubt": ("NotKnown", "Not known"),
    }
