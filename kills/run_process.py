"""The host: the process of one Dagster run, which is killed, and the next one, which goes on from its failure."""

import os
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import dagster as dg

from kills.project import buy

LOG: Final = "host.log"
INSTANCE: Final = "instance"

_SETTINGS: Final = "telemetry: {enabled: false}\n"


def prepare(folder: Path) -> None:
    """Make the Dagster instance of a trial."""
    (folder / INSTANCE).mkdir(parents=True)
    (folder / INSTANCE / "dagster.yaml").write_text(_SETTINGS)


def main(folder: Path, environment: Mapping[str, str]) -> None:
    """Run the job to its end, from the failure of the last run where there is one."""
    os.environ.update(environment, DAGSTER_HOME=str(folder / INSTANCE))
    os.chdir(folder)
    tempfile.tempdir = None
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        _run()
    except Exception:  # the boundary: the trial has no other way to learn of it
        traceback.print_exc()
        sys.exit(1)


def _run() -> None:
    with dg.DagsterInstance.get() as instance:
        again: dg.ReexecutionOptions | None = None
        runs = instance.get_runs(limit=1)
        if runs:
            if not runs[0].is_finished:  # as Dagster's run monitoring finds it
                instance.report_run_failed(runs[0], "the process of the run has ended")
            again = dg.ReexecutionOptions.from_failure(runs[0].run_id, instance)
        job = dg.reconstructable(buy)
        dg.execute_job(job, instance, reexecution_options=again, raise_on_error=False)
