# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One list of hard requirements: what the move would refuse, the pre-check fails on, and the other way round."""

from __future__ import annotations

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import CRITICAL
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health import examine
from ansible_collections.redis_ha.sentinel.plugins.module_utils._health_before import planned
from ansible_collections.redis_ha.sentinel.plugins.module_utils._situation import BEFORE
from ansible_collections.redis_ha.sentinel.plugins.module_utils._ways import is_down
from unit.situations import Case
from unit.test_health import TABLE

SITUATIONS = [case for case in TABLE if case.phase == BEFORE]

BEYOND_A_PLAN = {
    # The caller's own demands, beyond what a move needs.
    "fit_replicas",
    # Asked for by an option: it writes files.
    "sentinel_config_writable",
    "node_config_writable",
    # The move tries the same logins itself, right after it has planned.
    "replication_login",
    # Only servers that tell it do, and only to a user who may ask; the promotion does not need it.
    "sentinel_user",
}
"""Checks that fail for more than a plan can see."""


def failed(case: Case) -> set[str]:
    return {check.name for check in examine(case.situation, BEFORE) if check.status == CRITICAL}


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: f"{case.name}: {case.id}")
def test_the_pre_check_fails_on_what_the_move_would_refuse(case: Case) -> None:
    if isinstance(planned(case.situation), RefusedError):
        assert failed(case)
    else:
        assert "move_possible" not in failed(case)


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: f"{case.name}: {case.id}")
def test_the_move_refuses_what_the_pre_check_fails_on(case: Case) -> None:
    wrong = failed(case) - BEYOND_A_PLAN
    found = planned(case.situation)
    if wrong and not isinstance(found, RefusedError):
        # A master that is down is moved by what is left: that is what a failover is for.
        assert wrong == {"master_seen"}
        assert is_down(case.situation.snapshot)
