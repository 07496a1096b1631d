# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests on real servers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.playbooks import Workspace


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    with Workspace() as made:
        yield made
