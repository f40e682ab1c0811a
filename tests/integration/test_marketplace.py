"""The reference marketplace passes the suite that others are held to, here and over HTTP, with a real registry."""

import asyncio
import contextlib
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jsonschema
import pytest
import uvicorn
import websockets
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import ASGIApp

from orchestrator_marketplace.actions import seal_action
from orchestrator_marketplace.bundle_artifacts import Bundle, build_bundle, open_bundle
from orchestrator_marketplace.catalogue_databases import open_database
from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.conformance.subjects import Subject
from orchestrator_marketplace.conformance.suite import MarketplaceConformance
from orchestrator_marketplace.evidence_store import read_evidence
from orchestrator_marketplace.folders import read_folder
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_marketplace.marketplace_limits import Limits
from orchestrator_marketplace.marketplace_server import application, description
from orchestrator_marketplace.marketplace_service import service
from orchestrator_marketplace.marketplaces import Marketplace, MarketplaceError, Problem, Query
from orchestrator_marketplace.publication_checks import PublicationChecks
from orchestrator_marketplace.reference_marketplace import ReferenceMarketplace
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.signatures import Signer, add_statement, sign_bundle
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_marketplace.statements import EVALUATION, Statement
from orchestrator_marketplace.transfers import push_bundle
from orchestrator_marketplace.workflow import State
from orchestrator_runtimes.json_values import Json
from tests.integration.bundle_registries import odd_registry, real_registry, say
from tests.unit.marketplace.certificates import new_key
from tests.unit.marketplace.signed_evaluations import sign_evaluation
from tests.unit.marketplace.written_bundles import LOCK, write_bundle


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as name:
        yield name


class Reference(Subject):
    """The reference marketplace with a catalogue of its own, and a prefix of a registry."""

    def __init__(
        self, folder: Path, registry: str, place: str = "catalogue.db", limits: Limits | None = None
    ) -> None:
        self.folder = folder
        self.name = "agents.example"
        self.operator = new_key()
        self.prefix = f"{registry}/{folder.name.replace('_', 'x').lower()}"
        self.catalogue = Catalogue(open_database(place, folder))
        self.reference = ReferenceMarketplace(
            self.name, self.catalogue, (self.operator.public_key(),), (self.prefix,), limits
        )
        self.checks = PublicationChecks(self.reference)
        self.marketplace: Marketplace = self.reference
        self.stored = 0

    def store(
        self,
        name: str,
        version: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        summary: str = "Reads",
        pricing: Mapping[str, str] | None = None,
        terms: str | None = None,
        evaluated: bool | None = None,
        also: Callable[[Layout, Bundle], None] = lambda _layout, _bundle: None,
    ) -> str:
        self.stored += 1
        folder = self.folder / str(self.stored)
        layout = Layout(folder / "layout")
        costs = {"pricing": pricing, "terms": terms}
        said = {key: json.dumps(value) for key, value in costs.items() if value is not None}
        write_bundle(folder / "source", name=name, version=version, summary=f"'{summary}'", **said)
        entry = build_bundle(read_folder(folder / "source"), LOCK, layout)
        bundle = open_bundle(layout, entry)
        sign_bundle(layout, bundle, Signer(key=key), datetime.now(UTC))
        if evaluated is not None:
            sign_evaluation(layout, bundle, key, passes=evaluated)
        also(layout, bundle)
        # without its tag: what a stranger signed lies there, too
        reference = replace(parse_reference(f"{self.prefix}/{name}"), digest=entry.digest)
        with Repository(reference) as repository:
            push_bundle(layout, entry, repository)
        return str(reference)

    def check(self) -> None:
        self.checks.run_once()
        with self.catalogue.view() as view:
            assert view.in_checks() == ()


class TestInThisProcess(MarketplaceConformance):
    @pytest.fixture
    def subject(self, tmp_path: Path, registry: str, stored: str) -> Iterator[Subject]:
        made = Reference(tmp_path, registry, stored)
        yield made
        made.catalogue.close()


@contextlib.contextmanager
def served(app: ASGIApp) -> Generator[str]:
    """Serve an application, and yield its URL."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: server.run(sockets=[bound]))
        thread.start()
        try:
            until = time.monotonic() + 10
            while not server.started and time.monotonic() < until:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def over_http(tmp_path: Path, registry: str) -> Iterator[tuple[Reference, str]]:
    """A marketplace that is reached over HTTP, and its URL."""
    made = Reference(tmp_path, registry)
    with served(application(made.reference)) as url:
        client = HttpMarketplace(url)
        made.marketplace = client
        yield made, url
        client.close()
    made.catalogue.close()


class TestOverHttp(MarketplaceConformance):
    @pytest.fixture
    def subject(self, over_http: tuple[Reference, str]) -> Subject:
        return over_http[0]


SUITE = MarketplaceConformance()


def published(subject: Reference, version: str = "1.0.0") -> ec.EllipticCurvePrivateKey:
    key = new_key()
    SUITE.register(subject, key)
    SUITE.publish(subject, key, version)
    return key


def test_events_come_by_a_websocket_and_go_on_after_a_cursor(over_http: tuple[Reference, str]) -> None:
    subject, url = over_http
    key = published(subject)
    address = url.replace("http", "ws") + "/v1/events/live?cursor="

    async def listen(cursor: int, wanted: int) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        async with asyncio.timeout(20), websockets.connect(f"{address}{cursor}") as connection:
            if cursor:
                sealed = SUITE.action(subject, "withdraw", agent="reviewer", version="1.0.0")
                await asyncio.to_thread(subject.marketplace.act, seal_action(sealed, key))
            while len(found) < wanted:
                found += json.loads(await connection.recv())["events"]
        return found

    first = asyncio.run(listen(0, 4))
    assert [event["kind"] for event in first] == ["register", "submit", "pass", "approve"]
    later = asyncio.run(listen(int(str(first[-1]["cursor"])), 1))
    assert [event["kind"] for event in later] == ["withdraw"]

    async def refused() -> None:
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(f"{address}x")

    asyncio.run(refused())


def test_the_service_says_what_it_offers(over_http: tuple[Reference, str]) -> None:
    subject, url = over_http
    published(subject)
    told = httpx.get(f"{url}/openapi.json", timeout=10).json()
    assert told == json.loads(json.dumps(description())) and told["openapi"] == "3.1.0"
    asked = {
        "/v1/bundles": "/v1/bundles",
        "/v1/bundles/{publisher}/{agent}": "/v1/bundles/acme/reviewer",
        "/v1/bundles/{publisher}/{agent}/{version}": "/v1/bundles/acme/reviewer/1.0.0",
        "/v1/bundles/{publisher}/{agent}/{version}/evidence": "/v1/bundles/acme/reviewer/1.0.0/evidence",
        "/v1/history/{publisher}/{agent}": "/v1/history/acme/reviewer",
        "/v1/publishers/{publisher}": "/v1/publishers/acme",
        "/v1/ratings/{publisher}/{agent}": "/v1/ratings/acme/reviewer",
        "/v1/events": "/v1/events",
    }
    others = {"/v1/actions", "/v1/subscriptions", "/v1/subscriptions/{subscription}"}
    others |= {"/v1/usage/reports", "/v1/usage/questions"}
    assert {*asked, *others} == set(told["paths"])
    for path, address in asked.items():
        answer = httpx.get(url + address, timeout=10)
        schema = told["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": told["components"]})


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/bundles?limit=0", 400, "limit: 1 to 100"),
        ("/v1/bundles?limit=x", 400, "no number"),
        ("/v1/bundles?colour=red", 400, "unknown key 'colour'"),
        (f"/v1/bundles?text={'a' * 201}", 400, "at most 200 characters"),
        ("/v1/bundles/No/name", 400, "must be publisher/agent"),
        ("/v1/bundles/acme/none/1.0.0", 404, "there is no"),
        ("/v1/ratings/acme/none", 404, "there is no"),
        ("/v1/ratings/acme/none?limit=0", 400, "limit: 1 to 100"),
        ("/v1/events?cursor=-1", 400, "cursor: 0 to"),
        ("/v1/events?wait_seconds=1e9", 400, "wait_seconds: 0 to 30"),
        ("/v1/events?wait_seconds=nan", 400, "wait_seconds: 0 to 30"),
        ("/v1/events?after=1", 400, "after: '1' is not known"),
    ],
)
def test_requests_that_are_none_are_told(
    over_http: tuple[Reference, str], path: str, status: int, said: str
) -> None:
    answer = httpx.get(over_http[1] + path, timeout=10)
    assert answer.status_code == status and said in answer.json()["message"]


def test_an_action_has_a_longest_size(over_http: tuple[Reference, str]) -> None:
    answer = httpx.post(f"{over_http[1]}/v1/actions", content=b"x" * 100_000, timeout=10)
    assert answer.status_code == 400 and "at most 65536 bytes" in answer.json()["message"]


def test_many_may_wait_for_events_and_others_are_served(over_http: tuple[Reference, str]) -> None:
    _, url = over_http

    async def ask() -> float:
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=200)) as client:
            waiting = [
                asyncio.create_task(client.get(f"{url}/v1/events?wait_seconds=3&cursor=99"))
                for _ in range(80)
            ]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            assert (await client.get(f"{url}/v1/bundles")).status_code == 200
            took = time.monotonic() - began
            assert all(one.status_code == 200 for one in await asyncio.gather(*waiting))
            return took

    assert asyncio.run(ask()) < 2.0


def test_a_marketplace_that_is_none_is_told() -> None:
    answers = iter([(200, b"{}"), (200, b"x"), (500, b"oops"), (404, b"[]"), (400, b'{"problem": "new"}')])
    with odd_registry(lambda to: say(to, *next(answers))) as name:
        client = HttpMarketplace(f"http://{name}")
        for problem in (Problem.UNAVAILABLE,) * 3 + (Problem.MALFORMED,) * 2:
            with pytest.raises(MarketplaceError) as refused:
                client.publisher("acme")
            assert refused.value.problem is problem
        client.close()
    client = HttpMarketplace(f"http://{name}")
    with pytest.raises(MarketplaceError, match="does not answer") as refused:
        client.search(Query())
    assert refused.value.code.retryable
    client.close()


def test_checks_wait_for_a_registry_that_is_away_and_end(tmp_path: Path, registry: str) -> None:
    subject = Reference(tmp_path, registry)
    key = new_key()
    SUITE.register(subject, key)
    with odd_registry(lambda to: say(to, 503)) as away:
        subject.reference = ReferenceMarketplace(
            subject.name, subject.catalogue, (subject.operator.public_key(),), (away,)
        )
        subject.marketplace = subject.reference
        of = {"agent": "reviewer", "version": "1.0.0"}
        reference = f"{away}/acme/reviewer@sha256:{'0' * 64}"
        SUITE.act(subject, key, "submit", **of, reference=reference)
        now = [datetime.now(UTC)]

        def quickly(asked: object) -> Repository:
            return Repository(parse_reference(str(asked)), sleep=lambda _seconds: None)

        checks = PublicationChecks(subject.reference, open_repository=quickly, clock=lambda: now[0])
        assert checks.run_once() == 0
        assert subject.marketplace.version("acme/reviewer", "1.0.0").state is State.CHECKS
        now[0] += timedelta(hours=2)
        assert checks.run_once() == 1
    draft = subject.marketplace.version("acme/reviewer", "1.0.0")
    assert draft.state is State.DRAFT and "does not answer" in (draft.reason or "")
    subject.catalogue.close()


def test_known_weaknesses_are_told_beside_a_submission(tmp_path: Path, registry: str) -> None:
    subject = Reference(tmp_path, registry)
    affected = [{"package": {"ecosystem": "PyPI", "name": "requests"}}]
    (tmp_path / "advisories").mkdir()
    record = {"id": "GHSA-1", "modified": "2026-01-01T00:00:00Z", "affected": affected}
    (tmp_path / "advisories" / "1.json").write_text(json.dumps(record))
    subject.checks = PublicationChecks(subject.reference, advisories=tmp_path / "advisories")
    published(subject)
    findings = subject.marketplace.version("acme/reviewer", "1.0.0").findings
    assert "1 known weaknesses" in findings and "GHSA-1 (unknown) of requests 2.31.0" in findings
    assert any(line.startswith("asks for mcp:orders") for line in findings)
    subject.catalogue.close()


def test_only_what_the_publisher_says_of_all_cases_is_an_evaluation(tmp_path: Path, registry: str) -> None:
    """A stranger's word, one of other cases and what another tool wrote are no harm; of two, the worse counts."""
    subject = Reference(tmp_path, registry)
    key = new_key()
    SUITE.register(subject, key)

    def others(layout: Layout, bundle: Bundle) -> None:
        sign_evaluation(layout, bundle, new_key(), passes=True)
        sign_evaluation(layout, bundle, key, passes=True, of=("one", "of another bundle"))
        odd: list[dict[str, Json]] = [
            {"result": "PASSED"},
            {"taken": {"one": ["passed"]}, "held": {"one": 1}},
        ]
        for predicate in odd:
            statement = Statement(subject=bundle.digest, kind=EVALUATION, predicate=predicate)
            add_statement(layout, bundle.digest, statement, Signer(key=key))

    def both(layout: Layout, bundle: Bundle) -> None:
        for passes in (True, False, True):
            sign_evaluation(layout, bundle, key, passes=passes)

    for version, also in (("1.0.0", others), ("1.0.1", both)):
        address = subject.store("acme/reviewer", version, key, also=also)
        SUITE.act(subject, key, "submit", agent="reviewer", version=version, reference=address)
    subject.check()
    assert subject.marketplace.evidence("acme/reviewer", "1.0.0").evaluation is None
    worse = subject.marketplace.evidence("acme/reviewer", "1.0.1").evaluation
    assert worse is not None and worse.failed == ("one",) and worse.measures["completed"].reached
    subject.catalogue.close()


def test_evidence_of_before_evaluations_were_looked_at_is_read(tmp_path: Path, registry: str) -> None:
    subject = Reference(tmp_path, registry)
    digest = f"sha256:{'0' * 64}"
    with subject.catalogue.change() as change:
        change.transaction.execute(
            "INSERT INTO evidence (name, version, content) VALUES (?, ?, ?)",
            ("acme/reviewer", "1.0.0", json.dumps({"digest": digest, "publisher": "acme", "cases": ["one"]})),
        )
    with subject.catalogue.view() as view:
        seen = read_evidence(view.transaction, "acme/reviewer", "1.0.0")
    assert seen is not None and seen.cases == ("one",) and seen.evaluation is None
    subject.catalogue.close()


def test_a_version_that_moved_while_it_was_checked_stays(tmp_path: Path, registry: str) -> None:
    subject = Reference(tmp_path, registry)
    key = new_key()
    SUITE.register(subject, key)
    of = {"agent": "reviewer", "version": "1.0.0"}
    address = subject.store("acme/reviewer", "1.0.0", key)
    SUITE.act(subject, key, "submit", **of, reference=address)
    with subject.catalogue.view() as view:
        (before,) = view.in_checks()
    subject.check()
    subject.reference.checked(before, BundleRefused(Refusal.MALFORMED, "too late"))
    assert [event.kind for event in subject.marketplace.events(0).events] == ["register", "submit", "pass"]
    subject.catalogue.close()


def test_a_database_that_is_held_is_told(
    tmp_path: Path, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator_marketplace.catalogue_databases.BUSY_SECONDS", 0.1)
    subject = Reference(tmp_path, registry)
    other = sqlite3.connect(tmp_path / "catalogue.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    pem = public_pem(new_key().public_key()).decode()
    with pytest.raises(MarketplaceError, match="database does not answer") as refused:
        SUITE.act(subject, subject.operator, "register", key=pem)
    assert refused.value.problem is Problem.UNAVAILABLE
    other.execute("ROLLBACK")
    other.close()
    SUITE.act(subject, subject.operator, "register", key=pem)
    subject.catalogue.close()


def test_the_service_is_a_file_and_goes_on_where_it_ended(tmp_path: Path, registry: str) -> None:
    subject = Reference(tmp_path, registry)
    key = new_key()
    (tmp_path / "operator.pub").write_bytes(public_pem(subject.operator.public_key()))
    text = f"name: {subject.name}\ndatabase: catalogue.db\noperators: [operator.pub]\n"
    text += f"registries: ['{subject.prefix}']\n"
    (tmp_path / "marketplace.yaml").write_text(text)
    SUITE.register(subject, key)
    address = subject.store("acme/reviewer", "1.0.0", key)
    SUITE.act(subject, key, "submit", agent="reviewer", version="1.0.0", reference=address)
    subject.catalogue.close()
    with served(service(tmp_path / "marketplace.yaml")) as url:
        client = HttpMarketplace(url)
        until = time.monotonic() + 20
        while client.version("acme/reviewer", "1.0.0").state is State.CHECKS and time.monotonic() < until:
            time.sleep(0.1)
        assert client.version("acme/reviewer", "1.0.0").state is State.REVIEW
        client.close()
    (tmp_path / "marketplace.yaml").write_text(text.replace("[operator.pub]", "[]"))
    with pytest.raises(BundleRefused, match="name at least one of each"):
        service(tmp_path / "marketplace.yaml")
