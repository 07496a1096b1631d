# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who told whom what, and which states the deployment went through: drawn from the events of a run.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    AGREED,
    ANNOUNCE_FAILED,
    ANNOUNCED,
    DEMOTE,
    DEMOTED,
    DEMOTION_IN_DOUBT,
    DISCONNECTED,
    EVENTS_LOST,
    FENCE_LIFTED,
    FENCE_RAISED,
    FOLLOWING,
    GOES_ON,
    LATE_WRITES,
    MOVED_ON,
    NOT_SETTLED,
    PRIORITY_RAISED,
    PRIORITY_RESTORED,
    PROMOTED,
    REPAIRED,
    RIVAL_SEEN,
    ROLLED_BACK,
    SETTLED,
    STEP_BEGINS,
    STRAY_DEMOTED,
    TRIGGER_IN_DOUBT,
    TRIGGER_NOT_REACHED,
    TRIGGER_REFUSED,
    TRIGGERED,
    WAITING,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_lanes import Trace
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_picture import (
    CHARACTER_PX,
    moment,
    short_names,
    shorten,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_run import (
    ABORTED,
    INCOMPLETE,
    REFUSED,
    UNKNOWN,
    Entry,
    Run,
)
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._report_words import duration

CALL = "call"
REPLY = "reply"
NOTE = "note"

MOST_MESSAGES = 60
MOST_OTHERS = 2
"""More replicas, or more other Sentinels, than that share one column."""

CLIENTS = "clients"
PROGRAM = "program"
OLD = "old"
NEW = "new"
LEADER = "leader"

_TOLD_BY_SENTINEL = {
    "+try-failover": "begins the failover",
    "+elected-leader": "leads it",
    "+failover-end": "the failover is over",
    "+failover-end-for-timeout": "gives up waiting for replicas",
    "+tilt": "goes into TILT",
    "-tilt": "leaves TILT",
}
_SEEN_BY_SENTINEL = {
    "+sdown": "does not reach",
    "-sdown": "reaches again",
    "+odown": "and others do not reach",
    "-odown": "and others reach again",
    "+selected-slave": "selects",
}
_SENT_BY_SENTINEL = {
    "+failover-state-wait-promotion": "SLAVEOF NO ONE",
    "+slave-reconf-sent": "SLAVEOF the new master",
    "+slave-reconf-sent-be": "SLAVEOF the new master",
    "+convert-to-slave": "SLAVEOF the new master",
    "+fix-slave-config": "SLAVEOF the new master",
}
_ANSWERED_TO_SENTINEL = {
    "+promoted-slave": "INFO: role master",
    "+slave-reconf-done": "follows, link up",
}
_GIVES_UP = "-failover-abort-"


@dataclass(frozen=True)
class Participant:
    """Who sends and receives: one server, or several that share a column."""

    key: str
    role: str
    name: str

    def called(self, among: Iterable[Participant]) -> str:
        """Its role, and its name where several have that role."""
        alone = sum(1 for it in among if it.role == self.role) == 1
        return self.role if alone else f"{self.role} {self.name}"


@dataclass(frozen=True)
class Message:
    """One message, or a note (then source and target are the same).

    Attributes:
        times: How often it was sent within a moment.
    """

    at_ms: float
    source: str
    target: str
    kind: str
    text: str
    times: int = 1

    @property
    def full_text(self) -> str:
        return f"{self.text} ({self.times} times)" if self.times > 1 else self.text


@dataclass(frozen=True)
class Conversation:
    """All of it."""

    participants: tuple[Participant, ...]
    messages: tuple[Message, ...]
    left_out: int
    zero_ms: float

    def when(self, message: Message) -> str:
        return moment(message.at_ms - self.zero_ms)

    def between(self, message: Message) -> str:
        """Who told whom, in words."""
        people = {it.key: it.called(self.participants) for it in self.participants}
        if message.kind == NOTE:
            return people[message.source]
        return f"{people[message.source]} → {people[message.target]}"


def converse(run: Run, traced: Trace) -> Conversation:
    """Read the messages off the events."""
    people = _People(run)
    said = list(_merged(_speak(run, people)))
    left_out = max(0, len(said) - MOST_MESSAGES)
    said = said[:MOST_MESSAGES]
    spoken = {key for message in said for key in (message.source, message.target)}
    participants = tuple(it for it in people.participants if it.key in spoken)
    return Conversation(participants, tuple(said), left_out, traced.zero_ms)


class _People:
    """Which column a server has."""

    def __init__(self, run: Run) -> None:
        heir = run.new_master if run.moved else run.plan.new_master or run.new_master
        self._keys = {run.old_master: OLD}
        self._keys.setdefault(heir, NEW)
        self.participants = [
            Participant(CLIENTS, "clients", ""),
            Participant(PROGRAM, "this run", "Ansible"),
            Participant(OLD, "master before", run.old_master),
            Participant(NEW, "master after" if run.moved else "replica", heir),
        ]
        replicas = {*run.plan.siblings, *run.plan.lagging, *(replica.address for replica in run.replicas)}
        replicas.update(it.subject for it in run.timeline if it.kind.startswith(("+slave-reconf", "+convert-to")))
        self._add("replica", "replicas", replicas)
        if run.leader:
            self._keys.setdefault(run.leader, LEADER)
            self.participants.append(Participant(LEADER, "Sentinel, leads", run.leader))
        self._add("Sentinel", "Sentinels", set(run.sentinels))
        self._names = short_names(self._keys)

    def _add(self, role: str, together: str, addresses: set[str]) -> None:
        new = sorted(address for address in addresses if address and address not in self._keys)
        if len(new) > MOST_OTHERS:
            self.participants.append(Participant(together, together, f"{len(new)} more"))
            self._keys.update(dict.fromkeys(new, together))
            return
        for number, address in enumerate(new):
            key = f"{role}{number}"
            self.participants.append(Participant(key, role, address))
            self._keys[address] = key

    def key(self, address: str) -> str | None:
        return self._keys.get(address) if address else None

    def name(self, address: str) -> str:
        return self._names.get(address, address)


def _merged(messages: Iterator[Message]) -> Iterator[Message]:
    """The same, said several times in a moment (to replicas or Sentinels that share a column), is said once."""
    last: Message | None = None
    for message in messages:
        same = last is not None and replace(message, at_ms=last.at_ms, times=last.times) == last
        if last is not None and same and message.at_ms - last.at_ms < 100:
            last = replace(last, times=last.times + 1)
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last


def _speak(run: Run, people: _People) -> Iterator[Message]:
    missed: set[tuple[str, str]] = set()
    told = {it.subject for it in run.said(ANNOUNCED, ANNOUNCE_FAILED)}
    for it in run.timeline:
        if it.kind == "+sdown":
            missed.add((it.sentinel, it.subject))
        elif it.kind == "-sdown" and (it.sentinel, it.subject) not in missed:
            continue  # Valkey 9 marks the master as down, without a word, when it is told to fail over
        if not it.sentinel:
            spoken = SPOKEN.get(it.kind)
            yield from spoken(_Said(run, people, it)) if spoken else ()
        elif it.kind != "+config-update-from" or it.sentinel not in told:
            # It names the Sentinel in whose words the program has told it.
            yield from _event_messages(run, people, it)


@dataclass(frozen=True)
class _Said:
    """An entry of the program, with what it takes to turn it into messages."""

    run: Run
    people: _People
    it: Entry

    @property
    def subject(self) -> str:
        """The column of the server that it is about; the program's own, where it has none."""
        return self.people.key(self.it.subject) or PROGRAM

    @property
    def by_settings(self) -> bool:
        return self.run.plan.fence == "min_replicas"

    def call(self, target: str, text: str) -> Iterator[Message]:
        if target != PROGRAM:
            yield Message(self.it.at_ms, PROGRAM, target, CALL, text)

    def reply(self, source: str, target: str, text: str) -> Iterator[Message]:
        if source != target:
            yield Message(self.it.at_ms, source, target, REPLY, text)

    def note(self, text: str) -> Iterator[Message]:
        said = f"{text}: {self.it.detail}" if self.it.detail else text
        yield Message(self.it.at_ms, self.subject, self.subject, NOTE, said)


def _step_begins(said: _Said) -> Iterator[Message]:
    if said.it.step == DEMOTE.name:
        yield from said.reply(NEW, PROGRAM, "has applied every write")


def _fence_raised(said: _Said) -> Iterator[Message]:
    command = "CONFIG SET min-replicas-to-write" if said.by_settings else "CLIENT PAUSE … WRITE"
    yield from said.call(said.subject, command)
    yield from said.reply(said.subject, CLIENTS, "writes are refused" if said.by_settings else "writes wait")


def _fence_lifted(said: _Said) -> Iterator[Message]:
    yield from said.call(said.subject, "CONFIG SET min-replicas-to-write" if said.by_settings else "CLIENT UNPAUSE")
    yield from said.reply(said.subject, CLIENTS, "writes go on")


def _demoted(said: _Said) -> Iterator[Message]:
    yield from said.call(said.subject, "REPLICAOF, and the fence is lifted")
    yield from said.reply(said.subject, CLIENTS, "READONLY: look for the master")


def _rolled_back(said: _Said) -> Iterator[Message]:
    yield from said.call(said.subject, "REPLICAOF NO ONE: the master again")
    yield from said.reply(said.subject, CLIENTS, "writes go on")


def _triggered(said: _Said) -> Iterator[Message]:
    coordinated = " … COORDINATED" if said.run.strategy == "coordinated" else ""
    yield from said.call(said.subject, f"SENTINEL FAILOVER{coordinated}")


def _trigger_refused(said: _Said) -> Iterator[Message]:
    yield from _triggered(said)
    yield from said.reply(said.subject, PROGRAM, f"refused: {said.it.detail}")


def _promoted(said: _Said) -> Iterator[Message]:
    if said.run.promotion == "program":
        yield from said.call(said.subject, "REPLICAOF NO ONE")
    yield from said.reply(said.subject, PROGRAM, "ROLE: master")


def _announced(said: _Said) -> Iterator[Message]:
    yield from said.call(said.subject, "PUBLISH hello: the new master")
    if said.subject == LEADER:  # the others: when all of them do
        yield from said.reply(LEADER, CLIENTS, "names the new master")


def _announce_failed(said: _Said) -> Iterator[Message]:
    yield from said.call(said.subject, "PUBLISH hello: the new master")
    yield from said.note("does not name the new master")


def _agreed(said: _Said) -> Iterator[Message]:
    leader = LEADER if said.people.key(said.run.leader) else PROGRAM
    yield from said.reply(leader, CLIENTS, "every Sentinel names the new master")


def _disconnected(said: _Said) -> Iterator[Message]:
    yield from said.call(said.subject, "CONFIG REWRITE, CLIENT KILL")
    yield from said.reply(said.subject, CLIENTS, "connections closed")


def _calling(text: str) -> Callable[[_Said], Iterator[Message]]:
    return lambda said: said.call(said.subject, text)


def _noting(text: str) -> Callable[[_Said], Iterator[Message]]:
    return lambda said: said.note(text)


SPOKEN: dict[str, Callable[[_Said], Iterator[Message]]] = {
    STEP_BEGINS: _step_begins,
    REPAIRED: _noting("put back"),
    PRIORITY_RAISED: _calling("CONFIG SET replica-priority: not to be chosen"),
    PRIORITY_RESTORED: _calling("CONFIG SET replica-priority: as it was"),
    FENCE_RAISED: _fence_raised,
    FENCE_LIFTED: _fence_lifted,
    LATE_WRITES: _noting("late writes"),
    DEMOTED: _demoted,
    DEMOTION_IN_DOUBT: _noting("the demotion is in doubt"),
    ROLLED_BACK: _rolled_back,
    TRIGGERED: _triggered,
    TRIGGER_REFUSED: _trigger_refused,
    TRIGGER_IN_DOUBT: _noting("may have been told to fail over"),
    TRIGGER_NOT_REACHED: _noting("is not reached"),
    RIVAL_SEEN: _noting("goes its own way"),
    PROMOTED: _promoted,
    ANNOUNCED: _announced,
    ANNOUNCE_FAILED: _announce_failed,
    STRAY_DEMOTED: _calling("REPLICAOF the new master"),
    AGREED: _agreed,
    FOLLOWING: _calling("REPLICAOF the new master"),
    DISCONNECTED: _disconnected,
    SETTLED: _noting("everybody follows it"),
    NOT_SETTLED: _noting("something is left"),
    MOVED_ON: _noting("Sentinel has made it the master"),
    GOES_ON: _noting("is moved on from"),
    EVENTS_LOST: _noting("sends no events any more"),
    WAITING: _noting("waits"),
}
"""Kind of an entry of the program -> the messages that it stands for."""


def _event_messages(run: Run, people: _People, it: Entry) -> Iterator[Message]:
    sentinel, subject = people.key(it.sentinel), people.key(it.subject)
    if sentinel is None:
        return
    note = _event_note(people, it)
    if note:
        yield Message(it.at_ms, sentinel, sentinel, NOTE, note)
    elif subject is None:
        return
    elif it.kind == "+failover-state-wait-promotion" and run.strategy == "coordinated":
        yield Message(it.at_ms, sentinel, OLD, CALL, "FAILOVER TO the replica")
    elif it.kind in _SENT_BY_SENTINEL:
        yield Message(it.at_ms, sentinel, subject, CALL, _SENT_BY_SENTINEL[it.kind])
    elif it.kind in _ANSWERED_TO_SENTINEL:
        yield Message(it.at_ms, subject, sentinel, REPLY, _ANSWERED_TO_SENTINEL[it.kind])
    elif it.kind == "+config-update-from":
        yield Message(it.at_ms, subject, sentinel, CALL, "the new master's address")


def _event_note(people: _People, it: Entry) -> str:
    """What a Sentinel does by itself; empty, where it talks to somebody."""
    if it.kind.startswith(_GIVES_UP):
        return f"gives up: {it.kind[len(_GIVES_UP) :].replace('-', ' ')}"
    if it.kind in _SEEN_BY_SENTINEL:
        return f"{_SEEN_BY_SENTINEL[it.kind]} {people.name(it.subject)}"
    return _TOLD_BY_SENTINEL.get(it.kind, "")


# ---- the states of the deployment ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """A state of the deployment as a whole.

    Attributes:
        key: Its name in diagrams.
        title: What it is called.
        detail: What it was here.
        inner: Whether it is a part of Promoting.
    """

    key: str
    title: str
    detail: str
    inner: bool = False


@dataclass(frozen=True)
class Step:
    """From one state to another."""

    source: str
    target: str
    text: str


@dataclass(frozen=True)
class Course:
    """Ready -> Promoting -> Ready, or where it ended instead."""

    states: tuple[State, ...]
    steps: tuple[Step, ...]
    promoting_ms: float | None

    @property
    def inner_states(self) -> tuple[State, ...]:
        return tuple(state for state in self.states if state.inner)

    @property
    def outer_states(self) -> tuple[State, ...]:
        return tuple(state for state in self.states if not state.inner)

    @property
    def inner_steps(self) -> tuple[Step, ...]:
        """The steps within Promoting."""
        inside = {state.key for state in self.inner_states}
        return tuple(step for step in self.steps if step.source in inside and step.target in inside)


_INNER = {
    FENCE_RAISED: ("WritesWait", "Writes wait", "the old master acknowledges none"),
    DEMOTED: ("Demoted", "No master", "the old master is a replica"),
    TRIGGERED: ("Triggered", "Sentinel at work", "it has begun the failover"),
    PROMOTED: ("Promoted", "Promoted", "not every Sentinel names it yet"),
}


def course(run: Run, traced: Trace) -> Course:
    """The states that the deployment went through."""
    states = [State("Ready", "Ready", f"{run.old_master or 'the old master'} is the master")]
    entered: list[tuple[str, float]] = []
    for it in run.said(*_INNER):
        key, title, detail = _INNER[it.kind]
        if all(state.key != key for state in states):
            states.append(State(key, title, detail, inner=True))
            entered.append((key, it.at_ms))
    if not entered and (told := run.said(ANNOUNCED)):
        states.append(State("Promoted", "Promoted before", "the Sentinels are told", inner=True))
        entered.append(("Promoted", told[0].at_ms))
    if not entered:
        states.append(State("Failover", "Sentinel at work", "as its events tell", inner=True))
        entered.append(("Failover", traced.zero_ms))
    end_ms = _end_ms(traced)
    states.append(_end(run))
    steps = [Step("Ready", "Promoting", "")]
    steps += [
        Step(source, target, _after(until_ms - from_ms))
        for (source, from_ms), (target, until_ms) in zip(entered, entered[1:])
    ]
    promoting_ms = end_ms - entered[0][1] if end_ms is not None else None
    steps.append(Step("Promoting", states[-1].key, _after(promoting_ms)))
    return Course(tuple(states), tuple(steps), promoting_ms)


def _end_ms(traced: Trace) -> float | None:
    closed = [stop.end_ms for stop in traced.stops if stop.end_ms is not None]
    return traced.agreed_ms or traced.promoted_ms or (max(closed) if closed else None)


def _end(run: Run) -> State:
    if run.moved:
        ready = f"{run.new_master} is the master"
        if run.outcome == INCOMPLETE:
            return State("ReadyAgain", "Ready, work left", ready)
        return State("ReadyAgain", "Ready", ready)
    if run.outcome in (ABORTED, REFUSED):
        return State("NotMoved", "Not moved", f"{run.error or run.outcome}".replace("_", " "))
    if run.outcome == UNKNOWN:
        return State("NotKnown", "Not known", "it may still finish")
    return State("Ended", run.outcome.capitalize(), run.error.replace("_", " "))


def _after(ms: float | None) -> str:
    if ms is None:
        return ""
    return f"after {duration(ms)}" if ms >= 0.05 else "at once"


# ---- where it stands on the page -------------------------------------------------------------------------------------

WIDTH = 960
TIME_WIDTH = 84.0
HEAD_HEIGHT = 44.0
ROW = 30.0
GAP_ROW = 24.0
PRINTED = 1.1
"""On paper text is larger."""
LONG_SILENCE_MS = 400.0


@dataclass(frozen=True)
class Column:
    """A participant on the page."""

    x: float
    role: str
    name: str
    full_name: str
    key: str


@dataclass(frozen=True)
class Arrow:
    """A message on the page; for a note, `x` to `end_x` is its box."""

    y: float
    x: float
    end_x: float
    kind: str
    when: str
    text: str
    text_x: float
    text_width: float
    sentence: str


@dataclass(frozen=True)
class Silence:
    """Time in which nothing was said."""

    y: float
    label: str

    @property
    def width(self) -> float:
        """Of the label, with what stands around it."""
        return (len(self.label) + 4) * CHARACTER_PX * PRINTED


@dataclass(frozen=True)
class Diagram:
    """The conversation, ready to be drawn."""

    width: int
    height: float
    column_width: float
    columns: tuple[Column, ...]
    arrows: tuple[Arrow, ...]
    silences: tuple[Silence, ...]


def draw_conversation(conversation: Conversation) -> Diagram:
    """Give every message its place."""
    people = conversation.participants
    spacing = (WIDTH - TIME_WIDTH) / max(1, len(people))
    names = short_names(it.name for it in people if ":" in it.name)
    columns = {
        it.key: Column(
            TIME_WIDTH + spacing * (number + 0.5),
            it.role,
            shorten(names.get(it.name, it.name), int(spacing / 7)),
            it.name,
            it.key,
        )
        for number, it in enumerate(people)
    }
    arrows, silences = [], []
    y = HEAD_HEIGHT + 4
    last_ms: float | None = None
    for message in conversation.messages:
        if last_ms is not None and message.at_ms - last_ms > LONG_SILENCE_MS:
            silences.append(Silence(y + 6, f"{duration(message.at_ms - last_ms)} later"))
            y += GAP_ROW
        last_ms = message.at_ms
        y += ROW
        arrows.append(_arrow(conversation, columns, message, y))
    return Diagram(WIDTH, y + 16, spacing, tuple(columns.values()), tuple(arrows), tuple(silences))


def _arrow(conversation: Conversation, columns: dict[str, Column], message: Message, y: float) -> Arrow:
    x, end_x = columns[message.source].x, columns[message.target].x
    text = shorten(message.full_text, 70)
    width = len(text) * CHARACTER_PX
    if message.kind == NOTE:
        half = width / 2 + 8
        middle = min(max(x, TIME_WIDTH + half), WIDTH - half)
        x, end_x = middle - half, middle + half
    middle = (x + end_x) / 2
    text_x = min(max(middle, TIME_WIDTH + width / 2), WIDTH - width / 2 - 2)
    sentence = f"{conversation.between(message)}: {message.full_text}"
    return Arrow(y, x, end_x, message.kind, conversation.when(message), text, text_x, width * PRINTED, sentence)
