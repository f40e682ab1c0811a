"""A cancelled execution ends soon, and so does one whose trusted side is gone."""

import asyncio
import time

import pytest

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.conformance.target import Target
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.messages import ModelAddress, Run

pytestmark = pytest.mark.capability("cancel")


async def _begin(target: Target, script: Script) -> tuple[str, "asyncio.Task[object]"]:
    execution = target.next_execution()
    task = asyncio.create_task(target.execute(target.portable("weather"), script, execution=execution))
    while not any(call.execution == execution for call in target.endpoint.calls):
        await asyncio.sleep(0.01)
    return execution, task


def test_cancel_ends_an_execution_that_waits_for_its_model(target: Target) -> None:
    async def scenario() -> tuple[ErrorCode, float]:
        execution, task = await _begin(target, Script(faults=(Fault(kind=FaultKind.HANG),)))
        began = time.monotonic()
        assert await target.guest.client.cancel(execution)
        outcome = await task
        return outcome.failure.code, time.monotonic() - began  # type: ignore[attr-defined]  # an Outcome

    code, seconds = target.call(scenario())
    assert code is ErrorCode.CANCELLED
    assert seconds < 8


def test_cancel_of_an_unknown_execution_says_so(target: Target) -> None:
    assert target.call(target.guest.client.cancel("never-started")) is False


def test_a_cancelled_execution_makes_no_further_call(target: Target) -> None:
    async def scenario() -> int:
        execution, task = await _begin(target, Script(latency=0.5, tool_rounds=20))
        await target.guest.client.cancel(execution)
        await task
        await asyncio.sleep(1.5)
        return len([call for call in target.endpoint.calls if call.execution == execution])

    assert target.call(scenario()) == 1


def test_executions_end_with_their_connection(target: Target) -> None:
    async def scenario() -> int:
        async with target.another_client() as client:
            loaded = await client.load(target.portable("weather"), target.bundles["tools"])
            address = ModelAddress(base_url=target.script(Script(latency=0.5, tool_rounds=20)))
            run = Run(execution="abandoned", agent=loaded.agent or "", inputs="hi", model=address)
            task = asyncio.create_task(client.run(run))
            while not any(call.execution == "abandoned" for call in target.endpoint.calls):
                await asyncio.sleep(0.01)
            await client.close()
            await asyncio.wait({task})
            task.exception()
            await asyncio.sleep(1.5)
            return len([call for call in target.endpoint.calls if call.execution == "abandoned"])

    assert target.call(scenario()) <= 2
