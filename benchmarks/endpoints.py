"""The scripted model endpoint in a process of its own, as a model server is."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_runtimes.conformance.scripts import Script

MARKER: Final = r"EXEC-\d+"

_END_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A running endpoint; `pid` is its process."""

    base_url: str
    pid: int

    @property
    def _origin(self) -> str:
        return self.base_url.removesuffix("/v1")

    def calls(self) -> list[Any]:
        """Return the requests since the last reset, in order of arrival, with their bodies."""
        with urllib.request.urlopen(f"{self._origin}/admin/calls?bodies=1") as answer:
            return list(json.load(answer)["calls"])

    def reset(self) -> None:
        """Forget the requests."""
        urllib.request.urlopen(urllib.request.Request(f"{self._origin}/admin/reset", method="POST")).close()


def end_server(process: "subprocess.Popen[Any]") -> None:
    """End a server, politely first."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def scripted_endpoint(
    *, latency: float, tool_rounds: int = 1, arguments: Mapping[str, object] | None = None
) -> Generator[Endpoint]:
    """Start an endpoint that calls a tool in `tool_rounds` answers, then repeats the prompt's marker.

    Args:
        latency: Seconds before each answer.
        tool_rounds: Answers that call a tool before the last one.
        arguments: Values for tool arguments with these names; None makes all of them from their schemas.
    """
    script = Script(latency=latency, tool_rounds=tool_rounds, arguments=arguments or {}, echo=MARKER)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "orchestrator_runtimes.conformance.model_endpoint", "--port", "0",
            "--script", script.to_json(),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        if not base_url:
            raise RuntimeError("the scripted model endpoint did not start")
        yield Endpoint(base_url=base_url, pid=process.pid)
    finally:
        end_server(process)
        assert process.stdout is not None
        process.stdout.close()
