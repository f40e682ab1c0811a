"""What a node of a native workflow did is in the journal: a retry takes its output and does not do it again."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import Outcome, Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import Log, ToolCall
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, Step
from tests.integration.n8n_shop import Shop, shop
from tests.integration.n8n_workflow_files import (
    START,
    agent_workflow,
    code,
    execute,
    model,
    n8n_target,
    node,
    workflow,
)

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def target(endpoint: ModelEndpoint) -> Iterator[Target]:
    with n8n_target(endpoint) as target:
        yield target


@pytest.fixture
def market() -> Iterator[Shop]:
    with shop() as opened:
        yield opened


class Tries:
    """Tries of one execution, which all find the same journal."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.execution = target.next_execution()
        self._folder = folder

    def run(self, text: str, **more: Any) -> Outcome:
        """Run a workflow as a further try."""
        run: dict[str, Any] = {
            "execution": self.execution,
            "journal": True,
            "script": Script(text="Paid."),
            **more,
        }
        return self.target.call(execute(self.target, self._folder / "code", text, **run))


@pytest.fixture
def tries(target: Target, tmp_path: Path) -> Tries:
    return Tries(target, tmp_path)


def post(name: str, url: str, **more: Any) -> dict[str, Any]:
    """Return a node that posts to an address."""
    return node(name, "httpRequest", 4.2, parameters={"method": "POST", "url": url, "options": {}}, **more)


def line(*nodes: Mapping[str, Any]) -> str:
    """Return a workflow whose nodes follow each other."""
    names = [str(one["name"]) for one in nodes]
    return workflow(*nodes, connections=dict(pairwise(names)))


def linked(text: str, **links: list[list[str]]) -> str:
    """Return a workflow with the outputs of some of its nodes leading to others."""
    made = json.loads(text)
    for name, outputs in links.items():
        made["connections"][name] = {
            "main": [[{"node": other, "type": "main", "index": 0} for other in one] for one in outputs]
        }
    return json.dumps(made)


def test_a_retry_takes_the_output_of_what_was_done(tries: Tries, market: Shop) -> None:
    noted = code("return $input.all().map(({ json }) => ({ json: { ...json, made: Math.random() } }))")
    text = line(START, post("Order", f"{market.address}/order"), noted)
    first = tries.run(text).ok
    assert tries.run(text).ok.output == first.output and market.done == {"/order": 1}
    assert tries.run(text, journal=False).ok.output != first.output and market.done == {"/order": 2}


def test_changed_input_gets_no_old_answer(tries: Tries, market: Shop) -> None:
    text = line(START, post("Order", f"{market.address}/order"))
    outputs = [tries.run(text, inputs={"n": n}).ok.output for n in (1, 2, 1)]
    assert outputs[0] == outputs[2] != outputs[1] and market.done == {"/order": 2}


def test_a_changed_output_that_a_node_reads_is_changed_input(tries: Tries, market: Shop) -> None:
    made = {**code("return [{ json: { made: Math.random() } }]"), "name": "Made"}
    flat = {**code("return [{ json: {} }]"), "name": "Flat"}
    url = f"={market.address}/order?by={{{{ $('Made').item.json.made }}}}"
    text = line(START, made, flat, post("Order", url))
    options: Mapping[str, Json] = {"again": ["Made", "Flat"]}
    assert tries.run(text, options=options).ok.output != tries.run(text, options=options).ok.output
    assert market.done.total() == 2
    kept = tries.run(text).ok.output
    assert tries.run(text).ok.output == kept and market.done.total() == 3


def test_what_a_pure_node_makes_up_is_kept_too(tries: Tries, market: Shop) -> None:
    fields = {"assignments": [{"id": "a", "name": "at", "type": "string", "value": "={{ $now.toMillis() }}"}]}
    stamp = node("Stamp", "set", 3.4, parameters={"mode": "manual", "assignments": fields, "options": {}})
    text = line(START, stamp, post("Order", f"{market.address}/order"))
    assert tries.run(text).ok.output == tries.run(text).ok.output and market.done == {"/order": 1}


def test_every_run_of_a_loop_is_a_step_of_its_own(tries: Tries, market: Shop) -> None:
    loop = node("Loop", "splitInBatches", 3, parameters={"batchSize": 1, "options": {}})
    same = code("return [{ json: { same: true } }]")
    text = line(START, loop, same, post("Order", f"{market.address}/order"), node("Done", "noOp"))
    text = linked(text, Loop=[["Done"], ["Code"]], Order=[["Loop"]])
    inputs = [{"n": n} for n in range(3)]
    first = tries.run(text, inputs=inputs).ok.output
    assert isinstance(first, list) and [one["number"] for one in first if isinstance(one, dict)] == [1, 2, 3]
    assert tries.run(text, inputs=inputs).ok.output == first and market.done == {"/order": 3}
    more = tries.run(text, inputs=[*inputs, {"n": 3}]).ok.output
    assert isinstance(more, list) and more[:3] == first and market.done == {"/order": 4}


def test_runs_of_a_called_workflow_are_steps_of_their_own(tries: Tries, market: Shop) -> None:
    start = node("When called", "executeWorkflowTrigger", 1.1, parameters={"inputSource": "passthrough"})
    sub = json.dumps({**json.loads(line(start, post("Order", f"{market.address}/order"))), "id": "sub"})
    chosen = {"workflowId": {"__rl": True, "mode": "id", "value": "sub"}, "mode": "each", "options": {}}
    text = line(START, node("Call", "executeWorkflow", 1.2, parameters=chosen))
    run: dict[str, Any] = {"inputs": [{"n": 1}, {"n": 1}], "files": {"sub.json": sub}}
    first = tries.run(text, **run, options={"once": ["Order"]}).ok.output
    assert tries.run(text, **run, options={"once": ["Order"]}).ok.output == first
    assert market.done == {"/order": 2}


def test_a_node_that_n8n_retries_is_one_step(tries: Tries, market: Shop) -> None:
    market.broken.add("/order")
    order = post("Order", f"{market.address}/order", retryOnFail=True, maxTries=2, waitBetweenTries=0)
    assert tries.run(line(START, order)).failure.code is ErrorCode.FRAMEWORK_ERROR
    assert market.done == {"/order": 2}
    market.broken.clear()
    first = tries.run(line(START, order)).ok.output
    assert tries.run(line(START, order)).ok.output == first and market.done == {"/order": 3}


def test_bytes_are_kept_and_what_is_too_long_is_told_by_name(tries: Tries, market: Shop) -> None:
    file = {"response": {"response": {"responseFormat": "file", "outputPropertyName": "data"}}}
    get: dict[str, Any] = post("Get", f"{market.address}/bytes")
    get["parameters"]["options"] = file
    read = node("Read", "extractFromFile", 1, parameters={"operation": "binaryToPropery", "options": {}})
    first = tries.run(line(START, get, read)).ok.output
    tries.target.restart()  # n8n's own copy is gone
    assert tries.run(line(START, get, read)).ok.output == first == {"data": "AP8gYSBwaWN0dXJl"}
    assert market.done == {"/bytes": 1}
    text = line(START, post("Long", f"{market.address}/long"), code("return [{ json: { n: 1 } }]"))
    for _ in range(2):
        told = [event.text for event in tries.run(text).events if isinstance(event, Log)]
        assert any("the output of the node 'Long' is not journaled" in one for one in told)
    assert market.done["/long"] == 2


def test_a_node_that_may_run_only_once_ends_the_execution_when_nobody_knows_how_it_ended(
    tries: Tries, market: Shop
) -> None:
    market.broken.add("/pay")
    pay = post("Pay", f"{market.address}/pay", onError="continueErrorOutput")
    text = line(START, {**pay, "onError": "stopWorkflow"})
    assert tries.run(text, options={"once": ["Pay"]}).failure.code is ErrorCode.FRAMEWORK_ERROR
    market.broken.clear()
    text = line(START, pay, post("Refund", f"{market.address}/refund"))
    text = linked(text, Pay=[[], ["Refund"]])
    failure = tries.run(text, options={"once": ["Pay"]}).failure
    assert failure.code is ErrorCode.TOOL_FAILED
    assert failure.detail == {"tool": "Pay", "state": "started"}
    assert "the node 'Pay' was started by an earlier try and may run only once" in failure.message
    assert market.done == {"/pay": 1}, "neither again, nor along the path of its errors"


def test_what_follows_a_wait_is_not_what_went_before_it(tries: Tries, market: Shop) -> None:
    fixed = {**code("return [{ json: { same: 1 } }]"), "name": "Fixed"}
    equal = {
        "leftValue": "={{ $runIndex }}",
        "rightValue": 0,
        "operator": {"type": "number", "operation": "equals"},
    }
    how = {"caseSensitive": True, "leftValue": "", "typeValidation": "loose", "version": 2}
    conditions = {"options": how, "conditions": [{"id": "1", **equal}], "combinator": "and"}
    first = node("First", "if", 2.2, parameters={"conditions": conditions, "options": {}})
    wait = node("Wait", "wait", 1.1, parameters={"resume": "webhook", "options": {}})
    text = linked(line(START, fixed, post("Ask", f"{market.address}/ask"), first, wait), Wait=[["Fixed"]])
    states = tries.target.sessions.states
    session = tries.execution
    for _ in range(2):
        states.pop(session, None)
        assert tries.run(text, session=session).ok.finish_reason is FinishReason.INTERRUPTED
        assert market.done == {"/ask": 1}
    waiting = states[session]
    outputs: list[Json] = []
    for _ in range(2):
        states[session] = waiting
        outputs.append(tries.run(text, session=session, resume=True).ok.output)
        assert market.done == {"/ask": 2}
    assert outputs[0] == outputs[1]


def tool_of(kind: str, url: str) -> dict[str, Any]:
    """Return a node that is an agent's tool `Pay`, of one of n8n's ways to supply one."""
    if kind == "supplied":
        parameters: dict[str, Any] = {"toolDescription": "Pay.", "method": "POST", "url": url}
        return node("Pay", "", 1.1, parameters=parameters) | {
            "type": "@n8n/n8n-nodes-langchain.toolHttpRequest"
        }
    parameters = {"toolDescription": "Pay.", "method": "POST", "url": url, "options": {}}
    return node("Pay", "httpRequestTool", 4.2, parameters=parameters)


def with_agent(kind: str, url: str, version: float) -> str:
    made = json.loads(agent_workflow(model(responsesApiEnabled=False), tool_of(kind, url), Pay="ai_tool"))
    [chosen] = [one for one in made["nodes"] if one["name"] == "Agent"]
    chosen["typeVersion"] = version
    return json.dumps(made)


@pytest.mark.parametrize("kind", ["engine", "inline", "supplied"])
def test_a_tool_of_an_agent_is_called_once_over_all_tries(tries: Tries, market: Shop, kind: str) -> None:
    text = with_agent(kind, f"{market.address}/pay", 3 if kind == "engine" else 2.2)
    run: dict[str, Any] = {"inputs": "pay", "options": {"once": ["Pay"]}}
    replayed: list[bool] = []
    outputs: list[Json] = []
    for _ in range(2):
        outcome = tries.run(text, **run)
        outputs.append(outcome.ok.output)
        assert (outcome.ok.usage.model_calls, outcome.ok.usage.tool_calls) == (2, 1)
        replayed += [event.replayed for event in outcome.events if isinstance(event, ToolCall)]
    assert outputs[0] == outputs[1] and market.done == {"/pay": 1} and replayed == [False, True]


@pytest.mark.parametrize("kind", ["engine", "inline", "supplied"])
def test_the_model_is_not_told_that_nobody_knows_how_a_tool_ended(
    tries: Tries, market: Shop, kind: str
) -> None:
    text = with_agent(kind, f"{market.address}/pay", 3 if kind == "engine" else 2.2)
    run: dict[str, Any] = {"inputs": "pay", "options": {"once": ["Pay"]}}
    tries.run(text, **run).ok  # noqa: B018  # it must succeed
    steps = tries.target.journal.steps
    [paid] = [step for step in steps if step[0] == tries.execution]
    steps[paid] = Step(state="started")
    before = tries.target.endpoint.count
    failure = tries.run(text, **run).failure
    assert failure.code is ErrorCode.TOOL_FAILED and failure.detail["state"] == "started"
    assert tries.target.endpoint.count == before + 1 and market.done == {"/pay": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"once": ["Paid"]},
            "options.once names 'Paid', and no node of the workflow is called so; it has Later, Pay",
        ),
        ({"again": ["Paid"]}, "options.again names 'Paid'"),
        ({"once": ["Pay"], "again": ["Pay"]}, "the node 'Pay' is in both options.once and options.again"),
        ({"once": "Pay"}, "options.once must be a list of names of nodes"),
        ({"once": ["Start"]}, "'Start', which begins the workflow"),
        ({"once": ["Later"]}, "'Later', whose kind 'n8n-nodes-base.wait' has no effect outside"),
        ({"once": ["Stubborn"]}, "'Stubborn', which is to be retried when it fails"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused_by_name(
    tries: Tries, options: Mapping[str, Json], words: str
) -> None:
    stubborn = post("Stubborn", "http://127.0.0.1:9/", retryOnFail=True)
    text = workflow(START, post("Pay", "http://127.0.0.1:9/"), node("Later", "wait", 1.1), stubborn)
    failure = tries.run(text, options=options).failure
    assert failure.code is ErrorCode.AGENT_LOAD_FAILED and words in failure.message
