"""`orchestrator gateway` as an operator sees it: starting, changing, watching and ending it."""

import json
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from tests.integration.command_lines import refused, succeeds
from tests.integration.gateway_calls import Answered, ask
from tests.integration.gateway_services import gateway_service
from tests.integration.processes import wait_until


@pytest.fixture
def upstream(endpoint: ModelEndpoint) -> ModelEndpoint:
    endpoint.reset()
    return endpoint


def to(base_url: str, **more: Any) -> dict[str, Any]:
    """Return a configuration in which every model goes to one upstream."""
    return {"upstreams": {"near": {"base_url": base_url}}, "default": {"upstream": "near"}, **more}


def test_a_changed_file_is_in_force_without_a_restart_and_a_broken_one_is_not(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    one, two = upstream.script("one", Script(text="first")), upstream.script("two", Script(text="second"))
    with gateway_service(tmp_path, to(one)) as service:
        assert b"first" in ask(service.model(), "1").body
        service.write("upstreams: [")
        service.logged("line 1: ")
        service.logged("the configuration before it stays in force")
        assert b"first" in ask(service.model(), "2").body
        service.configure(to(one, models={"fast": {"targets": [{"upstream": "far", "model": "m"}]}}))
        service.logged("no upstream is named 'far'; there are near")
        assert b"first" in ask(service.model(), "3").body
        service.configure(to(two))
        service.process.send_signal(signal.SIGHUP)
        service.logged("in force now")
        assert b"second" in ask(service.model(), "4").body


def test_a_key_that_is_replaced_in_its_file_is_used(tmp_path: Path, upstream: ModelEndpoint) -> None:
    old, new = secrets.token_hex(16), secrets.token_hex(16)
    (tmp_path / "key").write_text(old)
    configuration = to(upstream.base_url)
    configuration["upstreams"]["near"]["api_key"] = {"file": "key"}
    with gateway_service(tmp_path, configuration) as service:
        ask(service.model(), "1")
        (tmp_path / "key").write_text(new)
        service.logged("in force now")
        ask(service.model(), "2")
        assert [call.authorization for call in upstream.calls] == [f"Bearer {old}", f"Bearer {new}"]
        (tmp_path / "key").unlink()
        service.logged("upstreams.near.api_key: the file")
        assert ask(service.model(), "3").status == 200
        assert old not in service.log and new not in service.log


def test_another_secret_takes_a_restart_and_says_so(tmp_path: Path, upstream: ModelEndpoint) -> None:
    with gateway_service(tmp_path, to(upstream.base_url)) as service:
        address = service.model()
        service.secret_file.write_text(secrets.token_hex(32))
        service.logged("now of secret is used after a restart only")
        assert ask(address, "hi").status == 200


def test_told_to_end_it_answers_what_is_on_its_way_and_takes_nothing_new(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    slow = upstream.script("slow", Script(latency=2.0))
    answers: list[Answered] = []
    with gateway_service(tmp_path, to(slow)) as service:
        assert service.get("/ready").status == 200 and service.get("/health").status == 200
        address = service.model()
        asking = threading.Thread(target=lambda: answers.append(ask(address, "hi")))
        asking.start()
        wait_until(lambda: upstream.count == 1, "the call is on its way")
        service.process.send_signal(signal.SIGTERM)
        service.logged("ending: calls on their way have 10 s")
        with pytest.raises(ConnectionRefusedError):
            service.get("/ready")
        asking.join()
        assert service.process.wait(10) == 0
    assert [answer.status for answer in answers] == [200]
    with gateway_service(tmp_path, to(slow)) as service:
        assert ask(service.model(), "hi").replayed


def test_gateways_that_share_a_journal_are_one_to_a_retry(tmp_path: Path, upstream: ModelEndpoint) -> None:
    journal = {"sqlite": str(tmp_path / "shared.db")}
    secret = secrets.token_hex(32)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(secret)
    configuration = to(upstream.script("slow", Script(latency=1.0)))
    with (
        gateway_service(tmp_path / "one", configuration, journal=journal) as one,
        gateway_service(tmp_path / "two", configuration, journal=journal) as two,
    ):
        told = ask(one.model(), "hi")
        again = ask(two.model(), "hi")
        assert again.replayed and again.body == told.body
        first, second = one.model(execution="f"), two.model(execution="f")
        asking = threading.Thread(target=ask, args=(first, "ho"))
        asking.start()
        wait_until(lambda: upstream.count == 2, "the call is on its way")
        assert ask(second, "ho").replayed, "it waited for the call of the other gateway"
        asking.join()
        assert upstream.count == 2
        assert ask(second, "once more").status == 200


def lines_of(log: str) -> list[dict[str, Any]]:
    return [json.loads(line[line.index("{") :]) for line in log.splitlines() if "gateway.calls {" in line]


def test_each_call_has_a_line_without_what_was_said(tmp_path: Path, upstream: ModelEndpoint) -> None:
    faulty = Script(faults=(Fault(kind=FaultKind.STATUS, status=400),))
    models = {"bad": {"targets": [{"upstream": "bad", "model": "b"}]}}
    configuration = to(upstream.script("good", Script(text="the answer")), models=models)
    configuration["upstreams"]["bad"] = {"base_url": upstream.script("bad", faulty)}
    with gateway_service(tmp_path, configuration) as service:
        address = service.model(tenant="team", execution="e1")
        ask(address, "the question", model="m\n2026 forged")
        ask(service.model(tenant="team", execution="e1"), "the question", model="m\n2026 forged")
        ask(address, "the question", model="bad")
        wait_until(lambda: len(lines_of(service.log)) == 3, "each has a line")
        live, replayed, bad = lines_of(service.log)
        assert live["tenant"] == "team" and live["execution"] == "e1" and live["model"] == "m\n2026 forged"
        assert (live["status"], live["upstream"], live["path"]) == (200, "near", "/v1/chat/completions")
        assert replayed["replayed"] and "upstream" not in replayed and bad["status"] == 400
        assert "the question" not in service.log and "the answer" not in service.log
        assert str(address.api_key) not in service.log


def test_bodies_are_logged_where_the_file_says_so_and_without_keys(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    own, others = secrets.token_hex(16), f"sk-{secrets.token_hex(16)}"
    (tmp_path / "key").write_text(own)
    configuration = to(upstream.script("good", Script(text=f"the answer is {own}")), log_bodies=True)
    configuration["upstreams"]["near"]["api_key"] = {"file": "key"}
    with gateway_service(tmp_path, configuration) as service:
        for stream in (False, True):
            ask(service.model(), f"my key is {others} and {own}", stream=stream)
        wait_until(lambda: len(lines_of(service.log)) == 2, "each has a line")
        for line in lines_of(service.log):
            assert "my key is *** and ***" in line["request"] and line["answer"]
        assert "the answer is ***" in lines_of(service.log)[0]["answer"]
        assert own not in service.log and others not in service.log


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("upstreams: [", "gateway.yaml: line 1: "),
        ("{secret: {env: NOT_SET_HERE}, journal: {sqlite: j}, upstreams: {a: {base_url: 'http://a/v1'}}, "
         "default: {upstream: a}}", "gateway.yaml: secret: the variable 'NOT_SET_HERE' is empty or not set"),
        ("{secret: {file: short}, journal: {sqlite: j}, upstreams: {a: {base_url: 'http://a/v1'}}, "
         "default: {upstream: a}}", "gateway.yaml: secret: it must have 32 characters at least"),
        ("{secret: {file: long}, journal: {sqlite: /proc/none/j}, upstreams: {a: {base_url: 'http://a/v1'}}, "
         "default: {upstream: a}}", "the journal '/proc/none/j' is not available"),
    ],
    ids=["yaml", "no secret", "short secret", "no journal"],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line_and_no_traceback(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "gateway.yaml").write_text(text)
    (tmp_path / "short").write_text("short")
    (tmp_path / "long").write_text(secrets.token_hex(32))
    told = refused("orchestrator", "gateway", "--config", "gateway.yaml", "--port", "0", folder=tmp_path)
    assert words in told and len(told.strip().splitlines()) == 1


def test_a_file_can_be_checked_without_serving(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(secrets.token_hex(32))
    text = json.dumps({"secret": {"file": "secret"}, "journal": {"sqlite": "j"}, **to("http://a/v1")})
    (tmp_path / "gateway.yaml").write_text(text)
    told = succeeds("orchestrator", "gateway", "--config", "gateway.yaml", "--check", folder=tmp_path)
    assert told == "gateway.yaml: can be used\n"


def test_it_runs_without_the_command_line_as_in_its_image(tmp_path: Path, upstream: ModelEndpoint) -> None:
    configuration = {
        "secret": {"file": "secret"},
        "journal": {"sqlite": "journal.db"},
        **to(upstream.base_url),
    }
    (tmp_path / "secret").write_text(secrets.token_hex(32))
    words = [sys.executable, "-m", "orchestrator_gateway.service", "--port", "0", "--config"]
    (tmp_path / "gateway.yaml").write_text(json.dumps(configuration))
    with subprocess.Popen([*words, tmp_path / "gateway.yaml"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and "serving at http://127.0.0.1:" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    (tmp_path / "gateway.yaml").write_text("upstreams: [")
    done = subprocess.run(
        [*words, tmp_path / "gateway.yaml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and "gateway.yaml: line 1" in done.stderr and "Traceback" not in done.stderr
