"""The first process of the cluster; in a process of its own here, since it blocks signals and collects children."""

import http.server
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator_tools.cluster.processes import (
    ProcessId,
    identify,
    is_running,
    kill_and_wait,
    only_child,
)
from orchestrator_tools.cluster.supervision import is_ready
from orchestrator_tools.steps import CHECKOUT

PROGRAM = """
import os, sys
from pathlib import Path
from orchestrator_tools.cluster.commands import ClusterError
from orchestrator_tools.cluster.components import Component
from orchestrator_tools.cluster.supervision import StopRequested, Supervisor

logs = Path(sys.argv[1])
supervisor = Supervisor(logs, {"PATH": os.environ["PATH"]})
def component(name, code, ready):
    return Component(name=name, command=(sys.executable, "-c", code), ready=ready)
try:
    {steps}
except ClusterError as error:
    print(error)
except StopRequested:
    print("stopped")
"""
LISTEN = "import socket, signal; s = socket.socket(socket.AF_UNIX); s.bind(%r); s.listen(); signal.pause()"


def supervise(logs: Path, steps: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("{steps}", steps.replace("\n", "\n    ")), str(logs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(CHECKOUT / "tools"), "PATH": "/usr/bin:/bin"},
    )


def said(logs: Path, steps: str) -> str:
    return supervise(logs, steps).communicate(timeout=60)[0]


def test_a_component_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    text = said(tmp_path, 'supervisor.start(component("etcd", "raise SystemExit(\'no disk\')", "/nowhere"))')
    assert text == "etcd ended with status 1; its log ends with\n    no disk\n\n"


def test_a_component_that_is_killed_later_is_noticed(tmp_path: Path) -> None:
    address = str(tmp_path / "socket")
    code = "import os; os.kill(os.getpid(), 9)"
    steps = f"""\
supervisor.start(component('one', {LISTEN % address!r}, {address!r}))
supervisor.run('two', (sys.executable, '-c', 'print(1)'), 30)
print('ready')
supervisor.start(component('three', {code!r}, '/nowhere'))"""
    text = said(tmp_path, steps)
    assert text.startswith("ready\nthree was killed by SIGKILL; its log ends with\n")
    assert (tmp_path / "two.log").read_text() == "1\n"


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    text = said(tmp_path, "supervisor.run('apply', ('sh', '-c', 'echo refused; exit 4'), 30)")
    assert text.startswith("apply ended with status 4; its log ends with\n    refused\n")


def test_what_is_not_ready_in_time_is_named(tmp_path: Path) -> None:
    text = said(tmp_path, "supervisor.run('slow', ('sleep', '60'), 0.2)")
    assert text.startswith("slow is not ready after 0 s")


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    text = said(tmp_path, "supervisor.run('apply', ('no-such-program',), 30)")
    assert text == "apply cannot be started: there is no program 'no-such-program'\n"


def test_sigterm_ends_the_watch(tmp_path: Path) -> None:
    process = supervise(tmp_path, "print('watching', flush=True)\nsupervisor.watch()")
    assert process.stdout is not None and process.stdout.readline() == "watching\n"
    process.terminate()
    assert process.communicate(timeout=60)[0] == "stopped\n"


def test_readiness_is_an_answer(tmp_path: Path) -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert is_ready(f"{address}/healthz")
        assert not is_ready(f"{address}/other")
        server.shutdown()
        thread.join()
    assert not is_ready(f"{address}/healthz")


def test_readiness_of_a_socket_is_that_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert not is_ready(str(path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not is_ready(str(path))
        listener.listen()
        assert is_ready(str(path))


def test_a_process_is_killed_by_its_identity_and_never_by_its_number_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        found = identify(process.pid)
        assert found is not None and is_running(found)
        other = ProcessId(pid=found.pid, started=found.started + 1)
        assert kill_and_wait(other, 1.0) and process.poll() is None
        assert kill_and_wait(found, 10.0)
        assert process.wait(10) == -9
    assert kill_and_wait(found, 1.0)


def test_the_child_of_a_process_is_found() -> None:
    words = "import subprocess; child = subprocess.Popen(['cat']); print(child.pid, flush=True); child.wait()"
    with subprocess.Popen(
        [sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert only_child(process.pid) == child
        process.communicate(timeout=60)
    assert only_child(process.pid) is None


@pytest.mark.parametrize("pid", [0, 2**22 + 1])
def test_nobody_has_no_identity(pid: int) -> None:
    assert identify(pid) is None
