# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where everything of the timeline stands in its picture.

The milliseconds that count are a hundredth of a run: the axis has up to three panels, before, close up and after, each with
a scale of its own. Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import STATES, Lane, Trace
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_words import duration

CHARACTER_PX = 6.6
"""The width of an average character at 11 px, in a font that is rather wide."""

_STEPS_MS = tuple(base * 10.0**power for power in range(-1, 7) for base in (1, 2, 5))


@dataclass(frozen=True)
class Style:
    """The measures of one variant: beside each lane its name, or above it where the page is narrow."""

    name: str
    width: int
    names_width: int
    row_height: int
    bar_height: int
    outer_panel: float
    longest_name: int

    @property
    def names_above(self) -> bool:
        return self.names_width == 0


WIDE = Style("wide", 960, 178, 34, 22, 0.17, 26)
NARROW = Style("narrow", 336, 0, 44, 22, 0.13, 30)


@dataclass(frozen=True)
class Bar:
    """One state of a lane, in one panel."""

    x: float
    width: float
    state: str
    label: str
    title: str

    @property
    def label_width(self) -> float:
        """The room that the label takes, with a little around it."""
        return min(self.width, len(self.label) * CHARACTER_PX + 4)


@dataclass(frozen=True)
class Row:
    """One lane."""

    y: float
    kind: str
    role: str
    name: str
    full_name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Tick:
    """A moment on the axis."""

    x: float
    label_x: float
    label: str


@dataclass(frozen=True)
class Panel:
    """A stretch of time with a scale of its own."""

    x: float
    width: float
    start_ms: float
    end_ms: float
    close_up: bool
    caption: str
    caption_x: float
    ticks: tuple[Tick, ...]

    def at(self, ms: float) -> float:
        inside_ms = min(max(ms, self.start_ms), self.end_ms)
        return self.x + self.width * (inside_ms - self.start_ms) / (self.end_ms - self.start_ms)


@dataclass(frozen=True)
class Stop:
    """The stretch in which writes stood still, marked over all lanes and named above them."""

    x: float
    width: float
    y: float
    label: str


@dataclass(frozen=True)
class Flag:
    """A moment that has a name: a line through all lanes, and at its upper end, to its right, the name."""

    x: float
    y: float
    label: str
    length_px: float

    @property
    def end_x(self) -> float:
        return self.x + FLAG_GAP + self.length_px


@dataclass(frozen=True)
class Legend:
    """What a colour and a pattern stand for."""

    state: str
    label: str
    meaning: str


@dataclass(frozen=True)
class Picture:
    """The timeline, ready to be drawn."""

    style: Style
    height: float
    lanes_top: float
    lanes_bottom: float
    panels: tuple[Panel, ...]
    rows: tuple[Row, ...]
    stop: Stop | None
    flags: tuple[Flag, ...]
    legend: tuple[Legend, ...]


MINUS = "\N{MINUS SIGN}"
PANEL_GAP = 14.0
STOP_ROW = 24.0
FLAG_ROW = 15.0
FLAG_GAP = 4.0
CAPTION_ROW = 18.0
AXIS_ROW = 24.0


def draw(trace: Trace, style: Style) -> Picture:
    """Give everything its place."""
    panels = _panels(trace, style, 0.0)
    spare, sticks_out = 0.0, 1.0
    while sticks_out > 0 and spare < style.width / 3:
        # The name of the last moment needs room, too.
        sticks_out = max((flag.end_x for flag in _flags(trace, panels, 0.0)), default=0.0) - style.width
        if sticks_out > 0:
            spare += sticks_out + 1
            panels = _panels(trace, style, spare)
    stop = _stop(trace, panels, 6.0)
    flags = _flags(trace, panels, 6.0 + (STOP_ROW if stop else 0.0))
    lanes_top = max((flag.y + FLAG_ROW for flag in flags), default=6.0) + 6
    names = short_names(lane.address for lane in trace.lanes)
    rows = tuple(
        _row(lane, names, panels, style, lanes_top + style.row_height * number)
        for number, lane in enumerate(trace.lanes)
    )
    lanes_bottom = lanes_top + style.row_height * len(rows)
    used = {segment.state for lane in trace.lanes for segment in lane.segments}
    return Picture(
        style=style,
        height=lanes_bottom + AXIS_ROW + (CAPTION_ROW if len(panels) > 1 else 0),
        lanes_top=lanes_top,
        lanes_bottom=lanes_bottom,
        panels=panels,
        rows=rows,
        stop=stop,
        flags=flags,
        legend=tuple(Legend(state, *texts) for state, texts in STATES.items() if state in used),
    )


def relative(ms: float) -> str:
    """A moment, seen from the one that counts."""
    if ms == 0:
        return "0"
    sign = "+" if ms > 0 else MINUS
    return f"{sign}{abs(ms) / 1000:g} s" if abs(ms) >= 1000 else f"{sign}{abs(ms):g} ms"


def moment(ms: float) -> str:
    """The same for a moment that is not a round one."""
    sign = "+" if ms > 0 else MINUS
    return f"{sign}{duration(abs(ms))}" if abs(ms) >= 0.05 else "0"


def short_names(addresses: Iterable[str]) -> dict[str, str]:
    """Each address without its domain, as long as no two hosts get the same name by that."""
    wanted = unique(addresses)
    hosts = {address: address.rpartition(":")[0] for address in wanted}
    labels = {host: host.split(".")[0] if host[:1].isalpha() else host for host in hosts.values()}
    if len(set(labels.values())) < len(labels):
        return {address: address for address in wanted}
    return {address: f"{labels[host]}:{address.rpartition(':')[2]}" for address, host in hosts.items()}


def unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def shorten(name: str, longest: int) -> str:
    """A name that fits: of its beginning a little, of its end more, where hosts and ports differ."""
    if len(name) <= longest:
        return name
    tail = longest * 2 // 3
    return f"{name[: max(0, longest - tail - 1)]}…{name[-tail:]}"


def _panels(trace: Trace, style: Style, spare: float) -> tuple[Panel, ...]:
    start_ms, end_ms = trace.focus_ms
    if end_ms <= start_ms:
        end_ms = start_ms + 1.0
    last_ms = max(trace.end_ms, end_ms)
    length_ms = end_ms - start_ms
    # What is hardly longer than nothing needs no panel of its own.
    if start_ms < length_ms * 0.15:
        start_ms = 0.0
    if last_ms - end_ms < length_ms * 0.15:
        end_ms = last_ms
    stretches = [
        (first_ms, until_ms)
        for first_ms, until_ms in ((0.0, start_ms), (start_ms, end_ms), (end_ms, last_ms))
        if until_ms > first_ms
    ]
    room = style.width - spare - style.names_width - 2 - PANEL_GAP * (len(stretches) - 1)
    outer = round(room * style.outer_panel)
    panels, x = [], float(style.names_width)
    for first_ms, until_ms in stretches:
        close_up = first_ms == start_ms
        width = room - outer * (len(stretches) - 1) if close_up else float(outer)
        first = x == style.names_width
        caption = _caption(until_ms - first_ms, close_up, first, style) if len(stretches) > 1 else ""
        ticks = _ticks(first_ms, until_ms, x, width, trace.zero_ms)
        half = len(caption) * CHARACTER_PX / 2
        caption_x = min(max(x + width / 2, half), style.width - half)
        panels.append(Panel(x, width, first_ms, until_ms, close_up, caption, caption_x, ticks))
        x += width + PANEL_GAP
    return tuple(panels)


def _caption(length_ms: float, close_up: bool, first: bool, style: Style) -> str:
    if close_up:
        return f"close up: {duration(length_ms)}"
    if style.names_above:
        return duration(length_ms)
    return f"{duration(length_ms)} before" if first else f"{duration(length_ms)} after"


def _ticks(start_ms: float, end_ms: float, x: float, width: float, zero_ms: float) -> tuple[Tick, ...]:
    scale = width / (end_ms - start_ms)
    step_ms = next((step for step in _STEPS_MS if step * scale >= 62), _STEPS_MS[-1])
    first = -int((zero_ms - start_ms) // step_ms)
    ticks = []
    for number in range(first, first + 40):
        ms = zero_ms + number * step_ms
        place = x + (ms - start_ms) * scale
        # At the very edge a label would run into the next panel's.
        if ms > end_ms or place > x + width - 16:
            break
        if place >= x + 12 or number == 0:
            ticks.append(Tick(place, max(place, x + 4), relative(number * step_ms)))
    return tuple(ticks)


def _row(lane: Lane, names: Mapping[str, str], panels: tuple[Panel, ...], style: Style, y: float) -> Row:
    bars = [
        _bar(lane, panel, segment.state, max(segment.start_ms, panel.start_ms), min(segment.end_ms, panel.end_ms))
        for panel in panels
        for segment in lane.segments
        if segment.end_ms > panel.start_ms and segment.start_ms < panel.end_ms
    ]
    name = shorten(names.get(lane.address, "this run"), style.longest_name)
    return Row(y, lane.kind, lane.role, name, lane.address or name, tuple(bars))


def _bar(lane: Lane, panel: Panel, state: str, start_ms: float, end_ms: float) -> Bar:
    x = panel.at(start_ms)
    width = panel.at(end_ms) - x
    label = state if lane.kind == "program" else STATES[state][0]
    shown = label if len(label) * CHARACTER_PX + 8 <= width else ""
    return Bar(x, max(width, 1.0), _look(lane, state), shown, f"{label}, {duration(end_ms - start_ms)}")


def _look(lane: Lane, state: str) -> str:
    """Which colour a state has. Steps that follow each other differ, whatever they are called."""
    if lane.kind != "program":
        return state
    felt = [segment.state for segment in lane.segments if segment.state not in _QUIET_STAGES]
    if state in _QUIET_STAGES:
        return "stage"
    return "step-odd" if felt.index(state) % 2 else "step"


_QUIET_STAGES = ("prepare", "settle", "join", "finish")


def _close_up(panels: tuple[Panel, ...]) -> Panel:
    return next(panel for panel in panels if panel.close_up)


def _stop(trace: Trace, panels: tuple[Panel, ...], y: float) -> Stop | None:
    panel = _close_up(panels)
    shown = [stop for stop in trace.stops if stop.start_ms >= panel.start_ms]
    if not shown:
        return None
    start_ms, end_ms = shown[-1].start_ms, shown[-1].end_ms
    x = panel.at(start_ms)
    if end_ms is None:
        return Stop(x, panel.at(panel.end_ms) - x, y, "writes stopped")
    return Stop(x, panel.at(end_ms) - x, y, f"writes stood still: {duration(end_ms - start_ms)}")


def _flags(trace: Trace, panels: tuple[Panel, ...], top: float) -> tuple[Flag, ...]:
    """Names that go down like stairs: no name meets another, and no line of a moment goes through a name."""
    panel = _close_up(panels)
    flags: list[Flag] = []
    row, taken_to = -1, 0.0
    for mark in trace.marks:
        if not panel.start_ms <= mark.at_ms <= panel.end_ms:
            continue
        x = panel.at(mark.at_ms)
        row = 0 if x > taken_to + FLAG_GAP else row + 1
        label = f"{mark.label} {moment(mark.at_ms - trace.zero_ms)}"
        flags.append(Flag(x, top + FLAG_ROW * row, label, len(label) * CHARACTER_PX))
        taken_to = max(taken_to, flags[-1].end_x)
    return tuple(flags)
