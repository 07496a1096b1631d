# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One option has one type, one default and one set of choices: in module, role, playbook, survey and credential."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import (
    CONNECTION,
    DRAIN,
    FAILOVER,
    HEALTH,
    MARKER,
    RANGES,
    SERVERS,
    WAIT,
    WATCH,
)
from ansible_collections.redis_ha.sentinel.plugins.modules import failover as failover_module
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._course import NOTHING
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._names import CHECKS, HANDED_ON, LEFT_BY_ROLES
from jinja2 import Undefined
from jinja2.nativetypes import NativeEnvironment

ROOT = Path(__file__).resolve().parents[2]
AWX = ROOT / "awx"
ROLES = ("precheck", "postcheck", "failover", "drain", "drill", "rolling", "move_back")
PLAYBOOKS = (
    "status",
    "precheck",
    "failover",
    "drain",
    "move_back",
    "rolling_maintenance",
    "drill",
    "history",
    "fleet",
    "fleet_report",
)
DEPLOYMENTS = ("fleet", "fleet_report")
"""Each host of their inventory stands for a deployment."""
FLEET = ("rolling_maintenance", "drill")
"""They work on the hosts themselves, and so need an inventory that has them."""
TEMPLATES = tuple(name for name in PLAYBOOKS if name not in (*FLEET, *DEPLOYMENTS))
ASKED_WITHOUT_DEFAULT = ("sentinels", "rolling_state_file")
"""A job of AWX has no environment of the user, and a home folder that ends with it."""
SURVEYS = (*PLAYBOOKS, "workflow")
FLAT = {"text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"}

# Which module gives meaning to a role's variable, and the option's name where it is not the variable's own.
MEANING: dict[str, list[tuple[dict[str, Any], str]]] = {
    "precheck": [(HEALTH, "")],
    "postcheck": [(WAIT, ""), (HEALTH, ""), (MARKER, "marker_")],
    "failover": [(FAILOVER, "")],
    "drain": [(DRAIN, "")],
    "drill": [(WATCH, "")],
    "rolling": [(SERVERS, ""), ({name: DRAIN[name] for name in ("max_parallel",)}, "")],
    "move_back": [({name: DRAIN[name] for name in ("targets", "max_parallel", "max_lag_bytes")}, "")],
}
# What a role has of its own.
OWN = {
    "precheck": {"waivers"},
    "postcheck": {"waivers", "marker"},
    "failover": {
        *("precheck", "postcheck", "report", "set_stats", "confirm"),
        *("before_tasks", "after_tasks", "failure_tasks", "history_file"),
    },
    "drain": {"set_stats"},
    "drill": {
        *("allowed", "host", "stop_command", "start_command", "become"),
        *("give_back", "history_file", "report", "set_stats"),
    },
    "rolling": {
        *("hosts", "serial", "min_replicas", "give_back", "state_file", "postcheck", "waivers", "set_stats"),
        *("maintenance_tasks", "before_tasks", "after_tasks", "failure_tasks"),
        *("services", "packages", "reboot_timeout"),
    },
    "move_back": {"state_file", "set_stats"},
}
OTHERS = "redis_ha_other_variables"
WHERE = {"delegate_to", "run_once", "python_interpreter"}
# Names that Ansible keeps for itself: a playbook takes these by the role's name only.
RESERVED = {"strategy", "timeout"}


def load(path: Path) -> Any:
    return DataLoader().load_from_file(str(path))


def specs(role: str) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = load(ROOT / f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return options


def own_specs(role: str) -> dict[str, dict[str, Any]]:
    """By the name without the role's."""
    return {name.removeprefix(f"{role}_"): rules for name, rules in specs(role).items() if name.startswith(f"{role}_")}


def shared_specs(role: str) -> dict[str, dict[str, Any]]:
    return {name: rules for name, rules in specs(role).items() if name.startswith("redis_ha_") and name != OTHERS}


def defaults(role: str) -> dict[str, Any]:
    found: dict[str, Any] = load(ROOT / f"roles/{role}/defaults/main.yml")
    return found


def rendered(value: Any) -> Any:
    """A default, where nothing else is set."""
    if not isinstance(value, str) or "{{" not in value:
        return value
    environment = NativeEnvironment(extensions=[])
    environment.globals["lookup"] = lambda _plugin, _name, default="": default
    environment.globals["undef"] = Undefined
    environment.globals["hostvars"] = {"localhost": {}}
    environment.globals["inventory_hostname"] = "localhost"
    if value.lstrip().startswith("{{ sentinel_tls"):
        environment.globals["redis_ha_tls"] = "false"
    result: Any = environment.from_string(str(value)).render()
    return None if isinstance(result, Undefined) else result


def plain(value: Any) -> Any:
    """What left out means: the module says None, a role says nothing, 0 or an empty text."""
    return None if value in ("", [], {}, 0) and value is not False else value


def module_option(role: str, name: str) -> dict[str, Any] | None:
    for group, prefix in MEANING[role]:
        if prefix and name.startswith(prefix) and name.removeprefix(prefix) in group:
            return dict(group[name.removeprefix(prefix)])
    for group, prefix in MEANING[role]:
        if not prefix and name in group:
            return dict(group[name])
    return None


# ---- roles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [*ROLES, "fleet"])
def test_defaults_are_as_documented(role: str) -> None:
    documented, real = {f"{role}_{name}": rules for name, rules in own_specs(role).items()}, defaults(role)
    assert set(documented) == set(real)
    for name, rules in documented.items():
        if "default" in rules:
            assert rendered(real[name]) == rules["default"], name
        elif rules.get("required"):
            assert rendered(real[name]) is None, name
        else:
            assert name == f"{role}_python_interpreter"


@pytest.mark.parametrize("role", ROLES)
def test_variables_mean_what_the_modules_say(role: str) -> None:
    for name, rules in own_specs(role).items():
        option = module_option(role, name)
        if option is None:
            assert name in OWN[role] | WHERE, name
            continue
        assert name not in OWN[role] | WHERE
        assert rules["type"] == option["type"], name
        assert rules.get("elements") == option.get("elements"), name
        assert rules.get("choices") == option.get("choices"), name
        assert rules.get("required", False) == option.get("required", False), name
        assert plain(rules.get("default")) == plain(option.get("default")), name


def test_the_failover_role_has_every_option_of_the_module() -> None:
    assert set(own_specs("failover")) == set(FAILOVER) | OWN["failover"] | WHERE


def calls(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every call of a module of ours in a file of tasks, at any depth."""
    found = []

    def look(tasks: Any) -> None:
        for task in tasks or []:
            for key, value in task.items():
                if key.startswith("redis_ha.sentinel."):
                    found.append((key.removeprefix("redis_ha.sentinel."), value))
                elif key in ("block", "rescue", "always"):
                    look(value)

    look(load(path))
    return found


def test_roles_pass_on_every_option() -> None:
    passed = {name: set(options) for name, options in calls(ROOT / "roles/failover/tasks/module.yml")}
    assert passed == {"failover": set(FAILOVER)}
    passed = {name: set(options) for name, options in calls(ROOT / "roles/drain/tasks/module.yml")}
    assert passed == {"drain": set(DRAIN)}
    passed = {name: set(options) for name, options in calls(ROOT / "roles/precheck/tasks/check.yml")}
    assert passed == {"health_info": set(HEALTH) - {"baseline"}}
    passed = {name: set(options) for name, options in calls(ROOT / "roles/postcheck/tasks/wait.yml")}
    assert passed == {"wait_for_replicas": set(WAIT)}
    passed = {name: set(options) for name, options in calls(ROOT / "roles/postcheck/tasks/verify.yml")}
    assert passed["replication_marker"] == set(MARKER)
    assert passed["health_info"] <= set(HEALTH)


def test_what_is_shared_is_the_connection_and_the_same_everywhere() -> None:
    first = shared_specs(ROLES[0])
    assert all(shared_specs(role) == first for role in ROLES[1:])
    assert {name.removeprefix("redis_ha_") for name in first} == set(CONNECTION)
    for name, rules in first.items():
        option = CONNECTION[name.removeprefix("redis_ha_")]
        assert (rules["type"], rules.get("elements")) == (option["type"], option.get("elements")), name
        assert rules.get("no_log", False) == option.get("no_log", False), name
        assert "default" not in rules, "the module decides, or the environment"
        named = re.findall(r"E\((\w+)\)", " ".join(rules["description"]))
        assert named == option.get("fallback", (None, []))[1], name


@pytest.mark.parametrize(
    "path",
    [
        "roles/precheck/tasks/main.yml",
        "roles/postcheck/tasks/main.yml",
        "roles/failover/tasks/main.yml",
        "roles/drain/tasks/main.yml",
        "roles/drill/tasks/main.yml",
        "roles/rolling/tasks/main.yml",
        "roles/rolling/tasks/host.yml",
        "roles/move_back/tasks/main.yml",
        "playbooks/status.yml",
    ],
)
def test_every_option_of_the_connection_reaches_the_modules(path: str) -> None:
    given = next(part["module_defaults"] for part in load(ROOT / path) if "module_defaults" in part)
    assert list(given) == ["group/redis_ha.sentinel.all"]
    group = given["group/redis_ha.sentinel.all"]
    assert set(group) == set(CONNECTION)
    for name, text in group.items():
        assert re.fullmatch(rf"\{{\{{ redis_ha_{name} \| default\(omit(, true)?\) \}}\}}", text), name


def test_a_run_that_did_not_come_as_far_returns_what_the_module_returns() -> None:
    returned = yaml.safe_load(failover_module.RETURN)
    assert set(NOTHING) - {"changed"} == set(returned)
    for name, rules in returned.items():
        empty: object = {"list": [], "dict": {}}.get(rules["type"])
        assert NOTHING[name] in (empty, None) or name in ("outcome", "phase", "lossless_reason"), name


@pytest.mark.parametrize("role", [*ROLES, "fleet"])
def test_the_readme_names_every_variable_of_the_role(role: str) -> None:
    text = (ROOT / f"roles/{role}/README.md").read_text()
    missing = [name for name in specs(role) if name.startswith(f"{role}_") and f"`{name}`" not in text]
    assert not missing
    named = set(re.findall(rf"`({role}_\w+)`", text))
    assert named <= set(specs(role)) | set(
        re.findall(rf"\bC\(({role}_\w+)\)", (ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())
    )


def kept(tasks: Any) -> set[str]:
    """The names that tasks register or set, at any depth."""
    found: set[str] = set()
    for task in tasks or []:
        found |= {task["register"]} if "register" in task else set()
        found |= set(task.get("ansible.builtin.set_fact", {}))
        for part in ("block", "rescue", "always"):
            found |= kept(task.get(part))
    return found


def test_what_the_roles_leave_is_known_to_the_guard() -> None:
    names = {
        name
        for role in (*ROLES, "report", "fleet")
        for path in (ROOT / f"roles/{role}/tasks").glob("*.yml")
        for name in kept(load(path))
    }
    assert {name for name in names if not name.startswith("__")} | {"failover_failure"} == LEFT_BY_ROLES


def test_every_check_can_be_waived_by_the_name_that_the_documentation_has() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/checks.md").read_text(), re.MULTILINE)) == CHECKS


@pytest.mark.parametrize("role", ROLES)
def test_every_role_can_be_told_what_is_somebody_elses(role: str) -> None:
    assert specs(role)[OTHERS] == specs("failover")[OTHERS]


def test_the_roles_decide_nothing_in_jinja() -> None:
    """What is decided is a field of the filter; a text may be chosen, and a switch may be read."""
    folders = [
        ROOT / f"roles/{role}/{part}"
        for role in ("failover", "drain", "drill", "rolling", "move_back", "fleet")
        for part in ("tasks", "vars")
    ]
    text = "".join(path.read_text() for folder in folders for path in folder.glob("*.yml"))
    assert not re.findall(r"\{%|\bcombine\(\{'outcome|selectattr|rejectattr| in \[", text)


# ---- playbooks -----------------------------------------------------------------------------------------------------


def playbook_names() -> dict[str, tuple[dict[str, Any], Any]]:
    """What the playbooks take by the module's own name: the option, and the default."""
    found = {}
    for file, prefix in (("options", "redis_ha_"), ("failover", "failover_")):
        for variable, text in load(ROOT / f"playbooks/vars/{file}.yml").items():
            name = variable.removeprefix(prefix)
            # A name is looked for where everybody may set it, then in the inventory under the role's name.
            assert re.match(rf"\{{\{{ {name} \| default\(hostvars\[inventory_hostname\]\.{variable}\b", text.strip()), (
                variable
            )
            option = CONNECTION.get(name) or FAILOVER.get(name) or specs("failover").get(variable)
            assert option is not None, variable
            found[name] = (option, rendered(text))
    return found


def test_playbooks_take_every_option_by_its_own_name() -> None:
    assert set(playbook_names()) == (set(CONNECTION) | set(FAILOVER) | {"confirm", "history_file"}) - RESERVED


def test_playbooks_have_the_defaults_of_the_modules() -> None:
    for name, (option, default) in playbook_names().items():
        if option["type"] == "bool" and name in ("tls", "sentinel_tls", "validate_certs"):
            wanted = option.get("default") or False
            assert str(default).lower() == str(wanted).lower(), name
        elif name == "sentinels":
            assert default == [], "the module decides, or the environment"
        else:
            assert plain(default) == plain(option.get("default")), name


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_awx_reaches_every_playbook(playbook: str) -> None:
    (play,) = load(AWX / f"{playbook}.yml")
    assert play["ansible.builtin.import_playbook"] == f"redis_ha.sentinel.{playbook}"
    real, *more = load(ROOT / f"playbooks/{playbook}.yml")
    assert real["hosts"] == ("{{ fleet_hosts | default('deployments') }}" if playbook == "fleet" else "localhost")
    assert real["gather_facts"] is False
    assert more or play["name"] == real["name"]


# ---- surveys -------------------------------------------------------------------------------------------------------


def survey(name: str) -> list[dict[str, Any]]:
    questions: list[dict[str, Any]] = json.loads((AWX / f"surveys/{name}.json").read_text())["spec"]
    return questions


def variable_of(name: str) -> dict[str, Any]:
    """What a variable is that a survey asks for."""
    names = playbook_names()
    if name in names:
        return names[name][0]
    for role in (*ROLES, "report", "fleet"):
        if name.startswith(f"{role}_"):
            return specs(role)[name]
    raise AssertionError(f"nobody takes {name}")


@pytest.mark.parametrize("name", SURVEYS)
def test_questions_are_flat_and_asked_once(name: str) -> None:
    questions = survey(name)
    variables = [question["variable"] for question in questions]
    assert len(set(variables)) == len(variables)
    assert {question["type"] for question in questions} <= FLAT
    assert all(question["question_name"] for question in questions)
    assert not any(CONNECTION.get(variable, {}).get("no_log") for variable in variables), "secrets come by credential"


@pytest.mark.parametrize(
    ("name", "question"),
    [(name, question) for name in SURVEYS for question in survey(name)],
    ids=lambda it: it if isinstance(it, str) else it["variable"],
)
def test_a_question_is_as_the_variable_is(name: str, question: dict[str, Any]) -> None:
    option = variable_of(question["variable"])
    kinds = {
        "str": {"text"},
        "path": {"text"},
        "list": {"text"},
        "int": {"integer"},
        "float": {"float", "integer"},
        "bool": {"multiplechoice"},
    }
    if option.get("choices") or option["type"] == "bool":
        assert question["type"] == "multiplechoice"
        assert question["choices"] == (option.get("choices") or ["true", "false"])
    else:
        assert question["type"] in kinds[option["type"]]
    given = (
        {"true": True, "false": False}.get(question["default"], question["default"])
        if option["type"] == "bool"
        else question["default"]
    )
    if not option.get("required") and question["variable"] not in ASKED_WITHOUT_DEFAULT:
        assert plain(given) == plain(option.get("default"))
    assert question["required"] is (
        plain(given) is not None or option["type"] in ("int", "bool", "float") or question["min"] == 1
    )
    if question["type"] in ("integer", "float"):
        least, most = question["min"], question["max"]
        assert least is not None
        assert least < most
        base = re.sub("^(failover|precheck|postcheck|drain|rolling|move_back|drill)_", "", question["variable"])
        if base in RANGES:
            smallest, greatest = RANGES[base]
            # 0 stands for left out where the module's option has no default.
            assert least in (smallest, 0)
            assert most <= greatest
            assert least == smallest or option.get("default") in (None, 0)


def test_the_workflow_asks_what_the_failover_asks_but_for_the_master_that_the_check_finds() -> None:
    wanted = [question for question in survey("failover") if question["variable"] != "expected_master"]
    assert survey("workflow") == wanted
    (play,) = load(ROOT / "playbooks/precheck.yml")
    assert "expected_master" in play["tasks"][0]["always"][0]["ansible.builtin.set_stats"]["data"]


def test_what_is_handed_on_can_be_no_variable_of_a_role() -> None:
    """The next node of a workflow gets it as an extra variable, which nothing could set any more."""
    names = set(HANDED_ON)
    for role in (*ROLES, "report"):
        text = "".join(path.read_text() for path in (ROOT / f"roles/{role}").rglob("*.yml"))
        used = set(re.findall(r"\bredis_ha_\w+", text)) & names
        assert used == ({f"redis_ha_{role}"} if role not in ("precheck", "postcheck", "report") else set())
    assert not names & set(shared_specs("failover"))


# ---- what AWX is set up with ---------------------------------------------------------------------------------------


def test_credentials_inject_what_the_modules_read() -> None:
    types = load(AWX / "vars/credential_types.yml")["awx_setup_credential_types"]
    read = {option["fallback"][1][0]: name for name, option in CONNECTION.items() if "fallback" in option}
    injected: set[str] = set()
    for kind in types:
        fields = {field["id"]: field for field in kind["inputs"]["fields"]}
        files = {name.removeprefix("template."): text for name, text in kind["injectors"].get("file", {}).items()}
        for variable, text in kind["injectors"]["env"].items():
            assert variable in read, variable
            injected.add(variable)
            (used,) = re.findall(r"\A\{\{ ([\w.]+) \}\}\Z", text)
            if used.startswith("tower.filename."):
                (used,) = re.findall(r"\A\{\{ (\w+) \}\}\Z", files[used.removeprefix("tower.filename.")])
            else:
                assert used == read[variable]
            if CONNECTION[read[variable]].get("no_log") or used == "client_key":
                assert fields[used]["secret"] is True
        assert set(kind["inputs"].get("required", [])) <= set(fields)
    wanted = {
        variable
        for variable, name in read.items()
        if CONNECTION[name].get("no_log") or name.startswith(("client_", "ca_"))
    }
    assert wanted <= injected


def test_set_up_uses_what_is_there() -> None:
    (play,) = load(AWX / "setup.yml")
    templates = play["vars"]["awx_setup_job_templates"]
    assert {template["playbook"] for template in templates} == {f"{name}.yml" for name in TEMPLATES}
    assert {template["survey"] for template in templates} == set(TEMPLATES)
    on_hosts = play["vars"]["awx_setup_fleet_job_templates"]
    assert {template["playbook"] for template in on_hosts} == {f"{name}.yml" for name in FLEET}
    assert {template["survey"] for template in on_hosts} == set(FLEET)
    assert all(template["fleet"] for template in on_hosts)
    on_deployments = play["vars"]["awx_setup_deployments_job_templates"]
    assert [template["playbook"] for template in on_deployments] == [f"{name}.yml" for name in DEPLOYMENTS]
    assert [template["survey"] for template in on_deployments] == list(DEPLOYMENTS)
    workflows = [
        task["awx.awx.workflow_job_template"] for task in play["tasks"] if "awx.awx.workflow_job_template" in task
    ]
    names = {template["name"]: template["playbook"] for template in (*templates, *on_hosts, *on_deployments)}
    assert [[names.get(node, node) for node in order_of(workflow)] for workflow in workflows] == [
        ["precheck.yml", "Move the master", "failover.yml"],
        ["rolling_maintenance.yml", "Maintain the fleet", "rolling_maintenance.yml"],
        ["fleet.yml", "Act on every deployment", "fleet.yml", "fleet_report.yml"],
    ]
    for workflow in workflows[1:]:
        plan, _approval, doing, *_report = workflow["workflow_nodes"]
        assert (plan["job_type"], doing.get("job_type")) == ("check", None), "the first shows what the other does"


def order_of(workflow: dict[str, Any]) -> list[str]:
    """The names of what a workflow runs, one after the other; what waits for a person stands between two jobs."""
    nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
    order = [workflow["workflow_nodes"][0]["identifier"]]
    while related := nodes[order[-1]].get("related"):
        ((successor,),) = related.values()
        order.append(successor["identifier"])
    templates = [nodes[name]["unified_job_template"] for name in order]
    types = [template["type"] for template in templates]
    assert types[:3] == ["job_template", "workflow_approval", "job_template"]
    assert set(types[3:]) <= {"job_template"}
    return [template["name"] for template in templates]


def test_the_execution_environment_has_what_the_collection_asks_for() -> None:
    definition = load(AWX / "execution-environment.yml")
    assert definition["version"] == 3
    galaxy = load(AWX / definition["dependencies"]["galaxy"])
    assert [entry["name"] for entry in galaxy["collections"]] == ["redis_ha.sentinel"]
    asked = load(ROOT / "meta/execution-environment.yml")["dependencies"]["python"]
    assert "redis" in (ROOT / asked).read_text()
