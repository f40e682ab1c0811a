"""A guest's disk is full: what needs room fails by name, the rest goes on, and nothing is left half-done."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

DRIVER: Final = Path(__file__).with_name("full_disk") / "driver.py"
NAMESPACE: Final = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-Urm")
SECONDS: Final = 110


def test_what_needs_room_fails_by_name_and_the_rest_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    words = [*NAMESPACE, sys.executable, str(DRIVER), str(disk)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stderr[-3_000:]
    ended = json.loads(run.stdout.splitlines()[-1])
    for kept in "before", "another, disk full", "code, room again", "new guest, room again":
        assert ended[kept] == "It is sunny in Paris, 21 C.", f"{kept}: {ended[kept]}"
    for failed, told in (
        ("code, no byte left", "agent_load_failed: the bundle cannot be unpacked"),
        ("code, no file left", "agent_load_failed: the bundle cannot be unpacked"),
        ("new guest, disk full", "runtime_crashed: the runtime cannot be started: no folder"),
    ):
        assert ended[failed].startswith(told), ended[failed]
        assert "No space left on device" in ended[failed], ended[failed]
    assert ended["left"] == []
