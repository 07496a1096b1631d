# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cannot be had on a machine leaves out the tests that need it, in words; where CI=true they fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

# ansible-test has settings of its own, and does not read those that name this folder.
sys.path.insert(0, str(Path(__file__).parent))

from lab.errors import LEFT_OUT_FILE, NotToBeHadError


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    try:
        return (yield)
    except NotToBeHadError as missing:
        _leave_out(missing)
        raise


pytest_runtest_call = pytest_runtest_setup


def _leave_out(missing: NotToBeHadError) -> None:
    if os.environ.get("CI") == "true":
        return
    if path := os.environ.get(LEFT_OUT_FILE):
        with Path(path).open("a") as lines:
            lines.write(" ".join(str(missing).splitlines()) + "\n")
    pytest.skip(f"left out: {missing}")
