# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules' documentation promises, held against what they are and return."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.redis_ha.sentinel.plugins.action import write_fleet_report, write_report
from ansible_collections.redis_ha.sentinel.plugins.doc_fragments import connection, move
from ansible_collections.redis_ha.sentinel.plugins.module_utils import _module
from ansible_collections.redis_ha.sentinel.plugins.module_utils._checks import REPLICA_REMEDIES
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import redis_py_to_install
from ansible_collections.redis_ha.sentinel.plugins.module_utils._errors import ERRORS, ONE_CODE
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import CONNECTION, MOVE, RANGES

from lab import Deployment
from lab.modules import modules_that_run, quick_starts, run_module

ROOT = Path(__file__).resolve().parents[2]
MODULES = modules_that_run()
PLUGINS = "ansible_collections.redis_ha.sentinel.plugins.modules"
SECRET = {"sentinel_password", "redis_password"}
# What Ansible itself adds or documents for every module.
COMMON = {"changed", "failed", "msg", "exception", "diff", "invocation", "warnings", "deprecations"}
# What is a dictionary whose keys are names, where it is a dictionary.
BY_NAME = {"masters"}
NAME = "mymaster"


@pytest.fixture(scope="module", autouse=True)
def modules_begin_quickly() -> Iterator[None]:
    with quick_starts():
        yield


def module(name: str) -> ModuleType:
    return importlib.import_module(f"{PLUGINS}.{name}")


def documentation(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(module(name).DOCUMENTATION)
    return read


def returned(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(module(name).RETURN)
    return read


FRAGMENTS: dict[str, dict[str, Any]] = {
    "connection": yaml.safe_load(connection.ModuleDocFragment.DOCUMENTATION),
    "move": yaml.safe_load(move.ModuleDocFragment.DOCUMENTATION),
}
GROUPS = {"connection": CONNECTION, "move": MOVE}
MOVING = {"drain", "failover"}


def shared_options(name: str) -> dict[str, Any]:
    """The options that a module takes from the fragments."""
    extended = [fragment.rpartition(".")[2] for fragment in documentation(name)["extends_documentation_fragment"]]
    return {option: rules for fragment in extended for option, rules in FRAGMENTS[fragment]["options"].items()}


def own_arguments(name: str) -> dict[str, Any]:
    """What a module must be told beside the Sentinels."""
    return {"drain": {"hosts": ["127.0.0.1"]}, "wait_for_servers": {}}.get(name, {"master_name": NAME})


class _CapturedError(Exception):
    pass


@pytest.fixture
def argument_spec(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives what a module hands to AnsibleModule."""

    def capture(name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def stand_in(**arguments: Any) -> None:
            found.update(arguments)
            raise _CapturedError

        monkeypatch.setattr(_module, "AnsibleModule", stand_in)
        with pytest.raises(_CapturedError):
            module(name).main()
        return found

    return capture


# ---- options -------------------------------------------------------------------------------------------------------


def _comparable(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_documented_options_are_the_options(name: str, argument_spec: Any) -> None:
    documented = {**shared_options(name), **documentation(name)["options"]}
    assert _comparable(documented) == _comparable(argument_spec(name)["argument_spec"])


@pytest.mark.parametrize("name", MODULES)
def test_only_secrets_are_hidden(name: str, argument_spec: Any) -> None:
    spec = argument_spec(name)["argument_spec"]
    assert {option for option, rules in spec.items() if rules.get("no_log")} == SECRET


@pytest.mark.parametrize("name", MODULES)
def test_each_says_what_it_does_in_check_mode(name: str, argument_spec: Any) -> None:
    assert argument_spec(name)["supports_check_mode"] is True
    assert documentation(name)["attributes"]["check_mode"]["support"] == "full"
    assert documentation(name)["attributes"]["check_mode"]["description"]


@pytest.mark.parametrize("name", MODULES)
def test_each_shares_the_fragment_and_repeats_none_of_it(name: str) -> None:
    read = documentation(name)
    assert read["module"] == name
    assert "redis_ha.sentinel.connection" in read["extends_documentation_fragment"]
    assert ("redis_ha.sentinel.move" in read["extends_documentation_fragment"]) is (name in MOVING)
    assert not set(read["options"]) & set(shared_options(name))


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_the_fragment_is_the_group(fragment: str) -> None:
    assert _comparable(FRAGMENTS[fragment]["options"]) == _comparable(GROUPS[fragment])


def test_the_fragment_names_the_oldest_library() -> None:
    oldest, oldest_since_3_12 = redis_py_to_install((3, 11)), redis_py_to_install((3, 12))
    (named,) = FRAGMENTS["connection"]["requirements"]
    assert named == f"redis-py {oldest} or later; on Python 3.12 and later, redis-py {oldest_since_3_12} or later"


@pytest.mark.parametrize("option", CONNECTION)
def test_the_environment_variable_is_named(option: str) -> None:
    text = " ".join(FRAGMENTS["connection"]["options"][option]["description"])
    fallback = CONNECTION[option].get("fallback")
    assert re.findall(r"E\((\w+)\)", text)[:1] == (fallback[1] if fallback else [])


@pytest.mark.parametrize("name", MODULES)
def test_ranges_are_documented(name: str) -> None:
    options = {**shared_options(name), **documentation(name)["options"]}
    for option in set(options) & set(RANGES):
        least, most = RANGES[option]
        text = " ".join(options[option]["description"])
        upper = f"to {most:g}" if most < 2**53 else ""
        assert re.search(rf"[Ff]rom {least:g} {upper}|[Aa]t least {least:g}", text), (option, text)


@pytest.mark.parametrize("name", MODULES)
def test_each_is_in_the_group_of_module_defaults(name: str) -> None:
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]
    assert name in groups["all"]


def test_the_group_names_nothing_else() -> None:
    assert sorted(yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]["all"]) == MODULES


# ---- error codes ---------------------------------------------------------------------------------------------------

RAISED = {"RefusedError", "AbortedError", "IncompleteError", "UnknownOutcomeError", "FailoverError", "failure"}
ACCESS = ("auth", "tls", "not_permitted", "clients", "unreachable")


def _texts(node: ast.AST) -> set[str]:
    """Every code that an expression may be, as far as it stands there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return _texts(node.body) | _texts(node.orelse)
    return set()


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


DECIDING = ("_checks.py", "_commands.py", "_candidate.py", "_decide.py", "_drain.py", "_ways.py")
"""Where checks are made that refuse a failover."""


def error_codes() -> set[str]:
    """Every code that the source can put into ``error``.

    Checks are codes where they can refuse a failover: those of the files that decide, if they are critical.
    """
    codes = {f"{kind}_{code}" for kind in ("sentinel", "node") for code in ACCESS} | set(REPLICA_REMEDIES)
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                critical = len(node.args) > 1 and ast.unparse(node.args[1]) in ("CRITICAL", "'critical'")
                may_refuse = _called(node) == "Check" and critical and path.name in DECIDING
                if (
                    _called(node) in RAISED
                    or may_refuse
                    or (_called(node) == "_failed" and path.parent.name == "modules")
                ):
                    codes |= _texts(node.args[0])
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "error":
                        codes |= _texts(value)
    codes = {ONE_CODE.get(code, code) for code in codes}
    texts = {
        text
        for name in ("_replication", "_returned")
        for node in ast.walk(ast.parse((ROOT / f"plugins/module_utils/{name}.py").read_text()))
        for text in _texts(node)
    }
    return codes | {text for text in texts if re.fullmatch(r"(replicas|servers)_[a-z_]+", text)}


def test_every_error_of_a_run_is_raised_somewhere() -> None:
    raised = {
        code
        for path in (ROOT / "plugins/module_utils").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _called(node) == "failure"
        for code in _texts(node.args[0])
    }
    assert raised == set(ERRORS)


def test_every_error_code_is_documented_and_no_other() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == error_codes()


def test_every_error_says_what_to_do() -> None:
    rows = re.findall(r"^\| `\w+` \|(.*)\|(.*)\|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    assert rows
    assert all(meaning.strip() and remedy.strip() for meaning, remedy in rows)


# ---- results -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    hosts = ("127.0.0.1", "127.0.0.2")
    with Deployment("redis-7.0", replicas=2, sentinels=3, down_after_ms=2000, host=hosts) as running:
        yield running


def ask(deployment: Deployment, name: str, **arguments: Any) -> dict[str, Any]:
    return run_module(name, sentinels=deployment.sentinel_addresses, **{**own_arguments(name), **arguments})


def settings(deployment: Deployment) -> dict[str, Any]:
    """Every setting, and how often each command that changes something has run. What MULTI queued and DISCARD forgot has not."""
    found: dict[str, Any] = {}
    for process in deployment.processes:
        counted = process.command("INFO", "commandstats")
        found[process.address] = {
            name: values["calls"]
            for name, values in counted.items()
            if re.search(
                r"config\|(set|rewrite)|client\|(pause|kill|unpause)|replicaof|slaveof|sentinel\|set|cmdstat_set\b|failover",
                name,
            )
            and name != "cmdstat_sentinel|failover"
        }
        if process.role == "node":
            found[process.address]["config"] = process.command("CONFIG", "GET", "*")
    for sentinel in deployment.sentinels:
        row = sentinel.command("SENTINEL", "MASTER", NAME)
        fields = row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))
        found[sentinel.address]["master"] = {
            key: fields[key]
            for key in ("ip", "port", "flags", "config-epoch", "failover-timeout", "down-after-milliseconds")
        }
    return found


@pytest.mark.parametrize("name", MODULES)
def test_check_mode_changes_nothing(name: str, deployment: Deployment) -> None:
    before = settings(deployment)
    keys = deployment.master().command("DBSIZE")
    result = ask(deployment, name, check_mode=True)
    assert not result.get("failed"), result
    assert settings(deployment) == before
    assert deployment.master().command("DBSIZE") == keys


def assert_as_documented(documented: dict[str, Any], result: dict[str, Any], where: str = "") -> None:
    """Nothing is returned that is not documented; what is always returned is there."""
    extra = set(result) - set(documented) - (COMMON if not where else set())
    assert not extra, f"{where}: not documented: {sorted(extra)}"
    for key, rules in documented.items():
        if rules.get("returned") == "always" and not where:
            assert key in result, f"{key} is documented as always returned"
        value, inner = result.get(key), rules.get("contains")
        if where and inner is None and "returned" not in rules:
            assert key in result, f"{where}: {key} is documented and not there"
        if value is None:
            continue
        assert_type(rules.get("type", "str"), value, f"{where}.{key}")
        if inner:
            items = (
                value.values()
                if key in BY_NAME and isinstance(value, dict)
                else value
                if isinstance(value, list)
                else [value]
            )
            for item in items:
                assert_as_documented(inner, item, f"{where}.{key}")


TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "dict": (dict,),
    "list": (list,),
}


def assert_type(name: str, value: object, where: str) -> None:
    assert isinstance(value, TYPES[name]), f"{where} is documented as {name} and is {value!r}"
    assert isinstance(value, bool) is (name == "bool"), f"{where} is documented as {name} and is {value!r}"


@pytest.mark.parametrize("name", [name for name in MODULES if name not in (*MOVING, "watch_failover")])
def test_results_are_as_documented(name: str, deployment: Deployment) -> None:
    result = ask(deployment, name)
    assert not result.get("failed"), result
    assert_as_documented(returned(name), result)


def _old_and_other(deployment: Deployment) -> tuple[str, str]:
    return deployment.master().address, deployment.replicas()[0].address


def test_results_of_every_outcome_are_as_documented(deployment: Deployment) -> None:
    old, other = _old_and_other(deployment)
    results = {
        "planned": ask(deployment, "failover", check_mode=True),
        "unchanged": ask(deployment, "failover", target=old),
        "refused": ask(deployment, "failover", expected_master=other),
        "switched": ask(deployment, "failover", target=other),
    }
    seen: set[str] = set()
    for outcome, result in results.items():
        assert result["outcome"] == outcome
        assert result["changed"] is (outcome in ("planned", "switched"))
        assert bool(result.get("failed")) is (outcome == "refused")
        assert_as_documented(returned("failover"), result)
        seen |= set(result)
    assert set(returned("failover")) <= seen, "documented and never returned"
    assert set(results["refused"]) >= {"seen", "remedy", "error", "msg"}
    deployment.wait_ready()


def test_results_of_a_drain_are_as_documented(deployment: Deployment) -> None:
    host = [deployment.master().host]
    results = {
        "planned": ask(deployment, "drain", hosts=host, check_mode=True),
        "switched": ask(deployment, "drain", hosts=host),
        "unchanged": ask(deployment, "drain", hosts=host),
        "refused": ask(deployment, "drain", hosts=["127.0.0.1", "127.0.0.2"]),
    }
    for outcome, result in results.items():
        assert result["counts"] == {outcome: 1}, result
        assert result["changed"] is (outcome in ("planned", "switched"))
        assert bool(result.get("failed")) is (outcome == "refused")
        assert_as_documented(returned("drain"), result)
        assert result["masters"][0]["outcome"] == outcome
        assert set(result["masters"][0]) == set(returned("drain")["masters"]["contains"])
    deployment.wait_ready()


@pytest.mark.parametrize("name", MODULES)
def test_an_option_that_cannot_be_used_is_refused_by_each(name: str) -> None:
    result = run_module(name, sentinels=["127.0.0.1:0"], **own_arguments(name))
    assert result["failed"]
    assert (result["error"], result["changed"]) == ("option_invalid", False)
    assert result["remedy"]


@pytest.mark.parametrize("name", MODULES)
def test_a_refusal_before_the_run_returns_what_is_always_returned(name: str) -> None:
    result = run_module(name, sentinels=["127.0.0.1:0"], **own_arguments(name))
    always = {key for key, rules in returned(name).items() if rules["returned"] == "always"}
    assert always <= set(result)


@pytest.mark.parametrize("plugin", [write_report, write_fleet_report], ids=lambda it: it.__name__.rpartition(".")[2])
def test_a_report_is_written_with_the_options_that_are_documented(plugin: ModuleType) -> None:
    name = plugin.__name__.rpartition(".")[2]
    documented = documentation(name)["options"]
    assert {
        name: {key: value for key, value in rules.items() if key != "description"} for name, rules in documented.items()
    } == plugin.OPTIONS
