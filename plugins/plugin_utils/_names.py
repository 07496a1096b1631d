# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that a person gives: variables and waivers. Which of them nobody knows, and what was meant.

Pure. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIXES = (
    "redis_ha_",
    "failover_",
    "precheck_",
    "postcheck_",
    "report_",
    "drain_",
    "drill_",
    "rolling_",
    "move_back_",
    "fleet_",
)
"""How the variables of this collection begin."""

INTERNAL = re.compile(
    r"__(redis_ha|failover|precheck|postcheck|report|history|status|drain|drill|rolling|move_back|fleet)_"
)
"""How variables begin that only the roles and playbooks themselves may set."""

SOMEBODY_ELSES = ("ansible_", "awx_", "tower_")
"""How variables begin that Ansible and AWX set."""

LEFT_BY_ROLES = frozenset(
    {
        *("precheck_result", "postcheck_result", "postcheck_wait", "postcheck_marker_result"),
        *("failover_plan", "failover_result", "failover_failure"),
        *("report_files", "report_headline"),
        *("drill_result", "rolling_plan", "rolling_result", "move_back_result"),
        *("drain_plan", "drain_result"),
        "fleet_result",
    }
)
"""What the roles leave in a play. They stand among the variables afterwards; given from outside they would hide the truth."""

HANDED_ON = frozenset(
    {
        *("redis_ha_failover", "redis_ha_precheck", "redis_ha_status"),
        *("redis_ha_drain", "redis_ha_drill", "redis_ha_rolling", "redis_ha_move_back"),
    }
)
"""What one job hands on to the next, which gets it among its extra variables."""

HANDED_ON_BY_A_DEPLOYMENT = "redis_ha_fleet_of_"
"""How a variable begins by which one deployment of a fleet hands on what became of it."""

KEPT_BY_ANSIBLE = {"strategy": "failover_strategy", "timeout": "failover_timeout"}
"""Options whose own names Ansible keeps for itself: said so, they would be ignored."""

CHECKS = frozenset(
    (
        "baseline_read",
        "config_file",
        "fit_replicas",
        "foreign_nodes",
        "hidden_replicas",
        "history_kept",
        "known_replicas",
        "known_sentinels",
        "master_moved",
        "master_role",
        "master_seen",
        "min_replicas",
        "modules",
        "move_possible",
        "no_chain",
        "no_failover",
        "no_fence",
        "no_pause",
        "no_steering",
        "no_tilt",
        "node_config_writable",
        "node_permissions",
        "nodes_reachable",
        "old_master",
        "one_address",
        "one_master",
        "other_names",
        "pause_budget",
        "priorities_restored",
        "quorum",
        "replica",
        "replica_follows",
        "replication_login",
        "resynchronised",
        "sentinel_config_writable",
        "sentinel_ids",
        "sentinel_permissions",
        "sentinel_settings",
        "sentinel_user",
        "sentinels_agree",
        "sentinels_reachable",
    )
)
"""Every check of health_info, by the name by which it is waived."""

WAITED_FOR = frozenset({"marker", "master_settled", "replica_in_sync", "sentinel_agrees"})
"""What the role postcheck waits for and can be waived like a check."""

SIMILAR = 0.85
"""How alike two names are (0 to 1, difflib) of which one is taken for the other with a typing error."""


@dataclass(frozen=True)
class Known:
    """The names that there are.

    Attributes:
        roles: Variables of the roles; they may stand anywhere.
        plain: Options that the playbooks take by their own names; empty where a play is somebody else's.
        others: Names that the caller has declared to be somebody else's.
    """

    roles: frozenset[str]
    plain: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Findings:
    """What is wrong with the names that were given.

    Attributes:
        refused: What speaks against going on, a sentence each.
        warnings: What may be an error and may be somebody else's, a sentence each.
    """

    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class _Found:
    refused: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def one_slip(typed: str, meant: str) -> bool:
    """Whether one typing error leads from one to the other: a letter too few, too many, another one, or two swapped."""
    if typed == meant or abs(len(typed) - len(meant)) > 1:
        return False
    start = 0
    while start < min(len(typed), len(meant)) and typed[start] == meant[start]:
        start += 1
    rest, wanted = typed[start:], meant[start:]
    return (
        rest[1:] == wanted
        or rest == wanted[1:]
        or (bool(rest) and bool(wanted) and rest[1:] == wanted[1:])
        or (len(rest) > 1 and rest[:2] == wanted[1::-1] and rest[2:] == wanted[2:])
    )


def nearest(typed: str, known: Iterable[str], similar: float = SIMILAR) -> str:
    """The name that was meant; empty if none is near enough."""
    names = sorted(known)
    slips = [name for name in names if one_slip(typed, name)]
    if slips:
        return slips[0]
    close = difflib.get_close_matches(typed, names, 1, similar)
    return close[0] if close else ""


def examine(names: Iterable[str], extra: Collection[str], known: Known) -> Findings:
    """Hold the names of variables against those that there are.

    Args:
        names: All variables of the host on which the play runs.
        extra: Those that came from the command line or a survey.
        known: The names that there are.
    """
    found = _Found()
    for name in sorted({*names, *extra}):
        if name not in known.others and not name.startswith(SOMEBODY_ELSES):
            _examine_one(name, name in extra, known, found)
    return Findings(tuple(found.refused), tuple(found.warnings))


def _examine_one(name: str, is_extra: bool, known: Known, found: _Found) -> None:
    if name in known.roles or name in known.plain or name in HANDED_ON or name.startswith(HANDED_ON_BY_A_DEPLOYMENT):
        return
    if name in LEFT_BY_ROLES or INTERNAL.match(name):
        if is_extra:
            found.refused.append(f"{name} is what the roles leave, and cannot be given")
        return
    if name.startswith(PREFIXES):
        found.refused.append(_unknown(name, nearest(name, known.roles, 0.6)))
        return
    if meant := next((meant for meant in known.roles if one_slip(name, meant)), ""):
        found.refused.append(_unknown(name, meant))
        return
    if known.plain:
        _examine_plain(name, is_extra, known, found)


def _examine_plain(name: str, is_extra: bool, known: Known, found: _Found) -> None:
    if name in KEPT_BY_ANSIBLE:
        if is_extra:
            found.refused.append(f"{name} is a word that Ansible keeps for itself; say {KEPT_BY_ANSIBLE[name]}")
        return
    if is_extra:
        if meant := nearest(name, known.plain):
            found.refused.append(_unknown(name, meant))
    elif meant := next((meant for meant in sorted(known.plain) if len(meant) > 3 and one_slip(name, meant)), ""):
        found.warnings.append(f"The variable {name} is not used. If {meant} is meant, correct it.")


def _unknown(name: str, meant: str) -> str:
    return f"{name} is unknown" + (f"; did you mean {meant}?" if meant else "")


def unknown_waivers(waivers: Iterable[str], known: Collection[str] = CHECKS) -> tuple[str, ...]:
    """What speaks against waivers that no check has, a sentence each."""
    return tuple(
        f"the waiver {name} is no check" + (f"; did you mean {meant}?" if (meant := nearest(name, known, 0.6)) else "")
        for name in waivers
        if name not in known
    )


def listed(value: Any) -> tuple[str, ...]:
    """A list, or a text separated by commas as a survey gives it, without what is empty."""
    parts = value.split(",") if isinstance(value, str) else value or ()
    return tuple(text for text in (str(part).strip() for part in parts) if text)


def refusal(sentences: Iterable[str]) -> str:
    """The message of a run that does not begin."""
    reasons = "; ".join(sentences)
    return (
        f"Nothing was asked of any server: {reasons}{'' if reasons.endswith('?') else '.'} "
        "If a name belongs to something else, put it into redis_ha_other_variables."
    )


def understood(request: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """One line that says what was understood of a request.

    Args:
        request: The options of the move as they were given.
        defaults: What each is if it is not given; what differs is said as well.
    """
    said = [
        f"target {request.get('target') or 'any'}",
        f"leave {', '.join(listed(request.get('avoid'))) or 'none'}",
        f"expected {request.get('expected_master') or 'any'}",
    ]
    always = {"master_name", "target", "avoid", "expected_master"}
    for name, value in request.items():
        if name not in always and _text(value) != _text(defaults.get(name)):
            said.append(f"{name} {_text(value)}")
    return f"{request.get('master_name', '')}: {'; '.join(said)}"


def _text(value: Any) -> str:
    if isinstance(value, bool) or str(value).lower() in ("true", "false", "yes", "no"):
        return "yes" if str(value).lower() in ("true", "yes") else "no"
    if isinstance(value, (int, float)) or re.fullmatch(r"\d+(\.\d+)?", str(value)):
        return f"{float(value):g}" if float(value) < 1e6 else str(int(float(value)))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={value[key]}" for key in value)
    return ", ".join(listed(value)) if isinstance(value, (list, tuple)) else str(value or "")
