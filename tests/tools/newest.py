# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs pytest with the newest Python and ansible-core of the matrix: `newest.py WORD ...`; the words are pytest's.

So every run of all tests tries them, and what the tests reach is counted at hardly any cost: coverage counts branches by sys.monitoring from Python
3.14 on. With an older Python the same takes twice the time of the tests.

The environment is one of the matrix, kept below .cache/matrix. Where it cannot be had, the Python in use does it, and the closing lines say so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.matrix import CACHE, ENDS, ROOT, environment_of_tests, variables

from lab.errors import NotToBeHadError, leave_out

NEWEST = ENDS[1]


def main(words: list[str]) -> int:
    """Runs pytest; its exit code."""
    try:
        folder = environment_of_tests(NEWEST, CACHE / "logs" / "newest.log")
    except NotToBeHadError as missing:
        left_out = NotToBeHadError(f"Python {NEWEST.python} with ansible-core {NEWEST.core}: {missing}")
        print(left_out, flush=True)
        if not leave_out(left_out):
            return 1
        folder = Path(sys.prefix)
    python = folder / "bin" / "python"
    return subprocess.run(
        [python, "-m", "pytest", *words], cwd=ROOT, env={**os.environ, **variables(folder, folder)}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
