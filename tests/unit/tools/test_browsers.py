"""The browser of the tests is unpacked once, and told apart from one that does not start."""

from pathlib import Path

import pytest

from orchestrator_tools import browsers
from orchestrator_tools.browsers import PACKAGES, browser_program
from orchestrator_tools.cluster.commands import ClusterError


def test_it_is_unpacked_once_with_fonts_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def unpack(tree: Path, wanted: list[str]) -> None:
        asked.append(list(wanted))
        program = tree / "usr" / "lib" / "chromium" / "chromium-headless-shell"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\necho Chromium 1\n")
        program.chmod(0o755)
        (tree / "usr" / "lib" / "x86_64-linux-gnu").mkdir()

    monkeypatch.setattr(browsers, "unpack", unpack)
    monkeypatch.setattr(browsers, "require_release", str)
    program = browser_program(tmp_path)
    assert browser_program(tmp_path) == program and asked == [list(PACKAGES)]
    assert program.version() == "Chromium 1"
    settings = Path(program.environment["FONTCONFIG_FILE"])
    assert f"<dir>{settings.parent}/usr/share/fonts</dir>" in settings.read_text()
    program.path.write_text("#!/bin/sh\necho no libpulse >&2\nexit 1\n")
    with pytest.raises(ClusterError, match="does not start: no libpulse"):
        program.version()
