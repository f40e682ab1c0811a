"""Two gateways of one configuration with their journal in PostgreSQL: a call is one call, whichever gets it."""

import contextlib
import os
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.messages import ModelAddress
from tests.integration.gateway_calls import ask
from tests.integration.gateway_services import GatewayService
from tests.integration.postgres_servers import PostgresServer
from tests.integration.processes import wait_until


@contextlib.contextmanager
def two(
    folder: Path, postgres: PostgresServer, upstream: str
) -> Generator[tuple[GatewayService, GatewayService]]:
    """Run two gateways, whose calls belong to nobody two seconds after their last sign of life."""
    configuration = {"upstreams": {"only": {"base_url": upstream}}, "default": {"upstream": "only"}}
    journal = {"postgresql": {"env": "JOURNAL"}, "limits": {"lease_seconds": 2}}
    environment = {"JOURNAL": postgres.database()}
    services = [
        GatewayService(folder, configuration, journal=journal, environment=environment) for _ in range(2)
    ]
    try:
        yield services[0], services[1]
    finally:
        for service in services:
            service.end()


def through(service: GatewayService, address: ModelAddress) -> ModelAddress:
    """Return where the same try sends its calls by another gateway."""
    return ModelAddress(base_url=f"{service.address}/v1", api_key=address.api_key)


def test_a_try_may_use_both_at_will(
    tmp_path: Path, postgres: PostgresServer, endpoint: ModelEndpoint
) -> None:
    endpoint.reset()
    with two(tmp_path, postgres, endpoint.base_url) as (one, other):
        for replayed in (False, True):
            address = one.model()
            places = [address, through(other, address)] * 4
            with ThreadPoolExecutor(8) as threads:
                answers = list(threads.map(ask, places, ["hi"] * 8))
            assert {(answer.status, answer.replayed) for answer in answers} == {(200, replayed)}
            assert endpoint.count == 8


def test_one_that_ends_hands_its_calls_over_and_one_that_is_killed_leaves_them(
    tmp_path: Path, postgres: PostgresServer, endpoint: ModelEndpoint
) -> None:
    endpoint.reset()
    slow = endpoint.script("slow", Script(latency=3.0))
    with two(tmp_path, postgres, slow) as (one, other), ThreadPoolExecutor(1) as threads:
        told = threads.submit(ask, one.model(), "first")
        wait_until(lambda: endpoint.count == 1, "the call is on its way")
        one.process.send_signal(signal.SIGTERM)
        answer = ask(other.model(), "first")
        assert answer.replayed and answer.body == told.result().body and endpoint.count == 1
        assert one.process.wait(30) == 0
    with two(tmp_path, postgres, slow) as (one, other), ThreadPoolExecutor(1) as threads:
        told = threads.submit(ask, one.model(execution="f"), "second")
        wait_until(lambda: endpoint.count == 2, "the call is on its way")
        os.kill(one.process.pid, signal.SIGKILL)
        assert told.exception() is not None
        again = ask(other.model(execution="f"), "second")
        assert again.status == 200 and not again.replayed and endpoint.count == 3
        assert ask(other.model(execution="f"), "second").body == again.body and endpoint.count == 3
