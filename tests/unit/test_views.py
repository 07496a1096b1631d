# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules that only look return, and when there is nothing to look at."""

from __future__ import annotations

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import AttachedReplica
from ansible_collections.redis_ha.sentinel.plugins.module_utils._views import deployment_view, require_master
from unit.builders import L0, L1, NAME, OM, R, S, master_node, sentinel_view, snapshot
from unit.situations import dead, nodes, views


def test_a_deployment_that_can_be_looked_at_is_looked_at() -> None:
    require_master(snapshot([sentinel_view(L0), dead(sentinel_view(L1))]))


def test_without_a_sentinel_that_answers_each_is_named_with_its_reason() -> None:
    with pytest.raises(RefusedError) as caught:
        require_master(snapshot([dead(view) for view in views()]))
    assert caught.value.code == "sentinel_unreachable"
    assert str(L0) in caught.value.sentence
    assert "Connection refused" in caught.value.sentence


def test_a_master_that_no_sentinel_knows_is_named() -> None:
    with pytest.raises(RefusedError) as caught:
        require_master(snapshot(views(master=None, current=None, replicas=())))
    assert caught.value.code == "master_unknown"
    assert NAME in caught.value.sentence


def test_who_is_attached_to_the_master_is_shown_with_what_it_has() -> None:
    attached = (AttachedReplica(R, "online", 990, 1), AttachedReplica(S, "wait_bgsave", 0, 0))
    view = deployment_view(snapshot(nodes=nodes(master_node(link={"attached": attached}))))
    (master,) = [node for node in view["nodes"] if node["address"] == str(OM)]
    assert master["replication"]["replicas"] == [
        {"address": str(R), "state": "online", "offset": 990, "lag_s": 1},
        {"address": str(S), "state": "wait_bgsave", "offset": 0, "lag_s": 0},
    ]
