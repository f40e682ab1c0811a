"""Agent assets of the fake framework, materialized in this process, and what Dagster then shows of them."""

from typing import Any

import dagster as dg

from orchestrator_assets import AgentSpec, PortableSpec
from orchestrator_assets.execution_specs import RetrySpec
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script


def fake_agent(**changes: Any) -> AgentSpec:
    """Return an agent without tools and without retries."""
    given: dict[str, Any] = {"framework": "fake", "prompt": "hello", "retries": RetrySpec(max=0)}
    if "entrypoint" not in changes:
        given["portable"] = PortableSpec(instructions="Help.")
    return AgentSpec(**{**given, **changes})


def materialize(
    assets: list[Any], endpoint: ModelEndpoint, script: Script | None = None, *, url: str | None = None,
    memory_mb: int | None = None, **options: Any,
) -> dg.ExecuteInProcessResult:  # fmt: skip
    """Materialize assets with a scripted model, or with the one at `url`."""
    endpoint.reset()
    scripted = endpoint.script("agents", script or Script(echo=r"EXEC-\w+"))
    runtimes = AgentRuntimes(model_url=url or scripted, processes=1, memory_mb=memory_mb)
    result = dg.materialize(assets, resources={"agent_runtimes": runtimes}, raise_on_error=False, **options)
    messages = [event.message or "" for event in result.all_events]
    failed = [message for message in messages if message.startswith("Teardown") and "failed" in message]
    assert not failed
    return result


def metadata(result: dg.ExecuteInProcessResult, key: str) -> dict[str, Any]:
    """Return the metadata of the one materialization of an asset, as plain values where it has them."""
    events = result.get_asset_materialization_events()
    (event,) = [e for e in events if e.asset_key == dg.AssetKey(key.split("/"))]
    return {name: getattr(value, "value", value) for name, value in event.materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """Return the code and the description of the one failed step."""
    (event,) = result.get_step_failure_events()
    data: Any = event.event_specific_data
    told = data.user_failure_data
    return told.metadata["code"].value, told.description
