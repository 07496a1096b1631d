# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, as types that carry code, phase, what was seen last, and what to do.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class FailoverError(Exception):
    """An error that the user sees.

    Args:
        code: The error code of the documentation, for example ``master_unknown``.
        message: One sentence: what is wrong, and where.
        remedy: What to do now.
        phase: The phase of the failover in which it happened, empty outside of one.
        seen: What was seen last, as plain data for the result.
    """

    outcome = "refused"

    def __init__(
        self, code: str, message: str, remedy: str, phase: str = "", seen: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.phase = phase
        self.seen = seen or {}

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, for ``msg``."""
        end = "" if self.message.endswith("?") else "."
        return f"{self.message.rstrip('.')}{end} {self.remedy}"


class RefusedError(FailoverError):
    """Nothing was tried, nothing was changed."""

    outcome = "refused"


class AbortedError(FailoverError):
    """It was tried and rolled back: the master is the one that it was."""

    outcome = "aborted"


class IncompleteError(FailoverError):
    """The master was moved, and something is left to do."""

    outcome = "incomplete"


class UnknownOutcomeError(FailoverError):
    """It could not be established how it ended; it may still finish by itself."""

    outcome = "unknown"


@dataclass(frozen=True)
class Kind:
    """What an error of a run means, and what to do about it.

    Attributes:
        error: The class of the error, which says what became of the deployment.
        remedy: What to do now; names in braces are filled in by who raises it.
    """

    error: type[FailoverError]
    remedy: str


_LOOK = "Look at this server, and at the deployment with topology_info, and run again."
_REPORT = (
    "This is a fault of the program, not of the servers: please report it with this message. Look at the deployment with topology_info, and run"
    " again: a run puts right what another has begun."
)
_WAIT_OR_RUN = "Run again: the run finishes the move. If nobody does, Sentinel promotes a replica by itself."

ERRORS: dict[str, Kind] = {
    "contact_lost": Kind(RefusedError, _LOOK),
    "contact_lost_halfway": Kind(UnknownOutcomeError, _LOOK),
    "program_failed": Kind(RefusedError, _REPORT),
    "program_failed_halfway": Kind(UnknownOutcomeError, _REPORT),
    "node_unreachable": Kind(RefusedError, "Look at this node and run again."),
    "another_run": Kind(
        RefusedError,
        "Wait until it has ended, and look with topology_info before you run again. If the host of that run is gone, the master closes the connection by"
        " itself after tcp-keepalive (300 s unless it is set). To close it at once, send CLIENT KILL ID {connection} to the master.",
    ),
    "repair_failed": Kind(RefusedError, "Set it by hand, or run again when the node can be asked."),
    "repair_left": Kind(IncompleteError, "Set it by hand, or run again when the node can be asked."),
    "steering_failed": Kind(RefusedError, "Look at this node and run again."),
    "steering_not_shown": Kind(
        RefusedError, "Look at the network between the Sentinels and the replicas, and run again."
    ),
    "target_lagging": Kind(
        RefusedError, "Wait until it has caught up, or raise catch_up_timeout: writes would stand still as long."
    ),
    "interrupted": Kind(RefusedError, "Nothing was moved. Run again when it suits."),
    "too_late": Kind(RefusedError, "Nothing was moved. Run again in the next window, or with a later not_after."),
    "master_changed": Kind(RefusedError, "Look with topology_info and run again."),
    "failover_started": Kind(RefusedError, "Run again: it will be joined."),
    "tilt": Kind(RefusedError, "Wait 30 s and run again."),
    "sentinels_missing": Kind(RefusedError, "Start it, or mend the way to it, and run again."),
    "sentinel_not_permitted": Kind(RefusedError, "Permit +sentinel|set (docs/permissions.md)."),
    "news_closed": Kind(
        RefusedError,
        "Mend what is named, or leave promotion at auto: then Sentinel promotes, and writes stand still for about 1.2 s.",
    ),
    "fence_failed": Kind(AbortedError, "Nothing was moved. Look at this node and run again."),
    "fence_lost": Kind(AbortedError, "Nothing was moved, and a pause ends by itself. Look at this node and run again."),
    "fence_left": Kind(
        UnknownOutcomeError,
        "Run again as soon as it can be asked: that lifts the fence. By hand: CONFIG SET {settings}",
    ),
    "catch_up_timeout": Kind(
        AbortedError,
        "Nothing was moved; writes stood still for {stood_ms} ms. Look at what slows this replica, or raise catch_up_timeout.",
    ),
    "late_writes": Kind(
        AbortedError,
        "Nothing was lost. The fence did not hold: look for long pauses of this host, raise down-after-milliseconds, or run again at a quieter time.",
    ),
    "writes_missing": Kind(
        UnknownOutcomeError,
        "Start this Sentinel, or mend the way to it, and run again at once: then {old_master} is made the master again, and nothing is lost. Where its"
        " process has ended for certain, REPLICAOF NO ONE on {old_master} does that, too. Otherwise Sentinel promotes the replica by itself, within"
        " {heals_s} s of the interruption, and what only {old_master} has is lost.",
    ),
    "demotion_refused": Kind(AbortedError, "Nothing was moved; writes go on. Look at this node."),
    "demotion_not_sent": Kind(AbortedError, "Nothing was moved; writes go on when the pause ends."),
    "demotion_lost": Kind(AbortedError, "Nothing was moved; writes go on. Run again."),
    "demotion_in_doubt": Kind(
        UnknownOutcomeError,
        "If it is still a master, writes go on. If it is not, Sentinel promotes a replica by itself within {heals_s} s, or run again: that finishes it."
        " No write is lost either way.",
    ),
    "roll_back_failed": Kind(UnknownOutcomeError, _WAIT_OR_RUN),
    "rival_failover": Kind(
        AbortedError, "Nothing was moved by this run. Look with topology_info where that failover led, and run again."
    ),
    "trigger_refused": Kind(
        AbortedError,
        "Nothing was moved. A Sentinel that had begun a failover starts none by itself for twice failover-timeout.",
    ),
    "promotion_timeout": Kind(
        UnknownOutcomeError, "It may still happen. Look with topology_info; run again to join it or to finish it."
    ),
    "promotion_in_doubt": Kind(UnknownOutcomeError, "Run again: it is joined, finished or begun anew then."),
    "sentinels_split": Kind(
        UnknownOutcomeError,
        "Sentinels of one epoch never agree by themselves. Find out, with topology_info, which of these nodes is the master{hint}. On each"
        " Sentinel that names another one, SENTINEL REMOVE {name} and SENTINEL MONITOR {name} with the right one, and its settings again.",
    ),
    "left_to_do": Kind(
        IncompleteError,
        "Mend what is named; a replica that is only slow needs nothing but time. Look with topology_info.",
    ),
    "moved_on": Kind(
        IncompleteError,
        "Find out in the logs of the Sentinels why they took {master} for down: a host that is overloaded, or a network. Run again if the master shall be"
        " elsewhere.",
    ),
    "joined_failover_unfinished": Kind(UnknownOutcomeError, "It may still end. Look with topology_info and run again."),
    "joined_failover_failed": Kind(AbortedError, "Nothing was moved. Run again to move it."),
}
"""Code -> what it means for the deployment, and what to do. The step in which it happened is the run's to say."""


def failure(code: str, message: str, seen: dict[str, Any] | None = None, **values: object) -> FailoverError:
    """An error of a run.

    Args:
        code: One of ``ERRORS``. What is cut off at ``_halfway`` or ``_left`` is another outcome of the same code.
        message: One sentence: what is wrong, and where.
        seen: What was seen last, as plain data for the result.
        values: What the remedy names in braces.
    """
    kind = ERRORS[code]
    return kind.error(ONE_CODE.get(code, code), message, kind.remedy.format(**values), seen=seen)


ONE_CODE = {
    "contact_lost_halfway": "contact_lost",
    "program_failed_halfway": "program_failed",
    "repair_left": "repair_failed",
}
"""Where one code stands for two outcomes: the entry of ``ERRORS`` -> the code that the user sees."""


class LinkError(Exception):
    """A server could not be asked.

    Args:
        address: ``host:port`` of the server, as Sentinel or the user names it.
        message: Why, for a person.
        sent: Whether the command may have reached the server. ``False`` proves that it was never received.
    """

    code = "unreachable"

    def __init__(self, address: str, message: str, sent: bool = False) -> None:
        super().__init__(f"{address}: {message}")
        self.address = address
        self.message = message
        self.sent = sent


class AuthError(LinkError):
    """A server refused the user name or password, or wants one."""

    code = "auth"


class TlsError(LinkError):
    """The TLS handshake failed: unknown authority, expired certificate, wrong name, no client certificate."""

    code = "tls"


class ReplyError(Exception):
    """A server answered with an error.

    Args:
        address: ``host:port`` of the server.
        prefix: The first word of the error, for example ``NOPERM``, ``NOGOODSLAVE`` or ``ERR``.
        message: The rest of the error.
    """

    def __init__(self, address: str, prefix: str, message: str) -> None:
        super().__init__(f"{address}: {prefix} {message}")
        self.address = address
        self.prefix = prefix
        self.message = message
