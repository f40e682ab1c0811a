"""What a marketplace lists becomes runs: published, deprecated, withdrawn."""

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import dagster as dg
import pytest

from orchestrator_marketplace.marketplace_server import application
from orchestrator_marketplace.marketplaces import Problem
from orchestrator_marketplace.signing_keys import public_pem
from orchestrator_marketplace.workflow import State
from orchestrator_sensors.catalogue import catalogued
from tests.integration.agent_materializations import failure
from tests.integration.bundle_registries import odd_registry, real_registry, say
from tests.integration.published_bundles import Location
from tests.integration.test_marketplace import SUITE, Reference, served
from tests.unit.marketplace.certificates import new_key

pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")  # Dagster's own

BUNDLE = dg.AssetKey(["team", "bundles", "acme", "reviewer"])


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Reference, str]]:
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path / "home"))
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as registry:
        made = Reference(tmp_path / "market", registry)
        with served(application(made.reference)) as url:
            yield made, url
        made.catalogue.close()


def test_what_is_approved_runs_and_what_is_withdrawn_does_not(
    market: tuple[Reference, str], tmp_path: Path
) -> None:
    subject, url = market
    key = new_key()
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "acme.pub").write_bytes(public_pem(key.public_key()))
    (trust / "trust.yaml").write_text("publishers: {acme: {keys: [acme.pub]}}\n")
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        location = Location(trust, instance, "http://localhost:9", marketplace=url, framework="langgraph")
        assert location.look() == [] and location.told == "nothing new is published"
        SUITE.register(subject, key)
        address = subject.store("acme/reviewer", "1.0.0", key)
        SUITE.act(subject, key, "submit", agent="reviewer", version="1.0.0", reference=address)
        subject.check()
        assert location.look() == [], "it is in review"
        SUITE.act(subject, subject.operator, "approve", agent="reviewer", version="1.0.0")
        (asked,) = location.look()
        assert "acme/reviewer:1.0.0@sha256:" in asked.tags["orchestrator/bundle"]
        SUITE.publish(subject, key, "1.1.0")
        assert len(location.look()) == 1 and location.look() == []
        SUITE.act(subject, key, "deprecate", agent="reviewer", version="1.1.0")
        assert location.look() == [] and catalogued(instance, BUNDLE).newest == "1.1.0"
        SUITE.act(subject, key, "withdraw", agent="reviewer", version="1.1.0")
        assert location.look() == [] and catalogued(instance, BUNDLE).newest == "1.0.0"


def test_who_is_trusted_says_the_file_of_publishers_and_no_marketplace(
    market: tuple[Reference, str], tmp_path: Path
) -> None:
    subject, url = market
    former, present = new_key(), new_key()
    trust = tmp_path / "trust"
    trust.mkdir()
    for name, key in (("former", former), ("present", present)):
        (trust / f"{name}.pub").write_bytes(public_pem(key.public_key()))
    (trust / "trust.yaml").write_text("publishers: {acme: {keys: [former.pub, present.pub]}}\n")
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        location = Location(trust, instance, "http://localhost:9", marketplace=url, framework="langgraph")
        assert location.look() == []
        SUITE.register(subject, former)
        SUITE.act(subject, former, "add_key", key=public_pem(present.public_key()).decode())
        SUITE.publish(subject, former, "1.0.0")
        SUITE.act(subject, present, "remove_key", key=public_pem(former.public_key()).decode())
        (asked,) = location.look()
        assert ":1.0.0@" in asked.tags["orchestrator/bundle"], "what was signed before goes on"
        of = {"agent": "reviewer", "version": "1.1.0"}
        address = subject.store("acme/reviewer", "1.1.0", former)
        assert SUITE.problem(subject, former, "submit", **of, reference=address) is Problem.FORBIDDEN
        SUITE.act(subject, present, "submit", **of, reference=address)
        subject.check()
        draft = subject.marketplace.version("acme/reviewer", "1.1.0")
        assert draft.state is State.DRAFT and "unsigned" in (draft.reason or "")
        assert location.look() == [], "nothing new comes by the former key"
        (trust / "trust.yaml").write_text("publishers: {acme: {keys: [present.pub]}}\n")
        code, told = failure(location.run(asked.tags))
        assert code == "agent_load_failed" and "unsigned: " in told, "whoever wrote it takes the key out"


def test_a_marketplace_that_is_away_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "trust.yaml").write_text("publishers: {}\n")
    with dg.DagsterInstance.local_temp() as instance:
        away = "http://localhost:9"
        location = Location(tmp_path, instance, away, marketplace=away, framework="langgraph")
        assert location.look() == [] and "the marketplace http://localhost:9 does not answer" in location.told


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Begin an answer, and give a byte of it now and then."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def saying(status: int, content: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        say(handler, status, content)

    return answer


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (drip, "the answer is not there after 1 s"),
        (saying(200, b'{"listings": [' + b" " * 2_000), "the answer is longer than 1000 bytes"),
        (saying(200, b"[]"), "the marketplace's answer is none of this interface"),
        (saying(200, b'{"listings": [{"name": 1}]}'), "is none of this interface"),
        (saying(500, b"oh"), "the marketplace answers 500"),
    ],
    ids=["slow", "huge", "other", "malformed", "broken"],
)
def test_a_marketplace_that_misbehaves_is_told_in_the_tick_and_asked_again(
    answer: Callable[[BaseHTTPRequestHandler], None],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator_marketplace.marketplace_client.ANSWER_SECONDS", 1.0)
    monkeypatch.setattr("orchestrator_marketplace.marketplace_client.ANSWER_BYTES", 1_000)
    (tmp_path / "trust.yaml").write_text("publishers: {}\n")
    with odd_registry(answer) as name, dg.DagsterInstance.local_temp() as instance:
        url = f"http://{name}"
        location = Location(tmp_path, instance, url, marketplace=url, framework="langgraph")
        began = time.monotonic()
        assert location.look() == [] and why in location.told
        assert time.monotonic() - began < 8
        assert location.look() == [] and why in location.told, "nothing was remembered of it"
