"""The test cluster comes up whatever was before, and leaves nothing; on a second cluster beside the first."""

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_tools.cluster import launch
from orchestrator_tools.cluster.cgroups import hierarchies
from orchestrator_tools.cluster.commands import run
from orchestrator_tools.cluster.lifecycle import bring_down, bring_up, is_up
from orchestrator_tools.cluster.places import Places, places
from orchestrator_tools.cluster.processes import ProcessId
from orchestrator_tools.cluster.records import kernel_settings, node_process
from tests.e2e.test_cluster.components import command_lines, component

STATE_TIMEOUT = 300


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Places]:
    """The folders of a cluster beside the one that tests run on."""
    own = Places(cache=places().cache, state=tmp_path / "cluster")
    yield own
    bring_down(own)


def wait_for_the_end(process: ProcessId) -> None:
    descriptor = os.pidfd_open(process.pid)
    try:
        assert select.select([descriptor], [], [], 60)[0], "the cluster went on without a component"
    finally:
        os.close(descriptor)


@pytest.mark.timeout(STATE_TIMEOUT)
def test_a_cluster_whose_component_died_says_so_and_is_brought_up_again(
    second: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring_up(second)
    assert not bring_up(second), "it is up already"
    first = node_process(second)
    assert first is not None
    os.kill(component("kube-scheduler", second), signal.SIGKILL)
    wait_for_the_end(first)
    assert not is_up(second)
    capsys.readouterr()
    assert bring_up(second)
    assert "the cluster ended by itself: kube-scheduler was killed by SIGKILL" in capsys.readouterr().out
    assert node_process(second) not in (None, first)


@pytest.mark.timeout(STATE_TIMEOUT)
def test_nothing_is_left_of_a_cluster(second: Places) -> None:
    settings = kernel_settings()
    mounts = Path("/proc/self/mounts").read_text()
    assert bring_up(second)
    assert command_lines(str(second.state))
    assert bring_down(second)
    assert not command_lines(str(second.state))
    assert Path("/proc/self/mounts").read_text() == mounts
    assert kernel_settings() == settings
    assert not [path for path in hierarchies(mounts) if (path / second.cgroup).exists()]
    assert not second.state.exists()
    assert not bring_down(second), "there is none any more"


def test_a_cluster_that_was_killed_while_it_started_is_mended(
    second: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "_follow", killed)
    with pytest.raises(KeyboardInterrupt):
        bring_up(second)
    until = time.monotonic() + 10
    while command_lines(str(second.state)):  # the kernel ends what was in the node's namespaces
        assert time.monotonic() < until
        time.sleep(0.1)


def test_no_route_leads_out() -> None:
    routes = run(["ip", "route", "show"], seconds=10)
    assert routes and "default" not in routes
