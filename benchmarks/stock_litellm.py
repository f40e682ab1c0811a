"""LiteLLM's proxy as its documentation runs it, with what the gateway does: a caller's key, retries, kept answers."""

import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.endpoints import end_server
from benchmarks.sides import SideFailed
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.locks import Lock

LOCK: Final = Path(__file__).with_name("litellm.txt")
_START_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class StockLiteLLM:
    """A running proxy of one worker; `pid` is its process, `key` what callers must show."""

    base_url: str
    key: str
    pid: int


@contextmanager
def stock_litellm(upstream: str, tell: Callable[[str], None]) -> Generator[StockLiteLLM]:
    """Start the proxy in front of an endpoint, installed first when it is missing.

    Raises:
        SideFailed: It does not start.
        AgentError: It cannot be installed.
    """
    environment = EnvironmentStore(home_folder()).install(
        Lock(python=LOCK.read_text()), name="litellm", progress=tell
    )
    key = f"sk-{secrets.token_hex(16)}"
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        settings = folder / "settings.yaml"  # JSON is YAML
        settings.write_text(json.dumps(_settings(upstream, key, folder)))
        log = folder / "said.log"
        words = [str(environment.python.with_name("litellm")), "--config", str(settings)]
        words += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        variables = {"PATH": os.environ["PATH"], "HOME": place, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        with log.open("w") as said:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=variables, cwd=folder
            )
        try:
            _wait(f"http://127.0.0.1:{port}/health/liveliness", process, log)
            yield StockLiteLLM(base_url=f"http://127.0.0.1:{port}/v1", key=key, pid=process.pid)
        finally:
            end_server(process)


def _settings(upstream: str, key: str, folder: Path) -> dict[str, object]:
    model = {"model": "openai/scripted", "api_base": upstream, "api_key": "none"}
    cache = {"type": "disk", "disk_cache_dir": str(folder / "answers")}
    return {
        "model_list": [{"model_name": "scripted", "litellm_params": model}],
        "general_settings": {"master_key": key},
        "litellm_settings": {"cache": True, "cache_params": cache, "num_retries": 3, "telemetry": False},
    }


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise SideFailed(f"LiteLLM's proxy did not start; it said last:\n{said}")
