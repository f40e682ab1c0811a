"""What tests of every kind share: a home of their own, and the fake framework as a plug-in."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint, run_in_thread


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder that the tests of one session share."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _no_spares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests start every guest themselves, unless they are about those that were started ahead."""
    monkeypatch.setenv("ORCHESTRATOR_SPARE_SECONDS", "0")


@pytest.fixture
def fake_framework(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake framework, installed as any plug-in is: by an entry point."""
    folder = tmp_path / "plugin" / "fake_framework-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-framework\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(
        "[orchestrator.frameworks]\nfake = orchestrator_runtimes.conformance.fake:PROFILE\n"
    )
    monkeypatch.setattr(sys, "path", [str(folder.parent), *sys.path])
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(home))


@pytest.fixture(scope="session")
def endpoint() -> Iterator[ModelEndpoint]:
    """A scripted model."""
    with run_in_thread() as running:
        yield running
