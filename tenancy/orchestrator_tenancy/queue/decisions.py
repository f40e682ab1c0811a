"""Which runs start now, and why each of the others waits: a pure function of what waits, what runs, and turns.

While a flow that waits holds less than its weight's part of the platform, it goes first, and a flow that lately had
less than that may hold more for a while. Otherwise the least virtual time goes first. Within a flow, runs go by age and
priority.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from orchestrator_tenancy.queue.runs import Capacity, StartedRun, WaitingRun
from orchestrator_tenancy.queue.shares import Share
from orchestrator_tenancy.queue.turns import Turns, advance, cost

PATIENCE_SECONDS: Final = 120.0
"""How long a run may wait for GPUs while others that need fewer pass it; then what becomes free is kept for it."""
_CATCHING_UP: Final = 2.0
"""How much more than its part a flow may hold, for each bit that it lately had less: bursts are over sooner so."""
_PRESUMED_SECONDS: Final = 60.0
"""How long a run that starts now is presumed to go on, as long as others may start at the same moment."""


class Gates(Protocol):
    """Limits of which fairness knows nothing: pools, tags, code locations that do not answer."""

    def closed(self, run: WaitingRun) -> str | None:
        """Return why a run may not start now; None when it may."""
        ...

    def passed(self, run: WaitingRun) -> None:
        """Take note that it starts."""
        ...


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that a decision depends on.

    Attributes:
        now: In seconds since 1970.
        waiting: Runs of each flow, by their `place`; no flow is empty.
        started: Runs that go on, and those that ended since `turns.at`.
        shares: Of every flow, also those in `turns`.
        capacity: Of the platform.
        turns: What held when somebody last decided.
    """

    now: float
    waiting: Mapping[str, Sequence[WaitingRun]]
    started: Sequence[StartedRun]
    shares: Mapping[str, Share]
    capacity: Capacity
    turns: Turns


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to be done, and why no more.

    Attributes:
        starts: Runs that start now, in this order.
        turns: What holds now, before they start: to be written down.
        runs: Runs of each flow that hold something, with those that start.
        gpus: GPUs of each flow, likewise.
        run_waits: Why a run waits where that is its own matter, by its id.
        flow_waits: Why all other runs of a flow wait, by the flow.
    """

    starts: Sequence[WaitingRun]
    turns: Turns
    runs: Mapping[str, int]
    gpus: Mapping[str, int]
    run_waits: Mapping[str, str]
    flow_waits: Mapping[str, str]

    def why(self, run: WaitingRun) -> str:
        """Return why a run that does not start waits."""
        return self.run_waits.get(run.id) or self.flow_waits[run.flow]


def decide(situation: Situation, gates: Gates, most: int | None = None) -> Decision:
    """Return what is to be done now.

    Args:
        situation: All that it depends on.
        gates: Further limits.
        most: Runs that may start at once; None for any number.
    """
    return _Deciding(situation, gates).decide(most)


class _Deciding:
    def __init__(self, situation: Situation, gates: Gates) -> None:
        self._all = situation
        self._gates = gates
        self._capacity = situation.capacity
        self._runs = dict.fromkeys(situation.waiting, 0)
        self._gpus = dict.fromkeys(situation.waiting, 0)
        for run in situation.started:
            if run.end is None:
                self._take(run.flow, run.gpus)
        self._run_waits = dict[str, str]()
        self._flow_waits = dict[str, str]()
        self._next = dict.fromkeys(situation.waiting, 0)
        may = [flow for flow in sorted(situation.waiting) if not self._closed(flow)]
        weights = {flow: share.weight for flow, share in situation.shares.items()}
        self._turns = advance(
            situation.turns, situation.now, situation.started, situation.capacity, weights, frozenset(may)
        )
        self._virtual = {flow: self._turns.virtual(flow) for flow in may}
        together = sum(weights[flow] for flow, runs in self._runs.items() if runs or flow in self._virtual)
        self._parts = {flow: weights[flow] / together for flow in may}
        # nobody catches up while one waits with nothing, whose part is less than one place: it would wait for all of it
        place = 0.0 if not self._capacity.runs else 1.0 / self._capacity.runs
        little = any(part < place and not self._runs[flow] for flow, part in self._parts.items())
        catching_up = 0.0 if little else _CATCHING_UP
        self._most = {
            flow: part + catching_up * max(0.0, part - self._turns.lately(flow))
            for flow, part in self._parts.items()
        }
        self._kept = dict[str, int]()
        self._keeper = self._keeping(may)

    def decide(self, most: int | None) -> Decision:
        starts = list[WaitingRun]()
        heap = [self._rank(flow) for flow in self._virtual if self._candidate(flow)]
        heapq.heapify(heap)
        while heap and self._free(len(starts), most):
            rank = heapq.heappop(heap)
            flow = rank[-1]
            # what started meanwhile may have closed it to this run, or moved the flow back
            if self._candidate(flow) is None:
                continue
            if (again := self._rank(flow)) != rank:
                heapq.heappush(heap, again)
                continue
            run = self._all.waiting[flow][self._next[flow]]
            self._start(run)
            starts.append(run)
            if self._candidate(flow):
                heapq.heappush(heap, self._rank(flow))
        for flow in self._virtual:
            self._flow_waits.setdefault(flow, self._turn_words(flow))
        return Decision(
            starts=starts,
            turns=self._turns,
            runs=self._runs,
            gpus=self._gpus,
            run_waits=self._run_waits,
            flow_waits=self._flow_waits,
        )

    def _closed(self, flow: str) -> bool:
        """Return whether a flow may start nothing, and write down why."""
        share = self._all.shares[flow]
        if share.suspended:
            self._flow_waits[flow] = f"{share.title} is suspended"
        elif share.runs is not None and self._runs[flow] >= share.runs:
            self._flow_waits[flow] = f"{share.title} has {self._runs[flow]} of its {share.runs} runs going"
        else:
            return False
        return True

    def _keeping(self, may: Sequence[str]) -> WaitingRun | None:
        """Return the run for which GPUs are kept: of those that waited long, the longest by its flow's weight."""
        best, longest = None, 0.0
        for flow in may:
            run = next(filter(self._wants_gpus, self._all.waiting[flow]), None)
            if run is None:
                continue
            waited = self._all.now - max(run.since, self._turns.gpu_started(flow))
            by_weight = waited * self._all.shares[flow].weight
            if waited >= PATIENCE_SECONDS and by_weight > longest:
                best, longest = run, by_weight
        return best

    def _wants_gpus(self, run: WaitingRun) -> bool:
        """Return whether GPUs that become free are all that a run waits for, but for its turn."""
        own = self._all.shares[run.flow].gpus
        fits = own is None or self._gpus[run.flow] + run.gpus <= own
        return run.gpus > 0 and fits and not self._blocked(run)

    def _candidate(self, flow: str) -> WaitingRun | None:
        """Return the first run of a flow that may start now, and write down why those before it may not."""
        if self._closed(flow):
            return None
        runs = self._all.waiting[flow]
        while self._next[flow] < len(runs):
            run = runs[self._next[flow]]
            why = self._blocked(run)
            if why is None and (why := self._short(run)) is None:
                return run
            self._run_waits[run.id] = why
            self._next[flow] += 1
        return None

    def _blocked(self, run: WaitingRun) -> str | None:
        """Return what stands against a run, whatever the other flows do; None for nothing."""
        share, total = self._all.shares[run.flow], self._capacity.gpus
        if run.gpus and share.gpus is not None and run.gpus > share.gpus:
            return f"it needs {run.gpus} GPUs, and {share.title} may have {share.gpus}: it cannot start"
        if run.gpus and total is not None and run.gpus > total:
            return f"it needs {run.gpus} GPUs, and the platform has {total}: it cannot start"
        return self._gates.closed(run)

    def _short(self, run: WaitingRun) -> str | None:
        """Return why there are not enough GPUs for a run now; None when there are."""
        if not run.gpus:
            return None
        share, mine = self._all.shares[run.flow], self._gpus[run.flow]
        kept = self._kept.get(run.flow, 0)
        if share.gpus is not None and mine + run.gpus + kept > share.gpus:
            self._keep(run)
            words = ", and keeps the others for a run before it" if kept else ""
            return f"it needs {run.gpus} GPUs, and {share.title} has {mine} of its {share.gpus} in use{words}"
        if self._capacity.gpus is None:
            return None
        free = self._capacity.gpus - sum(self._gpus.values())
        keeper = self._keeper
        # against who passes because it needs fewer; others have had their turns counted
        passes = keeper is not None and run.gpus < keeper.gpus
        if keeper is not None and passes and free - keeper.gpus < run.gpus <= free:
            return (
                f"it needs {run.gpus} GPUs, and the {free} that are free are kept for a run that waits longer"
            )
        if run.gpus <= free:
            return None
        self._keep(run)
        return f"it needs {run.gpus} GPUs, and {free} are free"

    def _keep(self, run: WaitingRun) -> None:
        """Let no run of the same flow pass one that waited long, to the GPUs that their flow may have."""
        if self._all.now - run.since >= PATIENCE_SECONDS:
            self._kept.setdefault(run.flow, run.gpus)

    def _rank(self, flow: str) -> tuple[bool, float, float, str]:
        """Return what flows that may start something are ordered by; the first goes first."""
        run = self._all.waiting[flow][self._next[flow]]
        after = self._capacity.part(self._runs[flow] + 1, self._gpus[flow] + run.gpus)
        return (after > self._most[flow] + 1e-9, self._virtual[flow], run.since, flow)

    def _start(self, run: WaitingRun) -> None:
        self._take(run.flow, run.gpus)
        self._next[run.flow] += 1
        self._gates.passed(run)
        if self._keeper is run:
            self._keeper = None
        presumed = _PRESUMED_SECONDS * cost(run.gpus, self._capacity)
        self._virtual[run.flow] += presumed / self._all.shares[run.flow].weight

    def _take(self, flow: str, gpus: int) -> None:
        self._runs[flow] = self._runs.get(flow, 0) + 1
        self._gpus[flow] = self._gpus.get(flow, 0) + gpus

    def _free(self, starts: int, most: int | None) -> bool:
        total = self._capacity.runs
        return (most is None or starts < most) and (total is None or sum(self._runs.values()) < total)

    def _turn_words(self, flow: str) -> str:
        total, share = self._capacity.runs, self._all.shares[flow]
        if total is None or sum(self._runs.values()) < total:
            return "it is about to start"
        return (
            f"all {total} places for runs are taken; {share.title} has {self._runs[flow]},"
            f" its part by weight is {self._parts[flow] * total:.1f}"
        )
