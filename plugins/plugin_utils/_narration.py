# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run, told while it goes on: the entries that its module writes to a file, as lines for the terminal.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Protocol

from ansible_collections.redis_ha.sentinel.plugins.module_utils._steps import (
    AGREED,
    ANNOUNCE_FAILED,
    ANNOUNCED,
    DEMOTED,
    DEMOTION_IN_DOUBT,
    DISCONNECTED,
    ENTRY_KINDS,
    EVENTS_LOST,
    FENCE_LIFTED,
    FENCE_RAISED,
    FOLLOWING,
    GOES_ON,
    LATE_WRITES,
    MOVED_ON,
    NOT_SETTLED,
    PRIORITY_RAISED,
    PRIORITY_RESTORED,
    PROMOTED,
    REPAIRED,
    RIVAL_SEEN,
    ROLLED_BACK,
    SETTLED,
    STEP_BEGINS,
    STEPS,
    STRAY_DEMOTED,
    TRIGGER_IN_DOUBT,
    TRIGGER_NOT_REACHED,
    TRIGGER_REFUSED,
    TRIGGERED,
    WAITING,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import PROGRAM
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._drain_words import master_lines

LOOK_EVERY_S = 0.25
LONGEST_SILENCE_S = 2.5

PURPOSES = {step.name: step.purpose for step in STEPS}

SHOWN = frozenset(
    {
        *(STEP_BEGINS, REPAIRED, PRIORITY_RAISED, FENCE_RAISED, FENCE_LIFTED, LATE_WRITES, DEMOTED, DEMOTION_IN_DOUBT),
        *(ROLLED_BACK, TRIGGERED, TRIGGER_REFUSED, TRIGGER_IN_DOUBT, TRIGGER_NOT_REACHED, RIVAL_SEEN, PROMOTED),
        *(ANNOUNCE_FAILED, STRAY_DEMOTED, AGREED, SETTLED, NOT_SETTLED, MOVED_ON, GOES_ON, EVENTS_LOST, WAITING),
    }
)
"""Kinds of entries that have a line."""

NOT_SHOWN: dict[str, str] = {
    PRIORITY_RESTORED: "that it is done is the purpose of its step",
    ANNOUNCED: "one for every Sentinel; that all agree is shown",
    FOLLOWING: "one for every replica; that all follow is shown",
    DISCONNECTED: "that it is done is the purpose of its step",
}
"""Kind of an entry -> why it has no line."""

_AFTER_THE_FENCE = (FENCE_LIFTED, DEMOTED, ROLLED_BACK, PROMOTED, AGREED)
_SENTENCES = (*_AFTER_THE_FENCE, FENCE_RAISED, LATE_WRITES, TRIGGERED, STRAY_DEMOTED, MOVED_ON, GOES_ON)
"""Kinds whose detail is a sentence about the subject already."""


class Narrator:
    """Puts the entries of one run, in the order in which they come, into lines."""

    def __init__(self) -> None:
        self.step = ""
        self._fenced_ms: float | None = None

    def line(self, entry: Mapping[str, Any]) -> str | None:
        """The line for an entry, as the module writes it; nothing, where it has none."""
        kind = entry["kind"]
        if entry["who"] != PROGRAM or kind not in SHOWN:
            return None
        self.step = entry["step"]
        if kind == FENCE_RAISED:
            self._fenced_ms = entry["at_ms"]
        return _printable(f"{entry['at_ms'] / 1000:9.3f} s  {self.step:<10}  {self._text(entry)}")

    def _text(self, entry: Mapping[str, Any]) -> str:
        kind, detail = entry["kind"], entry["detail"]
        if kind == STEP_BEGINS:
            return PURPOSES.get(entry["step"], "")
        if kind == WAITING:
            return f"still waiting: {detail}"
        said = ENTRY_KINDS[kind].replace("the subject", entry["subject"] or "a server", 1)
        text = detail if kind in _SENTENCES else f"{said}: {detail}" if detail else said
        if kind in _AFTER_THE_FENCE and self._fenced_ms is not None:
            text += f", {entry['at_ms'] - self._fenced_ms:.1f} ms after writes were stopped"
        return text


def _printable(text: str) -> str:
    """Servers and networks have a say in it: nothing of theirs moves the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class DrainNarrator:
    """Puts the moves of a drain, as the module tells them while it lasts, into lines."""

    def __init__(self) -> None:
        self.step = ""

    def line(self, entry: Mapping[str, Any]) -> str:
        """One line for each move that has ended; what to do about it is told at the end."""
        self.step = f"{entry['count']} of {entry['of']}"
        return _printable(f"{entry['at_ms'] / 1000:9.3f} s  {self.step:<10}  {master_lines(entry['master'])[0]}")


class Teller(Protocol):
    """Puts what a module tells into lines; ``step`` is where it has come to, empty before its first entry."""

    step: str

    def line(self, entry: Mapping[str, Any]) -> str | None:
        """The line for an entry; nothing, where it has none."""


class Growing:
    """A file of JSON objects, a line each, that somebody else appends to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0

    def news(self) -> list[dict[str, Any]]:
        """The objects whose lines have been completed since the last look.

        Raises:
            OSError, ValueError: It cannot be read, or is not what it should be.
        """
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _begun = file.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]


class Telling:
    """Shows what a run does while the thread that made this waits for it. Nothing that happens in here ends the run.

    Args:
        show: Shows a line on the terminal.
        where: The host that the run is on.
        path: The file that the module writes to; ``None`` if that cannot be read from here.
        teller: Puts the entries into lines.
    """

    def __init__(self, show: Callable[[str], None], where: str, path: Path | None, teller: Teller) -> None:
        self._show = show
        self._where = where
        self._file = Growing(path) if path else None
        self._narrator = teller
        self._over = threading.Event()
        self._began_s = self._shown_s = time.monotonic()
        self._teller = threading.Thread(target=self._tell_until_over, daemon=True)

    def __enter__(self) -> Telling:
        self._teller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._teller.join()

    def _tell_until_over(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.look()
        self._tell_news()

    def look(self) -> None:
        """Show what is new; that the run is still at work, where nothing has been for long."""
        self._tell_news()
        self._break_silence()

    def _tell_news(self) -> None:
        try:
            for entry in self._file.news() if self._file else ():
                if not self._narrator.step:
                    self._began_s = time.monotonic() - entry["at_ms"] / 1000
                if (line := self._narrator.line(entry)) is not None:
                    self._say(line)
        except (OSError, ValueError, LookupError, TypeError) as error:
            self._file = None
            self._say(f"The steps cannot be shown while they are taken: {error}")

    def _break_silence(self) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s >= LONGEST_SILENCE_S:
            step = self._narrator.step
            doing = f"{step:<10}  still at work" if step else f"at work on {self._where}"
            self._say(f"{f'{now_s - self._began_s:.1f} s':>11}  {doing}")

    def _say(self, line: str) -> None:
        self._shown_s = time.monotonic()
        self._show(line)
