"""Which pods of a location are kept warm: those that its latest runs were, learned as they are launched."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_cluster.warm_claims import Values
from orchestrator_resources.agent_needs import AgentNeed, BadNeed, need_tag, read_need

_PREFIX: Final = "orchestrator/warm-shapes/"


@dataclass(frozen=True, kw_only=True)
class WarmShape:
    """What runs have in common that one pod could serve, as far as their location decides it.

    Attributes:
        repository: Where the definitions are, and in which image: Dagster's `RepositoryPythonOrigin`, serialized.
        needs: Of the agents.
    """

    repository: str
    needs: tuple[AgentNeed, ...]

    @property
    def has_gpus(self) -> bool:
        """Whether the pod would hold GPUs while it waits."""
        return any(need.gpu is not None for need in self.needs)


class WarmShapes:
    """The shapes of the latest runs of each location, kept in Dagster's database.

    Args:
        values: Where they are kept.
    """

    def __init__(self, values: Values) -> None:
        """Begin with what is kept there."""
        self._values: Final = values

    def of(self, location: str) -> tuple[WarmShape, ...]:
        """Return those of a location, the latest first."""
        return _read(self._values.read(_PREFIX + location))

    def learn(self, location: str, shape: WarmShape, size: int) -> None:
        """Remember the shape of a run that is launched; of several who do so at once, one may not be remembered.

        Args:
            location: Whose run it is.
            shape: Of the run.
            size: How many are kept.
        """
        key = _PREFIX + location
        text = self._values.read(key)
        before = _read(text)
        after = learned(before, shape, size)
        if after == before:
            return
        written = _write(after)
        if text is None:
            self._values.add(key, written)
        else:
            self._values.swap(key, text, written)


def learned(before: Sequence[WarmShape], shape: WarmShape, size: int) -> tuple[WarmShape, ...]:
    """Return the shapes to keep warm after a run of one: the latest first, none of other code than the latest run's."""
    if shape.has_gpus:
        return tuple(before)
    same = (one for one in before if one.repository == shape.repository and one != shape)
    return (shape, *same)[:size]


def shares(shapes: Sequence[WarmShape], size: int) -> list[int]:
    """Return how many pods of each shape are kept: as many of each, and one more of the latest ones."""
    count = len(shapes[:size])
    return [size // count + (number < size % count) for number in range(count)] if count else []


def _write(shapes: Sequence[WarmShape]) -> str:
    return json.dumps(
        [{"repository": one.repository, "needs": [need_tag(need) for need in one.needs]} for one in shapes]
    )


def _read(text: str | None) -> tuple[WarmShape, ...]:
    """Return what was written; nothing where that is none of this version, as runs will tell it anew."""
    try:
        written: Any = json.loads(text or "[]")
        return tuple(
            WarmShape(
                repository=str(one["repository"]), needs=tuple(read_need(need) for need in one["needs"])
            )
            for one in written
        )
    except (ValueError, KeyError, TypeError, BadNeed):
        return ()
