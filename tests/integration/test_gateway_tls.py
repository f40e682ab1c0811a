"""A gateway that speaks TLS alone: runs verify it, guests reach it by a relay, and nobody else hears a word."""

import asyncio
import contextlib
import http.client
import re
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest
from cryptography import x509

from orchestrator_assets import PortableSpec, agent_asset
from orchestrator_resources import external_gateway
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_resources.external_gateway import (
    CA_FILE,
    GUESTS_URL,
    ExternalGateway,
    GatewayAddress,
    GatewaySteps,
)
from orchestrator_resources.runtime_settings import RuntimeSettings
from orchestrator_resources.runtimes import open_runtimes
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Step, StepLookup
from orchestrator_runtimes.profiles import installed_frameworks
from tests.certificates import Authority, Issued
from tests.integration.agent_materializations import failure, fake_agent
from tests.integration.command_lines import refused
from tests.integration.gateway_services import GatewayService, gateway_service
from tests.integration.guest_servers import guest_server, image
from tests.integration.processes import wait_until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def configuration(endpoint: ModelEndpoint, text: str = "over TLS") -> dict[str, Any]:
    endpoint.reset()
    return {
        "upstreams": {"near": {"base_url": endpoint.script("near", Script(text=text))}},
        "models": {"fast": {"targets": [{"upstream": "near", "model": "small"}]}},
    }


def shown(issued: Issued, host: str = "127.0.0.1") -> dict[str, Any]:
    return {
        "options": [
            f"--host={host}",
            f"--tls-certificate={issued.certificate}",
            f"--tls-key={issued.key}",
        ]
    }


def address(service: GatewayService, authority: Authority, host: str = "127.0.0.1") -> GatewayAddress:
    url = f"https://{host}:{urlsplit(service.address).port}"
    return GatewayAddress(url=url, secret=service.secret_file.read_text(), ca_file=authority.file)


def _answered(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    connection.request("GET", "/ready")
    return connection.getresponse()


def serial_at(service: GatewayService, authority: Authority) -> int:
    """Return the serial number of the certificate that a gateway shows."""
    port = urlsplit(service.address).port
    context = ssl.create_default_context(cafile=authority.file)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as opened,
        context.wrap_socket(opened, server_hostname="127.0.0.1") as agreed,
    ):
        told = agreed.getpeercert(binary_form=True)
    assert told is not None
    return x509.load_der_x509_certificate(told).serial_number


def test_nobody_is_heard_without_tls_and_a_renewed_certificate_needs_no_restart(
    tmp_path: Path, endpoint: ModelEndpoint, authority: Authority
) -> None:
    issued = authority.issue("127.0.0.1")
    with gateway_service(tmp_path / "gateway", configuration(endpoint), **shown(issued)) as service:
        assert service.address.startswith("https://")
        plain = http.client.HTTPConnection("127.0.0.1", urlsplit(service.address).port, timeout=10)
        with contextlib.closing(plain), pytest.raises((http.client.HTTPException, OSError)):
            _answered(plain)
        first = serial_at(service, authority)
        authority.issue("127.0.0.1")
        second = serial_at(service, authority)
        own = x509.load_pem_x509_certificate(issued.certificate.read_bytes()).serial_number
        assert first != second == own
        service.logged("another certificate is shown from now on")
        issued.certificate.write_text("broken")
        assert serial_at(service, authority) == second
        service.logged("is shown still")


def test_its_metrics_are_told_by_tls_alone(
    tmp_path: Path, endpoint: ModelEndpoint, authority: Authority
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = {**configuration(endpoint), "telemetry": {"prometheus": f"127.0.0.1:{port}"}}
    with gateway_service(tmp_path / "gateway", told, **shown(authority.issue("127.0.0.1"))):
        trusted = ssl.create_default_context(cafile=authority.file)
        with urllib.request.urlopen(
            f"https://127.0.0.1:{port}/metrics", timeout=10, context=trusted
        ) as answer:
            assert b"orchestrator_gateway_upstream_busy" in answer.read()
        with pytest.raises(OSError, match=r"refused|reset|closed|EOF|status line") as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)
        assert not isinstance(caught.value, urllib.error.HTTPError)


def test_a_run_verifies_it_in_all_that_it_asks(
    tmp_path: Path, endpoint: ModelEndpoint, authority: Authority
) -> None:
    issued = authority.issue("localhost")
    wanted = StepLookup(execution="e", step="s", occurrence=0, once=False)

    async def look(gateway: ExternalGateway) -> Step:
        steps = GatewaySteps(gateway)
        try:
            return await steps.lookup(wanted)
        finally:
            await steps.close()

    with gateway_service(tmp_path / "gateway", configuration(endpoint), **shown(issued)) as service:
        gateway = ExternalGateway(address(service, authority, "localhost"))
        gateway.ready()
        gateway.forget(["e"])
        assert gateway.spent(["e"]).executions == {}
        assert asyncio.run(look(gateway)).state == "new"


@pytest.mark.parametrize(
    ("host", "own", "why"),
    [
        ("localhost", False, "unable to get local issuer certificate"),
        ("127.0.0.1", True, "IP address mismatch"),
    ],
    ids=["another authority", "another name"],
)
def test_one_that_is_another_is_named_and_told_nothing(
    tmp_path: Path,
    endpoint: ModelEndpoint,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    own: bool,
    why: str,
) -> None:
    monkeypatch.setattr(external_gateway, "READY_SECONDS", 0.1)
    issued = authority.issue("localhost")
    trusted = authority if own else Authority(tmp_path / "another")
    with gateway_service(tmp_path / "gateway", configuration(endpoint), **shown(issued)) as service:
        gateway = ExternalGateway(address(service, trusted, host))
        with pytest.raises(AgentError, match="does not serve") as caught:
            gateway.ready()
        assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE and why in str(caught.value.cause)
        steps = GatewaySteps(gateway)
        lookup = StepLookup(execution="e", step="s", occurrence=0, once=False)

        async def look() -> None:
            try:
                await steps.lookup(lookup)
            finally:
                await steps.close()

        with pytest.raises(AgentError) as refusal:
            asyncio.run(look())
        assert why in str(refusal.value.cause)


def materialized(**environment: Any) -> dg.ExecuteInProcessResult:
    agent = fake_agent(portable=PortableSpec(instructions="Help.", model_name="fast"))
    return dg.materialize(
        [agent_asset(agent, asset=dg.AssetSpec("mine"))],
        resources={"agent_runtimes": AgentRuntimes(processes=1, **environment)},
        raise_on_error=False,
    )


@pytest.mark.usefixtures("fake_framework")
def test_guests_of_this_machine_reach_it_by_a_relay_of_the_run(
    tmp_path: Path, endpoint: ModelEndpoint, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = authority.issue("localhost")
    with gateway_service(tmp_path / "gateway", configuration(endpoint), **shown(issued)) as service:
        told = address(service, authority, "localhost")
        monkeypatch.setenv("ORCHESTRATOR_GATEWAY_URL", told.url)
        monkeypatch.setenv("ORCHESTRATOR_GATEWAY_SECRET_FILE", str(service.secret_file))
        monkeypatch.setenv(CA_FILE, str(authority.file))
        result = materialized()
        assert result.success and result.output_for_node("mine") == "over TLS"
        assert endpoint.count == 1
        monkeypatch.setenv(CA_FILE, str(Authority(tmp_path / "another").file))
        monkeypatch.setattr(external_gateway, "READY_SECONDS", 0.1)
        code, description = failure(materialized())
        assert code == "model_unavailable" and "unable to get local issuer certificate" in description
        assert endpoint.count == 1


@contextlib.contextmanager
def relay(url: str, authority: Authority, *words: str) -> Generator["subprocess.Popen[str]"]:
    """Run the relay's command for a block; it must end in order."""
    command = [
        sys.executable,
        "-m",
        "orchestrator_resources.gateway_relay",
        f"--gateway={url}",
        f"--ca={authority.file}",
    ]
    with subprocess.Popen([*command, *words], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_guests_that_are_locked_to_the_gateways_port_reach_it_by_a_relay_at_that_port(
    place: Path,
    tmp_path: Path,
    endpoint: ModelEndpoint,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a pod: the gateway is another host, and its port on loopback is the relay's."""
    issued = authority.issue("127.0.0.2")
    python, path = image(place.parent, installed_frameworks()["langgraph"])
    told = configuration(endpoint)
    with gateway_service(tmp_path / "gateway", told, **shown(issued, "127.0.0.2")) as service:
        port = urlsplit(service.address).port
        assert port is not None
        with (
            relay(service.address, authority),
            guest_server(
                place.parent, "langgraph", "--gateway-port", str(port), python=python, path=path
            ) as served,
        ):
            wait_until(lambda: answers(port), "the relay listens")
            monkeypatch.setenv("ORCHESTRATOR_GATEWAY_URL", service.address)
            monkeypatch.setenv("ORCHESTRATOR_GATEWAY_SECRET_FILE", str(service.secret_file))
            monkeypatch.setenv("ORCHESTRATOR_GUESTS", str(served.guests_folder))
            monkeypatch.setenv(CA_FILE, str(authority.file))
            monkeypatch.setenv(GUESTS_URL, f"http://127.0.0.1:{port}")
            agent = fake_agent(
                framework="langgraph", portable=PortableSpec(instructions="Help.", model_name="fast")
            )
            result = dg.materialize(
                [agent_asset(agent, asset=dg.AssetSpec("mine"))],
                resources={"agent_runtimes": AgentRuntimes(processes=1, network="gateway")},
            )
            assert result.output_for_node("mine") == "over TLS"


def test_what_guests_in_containers_need_is_told(tmp_path: Path, authority: Authority) -> None:
    found = GatewayAddress(
        url="https://gateway.example", secret=secrets.token_hex(32), ca_file=authority.file
    )
    settings = RuntimeSettings(
        home=tmp_path, state=tmp_path / "state", guests=tmp_path, external_gateway=found
    )
    with pytest.raises(AgentError, match=r"orchestrator_resources\.gateway_relay") as caught:
        _open(settings)
    assert caught.value.code is ErrorCode.INVALID_INPUT and GUESTS_URL in caught.value.message


def test_files_and_urls_that_are_none_are_refused_by_their_settings(tmp_path: Path) -> None:
    url, secret = "https://gateway.example", secrets.token_hex(32)
    with pytest.raises(AgentError, match=f"{GUESTS_URL} is 'relay'; it must be such as"):
        GatewayAddress(url=url, secret=secret, guests_url="relay")
    missing = GatewayAddress(url=url, secret=secret, ca_file=tmp_path / "missing")
    with pytest.raises(AgentError, match=re.escape(f"{CA_FILE}: {str(tmp_path / 'missing')!r}: cannot be")):
        ExternalGateway(missing)


def _open(settings: RuntimeSettings) -> None:
    with open_runtimes(settings):
        raise AssertionError("it opened")


def test_a_relay_that_cannot_begin_says_why_in_a_line(tmp_path: Path, authority: Authority) -> None:
    def words(*more: str) -> list[str]:
        return ["python", "-m", "orchestrator_resources.gateway_relay", *more]

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        url, ca = f"--gateway=https://127.0.0.2:{port}", f"--ca={authority.file}"
        said = refused(*words(url, ca), folder=tmp_path)
        assert said == f"nothing can listen at 127.0.0.1:{port}: Address already in use\n"
    assert "cannot be read" in refused(*words(url, f"--ca={tmp_path / 'missing'}"), folder=tmp_path)
    assert "--gateway is 'http://a', which speaks no TLS" in refused(
        *words("--gateway=http://a"), folder=tmp_path
    )
    assert "--gateway is 'a'; it must be such as" in refused(*words("--gateway=a"), folder=tmp_path)


@pytest.mark.parametrize("command", ["orchestrator gateway", "python -m orchestrator_gateway.service"])
def test_a_certificate_that_is_none_keeps_a_gateway_from_starting(
    tmp_path: Path, authority: Authority, command: str
) -> None:
    issued = authority.issue("a")
    key = tmp_path / "secret"
    key.write_text(secrets.token_hex(32))
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "{secret: {file: secret}, journal: {sqlite: j.db}, upstreams: {near: {base_url: 'http://a/v1'}}}"
    )
    begin = [*command.split(), "--config", str(file)]
    alone = refused(*begin, "--tls-key", issued.key, folder=tmp_path)
    assert "a certificate needs its key: give --tls-certificate and --tls-key" in alone
    swapped = refused(
        *begin, "--tls-key", issued.certificate, "--tls-certificate", issued.certificate, folder=tmp_path
    )
    assert "are no certificate with its key" in swapped
