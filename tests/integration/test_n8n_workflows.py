"""Workflows that cannot run are refused by name when they load; one that misbehaves harms no other."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import Outcome, Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import Token
from orchestrator_runtimes.messages import FinishReason, Limits
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "the workflow 'mine.json' is no JSON"),
        ("[]", "is no exported workflow"),
        (workflow(code("return []")), "must have one trigger to begin with; it has none"),
        (
            workflow(START, node("Other", "webhook", 2.1)),
            "it has Start, Other: choose one by options.trigger",
        ),
        (
            workflow(START, node("Odd", "noSuchNode")),
            "'Odd' of type 'n8n-nodes-base.noSuchNode', which is",
        ),
        (workflow(START, START), "has two nodes named 'Start'"),
        (workflow(START, connections={"Start": "Gone"}), "connects 'Start' with 'Gone'"),
        (
            workflow(START, node("Post", "slack", 2.3, credentials={"slackApi": {"id": "1", "name": "x"}})),
            "'Post', which needs credentials of type 'slackApi'; this runtime resolves openAiApi, ",
        ),
    ],
    ids=[
        "no JSON",
        "no object",
        "no trigger",
        "two triggers",
        "unknown node",
        "twice",
        "no target",
        "credentials",
    ],
)
def test_a_workflow_that_cannot_run_is_refused_by_name(
    target: Target, tmp_path: Path, text: str, words: str
) -> None:
    failure = target.call(execute(target, tmp_path / "code", text)).failure
    assert failure.code is ErrorCode.AGENT_LOAD_FAILED
    assert words in failure.message


def test_items_go_in_and_the_last_nodes_items_come_out(target: Target, tmp_path: Path) -> None:
    text = workflow(
        START,
        code("return $input.all().map(({ json }) => ({ json: { twice: json.n * 2 } }))"),
        connections={"Start": "Code"},
    )
    outcome = target.call(execute(target, tmp_path / "code", text, inputs=[{"n": 1}, {"n": 2}]))
    assert outcome.ok.output == [{"twice": 2}, {"twice": 4}]


def call(identifier: str) -> dict[str, Any]:
    """Return a node that calls another workflow."""
    chosen = {"workflowId": {"__rl": True, "mode": "id", "value": identifier}, "options": {}}
    return node("Call", "executeWorkflow", 1.2, parameters=chosen)


def called(identifier: str, *, calls: str | None = None) -> str:
    """Return a workflow that adds to a list whose it is, or calls another one after that."""
    start = node("When called", "executeWorkflowTrigger", 1.1, parameters={"inputSource": "passthrough"})
    adds = code(
        f"return $input.all().map(({{ json }}) => ({{ json: {{ by: [...(json.by ?? []), '{identifier}'] }} }}))"
    )
    more = [call(calls)] if calls else []
    links = {"When called": "Code"} | ({"Code": "Call"} if calls else {})
    return json.dumps({**json.loads(workflow(start, adds, *more, connections=links)), "id": identifier})


def test_a_workflow_calls_others_of_its_bundle_by_id(target: Target, tmp_path: Path) -> None:
    files = {"first.json": called("one", calls="two"), "second.json": called("two"), "notes.json": "[1"}
    text = workflow(START, call("one"), connections={"Start": "Call"})
    outcome = target.call(execute(target, tmp_path / "code", text, files=files))
    assert outcome.ok.output == {"by": ["one", "two"]}
    del files["second.json"]
    failure = target.call(execute(target, tmp_path / "other", text, files=files)).failure
    assert failure.code is ErrorCode.AGENT_LOAD_FAILED
    assert "the workflow 'two' is called, and no file of the bundle has this id" in failure.message


def test_a_sub_workflow_that_fails_fails_its_caller_by_name(target: Target, tmp_path: Path) -> None:
    start = node("When called", "executeWorkflowTrigger", 1.1, parameters={"inputSource": "passthrough"})
    broken = workflow(start, code("throw new Error('no such station')"), connections={"When called": "Code"})
    files = {"sub.json": json.dumps({**json.loads(broken), "id": "sub"})}
    text = workflow(START, call("sub"), connections={"Start": "Call"})
    failure = target.call(execute(target, tmp_path / "code", text, files=files)).failure
    assert failure.code is ErrorCode.FRAMEWORK_ERROR
    assert "no such station" in str(failure.cause)


def test_simple_memory_is_the_sessions_and_survives_the_process(target: Target, tmp_path: Path) -> None:
    memory = node("Memory", "", 1.3, parameters={}) | {"type": "@n8n/n8n-nodes-langchain.memoryBufferWindow"}
    text = agent_workflow(model(), memory, Memory="ai_memory")

    def prompt(session: str | None, inputs: str) -> str:
        execution = target.next_execution()
        run: dict[str, Any] = {"session": session, "inputs": inputs, "execution": execution}
        target.call(execute(target, tmp_path / "code", text, **run)).ok  # noqa: B018  # it must succeed
        return str(next(call.body for call in target.endpoint.calls if call.execution == execution))

    prompt("ada", "my name is Ada")
    assert "my name is Ada" in prompt("ada", "what is my name?")
    target.restart()
    assert "my name is Ada" in prompt("ada", "and now?")
    assert "Ada" not in prompt("other", "what is my name?")
    assert "Ada" not in prompt(None, "what is my name?")


def waiting(**parameters: Any) -> str:
    """Return a workflow that waits and then is done."""
    wait, done = node("Later", "wait", 1.1, parameters=parameters), code("return [{ json: { done: true } }]")
    return workflow(START, wait, done, connections={"Start": "Later", "Later": "Code"})


@pytest.mark.parametrize(
    "parameters",
    [
        {"resume": "specificTime", "dateTime": "={{ $now.plus(70, 'seconds').toISO() }}"},
        {"resume": "form", "formTitle": "Well?", "formFields": {"values": [{"fieldLabel": "Yes"}]}},
        {"resume": "webhook", "limitWaitTime": True, "resumeAmount": 5, "resumeUnit": "seconds"},
    ],
    ids=["longer than the execution may take", "form", "decision within a time"],
)
def test_a_workflow_that_waits_goes_on_when_it_is_resumed(
    target: Target, tmp_path: Path, parameters: Mapping[str, Any]
) -> None:
    run: dict[str, Any] = {"session": target.next_execution(), "limits": Limits(seconds=30)}
    outcome = target.call(execute(target, tmp_path / "code", waiting(**parameters), **run))
    assert outcome.ok.finish_reason is FinishReason.INTERRUPTED
    assert isinstance(outcome.ok.output, Mapping)
    assert outcome.ok.output["node"] == "Later"
    assert (outcome.ok.output["until"] is None) == (parameters["resume"] == "form")
    resumed = target.call(execute(target, tmp_path / "code", waiting(**parameters), resume=True, **run))
    assert resumed.ok.output == {"done": True}


@pytest.mark.parametrize("stream", [False, True])
def test_the_responses_dialect_answers_and_is_counted(
    target: Target, tmp_path: Path, *, stream: bool
) -> None:
    text = agent_workflow(model(responsesApiEnabled=True))
    run: dict[str, Any] = {"inputs": "what is the weather?", "stream": stream}
    outcome = target.call(execute(target, tmp_path / "code", text, Script(text="It rains today."), **run))
    assert outcome.ok.output == {"output": "It rains today."}
    assert outcome.ok.usage.output_tokens > 0
    assert "".join(event.text for event in outcome.events if isinstance(event, Token)) == (
        "It rains today." if stream else ""
    )


def test_other_providers_that_speak_the_dialect_are_given_the_same_address(
    target: Target, tmp_path: Path
) -> None:
    chosen: dict[str, Any] = model() | {
        "type": "@n8n/n8n-nodes-langchain.lmChatOpenRouter",
        "typeVersion": 1,
        "parameters": {"model": "scripted", "options": {}},
        "credentials": {"openRouterApi": {"id": "2", "name": "router"}},
    }
    outcome = target.call(
        execute(target, tmp_path / "code", agent_workflow(chosen), Script(text="It rains."), inputs="?")
    )
    assert outcome.ok.output == {"output": "It rains."}


def test_a_node_that_fails_is_named_with_its_words(target: Target, tmp_path: Path) -> None:
    text = workflow(START, code("throw new Error('no such station')"), connections={"Start": "Code"})
    failure = target.call(execute(target, tmp_path / "code", text)).failure
    assert failure.code is ErrorCode.FRAMEWORK_ERROR
    assert "the node 'Code' failed" in failure.message
    assert "no such station" in str(failure.cause)


def test_code_that_never_ends_ends_at_its_limit_and_others_go_on(target: Target, tmp_path: Path) -> None:
    endless = workflow(START, code("while (true) {}"), connections={"Start": "Code"})

    async def both() -> tuple[Outcome, Outcome]:
        bad = execute(target, tmp_path / "code", endless, limits=Limits(seconds=4))
        return await asyncio.gather(bad, target.execute(target.portable("weather")))

    bad, good = target.call(both())
    assert bad.failure.code is ErrorCode.TIMEOUT
    assert good.ok.output


def test_code_that_eats_memory_fails_by_name_and_others_go_on(target: Target, tmp_path: Path) -> None:
    eater = "const all = []; while (true) all.push(new Array(1e6).fill(Math.random()))"
    hungry = workflow(START, code(eater), connections={"Start": "Code"})
    modest = workflow(START, code("return [{ json: { fine: true } }]"), connections={"Start": "Code"})

    async def both() -> tuple[Outcome, Outcome]:
        bad = execute(target, tmp_path / "code", hungry, limits=Limits(seconds=60))
        return await asyncio.gather(bad, target.execute(target.portable("weather")))

    bad, good = target.call(both())
    assert bad.failure.code is ErrorCode.FRAMEWORK_ERROR
    assert "the node 'Code' failed" in bad.failure.message
    assert "memory" in str(bad.failure.cause)
    assert good.ok.output
    assert target.call(execute(target, tmp_path / "modest", modest)).ok.output == {"fine": True}


def test_a_workflow_that_runs_in_a_circle_ends_by_name(target: Target, tmp_path: Path) -> None:
    circle = {"Start": "One", "One": "Two", "Two": "One"}
    text = workflow(START, node("One", "noOp"), node("Two", "noOp"), connections=circle)

    async def both() -> tuple[Outcome, Outcome]:
        bad = execute(target, tmp_path / "code", text, limits=Limits(seconds=120))
        return await asyncio.gather(bad, target.execute(target.portable("weather")))

    bad, good = target.call(both())
    assert bad.failure.code is ErrorCode.LIMIT_EXCEEDED
    assert "'One'" in bad.failure.message or "'Two'" in bad.failure.message
    assert good.ok.output


def test_neither_code_nor_an_expression_reaches_the_host(target: Target, tmp_path: Path) -> None:
    reach = "return [{ json: { home: typeof process === 'undefined' ? 'none' : String(process.env.HOME) } }]"
    outcome = target.call(
        execute(target, tmp_path / "code", workflow(START, code(reach), connections={"Start": "Code"}))
    )
    assert outcome.result is None or outcome.ok.output in ({"home": "none"}, {"home": "undefined"})
    value = "={{ $env.N8N_ENCRYPTION_KEY }}"
    fields = {"assignments": [{"id": "a", "name": "key", "type": "string", "value": value}]}
    reading = workflow(
        START,
        node("Set", "set", 3.4, parameters={"mode": "manual", "assignments": fields, "options": {}}),
        connections={"Start": "Set"},
    )
    failure = target.call(execute(target, tmp_path / "expression", reading)).failure
    assert failure.code is ErrorCode.FRAMEWORK_ERROR
    assert "access to env vars denied" in str(failure)


def test_what_runs_when_it_is_told_to_stop_may_finish_within_the_grace_period(target: Target) -> None:
    async def scenario() -> Outcome:
        execution = target.next_execution()
        running = asyncio.create_task(
            target.execute(target.portable("weather"), Script(latency=1.0), execution=execution)
        )
        while not any(call.execution == execution for call in target.endpoint.calls):
            await asyncio.sleep(0.01)
        await target.guest.stop()
        return await running

    try:
        outcome = target.call(scenario())
    finally:
        target.restart()
    assert outcome.error is None or outcome.failure.code is ErrorCode.RUNTIME_CRASHED
    assert outcome.events[-1].kind in ("finished", "failed"), "it was told how it ended"
