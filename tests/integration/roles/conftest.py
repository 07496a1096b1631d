# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of roles and playbooks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab import Deployment, Process


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with Deployment(down_after_ms=2000, failover_timeout_ms=10_000) as started:
        # A failover waits for Sentinel's next look at a replica, ten seconds at most.
        started.ask_every_second()
        yield started


@pytest.fixture(scope="session")
def seen_down() -> Callable[[Deployment, Process], bool]:
    """Whether every Sentinel that runs sees a replica down."""

    def look(deployment: Deployment, replica: Process) -> bool:
        for sentinel in deployment.sentinels:
            if sentinel.alive:
                rows = sentinel.command("SENTINEL", "REPLICAS", "mymaster")
                found = [row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
                if not any(int(row["port"]) == replica.port and "s_down" in row["flags"] for row in found):
                    return False
        return True

    return look
