"""Profiles as files: what makes a lock stale. Resolving itself is tested with the command line."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from orchestrator_resources import runtime_profiles
from orchestrator_resources.environments import lock_digest
from orchestrator_resources.runtime_profiles import load_profile, lock_file, locked_version, resolve_profile
from orchestrator_runtimes.conformance.fake import PROFILE as FAKE
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.locks import Lock, NodeLock
from orchestrator_runtimes.profiles import FrameworkProfile

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}((rc|\.post|\.dev)[0-9])?", fullmatch=True)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What was resolved, instead of asking the resolver."""
    calls: list[Sequence[str]] = []

    def resolve(requirements: Sequence[str], *, preferred: str, name: str) -> str:
        calls.append(requirements)
        return "".join(f"{requirement} --hash=sha256:00\n" for requirement in requirements)

    monkeypatch.setattr(runtime_profiles, "resolve", resolve)
    monkeypatch.setattr(runtime_profiles, "framework", {"fake": FAKE}.__getitem__)
    return calls


def write(folder: Path, *requirements: str, name: str = "research.toml") -> Path:
    file = folder / name
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    file.write_text(f'framework = "fake"\nrequirements = [{listed}]\n')
    return file


def test_a_lock_is_resolved_once_and_again_after_a_change(
    tmp_path: Path, resolved: list[Sequence[str]]
) -> None:
    file = write(tmp_path, "roman==5.1")
    first = resolve_profile(file)
    assert resolve_profile(file) == first == load_profile(file)
    assert len(resolved) == 1
    assert "roman==5.1" in first.lock().python
    write(tmp_path, "roman==5.0")
    with pytest.raises(
        AgentError, match=r"research.lock is older than the profile: run `orchestrator runtimes install"
    ):
        load_profile(file)
    assert "roman==5.0" in resolve_profile(file).lock().python
    assert len(resolved) == 2


@pytest.mark.usefixtures("resolved")
def test_a_profile_is_its_framework_except_for_the_lock(tmp_path: Path) -> None:
    profile = resolve_profile(write(tmp_path, "roman==5.1"))
    assert (profile.name, profile.adapter, profile.packages()) == (FAKE.name, FAKE.adapter, FAKE.packages())
    assert lock_digest(profile.lock()) != lock_digest(FAKE.lock())


def test_a_missing_lock_names_what_to_run(tmp_path: Path, resolved: list[Sequence[str]]) -> None:
    file = write(tmp_path, "roman==5.1")
    with pytest.raises(AgentError) as caught:
        load_profile(file)
    assert caught.value.code is ErrorCode.AGENT_LOAD_FAILED
    assert (
        "research.lock is missing: run `orchestrator runtimes install research.toml`" in caught.value.message
    )
    assert resolved == []


def test_the_order_of_requirements_makes_no_lock_stale(tmp_path: Path, resolved: list[Sequence[str]]) -> None:
    for requirements in itertools.permutations(("a==1", "b==2", "c==3")):
        resolve_profile(write(tmp_path, *requirements))
    assert len(resolved) == 1


def test_another_lock_of_the_framework_makes_the_profiles_stale(
    tmp_path: Path, resolved: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "roman==5.1")
    resolve_profile(file)

    def newer(_profile: FrameworkProfile) -> Lock:
        return Lock(python="newer==2 --hash=sha256:00\n")

    monkeypatch.setattr(FrameworkProfile, "lock", newer)
    with pytest.raises(AgentError, match="is older than the profile"):
        load_profile(file)
    assert len(resolved) == 1


def test_a_resolution_that_fails_leaves_the_old_lock_and_nothing_else(
    tmp_path: Path, resolved: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "roman==5.1")
    resolve_profile(file)
    before = lock_file(file).read_text()
    write(tmp_path, "roman==0")

    def refuse(requirements: Sequence[str], *, preferred: str, name: str) -> str:
        raise AgentError(ErrorCode.AGENT_LOAD_FAILED, "cannot be installed together")

    monkeypatch.setattr(runtime_profiles, "resolve", refuse)
    with pytest.raises(AgentError, match="together"):
        resolve_profile(file)
    assert lock_file(file).read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["research.lock", "research.toml"]


@pytest.mark.usefixtures("resolved")
def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "roman==5.1")
    lock_file(file).mkdir()
    with pytest.raises(AgentError, match=r"research.lock' cannot be written: "):
        resolve_profile(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["research.lock", "research.toml"]


def lock_of(pins: dict[str, str]) -> Lock:
    lines = (
        f"{canonicalize_name(name)}=={version} \\\n    --hash=sha256:00\n" for name, version in pins.items()
    )
    return Lock(python="".join(lines))


@given(st.dictionaries(NAMES.map(canonicalize_name), VERSIONS, min_size=1, max_size=6), st.data())
def test_the_version_that_a_lock_holds_is_found_whatever_is_like_it(
    pins: dict[str, str], data: st.DataObject
) -> None:
    lock = lock_of(pins)
    for name, version in pins.items():
        written = data.draw(
            st.sampled_from([name, name.upper(), name.replace("-", "_"), name.replace("-", ".")])
        )
        assert locked_version(lock, written) == version


@given(st.dictionaries(NAMES.map(canonicalize_name), VERSIONS, max_size=6), NAMES)
def test_a_distribution_that_a_lock_does_not_hold_has_no_version(pins: dict[str, str], name: str) -> None:
    pins.pop(canonicalize_name(name), None)
    assert locked_version(lock_of(pins), name) == ""


def test_a_version_ends_before_a_marker() -> None:
    lock = Lock(python="click==8.5.1 ; sys_platform != 'emscripten' \\\n    --hash=sha256:00\n")
    assert locked_version(lock, "click") == "8.5.1"


def test_the_version_of_a_node_package_is_found() -> None:
    packages = '{"packages": {"": {}, "node_modules/n8n": {"version": "2.40.7"}}}'
    lock = Lock(python="mcp==1.30.0\n", node=NodeLock(package="{}", lock=packages))
    assert (locked_version(lock, "n8n"), locked_version(lock, "mcp")) == ("2.40.7", "1.30.0")
    assert lock_digest(lock) != lock_digest(Lock(python=lock.python))
