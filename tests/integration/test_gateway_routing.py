"""Where the calls of a gateway go: aliases, weights, fallbacks, limits; seen by the upstreams themselves."""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from tests.integration.gateway_calls import ask, send
from tests.integration.gateway_services import GatewayService, gateway_service
from tests.integration.processes import wait_until

BROKEN = Script(faults=(Fault(kind=FaultKind.STATUS, status=503),))
BUSY = Script(faults=(Fault(kind=FaultKind.STATUS, status=429, retry_after=30),))
NO_KEY = Script(faults=(Fault(kind=FaultKind.STATUS, status=401),))
WRONG = Script(faults=(Fault(kind=FaultKind.STATUS, status=400),))


@pytest.fixture
def upstream(endpoint: ModelEndpoint) -> ModelEndpoint:
    endpoint.reset()
    return endpoint


def one_alias(first: str, second: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a configuration with an alias that leads to one upstream and falls back to another."""
    fallbacks = [{"upstream": "second", "model": "large"}] if second else []
    return {
        "upstreams": {
            "first": {"base_url": first, **more},
            **({"second": {"base_url": second}} if second else {}),
        },
        "models": {"fast": {"targets": [{"upstream": "first", "model": "small"}], "fallbacks": fallbacks}},
    }


@contextlib.contextmanager
def nobody() -> Generator[str]:
    """Give the address of a port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.mark.parametrize("stream", [False, True])
def test_an_alias_becomes_the_upstreams_own_name_and_nothing_else_changes(
    tmp_path: Path, upstream: ModelEndpoint, *, stream: bool
) -> None:
    with gateway_service(tmp_path, one_alias(upstream.script("first", Script()))) as service:
        more: dict[str, Any] = {
            "stream": stream,
            "temperature": 0.10,
            "user": "ü 🎉",
            "seed": 12345678901234567890,
        }
        assert ask(service.model(), "hi", model="fast", **more).status == 200
        (call,) = upstream.calls_of("first")
        expected = {"model": "small", "messages": [{"role": "user", "content": "hi"}], **more}
        assert call.body == expected and call.streamed == stream


def test_names_that_are_no_alias_go_to_the_default_or_are_refused(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    configuration = one_alias(upstream.script("first", Script()))
    with gateway_service(tmp_path, configuration) as service:
        address = service.model()
        refused = ask(address, "hi", model="gpt-x")
        assert refused.status == 404 and refused.error["code"] == "model_not_found"
        assert refused.error["message"] == "the gateway knows no model 'gpt-x'; there are fast"
        assert send(address, b"{}").status == 404 and upstream.count == 0
        listed = json.loads(send(address, b"", path="/models", method="GET").body)
        assert [model["id"] for model in listed["data"]] == ["fast"]
        assert json.loads(send(address, b"", path="/models/fast", method="GET").body)["id"] == "fast"
        assert send(address, b"", path="/models/gpt-x", method="GET").status == 404
        service.configure({**configuration, "default": {"upstream": "first"}})
        service.logged("in force now")
        assert ask(address, "hi", model="gpt-x").status == 200
        assert [call.body and call.body["model"] for call in upstream.calls_of("first")] == ["gpt-x"]
        listed = json.loads(send(address, b"", path="/models", method="GET").body)
        assert listed["data"][0]["id"] == "fast" and len(listed["data"]) > 1


def test_a_tenant_asks_for_the_models_that_it_may_use_and_for_no_other(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    configuration = {**one_alias(upstream.script("first", Script())), "default": {"upstream": "first"}}
    configuration["models"]["large"] = configuration["models"]["fast"]
    tenants: dict[str, Any] = {"red": {"models": ["fast"]}, "grey": {"models": []}}
    with gateway_service(tmp_path, {**configuration, "tenants": tenants}) as service:
        address = service.model(tenant="red")
        assert ask(address, "hi", model="fast").status == 200
        for path in ("/chat/completions", "/responses", "/embeddings"):
            refused = ask(address, "hi", model="large", path=path)
            assert refused.status == 403 and refused.error["code"] == "model_not_allowed"
        told = "the tenant 'red' may not use the model 'large'; it may use fast: ask the operator"
        assert refused.error["message"] == told
        assert ask(address, "hi", model="gpt-x").status == 403, "the default takes any name"
        assert send(address, b"{}").status == 403
        assert len(upstream.calls) == 1
        listed = json.loads(send(address, b"", path="/models", method="GET").body)
        assert [model["id"] for model in listed["data"]] == ["fast"]
        assert send(address, b"", path="/models/fast", method="GET").status == 200
        assert send(address, b"", path="/models/large", method="GET").status == 403
        grey = service.model(tenant="grey", execution="g")
        assert ask(grey, "hi", model="fast").error["message"].endswith("it may use none: ask the operator")
        assert json.loads(send(grey, b"", path="/models", method="GET").body)["data"] == []
        assert ask(service.model(tenant="blue", execution="b"), "hi", model="gpt-x").status == 200
        service.configure({**configuration, "tenants": {"red": {"models": ["large"]}}})
        service.logged("in force now")
        assert ask(address, "hi", model="fast").status == 403, "what was answered before, too"
        assert ask(address, "hi", model="large").status == 200


def test_no_more_executions_of_a_tenant_call_at_once_than_may_and_none_fails(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    configuration = one_alias(upstream.script("first", Script(latency=0.2)))

    def peak(service: GatewayService, tenant: str, name: str) -> int:
        addresses = [service.model(tenant=tenant, execution=f"{name}{number}") for number in range(12)]
        before = upstream.count
        with ThreadPoolExecutor(24) as threads:
            calls = [threads.submit(ask, one, "hi", model="fast") for one in addresses]
            peaks = set[int]()
            while not all(call.done() for call in calls):
                peaks.add(upstream.active)
                time.sleep(0.005)
        assert [call.result().status for call in calls] == [200] * 12 and upstream.count == before + 12
        return max(peaks)

    with gateway_service(tmp_path, {**configuration, "tenants": {"red": {"executions": 3}}}) as service:
        assert peak(service, "red", "a") == 3
        assert peak(service, "blue", "a") > 3
        service.configure({**configuration, "tenants": {"red": {"executions": 0}}})
        service.logged("in force now")
        refused = ask(service.model(tenant="red", execution="b"), "hi", model="fast")
        assert refused.status == 403 and refused.error["code"] == "executions_not_allowed"
        again = ask(service.model(tenant="red", execution="a0"), "hi", model="fast")
        assert again.status == 200 and again.replayed, "what was answered is told without a place"


@pytest.mark.parametrize("script", [BROKEN, BUSY, NO_KEY], ids=["broken", "rate limited", "key refused"])
def test_where_an_upstream_cannot_serve_the_fallback_does_at_once(
    tmp_path: Path, upstream: ModelEndpoint, script: Script
) -> None:
    configuration = one_alias(upstream.script("first", script), upstream.script("second", Script()))
    with gateway_service(tmp_path, configuration) as service:
        address = service.model(seconds=15)  # less than the upstream asks to wait
        assert ask(address, "hi", model="fast").status == 200
        assert [call.body and call.body["model"] for call in upstream.calls] == ["small", "large"]


def test_a_request_that_is_wrong_is_wrong_everywhere(tmp_path: Path, upstream: ModelEndpoint) -> None:
    configuration = one_alias(upstream.script("first", WRONG), upstream.script("second", Script()))
    with gateway_service(tmp_path, configuration) as service:
        assert ask(service.model(), "hi", model="fast").status == 400
        assert upstream.count == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_is_down_is_left_alone_after_some_faults(
    tmp_path: Path, upstream: ModelEndpoint, *, stream: bool
) -> None:
    first = upstream.script("first", BROKEN)
    breaker = {"failures": 3, "open_seconds": 600}
    configuration = one_alias(first, upstream.script("second", Script()), breaker=breaker)
    with gateway_service(tmp_path, configuration) as service:
        for number in range(10):
            assert ask(service.model(), f"{number}", model="fast", stream=stream).status == 200
        seen = Counter(call.script for call in upstream.calls)
        assert seen == {"first": 3, "second": 10}
        states = service.administer("upstreams")
        assert states["first"]["breaker"] == "open" and states["second"]["breaker"] == "closed"


def test_an_upstream_that_is_well_again_is_used_again(tmp_path: Path, upstream: ModelEndpoint) -> None:
    first = upstream.script("first", BROKEN)
    breaker = {"failures": 1, "open_seconds": 0.5}
    configuration = one_alias(first, upstream.script("second", Script()), breaker=breaker)
    with gateway_service(tmp_path, configuration) as service:
        ask(service.model(), "one", model="fast")
        upstream.script("first", Script())
        wait_until(lambda: ask(service.model(), "more", model="fast").status == 200, "it is served")
        time.sleep(0.6)
        ask(service.model(), "trial", model="fast")
        upstream.reset()
        assert ask(service.model(), "again", model="fast").status == 200
        assert [call.script for call in upstream.calls] == ["first"]


def test_where_every_upstream_is_down_the_call_says_so(tmp_path: Path) -> None:
    with (
        nobody() as first,
        nobody() as second,
        gateway_service(tmp_path, one_alias(first, second)) as service,
    ):
        answer = ask(service.model(seconds=4), "hi", model="fast")
        assert answer.status in (502, 503)
        assert "the model endpoint 'first' cannot be reached: Connection refused" in answer.error["message"]


def test_an_execution_keeps_its_target_and_executions_are_shared_by_weight(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    configuration = {
        "upstreams": {
            "first": {"base_url": upstream.script("first", Script())},
            "second": {"base_url": upstream.script("second", Script())},
        },
        "models": {
            "fast": {
                "targets": [
                    {"upstream": "first", "model": "small", "weight": 3},
                    {"upstream": "second", "model": "mini", "weight": 1},
                ]
            }
        },
    }
    with gateway_service(tmp_path, configuration) as service:
        gateway = service.gateway()

        def work(number: int) -> None:
            address = gateway.model(execution=f"e{number}", agent="a", inputs=None, seconds=60)
            for text in ("one", "two"):
                assert ask(address, text, model="fast").status == 200

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(60)))
    places: dict[str, set[str]] = {}
    for call in upstream.calls:
        places.setdefault(str(call.execution), set()).add(call.script)
    assert len(places) == 60 and all(len(scripts) == 1 for scripts in places.values())
    shares = Counter(next(iter(scripts)) for scripts in places.values())
    assert 30 <= shares["first"] <= 57, "three of four of 60; five standard deviations are 17"


def test_a_retry_is_served_from_the_journal_whatever_the_alias_means_by_now(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    first, second = (
        upstream.script("first", Script(text="one")),
        upstream.script("second", Script(text="two")),
    )
    with gateway_service(tmp_path, one_alias(first)) as service:
        told = ask(service.model(), "hi", model="fast")
        service.configure(one_alias(second))
        service.logged("in force now")
        again = ask(service.model(), "hi", model="fast")
        assert again.replayed and again.body == told.body
        fresh = ask(service.model(execution="other"), "hi", model="fast")
        assert b"two" in fresh.body and b"one" in told.body


def test_calls_at_once_are_bounded_and_a_full_queue_is_refused_with_a_time(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    slow = upstream.script("slow", Script(latency=0.2))
    configuration = one_alias(slow, max_concurrent=3, max_waiting=5)
    with gateway_service(tmp_path, configuration) as service:
        gateway = service.gateway()

        def work(number: int) -> tuple[int, str | None]:
            address = gateway.model(execution=f"e{number}", agent="a", inputs=None, seconds=60)
            answer = ask(address, f"{number}", model="fast")
            return answer.status, answer.headers["retry-after"]

        with ThreadPoolExecutor(20) as threads:
            answers = Counter(threads.map(work, range(20)))
        assert answers[200, None] >= 8 and answers[429, "5"] == 20 - answers[200, None]
        assert upstream.peak_active == 3


def test_a_tenant_with_a_long_queue_does_not_delay_another(tmp_path: Path, upstream: ModelEndpoint) -> None:
    slow = upstream.script("slow", Script(latency=0.1))
    with gateway_service(tmp_path, one_alias(slow, max_concurrent=1)) as service:
        loud, quiet = service.gateway("loud"), service.gateway("quiet")

        def shout(number: int) -> int:
            address = loud.model(execution=f"e{number}", agent="a", inputs=None, seconds=60)
            return ask(address, f"loud {number}", model="fast").status

        with ThreadPoolExecutor(30) as threads:
            asked = [threads.submit(shout, number) for number in range(30)]
            wait_until(lambda: upstream.count >= 3, "the queue is long")
            before = upstream.count
            for number in range(3):
                address = quiet.model(execution=f"q{number}", agent="a", inputs=None, seconds=60)
                assert ask(address, f"quiet {number}", model="fast").status == 200
            assert upstream.count - before <= 10, "it waited for one or two calls each time, not for all"
            assert {call.result() for call in asked} == {200}


def test_a_call_waits_for_its_turn_no_longer_than_its_execution_has(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    slow = upstream.script("slow", Script(latency=5.0))
    with gateway_service(tmp_path, one_alias(slow, max_concurrent=1)) as service:
        first = threading.Thread(target=ask, args=(service.model(), "hi"), kwargs={"model": "fast"})
        first.start()
        wait_until(lambda: upstream.count == 1, "the first call is on its way")
        late = ask(service.model(execution="late", seconds=1), "ho", model="fast")
        assert late.status == 429 and late.error["code"] == "waited_in_vain"
        first.join()


def test_a_rate_is_kept(tmp_path: Path, upstream: ModelEndpoint) -> None:
    configuration = one_alias(upstream.script("first", Script()), requests_per_minute=120)
    with gateway_service(tmp_path, configuration) as service:
        gateway = service.gateway()

        def work(number: int) -> int:
            address = gateway.model(execution=f"e{number}", agent="a", inputs=None, seconds=60)
            return ask(address, f"{number}", model="fast").status

        began = time.monotonic()
        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(work, range(6))) == {200}
        assert time.monotonic() - began >= 1.9, "two at once and then one each half second"
