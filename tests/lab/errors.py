# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong in the lab."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot do what it was asked; the text says why and what to do."""


class NotToBeHadError(LabError):
    """This machine has not what is needed and cannot get it; the text says what would bring it. A test that needs it is left out."""


LEFT_OUT_FILE = "REDIS_HA_LEFT_OUT_FILE"
"""The environment variable that names the file in which tests write what they had to leave out, a line a test; `check.py` reads it."""
