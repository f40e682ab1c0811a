"""Environments come whole or not at all: whatever ends an install, nothing half-done is ever used."""

import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from uv import find_uv_bin

from orchestrator_resources import environments, installers
from orchestrator_resources.environments import MARKER, Environment, EnvironmentStore
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.locks import Lock

LOCK_TEXT = """
sniffio==1.3.1 \\
    --hash=sha256:2f6da418d1f1e0fddd844478f41680e794e6051915791a034ff65e5f100525a2 \\
    --hash=sha256:f4324edc670a0f49750a81b895f35c3adb843cca46f0530f79fc1babb23789dc
"""

LOCK = Lock(python=LOCK_TEXT)

INSTALL = """
import sys
from pathlib import Path
from orchestrator_resources import environments
from orchestrator_runtimes.locks import Lock
if len(sys.argv) > 2:
    environments.find_uv_bin = lambda: sys.argv[2]
lock = Lock(python=Path(sys.argv[1], "lock.txt").read_text())
store = environments.EnvironmentStore(Path(sys.argv[1]))
made = store.install(lock, name="tiny", progress=lambda line: print(line, flush=True))
print("made", made.digest, flush=True)
"""


def install(home: Path, lock: Lock = LOCK, said: list[str] | None = None) -> Environment:
    return EnvironmentStore(home).install(
        lock, name="tiny", progress=(said if said is not None else []).append
    )


def start(home: Path, *words: str) -> "subprocess.Popen[str]":
    (home / "lock.txt").write_text(LOCK_TEXT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", INSTALL, str(home), *words], env=environment, stdout=subprocess.PIPE, text=True
    )


def slow_uv(folder: Path, seconds: float) -> str:
    """An installer that waits before it installs."""
    script = folder / "uv"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *sync*) touch {shlex.quote(str(folder / "syncing"))}; sleep {seconds};; esac\n'
        f'exec {shlex.quote(find_uv_bin())} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def imports(environment: Environment, module: str) -> bool:
    return subprocess.run([environment.python, "-c", f"import {module}"], check=False).returncode == 0


def test_what_was_installed_is_found_shared_told_and_removed(tmp_path: Path) -> None:
    said: list[str] = []
    store = EnvironmentStore(tmp_path)
    assert store.find(LOCK) is None
    made = install(tmp_path, said=said)
    assert imports(made, "sniffio")
    assert said[0].startswith("tiny: installing 1 distributions into ")
    assert said[-1].startswith("tiny: installed, ")
    assert store.find(Lock(python=f"# a comment\n{LOCK_TEXT}")) == made
    again: list[str] = []
    assert install(tmp_path, said=again) == made, "a second project shares it"
    assert again == []
    assert store.installed() == [made]
    assert made.size > 1_000
    assert store.remove(made.digest)
    assert store.find(LOCK) is None and not made.path.exists()
    assert not store.remove(made.digest)


def test_another_lock_is_another_environment(tmp_path: Path) -> None:
    made, empty = install(tmp_path), install(tmp_path, Lock(python="# nothing\n"))
    assert made.digest != empty.digest
    assert not imports(empty, "sniffio")
    assert len(EnvironmentStore(tmp_path).installed()) == 2


def test_processes_that_want_the_same_install_it_once(tmp_path: Path) -> None:
    uv = slow_uv(tmp_path, 1.0)
    processes = [start(tmp_path, uv) for _ in range(2)]
    told = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("tiny: installing 1 distributions" in text for text in told) == 1
    assert sum("another process is installing it; waiting" in text for text in told) == 1
    assert {text.splitlines()[-1] for text in told} == {f"made {environments.lock_digest(LOCK)}"}


def test_an_install_that_was_killed_is_made_again_and_never_used(tmp_path: Path) -> None:
    """The installer that the killed process started goes on for a while: nobody installs beside it."""
    process = start(tmp_path, slow_uv(tmp_path, 2.0))
    until((tmp_path / "syncing").exists)
    process.kill()
    process.communicate(timeout=30)
    store = EnvironmentStore(tmp_path)
    assert store.find(LOCK) is None and store.installed() == []
    assert store.remains() == [], "the orphan works on it"
    said: list[str] = []
    made = install(tmp_path, said=said)
    assert said[0] == "tiny: another process is installing it; waiting"
    assert said[1] == "tiny: an earlier install was cut off; making it again"
    assert imports(made, "sniffio")
    assert store.remains() == []


@pytest.mark.parametrize(
    "marker", [None, "", "{", '{"lock": "other", "name": "x", "size": 1, "seconds": 1}', "[]"]
)
def test_an_environment_without_its_marker_is_made_again(marker: str | None, tmp_path: Path) -> None:
    made = install(tmp_path)
    if marker is None:
        (made.path / MARKER).unlink()
    else:
        (made.path / MARKER).write_text(marker)
    shutil.rmtree(next(made.path.glob("lib/python*/site-packages/sniffio")))
    store = EnvironmentStore(tmp_path)
    assert store.find(LOCK) is None
    assert store.remains() == [made.path]
    assert imports(install(tmp_path), "sniffio")


def refused(home: Path, lock: Lock = LOCK) -> AgentError:
    with pytest.raises(AgentError) as caught:
        install(home, lock)
    assert caught.value.code is ErrorCode.AGENT_LOAD_FAILED
    store = EnvironmentStore(home)
    assert store.find(lock) is None and store.installed() == [] and store.remains() == []
    return caught.value


def test_a_distribution_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, Lock(python="sniffio==1.3.1 --hash=sha256:" + "0" * 64))
    assert "the environment of 'tiny' cannot be installed: the installer refused" in error.message
    assert "Hash mismatch" in (error.cause or "")


def test_an_install_is_not_begun_on_a_disk_that_is_almost_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "SPARE_BYTES", 2**62)
    assert "are free on the disk of" in refused(tmp_path).message


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_LINK_MODE", "copy")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        error = refused(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot be installed" in error.message
    assert imports(install(tmp_path), "sniffio"), "with room it works"


def test_a_disk_that_does_not_take_the_marker_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: Path, _text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(environments, "_write_durably", full)
        error = refused(tmp_path)
    assert "the disk did not take it" in error.message
    assert "No space left on device" in (error.cause or "")
    assert imports(install(tmp_path), "sniffio")


def test_an_installer_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installers, "INSTALL_SECONDS", 1.0)
    script = tmp_path / "uv"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setattr(environments, "find_uv_bin", lambda: str(script))
    began = time.monotonic()
    assert "the installer was ended by signal 9; it may take 1 s" in refused(tmp_path).message
    assert time.monotonic() - began < 30
