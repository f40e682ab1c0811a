"""What of the ledger is SQLite's own: files, and processes of one machine that see each other end."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.ledger import Account, Amount, Bound, Hold
from orchestrator_gateway.sqlite_ledger import SqliteLedger
from orchestrator_gateway.sqlite_store import open_sqlite

BOUND = Bound(account=Account(tenant="t", kind="agent", name="a"), per="day", calls=100)
PROCESS = """
import asyncio, sys
from pathlib import Path
from orchestrator_gateway.ledger import Account, Amount, Bound, Hold
from orchestrator_gateway.sqlite_ledger import SqliteLedger
from orchestrator_gateway.sqlite_store import open_sqlite

BOUND = Bound(account=Account(tenant="t", kind="agent", name="a"), per="day", calls=int(sys.argv[2]))

async def call(ledger, settled):
    hold = await ledger.reserve([BOUND.account], [BOUND], Amount(calls=1), "2026-11-25")
    if isinstance(hold, Hold) and settled:
        await ledger.settle(hold, Amount(tokens=3, calls=1))
    return isinstance(hold, Hold)

async def main():
    ledger = SqliteLedger(open_sqlite(Path(sys.argv[1])))
    print("ready", flush=True)
    sys.stdin.readline()
    made = await asyncio.gather(*(call(ledger, sys.argv[3] == "settled") for _ in range(200)))
    print(sum(made), flush=True)
    if sys.argv[3] == "settled":
        await ledger.close()
    sys.stdin.readline()

asyncio.run(main())
"""


class Other:
    """A gateway's process that makes 200 calls at once, and then waits until it is let go."""

    def __init__(self, file: Path, allowed: int, settled: str) -> None:
        words = [sys.executable, "-c", PROCESS, str(file), str(allowed), settled]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        assert self.stdout.readline() == "ready\n"

    def begin(self) -> None:
        self.stdin.write("\n")
        self.stdin.flush()

    def made(self) -> int:
        return int(self.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_two_processes_make_no_call_more_than_there_may_be(tmp_path: Path) -> None:
    file = tmp_path / "spending.db"
    others = [Other(file, 150, "settled") for _ in range(2)]
    try:
        for other in others:
            other.begin()
        assert sum(other.made() for other in others) == 150
    finally:
        for other in others:
            other.close()

    async def count() -> None:
        ledger = SqliteLedger(open_sqlite(file))
        (row,) = await ledger.days("t", "2026-11-25", "2026-11-25")
        assert row.amount == Amount(tokens=450, calls=150)
        await ledger.close()

    asyncio.run(count())


def test_what_a_killed_gateway_held_is_free_at_once_where_its_end_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "spending.db"
    other = Other(file, 100, "held")

    async def scenario() -> None:
        ledger = SqliteLedger(open_sqlite(file))

        async def may_call() -> bool:
            return isinstance(
                await ledger.reserve([BOUND.account], [BOUND], Amount(calls=1), "2026-11-25"), Hold
            )

        assert not await may_call()
        other.close()
        assert await may_call()
        await ledger.close()

    try:
        other.begin()
        assert other.made() == 100
        asyncio.run(scenario())
    finally:
        other.close()


def test_a_database_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "spending.db").write_bytes(b"no database" * 1000)
    with pytest.raises(JournalUnavailable, match=r"spending\.db.*is not available"):
        open_sqlite(tmp_path / "spending.db")
