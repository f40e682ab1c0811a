"""What the gateway tells an OTLP receiver and Prometheus: the same for every framework, and never what was said."""

import socket
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator_resources.gateway import LocalGateway
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.messages import ModelAddress
from tests.integration import gateway_calls, genai_conventions
from tests.integration.local_gateways import local_gateway
from tests.integration.otlp_receiver import Receiver

CLIENT: Final = 3
ERROR: Final = 2
SECRET: Final = "what only the prompt says"
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
STEP: Final = "00f067aa0ba902b7"
OWN: Final = "00f067aa0ba90fff"


def address(gateway: LocalGateway) -> ModelAddress:
    return gateway.model(
        execution="e", agent="a" * 64, inputs="hi", seconds=60, traceparent=f"00-{TRACE}-{STEP}-01", run="r"
    )


def ask(to: ModelAddress, *, traceparent: str | None = None, **more: Any) -> int:
    """Make a call and return its status."""
    headers = {} if traceparent is None else {"traceparent": traceparent}
    return gateway_calls.ask(to, SECRET, headers=headers, **more).status


def test_a_call_is_a_span_and_a_retrys_is_another_that_cost_nothing(
    receiver: Receiver, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    endpoint.reset()
    with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
        for _ in range(2):
            assert ask(address(gateway), temperature=0.5, max_tokens=100, seed=7) == 200
    first, again = receiver.spans
    usage = endpoint.calls[0]
    where = endpoint.base_url.removesuffix("/v1").rpartition(":")
    told = dict(first.attributes)
    assert (first.name, first.kind, first.status) == ("chat m", CLIENT, 0)
    assert told.pop("gen_ai.response.id") and told.pop("orchestrator.attempt")
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.seed": 7,
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.agent.id": "a" * 64,
        "server.address": "127.0.0.1",
        "server.port": int(where[2]),
        "orchestrator.tenant": "local",
        "orchestrator.execution": "e",
        "orchestrator.run": "r",
        "orchestrator.replayed": False,
    }
    assert again.attributes["orchestrator.replayed"] is True
    assert "gen_ai.usage.input_tokens" not in again.attributes, "it was paid once"
    assert first.attributes["orchestrator.attempt"] != again.attributes["orchestrator.attempt"]
    (resource, *_) = receiver.resources
    assert resource["service.name"] == "orchestrator-gateway" and resource["service.instance.id"]


def test_every_name_is_one_of_the_conventions_or_our_own(
    receiver: Receiver, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    endpoint.reset()
    with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
        ask(address(gateway), stream=True, response_format={"type": "json_object"}, n=2, top_p=1)
        ask(address(gateway), path="/responses", input="hi")
        ask(address(gateway), path="/embeddings", input="hi")
    assert genai_conventions.unknown_names(receiver) == set()
    assert {span.name for span in receiver.spans} == {"chat m", "embeddings m"}
    operations = {span.attributes["gen_ai.operation.name"] for span in receiver.spans}
    assert operations <= genai_conventions.operations()
    assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"} <= set(receiver.metrics)
    assert {"gen_ai.client.operation.time_to_first_chunk", "orchestrator.gateway.calls"} <= set(
        receiver.metrics
    )


def test_metrics_count_what_was_paid_once(
    receiver: Receiver, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    endpoint.reset()
    with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
        for _ in range(3):
            ask(address(gateway), stream=True, stream_options={"include_usage": True})
        assert ask(ModelAddress(base_url=address(gateway).base_url, api_key="stolen")) == 401
    paid = endpoint.calls[0]
    usage = receiver.metrics["gen_ai.client.token.usage"]
    assert {point.attributes["gen_ai.token.type"]: (point.count, point.sum) for point in usage} == {
        "input": (1, paid.input_tokens),
        "output": (1, paid.output_tokens),
    }
    assert usage[0].bounds[:4] == (1, 4, 16, 64) and receiver.units["gen_ai.client.token.usage"] == "{token}"
    (duration,) = receiver.metrics["gen_ai.client.operation.duration"]
    (first,) = receiver.metrics["gen_ai.client.operation.time_to_first_chunk"]
    assert duration.count == first.count == 1 and 0 < first.sum <= duration.sum
    assert duration.attributes["gen_ai.response.model"] == "m"
    calls = {p.attributes["outcome"]: p.sum for p in receiver.metrics["orchestrator.gateway.calls"]}
    assert calls == {"answered": 1, "replayed": 2}
    (refusal,) = receiver.metrics["orchestrator.gateway.refusals"]
    assert (refusal.attributes, refusal.sum) == ({"http.response.status_code": 401}, 1)
    (write,) = receiver.metrics["orchestrator.gateway.journal.write.duration"]
    assert write.count == 1 and write.sum > 0
    assert [p.sum for p in receiver.metrics["orchestrator.gateway.requests.in_flight"]] == [0]
    for name in ("busy", "waiting", "open"):
        assert [p.sum for p in receiver.metrics[f"orchestrator.gateway.upstream.{name}"]] == [0]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(kind=FaultKind.STATUS, status=401), "401"),
        (Fault(kind=FaultKind.EMPTY_CONTENT), "model_bad_output"),
    ],
    ids=["refused", "unusable"],
)
def test_a_failed_call_tells_the_kind_of_its_error(
    receiver: Receiver, endpoint: ModelEndpoint, tmp_path: Path, fault: Fault, error: str
) -> None:
    endpoint.reset()
    with local_gateway(tmp_path / "calls.db", endpoint.script("faulty", Script(faults=(fault,)))) as gateway:
        ask(address(gateway))
    (span,) = receiver.spans
    assert span.status == ERROR and span.attributes["error.type"] == error
    (duration,) = receiver.metrics["gen_ai.client.operation.duration"]
    assert duration.attributes["error.type"] == error
    assert "orchestrator.gateway.refusals" in receiver.metrics or error == "model_bad_output"


def test_what_was_said_and_every_key_stays_here(
    receiver: Receiver, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    endpoint.reset()
    answer = "what only the model says"
    with local_gateway(tmp_path / "calls.db", endpoint.script("said", Script(text=answer))) as gateway:
        to = address(gateway)
        ask(to)
        ask(to, stream=True)
    sent = b"".join(receiver.raw)
    assert b"chat m" in sent
    for words in (SECRET, answer, str(to.api_key)):
        assert words.encode() not in sent


@pytest.mark.parametrize(
    ("sent", "parent"),
    [
        (None, STEP),
        (f"00-{TRACE}-{OWN}-01", OWN),
        (f"00-{TRACE}-{OWN}-00", OWN),
        (f"00-{'1' * 32}-{OWN}-01", STEP),
        ("nonsense", STEP),
    ],
    ids=["none", "a span of its own", "not to be sampled", "another trace", "none that is one"],
)
def test_a_call_belongs_to_the_trace_that_the_trusted_side_named(
    receiver: Receiver, endpoint: ModelEndpoint, tmp_path: Path, sent: str | None, parent: str
) -> None:
    endpoint.reset()
    with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
        ask(address(gateway), traceparent=sent)
    (span,) = receiver.spans
    assert (span.trace, span.parent) == (TRACE, parent)
    assert endpoint.calls[0].headers["traceparent"] == f"00-{TRACE}-{span.id}-01", (
        "the endpoint's go on from it"
    )


def test_a_receiver_that_does_not_answer_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
            assert [ask(address(gateway)) for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_SDK_DISABLED", "true")],
)
def test_variables_that_are_meant_for_others_do_not_keep_it_from_serving(
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: ModelEndpoint,
    tmp_path: Path,
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)
    with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
        assert ask(address(gateway)) == 200
    assert receiver.raw == []


def test_the_headers_of_the_environment_open_the_receiver(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=tides")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "the-teams-gateway")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
        ask(address(gateway))
    assert receiver.headers[0]["x-team"] == "tides"
    assert receiver.resources[0]["service.name"] == "the-teams-gateway" and not receiver.metrics


def test_prometheus_is_answered_at_an_address_that_guests_do_not_call(
    monkeypatch: pytest.MonkeyPatch, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(port))
    with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
        to = address(gateway)
        ask(to)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
            assert answer.headers["content-type"].startswith("text/plain")
        assert (
            ask(ModelAddress(base_url=to.base_url.removesuffix("/v1"), api_key=to.api_key), path="/metrics")
            == 404
        )
    assert 'orchestrator_gateway_calls_total{gen_ai_operation_name="chat",orchestrator_tenant="local"' in text
    assert (
        "gen_ai_client_token_usage_count{" in text
        and "gen_ai_client_operation_duration_seconds_bucket{" in text
    )


def test_where_the_address_of_prometheus_is_taken_a_run_goes_on_without(
    monkeypatch: pytest.MonkeyPatch, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
        monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
        monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(taken.getsockname()[1]))
        with local_gateway(tmp_path / "calls.db", endpoint.base_url) as gateway:
            assert ask(address(gateway)) == 200
