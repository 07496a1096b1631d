# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every order in which things can happen while the program promotes a replica and carries the news.

A state holds three Sentinels, three nodes and the program, and only what decides between harm and none. Each move is one
step of one of them; ``search`` takes every move in every state that can be reached, so the program may stand still for any
time between any two steps. Time is counted in the shortest ticks of Sentinel's timer, 52 ms; a Sentinel ticks at most once
in that time, and may be any slower.

Besides, as far as a scene allows it: the program is killed between any two steps, and run again or not; a message to a
Sentinel is lost before or after it was executed, waits in the socket of a Sentinel that stands still, or comes twice; the
hellos of the Sentinels come at any time or never; each leader chooses any replica; somebody else tells the rival to fail
over.

Left out: failovers that Sentinel begins by itself, half a minute later, which ``harm`` judges by where they could end; and
Sentinels' own hellos that arrive after newer ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from unit.untraced import untraced

OM, R, C = 0, 1, 2
"""The nodes: the old master, the replica that the program promotes, another replica."""
MASTER = -1
"""What a master follows."""
LEADER, RIVAL, THIRD = 0, 1, 2
"""The Sentinels: the one that the program tells to fail over, the one that somebody else may tell, and the third."""

BEFORE = 1
WRITES = (0, 2, 4)
"""What a node holds, in bits: the writes before the demotion, and those that R or C took as a master."""

IDLE, BEGUN, ONE_TICK, TWO_TICKS, ORDERED, NAMED = range(6)
"""How far a Sentinel's failover has come. With the third tick it orders the promotion; later it sees it."""
TIMED = (BEGUN, ONE_TICK, TWO_TICKS)

FRESH_TICKS = 1
"""How old a look may be when the leader is told: less than the two ticks that lie between a beginning and a promotion."""


class Hello(NamedTuple):
    """A hello: epochs, whom it names, and whether the receiver knows in whose words it comes."""

    current: int
    config: int
    master: int
    known: bool = True


FAILOVER = Hello(-1, -1, MASTER)
"""``SENTINEL FAILOVER``."""


class Sentinel(NamedTuple):
    """What one Sentinel knows, and how far its own failover has come."""

    current: int = 1
    config: int = 1
    master: int = OM
    stage: int = IDLE
    chosen: int = OM
    epoch: int = 0
    ticked: bool = False
    waiting: Hello | None = None
    """It stands still, with this in its socket."""
    ghosts: bool = False
    """Whether a Sentinel was added that does not exist."""

    @property
    def named(self) -> int:
        return self.chosen if self.stage == NAMED else self.master

    @property
    def busy(self) -> bool:
        return self.stage != IDLE


class Node(NamedTuple):
    """A data node: whom it follows, and what it holds."""

    master: int
    holds: int


class Program(NamedTuple):
    """How far the program has come."""

    at: str = "look"
    epoch: int = 0
    taught_ahead: int = 0
    """The epoch that the others have read of before the demotion; 0 if not all of them have."""
    look_age: int = 0
    call_failed: bool = False
    first_run: bool = True


class State(NamedTuple):
    """Everything, at one moment."""

    sentinels: tuple[Sentinel, ...]
    nodes: tuple[Node, ...]
    program: Program = Program()
    rivals: int = 0
    kills: int = 0
    faults: int = 0
    acknowledged: int = BEFORE
    moved_by_others: bool = False
    """Whether the rival was told after the leader's epoch had reached it: a second move, away from R, is what was asked for."""
    copy: tuple[int, Hello] | None = None
    """A message that will arrive a second time."""


@dataclass(frozen=True)
class Protocol:
    """The program's steps, as they are; each switch leaves one out or does it wrongly."""

    looks_before_demotion: bool = True
    steers_laggards: bool = True
    teaches_leader: bool = True
    """A leader whose epoch is lower than the others' learns theirs before it is triggered."""
    reads_own_event: bool = True
    teaches_others: bool = True
    """The others learn the leader's epoch, and nothing else, before anybody learns of R."""
    compares_what_was_taught_ahead: bool = True
    """What the others have learned before the demotion counts only where the leader's epoch is not higher."""
    looks_before_news: bool = True
    leader_first: bool = True
    checks_leader: bool = True
    known_run_id: bool = True
    triggers_another: bool = False
    guesses_epoch: bool = False


@dataclass(frozen=True)
class Scene:
    """What may go wrong, and how often."""

    leader_chooses: tuple[int, ...] = (R, C)
    rival_chooses: tuple[int, ...] = (R, C)
    rivals: int = 0
    rival_is_first: bool = False
    kills: int = 0
    faults: int = 0
    laggard: bool = False
    """Whether C does not have everything."""
    low_leader: bool = False
    """Whether the leader was restored from an old file."""
    other_master: bool = False
    """Whether the leader begins a failover of another master right after ours."""
    leader_ahead: bool = False
    """Whether the leader has begun one of another master before ours, and nobody has heard of it."""


# ---- small changes -------------------------------------------------------------------------------------------------


def with_sentinel(state: State, index: int, **changes: Any) -> State:
    sentinels = list(state.sentinels)
    sentinels[index] = sentinels[index]._replace(**changes)
    return state._replace(sentinels=tuple(sentinels))


def follow(state: State, node: int, master: int) -> State:
    """REPLICAOF."""
    nodes = list(state.nodes)
    nodes[node] = nodes[node]._replace(master=master)
    return state._replace(nodes=tuple(nodes))


def at(state: State, place: str, **changes: Any) -> State:
    """The program goes on."""
    return state._replace(program=state.program._replace(at=place, **changes))


def flow(state: State) -> State:
    """Clients write to a master that a Sentinel names; replicas copy what their master has."""
    one, other, third = state.sentinels
    nodes, acknowledged = _flown(state.nodes, one.named, other.named, third.named, state.acknowledged)
    if nodes == state.nodes and acknowledged == state.acknowledged:
        return state
    return state._replace(nodes=nodes, acknowledged=acknowledged)


# What is kept here is asked for in many thousands of states, and there are some hundreds of different answers.
@functools.cache
def _flown(
    nodes_before: tuple[Node, ...], one: int, other: int, third: int, acknowledged: int
) -> tuple[tuple[Node, ...], int]:
    """The nodes, and what was acknowledged, where the Sentinels name these masters."""
    nodes, named = list(nodes_before), {one, other, third}
    for index in (R, C):
        if nodes[index].master == MASTER and index in named:
            acknowledged |= WRITES[index]
            nodes[index] = nodes[index]._replace(holds=nodes[index].holds | WRITES[index])
    for index in (OM, R, C):
        source = nodes[index].master
        if source in (R, C) and nodes[source].master == MASTER:
            nodes[index] = nodes[index]._replace(holds=nodes[source].holds)
    return tuple(nodes), acknowledged


def plain(state: State) -> State:
    """Without what makes no difference any more, so that equal states are equal."""
    for one in state.sentinels:
        if one.ticked and one.stage not in TIMED:
            state = state._replace(sentinels=tuple(map(_without_old_tick, state.sentinels)))
            break
    program = state.program
    if program.look_age and program.at != "tell leader":
        program = program._replace(look_age=0)
    if program.epoch and (program.at not in STEPS or program.at == "wait"):
        program = program._replace(epoch=0, call_failed=False)
    if program.taught_ahead and program.at not in BEFORE_PROMOTION:
        program = program._replace(taught_ahead=0)
    return state if program is state.program else state._replace(program=program)


@functools.cache
def _without_old_tick(one: Sentinel) -> Sentinel:
    return one if one.stage in TIMED else one._replace(ticked=False)


def settled(state: State) -> State:
    return plain(flow(state))


# ---- Sentinel ------------------------------------------------------------------------------------------------------


def hear(state: State, index: int, hello: Hello) -> State:
    """A Sentinel processes a hello."""
    one = state.sentinels[index]
    changes: dict[str, Any] = {"current": max(one.current, hello.current)}
    if not hello.known:
        changes["ghosts"] = True
    if hello.config > one.config:
        changes["config"] = hello.config
        if hello.master != one.master:
            changes.update(master=hello.master, stage=IDLE, chosen=OM, epoch=0)
    return with_sentinel(state, index, **changes)


def begin(state: State, index: int) -> State:
    """A Sentinel is told to fail over."""
    one = state.sentinels[index]
    if one.busy:
        return state
    epoch = one.current + 1
    return with_sentinel(state, index, current=epoch, epoch=epoch, stage=BEGUN)


def execute(state: State, index: int, message: Hello) -> State:
    return begin(state, index) if message == FAILOVER else hear(state, index, message)


def sentinel_moves(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    """What the Sentinels may do next."""
    chosen = (scene.leader_chooses, scene.rival_chooses, scene.laggard and protocol.steers_laggards)
    for sentinels, nodes in _sentinel_moves(state.sentinels, state.nodes, *chosen):
        yield State(sentinels, nodes, *state[2:])


@functools.cache
def _sentinel_moves(
    sentinels: tuple[Sentinel, ...],
    nodes: tuple[Node, ...],
    leader_chooses: tuple[int, ...],
    rival_chooses: tuple[int, ...],
    only_r: bool,
) -> tuple[tuple[tuple[Sentinel, ...], tuple[Node, ...]], ...]:
    """The Sentinels and the nodes after each move; where the program has come to makes no difference to them."""
    state, after = State(sentinels, nodes), list[State]()
    for index, one in enumerate(sentinels):
        if one.waiting is not None:
            after.append(execute(with_sentinel(state, index, waiting=None), index, one.waiting))
        else:
            after += lead(state, index, leader_chooses if index == LEADER else rival_chooses, only_r)
            after += say_hello(state, index)
    return tuple((it.sentinels, it.nodes) for it in after)


def lead(state: State, index: int, may_choose: tuple[int, ...], only_r: bool) -> Iterator[State]:
    """The next step of its own failover; ``only_r``: whether it is steered to R, whichever it would choose."""
    one = state.sentinels[index]
    if one.stage == TWO_TICKS and not one.ticked:
        for chosen in may_choose:
            if chosen == R or not only_r:
                yield follow(with_sentinel(state, index, stage=ORDERED, chosen=chosen, ticked=True), chosen, MASTER)
    elif one.stage in TIMED and not one.ticked:
        yield with_sentinel(state, index, stage=one.stage + 1, ticked=True)
    elif one.stage == ORDERED and state.nodes[one.chosen].master == MASTER:
        yield with_sentinel(state, index, stage=NAMED, config=one.epoch)
    elif one.stage == NAMED:
        other = C if one.chosen == R else R
        done = with_sentinel(state, index, stage=IDLE, master=one.chosen, chosen=OM, epoch=0)
        yield follow(done, other, one.chosen)


def say_hello(state: State, index: int) -> Iterator[State]:
    """One of the others hears what it says, if that is news."""
    one = state.sentinels[index]
    for receiver, other in enumerate(state.sentinels):
        newer = one.config > other.config or one.current > other.current
        if receiver != index and newer and other.waiting is None:
            yield hear(state, receiver, Hello(one.current, one.config, one.named))


# ---- the program ---------------------------------------------------------------------------------------------------

Step = Callable[[State, Scene, Protocol], Iterator[State]]


def call(state: State, scene: Scene, index: int, message: Hello) -> Iterator[tuple[State, bool]]:
    """A message to a Sentinel: what may come of it, and whether the program has an answer."""
    if state.sentinels[index].waiting is not None:
        yield state, False
        return
    done = execute(state, index, message)
    yield done, True
    if state.faults < scene.faults:
        hurt = state._replace(faults=state.faults + 1)
        yield hurt, False
        yield done._replace(faults=hurt.faults), False
        yield with_sentinel(hurt, index, waiting=message), False
        if state.copy is None and message != FAILOVER:
            yield done._replace(faults=hurt.faults, copy=(index, message)), True


def quiet(state: State, *indices: int) -> bool:
    """Whether these Sentinels answer, name OM and have begun nothing."""
    asked = [state.sentinels[index] for index in indices]
    return all(one.named == OM and not one.busy and one.waiting is None for one in asked)


def look(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    calm = quiet(state, LEADER, RIVAL, THIRD) or not protocol.looks_before_demotion
    yield at(state, "teach ahead" if calm else "lifted")


def next_epoch(state: State) -> int:
    """The epoch of the next failover, as far as the program can know it."""
    return 1 + max(one.config for one in state.sentinels)


def teach_ahead(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    """The third never leads, so when it hears makes no difference; what can go wrong goes wrong at the rival."""
    epoch = next_epoch(state)
    message = Hello(epoch, 0, OM)
    for after, answered in call(hear(state, THIRD, message), scene, RIVAL, message):
        yield at(after, "demote", taught_ahead=epoch if answered else 0)


def demote(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    yield at(follow(state, OM, R), "teach leader")


def teach_leader(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    highest = max(one.config for one in state.sentinels)
    if not protocol.teaches_leader or state.sentinels[LEADER].config >= highest:
        yield at(state, "trigger")
        return
    for after, answered in call(state, scene, LEADER, Hello(highest, 0, OM)):
        yield at(after, "trigger" if answered else "wait")


def trigger(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    if state.sentinels[LEADER].busy:
        yield at(state, "wait")
        return
    for after, answered in call(state, scene, LEADER, FAILOVER):
        if not answered:
            yield at(after, "wait")
            continue
        own = after.sentinels[LEADER].epoch
        if scene.other_master:
            after = with_sentinel(after, LEADER, current=own + 1)
        yield at(after, "promote", epoch=own if protocol.reads_own_event else own + 1)


def promote(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    ahead = state.program.taught_ahead
    taught = ahead >= state.program.epoch or (ahead > 0 and not protocol.compares_what_was_taught_ahead)
    yield at(follow(state, R, MASTER), "look again" if taught or not protocol.teaches_others else "teach third")


def teach(index: int, then: str) -> Step:
    def step(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
        for after, answered in call(state, scene, index, Hello(state.program.epoch, 0, OM)):
            yield at(after, then if answered else "wait")

    return step


def look_again(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    leader = state.sentinels[LEADER]
    then = "tell leader" if protocol.leader_first else "tell rival"
    if not protocol.looks_before_news:
        yield at(state, then, look_age=0)
    elif not quiet(state, RIVAL, THIRD) or leader.waiting is not None:
        yield at(state, "wait")
    elif leader.named == R:
        yield at(state, "tell rival")
    elif leader.named == OM and leader.busy:
        yield at(state, then, look_age=0)
    else:
        yield at(state, "wait")


def news(state: State, protocol: Protocol) -> Hello:
    return Hello(state.program.epoch, state.program.epoch, R, protocol.known_run_id)


def tell_leader(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    if state.program.look_age > FRESH_TICKS and protocol.looks_before_news and protocol.leader_first:
        yield at(state, "look again")
        return
    for after, answered in call(state, scene, LEADER, news(state, protocol)):
        yield at(after, "check leader" if protocol.leader_first else "check", call_failed=not answered)


def check_leader(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    leader = state.sentinels[LEADER]
    if not protocol.checks_leader or (leader.named == R and leader.waiting is None):
        yield at(state, "tell rival", call_failed=False)
    elif state.program.call_failed and protocol.triggers_another:
        for after, _answered in call(state, scene, RIVAL, FAILOVER):
            yield at(after, "wait", call_failed=False)
    else:
        again = leader.waiting is None and leader.named == OM
        yield at(state, "look again" if again else "wait", call_failed=False)


def tell_rival(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    for after, _answered in call(state, scene, RIVAL, news(state, protocol)):
        yield at(after, "tell third")


def tell_third(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    for after, _answered in call(state, scene, THIRD, news(state, protocol)):
        yield at(after, "check" if protocol.leader_first else "tell leader")


def check(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    named = {one.named for one in state.sentinels}
    if C in named:
        yield at(state, "unknown")
    elif OM in named or any(one.waiting for one in state.sentinels):
        yield at(state, "tell rival")
        yield at(state, "incomplete")
    else:
        yield at(state, "follow")


def let_follow(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    yield at(follow(follow(state, C, R), OM, R), "switched")


def wait(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    """Nobody is told; everything follows the one that Sentinel names in its own time."""
    yield at(state, "unknown")
    named = {one.named for one in state.sentinels} - {OM}
    if len(named) == 1 and not any(one.busy or one.waiting for one in state.sentinels):
        winner = named.pop()
        for node in {OM, R, C} - {winner}:
            state = follow(state, node, winner)
        yield at(state, "joined")


def next_run(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    """What the next run makes of what a killed one has left."""
    named = {one.named for one in state.sentinels} - {OM}
    if protocol.guesses_epoch and not named and state.nodes[R].master == MASTER:
        yield at(state, "tell rival", epoch=1 + max(one.config for one in state.sentinels))
    elif named - {R} or any(one.waiting or one.busy for one in state.sentinels):
        yield at(state, "wait")
    elif named:
        yield at(state, "tell rival", epoch=max(one.config for one in state.sentinels if one.named == R))
    else:
        yield at(state, "teach leader" if state.nodes[OM].master != MASTER else "lifted")


STEPS: dict[str, Step] = {
    "look": look,
    "teach ahead": teach_ahead,
    "demote": demote,
    "teach leader": teach_leader,
    "trigger": trigger,
    "promote": promote,
    "teach third": teach(THIRD, "teach rival"),
    "teach rival": teach(RIVAL, "look again"),
    "look again": look_again,
    "tell leader": tell_leader,
    "check leader": check_leader,
    "tell rival": tell_rival,
    "tell third": tell_third,
    "check": check,
    "follow": let_follow,
    "wait": wait,
    "next run": next_run,
}
"""Every other place is an end: killed, or the outcome that is reported."""
BEFORE_TRIGGER = ("look", "teach ahead", "demote", "teach leader", "trigger")
BEFORE_PROMOTION = (*BEFORE_TRIGGER, "promote")


# ---- the search ----------------------------------------------------------------------------------------------------


def will_happen(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    """What somebody does sooner or later."""
    yield from sentinel_moves(state, scene, protocol)
    if state.copy is not None:
        index, message = state.copy
        if state.sentinels[index].waiting is None:
            yield execute(state._replace(copy=None), index, message)
    if state.program.at in STEPS:
        yield from STEPS[state.program.at](state, scene, protocol)
    if any(one.ticked for one in state.sentinels):
        yield tick(state)


def may_happen(state: State, scene: Scene, protocol: Protocol) -> Iterator[State]:
    """What need not happen."""
    place = state.program.at
    if place in STEPS and state.kills < scene.kills:
        yield at(state._replace(kills=state.kills + 1), "dead")
    if place == "dead" and state.program.first_run:
        yield at(state, "next run", first_run=False)
    if place == "tell leader" and state.program.look_age <= FRESH_TICKS:
        yield tick(state)
    rival = state.sentinels[RIVAL]
    if state.rivals < scene.rivals and rival.master == OM and not rival.busy and rival.waiting is None:
        yield trigger_rival(state)


def tick(state: State) -> State:
    """52 ms pass."""
    sentinels = tuple(one._replace(ticked=False) for one in state.sentinels)
    age = min(state.program.look_age + 1, FRESH_TICKS + 1)
    return state._replace(sentinels=sentinels, program=state.program._replace(look_age=age))


def trigger_rival(state: State) -> State:
    begun = begin(state._replace(rivals=state.rivals + 1), RIVAL)
    triggered = state.program.at not in BEFORE_TRIGGER and state.sentinels[LEADER].current > 1
    later = begun.sentinels[RIVAL].epoch > state.sentinels[LEADER].current
    return begun._replace(moved_by_others=triggered and later)


def harm(state: State, scene: Scene, protocol: Protocol) -> str:
    """What is wrong for good where nothing is left to happen: ``ghost``, ``split``, ``loss``, or nothing."""
    if any(one.ghosts for one in state.sentinels):
        return "ghost"
    if state.program.at == "lifted":
        return ""
    named = {one.named for one in state.sentinels}
    if len(named) > 1:
        return "split"
    winners = list(named)
    if state.nodes[winners[0]].master != MASTER:
        # Sentinel finds a replica where it expects the master, and promotes any that it may.
        fit = (R,) if scene.laggard and protocol.steers_laggards else (R, C)
        winners = [node for node in fit if node not in named]
    missing = any(state.acknowledged & ~state.nodes[node].holds for node in winners)
    return "loss" if missing and not state.moved_by_others else ""


@dataclass
class Found:
    """What a search has found."""

    states: int = 0
    ends: set[str] = field(default_factory=set)
    """The places of the program where nothing was left to happen."""
    harms: dict[tuple[str, str], list[State]] = field(default_factory=dict)
    """Which harm with which end of the program, and one way that leads there."""

    @property
    def kinds(self) -> set[str]:
        return {kind for kind, _end in self.harms}


def start(scene: Scene) -> State:
    """OM is fenced; whoever is not a laggard has everything."""
    epoch = 5 if scene.low_leader else 1
    others = Sentinel(epoch, epoch)
    nodes = (Node(MASTER, BEFORE), Node(OM, BEFORE), Node(OM, 0 if scene.laggard else BEFORE))
    leader = Sentinel(current=2) if scene.leader_ahead else Sentinel()
    state = State((leader, others, others), nodes)
    return trigger_rival(state) if scene.rival_is_first else state


def search(scene: Scene, protocol: Protocol, *, first_only: bool = False) -> Found:
    """Every state that can be reached; with ``first_only`` until harm is found."""
    return untraced(functools.partial(_search, scene, protocol, first_only))


def _search(scene: Scene, protocol: Protocol, first_only: bool) -> Found:
    found = Found()
    origin = start(scene)
    came_from: dict[State, State | None] = {origin: None}
    left = [origin]
    while left and not (first_only and found.harms):
        state = left.pop()
        # In the order in which they were made: a set would come in another order each time.
        will = [after for after in map(settled, will_happen(state, scene, protocol)) if after != state]
        if not will:
            found.ends.add(state.program.at)
            kind = harm(state, scene, protocol)
            if kind and (kind, state.program.at) not in found.harms:
                found.harms[kind, state.program.at] = way(state, came_from)
        for after in (*will, *map(settled, may_happen(state, scene, protocol))):
            if after not in came_from:
                came_from[after] = state
                left.append(after)
    found.states = len(came_from)
    return found


def way(state: State, came_from: dict[State, State | None]) -> list[State]:
    """The states from the start to this one."""
    steps: list[State] = []
    step: State | None = state
    while step is not None:
        steps.insert(0, step)
        step = came_from[step]
    return steps
