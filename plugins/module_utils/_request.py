# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a caller asks for, and how that is said in one line or as a command.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address

FENCED = "fenced"
COORDINATED = "coordinated"
PLAIN = "plain"
AUTO = "auto"


@dataclass(frozen=True)
class Request:
    """What the caller asks for: the options of ``redis_ha.sentinel.failover``."""

    master_name: str
    target: Address | None = None
    avoid: tuple[str, ...] = ()
    min_sentinels: int | None = None
    expected_master: Address | None = None
    strategy: str = AUTO
    promotion: str = AUTO
    accept_loss: bool = False
    not_after: str = ""
    not_after_s: float | None = None
    max_lag_bytes: int = 10 * 1024 * 1024
    catch_up_timeout_s: float = 1.0
    timeout_s: float = 120.0


def understood(request: Request) -> str:
    """One line: what the program has understood of what it is asked for."""
    words = [
        f"master {request.master_name}",
        f"target {request.target or 'any'}",
        f"leave {', '.join(request.avoid) or 'none'}",
        f"expected {request.expected_master or 'any'}",
        f"strategy {request.strategy}",
        f"promotion {request.promotion}",
    ]
    if request.min_sentinels is not None:
        words.append(f"at least {request.min_sentinels} Sentinels")
    if request.not_after:
        words.append(f"not after {request.not_after}")
    if request.accept_loss:
        words.append("loss accepted")
    return "; ".join(words)


def way_back(request: Request, sentinels: Sequence[Address], old_master: Address, new_master: Address) -> str:
    """The ready command that moves the master back."""
    words = {
        "sentinels": ",".join(map(str, sentinels)),
        "master_name": request.master_name,
        "target": old_master,
        "expected_master": new_master,
    }
    options = " ".join(f"{name}={value}" for name, value in words.items())
    return f"ansible localhost -m redis_ha.sentinel.failover -a {shlex.quote(options)}"
