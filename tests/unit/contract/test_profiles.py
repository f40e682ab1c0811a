"""Frameworks are found by their entry points, and a plug-in that is wrong is named."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.capabilities import MANDATORY, YES, Capability, no
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.locks import Lock
from orchestrator_runtimes.profiles import installed_frameworks

Install = Callable[[str, str], None]
FAKE = "orchestrator_runtimes.conformance.fake:PROFILE"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def one(distribution: str, points: str) -> None:
        folder = tmp_path / distribution / f"{distribution}-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(f"[orchestrator.frameworks]\n{points}\n")
        monkeypatch.setattr(sys, "path", [str(folder.parent), *sys.path])

    return one


def test_a_plug_in_is_found_beside_the_others(install: Install) -> None:
    before = installed_frameworks()
    install("plug", f"fake = {FAKE}")
    assert installed_frameworks() == {**before, "fake": PROFILE}
    assert PROFILE.packages() == ("orchestrator_runtimes",)
    assert PROFILE.lock() == Lock(python="# nothing: the fake framework is the standard library\n")


def test_one_distribution_that_is_found_twice_is_one(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("plug", f"fake = {FAKE}")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "plug-1.dist-info").symlink_to(tmp_path / "plug" / "plug-1.dist-info")
    monkeypatch.setattr(sys, "path", [str(copy), *sys.path])
    assert installed_frameworks()["fake"] is PROFILE


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (f"other = {FAKE}", "'other' .* is not the profile of a framework of that name"),
        ("fake = json:dumps", r"'fake' \(json:dumps\) is not the profile"),
        ("fake = no_such_plug_in:PROFILE", "'fake' .* cannot be imported"),
        ("fake = json:no_such_name", "'fake' .* cannot be imported"),
    ],
)  # fmt: skip
def test_a_plug_in_that_is_wrong_is_named(install: Install, points: str, words: str) -> None:
    install("plug", points)
    with pytest.raises(AgentError, match=words) as caught:
        installed_frameworks()
    assert caught.value.code is ErrorCode.FRAMEWORK_ERROR


def test_two_plug_ins_of_one_name_are_refused(install: Install) -> None:
    install("one", f"fake = {FAKE}")
    install("two", f"fake = {FAKE}")
    with pytest.raises(AgentError, match="two plug-ins offer the framework 'fake'"):
        installed_frameworks()


@pytest.mark.parametrize("capability", list(Capability))
def test_a_profile_says_something_of_every_capability(capability: Capability) -> None:
    rest: dict[Capability, Any] = {
        c: support for c, support in PROFILE.capabilities.items() if c != capability
    }
    with pytest.raises(ValueError, match=rf"unsaid \['{capability}'\]"):
        replace(PROFILE, capabilities=rest)
    rest[capability] = no("it cannot")
    if capability in MANDATORY:
        with pytest.raises(ValueError, match=rf"mandatory but unsupported \['{capability}'\]"):
            replace(PROFILE, capabilities=rest)
    else:
        assert replace(PROFILE, capabilities=rest).capabilities[capability].reason == "it cannot"
    assert replace(PROFILE, capabilities={**rest, capability: YES}).capabilities[capability].supported
