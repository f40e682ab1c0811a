"""Our side: a batch as an agent asset runs it, from the items to the rows, without Dagster.

`python -m benchmarks.our_process --framework NAME --endpoint URL` answers each line `{"count": N}` of standard input
with one line of JSON. Guests start with the first batch, or before by `--start`.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks.frameworks import AGENTS, ENTRYPOINTS
from benchmarks.questions import answered, inputs
from orchestrator_resources import gateway
from orchestrator_resources.execution_batches import BatchSettings, FailurePolicy, Item
from orchestrator_resources.guest_pool import Agent
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtime_settings import RuntimeSettings
from orchestrator_resources.runtimes import Runtimes, framework, open_runtimes
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.messages import AgentSource, ModelAddress
from orchestrator_runtimes.profiles import FrameworkProfile

WITHOUT_JOURNAL: Final = Path(__file__).with_name("gateway_without_journal.py")


def agent_of(entrypoint: str) -> Agent:
    """Return an agent under test: an attribute of a file of `agents/`, or a file."""
    module, _, attribute = entrypoint.partition(":")
    digest, archive = bundles.pack(AGENTS, only=frozenset({f"{module}.py" if attribute else module}))
    return Agent(source=AgentSource(entrypoint=entrypoint), bundle=Bundle(digest=digest, archive=archive))


def run_batch(
    runtimes: Runtimes,
    profile: FrameworkProfile,
    agent: Agent,
    settings: BatchSettings,
    batch: int,
    count: int,
) -> dict[str, object]:
    """Run one batch and tell how it went; what each execution took is told where they run one at a time."""
    began = time.perf_counter()
    items = [
        Item(key=str(n), execution=f"batch-{batch}-{n}", inputs=inputs(profile.name, n)) for n in range(count)
    ]
    ends = [began]
    rows = runtimes.run(
        profile,
        agent,
        items,
        settings,
        on_event=lambda _item, _event: None,
        on_row=lambda _row: ends.append(time.perf_counter()),
    )
    runtimes.forget(items)
    seconds = time.perf_counter() - began
    wrong = [row for n, row in enumerate(rows) if row.result is None or not answered(row.result.output, n)]
    return {
        "seconds": seconds,
        "failed": len(wrong),
        "first_failure": str(wrong[0])[:300] if wrong else None,
        "latencies": [end - last for last, end in pairwise(ends)] if settings.in_flight == 1 else [],
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.our_process", description=__doc__)
    parser.add_argument("--framework", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--entrypoint", help="the default is the framework's own")
    parser.add_argument("--start", action="store_true", help="start a guest at once and tell what that took")
    parser.add_argument("--processes", type=int, help="guest processes; the default is the runtime's own")
    parser.add_argument("--in-flight", type=int, help="executions at once; the default is the batch's own")
    parser.add_argument(
        "--without-gateway", action="store_true", help="model calls go to the endpoint itself"
    )
    parser.add_argument(
        "--without-journal", action="store_true", help="model calls go through a gateway that remembers none"
    )
    options = parser.parse_args()
    if options.without_journal:
        gateway.gateway_command = lambda: [sys.executable, "-P", str(WITHOUT_JOURNAL)]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    profile, agent = (
        framework(options.framework),
        agent_of(options.entrypoint or ENTRYPOINTS[options.framework]),
    )
    chosen = {} if options.in_flight is None else {"in_flight": options.in_flight}
    model = ModelAddress(base_url=options.endpoint)
    settings = BatchSettings(model=model, failures=FailurePolicy(kind="keep"), **chosen)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as state:
        places = RuntimeSettings(
            home=home_folder(),
            state=Path(state),
            processes=options.processes,
            gateway=not options.without_gateway,
        )
        with open_runtimes(places, model=model, tell=lambda line: print(line, file=sys.stderr)) as runtimes:
            began = time.monotonic()
            if options.start:
                runtimes.describe(profile)
            ready = {"ready": True} | ({"seconds": time.monotonic() - began} if options.start else {})
            print(json.dumps(ready), file=answers, flush=True)
            for batch, line in zip(itertools.count(), sys.stdin):  # the input ends, the count does not
                answer = run_batch(runtimes, profile, agent, settings, batch, json.loads(line)["count"])
                print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
