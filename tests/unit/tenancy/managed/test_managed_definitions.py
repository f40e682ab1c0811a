"""What a managed location's YAML becomes, and what it may not say."""
# Dagster and pytest are typed in part:
# pyright: reportUnknownMemberType=false

import os
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from orchestrator_tenancy.managed.loading import managed_definitions
from orchestrator_tenancy.managed.refusals import NotManaged
from tests.unit.tenancy.managed.folders import GOOD, Folder


def load(folder: Folder) -> dg.RepositoryDefinition:
    definitions = managed_definitions(folder.root, "acme-labs").get_repository_def()
    assert isinstance(definitions, dg.RepositoryDefinition)
    return definitions


def refused(folder: Folder) -> str:
    """Return why a folder is refused; nothing of it was imported."""
    with pytest.raises(NotManaged) as error:
        managed_definitions(folder.root, "acme-labs")
    assert folder.nothing_was_imported()
    said = str(error.value)
    assert "\n" not in said and len(said) < 700
    return said


def test_names_that_an_agents_developer_writes_get_the_tenants_prefix(folder: Folder) -> None:
    folder.agent(
        "---",
        "type: orchestrator_assets.ExternalAssetsComponent",
        "attributes: {keys: [raw/documents, acme-labs/prices]}",
        "---",
        "type: orchestrator_assets.ApprovalsComponent",
        asset="{key: reviews, deps: [acme-labs/prices], partitions_def: {type: daily, start_date: '2026-01-01'}}",
        inputs="{document: {asset: raw/documents}}",
    )
    loaded = load(folder)
    (key,) = {key for key, asset in loaded.assets_defs_by_key.items() if asset.is_executable}
    assert key.path == ["acme-labs", "reviews"]
    asset = loaded.assets_defs_by_key[key]
    assert {dep.to_user_string() for dep in asset.asset_deps[key]} == {
        "acme-labs/raw/documents",
        "acme-labs/prices",
    }
    assert asset.op.name == "acme_labs__reviews"
    assert set(loaded.job_names) == {"acme_labs__approval_decision", "__ASSET_JOB"}
    assert [sensor.name for sensor in loaded.sensor_defs] == ["acme_labs__approvals"]
    assert folder.nothing_was_imported()


def test_a_prefix_that_is_there_is_not_put_there_again(folder: Folder) -> None:
    folder.agent(asset="{key: acme-labs/reviews}")
    assert [key.path for key in load(folder).assets_defs_by_key] == [["acme-labs", "reviews"]]


def test_what_looks_like_anothers_key_is_an_own_one(folder: Folder) -> None:
    folder.agent(asset="{key: globex/reviews}")
    assert [key.path for key in load(folder).assets_defs_by_key] == [["acme-labs", "globex", "reviews"]]


@pytest.mark.parametrize("other", ["reviews", "acme-labs/reviews"])
def test_one_key_twice_names_both_files(folder: Folder, other: str) -> None:
    folder.write("two/defs.yaml", GOOD.replace("reviews", other))
    folder.write("two/agent.py", "build = 1")
    assert refused(folder) == (
        "two/defs.yaml: makes 'acme-labs/reviews', and so does one/defs.yaml: change one of the two"
    )


@pytest.mark.parametrize(
    "call",
    [
        "eager()",
        "on_missing()",
        "on_cron('0 6 * * *')",
        "on_cron('0 6 * * *', cron_timezone='Europe/Berlin')",
    ],
)
def test_automation_conditions_are_taken_by_name(folder: Folder, call: str) -> None:
    template = f"{{{{ dg.AutomationCondition.{call} }}}}"
    folder.agent(asset=f'{{key: reviews, automation_condition: "{template}"}}')
    loaded = load(folder)
    (asset,) = loaded.assets_defs_by_key.values()
    assert asset.automation_conditions_by_key[asset.key] is not None


CLASSES = "''.__class__.__mro__[1].__subclasses__()"
TEMPLATES = {
    "environment": "{{ env.PLATFORM_SECRET }}",
    "environment call": "{{ env('PLATFORM_SECRET') }}",
    "classes": f"{{{{ {CLASSES} }}}}",
    "import": "{{ cycler.__init__.__globals__.os.environ }}",
    "statement": "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "comment": "{# x #}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize(
    "field",
    [
        {"prompt": '"T"'},
        {"asset": '{key: "T"}'},
        {"asset": '{key: x, description: "T"}'},
        {"asset": '{key: x, tags: {a: "T"}}'},
        {"asset": '{key: x, metadata: {a: {b: ["T"]}}}'},
        {"asset": '{key: x, metadata: {"T": 1}}'},
        {"asset": '{key: x, freshness_policy: "T"}'},
        {"asset": '{key: x, automation_condition: "T"}'},
        {"asset": '{key: x, deps: ["T"]}'},
        {"asset": '"T"'},
        {"options": '{x: "T"}'},
        {"inputs": '{x: {value: "T"}}'},
        {"limits": '"T"'},
        {"code": '"T"'},
        {"framework": '"T"'},
    ],
    ids=lambda field: next(iter(field.values())),
)
def test_no_template_is_evaluated(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, template: str, field: dict[str, str]
) -> None:
    monkeypatch.setenv("PLATFORM_SECRET", "hunter2")
    folder.agent(**{name: value.replace("T", template) for name, value in field.items()})
    said = refused(folder)
    assert "hunter2" not in said and "<class" not in said
    assert "is a template" in said or "must be one of {{ dg.AutomationCondition.eager(…) }}" in said


@pytest.mark.parametrize(
    "call",
    [
        "dg.AutomationCondition.eager().__class__",
        "dg.AutomationCondition.on_cron(env.PLATFORM_SECRET)",
        "dg.AutomationCondition.on_cron(*'x')",
        "dg.AutomationCondition.on_cron(**{'a': 'b'})",
        "dg.AutomationCondition.any_deps_match",
        "dg.AutomationCondition.eager() if 1 else 2",
        "(lambda: 1)()",
        "(" * 150,
    ],
)
def test_conditions_are_looked_up_and_never_run(folder: Folder, call: str) -> None:
    folder.agent(asset=f'{{key: x, automation_condition: "{{{{ {call} }}}}"}}')
    assert "must be one of" in refused(folder)


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "* * *", "every day"])
def test_a_cron_that_never_is_is_refused(folder: Folder, cron: str) -> None:
    folder.agent(
        asset=f"""{{key: x, automation_condition: "{{{{ dg.AutomationCondition.on_cron('{cron}') }}}}"}}"""
    )
    assert "cron" in refused(folder)


@pytest.mark.parametrize(
    "kind",
    [
        "evil.Component",
        ".evil.Component",
        "one.evil.Component",
        "dagster.PythonScriptComponent",
        "dagster.FunctionComponent",
        "dagster.DefsFolderComponent",
        "dagster.components.lib.executable_component.uv_run_component.UvRunComponent",
        "os.system",
        "orchestrator_assets.agent_component.AgentComponent",
        "[a]",
        "",
    ],
)
def test_a_type_is_looked_up_and_never_imported(
    folder: Folder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "import pathlib; pathlib.Path(__file__).with_name('imported').touch()"
    for name in ("evil.py", "one/evil.py", "one/__init__.py"):
        folder.write(name, evil)
    before = set(sys.modules)
    folder.write("one/defs.yaml", f"type: {kind}\nattributes: {{}}\n")
    assert "is not for managed locations; there are orchestrator_assets.AgentComponent" in refused(folder)
    assert not {name for name in set(sys.modules) - before if "evil" in name}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("template_vars_module: .evil", "template_vars_module: is Python"),
        ("post_processing: {assets: [{attributes: {key: x}}]}", "post_processing: is not taken"),
        ("requirements: {env: [PLATFORM_SECRET]}", "requirements: is not taken"),
        ("extra: 1", "extra: is unknown; there are type and attributes"),
    ],
)
def test_what_stands_beside_type_and_attributes_is_refused(folder: Folder, line: str, why: str) -> None:
    folder.agent(line)
    folder.write("one/evil.py", "import pathlib; pathlib.Path(__file__).with_name('imported').touch()")
    said = refused(folder)
    assert said.startswith("one/defs.yaml:6: ") and why in said


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"code": ".."}, "one/defs.yaml:6 - attributes.code: '..' must be a folder that exists"),
        ({"code": "/etc"}, "must be a folder that exists, 'one' itself or one inside of it"),
        ({"files": "[../two.py]"}, "has no file '../two.py'"),
        ({"files": "[/etc/passwd]"}, "has no file '/etc/passwd'"),
        ({"profile": "../../secrets.toml"}, "profile: '../../secrets.toml' is not beside this file"),
        ({"profile": "/etc/passwd"}, "profile: '/etc/passwd' is not beside this file"),
        ({"entrypoint": "os:system"}, "the agent's code has no module 'os'"),
        ({"entrypoint": "../evil:build"}, "must be module:attribute"),
        ({"entrypoint": "..evil:build"}, "must be module:attribute"),
        ({"framework": "autogen"}, "one/defs.yaml:3"),
        ({"nonsense": "1"}, "one/defs.yaml:6: nonsense: Extra inputs are not permitted"),
        ({"limits": "{steps: -1}"}, "must be a whole number above 0, got -1"),
        ({"limits": "fast"}, "one/defs.yaml"),
        ({"asset": "{key: x, freshness_policy: often}"}, "one/defs.yaml"),
        ({"asset": "{key: x, partitions_def: {type: dynamic, name: globex__customers}}"}, "one/defs.yaml"),
        ({"asset": "{key: x, owners: [nobody]}"}, "one/defs.yaml"),
        (
            {"asset": "{key: x, partitions_def: {type: hourly, start_date: '0001-01-01-00:00'}}"},
            "100000 are allowed",
        ),
        (
            {
                "asset": "{key: x, partitions_def: {type: time_window, start_date: '2000-01-01', fmt: '%Y-%m-%d',"
                " cron_schedule: '* * * * *'}}"
            },
            "100000 are allowed",
        ),
        ({"asset": "{key: ''}"}, "is no asset key"),
        ({"asset": "{key: ../../globex/reviews}"}, "'../../globex/reviews' is no asset key"),
        ({"asset": "{key: a//b}"}, "is no asset key"),
        ({"inputs": "{x: {asset: ../globex/reviews}}"}, "'../globex/reviews' is no asset key"),
        ({"asset": "{key: x, deps: [./globex]}"}, "'./globex' is no asset key"),
        (
            {"asset": "{key: x, partitions_def: {type: static, partition_keys: [a/b, ../../globex/x]}}"},
            "'../../globex/x' is no partition",
        ),
        ({"asset": "{key: x, partitions_def: {type: static, partition_keys: [/etc/x]}}"}, "is no partition"),
        (
            {
                "asset": "{key: x, partitions_def: {type: time_window, start_date: 2026/../01, fmt: '%Y/../%m',"
                " cron_schedule: '0 0 1 * *'}}"
            },
            "'%Y/../%m' is no partition",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(folder: Folder, fields: dict[str, str], why: str) -> None:
    (folder.root.parent / "secrets.toml").write_text("password = 'hunter2'")
    folder.agent(**fields)
    said = refused(folder)
    assert why in said and "hunter2" not in said and "Traceback" not in said


def test_the_tenants_folder_is_not_where_python_imports_from(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (folder.root, folder.root / "one"):
        with monkeypatch.context() as there:
            there.syspath_prepend(str(place))
            assert "Python would import from" in refused(folder)
        with monkeypatch.context() as there:
            there.chdir(place)
            assert "Python would import from" in refused(folder)
    managed_definitions(folder.root, "acme-labs")


def test_an_env_file_and_a_pyproject_of_the_folder_mean_nothing(folder: Folder) -> None:
    folder.write(".env", "DAGSTER_HOME=/tmp/evil\nPLANTED=1\n")
    folder.write("pyproject.toml", "[tool.dg.project]\nroot_module = 'evil'\n")
    folder.write("one/evil.pth", "import os; os.environ['PLANTED'] = '1'\n")
    folder.write("sitecustomize.py", "import os; os.environ['PLANTED'] = '1'\n")
    load(folder)
    assert "PLANTED" not in os.environ


def test_loading_is_quick_also_where_it_is_refused(folder: Folder) -> None:
    began = time.process_time()
    folder.agent(prompt='"' + "{{" * 50_000 + '"')
    refused(folder)
    assert time.process_time() - began < 20, "a bound on the work, not a benchmark"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotManaged, match="ORCHESTRATOR_DEFINITIONS"):
        managed_definitions(tmp_path / "nowhere", "acme-labs")
