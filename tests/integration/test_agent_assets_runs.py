"""Runs of agent assets in processes of their own: launched, terminated, killed and executed again."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_resources.gateway import DRAIN_SECONDS
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from tests.integration.processes import alive

pytestmark = pytest.mark.usefixtures("fake_framework")

BIN = Path(sys.executable).parent
ROWS = 20

DEFINITIONS = """
import os
from pathlib import Path
import dagster as dg
from orchestrator_assets import AgentSpec, ForEachSpec, InputSpec, PortableSpec, ToolSpec, agent_asset
from orchestrator_resources.agent_runtimes import AgentRuntimes

@dg.asset
def words() -> list[str]:
    return [f"EXEC-{n}" for n in range(20)]

spec = AgentSpec(
    framework="fake", portable=PortableSpec(instructions="Help."), prompt="say {word}",
    inputs={"word": InputSpec(asset="words")}, for_each=ForEachSpec(input="word", in_flight=2),
)
said = agent_asset(spec, asset=dg.AssetSpec("said"))

class Breaks(dg.IOManager):
    # a store that is full until somebody makes room
    def handle_output(self, context, value):
        if not os.path.exists(os.environ["ROOM"]):
            raise OSError("No space left on device")
    def load_input(self, context):
        raise NotImplementedError

stored = agent_asset(
    spec.model_copy(update={"inputs": {"word": InputSpec(value=["EXEC-1", "EXEC-2"])}}),
    asset=dg.AssetSpec("stored"), io_manager_key="breaks",
)
here = Path(__file__).parent

@dg.asset
def source() -> str:
    return (here / "source.txt").read_text()

answer = agent_asset(
    AgentSpec(
        framework="fake", prompt="{text}", inputs={"text": InputSpec(asset="source")},
        portable=PortableSpec(instructions="Help.", tools=[ToolSpec(function="tools:weather")]),
    ),
    asset=dg.AssetSpec("answer"), code=here / "code",
)
regions = agent_asset(
    AgentSpec(framework="fake", portable=PortableSpec(instructions="Help."), prompt="EXEC-{region}",
              inputs={"region": InputSpec(partition_key=True)}),
    asset=dg.AssetSpec("regions", partitions_def=dg.StaticPartitionsDefinition(["north", "south", "west"])),
)
defs = dg.Definitions(
    assets=[words, said, stored, source, answer, regions], executor=dg.in_process_executor,
    jobs=[dg.define_asset_job("say", [words, said]), dg.define_asset_job("store", [stored]),
          dg.define_asset_job("answers", [source, answer]), dg.define_asset_job("sources", [source]),
          dg.define_asset_job("by_region", [regions])],
    resources={"agent_runtimes": AgentRuntimes(processes=1), "breaks": Breaks()},
)
say, store = defs.resolve_job_def("say"), defs.resolve_job_def("store")
"""

RUN = """
import sys
import dagster as dg
from team import say, store
import team
with dg.DagsterInstance.get() as instance:
    again = dg.ReexecutionOptions.from_failure(sys.argv[2], instance) if len(sys.argv) > 2 else None
    job = dg.reconstructable(getattr(__import__("jobs"), sys.argv[1]))
    done = dg.execute_job(job, instance, reexecution_options=again, raise_on_error=False)
    sys.exit(0 if done.success else 1)
"""

JOBS = """
import team

def say():
    return team.say

def store():
    return team.store
"""


# no daemon takes runs from a queue here
SETTINGS = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""


TOOLS = """
def weather(city: str) -> str:
    return "sunny in " + city
"""


class Deployment:
    """A Dagster instance in a folder, and processes that work with it."""

    def __init__(self, folder: Path, plugin: Path, home: Path, url: str) -> None:
        self.folder = folder
        (folder / "team.py").write_text(DEFINITIONS)
        (folder / "jobs.py").write_text(JOBS)
        (folder / "run.py").write_text(RUN)
        self.room = folder / "room"
        (folder / "source.txt").write_text("hello")
        self.tools = folder / "code" / "tools.py"
        self.tools.parent.mkdir()
        self.tools.write_text(TOOLS)
        (folder / "instance").mkdir()
        (folder / "instance" / "dagster.yaml").write_text(SETTINGS)
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(plugin), *sys.path]),
            "ORCHESTRATOR_HOME": str(home),
            "ORCHESTRATOR_MODEL_URL": url,
            "DAGSTER_HOME": str(folder / "instance"),
            "ROOM": str(self.room),
        }

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            words, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def execute(self, job: str, *, again: str | None = None) -> "subprocess.Popen[bytes]":
        return self.start(sys.executable, "run.py", job, *([again] if again else []))

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.folder / "instance"))


@pytest.fixture
def deployment(tmp_path: Path, home: Path, endpoint: ModelEndpoint) -> Deployment:
    endpoint.reset()
    folder = tmp_path / "team"
    folder.mkdir()
    return Deployment(folder, tmp_path / "plugin", home, endpoint.script("runs", Script(latency=0.2)))


def until(holds: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
    return found


def descendants(pid: int) -> list[int]:
    found, wait = list[int](), [pid]
    while wait:
        for task in Path(f"/proc/{wait.pop()}/task").glob("*/children"):
            try:
                below = [int(word) for word in task.read_text().split()]
            except OSError:
                continue
            found += below
            wait += below
    return found


def prompts(endpoint: ModelEndpoint) -> list[str]:
    bodies: list[Any] = [call.body for call in endpoint.calls if call.status == 200]
    return [body["messages"][-1]["content"] for body in bodies]


def test_after_the_run_was_killed_only_unfinished_rows_are_run_again(
    deployment: Deployment, endpoint: ModelEndpoint
) -> None:
    process = deployment.execute("say")
    until(lambda: endpoint.count >= 9, 60)
    guests = descendants(process.pid)
    process.kill()
    process.wait(30)
    # the gateway waits a while for answers that are on their way
    until(lambda: not any(alive(pid) for pid in guests), 15 + DRAIN_SECONDS)
    before = endpoint.count
    assert before < ROWS
    with deployment.instance() as instance:
        (killed,) = instance.get_runs()
        instance.report_run_failed(killed)  # what Dagster's monitor does when a run's process is gone
        again = deployment.execute("say", again=killed.run_id)
        assert again.wait(60) == 0
        metadata = latest(instance, "said")
    told = prompts(endpoint)
    answered = {prompt for prompt in told if told.count(prompt) > 1}
    assert len(set(told)) == ROWS
    assert len(answered) <= 2, "of those that were in flight when it was killed, and no other"
    assert metadata["executions"] == ROWS
    assert metadata["replayed"] >= before - 2 * 2


def test_results_are_kept_until_the_value_is_stored(deployment: Deployment, endpoint: ModelEndpoint) -> None:
    assert deployment.execute("store").wait(60) == 1
    assert endpoint.count == 2
    with deployment.instance() as instance:
        (failed,) = instance.get_runs()
        deployment.room.touch()
        assert deployment.execute("store", again=failed.run_id).wait(60) == 0
        assert endpoint.count == 2, "the disk was full, the model had answered"
        assert latest(instance, "stored")["replayed"] == 2
    finished = deployment.folder / "instance" / "storage" / "agents" / "finished_executions.db"
    with contextlib.closing(sqlite3.connect(finished)) as database:
        assert database.execute("SELECT count(*) FROM finished").fetchone() == (0,)


def latest(instance: dg.DagsterInstance, key: str) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.fixture
def webserver(deployment: Deployment) -> Iterator[tuple[str, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = deployment.start(
        str(BIN / "dagster-webserver"), "-p", str(port), "-h", "127.0.0.1", "-f", str(deployment.folder / "team.py"),
    )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or answers(port), 60)
        yield f"http://127.0.0.1:{port}/graphql", process.pid
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(url: str, query: str, **variables: Any) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = json.load(answer)
    assert not told.get("errors"), told
    return told["data"]


LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
TERMINATE = """mutation($run: String!) { terminateRun(runId: $run) { __typename } }"""
STATUS = """query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"""


def test_terminating_in_the_ui_ends_the_guest_and_its_children(
    deployment: Deployment, endpoint: ModelEndpoint, webserver: tuple[str, int]
) -> None:
    url, server = webserver
    endpoint.script("runs", Script(faults=(Fault(kind=FaultKind.HANG),)))
    selector = {
        "repositoryLocationName": "team.py",
        "repositoryName": "__repository__",
        "pipelineName": "say",
    }
    launched = ask(url, LAUNCH, params={"selector": selector, "mode": "default"})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run = launched["run"]["runId"]
    until(lambda: endpoint.count >= 2, 60)
    guests = [pid for pid in descendants(server) if b"orchestrator_runtimes" in command(pid)]
    assert len(guests) >= 2, "a guardian and a guest"
    began = time.monotonic()
    assert ask(url, TERMINATE, run=run)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    until(lambda: not any(alive(pid) for pid in guests), 30)
    assert until(lambda: ask(url, STATUS, run=run)["runOrError"]["status"] == "CANCELED", 30)
    assert time.monotonic() - began < 30


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_signal_to_dg_launch_ends_the_guest(
    deployment: Deployment, endpoint: ModelEndpoint, number: signal.Signals
) -> None:
    endpoint.script("runs", Script(faults=(Fault(kind=FaultKind.HANG),)))
    process = deployment.start(
        str(BIN / "dagster"), "job", "execute", "-f", str(deployment.folder / "team.py"), "-j", "say"
    )
    until(lambda: endpoint.count >= 2, 60)
    below = descendants(process.pid)
    assert any(b"orchestrator_runtimes" in command(pid) for pid in below)
    process.send_signal(number)
    process.wait(60)
    until(lambda: not any(alive(pid) for pid in below), 20 + DRAIN_SECONDS)


RELOAD = """mutation { reloadRepositoryLocation(repositoryLocationName: "team.py") { __typename } }"""
STALE = """query { assetNodes(assetKeys: [{path: ["answer"]}]) { staleStatus staleCauses { reason } } }"""


def test_dagster_shows_an_agent_as_stale_when_its_tools_or_inputs_changed(
    deployment: Deployment, webserver: tuple[str, int]
) -> None:
    url, _ = webserver

    def execute(job: str) -> None:
        file = str(deployment.folder / "team.py")
        assert deployment.start(str(BIN / "dagster"), "job", "execute", "-f", file, "-j", job).wait(60) == 0

    def stale() -> tuple[str, list[str]]:
        assert ask(url, RELOAD)["reloadRepositoryLocation"]["__typename"] == "WorkspaceLocationEntry"
        (node,) = ask(url, STALE)["assetNodes"]
        causes: list[dict[str, str]] = node["staleCauses"] or []
        return node["staleStatus"], [cause["reason"] for cause in causes]

    execute("answers")
    assert stale() == ("FRESH", [])
    deployment.tools.write_text(TOOLS + "\n# changed\n")
    assert stale() == ("STALE", ["has a new code version"])
    deployment.tools.write_text(TOOLS)
    (deployment.tools.parent / "__pycache__").mkdir()
    (deployment.tools.parent / "__pycache__" / "tools.pyc").write_bytes(b"x")
    assert stale() == ("FRESH", []), "neither a change that was taken back nor a cache counts"
    deployment.room.touch()
    (deployment.folder / "source.txt").write_text("goodbye")
    execute("sources")
    assert stale()[0] == "STALE"
    execute("answers")
    assert stale() == ("FRESH", [])


def test_a_backfill_is_one_run_for_each_partition(deployment: Deployment, endpoint: ModelEndpoint) -> None:
    process = deployment.start(
        str(BIN / "dagster"), "job", "backfill", "-f", str(deployment.folder / "team.py"), "-j", "by_region",
        "--partitions", "north,west", "--noprompt",
    )  # fmt: skip
    assert process.wait(90) == 0
    with deployment.instance() as instance:
        key = dg.AssetKey("regions")
        until(lambda: instance.get_materialized_partitions(key) == {"north", "west"}, 60)
        until(lambda: all(run.is_finished for run in instance.get_runs()), 60)
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 2
    assert endpoint.count == 2
