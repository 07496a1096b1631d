# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an application can know of a write that raised an error, from the error alone. Pure."""

from __future__ import annotations

import re

from lab.recorder_writer import NOT_SENT, REFUSED, UNKNOWN

_REFUSALS = re.compile(r"\b(READONLY|NOREPLICAS|MASTERDOWN|LOADING|NOPERM|NOAUTH|CLUSTERDOWN)\b")
_REFUSALS_IN_WORDS = {
    # redis-py and valkey-py, where a node that they took for the master refuses a write.
    "previous master is now a slave": "READONLY",
    "ReadOnlyError": "READONLY",
    "can't write against a read only": "READONLY",
    "Not enough good replicas": "NOREPLICAS",
}
_NOT_SENT = re.compile(
    r"Connection refused|ECONNREFUSED|No master found|MasterNotFound|PrimaryNotFound|No Sentinel names a master"
    r"|No sentinels available|Unable to fetch master|failed to connect to any of the sentinels"
    r"|Not connected to any server|Instance role mismatch|All sentinels are unreachable|Error connecting to"
)


def outcome(error: str) -> tuple[str, str | None]:
    """How a write ended, and the code with which the server refused it, if it did.

    What is neither a refusal nor a failure to connect is unknown: the connection was lost, or no answer came in time.
    """
    if found := _REFUSALS.search(error):
        return REFUSED, found[1]
    for words, code in _REFUSALS_IN_WORDS.items():
        if words in error:
            return REFUSED, code
    return (NOT_SENT if _NOT_SENT.search(error) else UNKNOWN), None
