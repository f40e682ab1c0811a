"""The waits between two looks at sensors: at their turn, at once when woken, over when the daemon ends."""

import itertools
import threading
import time

from dagster._daemon.daemon import SensorDaemon

from orchestrator_tenancy.queue.seam_sensors import LEAST_SECONDS, WokenSensorDaemon, WokenWaits


class Ticking(threading.Event):
    """A shutdown whose waits take no time but that of a clock.

    Attributes:
        now: Seconds.
        wakes: Moments at which somebody wakes the waits.
    """

    def __init__(self, *wakes: float) -> None:
        super().__init__()
        self.now = 100.0
        self.wakes = sorted(wakes)
        self.waits = WokenWaits(self, lambda: self.now)

    def wait(self, timeout: float | None = None) -> bool:
        self.now = round(self.now + (timeout or 0.0), 3)
        while self.wakes and self.wakes[0] <= self.now:
            self.wakes.pop(0)
            self.waits.wake()
        return self.is_set()

    def looks(self, count: int, timeout: float = 5.0) -> list[float]:
        found = list[float]()
        for _ in range(count):
            assert not self.waits.wait(timeout)
            found.append(round(self.now, 1))
        return found


def test_asleep_a_look_comes_at_its_turn() -> None:
    assert Ticking().looks(3) == [105, 110, 115]


def test_a_wake_begins_a_look_at_once_and_some_more_follow() -> None:
    looks = Ticking(107.0).looks(8)
    assert looks[:2] == [105, 107]
    gaps = [round(after - before, 1) for before, after in itertools.pairwise(looks[1:])]
    assert gaps[:4] == [LEAST_SECONDS] * 4, "a sensor that was busy has its turn now"
    assert gaps[-1] == 5, "and then it is quiet"


def test_a_wake_soon_after_a_look_waits_until_a_sensor_may_be_looked_at_again() -> None:
    assert Ticking(105.2).looks(2) == [105, 106.1]


def test_many_wakes_are_one_look_a_second() -> None:
    ticking = Ticking(*[105 + number / 100 for number in range(1_000)])
    looks = ticking.looks(6)
    assert all(after - before > LEAST_SECONDS - 0.01 for before, after in itertools.pairwise(looks))


def test_the_end_of_the_daemon_ends_a_wait_soon() -> None:
    shutdown = threading.Event()
    waits = WokenWaits(shutdown)
    threading.Timer(0.2, shutdown.set).start()
    began = time.monotonic()
    assert waits.wait(30.0) and waits.is_set()
    assert time.monotonic() - began < 5


def test_it_is_dagsters_daemon_of_sensors_and_nobody_is_woken_before_its_first_look() -> None:
    daemon = WokenSensorDaemon({})
    daemon.wake()
    assert isinstance(daemon, SensorDaemon) and daemon.daemon_type() == "SENSOR"
