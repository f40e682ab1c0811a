"""What the doctor finds where something is wrong with the machine."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator_defs import doctor_command
from orchestrator_defs.doctor_command import Finding, findings
from orchestrator_resources.environments import SPARE_BYTES, lock_digest
from orchestrator_runtimes.locks import Lock


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATOR_MODEL_URL", raising=False)


def found(home: Path, name: str) -> Finding:
    (finding,) = [one for one in findings(home) if one.name == name]
    return finding


def test_a_new_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    told = list(findings(tmp_path / "not" / "yet"))
    assert all(finding.good for finding in told), told
    assert "not installed" in found(tmp_path, "agno").text


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nearly_full(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=SPARE_BYTES - 2**20)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    finding = found(tmp_path, "home")
    assert not finding.good
    assert "only 199 MB are free" in finding.text
    assert "ORCHESTRATOR_HOME" in finding.text


def test_a_home_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = found(tmp_path / "file" / "home", "home")
    assert not finding.good and "ORCHESTRATOR_HOME" in finding.text


def test_an_installer_that_does_not_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "find_uv_bin", lambda: str(tmp_path / "uv"))
    finding = found(tmp_path, "installer")
    assert not finding.good and "uv does not run" in finding.text


def test_the_remains_of_an_install_are_told_with_how_to_remove_them(tmp_path: Path) -> None:
    digest = lock_digest(Lock(python="some==1"))
    interpreter = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / "environments" / interpreter / digest).mkdir(parents=True)
    finding = found(tmp_path, "environments")
    assert not finding.good and f"`orchestrator runtimes remove {digest[:12]}`" in finding.text
