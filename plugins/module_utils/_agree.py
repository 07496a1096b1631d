# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the promotion, every Sentinel names the new master.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._ask import Look, look
from ansible_collections.redis_ha.sentinel.plugins.module_utils._demotion import Demotion
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import SENTINEL
from ansible_collections.redis_ha.sentinel.plugins.module_utils._promotion import (
    LOOK_AROUND_S,
    Promotion,
    names_everywhere,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    MasterEntry,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait, each
from ansible_collections.redis_ha.sentinel.plugins.module_utils._split import (
    HEAL_FOR_S,
    Healed,
    find_split,
    heal,
    names_a_third,
    put_down,
    see_a_master,
    split_error,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    AGREE,
    AGREED,
    MOVED_ON,
)

AGREE_POLL_S = 0.004
MOST_AGREE_WAIT_S = 30.0
DEAD_SERVER_WAIT_S = 5.0
"""A server that cannot be asked any more is not waited for as long as one that has something left to do."""
STAYS_WAIT_S = 0.5
"""One that has heard of our epoch and names another master stays so for ever."""


def record_promotion(run: Run, promotion: Promotion, demotion: Demotion | None) -> None:
    """Put down who is the master now, and whether it has everything."""
    record = run.record
    if not run.same_now(promotion.master, record.new_master):
        run.note(f"Sentinel promoted {promotion.master} instead of {record.new_master}")
    record.new_master, record.leader, record.promotion = promotion.master, promotion.leader, promotion.by
    record.moved = True
    if demotion is None:
        return
    record.demoted_first = True
    if any(run.same_now(promotion.master, holder) for holder in demotion.holders):
        record.lossless = True
        record.lossless_reason = demotion.proof
    else:
        chosen = f"Sentinel chose {promotion.master}, which" if promotion.by == SENTINEL else str(promotion.master)
        record.deny_lossless(f"{chosen} was not seen to have everything that the old master acknowledged")
    record.beside = promotion.beside


def agree(run: Run, promotion: Promotion) -> Promotion:
    """Wait until every Sentinel names the new master; where they named two, and come to name the other one, that is it.

    Raises:
        UnknownOutcomeError: Sentinels of one epoch name two masters.
        IncompleteError: Sentinel has moved the master on meanwhile.
    """
    behind = [address for address in run.sentinels if address not in promotion.named_by]
    said: dict[Address, str] = {}
    if behind:
        with run.step(AGREE):
            said = _wait_agreed(run, promotion, behind)
            kept = _bring_together(run, promotion, said) if said else None
            if kept is not None:
                promotion = _with_master(run, promotion, kept)
                said = names_everywhere(run, kept, run.sentinels)
    if not said:
        run.record.agreed_at_s = run.clock.now_s()
        run.timeline.add(AGREED, promotion.master, f"every Sentinel names {promotion.master}")
    for address, text in said.items():
        run.left(f"Sentinel {address} does not name {promotion.master}: {text}")
    return promotion


def _with_master(run: Run, promotion: Promotion, kept: Address) -> Promotion:
    """The same, where another node than was promoted first is the master that was kept."""
    if run.same_now(kept, promotion.master):
        return promotion
    run.record.new_master, run.record.promotion = kept, SENTINEL
    return replace(promotion, master=kept, by=SENTINEL)


def _wait_agreed(run: Run, promotion: Promotion, behind: Sequence[Address]) -> dict[Address, str]:
    began_s = run.clock.now_s()
    deadline_s = began_s + min(run.request.timeout_s, MOST_AGREE_WAIT_S)
    wait = Wait(run)
    while True:
        said = names_everywhere(run, promotion.master, behind)
        behind = list(said)
        now_s = run.clock.now_s()
        if not said or now_s >= deadline_s or _is_in_vain(run, promotion, said, now_s - began_s):
            return said
        wait.tell(functools.partial(each, said, "Sentinel "))
        run.clock.sleep(AGREE_POLL_S)


def _is_in_vain(run: Run, promotion: Promotion, said: Mapping[Address, str], waited_s: float) -> bool:
    """Whether each of these Sentinels is dead, or stays with what it names, and that for long enough."""
    naming = [address for address, text in said.items() if text.startswith("it names")]
    if waited_s < (STAYS_WAIT_S if len(naming) == len(said) else DEAD_SERVER_WAIT_S):
        return False
    if not naming:
        return True
    seen = look(run)
    if _has_moved_on(run, promotion, seen):
        return True
    split = find_split(run, seen, promotion.master, _epoch_of(run, promotion, seen))
    apart = split.others if split else {}
    answers = {address: seen.said[address] for address in naming if address in seen.said}
    return all(address in apart or stays(run, it.entry, promotion.epoch) for address, it in answers.items())


def _has_moved_on(run: Run, promotion: Promotion, seen: Look) -> bool:
    """Whether every Sentinel names a third node, and none is about to promote another one."""
    at_rest = not seen.silent and not seen.undecided()
    return at_rest and all(names_a_third(run, said.named, promotion.master) for said in seen.said.values())


def _epoch_of(run: Run, promotion: Promotion, seen: Look) -> int:
    """The epoch of the Sentinels that name the new master."""
    ours = [it.entry.config_epoch for it in seen.said.values() if run.same_now(it.named, promotion.master)]
    return max(ours, default=promotion.epoch or 0)


def _bring_together(run: Run, promotion: Promotion, said: Mapping[Address, str]) -> Address | None:
    """Where Sentinels of one epoch name two masters, bring them together: the master that all name then. One of a later epoch is right, and stays.

    Raises:
        UnknownOutcomeError: They still name two.
        IncompleteError: Sentinel has moved the master on meanwhile.
    """
    deadline_s = run.clock.now_s() + HEAL_FOR_S
    tried: Healed | None = None
    while True:
        seen = look(run)
        ours = _epoch_of(run, promotion, seen)
        _raise_if_moved_on(run, promotion.master, ours, seen, said)
        split = find_split(run, seen, promotion.master, ours)
        if split is None:
            return None if tried is None else tried.should_be or promotion.master
        if tried is None:
            put_down(run, split)
        tried = heal(run, split)
        if tried.master is not None:
            return tried.master
        if run.clock.now_s() >= deadline_s or not run.record.demoted_first:
            raise split_error(run, split, tried)
        run.clock.sleep(LOOK_AROUND_S)


def _raise_if_moved_on(run: Run, master: Address, epoch: int, seen: Look, said: Mapping[Address, str]) -> None:
    for address, it in seen.said.items():
        # The row of a leader has the old address beside the new epoch.
        later = address in said and it.entry.config_epoch > epoch and not it.entry.failover_in_progress
        if later and it.named is not None and names_a_third(run, it.named, master):
            see_a_master(run, seen, it.named)
            raise moved_on_error(run, master, it.named, it.entry.config_epoch)


def stays(run: Run, entry: MasterEntry, epoch: int | None) -> bool:
    """Whether a Sentinel that names another master will go on so: of an epoch that it has it takes no other news."""
    before = max((view.master.config_epoch for view in run.snapshot.informed_sentinels if view.master), default=0)
    heard = epoch is not None and entry.config_epoch >= epoch and entry.config_epoch > before
    return heard and not entry.failover_in_progress


def moved_on_error(run: Run, master: Address, now_master: Address, epoch: int) -> FailoverError:
    """Put down that Sentinel has moved the master on after us; the error to raise."""
    run.record.deny_lossless(
        f"after the move to {master} Sentinel has failed over to {now_master} by itself (epoch {epoch}): what {master} "
        "acknowledged last may be lost"
    )
    run.left(f"the master is {now_master} by now")
    run.record.new_master = now_master
    run.timeline.add(MOVED_ON, now_master, f"Sentinel has failed over to {now_master} (epoch {epoch})")
    return failure(
        "moved_on",
        f"the master was moved to {master}, and Sentinel has failed over from there to {now_master} by itself (epoch {epoch})",
        master=master,
    )
