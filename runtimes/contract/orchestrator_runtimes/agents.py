"""Loading an agent: its bundle's folder, its entrypoint or its portable description, and its tools."""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from orchestrator_runtimes import bundles
from orchestrator_runtimes.adapter import Adapter
from orchestrator_runtimes.codec import encode
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import dump
from orchestrator_runtimes.mcp_tools import mcp_tools
from orchestrator_runtimes.messages import AgentSource, Load, PortableAgent
from orchestrator_runtimes.output_schemas import check_schema
from orchestrator_runtimes.tool_rules import ToolRules
from orchestrator_runtimes.tools import PortableTool, function_tool

LOAD_SECONDS: Final = 120.0


def agent_digest(bundle: str | None, source: AgentSource) -> str:
    """Return the digest that names an agent: the same code and description give the same on both sides."""
    return hashlib.sha256(dump([bundle, encode(source)])).hexdigest()


@dataclass(frozen=True, kw_only=True)
class LoadedAgent:
    """An agent that is ready; `native` is the adapter's, `source` what it was loaded from."""

    native: Any
    native_type: str
    source: AgentSource
    tool_rules: ToolRules


class AgentLoader:
    """The agents of one guest process, each loaded once.

    Args:
        adapter: Of the guest's framework.
        folder: Where bundles are unpacked, each in a folder named by its digest.
    """

    def __init__(self, adapter: Adapter, folder: Path) -> None:
        """Begin with no agents."""
        self._adapter = adapter
        self._folder = folder
        self._agents: dict[str, LoadedAgent] = {}
        self._lock = asyncio.Lock()
        self._modules: dict[str, dict[str, ModuleType]] = {}

    def get(self, agent: str) -> LoadedAgent:
        """Return a loaded agent.

        Raises:
            AgentError: `agent_not_found`.
        """
        try:
            return self._agents[agent]
        except KeyError:
            raise AgentError(
                ErrorCode.AGENT_NOT_FOUND, f"no agent {agent!r:.80} is loaded in this runtime"
            ) from None

    async def load(self, request: Load) -> tuple[str, LoadedAgent] | None:
        """Load an agent, or find it loaded; None when the bundle's bytes are needed first.

        Raises:
            AgentError: `agent_not_found` when the entrypoint is not there, `agent_load_failed` when it or a tool cannot
                be made ready.
        """
        digest = agent_digest(request.bundle, request.source)
        async with self._lock:
            if digest not in self._agents:
                if not self._have(request):
                    return None
                try:
                    async with asyncio.timeout(LOAD_SECONDS):
                        self._agents[digest] = await self._load(request)
                except TimeoutError as error:
                    raise _load_error(request.source, error) from error
        return digest, self._agents[digest]

    def _have(self, request: Load) -> bool:
        """Unpack the bundle if it came along; False when it is needed and did not."""
        if request.bundle is None:
            return True
        if len(request.bundle) != 64 or set(request.bundle) - set("0123456789abcdef"):
            raise AgentError(ErrorCode.AGENT_LOAD_FAILED, f"{request.bundle!r:.80} is no bundle digest")
        target = self._folder / request.bundle
        if not target.is_dir() and request.archive is not None:
            try:
                packed = base64.b64decode(request.archive, validate=True)
            except binascii.Error as error:
                raise AgentError(
                    ErrorCode.AGENT_LOAD_FAILED, "the bundle is not base64", cause=str(error)
                ) from error
            bundles.unpack(packed, request.bundle, target)
        return target.is_dir()

    async def _load(self, request: Load) -> LoadedAgent:
        source = request.source
        rules = ToolRules.of(source.options)
        try:
            if source.portable is not None:
                native = await self._portable(source.portable, request)
            else:
                assert source.entrypoint is not None  # one of the two is set
                found = self._import(source.entrypoint, request.bundle)
                native = await self._adapter.load_native(found, source.options)
                if rules.once or rules.again:
                    rules.check(self._adapter.tool_names(native))
        except AgentError:
            raise
        except Exception as error:  # the boundary: the agent's own code runs at import and in factories
            raise _load_error(source, error) from error
        except (SystemExit, KeyboardInterrupt) as error:  # no signal raises it here: the agent's code did
            raise _load_error(source, error) from error
        native_type = self._adapter.native_type(native)
        return LoadedAgent(native=native, native_type=native_type, source=source, tool_rules=rules)

    async def _portable(self, agent: PortableAgent, request: Load) -> Any:
        if agent.output_schema is not None:
            check_schema(agent.output_schema)
        tools: list[PortableTool] = []
        for source in agent.tools:
            if source.mcp is not None:
                tools += await mcp_tools(
                    source.mcp, request.model, once=source.once, approval=source.approval
                )
            elif source.function is not None:
                function = self._import(source.function, request.bundle)
                if not callable(function):
                    raise AgentError(
                        ErrorCode.AGENT_LOAD_FAILED, f"tool {source.function!r} is not a function"
                    )
                tools.append(function_tool(function, once=source.once, approval=source.approval))
        names = [tool.name for tool in tools]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED, f"agent {agent.name!r} has two tools named {twice!r}"
            )
        return self._adapter.build_portable(agent, tools)

    def _import(self, entrypoint: str, bundle: str | None) -> Any:
        name, _, attribute = entrypoint.partition(":")
        if not attribute or not all(part.isidentifier() for part in name.split(".") + attribute.split(".")):
            raise AgentError(
                ErrorCode.AGENT_NOT_FOUND, f"entrypoint {entrypoint!r} is not of the form module:attribute"
            )
        with self._bundle_modules(bundle):
            try:
                found: Any = importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                    raise AgentError(
                        ErrorCode.AGENT_NOT_FOUND,
                        f"entrypoint {entrypoint!r}: the bundle has no module {name!r}",
                    ) from error
                raise
            for part in attribute.split("."):
                if not hasattr(found, part):
                    raise AgentError(
                        ErrorCode.AGENT_NOT_FOUND,
                        f"entrypoint {entrypoint!r}: {name!r} has no attribute {part!r}",
                    )
                found = getattr(found, part)
        return found

    @contextlib.contextmanager
    def _bundle_modules(self, bundle: str | None) -> Generator[None, None, None]:
        """Import from the bundle's folder, so that two bundles may both have a module `agent`.

        What a bundle imports from its own folder is kept apart by digest and put aside afterwards.
        """
        if bundle is None:
            yield
            return
        folder = self._folder / bundle
        own = self._modules.setdefault(bundle, {})
        sys.path.insert(0, str(folder))
        sys.modules.update(own)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            for name, module in list(sys.modules.items()):
                origin = getattr(module, "__file__", None) or next(
                    iter(getattr(module, "__path__", [])), None
                )
                if origin is not None and Path(origin).is_relative_to(folder):
                    own[name] = sys.modules.pop(name)


def _load_error(source: AgentSource, error: BaseException) -> AgentError:
    what = (
        f"entrypoint {source.entrypoint!r}"
        if source.entrypoint
        else f"portable agent {source.portable!r:.80}"
    )
    if source.portable is not None:
        what = f"portable agent {source.portable.name!r}"
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return AgentError(
        ErrorCode.AGENT_LOAD_FAILED,
        f"{what} raised while loading{where}",
        cause=f"{type(error).__name__}: {error}",
    )
