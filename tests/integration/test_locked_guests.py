"""Guests that share a network and are locked to the gateway's port: each way out, tried from inside."""

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from orchestrator_resources.execution_batches import BatchSettings, Item
from orchestrator_resources.external_gateway import GatewayAddress
from orchestrator_resources.guest_pool import Agent
from orchestrator_resources.runtime_settings import RuntimeSettings
from orchestrator_resources.runtimes import framework, open_runtimes
from orchestrator_runtimes import bundles, guardian
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.launch import GuestProcess
from orchestrator_runtimes.messages import AgentSource, Limits, ModelAddress, PortableAgent, ToolSource
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration import locked_attempts
from tests.integration.gateway_services import GatewayService, gateway_service
from tests.integration.guest_servers import Served, free_port, guest_server, image, words

SECONDS: Final = 60.0
REACHED: Final = {
    "gateway",
    "gateway's port of another host",
    "listening on an own port",
    "a named socket",
    "inside",
}
"""Other hosts at the same port are a network policy's to close."""

ENDS: Final = {
    "another protocol over TCP": "ENOPROTOOPT",
    "names": "no name",
    "netlink": "EAFNOSUPPORT",
    "packets": "EAFNOSUPPORT",
    "the kernel's ciphers": "EAFNOSUPPORT",
    "virtual machines": "EAFNOSUPPORT",
    "other port by MPTCP": "EPROTONOSUPPORT",
    "other port by fast open": errno.errorcode[errno.EOPNOTSUPP],
    "other port by fast open in a message": errno.errorcode[errno.EOPNOTSUPP],
    "an abstract socket outside": "EPERM",
    "a signal outside": "EPERM",
    "tracing": "EPERM",
    "io_uring": "ENOSYS",
    "a descriptor outside": "EPERM",
    "a user namespace": "EPERM",
    "a child in a user namespace": "EPERM",
    "the network of another": "EPERM",
    "calls of x32": "ENOSYS",
    "a socket by x32": "ENOSYS",
}
"""How attempts end; all others with EACCES."""

TOOL: Final = """
import errno, json, socket

def attempt(kind, port):
    try:
        with socket.socket(socket.AF_INET, kind) as tried:
            tried.settimeout(5)
            tried.connect(("127.0.0.1", port))
        return "reached"
    except OSError as error:
        return errno.errorcode.get(error.errno, repr(error))

def look_around(city: str) -> str:
    "Try to reach what is not the gateway."
    found = {"gateway": attempt(socket.SOCK_STREAM, GATEWAY), "model": attempt(socket.SOCK_STREAM, MODEL)}
    found["datagrams"] = attempt(socket.SOCK_DGRAM, 53)
    open(FILE, "w").write(json.dumps(found))
    return "sunny"
"""


@pytest.fixture
def short(place: Path) -> Path:
    """A folder with a short path."""
    return place.parent


@contextmanager
def neighbours(folder: Path) -> Generator[dict[str, Any]]:
    """What a guest may try to reach: listeners of this process, and a process beside it."""
    with ExitStack() as stack:
        # two hosts at the gateway's port, and one at another
        gateway = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = gateway.getsockname()[1]
        stack.enter_context(socket.create_server(("127.0.0.2", port)))
        other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        named, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        named.bind(str(folder / "named"))
        abstract.bind(f"\0orchestrator-{os.getpid()}")
        for listener in (named, abstract):
            listener.listen()
        process = stack.enter_context(subprocess.Popen(["sleep", "300"]))
        stack.callback(process.kill)
        yield {
            "gateway": port,
            "other": other.getsockname()[1],
            "own": free_port(),
            "named": str(folder / "named"),
            "abstract": f"orchestrator-{os.getpid()}",
            "process": process.pid,
        }


def ran(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command whose standard input stays open: a guardian ends with it."""
    reads, writes = os.pipe()
    try:
        return subprocess.run(
            command, stdin=reads, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    finally:
        os.close(reads)
        os.close(writes)


def attempts(known: Mapping[str, Any], *options: str) -> dict[str, str]:
    """Return how each attempt ended in a guest below a guardian with these options."""
    above = [sys.executable, "-I", "-S", guardian.__file__, "--grace", "1", *options, "--"]
    done = ran(*above, sys.executable, locked_attempts.__file__, json.dumps(known))
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_a_locked_guest_reaches_the_gateways_port_and_each_other_way_is_closed(short: Path) -> None:
    with neighbours(short) as known:
        locked = ("--gateway-port", str(known["gateway"]), "--own-ports", str(known["own"]))
        found = attempts(known, *locked)
        assert {name for name, end in found.items() if end == "done"} == REACHED
        closed = {name: end for name, end in found.items() if name not in REACHED}
        assert closed == {name: ENDS.get(name, "EACCES") for name in closed}


def test_without_a_lock_the_same_attempts_succeed(short: Path) -> None:
    """Or the test above would show nothing."""
    with neighbours(short) as known:
        found = attempts(known)
        for name in (
            *REACHED,
            "other port",
            "other port from a child",
            "other port from a thread",
            "UDP",
            "netlink",
            "listening",
            "an abstract socket outside",
            "a signal outside",
        ):
            assert found[name] == "done", name


def run(name: str, folder: Path, gateway: GatewayService, guests: Path, **settings: Any) -> str:
    """Run one execution of a portable agent whose tool looks around, and return its output."""
    code = folder / "code"
    code.mkdir()
    port = urlsplit(gateway.address).port
    model = urlsplit(str(json.loads(gateway.file.read_text())["upstreams"]["near"]["base_url"])).port
    names = f"FILE, GATEWAY, MODEL = {str(folder / 'found')!r}, {port}, {model}\n"
    (code / "tools.py").write_text(names + TOOL)
    digest, archive = bundles.pack(code)
    portable = PortableAgent(
        name="a", instructions="Look around.", model="fast", tools=(ToolSource(function="tools:look_around"),)
    )
    agent = Agent(source=AgentSource(portable=portable), bundle=Bundle(digest=digest, archive=archive))
    # the guests are told a number: they cannot resolve this name
    url = f"http://localhost:{port}"
    address = GatewayAddress(url=url, secret=gateway.secret_file.read_text())
    places = RuntimeSettings(
        home=folder / "home",
        state=folder / "state",
        network="gateway",
        guests=guests,
        external_gateway=address,
        **settings,
    )
    batch = BatchSettings(model=ModelAddress(base_url=f"{url}/v1"), limits=Limits(seconds=90))
    item = Item(key="a", execution="e", inputs="Where?")
    with open_runtimes(places) as runtimes:
        rows = runtimes.run(
            framework(name), agent, [item], batch, on_event=lambda _i, _e: None, on_row=lambda _r: None
        )
    if rows[0].result is None:
        assert rows[0].error is not None
        raise rows[0].error
    return str(rows[0].result.output)


def configuration(endpoint: ModelEndpoint) -> dict[str, Any]:
    return {
        "upstreams": {"near": {"base_url": endpoint.base_url}},
        "models": {"fast": {"targets": [{"upstream": "near", "model": "small"}]}},
    }


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", sorted(set(installed_frameworks()) - {"fake"}))
def test_a_locked_guest_of_each_framework_runs_by_the_gateway_and_reaches_nobody_else(
    name: str, short: Path, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    python, path = image(short, installed_frameworks()[name])
    with gateway_service(tmp_path / "gateway", configuration(endpoint)) as gateway:
        port = str(urlsplit(gateway.address).port)
        with guest_server(
            short, name, "--most", "2", "--gateway-port", port, python=python, path=path
        ) as served:
            assert "sunny" in run(name, tmp_path, gateway, served.guests_folder)
    found = json.loads((tmp_path / "found").read_text())
    assert found == {"gateway": "reached", "model": "EACCES", "datagrams": "EACCES"}


def filters(process: int) -> tuple[str, int]:
    """Return whether a process can have no new privileges, and how many filters its system calls pass."""
    fields = dict(line.split(":\t") for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return fields["NoNewPrivs"], int(fields["Seccomp_filters"])


def test_the_server_is_locked_as_its_guests_are(short: Path) -> None:
    """A guest may ask its server for another one with any variables, such as LD_PRELOAD for its guardian."""
    before = filters(os.getpid())[1]

    async def scenario(served: Served) -> None:
        guest = await GuestProcess.start(served.command(PROFILE))
        ((above, below),) = served.guests().items()
        assert filters(served.process.pid) == filters(above) == ("1", before + 1)
        assert filters(below) == ("1", before + 2)
        await guest.stop()

    with guest_server(short, "fake", "--gateway-port", "8900") as served:
        asyncio.run(scenario(served))


def test_what_a_locked_server_and_a_run_do_not_agree_on_is_told(
    short: Path, tmp_path: Path, endpoint: ModelEndpoint, fake_framework: object
) -> None:
    def refused(folder: str, *options: str) -> str:
        (tmp_path / folder).mkdir()
        with guest_server(short / folder, "fake", *options) as served, pytest.raises(AgentError) as caught:
            run("fake", tmp_path / folder, gateway, served.guests_folder)
        assert caught.value.code is ErrorCode.INVALID_INPUT
        return caught.value.message

    with gateway_service(tmp_path / "gateway", configuration(endpoint)) as gateway:
        port = urlsplit(gateway.address).port
        assert refused("open").startswith(
            "network is 'gateway', but the guest server of 'fake' leaves its guests' open: start it with"
            f" --gateway-port {port}"
        )
        assert refused("other", "--gateway-port", "8900") == (
            f"the guest server of 'fake' locks its guests to the port 8900, and the gateway is at {port}: start the"
            f" server with --gateway-port {port}, or change gateway_url"
        )


WITHOUT_LANDLOCK: Final = """
import ctypes, errno, os, sys
from orchestrator_runtimes import network_locks as locks
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(locks.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
locks.filter_system_calls(libc, [
    (locks.LD_WORD, 0, 0, locks.NUMBER_AT),
    (locks.JUMP_EQUAL, 0, 1, locks.LANDLOCK_CREATE_RULESET),
    (locks.RETURN, 0, 0, locks.SECCOMP_RET_ERRNO | errno.ENOSYS),
    (locks.RETURN, 0, 0, locks.SECCOMP_RET_ALLOW),
])
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_where_nothing_can_be_locked_no_server_and_no_guest_begins(short: Path) -> None:
    def told(*command: str) -> "subprocess.CompletedProcess[str]":
        return ran(sys.executable, "-c", WITHOUT_LANDLOCK, *command)

    why = "the network of guests cannot be locked: landlock_create_ruleset fails with ENOSYS; it needs Linux 6.7"
    server = told(*words(sys.executable, "agno", short, "--gateway-port", "8900"))
    assert server.returncode == 2 and len(server.stderr.splitlines()) == 1
    assert server.stderr.startswith(f"the guest server of 'agno' cannot run: {why}")
    above = [sys.executable, "-I", "-S", guardian.__file__, "--grace", "1", "--gateway-port", "8900", "--"]
    guest = told(*above, sys.executable, "-c", "print('begun')")
    assert (guest.returncode, guest.stdout) == (guardian.NOT_LOCKED, "")
    assert guest.stderr.startswith(why)


def test_a_run_with_a_gateway_of_its_own_cannot_close_guests_elsewhere(tmp_path: Path) -> None:
    settings = RuntimeSettings(home=tmp_path, state=tmp_path / "state", guests=tmp_path, network="gateway")
    with (
        pytest.raises(AgentError, match="which are locked to one port: set gateway_url"),
        open_runtimes(settings),
    ):
        raise AssertionError("it opened")
