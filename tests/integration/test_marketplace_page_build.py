"""The marketplace's page is built reproducibly, and checked."""

from pathlib import Path

import pytest

from orchestrator_tools import marketplace_page
from orchestrator_tools.marketplace_page import BUILT, PROJECT, PageProblem, build, check


def test_what_is_committed_is_what_the_sources_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check()
    changed = tmp_path / "page"
    changed.mkdir()
    for file in BUILT.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    (changed / "page.js").write_text("alert(1)")
    (changed / "more.js").write_text("")
    monkeypatch.setattr(marketplace_page, "BUILT", changed)
    with pytest.raises(
        PageProblem, match=r"more\.js, page\.js: not as the sources make it; run `make format`"
    ):
        check()


def test_a_source_that_is_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "web"
    (project / "src").mkdir(parents=True)
    for file in ("package.json", "package-lock.json"):
        (project / file).write_bytes((PROJECT / file).read_bytes())
    for file in ("index.html", "page.css", "icon.svg", "markdown_worker.ts"):
        (project / "src" / file).write_bytes((PROJECT / "src" / file).read_bytes())
    (project / "src" / "page.ts").write_text("const = 1;\n")
    monkeypatch.setattr(marketplace_page, "PROJECT", project)
    with pytest.raises(PageProblem, match=r"(?s)Expected identifier.*src/page\.ts:1:6:"):
        build(tmp_path / "built")
