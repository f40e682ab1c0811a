"""The moments of an execution at which something can be killed exactly, as the witness sees them."""

from dataclasses import dataclass
from enum import StrEnum

from kills.plot import MODEL_CALLS, ROUNDS


class Stage(StrEnum):
    """How far a model or tool call has come."""

    ASKED = "asked"
    """The request has arrived, nothing was done."""

    HALF = "half"
    """Half of the model's answer was sent."""

    DONE = "done"
    """The tool's effect is there, its answer was not sent."""

    SENT = "sent"
    """All of the answer was sent: what follows happens in gateway and guest, which nothing outside can hold."""


@dataclass(frozen=True, kw_only=True, order=True)
class Boundary:
    """A moment of an execution.

    Attributes:
        number: Of the model call, from 0, which is the round of its tools, too.
        tool: Of a tool call; None for a model call.
        stage: How far it has come.
    """

    number: int
    tool: str = ""
    stage: Stage

    def __str__(self) -> str:
        """Name it in a line of a report."""
        return f"{self.stage} {self.tool or 'model'} {self.number}"


def boundaries(*, held: bool) -> tuple[Boundary, ...]:
    """Return every boundary of an execution, in order; with `held` only those at which the witness can wait."""
    found: list[Boundary] = []
    for number in range(MODEL_CALLS):
        stages = (Stage.ASKED, Stage.HALF) if held else (Stage.ASKED, Stage.HALF, Stage.SENT)
        found += [Boundary(number=number, stage=stage) for stage in stages]
        for tool in ROUNDS[number] if number < len(ROUNDS) else ():
            stages = (Stage.ASKED, Stage.DONE) if held else (Stage.ASKED, Stage.DONE, Stage.SENT)
            found += [Boundary(number=number, tool=tool, stage=stage) for stage in stages]
    return tuple(found)
