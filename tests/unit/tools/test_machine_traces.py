"""What belongs to one machine is found, and what only looks like it is not."""

from pathlib import Path

import pytest

from orchestrator_tools import machine_traces
from orchestrator_tools.machine_traces import checkout_paths, mirror_hosts, traces

# in pieces, so that this file is clean itself
HOMES = ["/" + path for path in ("home/ada/code", "Users/ada", "root/" + ".cache")]


@pytest.mark.parametrize("path", HOMES)
@pytest.mark.parametrize("before", ["", "cd ", '"', "(", "file://", "=", "see\n"])
def test_a_path_below_somebodys_home_is_found_with_its_line(before: str, path: str) -> None:
    line = before.count("\n") + 1
    assert [number for number, _ in traces(f"{before}{path}\nnothing here", [])] == [line]


@pytest.mark.parametrize(
    "text",
    [
        "~/" + "root/x",
        "${HOME}/" + "root/x",
        "var/" + "home/ada",
        "https://example.org/" + "home/page",
        "/homepage",
        "/rooted",
    ],
)
def test_what_is_nobodys_home_is_not_found(text: str) -> None:
    assert list(traces(text, [])) == []


def test_each_word_is_found_on_each_of_its_lines() -> None:
    text = "from mirror.example\nnothing\nmirror.example and mirror.example"
    assert list(traces(text, ["mirror.example"])) == [(1, "mirror.example"), (3, "mirror.example")]


def test_the_folder_of_a_checkout_says_nothing_where_everybody_has_it() -> None:
    assert checkout_paths(Path("/src/project")) == {"/src/project/"}
    assert checkout_paths(Path("/data/ada/project")) == {"/data/ada/project/", "/data/ada/"}


def test_hosts_of_mirrors_are_read_from_the_settings_of_installers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://someone:word@pip.mirror.example:8443/simple")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://uv.mirror.example/simple")
    monkeypatch.setenv("npm_config_registry", "https://npm.mirror.example/")
    monkeypatch.setenv("GOPROXY", "https://go.mirror.example,direct")
    found = mirror_hosts()
    assert {f"{name}.mirror.example" for name in ("pip", "uv", "npm", "go")} <= found


def test_findings_are_printed_and_decide_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine_traces, "CHECKOUT", tmp_path)
    monkeypatch.setattr(machine_traces, "repository_files", lambda: sorted(tmp_path.iterdir()))
    (tmp_path / "clean.txt").write_text("https://docs.example/simple\n")
    (tmp_path / "picture.png").write_bytes(b"\0" + HOMES[0].encode())
    assert machine_traces.main() == 0
    (tmp_path / "page.md").write_text(f"one\ncd {tmp_path}/sources\n")
    assert machine_traces.main() == 1
    assert f"page.md:2: '{tmp_path}/' belongs to one machine: leave it out\n" in capsys.readouterr().out
