"""What a run can do at a gateway that was given the secret of its tenant, and what it cannot."""

import asyncio
from pathlib import Path

import pytest

from orchestrator_gateway.tokens import tenant_secret
from orchestrator_resources.external_gateway import ExternalGateway, GatewayAddress, GatewaySteps
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Step, StepLookup
from tests.integration.gateway_calls import Answered, ask
from tests.integration.gateway_services import GatewayService, gateway_service


def known_to(service: GatewayService, of: str, *, asks_as: str) -> ExternalGateway:
    """Return the gateway as a run uses it that has the secret of one tenant and says that it is of another."""
    secret = tenant_secret(service.secret_file.read_text().encode(), of).decode()
    return ExternalGateway(GatewayAddress(url=service.address, secret=secret, tenant=asks_as))


def called(gateway: ExternalGateway, text: str = "hi") -> Answered:
    return ask(gateway.model(execution="e", agent="a", inputs="hi", seconds=60), text, model="m")


def looked_up(gateway: ExternalGateway) -> Step:
    async def look() -> Step:
        steps = GatewaySteps(gateway)
        try:
            return await steps.lookup(StepLookup(execution="e", step="s", occurrence=0))
        finally:
            await steps.close()

    return asyncio.run(look())


def test_a_run_with_its_tenants_secret_does_all_that_it_does_and_nothing_as_another(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    endpoint.reset()
    upstream = endpoint.script("first", Script(text="said to red"))
    configuration = {"upstreams": {"own": {"base_url": upstream}}, "default": {"upstream": "own"}}
    with gateway_service(tmp_path, configuration) as service:
        red = known_to(service, "red", asks_as="red")
        assert called(red).status == 200 and looked_up(red).state == "new"
        assert red.spent(["e"]).executions["e"].calls == 1
        blue = known_to(service, "blue", asks_as="red")
        refused = called(blue)
        assert refused.status == 401 and b"said to red" not in refused.body
        for forbidden in (
            lambda: looked_up(blue),
            lambda: blue.spent(["e"]),
            lambda: blue.forget(["e"]),
        ):
            with pytest.raises(AgentError) as raised:
                forbidden()
            assert raised.value.code is ErrorCode.STATE_UNAVAILABLE and "401" in str(raised.value.cause)
        assert called(red).replayed, "nothing of it was forgotten"
        assert endpoint.count == 1
        operators = service.gateway("red")
        assert operators.spent(["e"]).executions["e"].calls == 1, "the gateway's own is good for each"
