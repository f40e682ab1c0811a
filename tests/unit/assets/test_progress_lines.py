"""What a step tells: every line in order, and few rows of the event log however slowly one is written."""

import time

from orchestrator_assets.progress import ROWS, Progress
from orchestrator_resources.execution_batches import Item
from orchestrator_runtimes.events import ApprovalRequested, Log, Message


def test_lines_that_come_while_others_are_written_are_written_together() -> None:
    told: list[str] = []

    def tell(text: str) -> None:
        time.sleep(0.05)
        told.append(text)

    with Progress(200, tell) as progress:
        for number in range(200):
            progress.on_event(Item(key=f"k{number}", execution="e", inputs=None), Log(text="ready"))
    lines = "\n".join(told).split("\n")
    assert lines[:ROWS] == [f"k{number}: log: ready" for number in range(ROWS)]
    assert len(lines) == ROWS + 1 and "not told one by one" in lines[-1]
    assert len(told) < ROWS / 2


def test_a_line_is_told_when_it_comes() -> None:
    told: list[str] = []
    with Progress(2, told.append) as progress:
        progress.on_event(Item(key="a", execution="e", inputs=None), Log(text="one"))
        end = time.monotonic() + 5
        while not told and time.monotonic() < end:
            time.sleep(0.01)
        assert told == ["a: log: one"]
    assert told == ["a: log: one"]


def test_without_quotes_nothing_of_what_agents_say_is_told() -> None:
    told: list[str] = []
    item = Item(key="a", execution="e", inputs=None)
    asked = ApprovalRequested(request={"planted": "question"})
    with Progress(1, told.append, quotes=False) as progress:
        for event in (Message(text="planted words"), Log(text="planted line"), asked):
            progress.on_event(item, event)
    lines = "\n".join(told).split("\n")
    assert lines == [
        "agent said: 13 characters",
        "log: 12 characters",
        "asks for a decision: 22 characters",
    ]
