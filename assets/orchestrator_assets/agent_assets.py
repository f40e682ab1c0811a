"""An agent as a Dagster asset: what runs when it is materialized, and when it counts as stale."""

import hashlib
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg
from pydantic import Field

from orchestrator_assets.agent_inputs import make_items
from orchestrator_assets.agent_specs import AgentSpec
from orchestrator_assets.descriptions import description
from orchestrator_assets.execution_specs import ExecutionSpec
from orchestrator_assets.failures import failure
from orchestrator_assets.materialization import gpu_metadata, row_value, run_metadata
from orchestrator_assets.personal_values import FieldRefused, PersonalValues
from orchestrator_assets.progress import Progress
from orchestrator_assets.spec_fields import WrongValue
from orchestrator_assets.waiting_metadata import decisions_metadata
from orchestrator_assets.waiting_steps import WaitingStep
from orchestrator_resources.agent_needs import TAG as AGENT_TAG
from orchestrator_resources.agent_needs import AgentNeed, need_tag
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.execution_batches import BatchSettings, Row
from orchestrator_resources.execution_traces import Trace
from orchestrator_resources.gpus import GpuWatch
from orchestrator_resources.guest_pool import Agent
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtime_profiles import load_profile, lock_file
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes import bundles
from orchestrator_runtimes.agents import agent_digest
from orchestrator_runtimes.capabilities import Capability
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.codec import encode
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json, dump
from orchestrator_runtimes.messages import CONTRACT_VERSION
from orchestrator_runtimes.profiles import FrameworkProfile

RESOURCE: Final = "agent_runtimes"
"""Key under which agent assets find `AgentRuntimes`."""

TRACEPARENT_TAG: Final = "traceparent"
"""Tag of a run that belongs to a trace of whoever asked for it: W3C trace context, as in the HTTP header."""

NOT_CODE: Final = frozenset({"defs.yaml", "component.yaml", "component.py"})
"""Files of a component's folder that are no part of the agent: changing them makes nothing stale by itself."""


class AgentRunConfig(dg.Config):
    """What a run may choose in the launchpad."""

    inputs: dict[str, Any] = Field(
        default_factory=dict, description="Inputs by name; they replace those of the asset."
    )


def agent_asset(
    agent: AgentSpec,
    *,
    asset: dg.AssetSpec,
    code: Path | None = None,
    files: Sequence[str] = (),
    profile: Path | None = None,
    io_manager_key: str | None = None,
) -> dg.AssetsDefinition:
    """Make an asset of an agent; its definitions need `AgentRuntimes` as the resource `agent_runtimes`.

    Args:
        agent: The agent and how it runs.
        asset: Key, owners, description and the like of the asset.
        code: Folder of the agent's code; None when it needs none (a portable agent without functions).
        files: Those of the folder that are this agent's; empty means all but the component's own YAML.
        profile: File of the runtime profile that it runs in; None means the framework alone.
        io_manager_key: Where its value is stored; None uses the default.

    Raises:
        WrongValue: The framework is not installed, the folder cannot be packed or lacks what the agent names, the
            profile has no lock that fits it, or the agent wants a partition key of an asset that has no partitions.
    """
    runtime = _runtime(agent, profile)
    bundle = _bundle(agent, code, files, profile) if code is not None else None
    if asset.partitions_def is None:
        refuse_partition_key(agent)
    source = agent.source(op_name(asset.key))
    digest = agent_digest(bundle.digest if bundle else None, source)
    environment = EnvironmentStore(home_folder()).digest(runtime.lock())
    described = {
        "framework": runtime.title,
        "environment": environment,
        "agent": digest,
        "entrypoint": source.entrypoint or "portable",
        "contract": CONTRACT_VERSION,
    }
    chosen = ChosenAgent(
        spec=agent,
        agent=Agent(source=source, bundle=bundle),
        described=described,
        model=agent.portable.model_name if agent.portable is not None else None,
    )
    return asset_of(
        agent,
        asset.replace_attributes(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
            code_version=_code_version(agent, digest, environment),
            description=asset.description or description(agent, runtime.title),
        ),
        runtime=runtime,
        environment=environment,
        waits=_may_wait(agent, runtime),
        choose=lambda _context: chosen,
        io_manager_key=io_manager_key,
    )


@dataclass(frozen=True, kw_only=True)
class ChosenAgent:
    """The agent of a run.

    Attributes:
        spec: How it runs, with the schema of its outputs.
        agent: What guests load.
        described: What the materialization says of it.
        model: The model that it names; None where only its calls say so.
        runtime: What it runs in; None means that of the asset.
        bundle: `publisher/agent:version` of a published agent; empty for an agent of one's own.
    """

    spec: ExecutionSpec
    agent: Agent
    described: Mapping[str, Any]
    model: str | None = None
    runtime: FrameworkProfile | None = None
    bundle: str = ""


def asset_of(
    spec: ExecutionSpec,
    asset: dg.AssetSpec,
    *,
    runtime: FrameworkProfile,
    environment: str,
    waits: bool,
    choose: Callable[[dg.AssetExecutionContext], ChosenAgent],
    io_manager_key: str | None = None,
) -> dg.AssetsDefinition:
    """Make an asset whose runs choose their agent.

    Args:
        spec: How it runs, whichever it is.
        asset: Key, code version, description and the like.
        runtime: What it runs in.
        environment: Digest of that.
        waits: Whether it may ask people: what waits for a decision has no value yet, its step ends without one, and
            what is downstream is passed over.
        choose: Returns the agent of a run; what it raises as `AgentError` fails the step.
        io_manager_key: Where the value is stored; None uses the default.
    """
    ins = {
        name: dg.AssetIn(key=dg.AssetKey.from_user_string(source.asset))
        for name, source in spec.inputs.items()
        if source.asset is not None
    }
    upstream = {in_.key for in_ in ins.values()}
    told = asset.replace_attributes(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
        deps=[], kinds=asset.kinds | {runtime.name, "agent"} if len(asset.kinds) <= 1 else asset.kinds
    )
    need = AgentNeed(framework=runtime.name, environment=environment, gpu=spec.gpu_request)

    @dg.multi_asset(
        name=op_name(asset.key),
        outs={"result": dg.AssetOut.from_spec(told, io_manager_key=io_manager_key, is_required=not waits)},
        ins=ins,
        deps=[dep for dep in asset.deps if dep.asset_key not in upstream],
        partitions_def=asset.partitions_def,
        required_resource_keys={RESOURCE},
        op_tags={AGENT_TAG: need_tag(need)},
    )
    def execute(
        context: dg.AssetExecutionContext, config: AgentRunConfig, **values: Any
    ) -> Iterator[dg.MaterializeResult[Any]]:
        personal: PersonalValues | None = None
        try:
            runtimes: AgentRuntimes = getattr(context.resources, RESOURCE)
            chosen = choose(context)
            personal = PersonalValues(chosen.spec, lambda: runtimes.runtimes.personal)
            made = _materialize(
                context, chosen, chosen.runtime or runtime, config, values, personal, waits=waits
            )
        except Exception as raised:
            error, sealed = _told(raised, personal)
            # Dagster stores what an error follows from, too
            cause = raised if sealed is None else None
            if not error.code.retryable or context.retry_number >= spec.retries.max:
                raise failure(error, sealed) from cause
            # no RetryPolicy: with one, Dagster retries a step that was terminated
            delay = spec.retries.delay_seconds * 2**context.retry_number
            raise dg.RetryRequested(max_retries=spec.retries.max, seconds_to_wait=delay) from failure(
                error, sealed
            )
        if made is not None:
            yield made

    return execute


def op_name(key: dg.AssetKey) -> str:
    """Return the name of the op that makes an agent's asset, and of its agent."""
    return re.sub(r"\W", "_", "__".join(key.path))


def _told(raised: Exception, personal: PersonalValues | None) -> tuple[AgentError, str | None]:
    """Return an error of a step, and what is shown of it where it may quote marked fields; None shows all.

    Raises:
        Exception: It is none of ours, and nothing is personal.
    """
    quotes = personal is not None and personal.some and not isinstance(raised, FieldRefused)
    if isinstance(raised, AgentError):
        whole = f"{raised} {dump(raised.detail).decode() if raised.detail else ''}".strip()
        return raised, personal.told(whole) if quotes and personal is not None else None
    if not quotes or personal is None:
        raise raised
    whole = "".join(traceback.format_exception(raised))
    return AgentError(ErrorCode.FRAMEWORK_ERROR, type(raised).__name__), personal.told(whole)


def _may_wait(agent: AgentSpec, runtime: FrameworkProfile) -> bool:
    """Return whether the agent can ask people: by tools, or by its framework's own interrupt."""
    if agent.portable is not None:
        return any(tool.approval for tool in agent.portable.tools)
    return runtime.capabilities[Capability.APPROVAL].supported


def _runtime(agent: AgentSpec, profile: Path | None) -> FrameworkProfile:
    try:
        if profile is None:
            return framework(agent.framework)
        runtime = load_profile(profile)
    except AgentError as error:
        raise WrongValue(error.message, "framework" if profile is None else "profile") from error
    if runtime.name != agent.framework:
        raise WrongValue(
            f"the runtime profile {profile.name!r} is for {runtime.name}, the agent is for {agent.framework}",
            "profile",
        )
    return runtime


def _bundle(agent: AgentSpec, code: Path, files: Sequence[str], profile: Path | None) -> Bundle:
    not_code = NOT_CODE | (
        {profile.name, lock_file(profile).name} if profile is not None else frozenset[str]()
    )
    try:
        digest, archive = bundles.pack(code, only=frozenset(files), leave_out=not_code)
    except AgentError as error:
        raise WrongValue(error.message, "files" if files else "code") from error
    if agent.file is not None and not (code / agent.file).is_file():
        raise WrongValue(f"the agent's code has no file {agent.file!r}", "entrypoint")
    if agent.file is not None and files and agent.file not in files:
        raise WrongValue(f"{agent.file!r} is not among the agent's files: add it", "files")
    if profile is None:  # with one, the agent may be in a distribution that the profile requires
        for names, path in agent.modules():
            place = code.joinpath(*names)
            module = place.with_suffix(".py").relative_to(code).as_posix()
            if not (place.is_dir() or place.with_suffix(".py").is_file()):
                raise WrongValue(
                    f"the agent's code has no module {'.'.join(names)!r}: {module!r} is missing", *path
                )
            if files and module not in files and not any(name.startswith(f"{names[0]}/") for name in files):
                raise WrongValue(
                    f"the module {'.'.join(names)!r} is not among the agent's files: add {module!r}", *path
                )
    return Bundle(digest=digest, archive=archive)


def refuse_partition_key(agent: ExecutionSpec) -> None:
    """Refuse an agent that could never run, since its asset has no partitions."""
    for name, source in agent.inputs.items():
        if source.partition_key:
            raise WrongValue(
                "takes the partition's key, but the asset has no partitions: give it a partitions_def",
                "inputs", name, "partition_key",
            )  # fmt: skip
    if agent.session is not None and "{partition_key" in agent.session:
        raise WrongValue(
            "names {partition_key}, but the asset has no partitions: give it a partitions_def", "session"
        )


def _code_version(agent: AgentSpec, digest: str, environment: str) -> str:
    """Return what an asset's staleness hangs on: agent, tools, environment and fixed inputs, and nothing else."""
    inputs = {name: source.model_dump(mode="json") for name, source in agent.inputs.items()}
    limits = encode(agent.limits.limits())
    parts = [digest, environment, inputs, agent.prompt, agent.output_schema, limits]
    marked = [sorted(agent.personal)] if agent.personal else []  # its value is another then
    return hashlib.sha256(dump([*parts, *marked])).hexdigest()[:16]


def _code_location(context: dg.AssetExecutionContext) -> str:
    """Return the code location that a run belongs to; empty where it was not launched from one, as in tests."""
    origin = context.run.remote_job_origin
    return "" if origin is None else origin.location_name


def _materialize(
    context: dg.AssetExecutionContext,
    chosen: ChosenAgent,
    runtime: FrameworkProfile,
    config: AgentRunConfig,
    values: Mapping[str, Any],
    personal: PersonalValues,
    *,
    waits: bool,
) -> dg.MaterializeResult[Any] | None:
    """Run the step's executions and return the asset's value; None when some of them wait for a decision."""
    spec, described = chosen.spec, chosen.described
    runtimes: AgentRuntimes = getattr(context.resources, RESOURCE)
    asset_key = context.assets_def.key
    partition = context.partition_key if context.has_partition_key else None
    step = WaitingStep(context, runtimes.runtimes.state)
    items = make_items(
        spec,
        scope=runtimes.runtimes.scope(
            f"{step.root}/{asset_key.to_user_string()}/{partition}/{described['agent']}"
        ),
        upstream=values,
        overrides=config.inputs,
        partition_key=partition,
        owner=asset_key.to_user_string(),
        personal=personal,
    )
    host = runtimes.runtimes
    trace = Trace.of(context.run.tags.get(TRACEPARENT_TAG))
    settings = BatchSettings(
        limits=spec.limits.limits(),
        name=asset_key.to_user_string(),
        location=_code_location(context),
        budget=spec.execution_budget(),
        model=host.model(),
        in_flight=spec.for_each.in_flight if spec.for_each else 1,
        failures=spec.for_each.policy() if spec.for_each else BatchSettings().failures,
        retried=context.retry_number < spec.retries.max,
        output_schema=spec.output_schema,
        stream=spec.stream,
        journal=True,
        trace=trace,
        run=context.run.run_id,
        bundle=chosen.bundle,
    )
    seal = host.personal.seal_for_people if host.seals or personal.some else None
    began = time.monotonic()
    gpus = host.gpus(spec.gpu_request)
    with Progress(len(items), context.log.info, quotes=seal is None) as progress, GpuWatch(gpus) as watch:
        rows = host.run(
            runtime,
            chosen.agent,
            items,
            settings,
            on_event=progress.on_event,
            on_row=progress.on_row,
            askers=step.askers(items, spec.approval_seconds),
        )
    if any(row.waiting for row in rows):
        if not waits:
            raise AgentError(
                ErrorCode.FRAMEWORK_ERROR, "the agent waits for a decision that it has no way to ask for"
            )
        step.leave(personal.shown(items, rows), seal)
        return None
    described = {**described, "framework_version": host.describe(runtime).framework_version}
    if models := progress.models or ({chosen.model} if chosen.model else set[str]()):
        described["model"] = ", ".join(sorted(models))
    runtimes.forget_once_stored(items, asset_key, partition)
    return dg.MaterializeResult(
        value=_value(spec, personal.kept(items, rows)),
        metadata=run_metadata(
            personal.shown(items, rows),
            seconds=time.monotonic() - began,
            trace_id=trace.id,
            described=described,
            spent=host.spent(items, settings.model),
        )
        | gpu_metadata(watch.used())
        | decisions_metadata(step.decided(items), quotes=seal is None),
        data_version=personal.version(_value(spec, rows)),
    )


def _value(spec: ExecutionSpec, rows: Sequence[Row]) -> Json:
    """Return the value of an asset: what its agent said, or a row for each item."""
    if spec.for_each is not None:
        return [row_value(row) for row in rows]
    return rows[0].result.output if rows[0].result is not None else None
