# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries of the timeline, written to a file while the run goes on, for whoever reads it meanwhile.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from typing import Any, Protocol

ENTRIES_FILE = "REDIS_HA_ENTRIES_FILE"
"""The environment variable that names the file. Whoever reads it has made it; the module only appends."""
WRITE_EVERY_S = 0.2
LONGEST_LAST_WRITE_S = 1.0


class Entry(Protocol):
    """What happened: an entry of a timeline, or a move of a drain that has ended."""

    def as_result(self) -> dict[str, Any]:
        """As it is written."""


class EntriesFile:
    """Appends entries to a file, a JSON object a line.

    A thread of its own writes, five times a second: a disk that is slow holds up no run, least of all while writes are stopped.

    Args:
        path: The file, which must be there; ``None`` where nobody reads.
    """

    def __init__(self, path: str | None) -> None:
        self.failure = ""
        self._path = path
        self._entries: queue.SimpleQueue[Entry] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._writer = threading.Thread(target=self._write_until_closed, daemon=True)

    def __enter__(self) -> EntriesFile:
        if self._path:
            self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._writer.is_alive():
            self._writer.join(LONGEST_LAST_WRITE_S)

    def put(self, entry: Entry) -> None:
        """Have it written. Does not wait, and never fails."""
        if self._path:
            self._entries.put(entry)

    def _write_until_closed(self) -> None:
        try:
            # Not made here: made by another user, it could not be read by the one who waits for it.
            file = os.open(str(self._path), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
            try:
                closed = False
                while not closed:
                    closed = self._closed.wait(WRITE_EVERY_S)
                    self._write_all(file)
            finally:
                os.close(file)
        except OSError as error:
            self.failure = f"the steps could not be shown while they were taken: {error}"

    def _write_all(self, file: int) -> None:
        lines = []
        while not self._entries.empty():
            lines.append(json.dumps(self._entries.get().as_result()) + "\n")
        data = "".join(lines).encode()
        while data:
            data = data[os.write(file, data) :]
