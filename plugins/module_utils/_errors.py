# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, as types that carry code, phase, what was seen last, and what to do.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

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


class Refused(FailoverError):
    """Nothing was tried, nothing was changed."""

    outcome = "refused"


class Aborted(FailoverError):
    """It was tried and rolled back: the master is the one that it was."""

    outcome = "aborted"


class Incomplete(FailoverError):
    """The master was moved, and something is left to do."""

    outcome = "incomplete"


class Unknown(FailoverError):
    """It could not be established how it ended; it may still finish by itself."""

    outcome = "unknown"


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
    """A server refused our user name or password, or wants one."""

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
