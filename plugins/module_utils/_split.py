# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sentinels of one epoch that name two masters: found, and brought together again.

Two Sentinels that are told to fail over at the same moment take the same epoch, and nobody votes (``SENTINEL FAILOVER`` in ``sentinel.c``). Where they
choose two replicas, each Sentinel keeps what it heard first: it takes no news of an epoch that it has. News of a higher one it takes.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import Look, role
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._follow import rewrite_new_master
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import routes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._promotion import (
    look_around,
    names_everywhere,
    teach_all,
    tell_all,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import PROMOTED, RIVAL_SEEN

HEAL_FOR_S = 5.0
"""So long what speaks against it is waited for: a failover of somebody else is over by then, as a rule."""
SPREAD_S = 2.5
"""A Sentinel that was not told hears it from the others: they say it every two seconds (``SENTINEL_PUBLISH_PERIOD``)."""
SPREAD_POLL_S = 0.1
NO_MASTER = "no node was a master"


@dataclass(frozen=True)
class Split:
    """Sentinels that name another master than the others do.

    Attributes:
        master: The new master, which the others name.
        epoch: The configuration epoch of all of them.
        others: Each of these Sentinels, and the master that it names.
    """

    master: Address
    epoch: int
    others: Mapping[Address, Address]

    def __str__(self) -> str:
        apart = ", ".join(f"Sentinel {sentinel} names {named}" for sentinel, named in self.others.items())
        return f"{apart}, the others name {self.master}, all of epoch {self.epoch}"


@dataclass(frozen=True)
class Healed:
    """What came of it.

    Attributes:
        master: The master that all Sentinels name now; nothing, if they do not.
        why_not: Why they do not.
        should_be: Which node should be the master, where that is known.
    """

    master: Address | None
    why_not: str = ""
    should_be: Address | None = None


def names_a_third(run: Run, named: Address | None, master: Address) -> bool:
    """Whether a Sentinel names neither the new master nor, being late, the old one."""
    return named is not None and not any(run.same_now(named, known) for known in (master, run.record.old_master))


def find_split(run: Run, seen: Look, master: Address, epoch: int) -> Split | None:
    """The Sentinels that name a third node of the epoch of our move, if there are any beside some that name the new master."""
    of_epoch = {
        sentinel: said.named
        for sentinel, said in seen.said.items()
        if said.named is not None and said.entry.config_epoch == epoch
    }
    others = {sentinel: named for sentinel, named in of_epoch.items() if names_a_third(run, named, master)}
    named = any(run.same_now(it, master) for it in of_epoch.values())
    return Split(master, epoch, others) if named and others else None


def put_down(run: Run, split: Split) -> None:
    """Put down that there is one: whoever asked the Sentinels apart may have written to another node."""
    for sentinel, named in split.others.items():
        detail = f"names {named} of epoch {split.epoch}, of which others name {split.master}"
        run.timeline.add(RIVAL_SEEN, sentinel, detail)
    if run.record.demoted_first:
        # Else nothing was shown before, for a reason that costs more writes.
        why = "Sentinels of one epoch named two masters: what clients of the other one wrote may be lost"
        run.record.deny_lossless(why)


def heal(run: Run, split: Split) -> Healed:
    """Tell every Sentinel that one of these nodes is the master since one epoch more.

    Only where the old master was demoted before anybody was promoted: else one of them may lack more than the other. As in a move, all Sentinels read first
    that the epoch is taken. The look comes after that: a failover that began before is seen, and one that begins later has a higher epoch.
    """
    if not run.record.demoted_first:
        return Healed(None, "they were not told otherwise: which of the two has more is not known")
    epoch = split.epoch + 1
    if not teach_all(run, routes(run.snapshot, split.master), epoch):
        return Healed(None, f"they were not told otherwise: not every Sentinel has read that epoch {epoch} is taken")
    kept = _node_to_keep(run, split)
    if isinstance(kept, str):
        return Healed(None, f"they were not told otherwise: {kept}")
    if obstacle := look_around(run, lambda seen: _disturbance(split, seen), run.clock.now_s()):
        return Healed(None, f"they were not told otherwise: {obstacle}", kept)
    return _tell(run, split, kept, epoch)


def split_error(run: Run, split: Split, healed: Healed) -> FailoverError:
    """The error that says that Sentinels still name two masters."""
    hint = f": {healed.should_be} should be" if healed.should_be else ""
    return failure("sentinels_split", f"{split}; {healed.why_not}", name=run.request.master_name, hint=hint)


def _node_to_keep(run: Run, split: Split) -> Address | str:
    """The new master where it is a master, or no node is; the other one where that is the only master, which the new master follows by now.

    Two leaders may have led each of two replicas to the other. Else why nobody can be kept: a node that does not answer may be a master.
    """
    if role(run, split.master) == "master":
        return split.master
    roles = roles_of_all(run, split.master, list(split.others.values()))
    silent = [address for address, it in roles.items() if it is None and _is_named(run, split, address)]
    masters = [address for address, it in roles.items() if it == "master"]
    if silent:
        return f"{silent[0]} does not say what it is"
    if not masters:
        return split.master
    if len(masters) == 1 and _is_named(run, split, masters[0]):
        return masters[0]
    return f"{split.master} is a replica, and a master is {' and '.join(map(str, masters))}"


def _is_named(run: Run, split: Split, address: Address) -> bool:
    return any(run.same_now(address, named) for named in (split.master, *split.others.values()))


def roles_of_all(run: Run, master: Address, others: Sequence[Address] = ()) -> dict[Address, str | None]:
    """What the nodes of the plan say that they are, the new master first; ``None`` where they do not answer."""
    plan = run.record.plan
    known = (*plan.others, plan.replica_to_promote, plan.old_master) if plan else ()
    nodes: list[Address] = []
    for address in (master, *others, *known):
        # A Sentinel may spell it in another way.
        if not any(run.same_now(address, node) for node in nodes):
            nodes.append(address)
    roles = run.fleet.gather(nodes, lambda address: role(run, address))
    return {address: it if isinstance(it, str) else None for address, it in roles.items()}


def _disturbance(split: Split, seen: Look) -> str:
    """A Sentinel that may be about to promote a replica, or is silent. One that has promoted gives in to the news."""
    words = [f"Sentinel {sentinel} does not answer" for sentinel in seen.silent]
    words += [f"Sentinel {it} leads a failover ({seen.said[it].entry.failover_state})" for it in seen.undecided()]
    for sentinel, said in seen.said.items():
        if said.entry.config_epoch > split.epoch:
            words.append(f"Sentinel {sentinel} has epoch {said.entry.config_epoch} by now")
    return "; ".join(words)


def _tell(run: Run, split: Split, kept: Address, epoch: int) -> Healed:
    """Tell those first that lead replicas elsewhere: they stop it. Then the node is made a master again, where it is none."""
    ways = routes(run.snapshot, kept)
    now = {sentinel: split.others.get(sentinel, split.master) for sentinel in ways}
    apart = {sentinel: way for sentinel, way in ways.items() if not run.same_now(now[sentinel], kept)}
    told = tell_all(run, apart, epoch, kept)
    again = role(run, kept) == "replica"
    if again and (why_not := make_master_again(run, kept)):
        return Healed(None, why_not, kept)
    told += tell_all(run, {sentinel: way for sentinel, way in ways.items() if sentinel not in apart}, epoch, kept)
    if again:
        rewrite_new_master(run, kept)
    deaf = _wait_for_the_others(run, kept, [sentinel for sentinel in run.sentinels if sentinel not in told])
    if deaf:
        who = ", ".join(map(str, deaf))
        return Healed(None, f"all were to be told of epoch {epoch}, and Sentinel {who} does not name {kept}", kept)
    run.record.healed = True
    run.note(f"{split}; by epoch {epoch}, of which they were told, all of them name {kept}")
    return Healed(kept)


def make_master_again(run: Run, address: Address, why: str = NO_MASTER) -> str:
    """Make a node a master again.

    Args:
        run: The run.
        address: The node.
        why: What has happened to it, for the timeline.

    Returns:
        Nothing, or why it could not be.
    """
    try:
        run.fleet.node(address).order("REPLICAOF", "NO", "ONE")
    except (LinkError, ReplyError) as error:
        return f"{why}, and {address} could not be made a master again ({error.message})"
    run.timeline.add(PROMOTED, address, f"{why}; {address} is a master again")
    return ""


def see_a_master(run: Run, seen: Look, named: Address) -> None:
    """Where every Sentinel names a node that was led away, and no node is a master, make it one again: else nobody takes writes for half a minute."""
    agreed = all(run.same_now(said.named, named) for said in seen.said.values())
    if not run.record.demoted_first or not agreed or seen.silent or seen.undecided():
        return
    roles = roles_of_all(run, named)
    if roles[named] == "replica" and "master" not in roles.values():
        if why_not := make_master_again(run, named):
            run.note(why_not)
        else:
            rewrite_new_master(run, named)


def _wait_for_the_others(run: Run, master: Address, sentinels: list[Address]) -> list[Address]:
    """Those that do not name a master even after all others have told them."""
    deadline_s = run.clock.now_s() + SPREAD_S
    while sentinels := list(names_everywhere(run, master, sentinels)):
        if run.clock.now_s() > deadline_s:
            break
        run.clock.sleep(SPREAD_POLL_S)
    return sentinels
