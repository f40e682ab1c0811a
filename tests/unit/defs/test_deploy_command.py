"""What the command line of a deploy says where there is nothing to deploy, or nowhere to."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator_defs.cli import main


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["deploy", *words])
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def kubeconfig(folder: Path) -> None:
    # port 9: nothing listens there
    (folder / "kubeconfig").write_text(
        """\
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: me, user: {}}]
"""
    )


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (["team"], 2, "say either --image, or --build"),
        (["team", "--image", "a:1", "--build", "."], 2, "say either --image, or --build"),
        (["Team!", "--image", "a:1"], 1, "'Team!' is no name of a code location on a cluster"),
        (["team", "--image", "a:1"], 1, "no cluster is configured: "),
        (["team", "--build", "nowhere"], 2, "'nowhere' does not exist"),
    ],
)
def test_what_is_missing_is_said(words: list[str], status: int, why: str) -> None:
    code, said = run(*words)
    assert code == status and why in said, said


def test_what_is_to_be_built_says_where_it_goes_and_needs_a_builder(tmp_path: Path) -> None:
    kubeconfig(tmp_path)
    code, said = run("team", "--build", str(tmp_path))
    assert code == 2 and "--repository registry.example/team/agents" in said
    code, said = run("team", "--build", str(tmp_path), "--repository", "registry.example/acme")
    assert code == 1 and "nothing here builds images" in said


def test_a_cluster_that_is_away_is_one_line(tmp_path: Path) -> None:
    kubeconfig(tmp_path)
    code, said = run("team", "--image", "acme/agents:1")
    assert code == 1 and said.startswith("Error: the cluster does not do it: ") and said.count("\n") == 1
    code, said = run("team", "--image", "acme/agents:1", "--context", "there")
    assert code == 1 and "no cluster is configured: " in said
