"""`launch`: from starting a run's process to its first model request, against a plain Dagster run."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.endpoints import Endpoint, scripted_endpoint
from benchmarks.frameworks import BENCHMARKS, Framework
from benchmarks.launch_project import MARKERS
from benchmarks.outcomes import Cell, Outcome
from benchmarks.sides import SideFailed, bare_side
from benchmarks.sizes import Sizes

TARGET_SECONDS: Final = 0.5

_RUN_SECONDS: Final = 120.0
_SPARE_GONE_SECONDS: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One run: seconds from its process's start to the first model request of the first asset, and of a second asset
    from its step's start, in the same run; None when there is none.
    """

    first: float
    second: float | None = None


def measure_launch(sizes: Sizes, frameworks: Sequence[Framework], say: Callable[[str], None]) -> Outcome:
    """Launch plain runs and runs of agents, in turns."""
    rows: list[dict[str, Cell]] = []
    with scripted_endpoint(latency=0) as endpoint:
        for way in (in_process, command_line):
            way("plain", endpoint)  # what is imported is in the file cache, and its byte code is written
        for framework in frameworks:
            in_process(framework.name, endpoint)
            starts = [_bare_start(framework, endpoint) for _ in range(sizes.launches)]
            kinds = "plain", "ours", "ours spare", "plain cli", "ours cli"
            launches: dict[str, list[Launch]] = {kind: [] for kind in kinds}
            for _ in range(sizes.launches):
                launches["plain"].append(in_process("plain", endpoint))
                launches["ours"].append(in_process(framework.name, endpoint))
                launches["ours spare"].append(
                    after_another_run(framework.name, endpoint, 2 * median(starts) + 4)
                )
                launches["plain cli"].append(command_line("plain", endpoint))
                launches["ours cli"].append(command_line(framework.name, endpoint))
            row = compare(framework.name, launches, median(starts))
            say(
                f"  {framework.name}: {row['added, s']:.2f} s added, {row['added after another run, s']:.2f} s after"
                " another run"
            )
            rows.append(row)
    return Outcome(
        name="launch",
        title="From launch to the first model request",
        how="From the start of the run's process to its first request at the model endpoint. In process:"
        " `dg.materialize` in a fresh process with a local instance (SQLite). Command line: `dagster asset materialize`"
        ". Plain: an asset that sends the request itself. The framework's start is that of a bare process which imports"
        " the framework and the agent. After another run: that run has left a spare guest, which was ready. Warm: a"
        " second agent asset of the same run, from the start of its step. Medians"
        f" of {sizes.launches}, after one launch of warm-up.",
        rows=rows,
        findings=[_finding(row) for row in rows],
    )


def compare(name: str, launches: Mapping[str, Sequence[Launch]], framework_start: float) -> dict[str, Cell]:
    """Return the row of one framework; all in seconds."""
    first = {kind: median(launch.first for launch in several) for kind, several in launches.items()}
    warm = median(launch.second for launch in launches["ours"] if launch.second is not None)
    added = first["ours"] - first["plain"]
    spare = first["ours spare"] - first["plain"]
    return {
        "framework": name,
        "in process, s": first["ours"],
        "plain, s": first["plain"],
        "added, s": added,
        "command line, s": first["ours cli"],
        "plain command line, s": first["plain cli"],
        "added there, s": first["ours cli"] - first["plain cli"],
        "framework's own start, s": framework_start,
        "added without it, s": added - framework_start,
        "added after another run, s": spare,
        "warm, s": warm,
    }


def _finding(row: Mapping[str, Cell]) -> str:
    added, own, spare = (
        float(row[key] or 0) for key in ("added, s", "framework's own start, s", "added after another run, s")
    )
    met = "within" if min(added, spare) <= TARGET_SECONDS else "more than"
    return (
        f"{row['framework']}: plain + {added:.2f} s, of which the framework's own start takes {own:.2f} s; plain +"
        f" {spare:.2f} s after another run, {met} plain + {TARGET_SECONDS} s."
    )


def after_another_run(kind: str, endpoint: Endpoint, ready_seconds: float) -> Launch:
    """Materialize in a fresh process, when another run has left a spare guest and that had time to get ready."""
    with tempfile.TemporaryDirectory(prefix="spares-", ignore_cleanup_errors=True) as place:
        in_process(kind, endpoint, {"TMPDIR": place, "ORCHESTRATOR_SPARE_SECONDS": str(_RUN_SECONDS)})
        time.sleep(ready_seconds)
        launch = in_process(kind, endpoint, {"TMPDIR": place, "ORCHESTRATOR_SPARE_SECONDS": "0.01"})
        time.sleep(_SPARE_GONE_SECONDS)  # it leaves one, too, which goes at once
    return launch


def in_process(kind: str, endpoint: Endpoint, environment: Mapping[str, str] | None = None) -> Launch:
    """Materialize in a fresh process."""
    began, said = _launch(["-m", "benchmarks.launch_project"], kind, endpoint, environment or {})
    calls = _first_calls(endpoint)
    if "second" not in calls:
        return Launch(first=calls["first"] - began)
    return Launch(first=calls["first"] - began, second=calls["second"] - json.loads(said)["second"])


def command_line(kind: str, endpoint: Endpoint) -> Launch:
    """Materialize the first asset by Dagster's command line."""
    words = ["-m", "dagster", "asset", "materialize", "-m", "benchmarks.launch_project", "--select", "first"]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as instance:
        (Path(instance) / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        began, _ = _launch(words, kind, endpoint, {"DAGSTER_HOME": instance})
    return Launch(first=_first_calls(endpoint)["first"] - began)


def _launch(
    words: Sequence[str], kind: str, endpoint: Endpoint, environment: Mapping[str, str]
) -> tuple[float, str]:
    """Run a process to its end and return when it was started, in Unix seconds, and what it printed."""
    endpoint.reset()
    own = {
        "BENCHMARK_ASSET": kind,
        "ORCHESTRATOR_MODEL_URL": endpoint.base_url,
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "ORCHESTRATOR_SPARE_SECONDS": "0",
        "PYTHONPATH": f"{BENCHMARKS.parent}:{os.environ.get('PYTHONPATH', '')}",
    }
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.time()
    done = subprocess.run(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**inherited, **own, **environment},
        timeout=_RUN_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise SideFailed(f"the run of {kind!r} ended with {done.returncode}: {done.stderr[-2_000:]}")
    return began, done.stdout


def _first_calls(endpoint: Endpoint) -> dict[str, float]:
    """Return when each asset's first request arrived, in Unix seconds."""
    found: dict[str, float] = {}
    for call in endpoint.calls():
        for key, marker in MARKERS.items():
            if key not in found and marker in json.dumps(call["body"]):
                found[key] = float(call["time"])
    if "first" not in found:
        raise SideFailed("the run sent no model request")
    return found


def _bare_start(framework: Framework, endpoint: Endpoint) -> float:
    with bare_side(framework, endpoint.base_url) as side:
        return side.start_seconds
