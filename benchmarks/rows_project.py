"""The run of `rows`: an agent asset of the fake framework with as many rows as the command line says.

Prints, as JSON, the seconds of its step, the rows of the event log, and the largest resident memory of this process.
"""

import json
import resource
import sys
import tempfile

import dagster as dg

from orchestrator_assets import AgentSpec, ForEachSpec, InputSpec, PortableSpec, agent_asset
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES


def main() -> None:
    """Materialize the rows and the asset that reviews them."""
    count = int(sys.argv[1])

    @dg.asset
    def items() -> list[str]:
        return [f"EXEC-{number}" for number in range(count)]

    agent = AgentSpec(
        framework="fake",
        portable=PortableSpec(instructions="Help."),
        prompt="Review {item}.",
        inputs={"item": InputSpec(asset="items")},
        for_each=ForEachSpec(input="item"),
    )
    reviews = agent_asset(agent, asset=dg.AssetSpec("reviews"))
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        result = dg.materialize(
            [items, reviews], instance=instance, resources={"agent_runtimes": AGENT_RUNTIMES}
        )
        rows = result.output_for_node("reviews", "result")
        log = instance.all_logs(result.run_id)
    wrong = [n for n, row in enumerate(rows) if not str(row["output"]).endswith(f"EXEC-{n}")]
    if len(rows) != count or wrong:
        raise SystemExit(f"{len(rows)} rows of {count}, wrong are {wrong[:10]}")
    times = {
        entry.dagster_event.event_type: entry.timestamp
        for entry in log
        if entry.dagster_event and entry.step_key == "reviews"
    }
    answer = {
        "seconds": times[dg.DagsterEventType.STEP_SUCCESS] - times[dg.DagsterEventType.STEP_START],
        "events": len(log),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
