"""Webhooks: each event arrives, in order and verified, whatever the receiver does; then the subscription is paused."""

import asyncio
import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace import subscriptions
from orchestrator_marketplace.actions import moment, seal_action
from orchestrator_marketplace.catalogue_databases import open_database
from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_marketplace.marketplace_limits import Limits
from orchestrator_marketplace.marketplace_service import service
from orchestrator_marketplace.marketplaces import Event, MarketplaceError, Problem, Subscription
from orchestrator_marketplace.reference_marketplace import ReferenceMarketplace
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_marketplace.webhook_deliveries import WebhookDeliveries
from orchestrator_marketplace.webhook_signatures import received_event
from orchestrator_marketplace.webhook_targets import TargetRefused, Undelivered, WebhookSender
from tests.certificates import Authority
from tests.integration.bundle_registries import odd_registry, say
from tests.integration.test_marketplace import SUITE, served
from tests.unit.marketplace.certificates import new_key

SECONDS = 30.0


class Receiver:
    """A receiver of webhooks: verifies what it gets, and answers as a test wants."""

    def __init__(self) -> None:
        self.secret = ""
        self.got: list[Event] = []
        self.ids: list[str] = []
        self.answer: Callable[[], int | None] = lambda: 200
        self.url = ""

    def handle(self, to: BaseHTTPRequestHandler) -> None:
        body = to.rfile.read(int(to.headers["content-length"]))
        headers = {name.lower(): value for name, value in to.headers.items()}
        event = received_event(self.secret, headers, body, datetime.now(UTC))
        self.got.append(event)
        self.ids.append(headers["webhook-id"])
        status = self.answer()
        if status is None:
            to.connection.shutdown(socket.SHUT_RDWR)
        else:
            say(to, status)


@contextlib.contextmanager
def receiver() -> Generator[Receiver]:
    made = Receiver()
    with odd_registry(made.handle) as name:
        made.url = f"http://{name}/hooks?of=acme"
        yield made


def pauses(seconds: float) -> Callable[[int], float]:
    def pause(_failures: int) -> float:
        return seconds

    return pause


class Market:
    """A marketplace whose events a test makes up."""

    name = "m"

    def __init__(self, place: str, limits: Limits | None = None) -> None:
        self.operator, self.key = new_key(), new_key()
        self.catalogue = Catalogue(open_database(place, Path("/")))
        self.marketplace = ReferenceMarketplace(
            self.name, self.catalogue, (self.operator.public_key(),), ("r",), limits, ("localhost",)
        )
        with self.catalogue.change() as change:
            change.add_publisher("acme")
            change.add_key("acme", public_pem(self.key.public_key()).decode())

    def tell(self, *kinds: str, publisher: str = "acme", agent: str | None = "reviewer") -> None:
        for kind in kinds:
            event = Event(cursor=0, at=moment(datetime.now(UTC)), kind=kind, publisher=publisher, agent=agent)
            with self.catalogue.change() as change:
                change.tell(event)

    def subscribe(
        self, kind: str = "subscribe", key: ec.EllipticCurvePrivateKey | None = None, **more: Any
    ) -> Subscription:
        action = SUITE.action(self, kind, **more)
        return self.marketplace.subscribe(seal_action(action, key or self.key))

    @contextlib.contextmanager
    def sending(self, **settings: object) -> Generator[None]:
        """Send in this process, with short pauses unless a test wants others."""
        whole: dict[str, object] = {"pause": pauses(0.01), **settings}
        deliveries = WebhookDeliveries(
            self.catalogue,
            WebhookSender(["localhost"]).send,
            **whole,  # type: ignore[arg-type]  # as it takes them
        )
        loop = asyncio.new_event_loop()
        task = loop.create_task(deliveries.run())

        def run() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join()
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def until(self, subscription: Subscription, done: Callable[[Subscription], bool]) -> Subscription:
        end = time.monotonic() + SECONDS
        while not done(now := self.marketplace.subscription(subscription.id)):
            assert time.monotonic() < end, now
            time.sleep(0.02)
        return now


@pytest.fixture
def market(stored: str) -> Generator[Market]:
    made = Market(stored)
    yield made
    made.catalogue.close()


def test_each_event_arrives_in_order_whatever_is_answered(market: Market) -> None:
    """By several senders at once; an event comes again only until it is taken, before any later one."""
    chance = random.Random(7)
    with receiver() as to:
        to.answer = lambda: chance.choice([200, 204, 302, 404, 500, None])
        made = market.subscribe(url=to.url)
        to.secret = made.secret or ""
        with market.sending(tries=10**6), market.sending(tries=10**6):
            for _ in range(10):
                market.tell("submit", "pass", "approve")
            market.until(made, lambda now: now.cursor == 30)
    cursors = [event.cursor for event in to.got]
    assert list(dict.fromkeys(cursors)) == list(range(1, 31)) and cursors == sorted(cursors)
    assert len(cursors) > 30, "some were sent again"
    assert to.ids == [f"{made.id}-{cursor}" for cursor in cursors]
    assert market.marketplace.subscription(made.id).failures == 0


def test_only_what_was_asked_for_is_sent_from_then_on(market: Market) -> None:
    with receiver() as to, receiver() as all_of_it:
        market.tell("approve")
        made = market.subscribe(url=to.url, events=("approve", "withdraw"), about="acme/reviewer")
        publishers = market.subscribe(url=all_of_it.url, about="acme")
        to.secret, all_of_it.secret = made.secret or "", publishers.secret or ""
        market.tell("approve", "submit", "withdraw")
        market.tell("approve", publisher="globex")
        market.tell("approve", agent="other")
        market.tell("add_key", agent=None)
        with market.sending():
            market.until(made, lambda now: now.cursor == 7)
            market.until(publishers, lambda now: now.cursor == 7)
        assert [event.cursor for event in to.got] == [2, 4]
        assert [event.cursor for event in all_of_it.got] == [2, 3, 4, 6, 7]


def test_a_receiver_that_takes_nothing_is_paused_and_resumed(market: Market) -> None:
    with receiver() as to:
        made = market.subscribe(url=to.url)
        to.secret, to.answer = made.secret or "", lambda: 503
        market.tell("submit", "pass")
        with market.sending(tries=3):
            paused = market.until(made, lambda now: now.state == "paused")
            assert (paused.failures, paused.cursor, len(to.got)) == (3, 0, 3)
            assert paused.error == "event 1: the receiver answers 503" and paused.secret is None
            to.answer = lambda: 200
            time.sleep(1.2)
            assert len(to.got) == 3, "nothing is sent while it is paused"
            resumed = market.subscribe("resume", subscription=made.id)
            assert (resumed.state, resumed.failures, resumed.error) == ("active", 0, None)
            market.until(made, lambda now: now.cursor == 2)
            market.subscribe("resume", subscription=made.id, after=1)
            market.until(made, lambda now: now.cursor == 2)
            assert [event.cursor for event in to.got] == [1, 1, 1, 1, 2, 2]
            to.answer = lambda: 410
            market.tell("approve")
            gone = market.until(made, lambda now: now.state == "paused")
            assert gone.failures == 1 and gone.error == "event 3: the receiver answers 410"


def test_a_sender_that_was_killed_is_gone_on_for(market: Market) -> None:
    """What it had taken is sent by another one after its lease; until then nobody sends, so that order holds."""
    now = [time.time()]
    with receiver() as to:
        made = market.subscribe(url=to.url)
        to.secret = made.secret or ""
        market.tell("submit")

        with market.catalogue.change() as change:
            (taken,) = subscriptions.take(change.transaction, now[0], "of a killed process", 5)
        assert taken.shown.id == made.id
        with market.sending(clock=lambda: now[0]):
            time.sleep(1.2)
            assert to.got == []
            now[0] += 61
            market.until(made, lambda now: now.cursor == 1)
        with market.catalogue.change() as change:
            assert not subscriptions.advance(change.transaction, made.id, "of a killed process", 9)
        assert market.marketplace.subscription(made.id).cursor == 1


def test_a_receiver_that_hangs_keeps_no_other_waiting(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has so many seconds, however slowly it answers."""
    monkeypatch.setattr("orchestrator_marketplace.webhook_targets.SECONDS", 2.0)

    def trickle(to: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            for number in range(100):
                to.wfile.write(b"HTTP/1.1 200 OK\r\n" if number == 0 else f"x-{number}: y\r\n".encode())
                time.sleep(0.1)

    with receiver() as to, odd_registry(trickle) as slow:
        hung = market.subscribe(url=f"http://{slow}/")
        made = market.subscribe(url=to.url)
        to.secret = made.secret or ""
        market.tell("submit")
        with market.sending(pause=pauses(100.0)):
            began = time.monotonic()
            market.until(made, lambda now: now.cursor == 1)
            assert time.monotonic() - began < 2.0
            told = market.until(hung, lambda now: now.failures == 1)
            assert "did not answer within 2 s" in (told.error or "") and time.monotonic() - began < 6.0


def test_events_that_are_not_kept_any_more_pause_who_missed_them(market: Market) -> None:
    with receiver() as to:
        made = market.subscribe(url=to.url)
        market.tell("submit", "pass")
        with market.catalogue.change() as change:
            assert (
                change.forget(events_before=datetime.now(UTC) + timedelta(days=1), actions_before=None) == 2
            )
        market.tell("approve")
        with market.sending():
            paused = market.until(made, lambda now: now.state == "paused")
            assert "events up to 2 are not kept any more" in (paused.error or "")
            to.secret = made.secret or ""
            market.subscribe("resume", subscription=made.id, after=2)
            market.until(made, lambda now: now.cursor == 3)
        assert [event.kind for event in to.got] == ["approve"]


def test_a_publisher_has_so_many_subscriptions(stored: str) -> None:
    market = Market(stored, Limits(subscriptions=1))
    made = market.subscribe(url="https://hooks.example/")
    with pytest.raises(MarketplaceError, match="acme has 1 subscriptions") as refused:
        market.subscribe(url="https://hooks.example/")
    assert refused.value.problem is Problem.LIMIT
    market.subscribe("unsubscribe", subscription=made.id)
    market.subscribe(url="https://hooks.example/", key=market.operator)
    market.catalogue.close()


def send(url: str, hosts: tuple[str, ...] = ()) -> int:
    return asyncio.run(WebhookSender(hosts).send(url, {"webhook-id": "1"}, b"{}"))


def addresses(address: str) -> Callable[..., list[tuple[object, ...]]]:
    """Return what looks every name up as an address."""

    def lookup(_host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    return lookup


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::ffff:169.254.169.254", "fd00::1", "0.0.0.0"])
def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Whatever it was when somebody subscribed: it is looked up for the connection itself."""
    monkeypatch.setattr(socket, "getaddrinfo", addresses(address))
    with pytest.raises(TargetRefused, match=r"rebind.example has no public address"):
        send("https://rebind.example/")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "017700000001"])
def test_numbers_that_are_addresses_are_refused(host: str) -> None:
    with pytest.raises(TargetRefused):
        send(f"https://{host}/")


def test_what_is_answered_elsewhere_is_not_asked(tmp_path: Path) -> None:
    """Redirects are not followed, plain HTTP does not pass for HTTPS, and nobody's certificate is believed blindly."""
    asked: list[str] = []

    def redirect(to: BaseHTTPRequestHandler) -> None:
        asked.append(to.path)
        say(to, 307, location="/secret")

    with odd_registry(redirect) as name:
        assert send(f"http://{name}/hook", ("localhost",)) == 307 and asked == ["/hook"]
        with pytest.raises(Undelivered, match="cannot be reached"):
            send(f"https://{name}/hook", ("localhost",))
    with pytest.raises(Undelivered, match="cannot be reached"):
        send(f"http://{name}/hook", ("localhost",))


def test_a_server_is_who_its_address_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate is compared with the name, though the connection is made to a number that was looked up."""
    authority = Authority(tmp_path / "ca")
    trusted = ssl.create_default_context(cafile=authority.file)
    asked: list[str] = []

    def taken(to: BaseHTTPRequestHandler) -> None:
        asked.append(to.headers["host"])
        say(to, 200)

    monkeypatch.setattr("orchestrator_marketplace.webhook_targets.is_public", bool)
    for name, is_right in (("hooks.example", True), ("other.example", False)):
        issued = authority.issue(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(issued.certificate, issued.key)
        with odd_registry(taken, context) as place, monkeypatch.context() as patched:
            port = int(place.partition(":")[2])
            patched.setattr(socket, "getaddrinfo", addresses("127.0.0.1"))
            url = f"https://hooks.example:{port}/"
            sends = WebhookSender(context=trusted).send(url, {}, b"{}")
            if is_right:
                assert asyncio.run(sends) == 200 and asked == [f"hooks.example:{port}"]
            else:
                with pytest.raises(Undelivered, match="certificate verify failed"):
                    asyncio.run(sends)
    assert len(asked) == 1


def test_the_service_sends_to_hosts_that_its_operator_names(tmp_path: Path) -> None:
    operator, key = new_key(), new_key()
    (tmp_path / "operator.pub").write_bytes(public_pem(operator.public_key()))
    text = "name: m\ndatabase: catalogue.db\noperators: [operator.pub]\nregistries: [r]\n"
    (tmp_path / "m.yaml").write_text(f"{text}webhooks: {{hosts: [localhost], tries: 2}}\n")

    class Names:
        name = "m"

    with served(service(tmp_path / "m.yaml")) as url, receiver() as to:
        market = HttpMarketplace(url)
        action = SUITE.action(Names(), "register", key=public_pem(key.public_key()).decode())
        market.act(seal_action(action, operator))
        wanted = SUITE.action(Names(), "subscribe", url=to.url)
        made = market.subscribe(seal_action(wanted, key))
        to.secret = made.secret or ""
        more = SUITE.action(Names(), "add_key", key=public_pem(new_key().public_key()).decode())
        market.act(seal_action(more, key))
        end = time.monotonic() + SECONDS
        while market.subscription(made.id).cursor < 2 and time.monotonic() < end:
            time.sleep(0.05)
        market.close()
    assert [(event.kind, event.cursor) for event in to.got] == [("add_key", 2)]
    (tmp_path / "m.yaml").write_text(f"{text}webhooks: {{tries: 0}}\n")
    with pytest.raises(BundleRefused, match="tries: at least 1"):
        service(tmp_path / "m.yaml")
