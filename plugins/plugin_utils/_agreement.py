# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which master a majority of the Sentinels names, and what each of them said where none is named.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import SentinelView


@dataclass(frozen=True)
class Agreement:
    """How the Sentinels of a master voted.

    ``master`` is the address that a majority names, spelled as the first of them spells it; ``None`` where there is no majority.
    """

    master_name: str
    master: Address | None
    named_by: int
    asked: int
    answered: int
    knowing: int
    said: tuple[str, ...]

    @property
    def needed(self) -> int:
        return self.asked // 2 + 1

    @property
    def reason(self) -> str:
        """Why there is no master, with what each Sentinel said."""
        return f"{self._what}. {'; '.join(self.said)}."

    @property
    def _what(self) -> str:
        if not self.answered:
            return f"No Sentinel can be asked for the master of {self.master_name}"
        if not self.knowing:
            return f"No Sentinel knows a master called {self.master_name}"
        return (
            f"No majority of the Sentinels names one master of {self.master_name}: "
            f"at most {self.named_by} of {self.asked} name the same, {self.needed} are needed"
        )


def agreement(master_name: str, views: Sequence[SentinelView], identity: Callable[[Address], Address]) -> Agreement:
    """Count what the Sentinels say.

    A Sentinel that answers and does not know the master is not one of its Sentinels, and is not counted. One that does not
    answer is.

    Args:
        master_name: The name of the master.
        views: What each Sentinel says.
        identity: Leads two spellings of one address to the same.
    """
    voters = [view for view in views if view.master is not None or not view.reachable]
    votes: dict[Address, list[Address]] = {}
    for view in voters:
        if view.current is not None:
            votes.setdefault(identity(view.current), []).append(view.current)
    most = max(votes.values(), key=len, default=[])
    return Agreement(
        master_name=master_name,
        master=most[0] if len(most) > len(voters) // 2 else None,
        named_by=len(most),
        asked=len(voters),
        answered=sum(view.reachable for view in views),
        knowing=sum(view.master is not None for view in views),
        said=tuple(f"Sentinel {view.address}: {_answer(view)}" for view in views),
    )


def _answer(view: SentinelView) -> str:
    if not view.reachable:
        return view.error.rstrip(".")
    return str(view.current) if view.current is not None else "no such master"
