"""What is refused is told as a refusal; what breaks is told as an id, which the server's log has with the rest."""

import re
from typing import Any

import pytest
from dagster import DagsterInvariantViolationError
from dagster_graphql.schema import create_schema
from dagster_graphql.schema.errors import GraphenePythonError
from dagster_shared.error import SerializableErrorInfo
from graphql import GraphQLObjectType

from orchestrator_tenancy.web.faults import hide_stacks
from orchestrator_tenancy.web.runs import TenantRuns
from tests.integration.tenant_plants import Plants
from tests.integration.tenant_web import Web

# Dagster warns of much, such as the location that lies about whose its assets are; its server goes on
pytestmark = pytest.mark.filterwarnings("ignore")

Tenants = tuple[Web, Plants, Plants]

_ERROR = """... on PythonError {
  message className stack cause { stack } causes { message } errorChain { error { message stack } }
}"""
_KEYS = f"{{ named: runTagKeysOrError {{ __typename {_ERROR} }} }}"
_TERMINATE = "mutation ($id: String!) { end: terminateRun(runId: $id) { __typename } }"
_CONFIG = f"""mutation ($params: ExecutionParams!) {{
  launchRun(executionParams: $params) {{ __typename {_ERROR} }}
}}"""
_FAULT = re.compile(r"fault-[0-9a-f]{12}")
_WORDS = "password authentication failed for tenant gamma"


def _raising(error: Exception) -> Any:
    def member(*_given: Any, **_named: Any) -> Any:
        raise error

    return member


def test_a_refusal_is_an_answer_with_its_path_and_no_stack(two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    told = web.post("alpha/viewer", _TERMINATE, {"id": alpha.run})
    assert told.status_code == 200
    (error,) = told.json()["errors"]
    assert error == {
        "message": "terminateRun is not for you: it needs the role 'launcher'",
        "locations": [{"line": 1, "column": 27}],
        "path": ["end"],
    }


def test_what_breaks_in_a_resolver_is_told_by_its_id(
    two_tenants: Tenants, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    web, _, _ = two_tenants
    monkeypatch.setattr(TenantRuns, "get_run_tag_keys", _raising(OSError(_WORDS)))
    told = web.post("alpha/viewer", _KEYS)
    named = told.json()["data"]["named"]
    assert told.status_code == 500 and named["__typename"] == "PythonError"
    assert named["stack"] == named["causes"] == named["errorChain"] == [] and named["cause"] is None
    (name,) = set(_FAULT.findall(told.text))
    assert named["message"] == f"the server failed; its operator finds why in its log, as {name}"
    assert "gamma" not in told.text and name in caplog.text and _WORDS in caplog.text


def test_what_breaks_outside_of_a_typed_error_is_told_by_its_id(
    two_tenants: Tenants, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    web, _, _ = two_tenants
    monkeypatch.setattr(TenantRuns, "get_daemon_heartbeats", _raising(OSError(_WORDS)), raising=False)
    told = web.post("alpha/viewer", "{ instance { daemonHealth { allDaemonStatuses { id } } } }")
    assert told.status_code == 500
    (error,) = told.json()["errors"]
    assert error["path"] == ["instance", "daemonHealth", "allDaemonStatuses"]
    assert "extensions" not in error and "gamma" not in told.text
    assert _FAULT.search(error["message"]) and _WORDS in caplog.text


def test_what_dagster_says_for_people_is_told_without_the_stack(
    two_tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, _, _ = two_tenants
    error = DagsterInvariantViolationError("this backfill has no partitions")
    monkeypatch.setattr(TenantRuns, "get_run_tag_keys", _raising(error))
    named = web.post("alpha/viewer", _KEYS).json()["data"]["named"]
    assert "this backfill has no partitions" in named["message"] and _FAULT.search(named["message"])
    assert named["className"] == "DagsterInvariantViolationError" and named["stack"] == []


def test_a_configuration_that_is_no_yaml_is_told_as_such(two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    selector = {
        "repositoryLocationName": alpha.location,
        "repositoryName": "__repository__",
        "jobName": "job",
    }
    params = {"selector": selector, "runConfigData": "a: ]"}
    told = web.post("alpha/launcher", _CONFIG, {"params": params})
    launched = told.json()["data"]["launchRun"]
    assert launched["__typename"] == "PythonError" and launched["stack"] == []
    assert "expected the node content" in launched["message"]


def test_what_failed_elsewhere_is_the_tenants_own_and_told_whole() -> None:
    schema = create_schema().graphql_schema
    kind = schema.type_map["PythonError"]
    assert isinstance(kind, GraphQLObjectType)
    hide_stacks(schema)
    own = SerializableErrorInfo(
        message="KeyError: 'price'\n",
        stack=['  File "/opt/code/prices.py", line 3, in price\n'],
        cls_name="KeyError",
    )
    made: Any = GraphenePythonError
    fields: Any = kind.fields
    told = {name: fields[name].resolve(made(own), None) for name in ("message", "stack")}
    assert told == {"message": own.message, "stack": own.stack}


def test_a_subscription_that_breaks_is_told_by_its_id(
    two_tenants: Tenants, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    web, alpha, _ = two_tenants
    monkeypatch.setattr(TenantRuns, "get_run_records", _raising(OSError(_WORDS)))
    query = f'subscription {{ pipelineRunLogs(runId: "{alpha.run}") {{ __typename }} }}'
    with web.websocket("alpha/viewer") as socket:
        socket.send_json({"type": "start", "id": "1", "payload": {"query": query}})
        told = socket.receive_json()
    assert told["type"] in {"data", "error"}
    assert _WORDS not in str(told) and _FAULT.search(str(told)), told
    assert _WORDS in caplog.text
