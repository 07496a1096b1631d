# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that goes on beside a test, in a thread of its own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self


class Background:
    """Works as long as the ``with`` block lasts."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._thread.join()

    def work(self) -> None:
        """Returns soon after ``over`` is set."""
        raise NotImplementedError
