#!/usr/bin/python
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Ansible module: watch how Sentinel fails over a master that has fallen silent, and time each part of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: watch_failover
short_description: Watch a failover that Sentinel makes by itself, and time each part of it
version_added: 0.1.0
description:
  - Watches every node and every Sentinel of a deployment, many times a second, until the master has fallen silent and Sentinel has moved it to
    a replica that all others follow.
  - All times count from the last answer of the old master, by the clock of the host on which the module runs.
  - Sends questions only. It stops nothing; whoever wants to see a failover stops the master while the module watches. The role
    P(redis_ha.sentinel.drill#role) does.
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
attributes:
  async:
    description: Whether the task can run in the background, which is how it is meant.
    support: full
  check_mode:
    description: Looks who is who, and does not watch.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
options:
  master_name:
    description:
      - Name of the master, as Sentinel knows it.
    type: str
    required: true
  expected_master:
    description:
      - The master that the caller believes to be there, as C(host:port). If another one is, the module fails at once. Empty for any.
    type: str
  stop_timeout:
    description:
      - How many seconds the master may take to fall silent. From 1 to 3600.
    type: float
    default: 60.0
  timeout:
    description:
      - How many seconds may pass from then until every other replica follows the new master. From 5 to 86400.
    type: float
    default: 300.0
  ready_file:
    description:
      - A file, on the host on which the module runs, that gets the word C(watching) when the watch has begun, and the word C(over) when it has
        ended, however it ends. Its folder should be for this user alone.
    type: path
seealso:
  - module: redis_ha.sentinel.failover
"""

EXAMPLES = r"""
- name: Watch in the background
  redis_ha.sentinel.watch_failover:
    sentinels: ["192.0.2.11:26379"]
    master_name: mymaster
    expected_master: 192.0.2.21:6379
    ready_file: /run/drill/ready
  async: 400
  poll: 0
  delegate_to: localhost
  register: watch

- name: Stop the master when somebody watches
  ansible.builtin.wait_for:
    path: /run/drill/ready
    search_regex: watching
  delegate_to: localhost
"""

RETURN = r"""
old_master:
  description: The master that fell silent, or that is to.
  returned: when the deployment could be asked
  type: dict
  contains:
    host:
      description: Host, as Sentinel shows it.
      type: str
    port:
      description: Port.
      type: int
  sample: {host: 192.0.2.21, port: 6379}
new_master:
  description: The master that every Sentinel names afterwards. Null if there is none yet.
  returned: when the deployment could be asked
  type: dict
  contains:
    host:
      description: Host, as Sentinel shows it.
      type: str
    port:
      description: Port.
      type: int
  sample: {host: 192.0.2.22, port: 6379}
stopped_at:
  description: The last answer of the old master by the wall clock, in UTC. Null if it has not fallen silent.
  returned: always
  type: str
  sample: "2026-10-05T02:00:00.123Z"
figures_ms:
  description: Milliseconds from the last answer of the old master. What has not come about is null.
  returned: always
  type: dict
  contains:
    detected:
      description: Until the first Sentinel takes it for down (C(+sdown)).
      type: float
    agreed:
      description: Until the Sentinels agree on that (C(+odown)).
      type: float
    elected:
      description: Until a Sentinel is elected to lead (C(+elected-leader)).
      type: float
    promoted:
      description: Until a replica is a master.
      type: float
    named:
      description: Until every Sentinel that answers names it.
      type: float
    followed:
      description: Until every other replica that was there before follows it, with its link up.
      type: float
  sample: {detected: 5120.3, agreed: 5180.0, elected: 5290.1, promoted: 5510.7, named: 6530.2, followed: 6610.9}
write_gap_ms:
  description: How long writes stood still, until a replica was promoted and every Sentinel named it. Null if that has not come about.
  returned: always
  type: float
  sample: 6530.2
missing_bytes:
  description:
    - How much of what the old master had written the new one never got, at least. Null where it cannot be told.
    - An automatic failover cannot fetch it. C(0) is no proof that nothing was lost.
  returned: always
  type: int
  sample: 0
timeline:
  description: What happened from the last answer of the old master on, in the order of time.
  returned: always
  type: list
  elements: dict
  contains:
    at_ms:
      description: Milliseconds since that answer.
      type: float
    who:
      description: C(sentinel host:port) or C(node host:port).
      type: str
    what:
      description: What it published, or what changed there.
      type: str
  sample: []
notes:
  description: What else is worth knowing, for example a Sentinel that sends no events.
  returned: always
  type: list
  elements: str
  sample: []
error:
  description:
    - Null if all is well. V(master_not_stopped), the master has not fallen silent. V(master_came_back), it answers again and nobody moved it.
      V(watch_timeout), O(timeout) has passed.
    - Else a code from the list of errors in the documentation of the collection.
  returned: always
  type: str
  sample: master_not_stopped
remedy:
  description: What to do now. Null if all is well.
  returned: always
  type: str
  sample: Look whether the command that stops it does so.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.redis_ha.sentinel.plugins.module_utils._automatic import (
    CAME_BACK,
    DONE,
    NOT_STOPPED,
    STAGES,
    WAIT,
    Watched,
    figures_ms,
    missing_bytes,
    new_master,
    stopped_s,
    story,
    verdict,
    write_gap_ms,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import WATCH, addresses, master_name
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._snapshot import Snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._timeline import utc
from ansible_collections.redis_ha.sentinel.plugins.module_utils._topology import take_snapshot
from ansible_collections.redis_ha.sentinel.plugins.module_utils._views import require_master
from ansible_collections.redis_ha.sentinel.plugins.module_utils._watcher import Watcher

POLL_S = 0.05
NOTHING: dict[str, Any] = {
    "stopped_at": None,
    "figures_ms": dict.fromkeys(STAGES),
    "write_gap_ms": None,
    "missing_bytes": None,
    "timeline": [],
    "notes": [],
    "error": None,
    "remedy": None,
}


def _failed(error: str, message: str, remedy: str) -> dict[str, Any]:
    return {"failed": True, "error": error, "msg": f"{message}. {remedy}", "remedy": remedy}


def master_to_watch(snapshot: Snapshot, expected: tuple[Address, ...]) -> Address:
    """The master that all Sentinels name.

    Raises:
        RefusedError: They name none, or another one than the caller expects.
    """
    require_master(snapshot)
    master = snapshot.master_address
    if master is None:
        raise RefusedError("sentinels_disagree", "the Sentinels name different masters", "Look with topology_info.")
    if expected and not snapshot.same(expected[0], master):
        raise RefusedError(
            "expected_master_mismatch",
            f"the master is {master}, not {expected[0]} as expected",
            "Somebody moved it: look at the deployment again before you go on.",
        )
    return master


def shown(seen: Watched) -> dict[str, Any]:
    """What was seen, as the result has it."""
    new = new_master(seen)
    result = {**NOTHING, "changed": False, "old_master": seen.old_master.as_result()}
    result["new_master"] = new.as_result() if new else None
    since_s = stopped_s(seen)
    if since_s is None:
        return result
    figures = figures_ms(seen, since_s)
    return {
        **result,
        "stopped_at": utc(time.time() - (time.monotonic() - since_s)),
        "figures_ms": {**dict.fromkeys(STAGES), **figures},
        "write_gap_ms": write_gap_ms(figures),
        "missing_bytes": missing_bytes(seen),
        "timeline": story(seen, since_s),
    }


def conclusion(how: str, seen: Watched, params: dict[str, Any]) -> dict[str, Any]:
    """What is said of a watch that did not see the end."""
    if how == DONE:
        return {}
    if how == NOT_STOPPED:
        return _failed(
            "master_not_stopped",
            f"the master {seen.old_master} has not fallen silent within {params['stop_timeout']:g} s",
            "Look whether the command that stops it does so.",
        )
    if how == CAME_BACK:
        return _failed(
            "master_came_back",
            f"the master {seen.old_master} answers again, and no Sentinel has moved it",
            "It must be away for longer than down-after-milliseconds; look who starts it again (systemd: Restart).",
        )
    return _failed(
        "watch_timeout",
        f"{params['timeout']:g} s after the master fell silent, not every replica follows a new one",
        "Look with topology_info, and into the logs of the Sentinels.",
    )


@contextlib.contextmanager
def telling(path: str | None) -> Iterator[Any]:
    """Says in a file that the watch has begun, and that it is over."""

    def say(word: str) -> None:
        if path:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.write(file, f"{word}\n".encode())
            finally:
                os.close(file)

    try:
        yield lambda: say("watching")
    finally:
        with contextlib.suppress(OSError):
            say("over")


def watch(module: AnsibleModule, fleet: Fleet) -> dict[str, Any]:
    """Watch until it is over."""
    params = module.params
    with telling(params["ready_file"]) as say_ready:
        name = master_name(params)
        expected = addresses("expected_master", [params["expected_master"] or ""])
        snapshot = take_snapshot(fleet, name, also=expected)
        master = master_to_watch(snapshot, expected)
        if module.check_mode:
            return {**NOTHING, "changed": False, "old_master": master.as_result(), "new_master": None}
        with Watcher(fleet, snapshot, master) as watcher:
            say_ready()
            how = WAIT
            while how == WAIT:
                time.sleep(POLL_S)
                seen = watcher.seen()
                how = verdict(seen, time.monotonic(), params["stop_timeout"], params["timeout"])
            notes = list(watcher.deaf.values())
        return {**shown(seen), "notes": notes, **conclusion(how, seen, params)}


def main() -> None:
    """Entry point."""
    run_module(WATCH, watch, NOTHING)


if __name__ == "__main__":
    main()
