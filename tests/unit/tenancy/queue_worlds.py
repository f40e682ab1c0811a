"""A platform in miniature: runs arrive, are started by the decisions of the queue, and end, second by second."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from orchestrator_tenancy.queue.decisions import Decision, Situation, decide
from orchestrator_tenancy.queue.runs import Capacity, StartedRun, WaitingRun
from orchestrator_tenancy.queue.shares import Share
from orchestrator_tenancy.queue.turns import Turns, read, written

BEGIN = 1_000_000.0


class OpenGates:
    """No further limits."""

    def closed(self, run: WaitingRun) -> str | None:
        return None

    def passed(self, run: WaitingRun) -> None:
        return None


def share(flow: str, **what: int | bool | None) -> Share:
    return replace(Share(title=f"the tenant {flow!r}"), **what)  # type: ignore[arg-type]


def waiting(flow: str, number: int, *, since: float = BEGIN, gpus: int = 0, priority: int = 0) -> WaitingRun:
    return WaitingRun(
        id=f"{flow}-{number}",
        number=number,
        flow=flow,
        location=flow,
        since=since,
        gpus=gpus,
        priority=priority,
    )


def situation(
    runs: list[WaitingRun],
    *,
    started: list[StartedRun] | None = None,
    shares: Mapping[str, Share] | None = None,
    capacity: Capacity | None = None,
    turns: Turns | None = None,
    now: float = BEGIN + 1,
) -> Situation:
    flows = dict[str, list[WaitingRun]]()
    for run in sorted(runs, key=lambda run: run.place):
        flows.setdefault(run.flow, []).append(run)
    turns = turns or Turns()
    named = {*flows, *(run.flow for run in started or ()), *turns.accounts}
    return Situation(
        now=now,
        waiting=flows,
        started=started or [],
        shares={flow: (shares or {}).get(flow) or share(flow) for flow in named},
        capacity=capacity or Capacity(),
        turns=turns,
    )


@dataclass
class World:
    """Everything that goes on.

    Attributes:
        capacity: Of the platform.
        shares: Of flows that have not the default.
        lasts: How many seconds a run goes on.
        now: Time.
        queue: What waits.
        going: What goes on, with when each ends.
        waits: How long each run waited that was started, by its id.
        held: Seconds that runs of each flow went on, up to now.
    """

    capacity: Capacity
    shares: Mapping[str, Share] = field(default_factory=dict[str, Share])
    lasts: Callable[[WaitingRun], float] = lambda run: 10.0
    now: float = BEGIN
    queue: list[WaitingRun] = field(default_factory=list[WaitingRun])
    going: dict[str, tuple[StartedRun, float]] = field(default_factory=dict[str, tuple[StartedRun, float]])
    ended: list[StartedRun] = field(default_factory=list[StartedRun])
    waits: dict[str, float] = field(default_factory=dict[str, float])
    held: dict[str, float] = field(default_factory=dict[str, float])
    store: str = ""
    made: int = 0

    def arrive(self, flow: str, *, gpus: int = 0, priority: int = 0) -> WaitingRun:
        self.made += 1
        run = waiting(flow, self.made, since=self.now, gpus=gpus, priority=priority)
        self.queue.append(run)
        return run

    def situation(self) -> Situation:
        return situation(
            self.queue,
            started=[*(run for run, _ in self.going.values()), *self.ended],
            shares=self.shares,
            capacity=self.capacity,
            turns=read(self.store),
            now=self.now,
        )

    def tick(self, most: int | None = None) -> Decision:
        """Let a second pass, and start what is decided."""
        self.now += 1
        for run, until in list(self.going.values()):
            self.held[run.flow] = self.held.get(run.flow, 0.0) + 1
            if until <= self.now:
                del self.going[run.id]
                self.ended.append(replace(run, end=until))
        decision = decide(self.situation(), OpenGates(), most)
        self.store = written(decision.turns)
        self.ended.clear()
        for chosen in decision.starts:
            self.waits[chosen.id] = self.now - chosen.since
            self.queue.remove(chosen)
            started = StartedRun(id=chosen.id, flow=chosen.flow, gpus=chosen.gpus, begin=self.now)
            self.going[chosen.id] = (started, self.now + self.lasts(chosen))
        return decision
