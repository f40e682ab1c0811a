"""How much each benchmark runs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of all benchmarks.

    Attributes:
        capacity_requests: Requests to the endpoint, over 1,000 connections.
        overhead_executions: Executions of a batch of `overhead`.
        overhead_batches: Measured batches of each side.
        thousand_executions: Executions of `thousand`.
        launches: Runs of each kind in `launch`.
        rows: Sizes of the asset in `rows`.
        gateway_calls: Calls of `gateway`, one at a time; ten times as many with 100 connections.
        gateway_warm_up: Calls before these.
        journal_records: Answers of each size in `journal`.
        n8n_executions: Executions of a batch of `n8n`.
        n8n_batches: Measured batches of each side, for each workflow.
        n8n_lasting_executions: Executions between two samples of memory.
        n8n_lasting_batches: Samples of memory.
    """

    capacity_requests: int
    overhead_executions: int
    overhead_batches: int
    thousand_executions: int
    launches: int
    rows: tuple[int, ...]
    gateway_calls: int
    gateway_warm_up: int
    journal_records: int
    n8n_executions: int
    n8n_batches: int
    n8n_lasting_executions: int
    n8n_lasting_batches: int


FULL: Final = Sizes(
    capacity_requests=10_000,
    overhead_executions=100,
    overhead_batches=5,
    thousand_executions=1_000,
    launches=3,
    rows=(1, 10, 100, 1_000, 10_000),
    gateway_calls=200,
    gateway_warm_up=50,
    journal_records=200,
    n8n_executions=30,
    n8n_batches=5,
    n8n_lasting_executions=500,
    n8n_lasting_batches=10,
)

QUICK: Final = Sizes(
    capacity_requests=2_000,
    overhead_executions=20,
    overhead_batches=3,
    thousand_executions=60,
    launches=1,
    rows=(1, 10, 100),
    gateway_calls=20,
    gateway_warm_up=10,
    journal_records=20,
    n8n_executions=8,
    n8n_batches=2,
    n8n_lasting_executions=40,
    n8n_lasting_batches=3,
)
"""Shows that everything works, in about a minute; its figures mean nothing."""
