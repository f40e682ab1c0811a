"""What people tell agents is found in no file of the platform: planted, run, and then looked for everywhere.

Of Dagster's own storage (values of assets, its event log) that is true of marked fields and questions: decision 36.
"""

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
from click.testing import CliRunner

from orchestrator_assets import AgentSpec, PortableSpec, ToolSpec, agent_asset
from orchestrator_assets.execution_specs import RetrySpec
from orchestrator_defs.cli import main
from orchestrator_gateway.journal import JournalUnavailable, Scope
from orchestrator_gateway.stores import open_journal
from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_resources.run_state import RunState
from orchestrator_resources.sealed_texts import KEYS_FILE, SealedTexts
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.keys.handing_out import write_key_file
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
from orchestrator_tenancy.sign_in.people import Person
from orchestrator_tenancy.sign_in.settings import load, read_secrets
from orchestrator_tenancy.sign_in.stores import Stores, open_stores
from orchestrator_tenancy.tenant_deletion import Deletion
from orchestrator_tenancy.tenant_store import TenantStore, applied
from tests.integration.gateway_services import gateway_service
from tests.integration.marked_projects import OUTPUT, PLANTED, SUMMARY, Project, reader
from tests.integration.planted_files import planted_in
from tests.integration.sign_in_sites import Site

pytestmark = pytest.mark.usefixtures("fake_framework")

PHONE: Final = "4915112345678"
"""Digits, whose digest anybody could guess."""

PROMPT, ANSWER, ARGUMENT, RESULT = "planted-prompt", "planted-answer", "planted-argument", "planted-result"
NAME, EMAIL = "Planted Person", "planted@person.example"
SAID: Final = (PROMPT, ANSWER, ARGUMENT, RESULT, PHONE)
TOOLS: Final = f"""
def order(city: str) -> str:
    'Order a map.'
    return f'{RESULT} for {{city}}, call {PHONE}'
"""


class Broken(dg.IOManager):
    """Stores no value, so that everything stays that is kept for a retry."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise RuntimeError("the disk is full")

    def load_input(self, context: dg.InputContext) -> object:
        raise RuntimeError("nothing is stored")


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What belongs to the operator.

    Attributes:
        folder: Of its files.
        tenants: The directory.
        stores: Of the sign-in.
        keys: Of the tenants.
    """

    folder: Path
    tenants: TenantStore
    stores: Stores
    keys: TenantKeys

    @property
    def gateways_keys(self) -> Path:
        return self.folder / "handed-out" / "gateway.json"

    @property
    def runs_keys(self) -> Path:
        return self.folder / "handed-out" / "red.json"

    def hand_out(self, *tenants: str) -> None:
        self.gateways_keys.parent.mkdir(exist_ok=True)
        write_key_file(self.gateways_keys, self.keys, tenants)
        write_key_file(self.runs_keys, self.keys, ["red"])


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    site = Site(tmp_path, "")
    site.configure("https://sso.example")
    control = tmp_path / "control"
    settings = load(site.file)
    tenants = TenantStore(SqliteState(control / "tenants.db"))
    tenants.change(
        lambda stored: applied(
            stored,
            {
                "organisations": {"acme": {"title": "Acme"}},
                "tenants": {"red": {"organisation": "acme", "plan": "free"}},
            },
        )
    )
    found = Platform(
        folder=tmp_path,
        tenants=tenants,
        stores=open_stores(
            SqliteState(control / "sign_in.db"), settings, read_secrets(settings, site.file.parent)
        ),
        keys=TenantKeys(SqliteState(control / "keys.db"), ["m" * 32]),
    )
    found.hand_out("red")
    person = Person(issuer="https://sso.example", subject="p", name=NAME, email=EMAIL, grants=())
    found.stores.sessions.begin(person, "red")
    return found


def run_agent(platform: Platform, model: str, gateway: Mapping[str, Any]) -> Path:
    """Run an agent whose value cannot be stored, and return the folder of what the run left."""
    code = platform.folder / "code"
    code.mkdir()
    (code / "tools.py").write_text(TOOLS)
    agent = AgentSpec(
        framework="fake",
        portable=PortableSpec(instructions="Help.", tools=[ToolSpec(function="tools:order", once=True)]),
        prompt=f"{PROMPT} of {PHONE}",
        session="conversation",
        retries=RetrySpec(max=0),
    )
    runtimes = AgentRuntimes(model_url=model, processes=1, **gateway)
    home = platform.folder / "instance"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        result = dg.materialize(
            [agent_asset(agent, asset=dg.AssetSpec("map"), code=code)],
            resources={"agent_runtimes": runtimes, "io_manager": Broken()},
            raise_on_error=False,
            instance=instance,
        )
        (failed,) = result.get_step_failure_events()
        assert "the disk is full" in str(failed.event_specific_data)
        return Path(instance.storage_directory()) / "agents"


def found_in(*folders: Path, logs: str = "") -> set[tuple[str, str]]:
    """Return where planted values stand, as they are or as a digest that one could guess."""
    digest = hashlib.sha256(PHONE.encode()).hexdigest()[:12]
    return planted_in(*folders, values=(*SAID, NAME, EMAIL), logs=logs) | {
        (place, "digest") for place, _ in planted_in(*folders, values=(digest,), logs=logs)
    }


@contextlib.contextmanager
def served(
    platform: Platform, model: str, *, shared: bool, keys: bool
) -> Generator[tuple[Mapping[str, Any], Callable[[], str]]]:
    """Yield how a run reaches a gateway, and what that has logged."""
    if not shared:
        yield {}, lambda: ""
        return
    folder = platform.folder / "gateway"
    journal = {
        "sqlite": "data/journal.db",
        **({"keys": {"file": str(platform.gateways_keys)}} if keys else {}),
    }
    configuration = {
        "upstreams": {"only": {"base_url": model}},
        "default": {"upstream": "only"},
    }
    with gateway_service(folder, configuration, journal=journal) as service:
        secret = service.secret_file.read_text()
        yield (
            {"gateway_url": service.address, "gateway_secret": secret, "tenant": "red"},
            lambda: service.log,
        )


@pytest.mark.parametrize("shared", [False, True], ids=["gateway of the run", "gateway of a team"])
@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "without"])
def test_what_people_say_stands_nowhere_and_after_a_deletion_nothing_opens(
    platform: Platform,
    endpoint: ModelEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *,
    shared: bool,
    keys: bool,
) -> None:
    if keys:
        monkeypatch.setenv(KEYS_FILE, str(platform.runs_keys))
    endpoint.reset()
    script = Script(text=f"{ANSWER}: {PHONE}", arguments={"city": ARGUMENT})
    model = endpoint.script("planted", script)
    with served(platform, model, shared=shared, keys=keys) as (gateway, log):
        state = run_agent(platform, model, gateway)
        logs = log()
    journal = platform.folder / "gateway" / "data" if shared else state
    told = capfd.readouterr()
    folders = (state, journal, platform.folder / "control")
    found = found_in(*folders, logs=logs + told.out + told.err)
    if not keys:
        assert {value for _, value in found} >= {ANSWER, RESULT, PHONE, "digest"}, (
            "else nothing would be found with keys, either"
        )
        return
    assert found == set()
    monkeypatch.delenv(KEYS_FILE)
    opened, names = open_all(journal, state, platform)
    assert any(ANSWER.encode() in body for body in opened) and any(PHONE in text for text in names)
    deletion = Deletion(
        tenants=platform.tenants, stores=platform.stores, keys=platform.keys, actor="machine:o", going=None
    )
    deletion.delete("red", platform.folder / "red.tar.gz")
    platform.hand_out("red")  # another key, of a tenant of the same name
    with pytest.raises((JournalUnavailable, AgentError), match="does not open"):
        open_all(journal, state, platform)
    with pytest.raises(AgentError, match="what a run left does not open"):
        open_state(state, platform)


def test_marked_fields_and_questions_stand_nowhere_and_after_a_deletion_nothing_opens(
    platform: Platform,
    endpoint: ModelEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(KEYS_FILE, str(platform.runs_keys))
    project = Project(platform.folder, endpoint, capfd)
    code = platform.folder / "code"
    code.mkdir()
    (code / "tools.py").write_text(TOOLS)
    asking = reader(
        portable=PortableSpec(instructions="Order.", tools=[ToolSpec(function="tools:order", approval=True)]),
        for_each=None,
        prompt="read",
    )
    agents = [
        agent_asset(reader(), asset=dg.AssetSpec("read")),
        agent_asset(asking, asset=dg.AssetSpec("ask"), code=code),
    ]
    result = project.run(Script(output=OUTPUT, arguments={"city": ARGUMENT}), *agents)
    assert result.success
    assert project.found(*PLANTED, ARGUMENT) == set()
    (asked,) = result.get_asset_observation_events()
    observation: Any = asked.event_specific_data
    sealed = [
        *(row["output"]["summary"] for row in project.value("read")),
        str(observation.asset_observation.metadata["question"].value),
    ]
    opened = CliRunner().invoke(main, ["unseal"], input="\n".join(sealed)).output
    assert SUMMARY in opened and ARGUMENT in opened
    deletion = Deletion(
        tenants=platform.tenants, stores=platform.stores, keys=platform.keys, actor="machine:o", going=None
    )
    deletion.delete("red", platform.folder / "red.tar.gz")
    platform.hand_out("red")
    for text in sealed:
        assert CliRunner().invoke(main, ["unseal"], input=text).exit_code == 1


def open_all(journal: Path, state: Path, platform: Platform) -> tuple[list[bytes], list[str]]:
    """Return the answers and the results that open with the keys that are handed out now."""
    file = journal / "journal.db"
    with contextlib.closing(sqlite3.connect(file)) as database:
        calls = database.execute(
            "SELECT tenant, execution, agent, number FROM calls WHERE body IS NOT NULL"
        ).fetchall()
    assert calls

    async def read() -> list[bytes]:
        of_one = journal == state
        opened = await open_journal(
            str(file), keys=KeyFile(platform.runs_keys if of_one else platform.gateways_keys, of_one=of_one)
        )
        try:
            return [
                (await opened.answer(Scope(tenant=tenant, execution=execution, agent=agent), number)).body
                for tenant, execution, agent, number in calls
            ]
        finally:
            await opened.close()

    return asyncio.run(read()), open_state(state, platform)


def open_state(state: Path, platform: Platform) -> list[str]:
    """Return the results that the run left."""
    with contextlib.closing(sqlite3.connect(state / "finished_executions.db")) as database:
        names = [name for (name,) in database.execute("SELECT execution FROM finished").fetchall()]
    results = RunState(state, texts=SealedTexts(platform.runs_keys)).finished.get(names)
    return [str(result.output) for result in results.values()]
