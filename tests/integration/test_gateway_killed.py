"""A gateway that is killed costs an execution nothing but the call that was on its way, whatever the batch's policy."""

import os
import signal
import threading
from pathlib import Path

import pytest

from orchestrator_resources.execution_batches import BatchSettings, FailurePolicy, Item, Row
from orchestrator_resources.guest_pool import Agent
from orchestrator_resources.runtime_settings import RuntimeSettings
from orchestrator_resources.runtimes import Runtimes, framework, open_runtimes
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.messages import AgentSource, ModelAddress, PortableAgent
from tests.integration.processes import wait_until

AGENT = Agent(source=AgentSource(portable=PortableAgent(name="a", instructions="i", model="m")))


def run(runtimes: Runtimes, url: str) -> Row:
    def on_event(_item: Item, _event: Event) -> None:
        pass

    def on_row(_row: Row) -> None:
        pass

    settings = BatchSettings(model=ModelAddress(base_url=url), failures=FailurePolicy(kind="keep"))
    items = [Item(key="one", execution="e", inputs="hi")]
    (row,) = runtimes.run(framework("fake"), AGENT, items, settings, on_event=on_event, on_row=on_row)
    return row


def gateways() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [int(word) for child in children for word in child.read_text().split()]
    return [pid for pid in pids if b"orchestrator_gateway" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.usefixtures("fake_framework")
def test_an_execution_whose_gateway_is_killed_is_tried_again(
    home: Path, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    endpoint.reset()
    url = endpoint.script("slow", Script(latency=0.5))

    def kill() -> None:
        wait_until(lambda: endpoint.count == 1, "the call is on its way")
        (pid,) = gateways()
        os.kill(pid, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    with open_runtimes(RuntimeSettings(home=home, state=tmp_path, processes=1)) as runtimes:
        row = run(runtimes, url)
        killing.join()
    assert row.error is None and row.result is not None
    assert endpoint.count == 2, "the call on its way was made again, and no other"


@pytest.mark.usefixtures("fake_framework")
def test_a_model_that_fails_is_no_gateway_that_was_killed(
    home: Path, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    endpoint.reset()
    script = Script(faults=(Fault(kind=FaultKind.STATUS, status=500),))
    with open_runtimes(RuntimeSettings(home=home, state=tmp_path, processes=1)) as runtimes:
        row = run(runtimes, endpoint.script("broken", script))
    assert row.error is not None and row.error.code is ErrorCode.MODEL_UNAVAILABLE
    assert endpoint.count == 4, "the gateway's own tries, once"
