"""How an agent runs, in YAML: every wrong value is refused with its place and what to change."""

import re
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Annotated, Any, Final, Literal, Self

import dagster as dg
from pydantic import Field, field_validator, model_validator

from orchestrator_assets.personal_paths import check_personal
from orchestrator_assets.spec_fields import (
    Flag,
    OptionalPositiveFloat,
    OptionalPositiveInt,
    OptionalText,
    PositiveFloat,
    PositiveInt,
    WrongValue,
    bounded,
    plain,
)
from orchestrator_gateway.prices import nanodollars
from orchestrator_gateway.tokens import ExecutionBudget
from orchestrator_resources.execution_batches import BatchSettings, FailurePolicy
from orchestrator_resources.gpus import GpuRequest
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.messages import (
    Limits,
)
from orchestrator_runtimes.output_schemas import check_schema
from orchestrator_runtimes.profiles import installed_frameworks

LONGEST_APPROVAL_SECONDS: Final = 28 * 24 * 3600.0
"""Less than answers are kept, so that an execution that goes on repeats no call."""


Framework = Annotated[str, plain(str, enum=sorted(installed_frameworks()))]


def check_output_schema(schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a schema that every framework can hold to.

    Raises:
        WrongValue: It is none.
    """
    if schema is not None:
        try:
            check_schema(schema)
        except AgentError as error:
            raise WrongValue(error.message) from error
    return schema


class InputSpec(dg.Model, dg.Resolvable):
    """Where one input comes from: a fixed value, an upstream asset, or the partition key."""

    value: Any = Field(default=None, description="A fixed JSON value.")
    asset: OptionalText = Field(
        default=None, description="Key of an upstream asset, with slashes.", examples=["raw/documents"]
    )
    partition_key: Flag = Field(default=False, description="True takes the partition's key.")

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
    key: OptionalText = Field(
        default=None, description="Field of each item that names its row; None numbers the rows."
    )
    in_flight: PositiveInt = Field(
        default=BatchSettings().in_flight,
        description="Most executions at once; raise it for an endpoint that takes more.",
    )
    on_failure: Annotated[str, plain(str, enum=["fail", "keep", "threshold"])] = Field(
        default="fail",
        description="What failed items mean: end the step, keep their rows, or allow a share of them.",
    )
    threshold: Annotated[
        float | None,
        plain(float | None, "number", "null", exclusiveMinimum=0, maximum=1),
        bounded("a share above 0 and up to 1, such as 0.1", above=0, most=1),
    ] = Field(default=None, description="Share of items that may fail; only with on_failure: threshold.")

    @field_validator("on_failure")
    @classmethod
    def known_policy(cls, value: str) -> str:
        """Refuse an unknown policy."""
        if value not in ("fail", "keep", "threshold"):
            raise WrongValue(f"must be fail, keep or threshold, got {value!r}")
        return value

    @model_validator(mode="after")
    def threshold_with_its_policy(self) -> "ForEachSpec":
        """Require a threshold exactly where it counts."""
        if (self.on_failure == "threshold") != (self.threshold is not None):
            raise WrongValue(
                "give threshold, such as 0.1, and on_failure: threshold together or neither", "threshold"
            )
        return self

    def policy(self) -> FailurePolicy:
        """Return the policy as batches take it."""
        kind: Literal["fail", "keep", "threshold"] = "fail"
        if self.on_failure == "keep":
            kind = "keep"
        elif self.on_failure == "threshold":
            kind = "threshold"
        return FailurePolicy(kind=kind, share=self.threshold or 0.0)


class LimitsSpec(dg.Model, dg.Resolvable):
    """Bounds of one execution."""

    steps: PositiveInt = Field(default=Limits().steps, description="Model calls.")
    tool_calls: PositiveInt = Field(default=Limits().tool_calls, description="Tool calls.")
    seconds: PositiveFloat = Field(default=Limits().seconds, description="Wall time in seconds.")
    tokens: OptionalPositiveInt = Field(
        default=None, description="Input and output tokens together; None sets no bound."
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


class BudgetSpec(dg.Model, dg.Resolvable):
    """What one execution may spend in all its tries together, counted by the gateway."""

    tokens: OptionalPositiveInt = Field(
        default=None, description="Input and output tokens together; None means limits.tokens."
    )
    cost_usd: OptionalPositiveFloat = Field(
        default=None,
        description="US dollars, by the gateway's table of prices; models without a price are refused then."
        " None sets no bound.",
    )
    calls: OptionalPositiveInt = Field(
        default=None, description="Model calls that are answered; None means limits.steps."
    )
    seconds: OptionalPositiveFloat = Field(
        default=None,
        description="Seconds for which models are at work; calls at the same time count each. None sets no bound.",
    )


class GpuSpec(dg.Model, dg.Resolvable):
    """GPUs that an agent's own code computes on; its model is elsewhere, behind the gateway."""

    count: PositiveInt = Field(default=1, description="How many GPUs.")
    type: OptionalText = Field(
        default=None,
        description="Text that the name of each must contain; None takes any.",
        examples=["H100"],
    )
    memory_mb: OptionalPositiveInt = Field(
        default=None, description="Memory that each must have, in MiB; None takes any."
    )


class RetrySpec(dg.Model, dg.Resolvable):
    """Retries of the step; errors that cannot succeed later are never retried."""

    max: Annotated[int, plain(int, "integer", minimum=0), bounded("a whole number from 0", least=0)] = Field(
        default=2, description="Retries after the first try."
    )
    delay_seconds: Annotated[
        float, plain(float, "number", minimum=0), bounded("a number from 0", least=0)
    ] = Field(
        default=5.0, description="Seconds before the first retry; each further one waits twice as long."
    )


class ExecutionSpec(dg.Model, dg.Resolvable):
    """How an agent runs, whichever it is."""

    framework: Framework = Field(description="Which framework runs it.", examples=["langgraph"])
    inputs: Inputs = Field(
        default={},
        description="What the agent gets, by name.",
        examples=[{"document": {"asset": "raw/documents"}, "day": {"partition_key": True}}],
    )
    prompt: OptionalText = Field(
        default=None,
        description="Text for the agent with inputs filled in, such as `Review {document[title]}`;"
        " None gives it the inputs.",
        examples=["Review {document[title]}."],
    )
    for_each: ForEachSpec | None = Field(
        default=None,
        description="One execution for each item; None runs one.",
        examples=[{"input": "document", "key": "title", "on_failure": "keep"}],
    )
    limits: LimitsSpec = Field(default=LimitsSpec(), description="Bounds of one try of an execution.")
    budget: BudgetSpec = Field(
        default=BudgetSpec(), description="Bounds of all tries of an execution together."
    )
    output_schema: Mapping[str, Any] | None = Field(
        default=None, description="JSON Schema that each output must match; None checks nothing."
    )
    session: OptionalText = Field(
        default=None,
        description="Name of a conversation to go on with; {partition_key} and {key} (of an item) are filled in, and"
        " {execution}, which gives each execution its own, for native agents that ask a person.",
        examples=["support/{key}"],
    )
    stream: Flag = Field(default=False, description="True asks the model for tokens.")
    approval_seconds: Annotated[
        float,
        plain(float, "number", exclusiveMinimum=0, maximum=LONGEST_APPROVAL_SECONDS),
        bounded("a number of seconds above 0, at most 28 days", above=0, most=LONGEST_APPROVAL_SECONDS),
    ] = Field(
        default=7 * 24 * 3600.0,
        description="How long a request for approval waits; then it counts as rejected. At most 28 days, as long as the"
        " journal keeps what the agent did before.",
    )
    gpu: GpuSpec | None = Field(
        default=None,
        description="GPUs that the agent's own code computes on; None asks for none.",
        examples=[{"count": 1, "type": "H100"}],
    )
    retries: RetrySpec = Field(default=RetrySpec(), description="Retries of the step.")
    personal: Sequence[str] = Field(
        default=(),
        description="Fields of inputs and of the output that Dagster never gets in the clear, by the names on the way,"
        " lists passed: they are sealed in the asset's value, and opened for agents that get it. `output` is the whole"
        " output.",
        examples=[["customer.email", "summary"]],
    )

    @field_validator("framework")
    @classmethod
    def installed(cls, value: str) -> str:
        """Refuse a framework that is not installed."""
        if value not in (known := sorted(installed_frameworks())):
            raise WrongValue(f"framework {value!r} is not installed; there are {', '.join(known)}")
        return value

    @field_validator("output_schema")
    @classmethod
    def known_keywords(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Refuse a schema that not every framework can hold to."""
        return check_output_schema(value)

    @model_validator(mode="after")
    def fitting(self) -> Self:
        """Refuse what could only fail later."""
        if self.for_each is not None and self.for_each.input not in self.inputs:
            known = ", ".join(sorted(self.inputs)) or "none"
            raise WrongValue(
                f"names {self.for_each.input!r}, which is not among the inputs; there are {known}",
                "for_each",
                "input",
            )
        if self.prompt is not None:
            _check_template(self.prompt, set(self.inputs), "prompt")
        if self.session is not None:
            names = {"partition_key", "execution"} | ({"key"} if self.for_each is not None else set[str]())
            _check_template(self.session, names, "session")
        check_personal(self)
        return self

    @property
    def known_output_schema(self) -> Mapping[str, Any] | None:
        """The schema of outputs, as far as the YAML says it."""
        return self.output_schema

    @property
    def gpu_request(self) -> GpuRequest | None:
        """The GPUs as whoever finds them takes it; None where none are asked for."""
        if self.gpu is None:
            return None
        return GpuRequest(count=self.gpu.count, type=self.gpu.type, memory_mb=self.gpu.memory_mb)

    def execution_budget(self) -> ExecutionBudget:
        """Return what one execution may spend, as the gateway is told."""
        budget, limits = self.budget, self.limits
        return ExecutionBudget(
            tokens=budget.tokens or limits.tokens,
            cost=None if budget.cost_usd is None else nanodollars(budget.cost_usd),
            calls=budget.calls or limits.steps,
            seconds=budget.seconds,
        )


def _check_template(template: str, names: set[str], where: str) -> None:
    """Refuse a text that names something that will not be there to fill in."""
    try:
        parts = list(Formatter().parse(template))
        nested = [part for _, _, form, _ in parts if form for part in Formatter().parse(form)]
    except ValueError as error:
        raise WrongValue(f"cannot be filled in ({error}); write {{{{ and }}}} for braces", where) from error
    for _, field, _, _ in parts + nested:
        if field is not None and (name := re.split(r"[.\[]", field)[0]) not in names:
            known = ", ".join(f"{{{known}}}" for known in sorted(names)) or "nothing"
            raise WrongValue(
                f"names {{{name}}}, which nothing fills in; there is {known}; write {{{{ and }}}} for braces",
                where,
            )
