"""Every message of the contract. Requests carry what a guest may know, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from orchestrator_runtimes.capabilities import Support
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.json_values import Json

CONTRACT_VERSION: Final = "1.1"
"""Major and minor. Peers of one major version work together; a new minor only adds optional keys and messages."""

MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Default limit of one message, in bytes with its line end."""


class FinishReason(StrEnum):
    """How an execution ended when it did not fail."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    LIMIT = "limit"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one execution; crossing one is `limit_exceeded`, or `timeout` for seconds.

    Attributes:
        steps: Model calls. An endless tool loop ends here, in every framework.
        tool_calls: Tool calls.
        seconds: Wall time of the execution.
        tokens: Input and output tokens together; None means no bound.
        output_bytes: Size of the output as JSON.
    """

    steps: int = 50
    tool_calls: int = 100
    seconds: float = 600.0
    tokens: int | None = None
    output_bytes: int = 8 * 1024 * 1024

    def __post_init__(self) -> None:
        """Reject bounds that nothing could run under."""
        for name in ("steps", "seconds", "output_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"limit {name!r} must be above 0, got {getattr(self, name)!r}")
        if self.tool_calls < 0 or (self.tokens is not None and self.tokens <= 0):
            raise ValueError("limits must be positive")


@dataclass(frozen=True, kw_only=True)
class ModelAddress:
    """Where the model calls of an execution go, whatever address the agent's code names.

    Attributes:
        base_url: OpenAI-compatible, up to and with `/v1`.
        api_key: Bearer token for it; None sends none.
    """

    base_url: str
    api_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """A server of the Model Context Protocol: a command spoken to over stdio, an HTTP address, or one of the gateway's.

    Attributes:
        command: Program and arguments; empty when it is reached otherwise.
        url: Streamable HTTP address; None when it is reached otherwise.
        server: Name that the gateway knows it by; its key and its journal are there. None when it is reached otherwise.
        include: Names of the tools to offer; empty offers all.
    """

    command: tuple[str, ...] = ()
    url: str | None = None
    server: str | None = None
    include: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Require exactly one way to reach the server."""
        if [bool(self.command), bool(self.url), bool(self.server)].count(True) != 1:
            raise ValueError("an MCP server needs either a command or a url or a server of the gateway")


@dataclass(frozen=True, kw_only=True)
class ToolSource:
    """A tool of a portable agent: a Python function of its bundle, or the tools of an MCP server.

    Attributes:
        function: `module:name`; None when `mcp` is set.
        mcp: The server; None when `function` is set.
        once: True when a finished call must never be repeated by a retry.
        approval: True when each call waits for a person's decision before it runs. Since contract 1.1.
    """

    function: str | None = None
    mcp: McpServer | None = None
    once: bool = False
    approval: bool = False

    def __post_init__(self) -> None:
        """Require exactly one source."""
        if (self.function is None) == (self.mcp is None):
            raise ValueError("a tool needs either a function or an MCP server")


@dataclass(frozen=True, kw_only=True)
class PortableAgent:
    """An agent that every framework can build from the same words.

    Attributes:
        name: Shown in events; also the native agent's name.
        instructions: System prompt.
        model: Model name that the endpoint knows.
        tools: What it may call.
        output_schema: JSON Schema of an object, in the subset of `output_schemas`; None means text.
        temperature: None leaves the endpoint's default.
    """

    name: str
    instructions: str
    model: str
    tools: tuple[ToolSource, ...] = ()
    output_schema: Mapping[str, Json] | None = None
    temperature: float | None = None


@dataclass(frozen=True, kw_only=True)
class AgentSource:
    """What to run: a native object of a bundle, or a portable agent.

    Attributes:
        entrypoint: `module:attribute` in the bundle; None for a portable agent.
        portable: None for a native agent.
        options: Choices for the adapter, documented by each.
    """

    entrypoint: str | None = None
    portable: PortableAgent | None = None
    options: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def __post_init__(self) -> None:
        """Require exactly one way to give the agent."""
        if (self.entrypoint is None) == (self.portable is None):
            raise ValueError("an agent needs either an entrypoint or a portable description")


@dataclass(frozen=True, kw_only=True)
class Initialize:
    """`initialize`, the first request. `message_bytes` is the longest message the trusted side reads."""

    contract: str = CONTRACT_VERSION
    message_bytes: int = MESSAGE_BYTES


@dataclass(frozen=True, kw_only=True)
class Initialized:
    """Answer to `initialize`.

    Attributes:
        contract: The guest's version of the contract.
        framework: Name of the framework's profile.
        framework_version: Version of its distribution.
        python: Version of the guest's interpreter, or of its language.
        capabilities: Support by name of capability; names the host does not know are ignored.
        max_executions: How many executions it runs at once; one more is refused.
        cancel: When cancelled work ends: see `FrameworkProfile.cancel`.
        message_bytes: Longest message the guest reads.
    """

    contract: str
    framework: str
    framework_version: str
    python: str
    capabilities: Mapping[str, Support]
    max_executions: int
    cancel: Literal["task", "next_call"]
    message_bytes: int = MESSAGE_BYTES


@dataclass(frozen=True, kw_only=True)
class Load:
    """`load`: make an agent ready.

    Attributes:
        source: What to load.
        bundle: Digest of the folder that holds its code; None when it needs none.
        archive: The folder as base64 of `bundles.pack`; None when the guest may have it already.
        model: Where the gateway is that the agent's MCP servers are behind, to learn of their tools; None where it has
            no such servers.
    """

    source: AgentSource
    bundle: str | None = None
    archive: str | None = None
    model: ModelAddress | None = None


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Answer to `load`.

    Attributes:
        agent: Digest of bundle and source; `run` names the agent by it. None when the guest lacks the bundle's
            bytes: send them with the same request.
        native_type: Type of the native object, such as `CompiledStateGraph`. Empty when `agent` is None.
    """

    agent: str | None = None
    native_type: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """`run`: one execution of a loaded agent.

    Attributes:
        execution: Unique id, chosen by the trusted side.
        agent: From `Loaded`.
        inputs: Any JSON; a string is a user's message.
        session: Name of the conversation whose state is loaded before and saved after; None keeps nothing.
        limits: Bounds.
        model: None when the agent calls no model.
        output_schema: What the output must match, beyond what the agent itself declares; None checks nothing.
        stream: True sends `token` events where the framework can.
        journal: True when the trusted side answers `step.lookup` and keeps `step.record`.
        traceparent: W3C trace context; None starts no trace.
    """

    execution: str
    agent: str
    inputs: Json = None
    session: str | None = None
    limits: Limits = field(default_factory=Limits)
    model: ModelAddress | None = None
    output_schema: Mapping[str, Json] | None = None
    stream: bool = False
    journal: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resume:
    """`resume`: go on with an interrupted execution; `decision` answers its approval request."""

    run: Run
    decision: Json = None


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """`cancel`: end an execution, whose own request then fails with `cancelled`."""

    execution: str


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """Answer to `cancel`; `known` is False when no such execution runs."""

    known: bool


@dataclass(frozen=True, kw_only=True)
class Shutdown:
    """`shutdown`: finish what runs within `grace_seconds`, cancel the rest, and end the process."""

    grace_seconds: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """Answer of requests that only happen."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What an execution consumed, every call counted.

    Attributes:
        input_tokens: As the endpoint reported them.
        output_tokens: As the endpoint reported them.
        cached_tokens: The part of the input that the endpoint served from its cache.
        model_calls: Calls that reached the endpoint, failed ones too.
        tool_calls: Calls that were started.
        unmetered_calls: Answered model calls whose endpoint reported no usage: the token counts lack them.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    unmetered_calls: int = 0


@dataclass(frozen=True, kw_only=True)
class Result:
    """Answer to `run` and `resume`.

    Attributes:
        output: The agent's output; text unless it has an output schema or its native output is structured. Of an
            interrupted execution, what it waits for: a list of `ToolApproval` where tools wait, else the request of the
            framework's own interrupt.
        finish_reason: `completed`, or `interrupted` when it waits for a decision. One whose tools wait is run again
            after the decision, by `run` with the same id; one that the framework interrupted goes on by `resume`.
        usage: What it consumed.
        seconds: Wall time in the guest.
        native: The framework's own metrics, for people.
    """

    output: Json
    finish_reason: FinishReason
    usage: Usage
    seconds: float
    native: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True)
class Failure:
    """`data` of the JSON-RPC error that ends a request.

    Attributes:
        code: From the closed set.
        retryable: Whether the same request may succeed later.
        cause: The foreign error behind it; None when there is none.
        detail: Facts for programs.
        usage: What a failed execution consumed; None for requests that are no execution.
    """

    code: ErrorCode
    retryable: bool
    cause: str | None = None
    detail: Mapping[str, Json] = field(default_factory=dict[str, Json])
    usage: Usage | None = None


@dataclass(frozen=True, kw_only=True)
class StateGet:
    """`state.get`, from the guest: the state of this execution's session. Other sessions cannot be named."""

    execution: str


@dataclass(frozen=True, kw_only=True)
class State:
    """Answer to `state.get`: text the adapter wrote, None when the session is new, and its version for `state.put`."""

    text: str | None = None
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class StatePut:
    """`state.put`, from the guest; refused with `state_unavailable` when `version` is no longer the stored one."""

    execution: str
    text: str
    version: int


@dataclass(frozen=True, kw_only=True)
class StepLookup:
    """`step.lookup`, from the guest: was this tool call finished by an earlier try of this execution?

    `step` is the fingerprint of tool and arguments, `occurrence` counts equal fingerprints from 0. A tool that must
    run `once` is marked as started by its lookup.
    """

    execution: str
    step: str
    occurrence: int
    once: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """Answer to `step.lookup`: `new`, `started` (its result is unknown), or `finished` with its result."""

    state: Literal["new", "started", "finished"]
    result: str | None = None


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """`step.record`, from the guest: a tool call finished."""

    execution: str
    step: str
    occurrence: int
    result: str


@dataclass(frozen=True, kw_only=True)
class ApprovalAsk:
    """`approval.ask`, from the guest: may this tool call run? Since contract 1.1.

    Attributes:
        execution: Whose call it is.
        step: As in `StepLookup`.
        occurrence: As there.
        tool: Name of the tool.
        arguments: What it would be called with, whole: they are what a person decides about.
    """

    execution: str
    step: str
    occurrence: int
    tool: str
    arguments: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Answer to `approval.ask`.

    Attributes:
        id: Names the request to people; the same in each try.
        state: `waiting` when nobody has decided yet.
        reason: Why it was rejected; None when nothing was said.
    """

    id: str
    state: Literal["waiting", "approved", "rejected"]
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ToolApproval:
    """A tool call that waits: one of the output of an execution that was interrupted by its tools.

    Attributes:
        approval: `id` of the `Approval`.
        tool: Name of the tool.
        arguments: What it would be called with.
    """

    approval: str
    tool: str
    arguments: Mapping[str, Json]


METHODS: Final[Mapping[str, tuple[type[object], type[object]]]] = {
    "initialize": (Initialize, Initialized),
    "load": (Load, Loaded),
    "run": (Run, Result),
    "resume": (Resume, Result),
    "cancel": (Cancel, Cancelled),
    "shutdown": (Shutdown, Done),
    "state.get": (StateGet, State),
    "state.put": (StatePut, Done),
    "step.lookup": (StepLookup, Step),
    "step.record": (StepRecord, Done),
    "approval.ask": (ApprovalAsk, Approval),
}
"""Parameters and answer of each request."""
