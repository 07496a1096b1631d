# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""AnsibleModule glue: build, run, turn an error into ``fail_json``, once.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import (
    MINIMUM_REDIS_PY,
    REDIS_IMPORT_ERROR,
    Fleet,
    redis_py_to_install,
    redis_py_version,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import FailoverError, LinkError, ReplyError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    CONNECTION,
    CONNECTION_CONSTRAINTS,
    check_tls_files,
    connection_options,
)

Run = Callable[[AnsibleModule, Fleet], "dict[str, Any]"]


def run_module(own_options: dict[str, dict[str, Any]], run: Run, result_on_error: dict[str, Any] | None = None) -> None:
    """Build the module, open the fleet, run, and leave with the result.

    Args:
        own_options: The options beside those of the connection.
        run: What the module does; returns its result, with ``failed`` where it failed.
        result_on_error: What the result holds besides when options cannot even be used.
    """
    module = AnsibleModule(
        argument_spec={**CONNECTION, **own_options}, supports_check_mode=True, **CONNECTION_CONSTRAINTS
    )
    base: dict[str, Any] = {"changed": False, **(result_on_error or {})}
    wanted = redis_py_to_install()
    if REDIS_IMPORT_ERROR is not None:
        module.fail_json(
            msg=missing_required_lib("redis (redis-py)"),
            exception=REDIS_IMPORT_ERROR,
            **{
                **base,
                "error": "library_missing",
                "remedy": f"Install redis-py {wanted} or later for the Python that runs the module.",
            },
        )
    if redis_py_version() < MINIMUM_REDIS_PY:
        module.fail_json(
            msg=f"redis-py {'.'.join(map(str, redis_py_version()))} is too old, {wanted} is the oldest that will do.",
            **{
                **base,
                "error": "library_too_old",
                "remedy": f"Install redis-py {wanted} or later for the Python that runs the module.",
            },
        )
    try:
        options = connection_options(module.params)
        check_tls_files(options)
        fleet = Fleet(options)
        try:
            result = run(module, fleet)
        finally:
            fleet.close()
    except FailoverError as error:
        result = {
            **base,
            "failed": True,
            "msg": error.sentence,
            "error": error.code,
            "phase": error.phase,
            "remedy": error.remedy,
        }
    except (LinkError, ReplyError) as error:
        result = {
            **base,
            "failed": True,
            "msg": str(error),
            "error": "sentinel_" + getattr(error, "code", "not_permitted"),
            "remedy": "Look at this server and at the options that lead to it.",
        }
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def stop_on_signals() -> Callable[[], bool]:
    """Whether SIGTERM or SIGINT has come.

    The program looks at it where nothing is under way. Ended in the middle, it would leave more to repair than if it went on.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop.is_set
