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
    """

    capacity_requests: int
    overhead_executions: int
    overhead_batches: int
    thousand_executions: int
    launches: int
    rows: tuple[int, ...]


FULL: Final = Sizes(
    capacity_requests=10_000,
    overhead_executions=100,
    overhead_batches=5,
    thousand_executions=1_000,
    launches=3,
    rows=(1, 10, 100, 1_000, 10_000),
)

QUICK: Final = Sizes(
    capacity_requests=2_000,
    overhead_executions=20,
    overhead_batches=3,
    thousand_executions=60,
    launches=1,
    rows=(1, 10, 100),
)
"""Shows that everything works, in about a minute; its figures mean nothing."""
