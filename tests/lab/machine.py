# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How busy this machine is: what limits the time of something takes that into account."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

HOST_TOO_SLOW = re.compile(
    "it was left to Sentinel: (this host did not promote within|each look at all Sentinels took longer|.* did not (say its epoch|take the news over))"
)
"""What a result says where the program could not promote in time, because of this machine. The scenario ``failover`` has the same words."""


@dataclass(frozen=True)
class Used:
    """What has become of the time of all processors since the machine started, in ticks of the kernel (``/proc/stat``)."""

    busy: int
    stolen: int
    """Wanted, and given to another machine of the same host."""
    total: int

    @staticmethod
    def now() -> Used:
        ticks = [int(number) for number in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        _user, _nice, _system, idle, waiting, _irq, _softirq, stolen = ticks
        total = sum(ticks)
        return Used(total - idle - waiting - stolen, stolen, total)

    def since(self, earlier: Used) -> str:
        """In words, what part of the time between two moments was used, and what part another machine took."""
        total = max(1, self.total - earlier.total)
        return (
            f"processors {100 * (self.busy - earlier.busy) / total:.0f} % busy,"
            f" {100 * (self.stolen - earlier.stolen) / total:.0f} % stolen"
        )


def times_slower() -> float:
    """How many times as long as on an idle machine something may take, 1 or more: as many processes shared a core in the last minute."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
