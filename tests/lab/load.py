# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write load for those who start and end it from elsewhere, such as a playbook: `python -m lab.load FOLDER`, options as JSON on standard input.

It writes until somebody puts the address of the new master into the file `FOLDER/stop`, or until `max_s` have passed; then it reads every
acknowledged write back from there and prints what became of them as one line of JSON. `FOLDER/writing` exists as soon as writes are acknowledged.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.recorder import Access, Recorder

_POLL_S = 0.02
_ENOUGH_WRITES = 200
_ENOUGH_S = 60


def main(folder: Path, options: Mapping[str, Any]) -> int:
    """Records until it is told to stop; 1 if no recording came about."""
    access = Access(**options.get("access", {}))
    recorder = Recorder(
        options["sentinels"],
        options["master_name"],
        nodes=options["nodes"],
        client=options.get("client", "redis-py"),
        pause_ms=options.get("pause_ms", 5.0),
        max_s=options["max_s"],
        access=access,
        address_map=options.get("address_map"),
    )
    try:
        with recorder:
            recorder.wait_for_writes(_ENOUGH_WRITES, timeout_s=_ENOUGH_S)
            (folder / "writing").touch()
            deadline = time.monotonic() + options["max_s"]
            while not (folder / "stop").exists():
                if time.monotonic() > deadline:
                    raise LabError(f"nobody ended the load within {options['max_s']} s")
                time.sleep(_POLL_S)
            recorder.wait_for_writes(_ENOUGH_WRITES, timeout_s=_ENOUGH_S)
            master = (folder / "stop").read_text().strip()
            recording = recorder.finish(master)
            recorder.cleanup(master)
    except LabError as error:
        print(f"lab.load: {error}", file=sys.stderr)
        return 1
    print(json.dumps(dataclasses.asdict(recording)))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.load(sys.stdin)))
