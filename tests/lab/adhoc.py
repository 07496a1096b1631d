# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module by the whole command that a person types: `ansible localhost -m redis_ha.sentinel.failover -a "..."`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.modules import COLLECTIONS

_END_TIMEOUT_S = 20.0


def ad_hoc_command(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """The words of the command."""
    texts = {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in arguments.items()}
    options = " ".join(f"{key}={text}" for key, text in texts.items())
    return ["ansible", "localhost", "-m", f"redis_ha.sentinel.{name}", "-a", options]


def read_results(output: str) -> list[dict[str, Any]]:
    """What modules returned, in their order, with `status` as Ansible said it."""
    found = []
    for answer in re.finditer(r"^\S+ \| (\w+)!? => (?=\{)", output, re.MULTILINE):
        result, _end = json.JSONDecoder().raw_decode(output, answer.end())
        found.append({**result, "status": answer[1]})
    return found


def run_ad_hoc(
    name: str, arguments: Mapping[str, Any], *, collections: Path = COLLECTIONS, timeout_s: float = 120.0
) -> dict[str, Any]:
    """Runs the command to its end; the module's result, whether it failed or not.

    Raises:
        LabError: It printed no result, or did not end in time.
    """
    with tempfile.TemporaryDirectory(prefix="redis-ha-ansible-") as home:
        process = subprocess.Popen(
            ad_hoc_command(name, arguments),
            env=_environment(collections, home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # An interrupt from the keyboard is for this process, which then ends the other.
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"ansible did not end within {timeout_s} s") from error
        finally:
            _end(process)
    results = read_results(output)
    if not results:
        raise LabError(f"ansible printed no result: {output[-2000:]}{errors[-2000:]}")
    return results[0]


def _end(process: subprocess.Popen[str]) -> None:
    """Ends the command if it still runs, in order: killed, it would leave its workers, and the module, at work."""
    if process.poll() is None:
        process.terminate()
        try:
            process.communicate(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _environment(collections: Path, home: str) -> dict[str, str]:
    """Nothing of the user's own Ansible, whose settings may be any, and nothing left in the user's home."""
    configuration = Path(home) / "ansible.cfg"
    configuration.touch()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "REDIS_"))}
    return inherited | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_HOME": home,
        "ANSIBLE_REMOTE_TMP": home,
        # A module unpacks itself here. One that is ended on the way does not remove what it has unpacked.
        "TMPDIR": home,
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
