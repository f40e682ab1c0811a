"""Whose a warm pod is: one value in Dagster's database, which changes in one step, so that it is nobody's or one run's.

A pod offers itself when it can begin a run. A run launcher claims it for a run, and thereby hands the run over: there
is nothing that could fail between the two. The keeper closes it before it removes it. Of several who want the same pod
at once, one has it. Which launcher may claim for a run is another matter: see `run_starts.py`.
"""

import contextlib
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

_PREFIX: Final = "orchestrator/warm/"
_WAITING: Final = "waiting"
_CLOSED: Final = "closed"
_RUN: Final = "run "

State: TypeAlias = Literal["starting", "waiting", "closed", "claimed"]


class Values(Protocol):
    """Texts by key, which are changed only from what they are known to be; see `instance_values.InstanceValues`."""

    def add(self, key: str, value: str, /) -> bool:
        """Set a value that is not there; return False where there is one."""
        ...

    def swap(self, key: str, old: str, new: str, /) -> bool:
        """Change a value from one to another; return False where it was not that one."""
        ...

    def read(self, key: str, /) -> str | None:
        """Return a value; None where there is none."""
        ...

    def below(self, prefix: str, /) -> Mapping[str, str]:
        """Return all values whose keys begin so, by the rest of their keys."""
        ...

    def remove(self, key: str, /) -> None:
        """Forget a value, if it is there."""
        ...

    def reading(self) -> AbstractContextManager[Callable[[str], str | None]]:
        """Return what reads many values on one connection."""
        ...


@dataclass(frozen=True)
class Claim:
    """What is known of a warm pod.

    Attributes:
        state: `starting`, before it can begin a run; `waiting`, for one; `closed`, nobody may have it any more;
            `claimed`, by a run.
        run_id: Whose it is; None unless it is claimed.
    """

    state: State
    run_id: str | None = None


STARTING: Final = Claim("starting")


class WarmClaims:
    """The claims of an instance, by namespace and name of the job that made the pod.

    Args:
        values: Where they are kept.
    """

    def __init__(self, values: Values) -> None:
        """Begin with what is kept there."""
        self._values: Final = values

    def offer(self, namespace: str, job: str) -> bool:
        """Let runs have a pod from now on; return False where it is to end instead."""
        return self._values.add(_key(namespace, job), _WAITING)

    def claim(self, namespace: str, job: str, run_id: str) -> bool:
        """Give a pod that waits to a run; return False where somebody else was first."""
        return self._values.swap(_key(namespace, job), _WAITING, _RUN + run_id)

    def close(self, namespace: str, job: str) -> bool:
        """Let no run have a pod any more; return False where one has it."""
        key = _key(namespace, job)
        while not (self._values.swap(key, _WAITING, _CLOSED) or self._values.add(key, _CLOSED)):
            # it was there and did not wait: it is closed or claimed for good, or offered just now
            state = _claim(self._values.read(key)).state
            if state in ("closed", "claimed"):
                return state == "closed"
        return True

    def of(self, namespace: str) -> dict[str, Claim]:
        """Return the claims of all pods of a namespace that are not starting, by the names of their jobs."""
        return {job: _claim(value) for job, value in self._values.below(_key(namespace, "")).items()}

    def run_of(self, namespace: str, job: str) -> str | None:
        """Return the run that has a pod; None where none has."""
        return _claim(self._values.read(_key(namespace, job))).run_id

    def forget(self, namespace: str, job: str) -> None:
        """Forget a pod that is gone."""
        self._values.remove(_key(namespace, job))

    @contextlib.contextmanager
    def reading(self, namespace: str, job: str) -> Generator[Callable[[], Claim]]:
        """Hold one connection, for who reads the claim of one pod many times a second."""
        key = _key(namespace, job)
        with self._values.reading() as read:
            yield lambda: _claim(read(key))


def _key(namespace: str, job: str) -> str:
    return f"{_PREFIX}{namespace}/{job}"


def _claim(value: str | None) -> Claim:
    if value is None:
        return STARTING
    if value == _WAITING:
        return Claim("waiting")
    return Claim("claimed", value.removeprefix(_RUN)) if value.startswith(_RUN) else Claim("closed")
