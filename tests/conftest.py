# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cannot be had on a machine leaves out the tests that need it, in words; where CI=true they fail."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

# ansible-test has settings of its own, and does not read those that name this folder.
sys.path.insert(0, str(Path(__file__).parent))

from lab.errors import NotToBeHadError, leave_out


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    try:
        return (yield)
    except NotToBeHadError as missing:
        if leave_out(missing):
            pytest.skip(f"left out: {missing}")
        raise


pytest_runtest_call = pytest_runtest_setup
