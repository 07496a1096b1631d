# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Groups of options: argument spec, constraints, environment fallbacks, and what they are turned into.

Each group has its twin in ``plugins/doc_fragments``. This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import env_fallback
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Access, ConnectionOptions, Tls
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._news import PROGRAM, SENTINEL
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import (
    DEFAULT_SENTINEL_PORT,
    Address,
    parse_address,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import (
    AUTO,
    COORDINATED,
    FENCED,
    PLAIN,
    Request,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._tls import unusable_file


def _from_environment(name: str, **spec: Any) -> dict[str, Any]:
    return {**spec, "fallback": (env_fallback, [name])}


CONNECTION: dict[str, dict[str, Any]] = {
    "sentinels": _from_environment("REDIS_SENTINELS", type="list", elements="str", default=["127.0.0.1:26379"]),
    "sentinel_username": _from_environment("REDIS_SENTINEL_USERNAME", type="str"),
    "sentinel_password": _from_environment("REDIS_SENTINEL_PASSWORD", type="str", no_log=True),
    "redis_username": _from_environment("REDIS_USERNAME", type="str"),
    "redis_password": _from_environment("REDIS_PASSWORD", type="str", no_log=True),
    "tls": _from_environment("REDIS_TLS", type="bool", default=False),
    "sentinel_tls": _from_environment("REDIS_SENTINEL_TLS", type="bool"),
    "validate_certs": _from_environment("REDIS_VALIDATE_CERTS", type="bool", default=True),
    "ca_certs": _from_environment("REDIS_CA_CERTS", type="path"),
    "client_cert_file": _from_environment("REDIS_CLIENT_CERT_FILE", type="path"),
    "client_key_file": _from_environment("REDIS_CLIENT_KEY_FILE", type="path"),
    "connect_timeout": {"type": "float", "default": 3.0},
    "address_map": {"type": "dict", "default": {}},
    "renamed_commands": {"type": "dict", "default": {}},
}
"""The group of doc_fragments/connection.py."""

CONNECTION_CONSTRAINTS: dict[str, Any] = {"required_together": [("client_cert_file", "client_key_file")]}

MOVE: dict[str, dict[str, Any]] = {
    "min_sentinels": {"type": "int"},
    "strategy": {"type": "str", "choices": [AUTO, FENCED, COORDINATED, PLAIN], "default": AUTO},
    "promotion": {"type": "str", "choices": [AUTO, PROGRAM, SENTINEL], "default": AUTO},
    "accept_loss": {"type": "bool", "default": False},
    "not_after": {"type": "str"},
    "max_lag_bytes": {"type": "int", "default": 10 * 1024 * 1024},
    "catch_up_timeout": {"type": "float", "default": 1.0},
    "timeout": {"type": "float", "default": 120.0},
}
"""The group of doc_fragments/move.py."""

FAILOVER: dict[str, dict[str, Any]] = {
    "master_name": {"type": "str", "required": True},
    "target": {"type": "str"},
    "avoid": {"type": "list", "elements": "str", "default": []},
    "expected_master": {"type": "str"},
    **MOVE,
}
"""The options of ``failover`` alone."""

DRAIN: dict[str, dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "master_names": {"type": "list", "elements": "str", "default": []},
    "targets": {"type": "dict", "default": {}},
    "max_parallel": {"type": "int", "default": 4},
    "stop_on_failure": {"type": "bool", "default": False},
    **MOVE,
}
"""The options of ``drain`` alone."""

WAIT: dict[str, dict[str, Any]] = {
    "master_name": {"type": "str", "required": True},
    "max_lag_bytes": {"type": "int", "default": 10 * 1024 * 1024},
    "excused": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 3600.0},
    "stall_timeout": {"type": "float", "default": 300.0},
    "poll_interval": {"type": "float", "default": 2.0},
}
"""The options of ``wait_for_replicas`` alone."""

MARKER: dict[str, dict[str, Any]] = {
    "master_name": {"type": "str", "required": True},
    "key_prefix": {"type": "str", "default": "redis_ha.sentinel:marker:", "no_log": False},
    "ttl": {"type": "int", "default": 60},
    "excused": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 10.0},
}
"""The options of ``replication_marker`` alone."""

TOPOLOGY: dict[str, dict[str, Any]] = {"master_name": {"type": "str"}}
"""The options of ``topology_info`` alone."""

SERVERS: dict[str, dict[str, Any]] = {
    "expected": {"type": "dict", "default": {}},
    "max_lag_bytes": {"type": "int", "default": 10 * 1024 * 1024},
    "timeout": {"type": "float", "default": 3600.0},
    "stall_timeout": {"type": "float", "default": 300.0},
    "poll_interval": {"type": "float", "default": 2.0},
}
"""The options of ``wait_for_servers`` alone."""

WATCH: dict[str, dict[str, Any]] = {
    "master_name": {"type": "str", "required": True},
    "expected_master": {"type": "str"},
    "stop_timeout": {"type": "float", "default": 60.0},
    "timeout": {"type": "float", "default": 300.0},
    "ready_file": {"type": "path"},
}
"""The options of ``watch_failover`` alone."""

HEALTH: dict[str, dict[str, Any]] = {
    "master_name": {"type": "str", "required": True},
    "phase": {"type": "str", "choices": ["before", "after"], "default": "before"},
    "min_sentinels": {"type": "int"},
    "min_fit_replicas": {"type": "int", "default": 1},
    "max_lag_bytes": {"type": "int", "default": 10 * 1024 * 1024},
    "max_info_age": {"type": "float", "default": 30.0},
    "max_link_silence": {"type": "float", "default": 30.0},
    "baseline": {"type": "dict"},
    "check_config_writable": {"type": "bool", "default": False},
    "patience": {"type": "float", "default": 3.0},
}
"""The options of ``health_info`` alone."""

RANGES: dict[str, tuple[float, float]] = {
    "connect_timeout": (0.1, 60),
    "min_sentinels": (1, 1000),
    "max_parallel": (1, 32),
    "max_lag_bytes": (0, 2**53),
    "catch_up_timeout": (0.05, 60),
    "timeout": (5, 86400),
    "stall_timeout": (1, 86400),
    "stop_timeout": (1, 3600),
    "poll_interval": (0.2, 60),
    "ttl": (1, 3600),
    "min_fit_replicas": (0, 1000),
    "max_info_age": (1, 3600),
    "max_link_silence": (1, 86400),
    "patience": (0, 600),
}
"""Smallest and largest value of each option that has a range."""


def invalid(message: str) -> RefusedError:
    return RefusedError(
        "option_invalid",
        message,
        "Correct this option; the documentation of the module has its form and range.",
        "options",
    )


def check_ranges(params: Mapping[str, Any]) -> None:
    """Hold every number against its range.

    Raises:
        RefusedError: One is out of it.
    """
    for name, (least, most) in RANGES.items():
        value = params.get(name)
        if value is not None and not least <= value <= most:
            raise invalid(f"{name}={value} is out of range: it must be from {least:g} to {most:g}")


def address_of(option: str, text: str, default_port: int | None = None) -> Address:
    """An option, or a part of one, that is a ``host:port``.

    Raises:
        RefusedError: It is not an address.
    """
    try:
        return parse_address(text, default_port)
    except ValueError as error:
        raise invalid(f"{option}: {error}") from error


def _optional_address(option: str, text: str | None) -> Address | None:
    return address_of(option, text) if text else None


def connection_options(params: Mapping[str, Any]) -> ConnectionOptions:
    """The group CONNECTION, read.

    Raises:
        RefusedError: A value cannot be used.
    """
    check_ranges(params)
    sentinels = tuple(
        dict.fromkeys(address_of("sentinels", text, DEFAULT_SENTINEL_PORT) for text in params["sentinels"])
    )
    if not sentinels:
        raise invalid("sentinels is empty: name at least one Sentinel as host:port")
    tls = Tls(
        validate_certs=params["validate_certs"],
        ca_certs=params["ca_certs"],
        client_cert_file=params["client_cert_file"],
        client_key_file=params["client_key_file"],
    )
    sentinel_tls = params["tls"] if params["sentinel_tls"] is None else params["sentinel_tls"]
    for announced, reached in params["address_map"].items():
        # A host without a port is allowed on both sides; any port will do to look at its form.
        address_of("address_map", str(announced), 1)
        address_of("address_map", str(reached), 1)
    return ConnectionOptions(
        sentinels=sentinels,
        sentinel_access=Access(
            params["sentinel_username"] or None, params["sentinel_password"] or None, tls if sentinel_tls else None
        ),
        node_access=Access(
            params["redis_username"] or None, params["redis_password"] or None, tls if params["tls"] else None
        ),
        connect_timeout_s=params["connect_timeout"],
        address_map={str(announced): str(reached) for announced, reached in params["address_map"].items()},
        renamed_commands=_renamed_commands(params["renamed_commands"]),
    )


def _renamed_commands(names: Mapping[str, Any]) -> dict[str, str]:
    """The option ``renamed_commands``, by names in capitals.

    Raises:
        RefusedError: A command, or its new name, is not one word.
    """
    for name, called in names.items():
        for word in (name, called):
            if len(str(word).split()) != 1:
                raise invalid(
                    f"renamed_commands: {name!r}: {called!r}: a command and its new name are one word each, as in CONFIG: ADMINCONFIG"
                )
    return {str(name).strip().upper(): str(called).strip() for name, called in names.items()}


def check_tls_files(options: ConnectionOptions) -> None:
    """See that the files that TLS is to be spoken with can be used.

    Raises:
        RefusedError: One of them cannot.
    """
    tls = options.sentinel_access.tls or options.node_access.tls
    wrong = unusable_file(tls.ca_certs, tls.client_cert_file, tls.client_key_file) if tls else ""
    if wrong:
        raise invalid(wrong)


def master_name(params: Mapping[str, Any]) -> str:
    """The name of the master.

    Raises:
        RefusedError: It is empty.
    """
    name = str(params["master_name"])
    if not name.strip():
        raise invalid("master_name is empty: name the master as Sentinel does")
    return name


def addresses(option: str, texts: Iterable[str]) -> tuple[Address, ...]:
    """An option that is a list of ``host:port``.

    Raises:
        RefusedError: One of them is not an address.
    """
    return tuple(address_of(option, text) for text in texts if text)


def _moment_s(option: str, text: str | None, now_s: float) -> float | None:
    """A moment by the wall clock, in seconds since 1970: a time in UTC, or a number of seconds from now."""
    if not text:
        return None
    if text.strip().isdigit():
        return now_s + int(text)
    try:
        moment = datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise invalid(
            f"{option}={text!r} is neither a time in UTC such as 2026-01-31T02:00:00Z nor a number of seconds"
        ) from error
    if moment.tzinfo is None:
        raise invalid(f"{option}={text!r} has no time zone: write it in UTC, with Z at its end")
    return moment.timestamp()


def failover_request(params: Mapping[str, Any], now_s: float = 0.0) -> Request:
    """The group FAILOVER, read.

    Args:
        params: The parameters of the module.
        now_s: The wall clock, in seconds since 1970.

    Raises:
        RefusedError: A value cannot be used.
    """
    check_ranges(params)
    return replace(
        move_request(params, now_s),
        master_name=master_name(params),
        target=_optional_address("target", params["target"]),
        avoid=tuple(host for host in params["avoid"] if host),
        expected_master=_optional_address("expected_master", params["expected_master"]),
    )


def move_request(params: Mapping[str, Any], now_s: float) -> Request:
    """The group MOVE, read.

    Args:
        params: The parameters of the module.
        now_s: The wall clock, in seconds since 1970.

    Raises:
        RefusedError: A value cannot be used.
    """
    return Request(
        master_name="",
        min_sentinels=params["min_sentinels"],
        strategy=params["strategy"],
        promotion=params["promotion"],
        accept_loss=params["accept_loss"],
        not_after=params["not_after"] or "",
        not_after_s=_moment_s("not_after", params["not_after"], now_s),
        max_lag_bytes=params["max_lag_bytes"],
        catch_up_timeout_s=params["catch_up_timeout"],
        timeout_s=params["timeout"],
    )
