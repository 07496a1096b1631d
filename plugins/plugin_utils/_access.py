# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a plugin on the controller -> a fleet, with the same rules as those of the modules.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
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


@contextlib.contextmanager
def opened_fleet(values: Mapping[str, Any]) -> Iterator[Fleet]:
    """The clients of a deployment, closed at the end of the block.

    Args:
        values: Options of the group CONNECTION. One that is missing or ``None`` comes from the environment, or is its default.

    Raises:
        AnsibleError: An option cannot be used, redis-py is missing, or what is done in the block cannot be.
    """
    _require_library()
    unknown = sorted(values.keys() - CONNECTION.keys())
    if unknown:
        raise AnsibleError(f"There is no option {unknown[0]}. Those of the connection are {', '.join(CONNECTION)}.")
    given = {name: value for name, value in values.items() if value is not None}
    checked = ArgumentSpecValidator(CONNECTION, **CONNECTION_CONSTRAINTS).validate(given)
    if checked.error_messages:
        raise AnsibleError(". ".join(checked.error_messages))
    try:
        options = connection_options(checked.validated_parameters)
        check_tls_files(options)
        with contextlib.closing(Fleet(options)) as fleet:
            yield fleet
    except FailoverError as error:
        raise AnsibleError(error.sentence) from error
    except (LinkError, ReplyError) as error:
        raise AnsibleError(f"{error}. Look at this server and at the options that lead to it.") from error


def _require_library() -> None:
    wanted = redis_py_to_install()
    if REDIS_IMPORT_ERROR is not None:
        raise AnsibleError(f"redis-py is missing. Install redis-py {wanted} or later for the Python that runs Ansible.")
    if redis_py_version() < MINIMUM_REDIS_PY:
        found = ".".join(map(str, redis_py_version()))
        raise AnsibleError(
            f"redis-py {found} is too old. Install redis-py {wanted} or later for the Python that runs Ansible."
        )
