"""Who may bring the test cluster up, where, and what `make e2e` runs."""

import os
from pathlib import Path

import pytest

from orchestrator_tools.cluster import e2e
from orchestrator_tools.cluster.__main__ import main
from orchestrator_tools.cluster.commands import ClusterError
from orchestrator_tools.cluster.debian import require_release
from orchestrator_tools.cluster.images import BASE_IMAGE
from orchestrator_tools.cluster.launch import check_folders
from orchestrator_tools.cluster.lifecycle import inside, is_up
from orchestrator_tools.cluster.places import Places
from orchestrator_tools.cluster.processes import ProcessId
from orchestrator_tools.cluster.records import Record, node_process, read_record, write_record
from orchestrator_tools.steps import CHECKOUT


@pytest.fixture
def own(tmp_path: Path) -> Places:
    return Places(cache=tmp_path / "cache", state=tmp_path / "cluster")


@pytest.mark.parametrize("action", ["up", "down"])
def test_another_user_than_root_is_told_what_to_do(
    action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("sys.argv", ["cluster", action])
    assert main() == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "run this as root" in line and "KUBECONFIG" in line


def test_tests_are_refused_in_the_same_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("sys.argv", ["e2e"])
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert e2e.main() == 1
    assert "run this as root" in capsys.readouterr().out


def test_another_system_is_told_what_to_do() -> None:
    require_release("VERSION_CODENAME=bookworm\n")
    with pytest.raises(ClusterError, match=r"this machine runs noble: name a cluster .* with KUBECONFIG"):
        require_release("VERSION_CODENAME=noble\n")
    with pytest.raises(ClusterError, match="this machine runs another system"):
        require_release("")


def test_what_the_node_cannot_see_is_named(own: Places) -> None:
    check_folders(own)
    hidden = Places(cache=Path("/var/lib/somebody/cache"), state=own.state)
    with pytest.raises(ClusterError, match="/var/lib/somebody/cache lies below /var/lib"):
        check_folders(hidden)


def test_a_record_of_a_process_that_has_ended_is_no_cluster(own: Places) -> None:
    assert node_process(own) is None
    own.state.mkdir()
    record = Record(node=ProcessId(pid=1, started=1), kernel={"kernel/panic": "1"})
    write_record(own, record)
    assert read_record(own) == record
    assert node_process(own) is None and not is_up(own)
    own.record.write_text("half writ")
    assert node_process(own) is None


def test_commands_run_in_the_network_of_the_node() -> None:
    words = inside(ProcessId(pid=7, started=1), "--mount")
    assert words == ["nsenter", "--target=7", "--net", "--mount", "--"]


def test_named_tests_are_run_instead_of_all() -> None:
    assert e2e.pytest_command([], ["tests/e2e"])[-1] == "tests/e2e"
    assert e2e.pytest_command(["-x"], ["tests/e2e"])[-2:] == ["-x", "tests/e2e"]
    assert e2e.pytest_command(["tests/e2e/test_pods.py"], ["tests/e2e"])[-1] == "tests/e2e/test_pods.py"
    assert (CHECKOUT / e2e.OWN_TESTS).is_dir()


def test_tests_get_the_clusters_own_kubectl_first(own: Places) -> None:
    told = e2e.variables(own)
    assert told["PATH"].startswith(f"{own.state}/bin:")
    assert told["E2E_IMAGE"] == BASE_IMAGE
    assert told["KUBECONFIG"] == str(own.kubeconfig)
