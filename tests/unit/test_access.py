# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients of the plugins on the controller: the options of the modules, their environment, their errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import (
    Access,
    Fleet,
    redis_py_to_install,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import LinkError, ReplyError, failure
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import CONNECTION
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils import _access
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._access import opened_fleet


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in CONNECTION.values():
        for name in spec.get("fallback", (None, ()))[1]:
            monkeypatch.delenv(name, raising=False)


def refusal(**values: Any) -> str:
    with pytest.raises(AnsibleError) as caught, opened_fleet(values):
        pytest.fail("it opens")
    return str(caught.value)


def test_what_is_not_given_comes_from_the_environment_or_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hidden")
    with opened_fleet({"sentinels": ["192.0.2.11"], "redis_username": "ops", "redis_password": None}) as fleet:
        assert fleet.options.sentinels == (Address("192.0.2.11", 26379),)
        assert fleet.options.node_access == Access("ops", "hidden")
        assert fleet.options.connect_timeout_s == 3.0


def test_it_is_closed_at_the_end_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Fleet] = []

    def close(fleet: Fleet) -> None:
        closed.append(fleet)

    monkeypatch.setattr(Fleet, "close", close)
    with opened_fleet({}) as fleet:
        assert closed == []
    with pytest.raises(ZeroDivisionError), opened_fleet({}) as other:
        raise ZeroDivisionError
    assert closed == [fleet, other]


def test_a_wrong_name_is_refused_with_the_right_ones() -> None:
    said = refusal(sentinel=["192.0.2.11"])
    assert said.startswith("There is no option sentinel. Those of the connection are sentinels, ")
    assert "renamed_commands" in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"connect_timeout": "soon"}, "connect_timeout"),
        ({"client_cert_file": "/cert.pem"}, "client_key_file"),
        ({"connect_timeout": 1000}, "connect_timeout=1000"),
        ({"sentinels": ["a:b:c"]}, "sentinels: "),
    ],
    ids=["type", "without its key", "range", "address"],
)
def test_an_option_that_cannot_be_used_is_named(values: dict[str, Any], said: str) -> None:
    assert said in refusal(**values)


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "ca.pem") in refusal(tls=True, ca_certs=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            LinkError("192.0.2.11:26379", "it does not answer in time"),
            "192.0.2.11:26379: it does not answer in time. Look",
        ),
        (ReplyError("192.0.2.11:26379", "NOPERM", "no permission"), "NOPERM no permission. Look at this server"),
        (failure("sentinels_missing", "no Sentinel answers"), "no Sentinel answers"),
    ],
    ids=["connection", "answer", "deployment"],
)
def test_what_goes_wrong_meanwhile_is_an_error_of_ansible(error: Exception, said: str) -> None:
    with pytest.raises(AnsibleError) as caught, opened_fleet({}):
        raise error
    assert said in str(caught.value)
    assert caught.value.__cause__ is error


def test_without_redis_py_it_says_what_to_install_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_access, "REDIS_IMPORT_ERROR", "Traceback: No module named 'redis'")
    assert (
        refusal()
        == f"redis-py is missing. Install redis-py {redis_py_to_install()} or later for the Python that runs Ansible."
    )


def test_a_redis_py_that_is_too_old_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_access, "redis_py_version", lambda: (3, 4, 1))
    assert refusal().startswith(f"redis-py 3.4.1 is too old. Install redis-py {redis_py_to_install()} or later")
