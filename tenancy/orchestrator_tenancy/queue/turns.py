"""Virtual time: how much each flow has had of what all want, by its weight, since it last had nothing waiting.

Start-time fair queueing (Goyal, Vin, Cheng 1996) where the cost of a run is the time that it holds its part of the
platform, in the resource of which it holds most (dominant resource fairness, Ghodsi et al. 2011). Time is taken from
the runs' own records, so it does not matter how often somebody looks, or whether nobody did for an hour.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator_tenancy.queue.runs import Capacity, StartedRun

LATELY_SECONDS: Final = 300.0
"""Of an exponential average: what was longer ago counts little."""
_REMEMBERED_SECONDS: Final = 3_600.0
"""How long it is remembered that a flow's run with GPUs started, while the flow has nothing else to remember."""
_LITTLE: Final = 0.001
"""A part of the platform that is as good as none."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Of one flow.

    Attributes:
        virtual: Its virtual time: what it has had, divided by its weight.
        lately: The part of the platform that it had on average of the last minutes; see `LATELY_SECONDS`.
        gpu_started: When a run of it with GPUs last started; 0 for never.
    """

    virtual: float
    lately: float = 0.0
    gpu_started: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Virtual time of everybody; what is written down between two looks.

    Attributes:
        at: Until when what runs held is counted, in seconds since 1970; 0 for never.
        clock: Virtual time of the run that started last; a flow that begins to wait begins here.
        accounts: Of flows that have more than that, or wait.
    """

    at: float = 0.0
    clock: float = 0.0
    accounts: Mapping[str, Account] = field(default_factory=dict[str, Account])

    def virtual(self, flow: str) -> float:
        """Return the virtual time of a flow."""
        account = self.accounts.get(flow)
        return self.clock if account is None else account.virtual

    def lately(self, flow: str) -> float:
        """Return the part of the platform that a flow had lately."""
        account = self.accounts.get(flow)
        return 0.0 if account is None else account.lately

    def gpu_started(self, flow: str) -> float:
        """Return when a run of a flow with GPUs last started."""
        account = self.accounts.get(flow)
        return 0.0 if account is None else account.gpu_started


def held(runs: Iterable[StartedRun], since: float, now: float, capacity: Capacity) -> Mapping[str, float]:
    """Return what the runs of each flow held in a span of time, in seconds of one run without GPUs.

    Args:
        runs: Those that go on, and those that ended in it; others count nothing.
        since: Begin of the span.
        now: Its end.
        capacity: Of which a run with GPUs holds the larger part.
    """
    found = dict[str, float]()
    for run in sorted(runs, key=lambda run: run.id):  # sums of floats depend on the order
        if run.begin is None:
            continue
        seconds = min(now, run.end if run.end is not None else now) - max(since, run.begin)
        if seconds > 0:
            found[run.flow] = found.get(run.flow, 0.0) + seconds * cost(run.gpus, capacity)
    return found


def cost(gpus: int, capacity: Capacity) -> float:
    """Return how many runs without GPUs hold as large a part of the platform as a run with GPUs does."""
    if capacity.gpus and capacity.runs:
        return max(1.0, gpus / capacity.gpus * capacity.runs)
    return max(1.0, float(gpus))


def advance(
    turns: Turns,
    now: float,
    started: Collection[StartedRun],
    capacity: Capacity,
    weights: Mapping[str, int],
    waiting: Collection[str],
) -> Turns:
    """Return what holds now.

    Args:
        turns: What held at `turns.at`.
        now: Later than that, or it is that again.
        started: Runs that go on, and all that ended since.
        capacity: Of the platform.
        weights: Of all flows that are in `turns` or in `started`, or wait.
        waiting: Flows that wait for nothing but their turn.
    """
    since, now = turns.at or now, max(now, turns.at)
    used, gpu_started, clock = held(started, since, now, capacity), dict[str, float](), turns.clock
    for run in started:
        if run.begin is not None and run.begin > since:
            clock = max(clock, turns.virtual(run.flow))
        if run.begin is not None and run.gpus:
            gpu_started[run.flow] = max(gpu_started.get(run.flow, 0.0), run.begin)
    flows = sorted({*turns.accounts, *used, *waiting, *gpu_started})
    virtual = {flow: turns.virtual(flow) + used.get(flow, 0.0) / weights[flow] for flow in flows}
    if not waiting:  # what one had while nobody wanted it is nobody's loss
        clock = max([clock, *virtual.values()])
    accounts, fading = dict[str, Account](), math.exp((since - now) / LATELY_SECONDS)
    for flow in flows:
        had = used.get(flow, 0.0) / (now - since) / capacity.runs if capacity.runs and now > since else 0.0
        account = Account(
            # who does not wait saves nothing up
            virtual=virtual[flow] if flow in waiting else max(virtual[flow], clock),
            lately=turns.lately(flow) * fading + had * (1 - fading),
            gpu_started=max(turns.gpu_started(flow), gpu_started.get(flow, 0.0)),
        )
        told = account.virtual > clock or account.lately > _LITTLE
        if flow in waiting or told or account.gpu_started > now - _REMEMBERED_SECONDS:
            accounts[flow] = account
    return Turns(at=now, clock=clock, accounts=accounts)


def written(turns: Turns) -> str:
    """Return it as text."""
    accounts = {
        flow: [account.virtual, account.lately, account.gpu_started]
        for flow, account in turns.accounts.items()
    }
    return json.dumps({"at": turns.at, "clock": turns.clock, "accounts": accounts}, sort_keys=True)


def read(text: str | None) -> Turns:
    """Return what was written; nobody has had anything where it is None, or no such text."""
    try:
        found: Any = json.loads(text or "")
        return Turns(
            at=float(found["at"]),
            clock=float(found["clock"]),
            accounts={
                str(flow): Account(virtual=float(virtual), lately=float(lately), gpu_started=float(started))
                for flow, (virtual, lately, started) in found["accounts"].items()
            },
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return Turns()
