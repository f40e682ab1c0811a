"""Two hundred executions run at once in one process."""

import asyncio
import time

import pytest

from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import MARKER, Target

pytestmark = pytest.mark.capability("concurrency")


def test_two_hundred_executions_overlap_and_none_fails(target: Target) -> None:
    at_once = min(200, target.guest.client.runtime.max_executions)
    script = Script(echo=MARKER, latency=2.0)

    async def run_all() -> tuple[list[str], float]:
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *(target.execute(target.portable("weather"), script) for _ in range(at_once))
        )
        return [str(outcome.error) for outcome in outcomes if outcome.error], time.monotonic() - began

    target.endpoint.reset()
    failed, seconds = target.call(run_all())
    assert failed == []
    assert target.endpoint.peak_active > at_once / 2, "they did not run at once"
    assert seconds < at_once, "two model calls of two seconds each, one after the other, would take longer"
