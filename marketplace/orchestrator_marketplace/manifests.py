"""The manifest of a bundle: what an agent is, what it needs, what it asks for. Closed: an unknown key is an error."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Literal

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.version import Version

from orchestrator_marketplace.names import BundleName, parse_name, parse_version
from orchestrator_marketplace.pricing import Pricing
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse
from orchestrator_runtimes.messages import AgentSource, PortableAgent
from orchestrator_runtimes.output_schemas import check_schema

FORMAT: Final = 1
MANIFEST_BYTES: Final = 1 * 2**20

_FRAMEWORK: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ATTRIBUTE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_FILE: Final = re.compile(r"\w[\w-]*(/\w[\w-]*)*\.json", re.ASCII)
_WORD: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
_LONGEST_SUMMARY: Final = 200
_LONGEST_TERMS: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool that the agent uses, for whoever decides whether it may; it gives the agent nothing.

    Attributes:
        name: As the model sees it.
        description: What it does, in a line.
        effects: Whether a call changes something outside the agent.
    """

    name: str
    description: str
    effects: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not be shown to people."""
        _words("name", (self.name,))
        if not _is_line(self.description):
            raise ValueError(f"description: write one line of at most {_LONGEST_SUMMARY} characters")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an execution needs at least.

    Attributes:
        memory_mb: Memory of the guest in MiB; None when that of the framework is enough.
        gpus: How many GPUs.
        gpu_memory_mb: Memory of each GPU in MiB; None when any does.
    """

    memory_mb: int | None = None
    gpus: int = 0
    gpu_memory_mb: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no machine has."""
        if self.gpus < 0 or min(self.memory_mb or 1, self.gpu_memory_mb or 1) < 0:
            raise ValueError("memory_mb, gpus and gpu_memory_mb are no less than 0")


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """What the agent asks for beyond its model; a tenant's policy decides.

    Attributes:
        network: `gateway` when models and MCP servers are all that it reaches, `open` when it needs more.
        mcp_servers: Names of servers behind the gateway.
        sessions: Whether it keeps a state between executions.
    """

    network: Literal["gateway", "open"] = "gateway"
    mcp_servers: tuple[str, ...] = ()
    sessions: bool = False

    def __post_init__(self) -> None:
        """Refuse names that are none."""
        _words("mcp_servers", self.mcp_servers)

    def asked(self) -> tuple[str, ...]:
        """Return each permission as a word, such as `network:open` or `mcp:orders`; policies name them so."""
        return (
            *(("network:open",) if self.network == "open" else ()),
            *(f"mcp:{name}" for name in sorted(set(self.mcp_servers))),
            *(("sessions",) if self.sessions else ()),
        )


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What an evaluation must reach before the bundle is published, each in percent of the cases that it is about.

    Attributes:
        passed: Cases of which everything holds.
        completed: Executions that ended with an output; None asks for nothing.
        schema: Outputs that fit the manifest's schema; None asks for nothing.
        exact: Outputs that equal that of their case; None asks for nothing.
        contains: Outputs that hold the texts of their case; None asks for nothing.
    """

    passed: int = 100
    completed: int | None = None
    schema: int | None = None
    exact: int | None = None
    contains: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no percentage."""
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and not 0 <= value <= 100:
                raise ValueError(f"thresholds: {one.name}: {value} is no percentage: write 0 to 100")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        bundle: The version of this format.
        name: `publisher/agent`.
        version: Three numbers, perhaps `a1`, `b1` or `rc1` behind them.
        summary: One line for people who look for an agent.
        licence: SPDX expression of the agent's code.
        framework: Which one runs it.
        profile: Runtime profile with further requirements, a TOML file of the bundle's folder; None when the framework
            alone is enough.
        entrypoint: `module:attribute` of the code, or its file; None for a portable agent.
        portable: None for a native agent.
        options: Choices for the framework's adapter.
        inputs: JSON Schema of the inputs, an object by name, in the subset of `output_schemas`.
        output: JSON Schema of the output; None when it is text.
        tools: What it uses.
        models: Names of models that it asks for.
        resources: What an execution needs at least.
        permissions: What it asks for.
        pricing: What it costs; None when it is free.
        terms: What whoever runs it agrees to beyond the licence of its code, for people; None when that is nothing.
        thresholds: What its evaluation must reach; None asks that every case passes.
    """

    bundle: Literal[1]
    name: str
    version: str
    summary: str
    licence: str
    framework: str
    inputs: Mapping[str, Json]
    profile: str | None = None
    entrypoint: str | None = None
    portable: PortableAgent | None = None
    options: Mapping[str, Json] = field(default_factory=dict[str, Json])
    output: Mapping[str, Json] | None = None
    tools: tuple[Tool, ...] = ()
    models: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    permissions: Permissions = field(default_factory=Permissions)
    pricing: Pricing | None = None
    terms: str | None = None
    thresholds: Thresholds | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing; each text says what to write instead."""
        try:
            parse_name(self.name)
            parse_version(self.version)
            canonical = canonicalize_license_expression(self.licence)
            check_schema(self.inputs, "inputs")
            if self.output is not None:
                check_schema(self.output, "output")
        except BundleRefused as error:
            raise ValueError(error.message.removeprefix(f"{error.refusal}: ")) from error
        except InvalidLicenseExpression as error:
            raise ValueError(f"licence: {error}: write an SPDX expression, such as Apache-2.0") from error
        except AgentError as error:
            raise ValueError(error.message) from error
        if canonical != self.licence:
            raise ValueError(f"licence: {self.licence!r:.80} is spelled {canonical!r}")
        if not _is_line(self.summary):
            raise ValueError(f"summary: write one line of at most {_LONGEST_SUMMARY} characters")
        if _FRAMEWORK.fullmatch(self.framework) is None:
            raise ValueError(f"framework: {self.framework!r:.80} is no name, such as langgraph")
        if self.profile is not None and (
            not _is_file_name(self.profile) or not self.profile.endswith(".toml")
        ):
            raise ValueError(f"profile: {self.profile!r:.80} is no TOML file beside the manifest")
        if self.entrypoint is not None and not (
            _ATTRIBUTE.fullmatch(self.entrypoint) or _FILE.fullmatch(self.entrypoint)
        ):
            raise ValueError(f"entrypoint: {self.entrypoint!r:.80} must be module:attribute, or a .json file")
        _words("models", self.models)
        if self.terms is not None and not (
            self.terms.replace("\n", "").isprintable() and 0 < len(self.terms) <= _LONGEST_TERMS
        ):
            raise ValueError(f"terms: write text of at most {_LONGEST_TERMS} characters")
        self.source()

    @property
    def bundle_name(self) -> BundleName:
        """The name, in its parts."""
        return parse_name(self.name)

    @property
    def bundle_version(self) -> Version:
        """The version, which can be compared."""
        return parse_version(self.version)

    def source(self) -> AgentSource:
        """Return what a guest is told to load."""
        return AgentSource(entrypoint=self.entrypoint, portable=self.portable, options=self.options)

    def modules(self) -> tuple[str, ...]:
        """Return the modules of the code that the manifest names: of the entrypoint, and of portable tools."""
        functions = (tool.function for tool in self.portable.tools) if self.portable is not None else ()
        named = [one.partition(":")[0] for one in (self.entrypoint, *functions) if one and ":" in one]
        return tuple(dict.fromkeys(named))


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return a manifest as JSON: the same manifest is the same bytes, whatever order its file had.

    Raises:
        BundleRefused: `malformed` when it is nested too deeply.
    """
    try:
        return dump(_sorted(encode(manifest))) + b"\n"
    except (NotJson, RecursionError) as error:
        raise BundleRefused(Refusal.MALFORMED, f"the manifest: {error}") from error


def parse_manifest(content: bytes) -> Manifest:
    """Return the manifest of JSON, as registries hold it.

    Raises:
        BundleRefused: `oversized`, or `malformed`, which bytes are too that `manifest_bytes` would not have made.
    """
    if len(content) > MANIFEST_BYTES:
        raise BundleRefused(Refusal.OVERSIZED, f"the manifest is longer than {MANIFEST_BYTES} bytes")
    try:
        manifest = decode(Manifest, parse(content), "", strict=True)
    except (NotJson, InvalidMessage, RecursionError) as error:
        said = str(error).removeprefix(": ")
        raise BundleRefused(Refusal.MALFORMED, f"the manifest: {said}") from error
    if manifest_bytes(manifest) != content:
        raise BundleRefused(
            Refusal.MALFORMED, "the manifest is not in its canonical form: build the bundle again"
        )
    return manifest


def _sorted(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


def _words(where: str, words: tuple[str, ...]) -> None:
    for word in words:
        if _WORD.fullmatch(word) is None:
            raise ValueError(f"{where}: {word!r:.80} must be 1 to 200 characters without spaces")


def _is_line(text: str) -> bool:
    """Tell whether a text may be shown in a terminal as it is."""
    return bool(text.strip()) and text.isprintable() and len(text) <= _LONGEST_SUMMARY


def _is_file_name(text: str) -> bool:
    return re.fullmatch(r"\w[\w.-]{0,99}", text, re.ASCII) is not None
