"""What Dagster keeps to itself, and who launches and executes its runs must have.

Checked against Dagster 1.13; where it moves, `tests/integration/test_warm_runs.py` fails.
"""

import signal
from collections.abc import Callable
from typing import Any

from dagster import DagsterInstance, DagsterRun, deserialize_value, serialize_value
from dagster._cli.api import _execute_run_command_body  # pyright: ignore[reportPrivateUsage]
from dagster._core.instance import InstanceRef
from dagster._core.origin import RepositoryPythonOrigin
from dagster._utils.interrupts import capture_interrupts


def repository_of(run: DagsterRun) -> str | None:
    """Return where the definitions of a run are, and in which image, as a text; None where it does not say."""
    origin = run.job_code_origin
    return None if origin is None else serialize_value(origin.repository_origin)


def image_of(repository: str) -> str | None:
    """Return the image that a code server named as its own; None where it named none."""
    return deserialize_value(repository, RepositoryPythonOrigin).container_image


def instance_text(instance: DagsterInstance) -> str:
    """Return how an instance is opened elsewhere, as a text."""
    return serialize_value(instance.get_ref())


def open_instance(text: str) -> DagsterInstance:
    """Open the instance of a text; it is a context manager."""
    return DagsterInstance.from_ref(deserialize_value(text, InstanceRef))


def same_repository(run: DagsterRun, repository: str) -> bool:
    """Return whether the definitions of a run are these."""
    origin = run.job_code_origin
    return origin is not None and origin.repository_origin == deserialize_value(
        repository, RepositoryPythonOrigin
    )


def execute(instance: DagsterInstance, run_id: str, *, fail: bool, ended: Callable[[], bool]) -> int:
    """Execute a run as `dagster api execute_run` does, and return the exit status.

    Args:
        instance: Of the run.
        run_id: Which.
        fail: Whether the status of a run that failed is 1.
        ended: Whether this process was told to end before Dagster listens to signals.
    """

    def forget(_event: Any) -> None:
        """Do nothing: events are in the instance's log."""

    with capture_interrupts():
        if ended():
            signal.raise_signal(signal.SIGTERM)
        return _execute_run_command_body(run_id, instance, forget, set_exit_code_on_failure=fail)
