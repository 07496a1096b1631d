# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong in the lab."""

from __future__ import annotations

import os
from pathlib import Path


class LabError(Exception):
    """The lab cannot do what it was asked; the text says why and what to do."""


class NotToBeHadError(LabError):
    """This machine has not what is needed and cannot get it; the text says what would bring it. A test that needs it is left out."""


LEFT_OUT_FILE = "REDIS_HA_LEFT_OUT_FILE"
"""The environment variable that names the file for what had to be left out, a line for each test or judgement; `check.py` reads it."""


def leave_out(missing: NotToBeHadError) -> bool:
    """Whether it goes on without this: not where CI=true. Writes it down for `check.py`, which tells about it at its end."""
    if os.environ.get("CI") == "true":
        return False
    if path := os.environ.get(LEFT_OUT_FILE):
        with Path(path).open("a") as lines:
            lines.write(" ".join(str(missing).splitlines()) + "\n")
    return True
