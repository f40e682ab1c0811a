"""`gateway`: what the gateway adds to a model call, with LiteLLM's proxy beside it."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from benchmarks.endpoints import scripted_endpoint
from benchmarks.frameworks import BENCHMARKS
from benchmarks.outcomes import Cell, Outcome
from benchmarks.process_trees import tree_cpu_seconds
from benchmarks.sides import ANSWER_SECONDS, SideFailed
from benchmarks.sizes import Sizes
from benchmarks.stock_litellm import stock_litellm
from orchestrator_resources.gateway import LocalGateway
from orchestrator_runtimes.messages import ModelAddress

IN_FLIGHT: Final = 100
LATENCY_SECONDS: Final = 0.5
"""Of the endpoint, with `IN_FLIGHT` calls on their way."""

P50_TARGET_MS: Final = 2.0
P95_TARGET_MS: Final = 10.0
FIRST_TOKEN_TARGET_MS: Final = 5.0

_CALLS_OF_EXECUTION: Final = 10
_MS: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class _Side:
    """Where calls go, and with which token; `pid` is the process to blame, None for the endpoint itself."""

    name: str
    base_url: str
    token: Callable[[], str | None]
    pid: int | None = None


class _Load:
    """The process that makes the calls."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.call_load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=BENCHMARKS.parent,
        )

    def run(
        self, side: _Side, in_flight: int, calls: int, *, spread: float = 0.0, stream: bool = False
    ) -> Mapping[str, Any]:
        """Make `calls` calls over each of `in_flight` connections."""
        order = {
            "base_url": side.base_url,
            "tokens": [side.token() for _ in range(in_flight)],
            "calls": calls,
            "spread": spread,
            "stream": stream,
        }
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        limit = threading.Timer(ANSWER_SECONDS, self.process.kill)
        limit.start()
        try:
            line = self.process.stdout.readline()
        finally:
            limit.cancel()
        if not line:
            raise SideFailed(f"the calls to {side.name} did not end")
        return dict(json.loads(line))

    def end(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def measure_gateway(sizes: Sizes, say: Callable[[str], None]) -> Outcome:
    """Make the same calls to the endpoint, through the gateway and through LiteLLM, in turns."""
    found: dict[str, dict[str, Cell]] = {}
    failed = 0
    with ExitStack() as stack:
        load = _Load()
        stack.callback(load.end)
        for case in (_one_at_a_time, _many, _streams, _as_many_as_it_can):
            with _sides(case.latency, say) as sides:
                for side in sides:
                    case.measure(load, side, sizes.gateway_warm_up)  # warms it up
                for side in sides:
                    cells, wrong = case.measure(load, side, sizes.gateway_calls)
                    failed += wrong
                    found.setdefault(side.name, {"calls to": side.name}).update(cells)
                    say(
                        f"  {side.name}: "
                        + ", ".join(f"{n} {v:.2f}" for n, v in cells.items() if v is not None)
                    )
    rows = list(found.values())
    return Outcome(
        name="gateway",
        title="Model calls through the gateway",
        how=f"Calls of 1,800 characters to a scripted endpoint, each another one: directly, through the gateway (which"
        " reads a token, journals the answer durably and retries), and through LiteLLM's proxy with one worker, a"
        f" master key, its disk cache and retries. One at a time: {sizes.gateway_calls} calls, no latency."
        f" {IN_FLIGHT} in flight: {IN_FLIGHT * _per(sizes.gateway_calls)} calls to an endpoint that takes"
        f" {LATENCY_SECONDS} s, begun evenly over that time. First token: {sizes.gateway_calls} streams, one at a time."
        f" CPU: of the proxy's processes, with {IN_FLIGHT} connections that call without a pause. After"
        f" {sizes.gateway_warm_up} calls of warm-up each; the load comes from another process.",
        rows=rows,
        findings=_findings(found),
        failed=failed,
    )


@dataclass(frozen=True)
class _Case:
    latency: float
    measure: Callable[[_Load, _Side, int], tuple[dict[str, Cell], int]]


def _in_turn(load: _Load, side: _Side, count: int) -> tuple[dict[str, Cell], int]:
    told = [load.run(side, 1, _CALLS_OF_EXECUTION) for _ in range(_per(count))]
    times = [second for each in told for second in each["latencies"]]
    return {"one at a time, p50 ms": _MS * median(times), "p95 ms": _MS * _p95(times)}, _wrong(told)


def _at_once(load: _Load, side: _Side, count: int) -> tuple[dict[str, Cell], int]:
    told = load.run(side, IN_FLIGHT, _per(count), spread=LATENCY_SECONDS)
    times = told["latencies"]
    return {
        f"{IN_FLIGHT} in flight, p50 ms": _MS * median(times),
        f"{IN_FLIGHT} in flight, p95 ms": _MS * _p95(times),
    }, _wrong([told])


def _streamed(load: _Load, side: _Side, count: int) -> tuple[dict[str, Cell], int]:
    told = [load.run(side, 1, _CALLS_OF_EXECUTION, stream=True) for _ in range(_per(count))]
    firsts = [second for each in told for second in each["firsts"]]
    return {"first token, p50 ms": _MS * median(firsts)}, _wrong(told)


def _capacity(load: _Load, side: _Side, count: int) -> tuple[dict[str, Cell], int]:
    before = tree_cpu_seconds(side.pid) if side.pid else 0.0
    told = load.run(side, IN_FLIGHT, _per(count))
    calls = IN_FLIGHT * _per(count)
    cpu = (tree_cpu_seconds(side.pid) - before) / calls if side.pid else None
    return {
        "calls/s": calls / told["seconds"],
        "CPU ms/call": None if cpu is None else _MS * cpu,
        "calls/s and core": None if cpu is None else 1 / cpu,
    }, _wrong([told])


_one_at_a_time: Final = _Case(0.0, _in_turn)
_many: Final = _Case(LATENCY_SECONDS, _at_once)
_streams: Final = _Case(0.0, _streamed)
_as_many_as_it_can: Final = _Case(0.0, _capacity)


@contextmanager
def _sides(latency: float, say: Callable[[str], None]) -> Generator[Sequence[_Side]]:
    with (
        scripted_endpoint(latency=latency, tool_rounds=0) as endpoint,
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        stock_litellm(endpoint.base_url, say) as litellm,
    ):
        gateway = LocalGateway(Path(folder, "calls.db"), ModelAddress(base_url=endpoint.base_url))
        try:
            gateway.ready()
            numbers = iter(range(10**9))

            def token() -> str | None:
                """Return the token of a new execution."""
                return gateway.model(
                    execution=f"e{next(numbers)}", agent="benchmark", inputs=None, seconds=600
                ).api_key

            base_url = gateway.model(execution="e", agent="benchmark", inputs=None, seconds=1).base_url
            yield [
                _Side(name="the endpoint", base_url=endpoint.base_url, token=lambda: None),
                _Side(name="the gateway", base_url=base_url, token=token, pid=gateway.pid),
                _Side(name="LiteLLM", base_url=litellm.base_url, token=lambda: litellm.key, pid=litellm.pid),
            ]
        finally:
            gateway.close()


def _findings(found: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    def added(column: str, side: str = "the gateway") -> float:
        return float(found[side][column] or 0) - float(found["the endpoint"][column] or 0)

    many = f"{IN_FLIGHT} in flight, p95 ms"
    ratio = float(found["the gateway"]["calls/s and core"] or 0) / float(
        found["LiteLLM"]["calls/s and core"] or 1
    )
    return [
        f"Added at p50, one at a time: {added('one at a time, p50 ms'):.2f} ms (target {P50_TARGET_MS:.0f}), LiteLLM"
        f" {added('one at a time, p50 ms', 'LiteLLM'):.2f} ms.",
        f"Added at p95, {IN_FLIGHT} in flight: {added(many):.2f} ms (target {P95_TARGET_MS:.0f}), LiteLLM"
        f" {added(many, 'LiteLLM'):.2f} ms.",
        f"First token of a stream, p50: {added('first token, p50 ms'):.2f} ms later (target"
        f" {FIRST_TOKEN_TARGET_MS:.0f}), LiteLLM {added('first token, p50 ms', 'LiteLLM'):.2f} ms.",
        f"Calls a second and core: {ratio:.1f} times LiteLLM's.",
    ]


def _per(count: int) -> int:
    return max(1, count // _CALLS_OF_EXECUTION)


def _p95(times: Sequence[float]) -> float:
    return quantiles(times, n=20)[-1]


def _wrong(told: Sequence[Mapping[str, Any]]) -> int:
    return sum(int(each["failed"]) for each in told)
