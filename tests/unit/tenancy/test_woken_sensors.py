"""The waits between two looks at sensors: at their turn, at once when woken, over when the daemon ends."""
# Dagster is typed in part:
# pyright: reportUnknownMemberType=false

import itertools
import threading
import time
from typing import Any, cast

import dagster as dg
from dagster._daemon.daemon import SensorDaemon, SpanMarker
from dagster._daemon.sensor import MIN_INTERVAL_LOOP_TIME

from orchestrator_tenancy.queue.seam_sensors import (
    LEAST_SECONDS,
    InstanceCursors,
    WokenSensorDaemon,
    WokenWaits,
)
from tests.integration.processes import wait_until


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


class NoLocations:
    """A workspace without code locations."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def create_request_context(self) -> "NoLocations":
        return self

    def get_code_location_entries(self) -> dict[str, object]:
        return {}


def test_dagsters_loop_waits_on_what_can_be_woken() -> None:
    daemon, shutdown, looks = WokenSensorDaemon({}), threading.Event(), list[float]()

    def run(instance: dg.DagsterInstance) -> None:
        for told in daemon.core_loop(cast("Any", NoLocations(instance)), shutdown):
            if told is SpanMarker.END_SPAN:
                looks.append(time.monotonic())
            if shutdown.is_set():
                return

    with dg.DagsterInstance.ephemeral() as instance:
        thread = threading.Thread(target=run, args=(instance,))
        thread.start()
        wait_until(lambda: len(looks) == 1, "the first look")
        daemon.wake()
        wait_until(lambda: len(looks) == 2, "the look that a wake begins")
        shutdown.set()
        thread.join(10)
    assert not thread.is_alive()
    assert looks[1] - looks[0] < MIN_INTERVAL_LOOP_TIME, "it did not wait for its turn"


def test_events_are_gone_on_with_after_a_restart() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert InstanceCursors(instance).read("https://a.example") == 0
        InstanceCursors(instance).write("https://a.example", 41)
        assert InstanceCursors(instance).read("https://a.example") == 41
        assert InstanceCursors(instance).read("https://b.example") == 0
