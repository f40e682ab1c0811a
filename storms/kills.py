"""When what is killed or started again in a storm: a seed fixes after which publish, and what."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from storms.platforms import Platform
from storms.services import Service

Victim = Literal["daemon", "every daemon", "code", "market", "registry", "database"]

_VICTIMS: Final[Sequence[Victim]] = (
    "daemon", "daemon", "daemon", "every daemon", "code", "code", "market", "market", "registry", "database",
)  # fmt: skip
_ORDERLY_SHARE: Final = 0.25
_LONGEST_AWAY_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One.

    Attributes:
        after: Publishes before it.
        delay: Seconds after that.
        victim: What.
        orderly: Whether it is asked to end, instead of SIGKILL; a database is always killed.
        away: Seconds until it is started again.
        which: Number of the daemon.
    """

    after: int
    delay: float
    victim: Victim
    orderly: bool
    away: float
    which: int


def schedule(publishes: int, kills: int, daemons: int, seed: int) -> list[Kill]:
    """Return the kills of a seed, in their order."""
    chance = random.Random(seed)
    found = [
        Kill(
            after=chance.randrange(publishes),
            delay=chance.random() * 2,
            victim=chance.choice(_VICTIMS),
            orderly=chance.random() < _ORDERLY_SHARE,
            away=chance.random() * _LONGEST_AWAY_SECONDS,
            which=chance.randrange(daemons),
        )
        for _ in range(kills)
    ]
    return sorted(found, key=lambda one: one.after)


class Killer:
    """Kills while it is entered, and starts again what ended by itself, as a cluster does.

    Args:
        platform: Whose processes.
        publishes: How many there will be.
        kills: How many.
        seed: See `schedule`.
    """

    def __init__(self, platform: Platform, publishes: int, kills: int, seed: int) -> None:
        """Kill nothing yet."""
        self._platform = platform
        self._todo = schedule(publishes, kills, len(platform.daemons), seed)
        self._changed = threading.Condition()
        self._published = 0
        self._over, self._ended = threading.Event(), threading.Event()
        self._alone = threading.Lock()
        self._away: set[Service] = set()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,)) for work in (self._kill_all, self._watch)
        ]
        self._error: Exception | None = None
        self.done = 0

    def passed(self) -> None:
        """Note a publish."""
        with self._changed:
            self._published += 1
            self._changed.notify()

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do at once what is left to be killed, and end; the platform is whole afterwards.

        Raises:
            Exception: What could not be started again.
        """
        self._over.set()
        if error is not None:
            self._ended.set()
        with self._changed:
            self._changed.notify()
        kills, watch = self._threads
        kills.join()
        self._ended.set()
        watch.join()
        for service in self._platform.services:
            if not service.runs:
                service.start()
        if self._error is not None and error is None:
            raise self._error

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # the boundary of a thread: it is raised where the killer is left
            self._error = error

    def _kill_all(self) -> None:
        for kill in self._todo:
            self._wait(kill.after)
            self._over.wait(kill.delay)
            if self._ended.is_set():
                return
            self._kill(kill)
            self.done += 1

    def _wait(self, after: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._published > after or self._over.is_set())

    def _kill(self, kill: Kill) -> None:
        platform = self._platform
        if kill.victim == "database":
            platform.postgres.kill()
            time.sleep(kill.away)
            platform.postgres.start()
            return
        victims: dict[Victim, Sequence[Service]] = {
            "daemon": [platform.daemons[kill.which]],
            "every daemon": platform.daemons,
            "code": [platform.code],
            "market": [platform.market],
            "registry": [platform.registry],
        }
        chosen = victims[kill.victim]
        with self._alone:
            self._away.update(chosen)
        for service in chosen:
            if kill.orderly:
                service.stop()
            else:
                service.kill()
        time.sleep(kill.away)
        with self._alone:
            for service in chosen:
                service.start()
            self._away.difference_update(chosen)

    def _watch(self) -> None:
        """Start again what ended by itself: a daemon that lost its database does."""
        while not self._ended.wait(_PAUSE_SECONDS):
            with self._alone:
                for service in self._platform.services:
                    if not service.runs and service not in self._away:
                        service.start()
