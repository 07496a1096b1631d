# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each node and each Sentinel was, over time, told by the events of a run.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import Happening, Run

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

STAGES = {
    "discover": "prepare",
    "plan": "prepare",
    "lock": "prepare",
    "repair": "prepare",
    "steer": "prepare",
    "probe": "prepare",
    "align": "await the moment",
    "recheck": "await the moment",
    "await_tick": "await the moment",
    "fence": "move",
    "catch_up": "move",
    "demote": "move",
    "trigger": "move",
    "promote": "move",
    "agree": "agree",
    "release": "agree",
    "settle": "settle",
    "join": "join",
}
"""Phase -> the stage that the picture shows."""


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
    by_promotion: bool


@dataclass(frozen=True)
class Trace:
    """A run over time.

    Attributes:
        zero_ms: The moment that counts: when writes stopped, or when Sentinel was told to fail over.
        focus_ms: The stretch around it that is worth a close look.
    """

    lanes: tuple[Lane, ...]
    stops: tuple[WriteStop, ...]
    zero_ms: float
    zero_means: str
    focus_ms: tuple[float, float]
    promoted_ms: float | None
    agreed_ms: float | None
    end_ms: float

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


def _tells_of_a_failover(it: Happening) -> bool:
    if it.sentinel:
        return it.what in ("+try-failover", "+promoted-slave", "+switch-master", "refused")
    return it.what == "join" or (it.what in ("fence", "trigger") and bool(it.detail))


class _Walk:
    """One pass over the events of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._nodes = _node_tracks(run)
        self._sentinels = _sentinel_tracks(run)
        self._program = _Track("program", "")
        # The program looks every few milliseconds, Sentinel once a second: where both tell, the program is right.
        self._seen_promoted = bool(run.said("promoted"))
        self._stops: list[WriteStop] = []
        self._fenced_ms: float | None = None
        self._triggered_ms: float | None = None
        self._promoted_ms: float | None = None
        self._agreed_ms: float | None = None
        self._calm_again_ms: float | None = None

    def walk(self) -> Trace:
        for it in self._run.timeline:
            if it.sentinel:
                self._hear(it)
            elif it.detail:
                self._program_says(it)
            else:
                self._program_enters(it)
        end_ms = self._run.timeline[-1].at_ms
        if self._stop_is_open:
            self._stops[-1] = WriteStop(self._stops[-1].start_ms, None, False)
        zero_ms, means = self._zero()
        return Trace(
            lanes=self._lanes(end_ms),
            stops=tuple(self._stops),
            zero_ms=zero_ms,
            zero_means=means,
            focus_ms=self._focus(zero_ms, end_ms),
            promoted_ms=self._promoted_ms,
            agreed_ms=self._agreed_ms,
            end_ms=end_ms,
        )

    # What the program says

    def _program_enters(self, it: Happening) -> None:
        if it.what in STAGES:
            self._program.turn(it.at_ms, STAGES[it.what])
        elif it.what == "settled":
            self._settle(it.at_ms)

    def _program_says(self, it: Happening) -> None:
        at_ms, old = it.at_ms, self._nodes.get(self._run.old_master)
        if it.what == "fence":
            self._fenced_ms = at_ms
            self._stops.append(WriteStop(at_ms, None, False))
            _turn(old, at_ms, STOPPED)
        elif it.what in ("unfence", "given back", "moment missed"):
            self._calm_again_ms = at_ms
            self._end_stop(at_ms, by_promotion=False)
            if it.what != "moment missed" or (old is not None and old.state == STOPPED):
                _turn(old, at_ms, MASTER)
            if it.what == "given back":
                self._end_promotion(at_ms)
        elif it.what in ("demoted", "late writes"):
            _turn(old, at_ms, REPLICA)
        elif it.what == "demotion in doubt":
            _turn(old, at_ms, DOUBT)
        elif it.what == "trigger":
            self._triggered_ms = at_ms
            heir = self._nodes.get(self._run.plan.new_master or self._run.new_master)
            if heir is not None and heir.state != MASTER:
                heir.turn(at_ms, PROMOTING)
        elif it.what == "promoted":
            self._promoted(at_ms, it.subject)
        elif it.what == "agreed":
            self._agreed_ms = at_ms
            for sentinel in self._sentinels.values():
                sentinel.turn(at_ms, NAMES_NEW)
        elif it.what == "not settled":
            self._settle(at_ms)

    def _promoted(self, at_ms: float, address: str) -> None:
        if self._promoted_ms is None:
            self._promoted_ms = at_ms
        self._end_stop(at_ms, by_promotion=True)
        winner = address if address in self._nodes else self._run.new_master
        for name, node in self._nodes.items():
            if name == winner:
                node.turn(at_ms, MASTER)
            elif node.state == PROMOTING:
                node.turn(at_ms, REPLICA)
        old = self._nodes.get(self._run.old_master)
        if old is not None and old.state == MASTER and self._run.old_master != winner:
            old.turn(at_ms, REPLICA if self._run.strategy == "coordinated" else STRAY)

    def _settle(self, at_ms: float) -> None:
        for replica in self._run.replicas:
            node = self._nodes.get(replica.address)
            if node is not None:
                node.turn(at_ms, REPLICA if replica.following else node.state)

    def _end_promotion(self, at_ms: float) -> None:
        for node in self._nodes.values():
            if node.state == PROMOTING:
                node.turn(at_ms, REPLICA)

    @property
    def _stop_is_open(self) -> bool:
        return bool(self._stops) and self._stops[-1].end_ms is None

    def _end_stop(self, at_ms: float, by_promotion: bool) -> None:
        if self._stop_is_open:
            self._stops[-1] = WriteStop(self._stops[-1].start_ms, at_ms, by_promotion)

    # What the Sentinels say

    def _hear(self, it: Happening) -> None:
        sentinel = self._sentinels[it.sentinel]
        node = self._nodes.get(it.subject)
        if it.what == "+try-failover" and self._triggered_ms is None:
            self._triggered_ms = it.at_ms
        elif it.what in ("+promoted-slave", "+switch-master"):
            sentinel.turn(it.at_ms, NAMES_NEW)
            if not self._seen_promoted and self._promoted_ms is None and node is not None:
                self._promoted(it.at_ms, it.subject)
        elif it.what in ("+slave-reconf-sent", "+slave-reconf-sent-be"):
            _turn(node, it.at_ms, REDIRECTED)
        elif it.what in ("+slave-reconf-done", "+convert-to-slave", "+fix-slave-config"):
            _turn(node, it.at_ms, REPLICA)
        elif it.what.startswith("-failover-abort"):
            self._end_promotion(it.at_ms)
        elif it.what in ("+sdown", "-sdown"):
            self._down(it, node or self._sentinels.get(it.subject))

    @staticmethod
    def _down(it: Happening, track: _Track | None) -> None:
        if track is None:
            return
        if it.what == "+sdown" and track.state not in (DOWN, STOPPED, MASTER):
            track.before_down = track.state
            track.turn(it.at_ms, DOWN)
        elif it.what == "-sdown" and track.state == DOWN and track.before_down:
            track.turn(it.at_ms, track.before_down)

    # Together

    def _zero(self) -> tuple[float, str]:
        if self._fenced_ms is not None:
            return self._fenced_ms, "writes stop"
        if self._triggered_ms is not None:
            return self._triggered_ms, "Sentinel is told to fail over"
        return self._run.timeline[0].at_ms, "the run begins"

    def _focus(self, zero_ms: float, end_ms: float) -> tuple[float, float]:
        moments = [self._promoted_ms, self._agreed_ms, self._calm_again_ms]
        later = [at_ms for at_ms in moments if at_ms is not None and at_ms > zero_ms]
        last_ms = max(later) if later else end_ms
        margin_ms = max(8.0, (last_ms - zero_ms) * 0.08)
        return max(0.0, zero_ms - margin_ms), min(end_ms, last_ms + margin_ms)

    def _lanes(self, end_ms: float) -> tuple[Lane, ...]:
        tracks = {"": self._program, **self._nodes, **self._sentinels}
        lanes = [
            Lane(track.kind, address, track.role, track.segments(end_ms))
            for address, track in tracks.items()
            if track.changes
        ]
        return tuple(lanes)


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
            *(it.subject for it in run.timeline if it.sentinel and it.what in ("+selected-slave", "+promoted-slave")),
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
    heard = {it.sentinel for it in run.timeline if it.sentinel}
    known = sorted(heard | set(run.plan.leaders) | ({run.leader} if run.leader else set()))
    known.sort(key=lambda address: address != run.leader)
    return {
        address: _Track("sentinel", "Sentinel, leads" if address == run.leader else "Sentinel", [(0.0, NAMES_OLD)])
        for address in known
    }
