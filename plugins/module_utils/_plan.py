# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to do, as one value: the plan, its steps in words, and the refusal in its place.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import STEERING, Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import COORDINATED, FENCED

MOVE = "move"
FINISH = "finish"
JOIN = "join"
REPAIR = "repair"
NOTHING = "nothing"
PAUSE_FENCE = "pause"
MIN_REPLICAS_FENCE = "min_replicas"
SENTINEL_WRITE_STOP_MS = 1_400
"""Sentinel looks at the replica that it promotes once a second; it may take that long and some ticks to notice."""
SENTINEL_HEALS_MS = 30_000
"""Beyond down-after: 20 s until Sentinel calls a master that turned replica down, 10 s until its INFO shows it (``sentinel.c``)."""


@dataclass(frozen=True)
class Steering:
    """A sibling whose ``replica-priority`` is raised for the time of the failover."""

    address: Address
    priority: int

    @property
    def raised(self) -> int:
        return self.priority + STEERING


@dataclass(frozen=True)
class Repair:
    """What an interrupted run left on a node: settings to put back, or a master to follow that it was not told of."""

    address: Address
    settings: tuple[tuple[str, int], ...] = ()
    follow: Address | None = None

    def __str__(self) -> str:
        if self.follow is not None:
            return f"let {self.address} follow {self.follow}"
        return f"put back on {self.address}: " + ", ".join(f"{name} {value}" for name, value in self.settings)


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        action: ``move``, ``finish`` (what an interrupted run began), ``join`` (a failover that is in progress), ``repair``
            (settings that an interrupted run left, nothing else), or ``nothing``.
        strategy: ``fenced``, ``coordinated`` or ``plain``; empty where nothing is moved.
        old_master: The master now.
        new_master: The replica to promote.
        siblings: The other replicas that Sentinel could choose and that have to catch up, too.
        others: All other replicas that should follow the new master afterwards.
        lagging: Siblings that Sentinel could choose and that are too far behind to be waited for.
        steering: Siblings whose priority is raised.
        priorities: The ``replica-priority`` of the candidates.
        any_candidate: Whether Sentinel may choose any of the candidates: each has everything.
        leaders: Sentinels that could lead, the best first.
        promotion: Who promotes: ``program`` or ``sentinel``; empty where nobody is promoted.
        promotion_reason: Why.
        promoted: Whether the new master is a master already: an interrupted run left it so.
        epoch: The epoch at which some Sentinel names the new master of an interrupted run already.
        fence: ``pause`` or ``min_replicas``; empty without a fence.
        lease_ms: How long a pause lasts if it is not renewed.
        fence_budget_ms: How long the fence may stand before it is given up.
        repairs: What an interrupted run left.
        notes: What the caller should know.
    """

    action: str
    old_master: Address
    strategy: str = ""
    new_master: Address | None = None
    siblings: tuple[Address, ...] = ()
    others: tuple[Address, ...] = ()
    lagging: tuple[Address, ...] = ()
    steering: tuple[Steering, ...] = ()
    priorities: tuple[tuple[Address, int], ...] = ()
    any_candidate: bool = False
    leaders: tuple[Address, ...] = ()
    promotion: str = ""
    promotion_reason: str = ""
    promoted: bool = False
    epoch: int | None = None
    fence: str = ""
    lease_ms: int = 0
    fence_budget_ms: int = 0
    down_after_ms: int = 0
    write_stop_ms: int = 0
    repairs: tuple[Repair, ...] = ()
    notes: tuple[str, ...] = ()
    master_reachable: bool = True

    @property
    def replica_to_promote(self) -> Address:
        """The new master of a plan that promotes one.

        Raises:
            ValueError: This plan promotes nobody.
        """
        if self.new_master is None:
            raise ValueError(f"a plan to {self.action} promotes nobody")
        return self.new_master

    def as_result(self) -> dict[str, Any]:
        """The plan as the result carries it."""
        result: dict[str, Any] = {
            "action": self.action,
            "strategy": self.strategy,
            "old_master": self.old_master.as_result(),
            "new_master": self.new_master.as_result() if self.new_master else None,
            "siblings": [str(address) for address in self.siblings],
            "lagging": [str(address) for address in self.lagging],
            "leaders": [str(address) for address in self.leaders],
            "promotion": self.promotion or None,
            "promotion_reason": self.promotion_reason or None,
            "steering": {str(steer.address): {"from": steer.priority, "to": steer.raised} for steer in self.steering},
            "repairs": [str(repair) for repair in self.repairs],
            "notes": list(self.notes),
            "steps": steps(self),
        }
        if self.action == MOVE:
            result.update(
                fence=self.fence,
                lease_ms=self.lease_ms,
                expected_write_stop_ms=self.write_stop_ms,
                worst_case_write_stop_ms=self.fence_budget_ms + SENTINEL_WRITE_STOP_MS
                if self.strategy == FENCED
                else None,
                write_stop_if_killed_ms=self.down_after_ms + SENTINEL_HEALS_MS if self.strategy == FENCED else None,
            )
        return result


def refuse(checks: Sequence[Check]) -> RefusedError:
    """One error that names every reason."""
    remedies = list(dict.fromkeys(check.remedy for check in checks if check.remedy))
    return RefusedError(
        checks[0].name,
        "; ".join(dict.fromkeys(check.detail for check in checks)),
        " ".join(remedies),
        phase="check",
        seen={"reasons": [check.as_result() for check in checks]},
    )


def steps(plan: Plan) -> list[str]:
    """What a run would do, one line a step."""
    put_back = [str(repair) for repair in plan.repairs]
    if plan.action == JOIN:
        return [
            "wait until the failover that is in progress has ended",
            "check that every replica follows the new master",
            *put_back,
        ]
    if plan.action in (NOTHING, REPAIR) or plan.new_master is None:
        return put_back
    raised = [f"raise replica-priority on {it.address} from {it.priority} to {it.raised}" for it in plan.steering]
    lowered = ["put the priorities back"] if plan.steering else []
    before = _steps_of_the_fence(plan, raised) if plan.strategy == FENCED and plan.action == MOVE else raised
    return [*put_back, *before, *_steps_of_the_promotion(plan), *lowered]


def _steps_of_the_fence(plan: Plan, raised: list[str]) -> list[str]:
    if plan.fence == PAUSE_FENCE:
        fence = f"pause writes on {plan.old_master}, {plan.lease_ms} ms at a time"
    else:
        fence = f"refuse writes on {plan.old_master} by min-replicas-to-write"
    waited = ", ".join(str(address) for address in (plan.new_master, *plan.siblings))
    return [
        f"see {waited} reach the master's offset while writes go on",
        *raised,
        fence,
        f"see {waited} apply everything that {plan.old_master} acknowledged",
        f"make {plan.old_master} a replica of {plan.new_master}",
    ]


def _steps_of_the_promotion(plan: Plan) -> list[str]:
    if plan.promoted and plan.promotion == PROGRAM:
        return [
            f"tell the Sentinels that {plan.new_master} is the master, and see every one name it",
            *_steps_after(plan),
        ]
    coordinated = plan.strategy == COORDINATED
    word = " COORDINATED" if coordinated else ""
    found = ["lower failover-timeout on the leading Sentinel for the time of the failover"] if coordinated else []
    found.append(f"send SENTINEL FAILOVER{word} to one of {', '.join(map(str, plan.leaders))}")
    if plan.promotion == PROGRAM:
        found.append(f"make {plan.new_master} the master, and tell the Sentinels")
    found.append(f"see {plan.new_master} become the master, and every Sentinel name it")
    return [*found, *_steps_after(plan)]


def _steps_after(plan: Plan) -> list[str]:
    demoted = f"rewrite the configuration of {plan.old_master} and close its clients' connections"
    return [*([demoted] if plan.strategy == FENCED else []), f"see every replica follow {plan.new_master}"]
