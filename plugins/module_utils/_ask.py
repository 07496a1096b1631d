# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The questions that a run asks again and again.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Client
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    FailoverError,
    LinkError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    Address,
    MasterEntry,
    Position,
    Replication,
    parse_info,
    parse_master_entry,
    parse_replication,
    parse_role,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._run import Run, Wait, each

FAST_POLL_S = 0.001
FAST_ANSWER_S = 0.25
"""How long an answer may take while writes wait."""
SENTINEL_ANSWER_S = 0.5
NOT_ASKED = "not asked"


def replication(run: Run, address: Address, timeout_s: float | None = None) -> Replication:
    """``INFO replication`` of a node.

    Raises:
        LinkError, ReplyError: It cannot be asked.
    """
    return parse_replication(parse_info(run.fleet.node(address).ask("INFO", "replication", timeout_s=timeout_s)))


def role(run: Run, address: Address, default: str | None = None) -> str | None:
    """``master`` or ``replica``, as a node says; ``default`` where it cannot be asked."""
    try:
        return parse_role(run.fleet.node(address).ask("ROLE", timeout_s=FAST_ANSWER_S)).role
    except (LinkError, ReplyError):
        return default


def named_master(run: Run, sentinel: Address) -> Address | None:
    """The master that a Sentinel tells clients.

    Raises:
        LinkError, ReplyError: It cannot be asked.
    """
    return parse_named(run.fleet.sentinel(sentinel).ask(*_named_question(run), timeout_s=SENTINEL_ANSWER_S))


def _named_question(run: Run) -> tuple[str, str, str]:
    return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", run.request.master_name)


def parse_named(reply: Any) -> Address | None:
    """The reply of ``SENTINEL GET-MASTER-ADDR-BY-NAME``."""
    return Address(str(reply[0]), int(reply[1])) if reply else None


HAS_PROMOTED = frozenset({"reconf_slaves", "update_config"})
"""The states of a failover in which Sentinel has seen the promotion, and has taken its epoch (``sentinelRefreshInstanceInfo``)."""


@dataclass(frozen=True)
class SentinelSaid:
    """What one Sentinel said in a look.

    ``named`` is what it tells clients. The leading Sentinel tells them the new address as soon as it has seen the promotion, and shows the
    old one in its ``entry`` until its failover is over.
    """

    entry: MasterEntry
    named: Address | None
    tilt: bool = False


def parse_said(replies: Sequence[Any]) -> SentinelSaid:
    """The replies of the questions of a look, in their order."""
    entry, named, *info = replies
    tilt = bool(info) and parse_info(info[0]).get("sentinel_tilt", "0") != "0"
    return SentinelSaid(parse_master_entry(entry), parse_named(named), tilt)


def look_questions(run: Run) -> list[tuple[object, ...]]:
    """What a look asks."""
    return [("SENTINEL", "MASTER", run.request.master_name), _named_question(run)]


@dataclass(frozen=True)
class Look:
    """What every Sentinel said at about one moment.

    Attributes:
        sent_at_s: When the questions were sent, in monotonic seconds. Whatever a Sentinel had begun by then, it tells.
        said: What those said that answered.
        silent: Why the others did not.
    """

    sent_at_s: float
    said: Mapping[Address, SentinelSaid]
    silent: Mapping[Address, str]

    def in_progress(self) -> list[Address]:
        """Sentinels that lead a failover."""
        return [address for address, said in self.said.items() if said.entry.failover_in_progress]

    def undecided(self) -> list[Address]:
        """Sentinels that lead a failover in which they have not seen a promotion yet. Afterwards they only lead replicas to the node that they name."""
        return [it for it in self.in_progress() if self.said[it].entry.failover_state not in HAS_PROMOTED]


def look(run: Run, tilt: bool = False, of: Iterable[Address] | None = None) -> Look:
    """Ask every Sentinel, side by side, what it holds for the master and whether it leads a failover.

    Args:
        run: The run.
        tilt: Also ask whether it is in TILT.
        of: Only these Sentinels.
    """
    questions = look_questions(run) + ([("INFO", "sentinel")] if tilt else [])
    sent_at_s = run.clock.now_s()
    answers = run.fleet.gather(
        run.sentinels if of is None else of,
        lambda address: parse_said(run.fleet.sentinel(address).ask_many(questions, timeout_s=SENTINEL_ANSWER_S)),
    )
    said = {address: it for address, it in answers.items() if isinstance(it, SentinelSaid)}
    silent = {address: it.message for address, it in answers.items() if not isinstance(it, SentinelSaid)}
    return Look(sent_at_s, said, silent)


def rivals(run: Run, seen: Look, old_master: Address, leader: Address | None = None) -> dict[Address, str]:
    """Sentinels that have begun a failover beside the leader's, or name another master than the old one, and what each does."""
    found = {}
    for address, said in seen.said.items():
        if said.named is not None and not run.same_now(said.named, old_master):
            found[address] = f"names {said.named}"
        elif said.entry.failover_in_progress and address != leader:
            found[address] = f"has begun a failover of its own ({said.entry.failover_state})"
    return found


def sentinels_missing(seen: Look) -> FailoverError:
    """The error that says which Sentinels have fallen silent."""
    silent = "; ".join(f"Sentinel {address} has stopped answering: {text}" for address, text in seen.silent.items())
    return failure("sentinels_missing", silent)


def wait_applied(
    run: Run,
    addresses: Sequence[Address],
    wanted: Position,
    deadline_s: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[Address, str]:
    """Wait until every node has applied a position.

    Args:
        run: The run.
        addresses: The nodes.
        wanted: The position.
        deadline_s: When to give up, in monotonic seconds.
        meanwhile: Called before each look.

    Returns:
        Those that did not by the deadline, and what is known of each.
    """
    behind = dict.fromkeys(addresses, NOT_ASKED)
    wait = Wait(run)
    while behind:
        left_s = deadline_s - run.clock.now_s()
        if left_s <= 0:
            break
        meanwhile()
        answers = applied(run, tuple(behind), min(left_s, FAST_ANSWER_S))
        # One that had no time to answer any more is behind for the reason that it gave before.
        cut_short = left_s < FAST_ANSWER_S
        behind = {
            address: behind[address]
            if cut_short and isinstance(it, LinkError) and behind[address] != NOT_ASKED
            else text
            for address, it in answers.items()
            if (text := _why_behind(it, wanted))
        }
        if behind:
            wait.tell(functools.partial(each, behind))
            run.clock.sleep(FAST_POLL_S)
    return behind


def applied(
    run: Run, addresses: Sequence[Address], timeout_s: float
) -> dict[Address, Replication | LinkError | ReplyError]:
    """The replication of several nodes, asked side by side."""
    return run.fleet.gather(addresses, lambda address: replication(run, address, timeout_s=timeout_s))


def _why_behind(answer: Replication | LinkError | ReplyError, wanted: Position) -> str:
    """Why a node has not applied a position; nothing, if it has."""
    if isinstance(answer, (LinkError, ReplyError)):
        return answer.message
    if answer.has_applied(wanted):
        return ""
    if answer.replid != wanted.replid:
        return "it follows another history of writes: its master has restarted, or is another one"
    return f"applied {answer.applied_offset} of {wanted}, link {'up' if answer.link_up else 'down'}"


def rewrite(run: Run, client: Client) -> None:
    """CONFIG REWRITE. A server that was started without a configuration file has none to rewrite.

    Raises:
        LinkError: It cannot be asked.
    """
    try:
        client.ask("CONFIG", "REWRITE")
    except ReplyError as error:
        if "without a config file" in error.message:
            run.note(f"{client.address} has no configuration file: after a restart it does not know its role")
        else:
            run.left(
                f"{client.address}: CONFIG REWRITE failed ({error.message}); after a restart it has its old settings and role"
            )
