"""Which traces the executions of a batch have, and who is told of them."""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable

from orchestrator_gateway.execution_reports import ExecutionReport
from orchestrator_resources.execution_batches import BatchSettings, Item
from orchestrator_resources.execution_traces import ExecutionTrace, ReportSender
from orchestrator_resources.gateway import ModelGateway


@contextlib.asynccontextmanager
async def batch_traces(
    settings: BatchSettings, framework: str, gateway: ModelGateway | None, tell: Callable[[str], None]
) -> AsyncGenerator[Callable[[Item], ExecutionTrace]]:
    """Begin traces of a batch's executions; what there is to tell of them has been sent when the block has ended.

    Args:
        settings: How the batch runs.
        framework: That runs it.
        gateway: Is told; None tells nobody, and calls have their parent all the same.
        tell: Takes a line about what could not be sent.
    """
    sender = None if gateway is None else ReportSender(gateway, tell)

    def begin(item: Item) -> ExecutionTrace:
        report = _begun(settings, framework, item)
        return ExecutionTrace(report, _lose if sender is None else sender.send)

    try:
        yield begin
    finally:
        if sender is not None:
            await sender.close()


def _begun(settings: BatchSettings, framework: str, item: Item) -> ExecutionReport | None:
    """Return what is known of an execution that begins now; None where it belongs to no trace."""
    trace = settings.trace
    if trace is None:
        return None
    return ExecutionReport(
        traceparent=trace.span(),
        parent=trace.parent,
        execution=item.execution,
        agent="",
        name=settings.name,
        framework=framework,
        location=settings.location,
        run=settings.run,
        session=item.session,
        structured=settings.output_schema is not None,
        began=time.time(),
        seconds=0.0,
        finish_reason=None,
        error=None,
    )


def _lose(_report: ExecutionReport) -> None:
    """Take a report that nobody wants."""
