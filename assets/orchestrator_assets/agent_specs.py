"""What an agent asset is told in YAML: every wrong value is refused with its place and what to change."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import dagster as dg
from pydantic import Field, field_validator, model_validator

from orchestrator_resources.execution_batches import FailurePolicy
from orchestrator_runtimes.messages import (
    AgentSource,
    Limits,
    McpServer,
    PortableAgent,
    ToolSource,
)
from orchestrator_runtimes.profiles import installed_frameworks

ENTRYPOINT: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"


def _plain(kind: Any, **schema: Any) -> dg.Resolver:
    """Make `dg check yaml` check a value: a field of any other type than text may else be a template."""
    return dg.Resolver.default(model_field_type=kind, json_schema_extra=schema or None)


PositiveInt = Annotated[int, _plain(int, exclusiveMinimum=0), Field(gt=0)]
PositiveFloat = Annotated[float, _plain(float, exclusiveMinimum=0), Field(gt=0)]
Framework = Annotated[str, _plain(str, enum=sorted(installed_frameworks()))]
Entrypoint = Annotated[str, _plain(str, pattern=ENTRYPOINT), Field(pattern=ENTRYPOINT)]


class McpSpec(dg.Model, dg.Resolvable):
    """An MCP server whose tools the agent may call."""

    command: Sequence[str] = Field(default=(), description="Program and arguments, spoken to over stdio.")
    url: str | None = Field(default=None, description="Streamable HTTP address, instead of a command.")
    include: Sequence[str] = Field(default=(), description="Names of tools to offer; empty offers all.")

    @model_validator(mode="after")
    def one_way(self) -> "McpSpec":
        """Require exactly one of command and url."""
        if bool(self.command) == bool(self.url):
            raise ValueError("give either command or url")
        return self


class ToolSpec(dg.Model, dg.Resolvable):
    """A tool of a portable agent: a Python function of the agent's code, or an MCP server."""

    function: Annotated[str | None, _plain(str | None)] = Field(
        default=None,
        description="module:function in the agent's code, with type hints.",
        examples=["tools:lookup"],
    )
    mcp: McpSpec | None = Field(default=None, description="An MCP server, instead of a function.")
    once: Annotated[bool, _plain(bool)] = Field(
        default=False, description="True for tools with side effects that a retry must never repeat."
    )

    @model_validator(mode="after")
    def one_source(self) -> "ToolSpec":
        """Require exactly one of function and mcp."""
        if (self.function is None) == (self.mcp is None):
            raise ValueError("give either function or mcp")
        if self.function is not None and not re.match(ENTRYPOINT, self.function):
            raise ValueError(f"function must be module:name, got {self.function!r}")
        return self

    def source(self) -> ToolSource:
        """Return the tool as the contract names it."""
        mcp = self.mcp and McpServer(
            command=tuple(self.mcp.command), url=self.mcp.url, include=tuple(self.mcp.include)
        )
        return ToolSource(function=self.function, mcp=mcp or None, once=self.once)


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
    temperature: Annotated[float | None, _plain(float | None)] = Field(
        default=None, ge=0, le=2, description="None leaves the endpoint's default."
    )

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


class InputSpec(dg.Model, dg.Resolvable):
    """Where one input comes from: a fixed value, an upstream asset, or the partition key."""

    value: Any = Field(default=None, description="A fixed JSON value.")
    asset: Annotated[str | None, _plain(str | None)] = Field(
        default=None, description="Key of an upstream asset, with slashes.", examples=["raw/documents"]
    )
    partition_key: Annotated[bool, _plain(bool)] = Field(
        default=False, description="True takes the partition's key."
    )

    @model_validator(mode="after")
    def one_source(self) -> "InputSpec":
        """Require exactly one source."""
        if sum((self.value is not None, self.asset is not None, self.partition_key)) != 1:
            raise ValueError("give exactly one of value, asset and partition_key")
        return self


def _resolve_inputs(context: dg.ResolutionContext, model: Mapping[str, Any]) -> Mapping[str, InputSpec]:
    """Resolve each input by itself: Dagster resolves lists of specifications, not mappings."""
    return {
        name: InputSpec.resolve_from_model(context.at_path(name), source) for name, source in model.items()
    }


Inputs = Annotated[
    Mapping[str, InputSpec], dg.Resolver(_resolve_inputs, model_field_type=Mapping[str, InputSpec.model()])  # type: ignore[misc]  # a type made at run time
]


class ForEachSpec(dg.Model, dg.Resolvable):
    """One execution for each item of an upstream list or table."""

    input: str = Field(description="Name of the input that holds the items.", examples=["documents"])
    key: Annotated[str | None, _plain(str | None)] = Field(
        default=None, description="Field of each item that names its row; None numbers the rows."
    )
    in_flight: PositiveInt = Field(default=64, description="Most executions at once.")
    on_failure: Annotated[str, _plain(str, enum=["fail", "keep", "threshold"])] = Field(
        default="fail",
        description="What failed items mean: end the step, keep their rows, or allow a share of them.",
    )
    threshold: Annotated[float, _plain(float, minimum=0, maximum=1)] = Field(
        default=0.0, ge=0, le=1, description="Share of items that may fail with on_failure: threshold."
    )

    @field_validator("on_failure")
    @classmethod
    def known_policy(cls, value: str) -> str:
        """Refuse an unknown policy."""
        if value not in ("fail", "keep", "threshold"):
            raise ValueError(f"on_failure must be fail, keep or threshold, got {value!r}")
        return value

    def policy(self) -> FailurePolicy:
        """Return the policy as batches take it."""
        kind: Literal["fail", "keep", "threshold"] = "fail"
        if self.on_failure == "keep":
            kind = "keep"
        elif self.on_failure == "threshold":
            kind = "threshold"
        return FailurePolicy(kind=kind, share=self.threshold)


class LimitsSpec(dg.Model, dg.Resolvable):
    """Bounds of one execution."""

    steps: PositiveInt = Field(default=Limits().steps, description="Model calls.")
    tool_calls: PositiveInt = Field(default=Limits().tool_calls, description="Tool calls.")
    seconds: PositiveFloat = Field(default=Limits().seconds, description="Wall time in seconds.")
    tokens: Annotated[int | None, _plain(int | None)] = Field(
        default=None, gt=0, description="Input and output tokens together; None sets no bound."
    )
    output_bytes: PositiveInt = Field(
        default=Limits().output_bytes, description="Size of the output as JSON."
    )

    def limits(self) -> Limits:
        """Return the limits as the contract names them."""
        return Limits(
            steps=self.steps,
            tool_calls=self.tool_calls,
            seconds=self.seconds,
            tokens=self.tokens,
            output_bytes=self.output_bytes,
        )


class RetrySpec(dg.Model, dg.Resolvable):
    """Retries of the step; errors that cannot succeed later are never retried."""

    max: Annotated[int, _plain(int, minimum=0)] = Field(
        default=2, ge=0, description="Retries after the first try."
    )
    delay_seconds: Annotated[float, _plain(float, minimum=0)] = Field(
        default=5.0, ge=0, description="Seconds before the first retry; each further one waits twice as long."
    )


class AgentSpec(dg.Model, dg.Resolvable):
    """An agent and how it runs."""

    framework: Framework = Field(description="Which framework runs it.", examples=["langgraph"])
    entrypoint: Annotated[str | None, _plain(str | None)] = Field(
        default=None,
        description="module:attribute of a native agent in the agent's code: an object or a factory.",
        examples=["agent:build"],
    )
    portable: PortableSpec | None = Field(
        default=None, description="A portable agent, instead of an entrypoint."
    )
    options: Mapping[str, Any] = Field(
        default={}, description="Choices of the framework's adapter; see its README."
    )
    inputs: Inputs = Field(default={}, description="What the agent gets, by name.")
    prompt: Annotated[str | None, _plain(str | None)] = Field(
        default=None,
        description="Text for the agent with inputs filled in, such as `Review {document[title]}`; None gives it the inputs.",
    )
    for_each: ForEachSpec | None = Field(
        default=None, description="One execution for each item; None runs one."
    )
    limits: LimitsSpec = Field(default=LimitsSpec(), description="Bounds of one execution.")
    output_schema: Mapping[str, Any] | None = Field(
        default=None, description="JSON Schema that each output must match; None checks nothing."
    )
    session: Annotated[str | None, _plain(str | None)] = Field(
        default=None,
        description="Name of a conversation to go on with; {partition_key} and {key} (of an item) are filled in.",
    )
    stream: Annotated[bool, _plain(bool)] = Field(
        default=False, description="True asks the model for tokens."
    )
    retries: RetrySpec = Field(default=RetrySpec(), description="Retries of the step.")

    @model_validator(mode="after")
    def consistent(self) -> "AgentSpec":
        """Refuse what could only fail later."""
        if (self.entrypoint is None) == (self.portable is None):
            raise ValueError("give either entrypoint (a native agent) or portable")
        if self.entrypoint is not None and not re.match(ENTRYPOINT, self.entrypoint):
            raise ValueError(f"entrypoint must be module:attribute, got {self.entrypoint!r}")
        frameworks = installed_frameworks()
        if self.framework not in frameworks:
            raise ValueError(
                f"framework {self.framework!r} is not installed; there are {', '.join(sorted(frameworks))}"
            )
        if self.for_each is not None and self.for_each.input not in self.inputs:
            raise ValueError(f"for_each.input names {self.for_each.input!r}, which is not among the inputs")
        return self

    def source(self, name: str) -> AgentSource:
        """Return the agent as the contract names it."""
        portable = self.portable.agent(name) if self.portable is not None else None
        return AgentSource(entrypoint=self.entrypoint, portable=portable, options=self.options)


def code_folder(component_folder: Path, code: str) -> Path:
    """Return the folder of the agent's code, which must be the component's or below it.

    Raises:
        ValueError: It is elsewhere or missing.
    """
    folder = (component_folder / code).resolve()
    if not folder.is_relative_to(component_folder.resolve()) or not folder.is_dir():
        raise ValueError(f"code {code!r} must be a folder in {component_folder.name!r}")
    return folder
