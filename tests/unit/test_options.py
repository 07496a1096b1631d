# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options: ranges, environment variables, constraints, and what they are turned into."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Access, Tls
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import RefusedError
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    CONNECTION,
    CONNECTION_CONSTRAINTS,
    FAILOVER,
    RANGES,
    check_ranges,
    connection_options,
    failover_request,
)
from ansible_collections.redis_ha.sentinel.plugins.module_utils._replies import Address
from ansible_collections.redis_ha.sentinel.plugins.module_utils._request import Request

ENVIRONMENT = {
    "REDIS_SENTINELS": ("sentinels", "10.0.0.1:26379,10.0.0.2:26379", ["10.0.0.1:26379", "10.0.0.2:26379"]),
    "REDIS_SENTINEL_USERNAME": ("sentinel_username", "ops", "ops"),
    "REDIS_SENTINEL_PASSWORD": ("sentinel_password", "hidden", "hidden"),
    "REDIS_USERNAME": ("redis_username", "ops", "ops"),
    "REDIS_PASSWORD": ("redis_password", "hidden", "hidden"),
    "REDIS_TLS": ("tls", "yes", True),
    "REDIS_SENTINEL_TLS": ("sentinel_tls", "no", False),
    "REDIS_VALIDATE_CERTS": ("validate_certs", "false", False),
    "REDIS_CA_CERTS": ("ca_certs", "/ca.pem", "/ca.pem"),
    "REDIS_CLIENT_CERT_FILE": ("client_cert_file", "/cert.pem", "/cert.pem"),
    "REDIS_CLIENT_KEY_FILE": ("client_key_file", "/key.pem", "/key.pem"),
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def validated(**given: Any) -> dict[str, Any]:
    """Options as Ansible hands them to a module."""
    validator = ModuleArgumentSpecValidator({**CONNECTION, **FAILOVER}, **CONNECTION_CONSTRAINTS)
    result = validator.validate({"master_name": "mymaster", **given})
    if result.error_messages:
        raise ValueError("; ".join(result.error_messages))
    parameters: dict[str, Any] = result.validated_parameters
    return parameters


def refusal(**given: Any) -> str:
    params = validated(**given)
    with pytest.raises(RefusedError) as caught:
        _read(params)
    assert (caught.value.code, caught.value.phase) == ("option_invalid", "options")
    assert caught.value.remedy
    return caught.value.message


def _read(params: dict[str, Any]) -> None:
    connection_options(params)
    failover_request(params)


def test_the_defaults() -> None:
    params = validated()
    options = connection_options(params)
    assert options.sentinels == (Address("127.0.0.1", 26379),)
    assert options.sentinel_access == options.node_access == Access()
    assert (options.connect_timeout_s, dict(options.address_map)) == (3.0, {})
    assert failover_request(params) == Request("mymaster")


@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_environment_variables_fill_in(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    option, text, expected = ENVIRONMENT[variable]
    monkeypatch.setenv(variable, text)
    other = {"client_cert_file": {"client_key_file": "/k"}, "client_key_file": {"client_cert_file": "/c"}}
    assert validated(**other.get(option, {}))[option] == expected


@pytest.mark.parametrize("variable", ["REDIS_USERNAME", "REDIS_SENTINELS"])
def test_an_option_beats_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    option, text, expected = ENVIRONMENT[variable]
    monkeypatch.setenv(variable, text)
    given = ["other:1"] if isinstance(expected, list) else "other"
    assert validated(**{option: given})[option] == given


def test_every_option_of_the_connection_but_three_has_a_variable() -> None:
    without = {name for name, spec in CONNECTION.items() if "fallback" not in spec}
    assert without == {"connect_timeout", "address_map", "renamed_commands"}
    assert {option for option, _text, _value in ENVIRONMENT.values()} == set(CONNECTION) - without


def test_renamed_commands_are_known_in_capitals() -> None:
    options = connection_options(validated(renamed_commands={"config": "adminConfig", "KEYS": "x"}))
    assert options.renamed_commands == {"CONFIG": "adminConfig", "KEYS": "x"}


@pytest.mark.parametrize(("name", "least", "most"), [(name, *bounds) for name, bounds in RANGES.items()])
def test_ranges(name: str, least: float, most: float) -> None:
    check_ranges({name: least})
    check_ranges({name: most})
    check_ranges({name: None})
    check_ranges({})
    for value in (least - 0.01, most + 1, float("nan")):
        with pytest.raises(RefusedError, match=f"{name}=.*must be from"):
            check_ranges({name: value})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sentinels": []}, "sentinels is empty"),
        ({"sentinels": ["a b"]}, "sentinels: 'a b' is not host:port"),
        ({"sentinels": ["h:0"]}, "from 1 to 65535"),
        ({"sentinels": ["::1"]}, "[address]:port"),
        ({"target": "host"}, "target: 'host' has no port"),
        ({"target": "redis..example:1"}, "target: 'redis..example:1': no host is called so"),
        ({"expected_master": "h:x"}, "expected_master"),
        ({"address_map": {"a:b:c": "d"}}, "address_map"),
        ({"address_map": {"a": "b c"}}, "address_map"),
        ({"renamed_commands": {"CONFIG SET": "ADMIN"}}, "renamed_commands: 'CONFIG SET': 'ADMIN'"),
        ({"renamed_commands": {"CONFIG": ""}}, "one word each"),
        ({"master_name": "  "}, "master_name is empty"),
        ({"timeout": 4}, "timeout=4.0"),
        ({"connect_timeout": 0}, "connect_timeout"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, Any], text: str) -> None:
    assert text in refusal(**given)


@pytest.mark.parametrize("given", [{"client_cert_file": "/c"}, {"client_key_file": "/k"}])
def test_certificate_and_key_go_together(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="required together"):
        validated(**given)


@pytest.mark.parametrize(
    "given", [{"strategy": "best"}, {"tls": "maybe"}, {"min_sentinels": "two"}, {"address_map": "a"}]
)
def test_types_and_choices(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"value of strategy|unable to convert|cannot be converted|dictionary"):
        validated(**given)


@pytest.mark.parametrize(
    ("tls", "sentinel_tls", "to_nodes", "to_sentinels"),
    [
        (False, None, False, False),
        (True, None, True, True),
        (True, False, True, False),
        (False, True, False, True),
    ],
)
def test_tls(tls: bool, sentinel_tls: bool | None, to_nodes: bool, to_sentinels: bool) -> None:
    options = connection_options(validated(tls=tls, sentinel_tls=sentinel_tls, ca_certs="/ca.pem"))
    assert (options.node_access.tls is not None) is to_nodes
    assert (options.sentinel_access.tls is not None) is to_sentinels
    for access in (options.node_access, options.sentinel_access):
        assert access.tls in (None, Tls(True, "/ca.pem", None, None))


def test_a_sentinel_named_twice_is_one() -> None:
    options = connection_options(validated(sentinels=["h", "h:26379", "h:1"]))
    assert options.sentinels == (Address("h", 26379), Address("h", 1))


def test_empty_texts_are_as_if_left_out() -> None:
    params = validated(target="", expected_master="", avoid=["", "h"], redis_password="", redis_username="")
    request = failover_request(params)
    assert (request.target, request.expected_master, request.avoid) == (None, None, ("h",))
    assert connection_options(params).node_access == Access()


def test_a_password_does_not_show() -> None:
    options = connection_options(validated(redis_password="hidden", sentinel_password="hidden"))
    assert "hidden" not in repr(options)


def test_the_request() -> None:
    request = failover_request(
        validated(
            target="[::1]:6379",
            expected_master="h:1",
            strategy="plain",
            promotion="sentinel",
            accept_loss=True,
            timeout=7,
            min_sentinels=2,
        )
    )
    assert request == Request(
        "mymaster",
        target=Address("::1", 6379),
        expected_master=Address("h", 1),
        strategy="plain",
        promotion="sentinel",
        accept_loss=True,
        timeout_s=7.0,
        min_sentinels=2,
    )


@pytest.mark.parametrize(
    ("text", "moment_s"),
    [
        ("600", 1_000_600.0),
        ("2026-01-31T02:00:00Z", 1_769_824_800.0),
        ("2026-01-31T03:00:00+01:00", 1_769_824_800.0),
        (None, None),
    ],
)
def test_the_latest_moment(text: str | None, moment_s: float | None) -> None:
    request = failover_request(validated(not_after=text), now_s=1_000_000.0)
    assert (request.not_after, request.not_after_s) == (text or "", moment_s)


@pytest.mark.parametrize(("text", "said"), [("02:00", "neither a time"), ("2026-01-31T02:00:00", "no time zone")])
def test_a_latest_moment_that_may_mean_several_is_refused(text: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        failover_request(validated(not_after=text))
