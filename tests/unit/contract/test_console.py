"""What is printed belongs to the execution that printed it, line by line, and to nobody else."""

import asyncio
import io
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest

from orchestrator_runtimes import console
from orchestrator_runtimes.console import Console
from orchestrator_runtimes.events import LOG_CHARACTERS, Log
from orchestrator_runtimes.execution import CURRENT, LOG_LINES
from tests.unit.contract.executions import Told, execution


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 30)

    asyncio.run(bounded())


def lines(told: Told) -> list[str]:
    return [event.text for event in told.events if isinstance(event, Log)]


def test_whole_lines_go_to_the_execution_and_the_rest_to_the_fallback() -> None:
    async def scenario() -> None:
        fallback, told = io.StringIO(), Told()
        out = Console(fallback)
        print("nobody's", file=out)
        CURRENT.set(execution(told))
        print("one", "two", file=out)
        print("half", end="", file=out)
        print("\n\na line", "another", sep="\n", file=out)
        assert lines(told) == ["one two", "half", "a line", "another"]
        assert fallback.getvalue() == "nobody's\n"

    run(scenario)


def test_half_lines_of_one_execution_never_reach_another() -> None:
    async def scenario() -> None:
        out = Console(io.StringIO())
        for number in range(200):
            told = Told()
            CURRENT.set(execution(told))  # the one before is gone, and its address may be used again
            print(f"own {number}", file=out)
            print("a secret of its own", end="", file=out)
            assert lines(told) == [f"own {number}"]

    run(scenario)


def test_the_last_line_needs_no_end() -> None:
    async def scenario() -> None:
        out, told = Console(io.StringIO()), Told()
        one = execution(told)
        CURRENT.set(one)
        print("no end", end="", file=out)
        await asyncio.to_thread(print, "nor in a thread", end="", file=out)
        assert lines(told) == []
        await one.end_log()
        await one.end_log()
        assert sorted(lines(told)) == ["no end", "nor in a thread"]

    run(scenario)


def test_threads_do_not_mix_their_lines() -> None:
    async def scenario() -> None:
        out, told = Console(io.StringIO()), Told()
        CURRENT.set(execution(told))
        gate = threading.Barrier(4)

        def work(name: str) -> None:
            gate.wait(10)
            for number in range(20):
                for part in (name, " ", str(number), "\n"):
                    out.write(part)

        await asyncio.gather(*(asyncio.to_thread(work, name) for name in "abcd"))
        assert sorted(lines(told)) == sorted(f"{name} {number}" for name in "abcd" for number in range(20))

    run(scenario)


def test_a_line_without_an_end_is_told_in_pieces_and_a_flood_goes_to_the_fallback() -> None:
    async def scenario() -> None:
        fallback, told = io.StringIO(), Told()
        out = Console(fallback)
        CURRENT.set(execution(told))
        out.write("x" * (LOG_CHARACTERS + 1))
        assert [len(line) for line in lines(told)] == [LOG_CHARACTERS]
        for number in range(LOG_LINES + 3):
            print(f"line {number}", file=out)
        assert len(told.events) == LOG_LINES
        assert fallback.getvalue().splitlines()[-1] == f"line {LOG_LINES + 2}"

    run(scenario)


def test_a_print_does_not_fail_when_nobody_can_be_told() -> None:
    class Gone(Told):
        def post(self, method: str, params: object) -> None:
            raise ConnectionError(method)

    async def scenario() -> None:
        fallback = io.StringIO()
        CURRENT.set(execution(Gone()))
        print("still here", file=Console(fallback))
        assert fallback.getvalue() == "still here\n"

    run(scenario)


def test_a_console_is_what_programs_expect_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    fallback = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stderr", fallback)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    console.capture()
    assert isinstance(sys.stdout, Console) and isinstance(sys.stderr, Console)
    assert sys.stdout.writable() and not sys.stdout.isatty() and sys.stdout.encoding == "utf-8"
    sys.stdout.buffer.write(b"bytes\n")
    print("text")
    sys.stdout.flush()
    assert raw.getvalue() == b"bytes\ntext\n"
    with pytest.raises(OSError, match="fileno"):
        sys.stdout.fileno()
