# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Says which files have no licence. reuse looks at a copy of what git tracks: in the checkout it would walk through caches that other judges change."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from lab.tracked import copy_tracked


def main() -> int:
    """The exit code of reuse."""
    with tempfile.TemporaryDirectory(prefix="redis-ha-licences-") as folder:
        copy_tracked(Path(folder))
        return subprocess.run(["reuse", "lint", "--lines"], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
