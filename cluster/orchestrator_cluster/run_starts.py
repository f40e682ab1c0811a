"""How far the start of a run is that a warm pod may get: one value in Dagster's database, which changes in one step.

A launcher begins it; from then on no other one launches the run. It gives the run to a pod's job, and then claims that
pod (`warm_claims.py`); the pod takes the run up, and executes it only then. Whoever finds the start lost takes it back,
unless a pod has taken it up: from then on the run starts in a pod of its own, whose job has the run's name, so none is
started twice. So a launcher that was paused, not killed, does no harm when it goes on, and neither does its pod.
"""

from typing import Final, Literal, TypeAlias

from orchestrator_cluster.warm_claims import Values

_PREFIX: Final = "orchestrator/warm-runs/"
_BEGUN: Final = "begun"
_COLD: Final = "cold"
_GIVEN: Final = "given "
_TAKEN: Final = "taken "

Beginning: TypeAlias = Literal["any pod", "own pod", "not ours"]
"""What a launcher may do with a run: give it to a pod that waits or make one, only make one, or nothing."""


class RunStarts:
    """The starts of an instance's runs.

    Args:
        values: Where they are kept.
    """

    def __init__(self, values: Values) -> None:
        """Begin with what is kept there."""
        self._values: Final = values

    def begin(self, run_id: str) -> Beginning:
        """Begin to launch a run."""
        if self._values.add(_PREFIX + run_id, _BEGUN):
            return "any pod"
        return "own pod" if self._values.read(_PREFIX + run_id) == _COLD else "not ours"

    def give(self, run_id: str, job: str, before: str | None = None) -> bool:
        """Give a run to a job's pod; return False where the start was taken back.

        Args:
            run_id: Of the run.
            job: Whose pod it is to have.
            before: The job whose pod another run has taken meanwhile; None for the first that is tried.
        """
        was = _BEGUN if before is None else _GIVEN + before
        return self._values.swap(_PREFIX + run_id, was, _GIVEN + job)

    def take_up(self, run_id: str, job: str) -> bool:
        """Let a job's pod execute a run; return False where it must not."""
        return self._values.swap(_PREFIX + run_id, _GIVEN + job, _TAKEN + job)

    def take_back(self, run_id: str) -> bool:
        """Let a run start in a pod of its own from now on; return False where another has taken it up."""
        key = _PREFIX + run_id
        while (was := self._values.read(key)) is not None and was != _COLD:
            if was.startswith(_TAKEN):
                return False
            if self._values.swap(key, was, _COLD):
                return True
        return True

    def job_of(self, run_id: str) -> str | None:
        """Return the job whose pod has taken a run up; None where none has."""
        was = self._values.read(_PREFIX + run_id)
        return was.removeprefix(_TAKEN) if was is not None and was.startswith(_TAKEN) else None

    def known(self) -> list[str]:
        """Return the runs whose start is kept."""
        return list(self._values.below(_PREFIX))

    def forget(self, run_id: str) -> None:
        """Forget the start of a run: it is over, or resumed in a pod of its own."""
        self._values.remove(_PREFIX + run_id)
