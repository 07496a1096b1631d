# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who told whom what, and which states the deployment went through: drawn from the events of a run.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

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
    Happening,
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
}


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
        replicas.update(it.subject for it in run.timeline if it.what.startswith(("+slave-reconf", "+convert-to")))
        self._add("replica", "replicas", replicas)
        sentinels = {it.sentinel for it in run.timeline if it.sentinel} | set(run.plan.leaders)
        if run.leader:
            self._keys.setdefault(run.leader, LEADER)
            self.participants.append(Participant(LEADER, "Sentinel, leads", run.leader))
        self._add("Sentinel", "Sentinels", sentinels)
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
    for it in run.timeline:
        if it.what == "+sdown":
            missed.add((it.sentinel, it.subject))
        elif it.what == "-sdown" and (it.sentinel, it.subject) not in missed:
            continue  # Valkey 9 marks the master as down, without a word, when it is told to fail over
        if it.sentinel and it.what.startswith(("+", "-")):
            yield from _event_messages(run, people, it)
        elif it.sentinel:
            yield from _answer_messages(people, it)
        else:
            yield from _program_messages(run, people, it)


def _program_messages(run: Run, people: _People, it: Happening) -> Iterator[Message]:
    def call(target: str, text: str) -> Message:
        return Message(it.at_ms, PROGRAM, target, CALL, text)

    def reply(source: str, target: str, text: str) -> Message:
        return Message(it.at_ms, source, target, REPLY, text)

    def note(text: str) -> Message:
        return Message(it.at_ms, PROGRAM, PROGRAM, NOTE, text)

    min_replicas = run.plan.fence == "min_replicas"
    if it.what in ("steered", "unsteered"):
        target = people.key(it.subject)
        if target is not None:
            yield call(target, f"CONFIG SET {it.detail.partition(': ')[2]}")
    elif it.what == "fence" and it.detail:
        yield call(OLD, "CONFIG SET min-replicas-to-write" if min_replicas else "CLIENT PAUSE … WRITE")
        yield reply(OLD, CLIENTS, "writes are refused" if min_replicas else "writes wait")
    elif it.what == "demote" and not it.detail:
        yield reply(NEW, PROGRAM, "has applied every write")
    elif it.what == "demoted":
        yield call(OLD, "REPLICAOF, and the fence is lifted")
        yield reply(OLD, CLIENTS, "READONLY: look for the master")
    elif it.what == "unfence":
        yield call(OLD, "CLIENT UNPAUSE")
        yield reply(OLD, CLIENTS, "writes go on")
    elif it.what == "given back":
        yield call(OLD, "REPLICAOF NO ONE: the master again")
    elif it.what == "trigger" and it.detail:
        coordinated = " … COORDINATED" if run.strategy == "coordinated" else ""
        target = people.key(run.leader)
        if target is not None:
            yield call(target, f"SENTINEL FAILOVER{coordinated}")
    elif it.what == "promoted":
        source = people.key(it.subject) or NEW
        yield reply(source, PROGRAM, "ROLE: master")
    elif it.what == "agreed":
        yield reply(LEADER if people.key(run.leader) else PROGRAM, CLIENTS, "every Sentinel names the new master")
    elif it.what == "released":
        yield call(OLD, "CONFIG REWRITE, CLIENT KILL")
        yield reply(OLD, CLIENTS, "connections closed")
    elif it.what == "settled":
        yield note("every replica follows")
    elif it.what == "not settled":
        yield note(f"left: {it.detail}")
    elif it.what in ("moment missed", "late writes", "demotion in doubt", "trigger again", "repaired"):
        yield note(f"{it.what}: {it.detail}")


def _answer_messages(people: _People, it: Happening) -> Iterator[Message]:
    key = people.key(it.sentinel)
    if key is None:
        return
    if it.what == "refused":
        yield Message(it.at_ms, key, PROGRAM, REPLY, f"refused: {it.detail}")
    else:
        yield Message(it.at_ms, PROGRAM, PROGRAM, NOTE, f"{it.what}: {it.detail}")


def _event_messages(run: Run, people: _People, it: Happening) -> Iterator[Message]:
    sentinel, subject = people.key(it.sentinel), people.key(it.subject)
    if sentinel is None:
        return

    def note(text: str) -> Message:
        return Message(it.at_ms, sentinel or PROGRAM, sentinel or PROGRAM, NOTE, text)

    if it.what in _TOLD_BY_SENTINEL:
        yield note(_TOLD_BY_SENTINEL[it.what])
    elif it.what.startswith("-failover-abort"):
        yield note(f"gives up: {it.what[len('-failover-abort-') :].replace('-', ' ')}")
    elif it.what in _SEEN_BY_SENTINEL:
        yield note(f"{_SEEN_BY_SENTINEL[it.what]} {people.name(it.subject)}")
    elif subject is None:
        return
    elif it.what == "+selected-slave":
        yield note(f"selects {people.name(it.subject)}")
    elif it.what == "+failover-state-wait-promotion":
        if run.strategy == "coordinated":
            yield Message(it.at_ms, sentinel, OLD, CALL, "FAILOVER TO the replica")
        else:
            yield Message(it.at_ms, sentinel, subject, CALL, "SLAVEOF NO ONE")
    elif it.what == "+promoted-slave":
        yield Message(it.at_ms, subject, sentinel, REPLY, "INFO: role master")
    elif it.what == "+config-update-from":
        yield Message(it.at_ms, subject, sentinel, CALL, "the new master's address")
    elif it.what in ("+slave-reconf-sent", "+slave-reconf-sent-be", "+convert-to-slave", "+fix-slave-config"):
        yield Message(it.at_ms, sentinel, subject, CALL, "SLAVEOF the new master")
    elif it.what == "+slave-reconf-done":
        yield Message(it.at_ms, subject, sentinel, REPLY, "follows, link up")


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
    "fence": ("WritesWait", "Writes wait", "the old master acknowledges none"),
    "demoted": ("Demoted", "No master", "the old master is a replica"),
    "trigger": ("Triggered", "Sentinel at work", "it promotes the replica"),
    "promoted": ("Promoted", "Promoted", "not every Sentinel names it yet"),
}


def course(run: Run, traced: Trace) -> Course:
    """The states that the deployment went through."""
    states = [State("Ready", "Ready", f"{run.old_master or 'the old master'} is the master")]
    entered: list[tuple[str, float]] = []
    for it in run.timeline:
        if it.sentinel or not it.detail or it.what not in _INNER:
            continue
        key, title, detail = _INNER[it.what]
        if all(state.key != key for state in states):
            states.append(State(key, title, detail, inner=True))
            entered.append((key, it.at_ms))
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
    sentence: str


@dataclass(frozen=True)
class Silence:
    """Time in which nothing was said."""

    y: float
    label: str


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
    return Arrow(y, x, end_x, message.kind, conversation.when(message), text, text_x, sentence)
