"""Workflows that cannot run are refused by name when they load; one that misbehaves harms no other."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import Outcome, Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import AgentSource, Limits
from orchestrator_runtimes.profiles import installed_frameworks

pytestmark = pytest.mark.timeout(240)

START = {"name": "Start", "type": "n8n-nodes-base.manualTrigger", "typeVersion": 1, "position": [0, 0]}


def node(name: str, kind: str, version: float = 1, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": f"n8n-nodes-base.{kind}",
        "typeVersion": version,
        "position": [0, 0],
        **more,
    }


def code(text: str) -> dict[str, Any]:
    return node("Code", "code", 2, parameters={"jsCode": text})


def workflow(*nodes: Mapping[str, Any], connections: Mapping[str, str] | None = None) -> str:
    """Return a workflow's file; each node of `connections` leads to the one it names."""
    links = {
        one: {"main": [[{"node": other, "type": "main", "index": 0}]]}
        for one, other in (connections or {}).items()
    }
    return json.dumps({"name": "mine", "nodes": nodes, "connections": links})


@pytest.fixture(scope="module")
def target(endpoint: ModelEndpoint) -> Iterator[Target]:
    profile = installed_frameworks()["n8n"]
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    assert environment is not None, "install it first: orchestrator runtimes install n8n"
    target = Target(GuestCommand.of(profile, environment.python), profile, endpoint)
    yield target
    target.close()


async def execute(target: Target, folder: Path, text: str, **run: Any) -> Outcome:
    folder.mkdir()
    (folder / "mine.json").write_text(text)
    digest, archive = bundles.pack(folder)
    target.bundles[digest] = Bundle(digest=digest, archive=archive)
    return await target.execute(AgentSource(entrypoint="mine.json"), Script(), bundle=digest, **run)


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
            "'Post', which needs credentials of type 'slackApi'; this runtime resolves openAiApi only",
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
