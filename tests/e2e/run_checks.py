"""What tests of runs ask of a platform again and again."""

from collections.abc import Iterable

from tests.e2e.platforms import Platform


def gone(platform: Platform, run_id: str) -> None:
    """Wait until no pod of a run is left."""
    platform.until(lambda: not platform.pods(run_id), 60, f"the pod of run {run_id} is gone")


def once(platform: Platform, *run_ids: str) -> None:
    """Check that each run that is over had one pod and one process, and began once."""
    for run_id in run_ids:
        assert len(platform.pods(run_id)) == 1, platform.described(run_id)
        run = platform.run(run_id)
        assert run.text.count("Started process for run") == 1, run.text
        assert run.text.count("Started execution of run") == 1, run.text


def in_turn(calls: Iterable[int], times: int) -> None:
    """Check that each of some executions of two calls asked for each call once."""
    assert sorted(calls) == [1] * times + [2] * times
