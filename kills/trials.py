"""One trial: a Dagster run from its start to its end, however often its processes are killed meanwhile."""

import json
import multiprocessing
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

from kills import run_process
from kills.boundaries import boundaries
from kills.plot import MODEL_CALLS, ONCE, ROUNDS, ToolStep, marker, right_output
from kills.project import OUTCOME, SECONDS, VARIABLE
from kills.records import PostgresRecords, Records, SqliteRecords
from kills.schedules import Kill, Trial
from kills.services import Gateway, Services
from kills.victims import Victim, find, kill
from kills.witness import Watch, Witness

RUNS: Final = 8
"""Most runs of one trial: each kill of a host makes one more."""

_MOMENT_SECONDS: Final = 150.0
_RUN_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.01

_FORKS: Final = multiprocessing.get_context("forkserver")


@dataclass(kw_only=True)
class Ended:
    """How a trial ended.

    Attributes:
        trial: Which.
        runs: Dagster runs, re-executions included.
        kills: Processes that were killed.
        missed: Kills whose moment never came, because what they wait for ended otherwise.
        counts: As `Watch.counts`; with `told_unknown`, executions that ended with the error of a `once` tool whose
            result is unknown, and `wrong`, executions that ended as they must not.
        problems: What must never be, in words.
        seconds: Wall time.
    """

    trial: Trial
    runs: int = 0
    kills: int = 0
    missed: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])
    seconds: float = 0.0


class Room:
    """Where the trials of one worker run, one after the other; its guests are below its folder.

    Args:
        folder: Short, since sockets are below it; removed with everything in it by `close`.
        witness: Who watches.
    """

    def __init__(self, folder: Path, witness: Witness) -> None:
        """Prepare; nothing runs yet."""
        self._folder = folder
        self._witness = witness
        self._services = Services()
        self._gateway: Gateway | None = None
        folder.mkdir(parents=True)

    def run(self, trial: Trial) -> Ended:
        """Run a trial to its end, and judge it."""
        began = time.monotonic()
        folder = self._folder / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        run_process.prepare(folder)
        records: Records = SqliteRecords(folder / run_process.INSTANCE / "storage" / "agents")
        if trial.job.external:
            database = self._services.database()
            upstream = f"{self._witness.address(trial.name)}/v1"
            self._gateway = Gateway(folder / "gateway", database, upstream)
            records = PostgresRecords(database)
        holding = any(planned.boundary is None for planned in trial.kills)
        held = {marker(number): boundary for number, boundary in enumerate(boundaries(held=True))}
        watch = self._witness.begin(trial.name, records, held if holding else {})
        ended = Ended(trial=trial)
        try:
            self._drive(trial, watch, folder, ended)
            self._judge(trial, watch, folder, ended)
        finally:
            self._witness.end(trial.name)
            if self._gateway is not None:
                self._gateway.kill()
                self._gateway = None
        ended.seconds = time.monotonic() - began
        if ended.seconds > SECONDS:
            ended.problems.append("an execution hung until its time was over")
        return ended

    def close(self) -> None:
        """Kill what is left, and remove the folder."""
        kill(find(Victim.GUEST, host=0, place=self._folder))
        self._services.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _drive(self, trial: Trial, watch: Watch, folder: Path, ended: Ended) -> None:
        process = self._start(trial, folder, ended)
        for planned in trial.kills:
            if not self._come(planned, watch, process):
                ended.missed += 1
                self._witness.do(watch.release())
                continue
            time.sleep(planned.delay)
            ended.kills += self._kill(planned.victims, process.pid or 0)
            self._witness.do(watch.release())
            self._bring_back(planned.victims)
            if Victim.HOST in planned.victims:
                process.join()
                process = self._start(trial, folder, ended)
        until = time.monotonic() + _RUN_SECONDS
        while True:
            process.join(max(0.0, until - time.monotonic()))
            if process.exitcode is None:
                ended.problems.append(f"the run did not end within {_RUN_SECONDS:.0f} s")
                kill([process.pid or 0])
                return
            if (folder / OUTCOME).exists() or ended.runs >= RUNS or not ended.kills:
                return
            process = self._start(trial, folder, ended)

    def _kill(self, victims: Sequence[Victim], host: int) -> int:
        """Kill at once, and return how many were killed; a database counts as one."""
        pids = [pid for victim in victims for pid in find(victim, host=host, place=self._folder)]
        killed = len(kill(pids))
        if self._gateway is not None and Victim.GATEWAY in victims:
            self._gateway.kill()
            killed += 1
        if Victim.DATABASE in victims:
            self._services.kill_database()
            killed += 1
        return killed

    def _bring_back(self, victims: Sequence[Victim]) -> None:
        """Start again what others run, as a cluster does; what was held goes on meanwhile and meets the gap."""
        if Victim.DATABASE in victims:
            self._services.start_database()
        if self._gateway is not None and Victim.GATEWAY in victims:
            self._gateway.start()

    def _come(self, planned: Kill, watch: Watch, process: ForkServerProcess) -> bool:
        """Wait for the moment of a kill; False when it does not come."""
        event = watch.held
        if planned.boundary is not None:
            event = self._witness.do(watch.alarm((marker(planned.item), planned.boundary)))
        until = time.monotonic() + _MOMENT_SECONDS
        while not event.wait(_POLL_SECONDS):
            if process.exitcode is not None or time.monotonic() > until:
                return False
        return True

    def _start(self, trial: Trial, folder: Path, ended: Ended) -> ForkServerProcess:
        ended.runs += 1
        environment = {
            "TMPDIR": str(self._folder),
            "ORCHESTRATOR_MODEL_URL": f"{self._witness.address(trial.name)}/v1",
            "ORCHESTRATOR_SPARE_SECONDS": "60" if trial.job.framework == "n8n" else "0",
            "DAGSTER_DISABLE_TELEMETRY": "1",
            VARIABLE: trial.job.to_json(),
            **({} if self._gateway is None else self._gateway.environment),
        }
        process = _FORKS.Process(target=run_process.main, args=(folder, environment), daemon=True)
        with _STARTING:
            process.start()
        return process

    def _judge(self, trial: Trial, watch: Watch, folder: Path, ended: Ended) -> None:
        ended.counts.update(watch.counts)
        ended.problems += watch.problems
        outcome = folder / OUTCOME
        rows: list[Mapping[str, Any]] = json.loads(outcome.read_text()) if outcome.exists() else []
        if len(rows) != trial.job.items:
            last = (folder / run_process.LOG).read_text(errors="replace")[-1_200:]
            ended.problems.append(f"the run ended with {len(rows)} of {trial.job.items} rows: {last}")
            ended.counts["wrong"] += trial.job.items - len(rows)
        if watch.holds:
            where = "; ".join(f"{boundary} of {item}" for item, boundary in sorted(watch.holds.items()))
            ended.problems.append(f"not reached: {where}")
        for number, row in enumerate(rows):
            self._judge_row(marker(number), row, watch, ended)

    def _judge_row(self, item: str, row: Mapping[str, Any], watch: Watch, ended: Ended) -> None:
        steps = [ToolStep(number=n, tool=tool) for n, tools in enumerate(ROUNDS) for tool in tools]
        if row["error_code"] == "tool_failed" and "its result is unknown" in str(row["error"]):
            seen = watch.seen.get(item, frozenset())
            # it may have been killed before the tool's request left: nobody on this side can know
            lost = [
                s for s in steps if s.tool in ONCE and s not in seen and repr(s.tool) in str(row["error"])
            ]
            if lost and ended.kills:
                ended.counts["told_unknown"] += 1
                return
        right = _read(row["output"]) == right_output(item)
        used = (row["model_calls"], row["tool_calls"]) == (MODEL_CALLS, len(steps))
        if not right or not used:
            ended.counts["wrong"] += 1
            ended.problems.append(f"{item} ended wrongly: {json.dumps(row)[:600]}")


def _read(output: Any) -> Any:
    """Return an output as the object that it is, or that its text holds."""
    try:
        return json.loads(output) if isinstance(output, str) else output
    except ValueError:
        return output


_STARTING: Final = threading.Lock()
"""One process is forked at a time: the fork server answers one at a time."""


def start_forks() -> None:
    """Have the server of host processes import Dagster, once for all of them."""
    _FORKS.set_forkserver_preload(["kills.run_process"])
