# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other work on this machine, as much as is wanted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_SPIN = ("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", "while :; do :; done")


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that never rest; they end with the ``with`` block, or with this program."""
    started = [subprocess.Popen(_SPIN) for _number in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()
