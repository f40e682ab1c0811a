"""Events on Redis: a reader misses none and sees none twice, whatever happens to Redis, its stream and the relays."""

import contextlib
import random
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from orchestrator_marketplace.event_streams import StreamEvents, StreamRelay, stream_of
from orchestrator_marketplace.marketplace_service import BUS, service
from orchestrator_marketplace.marketplaces import Event, Events, Marketplace, MarketplaceError, Problem
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_runtimes.codec import encode
from orchestrator_runtimes.json_values import dump
from tests.integration.redis_servers import RedisServer, redis_server
from tests.integration.test_marketplace import served
from tests.integration.test_marketplace_webhooks import Market
from tests.unit.marketplace.certificates import new_key

STREAM = stream_of(Market.name)


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def bus(shared: RedisServer) -> RedisServer:
    shared.do("FLUSHALL")
    return shared


@pytest.fixture
def market(stored: str) -> Generator[Market]:
    made = Market(stored)
    yield made
    made.catalogue.close()


class Counted:
    """A marketplace whose requests for events are counted."""

    def __init__(self, marketplace: Marketplace) -> None:
        self.marketplace, self.asked = marketplace, 0

    def events(self, after: int, *, limit: int = 100, wait_seconds: float = 0.0) -> Events:
        self.asked += 1
        return self.marketplace.events(after, limit=limit, wait_seconds=wait_seconds)


@contextlib.contextmanager
def reading(market: Market, bus: RedisServer) -> Generator[tuple[StreamEvents, Counted]]:
    counted = Counted(market.marketplace)
    source = StreamEvents(counted, bus.url, Market.name, away_seconds=0.2)
    try:
        yield source, counted
    finally:
        source.close()


@contextlib.contextmanager
def relaying(market: Market, bus: RedisServer, most: int = 10_000) -> Generator[None]:
    """Relay by two processes' worth of relays."""
    ended = threading.Event()
    relays = [
        StreamRelay(bus.url, Market.name, market.catalogue, most=most, away_seconds=0.2) for _ in range(2)
    ]
    threads = [threading.Thread(target=relay.run_until, args=(ended,)) for relay in relays]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def all_of(source: StreamEvents, count: int, limit: int = 7) -> list[Event]:
    found: list[Event] = []
    until = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < until, found
        found += source.events(found[-1].cursor if found else 0, limit=limit, wait_seconds=1.0).events
    return found


def test_what_is_on_the_stream_is_read_there(market: Market, bus: RedisServer) -> None:
    market.tell(*["submit"] * 30)
    with relaying(market, bus), reading(market, bus) as (source, counted):
        until = time.monotonic() + 20
        while bus.do("XLEN", STREAM) != 30 and time.monotonic() < until:
            time.sleep(0.05)
        assert tuple(all_of(source, 30)) == market.marketplace.events(0).events
        assert counted.asked == 0
        waits = threading.Timer(0.5, market.tell, ["approve"])
        waits.start()
        found = source.events(30, wait_seconds=20.0)
        assert [event.kind for event in found.events] == ["approve"] and counted.asked == 0
        assert found.cursor == 31
    assert bus.do("XLEN", STREAM) == 31, "relays put nothing there twice"


def test_what_was_trimmed_comes_from_the_marketplace(market: Market, bus: RedisServer) -> None:
    market.tell(*["submit"] * 30)
    with relaying(market, bus), reading(market, bus) as (source, counted):
        all_of(source, 30)
        until = time.monotonic() + 20
        while bus.do("XLEN", STREAM) != 30 and time.monotonic() < until:
            time.sleep(0.05)
        counted.asked = 0
        bus.do("XTRIM", STREAM, "MAXLEN", 5)
        assert [event.cursor for event in all_of(source, 30)] == list(range(1, 31))
        assert counted.asked >= 1
        bus.do("XTRIM", STREAM, "MAXLEN", 0)
        market.tell("approve")
        assert [event.cursor for event in all_of(source, 31)] == list(range(1, 32))
        time.sleep(1.0)
        assert bus.do("XLEN", STREAM) == 1, "what was trimmed is not put there again"


def test_a_new_stream_begins_with_what_it_keeps(market: Market, bus: RedisServer) -> None:
    market.tell(*["submit"] * 30)
    relay = StreamRelay(bus.url, Market.name, market.catalogue, most=10)
    assert relay.run_once() == 10 and relay.run_once() == 0
    assert bus.do("XLEN", STREAM) == 10
    with reading(market, bus) as (source, _):
        assert [event.cursor for event in all_of(source, 30)] == list(range(1, 31))


def test_nothing_is_missed_while_redis_dies_and_forgets(market: Market) -> None:
    """Killed and started again, empty each time, while events are told, by two relays."""
    chance = random.Random(3)
    with redis_server() as own, relaying(market, own, most=20), reading(market, own) as (source, _):

        def disturb() -> None:
            for _ in range(6):
                market.tell(*["submit"] * chance.randint(1, 8))
                time.sleep(chance.random() / 2)
                own.kill()
                market.tell("pass")
                time.sleep(chance.random() / 2)
                own.start()
            market.tell("withdraw")

        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        found: list[Event] = []
        until = time.monotonic() + 90
        while not found or found[-1].kind != "withdraw":
            assert time.monotonic() < until
            found += source.events(found[-1].cursor if found else 0, limit=5, wait_seconds=0.5).events
        disturbing.join()
    assert tuple(found) == market.marketplace.events(0).events


def test_a_stream_that_survives_is_gone_on_with(market: Market) -> None:
    with redis_server(is_durable=True) as own:
        with relaying(market, own), reading(market, own) as (source, _):
            market.tell(*["submit"] * 3)
            all_of(source, 3)
            until = time.monotonic() + 20
            while own.do("XLEN", STREAM) != 3 and time.monotonic() < until:
                time.sleep(0.05)
        own.kill()
        own.start()
        market.tell("pass")
        relay = StreamRelay(own.url, Market.name, market.catalogue)
        assert relay.run_once() == 1 and own.do("XLEN", STREAM) == 4


def test_a_stream_of_another_catalogue_is_told(market: Market, bus: RedisServer) -> None:
    bus.do("XADD", STREAM, "9-0", "event", "{}")
    with pytest.raises(MarketplaceError, match="has event 9, the catalogue ends at 0: delete") as refused:
        StreamRelay(bus.url, Market.name, market.catalogue).run_once()
    assert refused.value.problem is Problem.CONFLICT


@pytest.mark.parametrize("field", ["event", "other"])
@pytest.mark.parametrize("content", ["{", "{}", "[]", "of another event"])
def test_entries_that_no_relay_made_are_not_believed(
    market: Market, bus: RedisServer, field: str, content: str
) -> None:
    market.tell("submit")
    if content == "of another event":
        content = dump(encode(Event(cursor=2, at="", kind="approve", publisher="acme"))).decode()
    bus.do("XADD", STREAM, "1-0", field, content)
    with reading(market, bus) as (source, counted):
        assert [event.kind for event in source.events(0).events] == ["submit"] and counted.asked == 1
    bus.do("SET", "other", "1")
    other = StreamEvents(counted, bus.url, "other")
    assert other.events(1).events == ()
    other.close()


def test_a_bus_that_is_none_is_refused(market: Market) -> None:
    with pytest.raises(BundleRefused, match="must be redis://host:port/number"):
        StreamRelay("http://redis.example", Market.name, market.catalogue)


def test_the_service_puts_its_events_there(
    tmp_path: Path, bus: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "operator.pub").write_bytes(public_pem(new_key().public_key()))
    text = "name: m\ndatabase: catalogue.db\noperators: [operator.pub]\nregistries: [r]\n"
    (tmp_path / "m.yaml").write_text(text)
    monkeypatch.setenv(BUS, bus.url)
    local = Market(str(tmp_path / "catalogue.db"))
    with served(service(tmp_path / "m.yaml")):
        local.tell("submit")
        until = time.monotonic() + 20
        while bus.do("EXISTS", STREAM) != 1 and time.monotonic() < until:
            time.sleep(0.05)
        assert bus.do("XLEN", STREAM) == 1
    local.catalogue.close()
    (tmp_path / "m.yaml").write_text(f"{text}bus_events: 0\n")
    with pytest.raises(BundleRefused, match="bus_events: at least 1"):
        service(tmp_path / "m.yaml")
