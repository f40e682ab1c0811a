"""Imported by the process that steps are forked from, and by nothing else: loads what they need."""

import contextlib
import os
import sys
import threading

from orchestrator_cluster.step_forks import INSTANCE, LOG, REPOSITORY, load_definitions, open_and_close


def _seed() -> None:
    """Give a fork chances of its own; Python's own generator sees to itself."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


with contextlib.suppress(ImportError):
    pass  # what runs keep their state with loads it when it is first used
try:
    load_definitions(os.environ[REPOSITORY])
    open_and_close(os.environ[INSTANCE])
except Exception as error:  # the boundary of the process: a step will tell the same to its run
    LOG.warning("the definitions cannot be loaded beforehand: %s", error)
if threading.active_count() > 1:
    LOG.warning(
        "definitions that start threads when they are imported need `start_method: {spawn: {}}` of the executor"
    )
os.register_at_fork(after_in_child=_seed)
