"""`rows`: what the orchestration of one asset costs as its rows grow, with a framework that does next to nothing."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks.endpoints import scripted_endpoint
from benchmarks.frameworks import BENCHMARKS
from benchmarks.outcomes import Cell, Outcome
from benchmarks.sides import SideFailed
from benchmarks.sizes import Sizes

_RUN_SECONDS: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What one run told of itself."""

    seconds: float
    events: int
    peak_bytes: int


def measure_rows(sizes: Sizes, say: Callable[[str], None]) -> Outcome:
    """Materialize one asset in each size, each in a process of its own."""
    told: dict[int, _Told] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, scripted_endpoint(latency=0) as endpoint:
        environment = _with_fake_framework(Path(folder)) | {
            "ORCHESTRATOR_MODEL_URL": endpoint.base_url,
            "ORCHESTRATOR_SPARE_SECONDS": "0",
        }
        _materialize(1, environment)
        for count in sizes.rows:
            told[count] = _materialize(count, environment)
            say(f"  {count:,} rows: {told[count].seconds:.2f} s")
    rows: list[dict[str, Cell]] = [
        {
            "rows": count,
            "seconds": run.seconds,
            "ms per row": 1_000 * run.seconds / count,
            "peak MB of the run process": run.peak_bytes / 2**20,
            "event-log rows": run.events,
        }
        for count, run in told.items()
    ]
    return Outcome(
        name="rows",
        title="One asset with many rows",
        how="The step of one `for_each` asset of the fake framework, one model call without latency for each row,"
        " default settings, in a process of its own (`dg.materialize`, local instance); one run for each size, after"
        " one run of warm-up. The start of the guest is part of it.",
        rows=rows,
        findings=[_growth(few, many, told) for few, many in pairwise(told)],
    )


def _growth(few: int, many: int, told: Mapping[int, _Told]) -> str:
    before, after, more = told[few], told[many], many - few
    return (
        f"From {few:,} to {many:,} rows: {1_000 * (after.seconds - before.seconds) / more:.2f} ms and"
        f" {(after.peak_bytes - before.peak_bytes) / more / 1_024:.1f} KB of the run process for each further row,"
        f" {after.events - before.events} more rows in the event log."
    )


def _with_fake_framework(folder: Path) -> dict[str, str]:
    """Install the fake framework as any plug-in is, by an entry point; return the environment that finds it."""
    plugin = folder / "fake_framework-1.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-framework\nVersion: 1\n")
    (plugin / "entry_points.txt").write_text(
        "[orchestrator.frameworks]\nfake = orchestrator_runtimes.conformance.fake:PROFILE\n"
    )
    return {
        **os.environ,
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "ORCHESTRATOR_HOME": str(folder / "home"),
        "PYTHONPATH": f"{folder}:{BENCHMARKS.parent}:{os.environ.get('PYTHONPATH', '')}",
    }


def _materialize(count: int, environment: dict[str, str]) -> _Told:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rows_project", str(count)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        timeout=_RUN_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise SideFailed(f"the run with {count} rows ended with {done.returncode}: {done.stderr[-2_000:]}")
    return _Told(**json.loads(done.stdout.splitlines()[-1]))
