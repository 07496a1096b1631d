# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write load for those who start and end it from elsewhere, such as a playbook; options as JSON on standard input.

    python -m lab.load begin                returns as soon as writes are acknowledged, and prints a folder
    python -m lab.load end FOLDER MASTER NAME
                                            ends the writing, reads every acknowledged write back from a node (host:port), prints what became of
                                            them, and keeps it under this name in the folder LAB_RESULTS for the closing lines of a run
    python -m lab.load run FOLDER           what `begin` starts: it writes until `FOLDER/stop` has the address of a node, or until `max_s` have passed
    python -m lab.load serve                the same, once for each line of standard input, `{"folder": ..., "options": ...}`, until that ends

What became of the writes is one line of JSON; its `times_slower` says how many times as long as on an idle machine something may have taken.
`FOLDER/writing` exists as soon as writes are acknowledged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError

_PREFIX = "redis-ha-load-"
_POLL_S = 0.02
_ENOUGH_WRITES = 200
_ENOUGH_S = 60
_END_S = 120


def run(folder: Path, options: Mapping[str, Any]) -> str:
    """Records until it is told to stop; the recording.

    Raises:
        LabError: No recording came about.
    """
    # Those who only begin or end it have no need of redis-py, whose import takes longer than what they do.
    from lab.machine import times_slower
    from lab.recorder import Access, Recorder

    recorder = Recorder(
        options["sentinels"],
        options["master_name"],
        nodes=options["nodes"],
        client=options.get("client", "redis-py"),
        writers=options.get("writers", 4),
        pause_ms=options.get("pause_ms", 5.0),
        max_s=options["max_s"],
        access=Access(**options.get("access", {})),
        address_map=options.get("address_map"),
    )
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
    return json.dumps({**dataclasses.asdict(recording), "times_slower": times_slower()})


def begin(options: str) -> str:
    """Starts a process that records; the folder that it is told by.

    Raises:
        LabError: It has ended before a write was acknowledged.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with (folder / "recording").open("w") as recording, (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.load", "run", str(folder)],
            stdin=subprocess.PIPE,
            stdout=recording,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    (folder / "pid").write_text(str(process.pid))
    assert process.stdin is not None
    # One that has ended already says why in its errors.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(options)
        process.stdin.close()
    while not (folder / "writing").exists():
        if process.poll() is not None:
            raise LabError(_given_up(folder))
        time.sleep(_POLL_S)
    return str(folder)


def end(folder: Path, master: str, name: str) -> str:
    """Ends what `begin` has started; its recording, which is kept under a name as well.

    Raises:
        LabError: There is none.
    """
    (folder / "stop.new").write_text(master)
    (folder / "stop.new").rename(folder / "stop")
    deadline = time.monotonic() + _END_S
    while _is_running(int((folder / "pid").read_text())):
        if time.monotonic() > deadline:
            raise LabError(f"the load has not ended within {_END_S} s: {_given_up(folder)}")
        time.sleep(_POLL_S)
    recording = (folder / "recording").read_text().strip()
    if not recording:
        raise LabError(_given_up(folder))
    kept = Path(os.environ["LAB_RESULTS"]) / f"{name}-{folder.name}.json"
    kept.write_text(json.dumps({**json.loads(recording), "name": name}))
    shutil.rmtree(folder)
    return recording


def _is_running(pid: int) -> bool:
    """Whoever adopted it may not have waited for it yet: then it has ended, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _given_up(folder: Path) -> str:
    """Ends what still writes and removes the folder; why it went wrong."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(int((folder / "pid").read_text()), signal.SIGKILL)
    errors = (folder / "errors").read_text().strip()
    shutil.rmtree(folder)
    return errors or "the load has ended without a word"


def main(words: list[str]) -> int:
    """Does one of the four; 1 if no recording came about."""
    os.umask(0o077)
    try:
        if words[0] == "begin":
            print(begin(sys.stdin.read()))
        elif words[0] == "end":
            print(end(Path(words[1]), *words[2:]))
        elif words[0] == "serve":
            for line in sys.stdin:
                request = json.loads(line)
                print(run(Path(request["folder"]), request["options"]), flush=True)
        else:
            print(run(Path(words[1]), json.load(sys.stdin)))
    except LabError as error:
        print(f"lab.load: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
