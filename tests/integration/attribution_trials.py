"""Many executions of one guest at once, and what a witness behind the gateway has seen of their model calls."""

import asyncio
import json
import os
import re
from collections import Counter
from dataclasses import dataclass

from orchestrator_resources.gateway import LocalGateway
from orchestrator_runtimes.conformance.calls import Call
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import (
    MARKER,
    NativeCase,
    Outcome,
    Target,
    native_cases,
    with_marker,
)
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import AgentSource, Limits

EXECUTIONS = int(os.environ.get("ATTRIBUTION_EXECUTIONS", "40"))
"""At once, in one process."""
SECONDS = 500.0
WITNESS = "witness"
"""Name of the script that the gateway's endpoint follows."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One way in which an agent calls its model.

    Attributes:
        source: The agent.
        script: What the model does.
        bundle: Which of the target's bundles holds the agent.
        inputs: With `EXEC-0` where the execution's marker goes.
        stream: Whether tokens are asked for.
    """

    source: AgentSource
    script: Script
    bundle: str
    inputs: Json = "EXEC-0: what is the weather in Paris?"
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What came of a shape's executions.

    Attributes:
        executions: That ended well, and whose output holds their own marker.
        calls: That the witness saw.
        missing: Calls that executions had to make by their own count, and that the witness did not see as theirs. All
            have to make the same; a framework that calls again, as nobody answered in time, counts more.
        wrong: Calls whose prompt holds another execution's marker than the gateway says, or none.
    """

    executions: int
    calls: int
    missing: int
    wrong: int


def shapes(target: Target) -> dict[str, Shape]:
    """Return the shapes of a framework: portable agents with a tool, and what its adapter ships of native ones."""
    cases = [c for c in native_cases(target.profile) if c.model_calls and not c.error and c.decision is None]
    script = Script(echo=MARKER)
    portable = target.portable("weather")
    return {
        "plain": Shape(source=portable, script=script, bundle="tools"),
        "streamed": Shape(source=portable, script=script, bundle="tools", stream=True),
        "threads": _native(target, [case for case in cases if case.threads][-1]),
        "several agents": _native(target, [case for case in cases if case.multi_agent][-1]),
    }


def _native(target: Target, case: NativeCase) -> Shape:
    script = Script.from_json(json.dumps({"echo": MARKER, **case.script}))
    return Shape(source=target.native(case), script=script, bundle="native", inputs=case.inputs)


def run_at_once(target: Target, gateway: LocalGateway, shape: Shape) -> Tally:
    """Run a shape's executions, all at once in the target's one guest, through a gateway to the witness."""
    names = [target.next_execution() for _ in range(EXECUTIONS)]
    target.endpoint.reset()
    target.endpoint.script(WITNESS, shape.script)

    async def run(name: str) -> Outcome:
        inputs = with_marker(shape.inputs, name)
        return await target.execute(
            shape.source,
            bundle=shape.bundle,
            inputs=inputs,
            execution=name,
            limits=Limits(seconds=SECONDS),
            stream=shape.stream,
            model=gateway.model(execution=name, agent="a", inputs=inputs, seconds=SECONDS),
        )

    async def run_all() -> list[Outcome]:
        return await asyncio.gather(*map(run, names))

    outcomes = target.call(run_all(), timeout=2 * SECONDS)
    each = min(outcome.ok.usage.model_calls for outcome in outcomes)
    calls = target.endpoint.calls
    seen = Counter(call.execution for call in calls)
    return Tally(
        executions=sum(name in str(o.ok.output) for name, o in zip(names, outcomes, strict=True)),
        calls=len(calls),
        missing=sum(max(0, each - seen[name]) for name in names),
        wrong=sum(markers_of(call) != {call.execution} for call in calls),
    )


def markers_of(call: Call) -> set[str]:
    """Return the markers that a call's prompt holds."""
    return set(re.findall(MARKER, json.dumps(call.body)))
