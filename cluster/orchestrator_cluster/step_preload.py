"""Imported by the process that steps are forked from, and by nothing else: loads what they need."""

import os

from dagster import DagsterInstance, deserialize_value

from orchestrator_cluster.step_forks import INSTANCE, LOG, REPOSITORY, load_definitions

try:
    load_definitions(os.environ[REPOSITORY])
    DagsterInstance.from_ref(deserialize_value(os.environ[INSTANCE])).dispose()
except Exception as error:  # the boundary of the process: a step will tell the same to its run
    LOG.warning("the definitions cannot be loaded beforehand: %s", error)
