"""Code servers and web servers behind TLS: the real `dagster api grpc`, asked by Dagster's own clients."""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.certificates import Authority, Issued
from tests.integration import tls_client
from tests.integration.command_lines import BIN, refused
from tests.integration.guest_servers import free_port
from tests.integration.processes import alive, wait_until

ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
DEFINITIONS = """
import dagster as dg

@dg.asset(key=["acme", "one"])
def one() -> int:
    return 1

make = dg.define_asset_job("acme__make", selection=[one])
defs = dg.Definitions(assets=[one], jobs=[make])
"""
LAUNCH = """
mutation ($given: ExecutionParams!) {
  launchRun(executionParams: $given) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
SECONDS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, and an instance that runs at once."""
    made = tmp_path_factory.mktemp("project")
    (made / "acme_definitions.py").write_text(DEFINITIONS)
    (made / "home").mkdir()
    instance = {
        "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"},
        "telemetry": {"enabled": False},
    }
    (made / "home" / "dagster.yaml").write_text(yaml.safe_dump(instance))
    return made


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder / "authority")


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("localhost")


def environment(folder: Path, **more: str) -> dict[str, str]:
    own = {
        "DAGSTER_HOME": str(folder / "home"),
        "PYTHONPATH": str(folder),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    return {**os.environ, **own, **more}


def front(issued: Issued, to: str, port: int, *command: str, protocol: str = "h2") -> list[str]:
    return [
        sys.executable,
        "-m",
        "orchestrator_cluster.tls_front",
        f"--certificate={issued.certificate}",
        f"--key={issued.key}",
        f"--protocol={protocol}",
        "--host=127.0.0.1",
        f"--port={port}",
        f"--to={to}",
        "--",
        *command,
    ]


@contextlib.contextmanager
def running(command: list[str], folder: Path, **more: str) -> Generator["subprocess.Popen[str]"]:
    """Run a command for a block, and have it end by SIGTERM."""
    log = folder / f"{time.monotonic_ns()}.log"
    with (
        log.open("w") as said,
        subprocess.Popen(
            command, env=environment(folder, **more), cwd=folder, stdout=said, stderr=said, text=True
        ) as process,
    ):
        try:
            yield process
        except BaseException:
            print(log.read_text()[-3_000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def served(folder: Path, issued: Issued) -> Generator[int]:
    """The port of a code server behind TLS."""
    port, socket_folder = free_port(), Path(tempfile.mkdtemp(prefix="tls-", dir="/tmp"))
    own = socket_folder / "code.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(own))  # as one that was killed leaves it
    words = [f"--socket={own}", "--module-name=acme_definitions", "--location-name=acme"]
    with running(front(issued, f"unix:{own}", port, "dagster", "api", "grpc", *words), folder) as process:
        until = time.monotonic() + SECONDS
        while not listens(port):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        yield port
    shutil.rmtree(socket_folder)


def asked(folder: Path, host: str, port: int, authority: Authority, how: str = "tls") -> dict[str, Any]:
    """Return what a process of its own is told by a code server."""
    done = subprocess.run(
        [sys.executable, tls_client.__file__, host, str(port), "acme", how],
        env={
            **environment(folder, **{ROOTS: str(authority.file)}),
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_daggers_clients_load_a_location_that_is_looked_at(
    folder: Path, served: int, authority: Authority
) -> None:
    assert asked(folder, "localhost", served, authority) == {
        "ping": "hello",
        "asynchronously": "acme__make",
        "steps": ["acme__one"],
        "stream": ["a", "a", "a"],
    }


def test_who_is_another_or_speaks_no_tls_gets_nothing(
    folder: Path, served: int, authority: Authority, tmp_path: Path
) -> None:
    another = asked(folder, "localhost", served, Authority(tmp_path / "another"))
    assert "certificate verify failed" in another["unreachable"].lower().replace("_", " ")
    name = asked(folder, "127.0.0.1", served, authority)
    assert "hostname verification check failed" in name["unreachable"].lower()
    assert "unreachable" in asked(folder, "localhost", served, authority, "plain")
    assert asked(folder, "localhost", served, authority)["ping"] == "hello"


def https(authority: Authority, port: int, path: str, content: Mapping[str, Any] | None = None) -> str:
    """Return what a web server answers over TLS, verified by name."""
    data = None if content is None else json.dumps(content).encode()
    question = urllib.request.Request(
        f"https://localhost:{port}{path}", data, {"content-type": "application/json"}
    )
    context = ssl.create_default_context(cafile=authority.file)
    try:
        with urllib.request.urlopen(question, timeout=60, context=context) as answer:
            said: str = answer.read().decode()
            return said
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error}: {error.read().decode()}") from error


def workspace(folder: Path, port: int) -> Path:
    file = folder / "workspace.yaml"
    server = {"host": "localhost", "port": port, "location_name": "acme", "ssl": True}
    file.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    return file


def test_a_run_is_launched_through_daggers_web_server_behind_tls(
    folder: Path, served: int, authority: Authority, issued: Issued
) -> None:
    port, behind = free_port(), free_port()
    command = front(
        issued,
        str(behind),
        port,
        "dagster-webserver",
        "--host=127.0.0.1",
        f"--port={behind}",
        f"--workspace={workspace(folder, served)}",
        protocol="http/1.1",
    )

    def graphql(query: str, **variables: Any) -> Any:
        told = json.loads(https(authority, port, "/graphql", {"query": query, "variables": variables}))
        assert "errors" not in told, told
        return told["data"]

    with running(command, folder, **{ROOTS: str(authority.file)}) as process:
        until = time.monotonic() + SECONDS
        while not listens(port):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(f"http://localhost:{port}/server_info", timeout=10)
        selector = {
            "repositoryLocationName": "acme",
            "repositoryName": "__repository__",
            "pipelineName": "acme__make",
        }
        launched = graphql(LAUNCH, given={"selector": selector})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        status = ""
        while status not in ("SUCCESS", "FAILURE"):
            assert time.monotonic() < until, status
            status = graphql(RUN, id=launched["run"]["runId"])["runOrError"]["status"]
            time.sleep(0.2)
        assert status == "SUCCESS"


def test_the_web_server_of_tenants_speaks_tls_itself(
    folder: Path, served: int, authority: Authority, issued: Issued
) -> None:
    port = free_port()
    sign_in = {
        "url": f"https://localhost:{port}",
        "secret": {"env": "SIGN_IN_SECRET"},
        "provider": {"issuer": "https://sso.example", "client_id": "agents"},
    }
    (folder / "sign-in.yaml").write_text(yaml.safe_dump(sign_in))
    command = [
        str(BIN / "orchestrator"),
        "web",
        f"--sign-in={folder / 'sign-in.yaml'}",
        f"--workspace={workspace(folder, served)}",
        f"--port={port}",
        f"--tls-certificate={issued.certificate}",
        f"--tls-key={issued.key}",
    ]
    secret = os.urandom(32).hex()
    with running(command, folder, SIGN_IN_SECRET=secret, **{ROOTS: str(authority.file)}) as process:
        until = time.monotonic() + SECONDS
        while not listens(port):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        assert https(authority, port, "/sign-in/ready") == "ready"
        with pytest.raises(AssertionError, match="401"):
            https(authority, port, "/graphql", {"query": "{ version }"})
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(f"http://localhost:{port}/sign-in/ready", timeout=10)
    said = refused(*command[:-1], folder=folder, **environment(folder, SIGN_IN_SECRET=secret))
    assert "a certificate needs its key" in said


def test_the_status_of_the_child_is_its_own(folder: Path, issued: Issued) -> None:
    def ended(*child: str) -> int:
        command = front(issued, "unix:/tmp/nobody-listens-here", free_port(), *child)
        return subprocess.run(command, timeout=SECONDS, check=False, env=environment(folder)).returncode

    assert ended(sys.executable, "-c", "raise SystemExit(7)") == 7
    assert ended(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)") == 128 + 9


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_signals_go_to_the_child_which_ends_first(
    folder: Path, place: Path, issued: Issued, number: signal.Signals, status: int
) -> None:
    told = place.parent / "told"
    child = (
        "import os, signal, socket, sys, time\n"
        "def end(number, frame):\n"
        f"    open({str(told)!r}, 'a').write(f'ended by {{number}}'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGINT, end)\n"
        f"s = socket.socket(socket.AF_UNIX); s.bind({str(place.parent / 'own')!r}); s.listen()\n"
        f"open({str(told)!r}, 'w').write(f'{{os.getpid()}} ')\n"
        "time.sleep(300)\n"
    )
    port = free_port()
    command = front(issued, f"unix:{place.parent / 'own'}", port, sys.executable, "-c", child)
    with running(command, folder) as process:
        wait_until(lambda: listens(port), "the port opens")
        pid = int(told.read_text().split()[0])
        process.send_signal(number)
        assert process.wait(30) == status
        assert told.read_text() == f"{pid} ended by {int(number)}" and not alive(pid)


def test_the_port_stays_closed_until_the_child_serves_and_a_taken_one_ends_it(
    folder: Path, place: Path, issued: Issued
) -> None:
    own, go = place.parent / "own", place.parent / "go"
    child = (
        "import pathlib, socket, time\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)\n"
        f"s = socket.socket(socket.AF_UNIX); s.bind({str(own)!r}); s.listen(); time.sleep(300)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = front(issued, f"unix:{own}", port, sys.executable, "-c", child)
        with running(command, folder) as process:
            time.sleep(1)
            assert process.poll() is None, "it has not tried to listen yet"
            go.touch()
            assert process.wait(30) == 1
    (said,) = [log.read_text() for log in folder.glob("*.log") if "nothing can listen" in log.read_text()]
    assert said == f"nothing can listen at 127.0.0.1:{port}: Address already in use\n"


def test_what_cannot_begin_says_why_in_a_line(folder: Path, issued: Issued) -> None:
    words = ["python", *front(issued, "unix:/tmp/own", free_port())[1:]]
    done = subprocess.run(
        [sys.executable, *words[1:], "no-such-command"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 127 and done.stderr.startswith("there is no command 'no-such-command'")
    other = Issued(certificate=issued.certificate, key=issued.certificate)
    broken = ["python", *front(other, "unix:/tmp/own", free_port(), "true")[1:]]
    assert "are no certificate with its key" in refused(*broken, folder=folder)
    wrong = front(issued, "own", free_port(), "true")
    done = subprocess.run(wrong, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "'own' is neither unix:/PATH nor a port of loopback" in done.stderr
