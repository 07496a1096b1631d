# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each node and each Sentinel was, over time, told by the events of a run.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    AGREE,
    AGREED,
    ANNOUNCE,
    ANNOUNCE_FAILED,
    ANNOUNCED,
    CATCH_UP,
    DEMOTE,
    DEMOTED,
    DEMOTION_IN_DOUBT,
    DISCONNECT,
    DISCONNECTED,
    DISCOVER,
    EVENTS_LOST,
    FENCE,
    FENCE_LIFTED,
    FENCE_RAISED,
    FINISH,
    FOLLOW,
    FOLLOWING,
    GOES_ON,
    JOIN,
    LATE_WRITES,
    LOCK,
    MOVED_ON,
    NOT_SETTLED,
    PLAN,
    PRIORITY_RAISED,
    PRIORITY_RESTORED,
    PROBE,
    PROMOTE,
    PROMOTED,
    RECHECK,
    REPAIR,
    REPAIRED,
    RIVAL_SEEN,
    ROLLED_BACK,
    SETTLE,
    SETTLED,
    STEER,
    STEP_BEGINS,
    STRAY_DEMOTED,
    TEACH,
    TRIGGER,
    TRIGGER_IN_DOUBT,
    TRIGGER_NOT_REACHED,
    TRIGGER_REFUSED,
    TRIGGERED,
    WAITING,
    Step,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import Entry, Run

MASTER = "master"
STOPPED = "stopped"
REPLICA = "replica"
PROMOTING = "promoting"
REDIRECTED = "redirected"
STRAY = "stray"
DOWN = "down"
DOUBT = "doubt"
NAMES_OLD = "names_old"
NAMES_NEW = "names_new"

STATES: dict[str, tuple[str, str]] = {
    MASTER: ("master", "takes writes"),
    STOPPED: ("writes stopped", "a master that acknowledges no writes"),
    REPLICA: ("replica", ""),
    PROMOTING: ("promoting", "a replica that is to become the master"),
    REDIRECTED: ("redirected", "a replica that was sent to the new master, until Sentinel saw it follow"),
    STRAY: ("still a master", "a second master: what it acknowledges is lost"),
    DOWN: ("down", "it could not be reached"),
    DOUBT: ("not known", "the connection was lost"),
    NAMES_OLD: ("names old", "tells clients the address of the old master"),
    NAMES_NEW: ("names new", "tells clients the address of the new master"),
}
"""State -> its short name, and what it means."""


def spoken(step: Step) -> str:
    """The name of a step, for a person."""
    return step.name.replace("_", " ")


STAGES: dict[str, str] = {
    **{step.name: "prepare" for step in (DISCOVER, PLAN, LOCK, REPAIR, STEER, PROBE, RECHECK, TEACH)},
    **{step.name: spoken(step) for step in (FENCE, CATCH_UP, DEMOTE, TRIGGER, PROMOTE, ANNOUNCE, AGREE, JOIN, FINISH)},
    **{step.name: "settle" for step in (FOLLOW, DISCONNECT, SETTLE)},
}
"""Step -> the stage that the picture shows: what clients feel step by step, the rest together."""


@dataclass(frozen=True)
class Segment:
    """A lane from one moment to another."""

    state: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True)
class Lane:
    """One server over time; states of the program's own lane are its stages.

    Attributes:
        kind: `program`, `node` or `sentinel`.
        address: `host:port`; empty for the program.
        role: What it was in this run.
    """

    kind: str
    address: str
    role: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class WriteStop:
    """Writes stood still; without an end, the run did not see it."""

    start_ms: float
    end_ms: float | None


@dataclass(frozen=True)
class Mark:
    """A moment that has a name."""

    at_ms: float
    label: str


@dataclass(frozen=True)
class Trace:
    """A run over time.

    Attributes:
        zero_ms: The moment that counts: when writes stopped, or when Sentinel was told to fail over.
        focus_ms: The stretch around it that is worth a close look.
    """

    lanes: tuple[Lane, ...]
    stops: tuple[WriteStop, ...]
    marks: tuple[Mark, ...]
    zero_ms: float
    zero_means: str
    focus_ms: tuple[float, float]
    promoted_ms: float | None
    agreed_ms: float | None
    end_ms: float

    @property
    def two_masters_ms(self) -> float:
        """How long a second master took writes."""
        segments = (segment for lane in self.lanes for segment in lane.segments if segment.state == STRAY)
        return sum(segment.end_ms - segment.start_ms for segment in segments)

    def lane(self, address: str) -> Lane | None:
        return next((lane for lane in self.lanes if lane.address == address), None)


@dataclass
class _Track:
    """A lane while it is drawn."""

    kind: str
    role: str
    changes: list[tuple[float, str]] = field(default_factory=list)
    before_down: str = ""

    @property
    def state(self) -> str:
        return self.changes[-1][1] if self.changes else ""

    def turn(self, at_ms: float, state: str) -> None:
        if state != self.state:
            self.changes.append((at_ms, state))

    def segments(self, end_ms: float) -> tuple[Segment, ...]:
        ends = [at_ms for at_ms, _state in self.changes[1:]] + [end_ms]
        return tuple(
            Segment(state, start_ms, stop_ms)
            for (start_ms, state), stop_ms in zip(self.changes, ends)
            if stop_ms > start_ms
        )


def trace(run: Run) -> Trace | None:
    """Follow the events; nothing, where nothing was tried."""
    if not any(_tells_of_a_failover(it) for it in run.timeline):
        return None
    return _Walk(run).walk()


_TRIED = (FENCE_RAISED, TRIGGERED, TRIGGER_IN_DOUBT, TRIGGER_REFUSED, DEMOTED, DEMOTION_IN_DOUBT, PROMOTED, MOVED_ON)
_TOLD_OF = ("+try-failover", "+promoted-slave", "+switch-master")


def _tells_of_a_failover(it: Entry) -> bool:
    if it.sentinel:
        return it.kind in _TOLD_OF
    return it.kind in _TRIED or (it.kind == STEP_BEGINS and it.step == JOIN.name)


class _Walk:
    """One pass over the entries of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._nodes = _node_tracks(run)
        self._sentinels = _sentinel_tracks(run)
        self._program = _Track("program", "")
        # The program looks every few milliseconds, Sentinel once a second: where both tell, the program is right.
        self._seen_promoted = bool(run.said(PROMOTED))
        self._seen_triggered = bool(run.said(TRIGGERED))
        self._stops: list[WriteStop] = []
        self._marks: dict[str, float] = {}
        self._fenced_ms: float | None = None
        self._triggered_ms: float | None = None
        self._promoted_ms: float | None = None
        self._agreed_ms: float | None = None
        self._calm_again_ms: float | None = None

    def walk(self) -> Trace:
        for it in self._run.timeline:
            if it.sentinel:
                self._hear(it)
            elif it.kind in DRAWN:
                DRAWN[it.kind](self, it)
        end_ms = self._run.timeline[-1].at_ms
        if self._promoted_ms is not None and self._run.write_gap_ms is not None and self._stop_is_open:
            self._end_stop(self._stops[-1].start_ms + self._run.write_gap_ms)
        zero_ms, means = self._zero()
        return Trace(
            lanes=self._lanes(end_ms),
            stops=tuple(self._stops),
            marks=tuple(Mark(at_ms, label) for label, at_ms in sorted(self._marks.items(), key=lambda it: it[1])),
            zero_ms=zero_ms,
            zero_means=means,
            focus_ms=self._focus(zero_ms, end_ms),
            promoted_ms=self._promoted_ms,
            agreed_ms=self._agreed_ms,
            end_ms=end_ms,
        )

    # What the program says

    def enter(self, it: Entry) -> None:
        if it.step in STAGES:
            self._program.turn(it.at_ms, STAGES[it.step])
        if it.step == DEMOTE.name and self._fenced_ms is not None:
            self._mark(it.at_ms, spoken(CATCH_UP))

    def fence(self, it: Entry) -> None:
        self._fenced_ms = it.at_ms
        self._stops.append(WriteStop(it.at_ms, None))
        _turn(self._nodes.get(it.subject), it.at_ms, STOPPED)
        self._mark(it.at_ms, spoken(FENCE))

    def lift(self, it: Entry) -> None:
        self._write_again(it, "writes go on")

    def roll_back(self, it: Entry) -> None:
        self._write_again(it, "rolled back")
        self._end_promotion(it.at_ms)

    def _write_again(self, it: Entry, label: str) -> None:
        self._calm_again_ms = it.at_ms
        self._end_stop(it.at_ms)
        _turn(self._nodes.get(it.subject), it.at_ms, MASTER)
        self._mark(it.at_ms, label)

    def demote(self, it: Entry) -> None:
        _turn(self._nodes.get(it.subject), it.at_ms, REPLICA)
        self._mark(it.at_ms, spoken(DEMOTE))

    def doubt(self, it: Entry) -> None:
        _turn(self._nodes.get(it.subject), it.at_ms, DOUBT)
        self._mark(it.at_ms, "in doubt")

    def trigger(self, it: Entry) -> None:
        self._triggered_ms = it.at_ms
        self._mark(it.at_ms, spoken(TRIGGER))
        candidate = self._nodes.get(self._run.plan.new_master or self._run.new_master)
        if candidate is not None and candidate.state != MASTER:
            candidate.turn(it.at_ms, PROMOTING)

    def promote(self, it: Entry) -> None:
        self._promoted(it.at_ms, it.subject)

    def announce(self, it: Entry) -> None:
        _turn(self._sentinels.get(it.subject), it.at_ms, NAMES_NEW)
        self._mark(it.at_ms, spoken(ANNOUNCE))

    def agree(self, it: Entry) -> None:
        self._agreed_ms = it.at_ms
        self._end_stop(it.at_ms)
        self._mark(it.at_ms, spoken(AGREE))
        for sentinel in self._sentinels.values():
            sentinel.turn(it.at_ms, NAMES_NEW)

    def redirect(self, it: Entry) -> None:
        _turn(self._nodes.get(it.subject), it.at_ms, REDIRECTED)

    def stray_demoted(self, it: Entry) -> None:
        _turn(self._nodes.get(it.subject), it.at_ms, REPLICA)

    def settle(self, it: Entry) -> None:
        for replica in self._run.replicas:
            node = self._nodes.get(replica.address)
            if node is not None:
                node.turn(it.at_ms, REPLICA if replica.following else node.state)

    def _mark(self, at_ms: float, label: str) -> None:
        self._marks.setdefault(label, at_ms)

    def _promoted(self, at_ms: float, address: str) -> None:
        if self._promoted_ms is None:
            self._promoted_ms = at_ms
        self._mark(at_ms, spoken(PROMOTE))
        winner = address if address in self._nodes else self._run.new_master
        for name, node in self._nodes.items():
            if name == winner:
                node.turn(at_ms, MASTER)
            elif node.state == PROMOTING:
                node.turn(at_ms, REPLICA)
        old = self._nodes.get(self._run.old_master)
        if old is not None and old.state == MASTER and self._run.old_master != winner:
            old.turn(at_ms, REPLICA if self._run.strategy == "coordinated" else STRAY)

    def _end_promotion(self, at_ms: float) -> None:
        for node in self._nodes.values():
            if node.state == PROMOTING:
                node.turn(at_ms, REPLICA)

    @property
    def _stop_is_open(self) -> bool:
        return bool(self._stops) and self._stops[-1].end_ms is None

    def _end_stop(self, at_ms: float) -> None:
        if self._stop_is_open:
            self._stops[-1] = WriteStop(self._stops[-1].start_ms, at_ms)

    # What the Sentinels say

    def _hear(self, it: Entry) -> None:
        node = self._nodes.get(it.subject)
        if it.kind == "+try-failover" and not self._seen_triggered and self._triggered_ms is None:
            self._triggered_ms = it.at_ms
            self._mark(it.at_ms, spoken(TRIGGER))
        elif it.kind in ("+promoted-slave", "+switch-master"):
            self._hear_of_promotion(it, node)
        elif it.kind in _NODE_STATES:
            _turn(node, it.at_ms, _NODE_STATES[it.kind])
        elif it.kind.startswith("-failover-abort"):
            self._end_promotion(it.at_ms)
        elif it.kind in ("+sdown", "-sdown"):
            self._down(it, node or self._sentinels.get(it.subject))

    def _hear_of_promotion(self, it: Entry, node: _Track | None) -> None:
        self._sentinels[it.sentinel].turn(it.at_ms, NAMES_NEW)
        if not self._seen_promoted and self._promoted_ms is None and node is not None:
            self._promoted(it.at_ms, it.subject)

    @staticmethod
    def _down(it: Entry, track: _Track | None) -> None:
        if track is None:
            return
        if it.kind == "+sdown" and track.state not in (DOWN, STOPPED, MASTER):
            track.before_down = track.state
            track.turn(it.at_ms, DOWN)
        elif it.kind == "-sdown" and track.state == DOWN and track.before_down:
            track.turn(it.at_ms, track.before_down)

    # Together

    def _zero(self) -> tuple[float, str]:
        if self._fenced_ms is not None:
            return self._fenced_ms, "writes stop"
        if self._triggered_ms is not None:
            return self._triggered_ms, "Sentinel is told to fail over"
        return self._run.timeline[0].at_ms, "the run begins"

    def _focus(self, zero_ms: float, end_ms: float) -> tuple[float, float]:
        in_doubt_ms = self._marks.get("in doubt")
        moments = [self._promoted_ms, self._agreed_ms, self._calm_again_ms, in_doubt_ms]
        later = [at_ms for at_ms in moments if at_ms is not None and at_ms > zero_ms]
        last_ms = max(later) if later else end_ms
        margin_ms = max(0.4, (last_ms - zero_ms) * 0.08)
        return max(0.0, zero_ms - margin_ms), min(end_ms, last_ms + margin_ms)

    def _lanes(self, end_ms: float) -> tuple[Lane, ...]:
        tracks = {"": self._program, **self._nodes, **self._sentinels}
        lanes = [
            Lane(track.kind, address, track.role, track.segments(end_ms))
            for address, track in tracks.items()
            if track.changes
        ]
        return tuple(lanes)


_NODE_STATES = {
    "+slave-reconf-sent": REDIRECTED,
    "+slave-reconf-sent-be": REDIRECTED,
    "+slave-reconf-done": REPLICA,
    "+convert-to-slave": REPLICA,
    "+fix-slave-config": REPLICA,
}
"""Event of a Sentinel about a node -> what the node is then."""

DRAWN: dict[str, Callable[[_Walk, Entry], None]] = {
    STEP_BEGINS: _Walk.enter,
    FENCE_RAISED: _Walk.fence,
    FENCE_LIFTED: _Walk.lift,
    LATE_WRITES: _Walk.demote,
    DEMOTED: _Walk.demote,
    DEMOTION_IN_DOUBT: _Walk.doubt,
    ROLLED_BACK: _Walk.roll_back,
    TRIGGERED: _Walk.trigger,
    TRIGGER_IN_DOUBT: _Walk.trigger,
    PROMOTED: _Walk.promote,
    MOVED_ON: _Walk.promote,
    ANNOUNCED: _Walk.announce,
    STRAY_DEMOTED: _Walk.stray_demoted,
    AGREED: _Walk.agree,
    FOLLOWING: _Walk.redirect,
    SETTLED: _Walk.settle,
    NOT_SETTLED: _Walk.settle,
}
"""Kind of an entry of the program -> what it does to the lanes."""

NOT_DRAWN: dict[str, str] = {
    REPAIRED: "it comes before the move and changes no role",
    PRIORITY_RAISED: "a priority is no role",
    PRIORITY_RESTORED: "a priority is no role",
    TRIGGER_REFUSED: "nothing has changed by it",
    TRIGGER_NOT_REACHED: "nothing has changed by it",
    RIVAL_SEEN: "its own events tell what it does",
    ANNOUNCE_FAILED: "it names whom it named before",
    DISCONNECTED: "clients have no lane",
    GOES_ON: "the steps that follow are drawn",
    EVENTS_LOST: "silence is no state",
    WAITING: "nothing changes while it waits",
}
"""Kind of an entry of the program -> why the lanes do not show it."""


def _turn(track: _Track | None, at_ms: float, state: str) -> None:
    if track is not None:
        track.turn(at_ms, state)


def _node_tracks(run: Run) -> dict[str, _Track]:
    excused = {replica.address for replica in run.replicas if replica.excused}
    heir = run.plan.new_master or run.new_master
    tracks: dict[str, _Track] = {}
    others = sorted(
        {
            *run.plan.siblings,
            *run.plan.lagging,
            *(replica.address for replica in run.replicas),
            *(it.subject for it in run.timeline if it.sentinel and it.kind in ("+selected-slave", "+promoted-slave")),
        }
    )
    for address in (run.old_master, heir, run.new_master, *others):
        if not address or address in tracks:
            continue
        if address == run.old_master:
            role = "master before"
            state = REPLICA if run.plan.action == "finish" else MASTER
        else:
            moved_here = run.moved and address == run.new_master
            role = "master after" if moved_here else "meant to be master" if address == heir else "replica"
            state = REPLICA
        if address in excused and not (run.moved and address == run.new_master):
            state = DOWN
        tracks[address] = _Track("node", role, [(0.0, state)])
    return tracks


def _sentinel_tracks(run: Run) -> dict[str, _Track]:
    return {
        address: _Track("sentinel", "Sentinel, leads" if address == run.leader else "Sentinel", [(0.0, NAMES_OLD)])
        for address in run.sentinels
    }
