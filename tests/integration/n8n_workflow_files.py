"""Workflows of n8n as tests write them, and the guest that runs them."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import Outcome, Target
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import AgentSource
from orchestrator_runtimes.profiles import installed_frameworks

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
    settings = {"executionOrder": "v1"}
    return json.dumps({"name": "mine", "nodes": nodes, "connections": links, "settings": settings})


@contextmanager
def n8n_target(endpoint: ModelEndpoint) -> Generator[Target]:
    """Start n8n as a guest for the tests of a module."""
    profile = installed_frameworks()["n8n"]
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    assert environment is not None, "install it first: orchestrator runtimes install n8n"
    target = Target(GuestCommand.of(profile, environment.python), profile, endpoint)
    try:
        yield target
    finally:
        target.close()


def model(**parameters: Any) -> dict[str, Any]:
    """Return a model's node that leads to the node `Agent`."""
    chosen = {"model": {"__rl": True, "mode": "id", "value": "scripted"}, "options": {}, **parameters}
    return node("Model", "lmChatOpenAi", 1.3, parameters=chosen) | {
        "type": "@n8n/n8n-nodes-langchain.lmChatOpenAi",
        "credentials": {"openAiApi": {"id": "1", "name": "mine"}},
    }


def agent() -> dict[str, Any]:
    parameters: dict[str, Any] = {"promptType": "define", "text": "={{ $json.chatInput }}", "options": {}}
    return node("Agent", "agent", 3, parameters=parameters) | {"type": "@n8n/n8n-nodes-langchain.agent"}


def agent_workflow(chosen_model: Mapping[str, Any], *more: Mapping[str, Any], **links: str) -> str:
    """Return a workflow with an agent; `links` are from further nodes to it, by kind."""
    made = json.loads(workflow(START, agent(), chosen_model, *more, connections={"Start": "Agent"}))
    for name, kind in {"Model": "ai_languageModel", **links}.items():
        made["connections"][name] = {kind: [[{"node": "Agent", "type": kind, "index": 0}]]}
    return json.dumps(made)


async def execute(
    target: Target,
    folder: Path,
    text: str,
    script: Script | None = None,
    files: Mapping[str, str] | None = None,
    options: Mapping[str, Json] | None = None,
    **run: Any,
) -> Outcome:
    """Run a workflow, with further files beside it."""
    folder.mkdir(exist_ok=True)
    for name, content in {"mine.json": text, **(files or {})}.items():
        (folder / name).write_text(content)
    digest, archive = bundles.pack(folder)
    target.bundles[digest] = Bundle(digest=digest, archive=archive)
    source = AgentSource(entrypoint="mine.json", options=options or {})
    return await target.execute(source, script or Script(), bundle=digest, **run)
