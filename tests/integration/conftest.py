"""What integration tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where one test's spare and shared guests wait; a path that is short enough for a socket."""
    folder = tmp_path_factory.getbasetemp().parent / f"s{os.urandom(3).hex()}"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder / f"spare-guests-{os.getuid()}"
