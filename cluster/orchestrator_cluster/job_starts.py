"""Makes the job of a run exactly once, also where the API server is away for a while, or somebody was faster."""

import time
from collections.abc import Callable
from typing import Final

from orchestrator_cluster.api_answers import asking, status_of
from orchestrator_cluster.cluster_errors import ClusterAway

AWAY_SECONDS: Final = 1_200.0
"""How long a start waits for the API server; Dagster's own `start_timeout_seconds` usually ends the run before."""

_PAUSE_SECONDS: Final = 2.0
_CONFLICT: Final = 409
_PASSING: Final = frozenset({401, 408, 429, 500, 502, 503, 504})
"""Answers after which an API server is asked again; some clusters say 401 for a moment."""


class StartGivenUp(Exception):
    """The run was ended while its start waited for the API server."""


def start_job(
    make: Callable[[], object],
    *,
    is_there: Callable[[], bool],
    is_wanted: Callable[[], bool],
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Make a run's job, or find that it is made.

    Args:
        make: Asks the API server for it, once; the name is the run's, so that no second one can be made.
        is_there: Says whether what has the name is this run's job; only asked where something has it.
        is_wanted: Says whether the run is still to start; asked before each further try.
        tell: Takes what the run's log is to say.
        sleep: Waits for some seconds.
        clock: Seconds that only grow.

    Raises:
        ClusterAway: The API server refuses it, or was away for `AWAY_SECONDS`.
        StartGivenUp: Nobody waits for the run any more.
    """
    until, told = clock() + AWAY_SECONDS, False
    while True:
        try:
            with asking():
                make()
            return
        except ClusterAway as error:
            if status_of(error) == _CONFLICT and is_there():
                # a try that was thought lost, or a daemon before this one: they must not have two pods, nor none
                tell("The run's job is there already: this start changes nothing.")
                return
            if status_of(error) not in (None, *_PASSING) or clock() >= until:
                raise
            if not told:
                told = True
                tell(f"The run waits for the API server, which makes no job for it now: {error}")
        sleep(_PAUSE_SECONDS)
        if not is_wanted():
            raise StartGivenUp("the run was ended before its job could be made")
