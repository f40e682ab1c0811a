"""When what is killed: every boundary with every victim, and random moments that a seed fixes."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kills.boundaries import Boundary, boundaries
from kills.project import Job
from kills.victims import Victim

VICTIMS: Final = (
    (Victim.GUEST,),
    (Victim.HOST,),
    (Victim.GATEWAY,),
    (Victim.GUEST, Victim.GATEWAY),
    (Victim.HOST, Victim.GATEWAY),
)
EXTERNAL_VICTIMS: Final = ((Victim.DATABASE,), (Victim.GATEWAY,), (Victim.GATEWAY, Victim.DATABASE))
"""Where others run the gateway, and its journal is in PostgreSQL; both come back as a cluster brings them."""

RANDOM_ITEMS: Final = 4
_EXTERNAL_SHARE: Final = 0.25
"""Of the random trials; each of them starts a gateway and a database, which takes a second or two."""

_MOST_KILLS: Final = 3
_DELAYS: Final = (0.0, 0.002, 0.01, 0.05, 0.3)


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill.

    Attributes:
        victims: What is killed, at once and in this order.
        item: Number of the execution whose progress decides.
        boundary: How far it must have come; None: all executions are held, each at its own boundary.
        delay: Seconds after that.
    """

    victims: tuple[Victim, ...]
    item: int = 0
    boundary: Boundary | None = None
    delay: float = 0.0

    def __str__(self) -> str:
        """Name it in a line of a report."""
        where = "every boundary" if self.boundary is None else f"{self.boundary} of {self.item}"
        return f"{'+'.join(self.victims)} at {where}" + (
            f" + {self.delay * 1000:.0f} ms" if self.delay else ""
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One Dagster run, and what is killed meanwhile.

    Attributes:
        name: What the command line knows it by; unique.
        job: What runs.
        kills: In order; each moment is waited for once the kill before has been done.
        seed: What made it; None for those that are made without chance.
    """

    name: str
    job: Job
    kills: tuple[Kill, ...] = ()
    seed: int | None = None


def undisturbed(framework: str, *, native: bool) -> Trial:
    """Return the run that the others are compared with; with as many executions as any of them has."""
    count = len(boundaries(held=True))
    return Trial(
        name=f"{_kind(framework, native=native)}-whole",
        job=Job(framework=framework, native=native, items=count),
    )


def exhaustive(framework: str, *, native: bool) -> Iterator[Trial]:
    """Yield runs in which each victim is killed while every boundary has an execution that stands at it."""
    count = len(boundaries(held=True))
    for number, victims in enumerate(VICTIMS):
        stream = number % 2 == 1
        yield Trial(
            name=f"{_kind(framework, native=native)}-{'+'.join(victims)}",
            job=Job(framework=framework, native=native, stream=stream, items=count),
            kills=(Kill(victims=victims),),
        )


def exhaustive_external(framework: str, *, native: bool) -> Iterator[Trial]:
    """Yield the same of a gateway that others run, and of its database."""
    count = len(boundaries(held=True))
    for number, victims in enumerate(EXTERNAL_VICTIMS):
        name = "+".join(victims) if Victim.DATABASE in victims else "external-" + "+".join(victims)
        yield Trial(
            name=f"{_kind(framework, native=native)}-{name}",
            job=Job(framework=framework, native=native, stream=number % 2 == 0, items=count, external=True),
            kills=(Kill(victims=victims),),
        )


def random_trial(framework: str, seed: int) -> Trial:
    """Return the run of a seed: one to three kills at or a little after random boundaries of random executions.

    Half of the agents are of the framework's own kind, a quarter of the gateways are others'.
    """
    chance = random.Random(f"{framework} {seed}")
    native = chance.random() < 0.5
    external = chance.random() < _EXTERNAL_SHARE
    victims = tuple(dict.fromkeys((*VICTIMS, *EXTERNAL_VICTIMS))) if external else VICTIMS
    every = boundaries(held=False)
    moments = sorted(chance.sample(range(len(every)), chance.randint(1, _MOST_KILLS)))
    kills = tuple(
        Kill(
            victims=chance.choice(victims),
            item=chance.randrange(RANDOM_ITEMS),
            boundary=every[moment],
            delay=chance.random() * chance.choice(_DELAYS),
        )
        for moment in moments
    )
    job = Job(
        framework=framework,
        native=native,
        stream=chance.random() < 0.5,
        items=RANDOM_ITEMS,
        external=external,
    )
    return Trial(name=f"{framework}-{seed}", job=job, kills=kills, seed=seed)


def _kind(framework: str, *, native: bool) -> str:
    return f"{framework}-native" if native else framework
