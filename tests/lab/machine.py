# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How busy this machine is: what limits the time of something takes that into account."""

from __future__ import annotations

import os


def times_slower() -> float:
    """How many times as long as on an idle machine something may take, 1 or more: as many processes shared a core in the last minute."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
