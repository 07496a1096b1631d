# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every check of ``health_info``: a situation (a snapshot, the evidence gathered with it, an earlier snapshot) -> named checks.

Pure. Each function is one check of docs/checks.md and gives it one name, whatever its status, so that a role can waive it by
name. What a server does not let anyone see is ``ok`` and says so: a check never fails for lack of knowledge. This module is private to
the collection redis_ha.sentinel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import CRITICAL, OK, WARNING, Check
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_after import (
    check_baseline,
    check_followers,
    check_history,
    check_master_moved,
    check_min_replicas_after,
    check_nodes_reachable,
    check_not_chained,
    check_old_master,
    check_one_master,
    check_priorities,
    check_resyncs,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_before import (
    check_config_files,
    check_hidden,
    check_logins,
    check_master_role,
    check_min_replicas_before,
    check_modules,
    check_move,
    check_node_permissions,
    check_pause_budget,
    check_replicas,
    check_sentinel_user,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_files import check_node_files
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_leftovers import (
    check_no_fence_after,
    check_no_fence_before,
    check_no_pause_after,
    check_no_pause_before,
    check_no_steering_after,
    check_no_steering_before,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_sentinels import (
    check_agree,
    check_config_saved,
    check_foreign,
    check_ids,
    check_known_replicas,
    check_known_sentinels,
    check_names,
    check_no_failover_after,
    check_no_failover_before,
    check_no_tilt,
    check_one_address,
    check_reachable,
    check_seen,
    check_sentinel_permissions,
    check_settings,
    check_votes,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import AFTER, CheckFunction, Situation

BEFORE_CHECKS: tuple[CheckFunction, ...] = (
    check_reachable,
    check_agree,
    check_seen,
    check_settings,
    check_votes,
    check_known_sentinels,
    check_no_tilt,
    check_no_failover_before,
    check_config_saved,
    check_sentinel_permissions,
    check_ids,
    check_names,
    check_foreign,
    check_one_address,
    check_master_role,
    check_known_replicas,
    check_replicas,
    check_hidden,
    check_logins,
    check_min_replicas_before,
    check_node_permissions,
    check_sentinel_user,
    check_modules,
    check_pause_budget,
    check_config_files,
    check_node_files,
    check_no_fence_before,
    check_no_steering_before,
    check_no_pause_before,
)

AFTER_CHECKS: tuple[CheckFunction, ...] = (
    check_reachable,
    check_agree,
    check_seen,
    check_votes,
    check_known_sentinels,
    check_no_tilt,
    check_no_failover_after,
    check_config_saved,
    check_ids,
    check_names,
    check_foreign,
    check_one_address,
    check_nodes_reachable,
    check_one_master,
    check_baseline,
    check_master_moved,
    check_history,
    check_old_master,
    check_node_files,
    check_known_replicas,
    check_followers,
    check_not_chained,
    check_resyncs,
    check_min_replicas_after,
    check_priorities,
    check_no_fence_after,
    check_no_steering_after,
    check_no_pause_after,
)

DISTURBED = frozenset(
    {
        "sentinels_agree",
        "master_seen",
        "master_role",
        "fit_replicas",
        "hidden_replicas",
        "min_replicas",
        "known_sentinels",
        "quorum",
        "sentinel_ids",
        "other_names",
        "foreign_nodes",
        "one_address",
    }
)
"""What a failover disturbs while it goes on."""

DONE_WITHOUT = frozenset({"master_role", "node_permissions"})
"""What only a fence needs: a Valkey 9 that hands over by itself (``coordinated``) does without."""

PASSING = frozenset(
    {
        "sentinels_agree",
        "master_seen",
        "quorum",
        "known_sentinels",
        "no_failover",
        "move_possible",
        "master_role",
        "known_replicas",
        "fit_replicas",
        "hidden_replicas",
        "replica",
        "min_replicas",
        "no_pause",
        "one_master",
        "old_master",
        "replica_follows",
        "no_chain",
        "nodes_reachable",
    }
)
"""What may right itself within seconds."""


def examine(situation: Situation, phase: str) -> list[Check]:
    """Every check of a phase, ``before`` or ``after``."""
    if phase == AFTER:
        return [check for function in AFTER_CHECKS for check in function(situation)]
    checks = [check for function in BEFORE_CHECKS for check in function(situation)]
    move = check_move(situation, checks)
    if any(check.status == OK for check in move):
        checks = [_done_without(check) for check in checks]
    checks += move
    if situation.failover_leaders:
        # The module joins it; what a failover disturbs while it goes on is no reason to refuse.
        return [_softened(check) for check in checks]
    return checks


def is_healthy(checks: Iterable[Check]) -> bool:
    """Whether none of them is critical."""
    return all(check.status != CRITICAL for check in checks)


def may_pass(checks: Iterable[Check]) -> bool:
    """Whether something is wrong that may right itself within seconds: a Sentinel connects anew after a failover, a replica is about to follow."""
    return any(check.status != OK and check.name in PASSING for check in checks)


def _done_without(check: Check) -> Check:
    if check.status == CRITICAL and check.name in DONE_WITHOUT:
        return replace(check, status=WARNING, detail=f"{check.detail} (the move does without it)")
    return check


def _softened(check: Check) -> Check:
    if check.status == CRITICAL and check.name in DISTURBED:
        return replace(check, status=WARNING, detail=f"{check.detail} (a failover is in progress)")
    return check
