"""Session store, step journal and approvals in memory: for the suite, and as what durable ones must do."""

from typing import Literal

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Approval, ApprovalAsk, State, Step, StepLookup, StepRecord


class MemorySessions:
    """Keeps the state of sessions by name."""

    def __init__(self) -> None:
        """Begin with none."""
        self.states: dict[str, State] = {}

    async def get(self, session: str) -> State:
        """Return the state of a session; version 0 and no text when it is new."""
        return self.states.get(session, State(text=None, version=0))

    async def put(self, session: str, text: str, version: int) -> None:
        """Store a session's state if `version` is still the stored one."""
        stored = (await self.get(session)).version
        if version != stored:
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"the session {session!r} is at version {stored}, not {version}: another execution changed it",
            )
        self.states[session] = State(text=text, version=version + 1)


class MemoryJournal:
    """Keeps finished and started tool calls by execution, step and occurrence."""

    def __init__(self) -> None:
        """Begin with none."""
        self.steps: dict[tuple[str, str, int], Step] = {}

    async def lookup(self, request: StepLookup) -> Step:
        """Say what is known of a step, and mark one that may run only once as started."""
        key = request.execution, request.step, request.occurrence
        found = self.steps.get(key, Step(state="new"))
        if request.once and found.state == "new":
            self.steps[key] = Step(state="started")
        return found

    async def record(self, request: StepRecord) -> None:
        """Remember a step's result."""
        self.steps[request.execution, request.step, request.occurrence] = Step(
            state="finished", result=request.result
        )


class MemoryApprovals:
    """Keeps what tool calls ask, and the decisions, by the id of the request; refuses every question while `closed`."""

    def __init__(self) -> None:
        """Begin with none."""
        self.closed = False
        self.asked: dict[str, ApprovalAsk] = {}
        self.decisions: dict[str, Approval] = {}

    async def ask(self, request: ApprovalAsk) -> Approval:
        """Say what was decided about a tool call; what is asked for the first time waits from now on."""
        if self.closed:
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, "nobody can be asked now")
        name = f"{request.execution}/{request.step[:12]}/{request.occurrence}"
        self.asked.setdefault(name, request)
        return self.decisions.get(name, Approval(id=name, state="waiting"))

    def decide(self, name: str, *, approved: bool, reason: str | None = None) -> None:
        """Decide about a request."""
        state: Literal["approved", "rejected"] = "approved" if approved else "rejected"
        self.decisions[name] = Approval(id=name, state=state, reason=reason)
