"""A follower of a marketplace's events wakes, and goes on, whatever the marketplace does."""

import threading
from collections.abc import Sequence

import pytest

from orchestrator_marketplace.marketplaces import (
    MOST_AT_ONCE,
    Event,
    Events,
    MarketplaceError,
    Problem,
)
from orchestrator_sensors.event_followers import (
    BETWEEN_SECONDS,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    EventFollower,
)

URL = "https://marketplace.example"


def event(cursor: int) -> Event:
    return Event(cursor=cursor, at="2199-01-01T00:00:00+00:00", kind="approve", publisher="acme")


class Scripted:
    """Answers as it is told, each time the next."""

    def __init__(self, *answers: Events | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    def events(self, after: int, *, limit: int = MOST_AT_ONCE, wait_seconds: float = 0.0) -> Events:
        self.asked.append(after)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Kept:
    """Cursors in memory, in a database that may be away."""

    def __init__(self) -> None:
        self.cursor = 0
        self.away = False

    def read(self, marketplace: str) -> int:
        assert marketplace == URL
        return self.cursor

    def write(self, marketplace: str, cursor: int) -> None:
        if self.away:
            raise OSError("the database is away")
        self.cursor = cursor


def followed(*answers: Events | Exception) -> tuple[EventFollower, Scripted, Kept, list[int]]:
    marketplace, kept, woken = Scripted(*answers), Kept(), list[int]()
    return (
        EventFollower(URL, marketplace, kept, lambda: woken.append(len(marketplace.asked))),
        marketplace,
        kept,
        woken,
    )


def follow(follower: EventFollower, times: int) -> Sequence[float]:
    pauses = list[float]()
    for _ in range(times):
        follower.follow_once()
        pauses.append(follower.pause)
    return pauses


def test_events_wake_and_silence_does_not() -> None:
    page = Events(events=(event(1), event(3)), cursor=3)
    follower, marketplace, kept, woken = followed(page, Events(events=(), cursor=3), page_after(3))
    assert follow(follower, 3) == [BETWEEN_SECONDS] * 3
    assert (marketplace.asked, kept.cursor, woken) == ([0, 3, 3], 4, [1, 3])


def page_after(cursor: int) -> Events:
    return Events(events=(event(cursor + 1),), cursor=cursor + 1)


def test_it_goes_on_after_a_restart_where_it_was() -> None:
    _, _, kept, _ = followed()
    kept.cursor = 40
    marketplace = Scripted(page_after(40))
    EventFollower(URL, marketplace, kept, lambda: None).follow_once()
    assert marketplace.asked == [40] and kept.cursor == 41


def test_a_marketplace_that_is_away_for_an_hour_is_asked_ever_more_seldom_and_then_wakes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = MarketplaceError(Problem.UNAVAILABLE, "it does not answer")
    tries = 66
    follower, _, _, woken = followed(*[away] * tries, Events(events=(), cursor=0))
    pauses = follow(follower, tries)
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert max(pauses) == LONGEST_PAUSE_SECONDS and sum(pauses) > 3600
    assert (
        len(caplog.records) == 1
        and "looks come at their turn: state_unavailable: it does not answer" in caplog.text
    )
    follow(follower, 1)
    assert woken == [tries + 1], "what was missed meanwhile is looked for at once"


@pytest.mark.parametrize(
    "page", [Events(events=(), cursor=-5), Events(events=(event(9),), cursor=0), Events(events=(), cursor=6)]
)
def test_cursors_that_do_not_grow_are_an_outage(page: Events) -> None:
    follower, _, kept, woken = followed(page)
    kept.cursor = 7
    follower.follow_once()
    assert follower.pause == FIRST_PAUSE_SECONDS and kept.cursor == 7 and woken == []


def test_what_nobody_expects_does_not_end_it_and_a_page_that_could_not_be_kept_is_asked_for_again() -> None:
    follower, marketplace, kept, woken = followed(RuntimeError("odd"), page_after(0), page_after(0))
    follow(follower, 1)
    kept.away = True
    follow(follower, 1)
    assert woken == [2] and follower.pause == 2 * FIRST_PAUSE_SECONDS
    kept.away = False
    follow(follower, 1)
    assert marketplace.asked == [0, 0, 0] and kept.cursor == 1


def test_it_ends_when_it_is_told_to() -> None:
    follower, marketplace, _, _ = followed(*[page_after(number) for number in range(50)])
    ended = threading.Event()
    thread = threading.Thread(target=follower.run_until, args=(ended,))
    thread.start()
    ended.wait(2.5 * BETWEEN_SECONDS)
    ended.set()
    thread.join(10)
    assert not thread.is_alive() and 0 < len(marketplace.asked) < 50
