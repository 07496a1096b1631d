# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cannot be had on a machine leaves out the tests that need it, in words; where CI=true they fail."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from lab.errors import NotToBeHadError

LEFT_OUT_FILE = "REDIS_HA_LEFT_OUT_FILE"
"""The environment variable that names the file in which `check.py` looks for what was left out, a line a test."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    try:
        return (yield)
    except NotToBeHadError as missing:
        _leave_out(missing)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    try:
        return (yield)
    except NotToBeHadError as missing:
        _leave_out(missing)
        raise


def _leave_out(missing: NotToBeHadError) -> None:
    if os.environ.get("CI") == "true":
        return
    if path := os.environ.get(LEFT_OUT_FILE):
        with Path(path).open("a") as lines:
            lines.write(f"{missing}\n".replace("\n", " ").rstrip() + "\n")
    pytest.skip(f"left out: {missing}")
