"""Work that is done together: what comes while a batch is on its way is the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from orchestrator_gateway.journal import JournalUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING: Final = 5_000
"""Most items that wait; more are refused, as a database that is this far behind does not catch up."""


class Batches(Generic[Item, Result]):
    """Does items in batches, several batches at once.

    Args:
        do: Does a batch, and returns the results in its order; an error is everybody's.
        most: Most items in a batch.
        weigh: Returns the size of an item, in bytes.
        heaviest: Size from which on a batch is full; one item may be larger.
        at_once: Most batches at once.
    """

    def __init__(
        self,
        do: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int,
        weigh: Callable[[Item], int],
        heaviest: int,
        at_once: int,
    ) -> None:
        """Begin with no item."""
        self._do = do
        self._most, self._weigh, self._heaviest, self._at_once = most, weigh, heaviest, at_once
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, item: Item) -> Result:
        """Return the result of an item.

        Raises:
            JournalUnavailable: Too many wait.
        """
        if len(self._waiting) >= WAITING:
            raise JournalUnavailable(f"the journal is {WAITING} pieces of work behind")
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if len(self._tasks) < self._at_once:
            task = asyncio.create_task(self._serve())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def finish(self) -> None:
        """Return when nothing waits any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self) -> None:
        while self._waiting:
            batch = self._taken()
            try:
                results = await self._do([item for item, _ in batch])
            except Exception as error:  # the boundary: told to everyone whose item is among it
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
                continue
            for (_, done), result in zip(batch, results, strict=True):
                if not done.done():
                    done.set_result(result)

    def _taken(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch, weight = list[tuple[Item, asyncio.Future[Result]]](), 0
        while self._waiting and len(batch) < self._most and weight < self._heaviest:
            item, done = self._waiting.popleft()
            if not done.cancelled():  # nobody waits for it
                batch.append((item, done))
                weight += self._weigh(item)
        return batch
