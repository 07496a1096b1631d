# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What surrounds every module: options in, one result out, whatever happens, and signals that are waited with."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.redis_ha.sentinel.plugins.module_utils import _module
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet, redis_py_to_install
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import (
    AuthError,
    LinkError,
    ReplyError,
    failure,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._module import run_module, stop_on_signals
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import CONNECTION
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address

SERVER = "192.0.2.11:26379"
Run = Callable[..., dict[str, Any]]
Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in CONNECTION.values():
        for name in spec.get("fallback", (None, ()))[1]:
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a module with these options; its exit code and its result."""

    def run(run: Run, options: dict[str, Any] | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
        args = json.dumps({"ANSIBLE_MODULE_ARGS": options or {}}).encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", args)
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit) as end:
            run_module({"master_name": {"type": "str", "default": "orders"}}, run, **more)
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return int(str(end.value.code)), result

    return run


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Fleet]:
    """The fleets that were closed."""
    fleets: list[Fleet] = []

    def close(fleet: Fleet) -> None:
        fleets.append(fleet)

    monkeypatch.setattr(Fleet, "close", close)
    return fleets


def never(_module: Any, _fleet: Fleet) -> dict[str, Any]:
    pytest.fail("it runs")


def test_a_module_gets_its_options_and_clients_and_its_result_is_told(call: Call, closed: list[Fleet]) -> None:
    def run(module: Any, fleet: Fleet) -> dict[str, Any]:
        assert fleet.options.sentinels == (Address("192.0.2.11", 26379),)
        assert closed == []
        return {"changed": True, "name": module.params["master_name"]}

    code, result = call(run, {"sentinels": [SERVER]})
    assert (code, result["changed"], result["name"]) == (0, True, "orders")
    assert len(closed) == 1


def test_a_result_that_failed_fails_the_task_with_all_that_it_says(call: Call) -> None:
    code, result = call(lambda *_: {"failed": True, "changed": True, "msg": "left to do", "outcome": "incomplete"})
    assert (code, result["failed"], result["changed"], result["outcome"]) == (1, True, True, "incomplete")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (failure("sentinels_missing", "no Sentinel answers"), "sentinels_missing", "no Sentinel answers"),
        (
            LinkError(SERVER, "it does not answer in time"),
            "sentinel_unreachable",
            f"{SERVER}: it does not answer in time",
        ),
        (AuthError(SERVER, "it refuses the login"), "sentinel_auth", "it refuses the login"),
        (ReplyError(SERVER, "NOPERM", "no permission"), "sentinel_not_permitted", "NOPERM no permission"),
    ],
    ids=["deployment", "connection", "login", "permission"],
)
def test_an_error_is_a_code_a_sentence_and_a_remedy(
    call: Call, closed: list[Fleet], error: Exception, code: str, words: str
) -> None:
    def run(*_: Any) -> dict[str, Any]:
        raise error

    exit_code, result = call(run, result_on_error={"outcome": None})
    assert (exit_code, result["failed"], result["changed"], result["error"]) == (1, True, False, code)
    assert words in result["msg"]
    assert result["remedy"]
    assert result["outcome"] is None
    assert len(closed) == 1


def test_an_error_of_the_program_closes_its_connections_too(call: Call, closed: list[Fleet]) -> None:
    def run(*_: Any) -> dict[str, Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(run)
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connect_timeout": 1000}, "connect_timeout=1000"),
        ({"sentinels": []}, "sentinels is empty"),
        ({"tls": True, "ca_certs": "/no/such/ca.pem"}, "/no/such/ca.pem"),
    ],
    ids=["range", "nobody to ask", "certificate"],
)
def test_an_option_that_cannot_be_used_is_refused_before_anybody_is_asked(
    call: Call, options: dict[str, Any], words: str
) -> None:
    code, result = call(never, options, result_on_error={"checks": []})
    assert (code, result["error"], result["checks"]) == (1, "option_invalid", [])
    assert words in result["msg"]


def test_a_certificate_needs_its_key(call: Call) -> None:
    code, result = call(never, {"client_cert_file": "/cert.pem"})
    assert code == 1
    assert "client_key_file" in result["msg"]


def test_without_redis_py_it_says_what_to_install(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_module, "REDIS_IMPORT_ERROR", "Traceback: No module named 'redis'")
    code, result = call(never, result_on_error={"outcome": None})
    assert (code, result["error"], result["outcome"], result["changed"]) == (1, "library_missing", None, False)
    assert result["remedy"] == f"Install redis-py {redis_py_to_install()} or later for the Python that runs the module."
    assert "redis (redis-py)" in result["msg"]


def test_what_to_install_is_what_this_python_can_import() -> None:
    assert [redis_py_to_install(python) for python in ((3, 9), (3, 11))] == ["3.5", "3.5"]
    assert [redis_py_to_install(python) for python in ((3, 12), (3, 14))] == ["4.3.4", "4.3.4"]


def test_a_redis_py_that_is_too_old_is_named_with_its_version(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_module, "redis_py_version", lambda: (3, 4, 1))
    code, result = call(never)
    assert (code, result["error"]) == (1, "library_too_old")
    assert result["msg"] == f"redis-py 3.4.1 is too old, {redis_py_to_install()} is the oldest that will do."


# ---- signals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_nothing_and_is_known_of(number: int) -> None:
    stopped = stop_on_signals()
    assert not stopped()
    os.kill(os.getpid(), number)
    assert stopped()
