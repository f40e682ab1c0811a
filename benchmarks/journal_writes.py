"""`journal`: what it costs to make answers durable, by their size."""

import asyncio
import random
import secrets
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.outcomes import Cell, Outcome
from benchmarks.sizes import Sizes
from orchestrator_gateway.journal import Answer, Asked, Scope
from orchestrator_gateway.sqlite_journal import SqliteJournal
from orchestrator_gateway.sqlite_store import open_sqlite

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
IN_FLIGHT: Final = 100

_WORDS: Final = [f"word{number:x}" for number in range(2_000)]


def answer_of(size: int, seed: int) -> Answer:
    """Return an answer of about `size` bytes that compresses as a text of 2,000 different words does."""
    choose = random.Random(seed)
    text = " ".join(choose.choices(_WORDS, k=size // 8))
    return Answer(content_type="application/json", body=text.encode())


def measure_journal(sizes: Sizes) -> Outcome:
    """Record answers of each size, one at a time and many at once."""
    rows = [asyncio.run(_row(size, sizes.journal_records)) for size in SIZES]
    return Outcome(
        name="journal",
        title="Beginning a call and making its answer durable",
        how=f"SQLite on this machine's disk, synchronized at commits; {sizes.journal_records} calls one at a time,"
        f" then as many with {IN_FLIGHT} at once, which share commits; {sizes.journal_records // 10} of warm-up.",
        rows=rows,
    )


async def _row(size: int, count: int) -> dict[str, Cell]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        file = Path(folder, "calls.db")
        journal = SqliteJournal(open_sqlite(file))

        async def record(number: int) -> tuple[float, float]:
            """Return the seconds of beginning a call, and of making its answer durable."""
            request = secrets.token_hex(8)
            asked = Asked(request=request, attempt="a", exact=f"{number}", loose=f"{number}")
            scope = Scope(tenant="t", execution=f"{number // 10}", agent="b")
            began = time.perf_counter()
            claimed = await journal.claim(scope, asked)
            begun = time.perf_counter()
            assert claimed.number is not None
            answer = answers[number % len(answers)]
            await journal.record(scope, claimed.number, request, answer, frozenset())
            return begun - began, time.perf_counter() - begun

        answers = [answer_of(size, seed) for seed in range(10)]
        for number in range(count // 10):
            await record(number)
        times = [await record(number) for number in range(count)]
        limit = asyncio.Semaphore(IN_FLIGHT)

        async def limited(number: int) -> None:
            async with limit:
                await record(number)

        began = time.perf_counter()
        await asyncio.gather(*(limited(number) for number in range(count)))
        seconds = time.perf_counter() - began
        await journal.close()
        stored = file.stat().st_size / (2 * count + count // 10)
    return {
        "bytes of the answer": size,
        "begin one at a time, p50 ms": 1_000 * median(begin for begin, _ in times),
        "record one at a time, p50 ms": 1_000 * median(record for _, record in times),
        f"{IN_FLIGHT} at once, calls/s": count / seconds,
        "bytes on disk": round(stored),
    }
