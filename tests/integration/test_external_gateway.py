"""A run that uses a gateway which somebody else runs: aliases are its agents' models, and the run holds no key."""

import asyncio
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_assets import PortableSpec, agent_asset
from orchestrator_gateway.dispatch import TRIES
from orchestrator_resources import external_gateway
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_resources.external_gateway import ExternalGateway, GatewayAddress, GatewaySteps
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord
from tests.integration.agent_materializations import failure, fake_agent
from tests.integration.gateway_services import GatewayService, gateway_service
from tests.integration.processes import wait_until


def run(framework: str = "fake", model: str = "fast", **runtimes: Any) -> dg.ExecuteInProcessResult:
    portable = PortableSpec(instructions="Help.", model_name=model)
    agent = fake_agent(framework=framework, portable=portable)
    return dg.materialize(
        [agent_asset(agent, asset=dg.AssetSpec("mine"))],
        resources={"agent_runtimes": AgentRuntimes(processes=1, **runtimes)},
        raise_on_error=False,
    )


def configuration(endpoint: ModelEndpoint) -> dict[str, Any]:
    upstream = {
        "base_url": endpoint.script("near", Script(text="from the alias")),
        "api_key": {"file": "key"},
    }
    return {
        "upstreams": {"near": upstream},
        "models": {"fast": {"targets": [{"upstream": "near", "model": "small"}]}},
    }


def made(service: GatewayService, **more: Any) -> dg.ExecuteInProcessResult:
    return run(gateway_url=service.address, gateway_secret=service.secret_file.read_text(), **more)


@pytest.mark.usefixtures("fake_framework")
def test_a_runs_calls_go_by_the_gateways_aliases_with_its_key(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    key = secrets.token_hex(16)
    (tmp_path / "key").write_text(key)
    endpoint.reset()
    with gateway_service(tmp_path, configuration(endpoint)) as service:
        result = made(service, tenant="team-a")
        assert result.success and result.output_for_node("mine") == "from the alias"
        (call,) = endpoint.calls_of("near")
        assert call.body is not None and call.body["model"] == "small"
        assert call.authorization == f"Bearer {key}"
        service.logged('"tenant": "team-a"')
        code, description = failure(made(service, model="slow"))
        assert code == "model_rejected" and "404" in description


@pytest.mark.usefixtures("fake_framework")
def test_a_model_that_fails_is_no_gateway_that_was_killed(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    (tmp_path / "key").write_text(secrets.token_hex(16))
    endpoint.reset()
    told = configuration(endpoint)
    endpoint.script("near", Script(faults=(Fault(kind=FaultKind.STATUS, status=500),)))
    with gateway_service(tmp_path, told) as service:
        code, _ = failure(made(service))
    assert code == "model_unavailable" and endpoint.count == TRIES, "the gateway's own tries, once"


@pytest.mark.usefixtures("fake_framework")
def test_a_gateway_that_ends_for_good_while_it_is_asked_is_named(
    tmp_path: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(secrets.token_hex(16))
    endpoint.reset()
    told = configuration(endpoint)
    endpoint.script("near", Script(faults=(Fault(kind=FaultKind.HANG),)))
    service = GatewayService(tmp_path, told)
    gateway = service.address  # it serves

    def end() -> None:
        wait_until(lambda: endpoint.count == 1, "the call is on its way")
        monkeypatch.setattr(external_gateway, "READY_SECONDS", 0.1)
        service.end(signal.SIGKILL)

    ending = threading.Thread(target=end)
    ending.start()
    code, description = failure(made(service))
    ending.join()
    assert code == "model_unavailable" and f"the gateway at {gateway} does not serve" in description


def test_a_real_framework_uses_an_alias_as_its_model(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    (tmp_path / "key").write_text(secrets.token_hex(16))
    endpoint.reset()
    with gateway_service(tmp_path, configuration(endpoint)) as service:
        result = made(service, framework="langgraph")
        assert result.success and result.output_for_node("mine") == "from the alias"
        assert [call.body and call.body["model"] for call in endpoint.calls_of("near")] == ["small"]


@pytest.mark.usefixtures("fake_framework")
def test_it_is_found_by_the_environment(
    tmp_path: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(secrets.token_hex(16))
    endpoint.reset()
    with gateway_service(tmp_path, configuration(endpoint)) as service:
        monkeypatch.setenv("ORCHESTRATOR_GATEWAY_URL", service.address)
        monkeypatch.setenv("ORCHESTRATOR_GATEWAY_SECRET_FILE", str(service.secret_file))
        monkeypatch.setenv("ORCHESTRATOR_TENANT", "team-b")
        assert run().success and endpoint.count == 1
        service.logged('"tenant": "team-b"')


@pytest.mark.usefixtures("fake_framework")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"gateway_url": "gateway:8900", "gateway_secret": "s" * 32},
            "it must be such as http://gateway:8900",
        ),
        ({"gateway_url": "http://a/v1", "gateway_secret": "s" * 32}, "without /v1"),
        ({"gateway_url": "http://a", "gateway_secret": "short"}, "32 characters at least"),
        ({"gateway_url": "http://a"}, "set gateway_secret, ORCHESTRATOR_GATEWAY_SECRET or"),
        (
            {"gateway_url": "http://a", "gateway_secret": "s" * 32, "network": "gateway"},
            "leave gateway_url out",
        ),
    ],
    ids=["no scheme", "a path", "short", "no secret", "closed in"],
)
def test_what_cannot_be_a_gateway_is_refused_with_what_to_change(
    settings: dict[str, Any], words: str
) -> None:
    agent = agent_asset(fake_agent(), asset=dg.AssetSpec("mine"))
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        dg.materialize([agent], resources={"agent_runtimes": AgentRuntimes(**settings)})
    assert isinstance(caught.value.__cause__, AgentError) and words in str(caught.value.__cause__)


def test_tool_calls_are_in_the_gateways_journal(
    tmp_path: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_gateway, "READY_SECONDS", 0.1)
    (tmp_path / "key").write_text(secrets.token_hex(16))
    wanted = StepLookup(execution="e", step="s", occurrence=0, once=True)
    done = StepRecord(execution="e", step="s", occurrence=0, result='"done"')

    async def scenario(gateway: ExternalGateway, end: Callable[[], object]) -> None:
        first, second = GatewaySteps(gateway), GatewaySteps(gateway)
        try:
            assert (await first.lookup(wanted)).state == "new"
            assert (await second.lookup(wanted)).state == "started"
            await first.record(done)
            assert await second.lookup(wanted) == Step(state="finished", result='"done"')
            await asyncio.to_thread(gateway.forget, ["e"])
            assert (await second.lookup(wanted)).state == "new"
            await asyncio.to_thread(end)
            for asked in (first.lookup(wanted), first.record(done)):
                with pytest.raises(AgentError, match="tool calls cannot be journaled") as caught:
                    await asked
                assert caught.value.code is ErrorCode.STATE_UNAVAILABLE
        finally:
            await first.close()
            await second.close()

    with gateway_service(tmp_path, configuration(endpoint)) as service:
        asyncio.run(scenario(service.gateway("team"), service.end))


def test_a_gateway_that_does_not_serve_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_gateway, "READY_SECONDS", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        gateway = ExternalGateway(GatewayAddress(url=url, secret=secrets.token_hex(16)))
        with pytest.raises(
            AgentError, match="does not serve: set another gateway_url, or start it"
        ) as caught:
            gateway.ready()
        assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE and "refused" in str(caught.value.cause)


def test_guests_keep_the_number_of_a_gateway_whose_name_server_is_away(
    tmp_path: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(secrets.token_hex(16))

    def away(*_args: object, **_more: object) -> None:
        raise socket.gaierror("no name server answers")

    with gateway_service(tmp_path, configuration(endpoint)) as service:
        url = service.address.replace("127.0.0.1", "localhost")
        address = GatewayAddress(url=url, secret=service.secret_file.read_text())
        gateway = ExternalGateway(address, by_number=True)
        gateway.ready()
        monkeypatch.setattr(socket, "getaddrinfo", away)
        assert gateway.guests_address(closed=False).replace("[::1]", "127.0.0.1") == service.address
        with pytest.raises(
            AgentError, match=f"the name of the gateway at {url} cannot be resolved"
        ) as caught:
            ExternalGateway(address, by_number=True).guests_address(closed=False)
        assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE
