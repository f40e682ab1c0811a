"""Agents load once, each with the modules of its own bundle, and what is wrong with one is named."""

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator_runtimes import agents, bundles
from orchestrator_runtimes.agents import AgentLoader, LoadedAgent, agent_digest
from orchestrator_runtimes.conformance.fake import FakeAdapter
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import AgentSource, Load, PortableAgent, ToolSource

T = TypeVar("T")
FAKE = "from orchestrator_runtimes.conformance.fake import FakeAgent, FakeTeam\n"


def run(scenario: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(scenario(), 30)

    return asyncio.run(bounded())


def request(
    folder: Path, entrypoint: str | None = "agent:agent", *, tool: str | None = None, **files: str
) -> Load:
    """Pack files as a bundle and ask for an agent of it."""
    folder.mkdir()
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".py").write_text(text)
    digest, archive = bundles.pack(folder)
    portable = None
    if tool is not None:
        entrypoint = None
        portable = PortableAgent(name="p", instructions="i", model="m", tools=(ToolSource(function=tool),))
    return Load(
        source=AgentSource(entrypoint=entrypoint, portable=portable),
        bundle=digest,
        archive=base64.b64encode(archive).decode(),
    )


def load(tmp_path: Path, wanted: Load) -> tuple[str, LoadedAgent]:
    async def scenario() -> tuple[str, LoadedAgent]:
        found = await AgentLoader(FakeAdapter(), tmp_path / "unpacked").load(wanted)
        assert found is not None
        return found

    return run(scenario)


def failure(tmp_path: Path, wanted: Load) -> AgentError:
    with pytest.raises(AgentError) as caught:
        load(tmp_path, wanted)
    return caught.value


def test_two_bundles_with_modules_of_one_name_get_their_own(tmp_path: Path) -> None:
    one = request(
        tmp_path / "one",
        agent=FAKE + "import words\nagent = FakeAgent(instructions=words.TEXT)\n",
        words="TEXT = 'first'\n",
    )
    two = request(
        tmp_path / "two",
        agent=FAKE + "import words\nagent = FakeAgent(instructions=words.TEXT)\n",
        words="TEXT = 'second'\n",
    )
    three = request(tmp_path / "three", agent=FAKE + "import words\n")

    async def scenario() -> None:
        loader = AgentLoader(FakeAdapter(), tmp_path / "unpacked")
        path, modules = list(sys.path), set(sys.modules)
        found = [await loader.load(wanted) for wanted in (one, two, one)]
        assert [entry and entry[1].native.members[0][1] for entry in found] == ["first", "second", "first"]
        assert found[0] == found[2] and found[0] is not None and loader.get(found[0][0]) is found[0][1]
        with pytest.raises(AgentError, match="ModuleNotFoundError"):
            await loader.load(three)
        assert sys.path == path
        assert not {"agent", "words"} & (set(sys.modules) - modules)

    run(scenario)


def test_an_import_inside_a_function_finds_the_bundle_of_its_factory(tmp_path: Path) -> None:
    wanted = request(
        tmp_path / "b",
        "deep.agent:Makers.team",
        deep__agent=FAKE + "from deep import words\n"
        "class Makers:\n    @staticmethod\n    def team():\n"
        "        return FakeTeam(members=[FakeAgent(instructions=words.TEXT)])\n",
        deep__words="TEXT = 'deep'\n",
        deep____init__="",
    )
    digest, loaded = load(tmp_path, wanted)
    assert (loaded.native_type, loaded.native.members[0][1]) == ("FakeTeam", "deep")
    assert digest == agent_digest(wanted.bundle, wanted.source)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("1/0\n", "ZeroDivisionError"),
        ("import sys\nsys.exit('bye')\n", "SystemExit: bye"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_distribution\n", "ModuleNotFoundError: No module named 'no_such_distribution'"),
        ("agent = 5\n", None),
        (FAKE + "def agent():\n    raise LookupError('no model')\n", "LookupError: no model"),
    ],
)
def test_a_module_that_fails_at_import_is_named_and_the_loader_goes_on(
    tmp_path: Path, text: str, cause: str | None
) -> None:
    wanted = request(tmp_path / "bad", agent=text)
    good = request(tmp_path / "good", agent=FAKE + "agent = FakeAgent(instructions='well')\n")

    async def scenario() -> AgentError:
        loader = AgentLoader(FakeAdapter(), tmp_path / "unpacked")
        with pytest.raises(AgentError) as caught:
            await loader.load(wanted)
        assert await loader.load(good) is not None
        return caught.value

    error = run(scenario)
    assert error.code is ErrorCode.AGENT_LOAD_FAILED
    assert cause is None or cause in (error.cause or "")
    assert cause is None or "entrypoint 'agent:agent' raised while loading" in error.message


@pytest.mark.parametrize(
    "entrypoint", ["other:agent", "agent:other", "agent", "agent:", ":agent", "a-b:c", "agent:x.y z"]
)
def test_an_entrypoint_that_is_not_there_is_not_found(tmp_path: Path, entrypoint: str) -> None:
    wanted = request(tmp_path / "b", entrypoint, agent=FAKE + "agent = FakeAgent(instructions='i')\n")
    error = failure(tmp_path, wanted)
    assert error.code is ErrorCode.AGENT_NOT_FOUND and repr(entrypoint) in error.message


@pytest.mark.parametrize(
    ("tool", "code"),
    [
        ("tools:NUMBER", ErrorCode.AGENT_LOAD_FAILED),
        ("tools:untyped", ErrorCode.AGENT_LOAD_FAILED),
        ("tools:missing", ErrorCode.AGENT_NOT_FOUND),
    ],
)
def test_a_tool_that_cannot_be_used_is_named(tmp_path: Path, tool: str, code: ErrorCode) -> None:
    wanted = request(tmp_path / "b", tool=tool, tools="NUMBER = 5\ndef untyped(a):\n    return a\n")
    error = failure(tmp_path, wanted)
    assert error.code is code and tool.partition(":")[2] in error.message


def test_two_tools_of_one_name_are_refused(tmp_path: Path) -> None:
    wanted = request(tmp_path / "b", tool="tools:one", tools="def one(a: str) -> str:\n    return a\n")
    portable = wanted.source.portable
    assert portable is not None
    twice = PortableAgent(name="p", instructions="i", model="m", tools=(*portable.tools, *portable.tools))
    again = Load(source=AgentSource(portable=twice), bundle=wanted.bundle, archive=wanted.archive)
    assert "two tools named 'one'" in failure(tmp_path, again).message


def test_a_bundle_is_asked_for_once_and_must_be_what_its_digest_says(tmp_path: Path) -> None:
    wanted = request(tmp_path / "b", agent=FAKE + "agent = FakeAgent(instructions='i')\n")

    async def scenario() -> None:
        loader = AgentLoader(FakeAdapter(), tmp_path / "unpacked")
        without = Load(source=wanted.source, bundle=wanted.bundle)
        assert await loader.load(without) is None
        for archive, words in (("!", "not base64"), ("AAAA", "gzip")):
            with pytest.raises(AgentError, match=words):
                await loader.load(Load(source=wanted.source, bundle=wanted.bundle, archive=archive))
        for digest in ("../" + "0" * 61, "0" * 63, "X" * 64):
            with pytest.raises(AgentError, match="is no bundle digest"):
                await loader.load(Load(source=wanted.source, bundle=digest, archive=wanted.archive))
        assert await loader.load(wanted) is not None
        assert await loader.load(without) is not None
        assert await AgentLoader(FakeAdapter(), tmp_path / "unpacked").load(without) is not None
        with pytest.raises(AgentError, match="agent_not_found"):
            loader.get("0" * 64)

    run(scenario)


def test_a_load_that_never_ends_is_a_failed_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(FakeAdapter):
        async def load_native(self, found: object, options: object) -> Any:
            await asyncio.sleep(60)

    monkeypatch.setattr(agents, "LOAD_SECONDS", 0.05)
    wanted = request(tmp_path / "b", agent="agent = 1\n")

    async def scenario() -> None:
        with pytest.raises(AgentError, match="TimeoutError") as caught:
            await AgentLoader(Slow(), tmp_path / "unpacked").load(wanted)
        assert caught.value.code is ErrorCode.AGENT_LOAD_FAILED

    run(scenario)
