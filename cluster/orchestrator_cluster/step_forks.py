"""Steps of a run begin as forks of a process that has loaded Dagster and the definitions already.

Dagster starts a new Python for each step, which imports Dagster and loads the definitions once more: seconds before
the step begins. Its executor knows `forkserver`, too; here that is what it takes where nobody said which. A step is a
process of its own as before.

Checked against Dagster 1.13; where it moves, `tests/integration/test_warm_runs.py` fails.
"""
# what a subclass of Dagster's executor passes on is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import functools
import logging
import multiprocessing
import os
from collections.abc import Sequence
from typing import Any, Final

from dagster import DagsterInstance, deserialize_value
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.executor import multiprocess
from dagster._core.instance import InstanceRef
from dagster._core.origin import RepositoryPythonOrigin
from dagster._utils.hosted_user_process import recon_repository_from_origin

LOG: Final = logging.getLogger("orchestrator_cluster.step_forks")
REPOSITORY: Final = "ORCHESTRATOR_PRELOADED_REPOSITORY"
"""Variable of the process that is forked: the repository to load, as Dagster serializes its origin."""
INSTANCE: Final = "ORCHESTRATOR_PRELOADED_INSTANCE"
"""Variable of the same: how the instance is opened, as Dagster serializes it; what that imports is loaded, too."""

_METHOD: Final = "forkserver"
_PRELOADED: Final = ("dagster._core.executor.multiprocess", "orchestrator_cluster.step_preload")


class ForkingExecutor(multiprocess.MultiprocessExecutor):
    """Dagster's executor, whose steps are forks unless its configuration says how they start."""

    def __init__(
        self, *, start_method: str | None, explicit_forkserver_preload: Sequence[str] | None, **more: Any
    ) -> None:
        """Take what Dagster's executor takes."""
        if start_method is None:
            start_method, explicit_forkserver_preload = _METHOD, _PRELOADED
        super().__init__(
            start_method=start_method, explicit_forkserver_preload=explicit_forkserver_preload, **more
        )


def fork_steps(repository: str, instance: str) -> None:
    """Begin to load what steps are forked from, and let them be; returns before it is loaded.

    Args:
        repository: Of the steps; see `REPOSITORY`.
        instance: Of their run; see `INSTANCE`.
    """
    os.environ |= {REPOSITORY: repository, INSTANCE: instance}
    multiprocess.MultiprocessExecutor = ForkingExecutor  # type: ignore[assignment, misc]
    context = multiprocessing.get_context(_METHOD)
    context.set_forkserver_preload(list(_PRELOADED))
    # a fork that does nothing starts what it is forked from
    context.Process(target=_nothing).start()


def forks_begin() -> None:
    """Wait until a step can begin at once."""
    probe = multiprocessing.get_context(_METHOD).Process(target=_nothing)
    probe.start()
    probe.join()


def load_definitions(repository: str) -> None:
    """Load a repository, which is loaded no more then in this process.

    Args:
        repository: Its origin, as Dagster serializes it.
    """
    keep_definitions()
    origin = deserialize_value(repository, RepositoryPythonOrigin)
    recon_repository_from_origin(origin).get_definition()


def open_and_close(instance: str) -> None:
    """Import what an instance needs; see `INSTANCE`."""
    DagsterInstance.from_ref(deserialize_value(instance, InstanceRef)).dispose()


@functools.cache
def keep_definitions() -> None:
    """Load each repository once in this process: Dagster does for each job, and again for a part of one."""
    load = ReconstructableRepository.get_definition
    ReconstructableRepository.get_definition = functools.lru_cache(maxsize=4)(load)  # type: ignore[method-assign]


def _nothing() -> None:
    """Begin and end."""
