# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a report: what they are called, and how they come to be.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

ENDINGS = {"html": "html", "markdown": "md"}
"""Format of a file -> how its name ends."""

LONGEST_NAME = 120
_MODE = 0o644
_FOLDER_MODE = 0o755


def file_name(wanted: str, master_name: str, made_at: datetime) -> str:
    """The name of the files, without an ending: the wanted one, or one of the master and the time; nothing that leads out of their folder."""
    name = wanted or f"{master_name or 'master'}-{made_at:%Y%m%dT%H%M%SZ}"
    return re.sub(r"^[._-]+", "", re.sub(r"[^A-Za-z0-9._-]+", "_", name))[:LONGEST_NAME] or "report"


def write(folder: Path, name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Write a file for each format, in a folder that is made if need be; the path of each file by its format.

    A file that was there is replaced as a whole: nobody ever reads half of one.

    Raises:
        OSError: The folder or a file cannot be written.
    """
    if not folder.is_dir():
        folder.mkdir(parents=True)
        folder.chmod(_FOLDER_MODE)
    files = {}
    for wanted, text in texts.items():
        path = folder / f"{name}.{ENDINGS[wanted]}"
        _replace(path, text)
        files[wanted] = str(path)
    return files


def _replace(path: Path, text: str) -> None:
    handle, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(new, _MODE)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise
