"""What an agent asset is told in YAML: every wrong value is refused with its place and what to change."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

import dagster as dg
from pydantic import Field, field_validator, model_validator

from orchestrator_assets.execution_specs import (
    BudgetSpec,
    ExecutionSpec,
    ForEachSpec,
    GpuSpec,
    InputSpec,
    LimitsSpec,
    RetrySpec,
    check_output_schema,
)
from orchestrator_assets.spec_fields import (
    Flag,
    OptionalText,
    WrongValue,
    bounded,
    plain,
)
from orchestrator_runtimes.messages import (
    AgentSource,
    McpServer,
    PortableAgent,
    ToolSource,
)
from orchestrator_runtimes.profiles import installed_frameworks

FUNCTION: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
FILE: Final = r"^\w[\w-]*(/\w[\w-]*)*\.json$"

OptionalEntrypoint = Annotated[str | None, plain(str | None, "string", "null", pattern=f"{FUNCTION}|{FILE}")]


class McpSpec(dg.Model, dg.Resolvable):
    """An MCP server whose tools the agent may call."""

    command: Sequence[str] = Field(default=(), description="Program and arguments, spoken to over stdio.")
    url: str | None = Field(default=None, description="Streamable HTTP address, instead of a command.")
    server: OptionalText = Field(
        default=None,
        description="Name of a server that the gateway knows, instead of a command: it holds the server's key, and a"
        " retry gets the results of calls that were finished.",
    )
    include: Sequence[str] = Field(default=(), description="Names of tools to offer; empty offers all.")

    @model_validator(mode="after")
    def one_way(self) -> "McpSpec":
        """Require exactly one of command, url and server."""
        if [bool(self.command), bool(self.url), bool(self.server)].count(True) != 1:
            raise ValueError("give either command or url or server")
        return self


class ToolSpec(dg.Model, dg.Resolvable):
    """A tool of a portable agent: a Python function of the agent's code, or an MCP server."""

    function: OptionalEntrypoint = Field(
        default=None,
        description="module:function in the agent's code, with type hints.",
        examples=["tools:lookup"],
    )
    mcp: McpSpec | None = Field(default=None, description="An MCP server, instead of a function.")
    once: Flag = Field(
        default=False, description="True for tools with side effects that a retry must never repeat."
    )
    approval: Flag = Field(
        default=False, description="True for tools of which each call waits until a person approves it."
    )

    @model_validator(mode="after")
    def one_source(self) -> "ToolSpec":
        """Require exactly one of function and mcp."""
        if (self.function is None) == (self.mcp is None):
            raise ValueError("give either function or mcp")
        if self.function is not None and not re.match(FUNCTION, self.function):
            raise ValueError(f"function must be module:name, got {self.function!r}")
        return self

    def source(self) -> ToolSource:
        """Return the tool as the contract names it."""
        mcp = self.mcp and McpServer(
            command=tuple(self.mcp.command),
            url=self.mcp.url,
            server=self.mcp.server,
            include=tuple(self.mcp.include),
        )
        return ToolSource(function=self.function, mcp=mcp or None, once=self.once, approval=self.approval)


class PortableSpec(dg.Model, dg.Resolvable):
    """An agent that every framework can build: change `framework` and nothing else."""

    instructions: str = Field(
        description="System prompt.", examples=["Review the licence of a Python distribution."]
    )
    model_name: str = Field(default="smollm2", description="Model name that the endpoint knows.")
    tools: Sequence[ToolSpec] = Field(default=(), description="What the agent may call.")
    output_schema: Mapping[str, Any] | None = Field(
        default=None, description="JSON Schema of an object; without one the output is text."
    )
    temperature: Annotated[
        float | None,
        plain(float | None, "number", "null", minimum=0, maximum=2),
        bounded("a number from 0 to 2", least=0, most=2),
    ] = Field(default=None, description="None leaves the endpoint's default.")

    @field_validator("output_schema")
    @classmethod
    def known_keywords(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Refuse a schema that not every framework can hold to."""
        return check_output_schema(value)

    def agent(self, name: str) -> PortableAgent:
        """Return the agent as the contract names it."""
        return PortableAgent(
            name=name,
            instructions=self.instructions,
            model=self.model_name,
            tools=tuple(tool.source() for tool in self.tools),
            output_schema=self.output_schema,
            temperature=self.temperature,
        )


class AgentSpec(ExecutionSpec):
    """An agent and how it runs."""

    entrypoint: OptionalEntrypoint = Field(
        default=None,
        description="A native agent in the agent's code: module:attribute, an object or a factory; in n8n the file of a"
        " workflow.",
        examples=["agent:build", "workflow.json"],
    )
    portable: PortableSpec | None = Field(
        default=None, description="A portable agent, instead of an entrypoint."
    )
    options: Mapping[str, Any] = Field(
        default={}, description="Choices of the framework's adapter; see its README."
    )

    @model_validator(mode="after")
    def consistent(self) -> Self:
        """Refuse an agent that is none, or two."""
        self._check_entrypoint()
        if (self.entrypoint is None) == (self.portable is None):
            raise WrongValue(
                "give either entrypoint (a native agent) or portable",
                "entrypoint" if self.entrypoint is not None else "framework",
            )
        return self

    @property
    def known_output_schema(self) -> Mapping[str, Any] | None:
        """The schema of outputs: of the asset, or of its portable agent."""
        return self.output_schema or (self.portable.output_schema if self.portable is not None else None)

    def _check_entrypoint(self) -> None:
        """Refuse an entrypoint that does not name what the framework's entrypoints name."""
        names_file = installed_frameworks()[self.framework].entrypoint == "file"
        pattern = FILE if names_file else FUNCTION
        form = "a file, such as workflow.json" if names_file else "module:attribute, such as agent:build"
        if self.entrypoint is not None and not re.match(pattern, self.entrypoint):
            raise WrongValue(f"must be {form}, got {self.entrypoint!r}", "entrypoint")

    @property
    def file(self) -> str | None:
        """The file that the entrypoint names; None where it names an attribute of a module, or there is none."""
        return self.entrypoint if self.entrypoint is not None and ":" not in self.entrypoint else None

    def modules(self) -> list[tuple[list[str], tuple[str | int, ...]]]:
        """Return every module that the agent names, in parts, each with the place where it is named."""
        named: list[tuple[str | None, tuple[str | int, ...]]] = []
        if self.file is None:
            named.append((self.entrypoint, ("entrypoint",)))
        tools = self.portable.tools if self.portable is not None else ()
        named += [(tool.function, ("portable", "tools", n, "function")) for n, tool in enumerate(tools)]
        return [(name.partition(":")[0].split("."), path) for name, path in named if name is not None]

    def source(self, name: str) -> AgentSource:
        """Return the agent as the contract names it."""
        portable = self.portable.agent(name) if self.portable is not None else None
        return AgentSource(entrypoint=self.entrypoint, portable=portable, options=self.options)


SPECS: Final = (
    PortableSpec,
    ToolSpec,
    McpSpec,
    InputSpec,
    ForEachSpec,
    LimitsSpec,
    BudgetSpec,
    GpuSpec,
    RetrySpec,
)
"""What an `AgentSpec` is made of."""


def code_folder(component_folder: Path, code: str) -> Path:
    """Return the folder of the agent's code, which must be the component's or below it.

    Raises:
        WrongValue: It is elsewhere or missing.
    """
    folder = (component_folder / code).resolve()
    if not folder.is_relative_to(component_folder.resolve()) or not folder.is_dir():
        raise WrongValue(
            f"{code!r} must be a folder that exists, {component_folder.name!r} itself or one inside of it",
            "code",
        )
    return folder
