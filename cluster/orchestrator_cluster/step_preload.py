"""Imported by the process that steps are forked from, and by nothing else: loads what they need."""

import os

from orchestrator_cluster.step_forks import INSTANCE, LOG, REPOSITORY, load_definitions, open_and_close

try:
    load_definitions(os.environ[REPOSITORY])
    open_and_close(os.environ[INSTANCE])
except Exception as error:  # the boundary of the process: a step will tell the same to its run
    LOG.warning("the definitions cannot be loaded beforehand: %s", error)
