"""Traces of executions: whose they are, whether they are sampled, and what a hostile guest can make them say."""

import asyncio
import re
import threading
import time
from collections.abc import Sequence

import pytest

from orchestrator_gateway.execution_reports import MOST_REPORTS, MOST_TOOLS, NAME_CHARACTERS, ExecutionReport
from orchestrator_resources.execution_traces import ExecutionTrace, ReportSender, Trace
from orchestrator_resources.gateway import ModelGateway
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event, Started, ToolCall
from orchestrator_runtimes.messages import FinishReason, Result, Usage

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def report(execution: str = "e") -> ExecutionReport:
    return ExecutionReport(
        traceparent=Trace.of(CALLER).span(),
        parent=CALLER,
        execution=execution,
        agent="",
        name="answer",
        framework="fake",
        location="",
        run=None,
        session=None,
        structured=False,
        began=time.time(),
        seconds=0.0,
        finish_reason=None,
        error=None,
    )


def test_the_trace_is_the_callers_or_a_new_one() -> None:
    joined = Trace.of(CALLER)
    assert (joined.parent, joined.id, joined.flags) == (CALLER, CALLER.split("-")[1], "00")
    assert (
        re.fullmatch(rf"00-{joined.id}-[0-9a-f]{{16}}-00", joined.span()) and joined.span() != joined.span()
    )
    for none in (None, "", "nonsense", CALLER.replace("4", "x"), f"00-{'0' * 32}-{'1' * 16}-01"):
        begun = Trace.of(none)
        assert begun.parent is None and begun.flags == "01" and begun.id != joined.id


@pytest.mark.parametrize(
    ("sampler", "share", "flags"),
    [
        ("always_off", None, {"00"}),
        ("parentbased_always_off", None, {"00"}),
        ("parentbased_traceidratio", "0", {"00"}),
        ("traceidratio", "1", {"01"}),
        ("traceidratio", "0.5", {"00", "01"}),
        ("traceidratio", "half", {"01"}),
        ("always_on", None, {"01"}),
    ],
)
def test_who_begins_a_trace_decides_whether_it_is_sampled(
    monkeypatch: pytest.MonkeyPatch, sampler: str, share: str | None, flags: set[str]
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    if share is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    assert {Trace.of(None).flags for _ in range(100)} == flags


def test_what_a_guest_tells_of_tools_stays_within_bounds() -> None:
    sent: list[ExecutionReport] = []
    begun = report()
    trace = ExecutionTrace(begun, sent.append)
    told: list[Event] = [ToolCall(name="x" * 10_000, seconds=float(n)) for n in ("inf", "nan", "-1", "1e9")]
    for event in [Started(), *told, ToolCall(name="t", seconds=0.0, error="secret", replayed=True)]:
        trace.on_event(event)
    for _ in range(2 * MOST_TOOLS):
        trace.on_event(ToolCall(name="t", seconds=0.0))
    trace.loaded("digest")
    usage = Usage(tool_calls=7)
    trace.ended(Result(output="x", finish_reason=FinishReason.LIMIT, usage=usage, seconds=1.0))
    trace.failed(AgentError(ErrorCode.TIMEOUT, "late"))
    (found,) = sent
    assert len(found.tools) == MOST_TOOLS and len(found.tools[0].name) == NAME_CHARACTERS
    for tool in found.tools:
        assert begun.began <= tool.began <= tool.began + tool.seconds <= begun.began + found.seconds
    assert found.tools[4].failed and found.tools[4].replayed
    assert (found.agent, found.finish_reason, found.error, found.usage) == ("digest", "limit", None, usage)


def test_one_that_fails_or_is_cancelled_says_so() -> None:
    for error, code in (
        (AgentError(ErrorCode.TIMEOUT, "late"), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
    ):
        sent: list[ExecutionReport] = []
        ExecutionTrace(report(), sent.append).failed(error)
        assert [(told.error, told.finish_reason) for told in sent] == [(code, None)]


def test_an_execution_of_no_trace_tells_nothing() -> None:
    trace = ExecutionTrace(None, lambda _report: pytest.fail("nothing is to be told"))
    trace.on_event(ToolCall(name="t", seconds=0.0))
    trace.failed(AgentError(ErrorCode.TIMEOUT, "late"))
    assert trace.traceparent is None


class Gateway(ModelGateway):
    """A gateway that remembers what it is told, once it may go on."""

    def __init__(self, *, watched: bool = True, broken: bool = False) -> None:
        super().__init__(b"s", "local")
        self.groups: list[list[str]] = []
        self.may_go_on = threading.Event()
        self._watched, self._broken = watched, broken

    @property
    def address(self) -> str:
        return ""

    @property
    def watched(self) -> bool:
        return self._watched

    def ready(self) -> None:
        pass

    def close(self) -> None:
        pass

    def report(self, reports: Sequence[ExecutionReport]) -> None:
        assert self.may_go_on.wait(30)
        if self._broken:
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, "away")
        self.groups.append([told.execution for told in reports])


def send_all(gateway: Gateway, count: int) -> list[str]:
    """Send reports, of which the first is on its way when the others come; return what is told of lost ones."""
    lines: list[str] = []

    async def work() -> None:
        sender = ReportSender(gateway, lines.append)
        sender.send(report("first"))
        await asyncio.sleep(0)
        for number in range(count):
            sender.send(report(str(number)))
        gateway.may_go_on.set()
        await sender.close()

    asyncio.run(work())
    return lines


def test_reports_that_come_while_others_are_sent_are_sent_together() -> None:
    gateway = Gateway()
    assert send_all(gateway, MOST_REPORTS + 1) == []
    assert [len(group) for group in gateway.groups] == [1, MOST_REPORTS, 1]
    assert [name for group in gateway.groups for name in group] == [
        "first",
        *map(str, range(MOST_REPORTS + 1)),
    ]


def test_a_gateway_that_takes_none_fails_nothing_and_one_that_tells_nobody_is_not_asked() -> None:
    assert send_all(Gateway(broken=True), 1) == [
        "1 executions are in no trace: state_unavailable: away",
        "1 executions are in no trace: state_unavailable: away",
    ]
    quiet = Gateway(watched=False)
    assert send_all(quiet, 3) == [] and quiet.groups == []
