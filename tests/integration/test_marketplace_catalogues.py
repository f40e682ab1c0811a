"""One catalogue for several services: nothing is done twice, and no reader misses an event."""

import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.actions import moment, seal_action
from orchestrator_marketplace.catalogue_databases import open_database
from orchestrator_marketplace.catalogue_schema import VERSION
from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_marketplace.marketplace_limits import Limits
from orchestrator_marketplace.marketplace_server import application
from orchestrator_marketplace.marketplace_service import DATABASE, service
from orchestrator_marketplace.marketplaces import Event, Events, MarketplaceError, Problem, Query
from orchestrator_marketplace.publication_checks import PublicationChecks
from orchestrator_marketplace.reference_marketplace import ReferenceMarketplace
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_marketplace.workflow import State
from tests.integration.bundle_registries import real_registry
from tests.integration.postgres_servers import PostgresServer, postgres_server
from tests.integration.test_marketplace import SUITE, Reference, served
from tests.unit.marketplace.certificates import new_key

EVENT = Event(cursor=0, at="", kind="register", publisher="acme")
WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from orchestrator_marketplace.catalogue_databases import open_database
    from orchestrator_marketplace.catalogues import Catalogue
    from orchestrator_marketplace.marketplaces import Event

    place, who, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    catalogue = Catalogue(open_database(place, Path("/")))
    for number in range(count):
        try:
            with catalogue.change() as change:
                if change.first_time(f"{number:032x}", "2026-01-01", b"x"):
                    change.tell(Event(cursor=0, at="2026-01-01", kind="submit", publisher=f"n{number}"))
                change.tell(Event(cursor=0, at="2026-01-01", kind=who, publisher=f"n{number}"))
                if number % 10 == 9:
                    raise KeyError
        except KeyError:  # undone: neither its event nor its cursor is left
            pass
    catalogue.close()
    """
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as name:
        yield name


def test_no_reader_misses_what_several_processes_tell(stored: str) -> None:
    """Each action is done by one of them; cursors have no gaps, in the order in which they are seen."""
    catalogue, writers, count = Catalogue(open_database(stored, Path("/"))), 3, 60
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, stored, f"w{n}", str(count)],
        )
        for n in range(writers)
    ]
    seen: list[Event] = []
    page: tuple[Event, ...] = ()
    while any(process.poll() is None for process in processes) or not seen or page:
        with catalogue.view() as view:
            page = view.events(seen[-1].cursor if seen else 0, 7)
        seen += page
    for process in processes:
        assert process.wait() == 0
    kept = [number for number in range(count) if number % 10 != 9]
    assert [event.cursor for event in seen] == list(range(1, len(kept) * (writers + 1) + 1))
    for n in range(writers):
        assert [event.publisher for event in seen if event.kind == f"w{n}"] == [f"n{k}" for k in kept]
    assert sorted(event.publisher for event in seen if event.kind == "submit") == sorted(
        f"n{k}" for k in kept
    )
    catalogue.close()


def test_several_services_share_a_database(
    tmp_path: Path, registry: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent to both is done once; what one does, whoever waits at the other is told."""
    subject = Reference(tmp_path / "market", registry, postgres.database())
    text = f"name: {subject.name}\noperators: [operator.pub]\nregistries: ['{subject.prefix}']\n"
    (tmp_path / "operator.pub").write_bytes(public_pem(subject.operator.public_key()))
    (tmp_path / "marketplace.yaml").write_text(text)
    with pytest.raises(BundleRefused, match=f"name a file, or set {DATABASE}"):
        service(tmp_path / "marketplace.yaml")
    monkeypatch.setenv(f"{DATABASE}_FILE", str(tmp_path / "url"))
    with pytest.raises(BundleRefused, match="cannot be read"):
        service(tmp_path / "marketplace.yaml")
    url = postgres.database()
    (tmp_path / "url").write_text(f"{url}\n")
    key = new_key()
    with (
        served(service(tmp_path / "marketplace.yaml")) as one,
        served(service(tmp_path / "marketplace.yaml")) as other,
    ):
        first, second = HttpMarketplace(one), HttpMarketplace(other)
        found: list[Events] = []
        waits = threading.Thread(target=lambda: found.append(second.events(0, wait_seconds=20)))
        waits.start()
        subject.marketplace = first
        SUITE.register(subject, key)
        waits.join(25)
        assert [event.kind for event in found[0].events] == ["register"]
        address = subject.store("acme/reviewer", "1.0.0", key)
        action = SUITE.action(subject, "submit", agent="reviewer", version="1.0.0", reference=address)
        sealed = seal_action(action, key)
        sends = [threading.Thread(target=one.act, args=(sealed,)) for one in (first, second) * 2]
        for send in sends:
            send.start()
        for send in sends:
            send.join()
        cursor, kinds = found[0].cursor, list[str]()
        while "pass" not in kinds:
            page = second.events(cursor, wait_seconds=20)
            assert page.events
            kinds += [event.kind for event in page.events]
            cursor = page.cursor
        assert kinds == ["submit", "pass"]
        first.close()
        second.close()
    subject.catalogue.close()


def test_a_database_that_goes_and_comes_is_waited_for(tmp_path: Path, registry: str) -> None:
    """It is told as unavailable, and nothing has to be started again; the checks go on by themselves."""
    with postgres_server() as own:
        subject = Reference(tmp_path, registry, own.database())
        key = new_key()
        SUITE.register(subject, key)
        address = subject.store("acme/reviewer", "1.0.0", key)
        SUITE.act(subject, key, "submit", agent="reviewer", version="1.0.0", reference=address)
        own.kill()
        ended = threading.Event()
        checks = threading.Thread(target=subject.checks.run_until, args=(ended,))
        checks.start()
        with pytest.raises(MarketplaceError, match="database does not answer") as refused:
            subject.marketplace.search(Query())
        assert refused.value.problem is Problem.UNAVAILABLE
        own.start()
        cursor, kinds = 0, list[str]()
        while "pass" not in kinds:
            page = subject.marketplace.events(cursor, wait_seconds=30)
            assert page.events
            kinds += [event.kind for event in page.events]
            cursor = page.cursor
        ended.set()
        checks.join()
        subject.catalogue.close()


@pytest.mark.parametrize("text", ["\0", "\ud800"])
def test_texts_that_no_database_keeps_are_malformed(postgres: PostgresServer, text: str) -> None:
    catalogue = Catalogue(open_database(postgres.database(), Path("/")))
    with pytest.raises(MarketplaceError) as refused, catalogue.view() as view:
        view.search(Query(text=f"a{text}"))
    assert refused.value.problem is Problem.MALFORMED
    catalogue.close()


def test_a_catalogue_of_the_first_schema_is_gone_on_with(tmp_path: Path, registry: str) -> None:
    """As the first release left it: an SQLite file with other columns, and no table of facts."""
    file = tmp_path / "catalogue.db"
    old = sqlite3.connect(file)
    old.executescript(
        """
        CREATE TABLE publishers (name TEXT PRIMARY KEY, skeleton TEXT NOT NULL UNIQUE);
        CREATE TABLE keys (
          publisher TEXT NOT NULL REFERENCES publishers, pem TEXT NOT NULL, PRIMARY KEY (publisher, pem));
        CREATE TABLE versions (
          publisher TEXT NOT NULL REFERENCES publishers, agent TEXT NOT NULL, version TEXT NOT NULL,
          state TEXT NOT NULL, digest TEXT NOT NULL, reference TEXT NOT NULL, manifest TEXT NOT NULL,
          documentation TEXT NOT NULL,
          findings TEXT NOT NULL, reason TEXT, replacement TEXT, changed TEXT NOT NULL,
          PRIMARY KEY (publisher, agent, version));
        CREATE INDEX version_states ON versions (state);
        CREATE TABLE actions (id TEXT PRIMARY KEY, envelope BLOB NOT NULL);
        CREATE TABLE events (
          cursor INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL, publisher TEXT NOT NULL,
          agent TEXT, version TEXT, state TEXT, digest TEXT);
        INSERT INTO publishers VALUES ('acme', 'acme');
        INSERT INTO versions VALUES ('acme', 'reviewer', '1.0.0', 'published', 'sha256:1', 'r/a@sha256:1',
          '{"framework": "agno", "licence": "MIT", "summary": "Reads"}', 'Words', '["fine"]', NULL, NULL, '2026');
        INSERT INTO actions VALUES ('1', x'00');
        INSERT INTO events (at, kind, publisher) VALUES ('2026', 'register', 'acme'), ('2026', 'submit', 'acme');
        """
    )
    old.commit()
    old.close()
    for _again in range(2):
        subject = Reference(tmp_path, registry)
        (found,) = subject.marketplace.search(Query(text="words", framework="agno")).listings
        assert (found.name, found.state, found.findings) == ("acme/reviewer", State.PUBLISHED, ("fine",))
        with subject.catalogue.change() as change:
            assert not change.first_time("1", "2026", b"\0")
        subject.catalogue.close()
    subject = Reference(tmp_path, registry)
    SUITE.register(subject, new_key(), "globex")
    assert [event.cursor for event in subject.marketplace.events(0).events] == [1, 2, 3]
    subject.catalogue.close()


def test_a_catalogue_of_a_later_release_is_refused(stored: str) -> None:
    catalogue = Catalogue(open_database(stored, Path("/")))
    with catalogue.change() as change:
        change.transaction.execute("UPDATE facts SET value = ? WHERE name = 'schema'", (VERSION + 1,))
    catalogue.close()
    with pytest.raises(BundleRefused, match=f"has schema {VERSION + 1}, and this release knows {VERSION}"):
        Catalogue(open_database(stored, Path("/")))


class Days:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def test_events_older_than_they_are_kept_are_gone_and_said_so(tmp_path: Path, stored: str) -> None:
    """Whoever was away reads the listings, and goes on after the cursor that they are told."""
    clock, operator, key = Days(), new_key(), new_key()
    catalogue = Catalogue(open_database(stored, Path("/")))
    limits = Limits(events_days=30, actions_days=60)
    market = ReferenceMarketplace("m", catalogue, (operator.public_key(),), ("r",), limits, clock=clock)
    days = [(f"p{n}", timedelta(days=20 * n)) for n in range(4)]
    began = clock.now
    for name, later in days:
        with catalogue.change() as change:
            change.first_time(name, moment(began + later), b"x")
            change.add_publisher(name)
            change.add_key(name, public_pem(key.public_key()).decode())
            change.tell(Event(cursor=0, at=moment(began + later), kind="register", publisher=name))
    assert market.forget() == 0 and len(market.events(0).events) == 4
    clock.now = began + timedelta(days=61)
    assert market.forget() == 2 + 1
    with served(application(market)) as url:
        client = HttpMarketplace(url)
        with pytest.raises(MarketplaceError, match="events up to 2 are not kept any more") as refused:
            client.events(1)
        assert refused.value.problem is Problem.GONE and refused.value.cursor == 2
        assert [event.publisher for event in client.events(2).events] == ["p2", "p3"]
        client.close()
    clock.now = began + timedelta(days=365)
    assert market.forget() == 2 + 3 and market.forget() == 0
    assert market.events(4).events == ()
    with catalogue.change() as change:
        change.tell(EVENT)
    assert [event.cursor for event in market.events(4).events] == [5]
    catalogue.close()


def test_how_much_one_publisher_submits_is_bounded(tmp_path: Path, registry: str) -> None:
    subject = Reference(
        tmp_path, registry, limits=Limits(submissions_a_day=4, open_submissions=2, bundle_mb=1)
    )
    key, other = new_key(), new_key()
    SUITE.register(subject, key)
    SUITE.register(subject, other, "globex")

    def submit(version: str, who: ec.EllipticCurvePrivateKey = key, publisher: str = "acme") -> None:
        address = subject.store(f"{publisher}/reviewer", version, who)
        SUITE.act(subject, who, "submit", publisher, agent="reviewer", version=version, reference=address)

    submit("1.0.0")
    submit("1.0.1")
    with pytest.raises(MarketplaceError, match="acme has 2 versions that wait") as refused:
        submit("1.0.2")
    assert refused.value.problem is Problem.LIMIT
    submit("1.0.0", other, "globex")
    subject.checks = PublicationChecks(subject.reference, most_bytes=10)
    subject.check()
    draft = subject.marketplace.version("acme/reviewer", "1.0.0")
    assert draft.state is State.DRAFT and "10 are taken here" in (draft.reason or "")
    submit("1.0.2")
    submit("1.0.3")
    subject.check()
    with pytest.raises(MarketplaceError, match="has submitted 4 times within a day"):
        submit("1.0.4")
    kinds = [event.kind for event in subject.marketplace.events(0).events if event.publisher == "acme"]
    assert kinds.count("submit") == 4
    subject.catalogue.close()


@pytest.mark.parametrize(
    ("field", "said"), [("open_submissions", "at least 1"), ("events_days", "at least 2")]
)
def test_limits_that_nobody_could_keep_are_refused(field: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Limits(**{field: 0})


def test_a_url_without_a_server_is_told(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match="database does not answer"):
        Catalogue(open_database(f"postgresql://u@/none?host={tmp_path}", tmp_path))


def test_the_tables_stand_beside_those_of_others(postgres: PostgresServer) -> None:
    url = postgres.database()
    Catalogue(open_database(url, Path("/"))).close()
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'events'").fetchall()
    assert rows == [("orchestrator_marketplace",)]
