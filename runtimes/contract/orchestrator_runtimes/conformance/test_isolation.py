"""Executions that run at once do not see each other."""

import asyncio

import pytest

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.conformance.target import MARKER, Target

pytestmark = pytest.mark.capability("isolation")

AT_ONCE = 30


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_every_call_belongs_to_its_execution(target: Target, stream: bool) -> None:
    script = Script(echo=MARKER, latency=0.05, strict=True)
    executions = [target.next_execution() for _ in range(AT_ONCE)]

    async def run_all() -> list[str]:
        source = target.portable("weather")
        outcomes = await asyncio.gather(
            *(target.execute(source, script, execution=name, stream=stream) for name in executions)
        )
        return [str(outcome.ok.output) for outcome in outcomes]

    outputs = target.call(run_all())
    for name, output in zip(executions, outputs, strict=True):
        assert [word for word in output.split() if word.startswith("EXEC-")] == [name]
    for call in target.endpoint.calls:
        if call.execution in executions:
            assert call.execution + ":" in str(call.body)
            assert not any(other + ":" in str(call.body) for other in executions if other != call.execution)


def test_one_failing_execution_harms_no_other(target: Target) -> None:
    async def run_both() -> tuple[bool, bool]:
        bad = target.execute(target.portable(), Script(faults=(Fault(kind=FaultKind.STATUS, status=500),)))
        good = target.execute(target.portable(), Script(latency=0.2, text="well"))
        outcomes = await asyncio.gather(bad, good)
        return outcomes[0].error is not None, outcomes[1].result is not None

    assert target.call(run_both()) == (True, True)


def test_two_bundles_may_have_modules_of_one_name(target: Target) -> None:
    target.run(target.portable("weather")).ok  # noqa: B018  # the first bundle's modules are imported now
    failure = target.run(target.portable("weather"), bundle="native").failure
    assert "suite_tools" in failure.message, "a bundle must not see another one's modules"
