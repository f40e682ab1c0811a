"""Usage is exact, also where guests try again and gateways are killed, and publishers see theirs."""

import base64
import contextlib
import json
import re
import shlex
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator_marketplace.signing_keys import write_key_pair
from orchestrator_resources.usage_months import month_of
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.errors import AgentError
from tests.integration.command_lines import refused, succeeds
from tests.integration.gateway_calls import ask
from tests.integration.gateway_services import GatewayService
from tests.integration.how_tos import HOW_TO
from tests.integration.postgres_servers import PostgresServer
from tests.integration.processes import wait_until
from tests.integration.served_marketplaces import served_marketplace

TENANTS = ("tenant-of-roses", "tenant-of-thorns")
BUNDLES = ("acme/reviewer:1.0.0", "acme/reviewer:1.1.0", "zenith/clock:0.1.0", "")
MONTH = datetime.now(UTC).strftime("%Y-%m")


@pytest.fixture(params=["sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        return postgres.database()
    return str(tmp_path / "gateway" / "journal.db")


class Used:
    """A gateway that is killed and started again, and what is asked of it.

    Args:
        folder: Of the gateway.
        url: Of the model.
        journal: Where its journal is.
    """

    def __init__(self, folder: Path, url: str, journal: str) -> None:
        self.folder, self.journal = folder, journal
        self._place = {"postgresql": {"env": "JOURNAL"}} if journal.startswith("postgres") else None
        self._settings = {
            "upstreams": {"model": {"base_url": url}},
            "models": {"m": {"targets": [{"upstream": "model", "model": "m"}]}},
        }
        self.service = self._start()

    def _start(self) -> GatewayService:
        service = GatewayService(
            self.folder / "gateway",
            self._settings,
            journal=self._place,
            environment={"JOURNAL": self.journal},
        )
        assert service.address
        return service

    def restart(self) -> None:
        """Kill it, and start another one."""
        self.service.end(signal.SIGKILL)
        self.service = self._start()

    def ask(self, execution: str, text: str, bundle: str, tenant: str) -> int:
        """Make a call of a new try of an execution; return the status, 0 when the connection is lost."""
        gateway = self.service.gateway(tenant)
        address = gateway.model(
            execution=execution, agent="a", inputs=text, seconds=60, name="asset", bundle=bundle
        )
        try:
            return ask(address, text).status
        except OSError:
            return 0

    def ledger(self, tenant: str) -> dict[str, Any]:
        """Return what the gateway's own ledger says that a tenant spent this month."""
        spent = self.service.administer(f"spend?tenant={tenant}")["spent"]
        rows = [row for row in spent if row["scope"] == "tenant"]
        return {
            key: sum(row[key] for row in rows)
            for key in ("calls", "tokens", "estimated_calls", "unpriced_calls")
        }

    def shown(self, *words: str) -> list[dict[str, Any]]:
        """Return what `orchestrator usage show` prints."""
        said = succeeds(
            "orchestrator", "usage", "show", "--journal", self.journal, "--format", "json", *words, folder=self.folder
        )  # fmt: skip
        told = json.loads(said)
        assert told["month"] == MONTH and told["through"] == datetime.now(UTC).date().isoformat()
        found: list[dict[str, Any]] = told["used"]
        return found


@pytest.fixture
def used(tmp_path: Path, endpoint: ModelEndpoint, journal: str) -> Iterator[Used]:
    endpoint.reset()
    made = Used(tmp_path, endpoint.script("usage", Script(latency=0.05)), journal)
    try:
        yield made
    finally:
        made.service.end(signal.SIGKILL)


def work(used: Used, endpoint: ModelEndpoint) -> int:
    """Run executions of both tenants in several tries, while the gateway is killed; return how many there were."""
    executions = [
        (f"e{number}", BUNDLES[number % len(BUNDLES)], TENANTS[number % 3 % 2]) for number in range(24)
    ]

    def answered(execution: str, text: str, bundle: str, tenant: str) -> None:
        wait_until(
            lambda: used.ask(execution, text, bundle, tenant) == 200, f"{execution} is answered {text!r}"
        )

    def run(one: tuple[str, str, str]) -> None:
        for text in ("first", "second") * 3:
            answered(one[0], f"{text} of {one[0]}", *one[1:])

    def kill_after(count: int) -> None:
        wait_until(lambda: endpoint.count >= count, f"call {count} is on its way")
        used.restart()

    with ThreadPoolExecutor(1) as killer, ThreadPoolExecutor(8) as pool:
        kills = killer.map(kill_after, (10, 25, 40))
        list(pool.map(run, executions))
        assert len(list(kills)) == 3
    return len(executions)


@pytest.mark.timeout(300)
def test_usage_is_what_the_gateways_ledger_counted_after_tries_and_kills(
    used: Used, endpoint: ModelEndpoint
) -> None:
    count = work(used, endpoint)
    assert endpoint.count >= 2 * count, "what was on its way when a gateway was killed is asked for again"
    by = {name: used.shown("--by", name) for name in ("execution", "version", "agent", "publisher", "tenant")}
    for tenant in TENANTS:
        ledger = used.ledger(tenant)
        assert ledger["calls"] > 0
        for name, rows in by.items():
            own = [row for row in rows if row["tenant"] == tenant]
            assert {key: sum(row[key] for row in own) for key in ledger} == ledger, name
        whole = used.shown("--by", "version", "--tenant", tenant)
        assert whole == [row for row in by["version"] if row["tenant"] == tenant]
    every = by["execution"]
    published = [row for row in every if row["name"] != "-"]
    assert sum(row["executions"] for row in published) == len(published) == count * 3 // 4
    assert {row["calls"] for row in published} >= {2}, "answers of the journal are no calls"
    assert {row["name"] for row in by["publisher"]} == {"acme", "zenith", "-"}
    assert {row["name"] for row in by["agent"]} == {"acme/reviewer", "zenith/clock", "-"}
    answered = sum(row["calls"] for row in by["tenant"])
    assert 2 * count <= answered <= endpoint.count
    lines = succeeds(
        "orchestrator", "usage", "show", "--journal", used.journal, "--format", "csv", folder=used.folder
    ).splitlines()  # fmt: skip
    assert (
        lines[0].startswith("tenant,name,executions,calls,tokens,cost_usd")
        and len(lines) == len(by["version"]) + 1
    )
    table = succeeds("orchestrator", "usage", "show", "--journal", used.journal, folder=used.folder)
    assert "acme/reviewer:1.1.0" in table


@pytest.mark.parametrize("journal", ["sqlite"], indirect=True)
def test_the_how_to_is_what_happens(used: Used, tmp_path: Path) -> None:
    for name in ("acme", "alpha"):
        write_key_pair(tmp_path / f"{name}.key", tmp_path / f"{name}.key.pub")
    assert used.ask("one", "hi", BUNDLES[0], TENANTS[0]) == 200
    (tmp_path / "journal.db").symlink_to(used.journal)
    said: list[str] = []
    with served_marketplace(tmp_path, "registry.example", "acme", "alpha") as url:
        for block in re.findall(r"```sh\n(.*?)```", (HOW_TO / "report-usage.md").read_text(), re.DOTALL):
            for line in block.replace("http://marketplace.example", url).splitlines():
                said.append(succeeds(*shlex.split(line), folder=tmp_path))
    assert len(said) == 4 and "acme/reviewer:1.0.0" in said[0] and "acme/reviewer:1.0.0 one,1," in said[1]
    assert said[2] == f"acme {MONTH}: is sent, number 1\n"
    assert json.loads(said[3])["lines"][0]["executions"] == 1


def test_publishers_see_theirs_once_and_no_tenant(used: Used, tmp_path: Path) -> None:
    for name in ("acme", "zenith", "alpha"):
        write_key_pair(tmp_path / f"{name}.key", tmp_path / f"{name}.key.pub")
    for number, bundle in enumerate(BUNDLES):
        for tenant in TENANTS:
            assert used.ask(f"run-of-{tenant}-{number}", "a private question", bundle, tenant) == 200
    with served_marketplace(tmp_path, "registry.example", "acme", "zenith", "alpha") as url:
        words = ("--journal", used.journal, "--at", url, "--platform", "alpha", "--key", "alpha.key")

        def send(*more: str) -> list[str]:
            return succeeds("orchestrator", "usage", "send", *words, *more, folder=tmp_path).splitlines()

        def received(publisher: str, *more: str) -> list[Any]:
            command = (
                "orchestrator",
                "usage",
                "received",
                publisher,
                "--at",
                url,
                "--key",
                f"{publisher}.key",
            )
            return [json.loads(line) for line in succeeds(*command, *more, folder=tmp_path).splitlines()]

        dry = json.loads("\n".join(send("--dry-run")))
        assert received("acme") == []
        assert send() == [f"acme {MONTH}: is sent, number 1", f"zenith {MONTH}: is sent, number 1"]
        assert send() == [
            f"acme {MONTH}: was sent before, number 1",
            f"zenith {MONTH}: was sent before, number 1",
        ]
        (report,) = received("acme")
        assert report == dry[0] and report["platform"] == "alpha"
        assert [(line["version"], line["tenants"], line["executions"]) for line in report["lines"]] == [
            ("1.0.0", 2, 2), ("1.1.0", 2, 2),
        ]  # fmt: skip
        spent = {row["name"]: 0 for row in used.shown()}
        for row in used.shown():
            spent[row["name"]] += row["tokens"]
        assert [line["tokens"] for line in report["lines"]] == [spent[name] for name in BUNDLES[:2]]

        assert used.ask("late", "another one", BUNDLES[0], TENANTS[0]) == 200
        assert send() == [f"acme {MONTH}: is sent, number 2", f"zenith {MONTH}: was sent before, number 1"]
        (report,) = received("acme", "--month", MONTH)
        assert report["sequence"] == 2 and report["lines"][0]["executions"] == 3
        wrong = ("orchestrator", "usage", "received", "zenith", "--at", url, "--key", "acme.key")
        assert "is signed by no key of zenith" in refused(*wrong, folder=tmp_path)
        assert send("--month", "2020-01") == ["2020-01: no published agent was used"]
    with contextlib.closing(sqlite3.connect(tmp_path / "catalogue.db")) as catalogue:
        envelopes = [json.loads(row[0]) for row in catalogue.execute("SELECT envelope FROM usage_reports")]
    left = b"".join(base64.b64decode(one["dsseEnvelope"]["payload"]) for one in envelopes)
    assert len(envelopes) == 3 and b"reviewer" in left
    for private in (*TENANTS, "run-of", "late", "private question", '"asset"', "another"):
        assert private.encode() not in left, "a report says more than counts"


@pytest.mark.parametrize("text", ["2026-13", "now", "2026-1", "2999-01"])
def test_a_month_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"is no month|has not begun"):
        month_of(text)
    (tmp_path / "journal.db").touch()
    said = refused(
        "orchestrator", "usage", "show", "--journal", "journal.db", "--month", text, folder=tmp_path
    )
    assert text in said
    missing = refused("orchestrator", "usage", "show", "--journal", "none.db", folder=tmp_path)
    assert "there is no file 'none.db'" in missing


def test_a_month_counts_until_today() -> None:
    assert month_of("2026-02", date(2026, 3, 1)).through == "2026-02-28"
    assert month_of(None, date(2026, 3, 1)).through == "2026-03-01"
