# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sentinels of one epoch that name two masters: found, and brought together again.

Two Sentinels that are told to fail over at the same moment take the same epoch, and nobody votes (``SENTINEL FAILOVER`` in ``sentinel.c``). Where they
choose two replicas, each Sentinel keeps what it heard first: it takes no news of an epoch that it has. News of a higher one it takes.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import Look, look, role
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import routes
from ansible_collections.redis_ha.sentinel.plugins.module_utils._promotion import teach_all, tell_all
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import FENCED
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import PROMOTED, RIVAL_SEEN

_HAS_PROMOTED = frozenset({"reconf_slaves", "update_config"})
"""The states of a failover in which Sentinel has seen the promotion, and has taken its epoch (``sentinelRefreshInstanceInfo``)."""


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


def heal(run: Run, split: Split) -> str:
    """Tell every Sentinel that the new master is the master since one epoch more; nothing, or why it was not done or did not help.

    The new master has all that the old one acknowledged, so it is the one to keep. As in a move, all Sentinels read first that the epoch is taken. The
    look comes after that: a failover that began before is seen, and one that begins later has a higher epoch.
    """
    run.record.deny_lossless(
        "Sentinels of one epoch named two masters: what clients of the other one wrote may be lost"
    )
    for sentinel, named in split.others.items():
        run.timeline.add(
            RIVAL_SEEN, sentinel, f"names {named} of epoch {split.epoch}, of which others name {split.master}"
        )
    ways = routes(run.snapshot, split.master)
    epoch = split.epoch + 1
    obstacle = "" if teach_all(run, ways, epoch) else f"not every Sentinel has read that epoch {epoch} is taken"
    obstacle = obstacle or _disturbance(split, look(run)) or _no_master(run, split)
    if obstacle:
        return f"they were not told otherwise: {obstacle}"
    told = tell_all(run, ways, epoch, split.master)
    deaf = [sentinel for sentinel in run.sentinels if sentinel not in told]
    if deaf:
        return f"they were told of epoch {epoch}, which Sentinel {', '.join(map(str, deaf))} did not take"
    run.note(f"{split}; by epoch {epoch}, of which they were told, all of them name {split.master}")
    return ""


def _disturbance(split: Split, seen: Look) -> str:
    """Why nobody may be told now: a Sentinel that may be about to promote a replica, or is silent. One that has promoted gives in to the news."""
    words = [f"Sentinel {sentinel} does not answer" for sentinel in seen.silent]
    for sentinel, said in seen.said.items():
        if said.entry.failover_in_progress and said.entry.failover_state not in _HAS_PROMOTED:
            words.append(f"Sentinel {sentinel} leads a failover ({said.entry.failover_state})")
        if said.entry.config_epoch > split.epoch:
            words.append(f"Sentinel {sentinel} has epoch {said.entry.config_epoch} by now")
    return "; ".join(words)


def _no_master(run: Run, split: Split) -> str:
    """See that the new master is a master, or make it one again where no node is: each leader has led its replica to the other's. Else why not."""
    nodes = dict.fromkeys([split.master, *split.others.values(), *(node.address for node in run.snapshot.nodes)])
    roles = run.fleet.gather(nodes, lambda address: role(run, address))
    if roles[split.master] == "master":
        return ""
    masters = [str(address) for address in nodes if roles[address] == "master"]
    if masters:
        return f"{split.master} is no master any more, and {', '.join(masters)} is one"
    if roles[split.master] != "replica" or run.record.strategy != FENCED:
        return f"{split.master} does not say that it is a master"
    try:
        run.fleet.node(split.master).order("REPLICAOF", "NO", "ONE")
    except (LinkError, ReplyError) as error:
        return f"no node is a master, and {split.master} could not be made one again ({error.message})"
    run.timeline.add(PROMOTED, split.master, f"no node was a master; {split.master} is one again")
    return ""
