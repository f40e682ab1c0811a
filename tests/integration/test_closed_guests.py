"""Guests whose network holds nothing but the way to the gateway: the model answers, and nobody else can be reached."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from orchestrator_resources.execution_batches import BatchSettings, Item
from orchestrator_resources.guest_pool import Agent
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtime_settings import RuntimeSettings
from orchestrator_resources.runtimes import framework, open_runtimes
from orchestrator_runtimes import bundles, guardian
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.closed_networks import NO_NAMESPACE, host_of
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import AgentSource, Limits, ModelAddress, PortableAgent, ToolSource
from orchestrator_runtimes.profiles import installed_frameworks

TOOL: Final = """
import ctypes, errno, json, socket

def attempt(kind, host, port):
    with socket.socket(socket.AF_INET, kind) as tried:
        tried.settimeout(5)
        try:
            tried.connect((host, port))
            if kind == socket.SOCK_STREAM:
                tried.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                if not tried.recv(1):
                    return "closed"
            return "reached"
        except OSError as error:
            return errno.errorcode.get(error.errno, repr(error))

def look_around(city: str) -> str:
    "Try to reach what is not the gateway."
    found = {
        "model": attempt(socket.SOCK_STREAM, "127.0.0.1", ENDPOINT),
        "no gateway": attempt(socket.SOCK_STREAM, NO_GATEWAY, 8000),
        "elsewhere": attempt(socket.SOCK_DGRAM, "192.0.2.1", 9),  # a datagram's connect sends nothing
    }
    try:
        with open("/proc/1/ns/net") as old:
            entered = ctypes.CDLL(None, use_errno=True).setns(old.fileno(), 0)
            found["old network"] = errno.errorcode[ctypes.get_errno()] if entered else "entered"
    except OSError as error:
        found["old network"] = errno.errorcode[error.errno]
    open(FILE, "w").write(json.dumps(found))
    return "sunny"
"""


def run(name: str, folder: Path, endpoint: ModelEndpoint, **settings: Any) -> str:
    """Run one execution of a portable agent whose tool looks around, and return its output."""
    code = folder / "code"
    code.mkdir()
    port = urlsplit(endpoint.base_url).port or 0
    names = f"FILE, ENDPOINT, NO_GATEWAY = {str(folder / 'found')!r}, {port}, {host_of(port)!r}\n"
    (code / "tools.py").write_text(names + TOOL)
    digest, archive = bundles.pack(code)
    tools = (ToolSource(function="tools:look_around"),)
    portable = PortableAgent(name="a", instructions="Look around.", model="m", tools=tools)
    agent = Agent(source=AgentSource(portable=portable), bundle=Bundle(digest=digest, archive=archive))
    model = ModelAddress(base_url=endpoint.base_url)
    places = RuntimeSettings(home=home_folder(), state=folder / "state", network="gateway", **settings)
    batch = BatchSettings(model=model, limits=Limits(seconds=90))
    item = Item(key="a", execution="e", inputs="Where?")
    with open_runtimes(places, model=model) as runtimes:
        rows = runtimes.run(
            framework(name), agent, [item], batch, on_event=lambda _i, _e: None, on_row=lambda _r: None
        )
    assert rows[0].result is not None, rows
    return str(rows[0].result.output)


@pytest.mark.parametrize("name", sorted(set(installed_frameworks()) - {"fake"}))
def test_a_closed_in_guest_reaches_the_gateway_and_nobody_else(
    name: str, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    endpoint.reset()
    assert "sunny" in run(name, tmp_path, endpoint)
    assert endpoint.count == 2
    found = json.loads((tmp_path / "found").read_text())
    assert found.pop("no gateway") in {"closed", "ECONNRESET"}
    assert found.pop("old network") in {"EACCES", "EPERM"}
    assert found == {"model": "ECONNREFUSED", "elsewhere": "ENETUNREACH"}


def test_without_a_gateway_there_is_nothing_to_be_closed_in_with(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    with pytest.raises(AgentError, match="there is no gateway") as caught:
        run("agno", tmp_path, endpoint, gateway=False)
    assert caught.value.code is ErrorCode.INVALID_INPUT


def test_where_no_namespace_can_be_made_the_guest_does_not_begin(tmp_path: Path) -> None:
    words = [sys.executable, "-I", "-S", guardian.__file__, "--grace", "1", "--gateways", str(tmp_path)]
    forbidden = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    told = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", forbidden, "sh", *words, "--", sys.executable, "-c", "print('begun')"],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (told.returncode, told.stdout) == (NO_NAMESPACE, ""), told.stderr
    assert "set network: open" in told.stderr
