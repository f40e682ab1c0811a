"""Budgets as guests, runs and operators meet them: in six frameworks, over gateways' processes, in Dagster."""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its arguments without complete types.

import asyncio
import json
import secrets
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from orchestrator_assets import BudgetSpec, ForEachSpec, InputSpec, PortableSpec, agent_asset
from orchestrator_assets.execution_specs import RetrySpec
from orchestrator_defs.cli import main
from orchestrator_gateway.budget_settings import Budget
from orchestrator_gateway.ledger import Amount
from orchestrator_gateway.tokens import ExecutionBudget, issue_trusted
from orchestrator_resources.agent_runtimes import AgentRuntimes, BudgetConfig
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.gateway import LocalGateway
from orchestrator_resources.guest_pool import Agent, GuestPool
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import AgentSource, ModelAddress, PortableAgent, Run, ToolSource
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration import gateway_calls
from tests.integration.agent_materializations import failure, fake_agent, metadata
from tests.integration.gateway_services import gateway_service
from tests.integration.local_gateways import local_gateway
from tests.integration.pool_runs import ignore
from tests.integration.postgres_servers import PostgresServer

SECRET = secrets.token_hex(32)
TOOLS = "def weather(city: str) -> str:\n    'Tell the weather.'\n    return 'sunny'\n"


def ask(address: ModelAddress, text: str, **more: Any) -> tuple[int, Any]:
    """Make a call as a guest does; return the status and what is told."""
    answer = gateway_calls.ask(address, text, **more)
    return answer.status, answer.body if answer.status == 200 else answer.error


def attempt(gateway: LocalGateway, execution: str = "e", **more: Any) -> ModelAddress:
    return gateway.model(execution=execution, agent="a", inputs="hi", seconds=60, **more)


@pytest.fixture
def upstream(endpoint: ModelEndpoint) -> ModelEndpoint:
    endpoint.reset()
    return endpoint


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("framework", sorted(set(installed_frameworks()) - {"fake"}))
def test_an_agent_of_any_framework_ends_where_its_budget_does(
    framework: str, stream: bool, tmp_path: Path
) -> None:
    profile = installed_frameworks()[framework]
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    assert environment is not None, f"install it first: orchestrator runtimes install {framework}"
    code = tmp_path / "code"
    code.mkdir()
    (code / "tools.py").write_text(TOOLS)
    digest, archive = bundles.pack(code)
    portable = PortableAgent(
        name="assistant", instructions="Help.", model="m", tools=(ToolSource(function="tools:weather"),)
    )
    agent = Agent(source=AgentSource(portable=portable), bundle=Bundle(digest=digest, archive=archive))

    async def scenario() -> AgentError:
        async with ModelEndpoint(Script(tool_rounds=3)) as model:
            gateway = LocalGateway(tmp_path / "journal.db", ModelAddress(base_url=model.base_url))
            await asyncio.to_thread(gateway.ready)
            pool = GuestPool(GuestCommand.of(profile, environment.python), processes=1)

            def request(loaded: str) -> Run:
                address = replace_agent(gateway, loaded)
                return Run(
                    execution="e", agent=loaded, inputs="weather in Paris?", model=address, stream=stream
                )

            try:
                with pytest.raises(AgentError) as caught:
                    await pool.run(agent, request, ignore)
                assert model.count == 2, "what it may spend it spends, and no call is made after that"
                return caught.value
            finally:
                await pool.close()
                gateway.close()

    def replace_agent(gateway: LocalGateway, loaded: str) -> ModelAddress:
        budget = ExecutionBudget(calls=2)
        return gateway.model(execution="e", agent=loaded, inputs="hi", seconds=60, budget=budget)

    error = asyncio.run(scenario())
    assert error.code is ErrorCode.BUDGET_EXCEEDED and not error.code.retryable
    assert "the execution has used up its budget: 2 of 2 calls" in error.message
    assert error.detail == {
        "scope": "execution", "name": "e", "limit": "calls", "allowed": "2", "spent": "2", "status": 402
    }  # fmt: skip


def test_a_budget_outlives_tries_and_gateways_and_a_replayed_answer_costs_nothing(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    budget = ExecutionBudget(calls=2)
    with local_gateway(tmp_path / "journal.db", upstream.base_url) as first:
        assert ask(attempt(first, budget=budget), "one")[0] == 200
    with local_gateway(tmp_path / "journal.db", upstream.base_url) as second:
        again = attempt(second, budget=budget)
        assert ask(again, "one")[0] == 200 and ask(again, "two")[0] == 200
        assert upstream.count == 2, "the first was answered from the journal"
        status, told = ask(again, "three")
        assert (status, told["type"], told["budget"]["spent"]) == (402, "budget_exceeded", "2")
        assert ask(attempt(second, budget=budget), "two")[0] == 200, "what is paid is served"
        assert second.spent(["e", "unknown"]).executions.keys() == {"e"}
        assert second.spent(["e"]).executions["e"].calls == upstream.count == 2
        second.forget(["e"])
        assert not second.spent(["e"]).executions


def test_what_fails_is_not_counted_and_what_tells_no_usage_is_estimated(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    refusing = upstream.script("refusing", Script(faults=(Fault(kind=FaultKind.STATUS, status=400),)))
    with local_gateway(tmp_path / "journal.db", refusing) as gateway:
        assert [ask(attempt(gateway), "hi")[0] for _ in range(2)] == [400, 400]
        assert not gateway.spent(["e"]).executions
    empty = upstream.script("empty", Script(faults=(Fault(kind=FaultKind.TRUNCATED_STREAM, chunks=2),)))
    with local_gateway(tmp_path / "journal.db", empty) as gateway:
        ask(attempt(gateway), "hi", stream=True, max_tokens=70)
        spent = gateway.spent(["e"]).executions["e"]
        assert (spent.calls, spent.estimated_calls) == (1, 1) and spent.tokens > 70


def test_of_two_hundred_calls_at_two_gateways_as_many_are_made_as_there_may_be(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    slow = upstream.script("slow", Script(latency=0.05))
    budgets = (Budget(scope="tenant", calls=60),)
    with (
        local_gateway(tmp_path / "journal.db", slow, budgets=budgets) as one,
        local_gateway(tmp_path / "journal.db", slow, budgets=budgets) as other,
        ThreadPoolExecutor(100) as threads,
    ):
        addresses = [attempt((one, other)[n % 2], f"e{n}") for n in range(200)]
        statuses = [status for status, _ in threads.map(ask, addresses, [f"EXEC-{n}" for n in range(200)])]
        assert sorted(set(statuses)) == [200, 402]
        assert statuses.count(200) == upstream.count == 60
        spent = one.spent([f"e{n}" for n in range(200)]).executions
        assert sum(spent.values(), Amount()).calls == 60


def test_gateways_with_a_database_share_budgets_which_change_with_their_files(
    tmp_path: Path, upstream: ModelEndpoint, postgres: PostgresServer
) -> None:
    url = tmp_path / "database"
    url.write_text(postgres.database())
    (tmp_path / "prices.yaml").write_text("version: '7'\nmodels: {small: {input: 1000, output: 1000}}\n")
    told: dict[str, Any] = {
        "upstreams": {"one": {"base_url": upstream.base_url}},
        "models": {"fast": {"targets": [{"upstream": "one", "model": "small"}]}},
        "budgets": [{"scope": "tenant", "name": "acme", "cost_usd": 0.001, "per": "month"}],
        "prices": str(tmp_path / "prices.yaml"),
    }
    journal = {"postgresql": {"file": str(url)}}
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
        (folder / "secret").write_text(SECRET)
    with (
        gateway_service(folders[0], told, journal=journal) as one,
        gateway_service(folders[1], told, journal=journal) as other,
    ):
        assert ask(one.model(tenant="acme"), "one", model="fast")[0] == 200
        status, refused = ask(other.model(tenant="acme", execution="f"), "two", model="fast")
        assert (status, refused["budget"]["limit"], refused["budget"]["scope"]) == (402, "USD", "tenant")
        assert ask(other.model(tenant="other"), "three", model="fast")[0] == 200
        other.configure({**told, "budgets": [{"scope": "tenant", "name": "acme", "calls": 2}]})
        other.logged("in force now")
        assert ask(other.model(tenant="acme", execution="f"), "four", model="fast")[0] == 200
        assert ask(other.model(tenant="acme", execution="f"), "five", model="fast")[0] == 402
        report = one.administer("spend?tenant=acme")
        assert {row["calls"] for row in report["spent"]} == {2}
        assert {row["unpriced_calls"] for row in report["spent"]} == {0}, "the upstream's name has the price"


def test_an_operator_asks_what_was_spent_and_a_guest_does_not(
    tmp_path: Path, upstream: ModelEndpoint
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("version: '7'\nmodels: {m: {input: 1.5, output: 2}}\n")
    with local_gateway(tmp_path / "journal.db", upstream.base_url, prices=prices) as gateway:
        address = attempt(gateway, name="reports", location="finance")
        assert ask(address, "hi")[0] == 200
        call = upstream.calls[0]
        dollars = f"{(1.5 * call.input_tokens + 2 * call.output_tokens) / 10**6:.9f}".rstrip("0")

        def report(query: str, token: str) -> Any:
            request = urllib.request.Request(
                f"{gateway.address}/admin/spend{query}", headers={"authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())

        trusted = issue_trusted(gateway.secret)
        told = report("?tenant=local", trusted)
        assert (told["currency"], told["prices"], told["tenant"]) == ("USD", "7", "local")
        rows = {(row["scope"], row["name"]): row for row in told["spent"]}
        assert set(rows) == {("agent", "reports"), ("location", "finance"), ("tenant", "local")}
        assert {(row["calls"], row["cost_usd"]) for row in rows.values()} == {(1, dollars)}
        assert report("?tenant=local&since=2020-01-01&until=2020-12-31", trusted)["spent"] == []
        assert report("?tenant=other", trusted)["spent"] == []
        for query, token, status in (
            ("?tenant=local", str(address.api_key), 401),
            ("", trusted, 400),
            ("?tenant=local&since=x", trusted, 400),
        ):
            with pytest.raises(urllib.error.HTTPError) as caught:
                report(query, token)
            caught.value.close()
            assert caught.value.code == status


def test_the_command_line_tells_what_was_spent(tmp_path: Path, upstream: ModelEndpoint) -> None:
    journal = str(tmp_path / "journal.db")
    missing = CliRunner().invoke(main, ["spend", "--journal", journal])
    assert missing.exit_code == 1 and "there is no file" in missing.output
    with local_gateway(tmp_path / "journal.db", upstream.base_url) as gateway:
        assert ask(attempt(gateway, name="reports"), "hi")[0] == 200
    told = CliRunner().invoke(main, ["spend", "--journal", journal])
    assert told.exit_code == 0
    head, *lines = [line.split() for line in told.output.splitlines()]
    assert head[:4] == ["day", "scope", "name", "calls"]
    assert [line[1:4] for line in lines] == [
        ["agent", "reports", "1"],
        ["location", "-", "1"],
        ["tenant", "local", "1"],
    ]
    wrong = CliRunner().invoke(main, ["spend", "--journal", journal, "--since", "x"])
    assert wrong.exit_code == 1 and "since must be a day such as 2026-11-25, not 'x'" in wrong.output


def test_a_table_of_prices_that_is_wrong_is_told_by_name(tmp_path: Path, upstream: ModelEndpoint) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("models: {}")
    gateway = LocalGateway(tmp_path / "journal.db", ModelAddress(base_url=upstream.base_url), prices=prices)
    with pytest.raises(AgentError, match="ended at its start") as caught:
        gateway.ready()
    assert f"{prices}: version: missing" in str(caught.value.cause)
    gateway.close()


def materialize(
    assets: list[Any], endpoint: ModelEndpoint, instance: dg.DagsterInstance, **options: Any
) -> dg.ExecuteInProcessResult:
    endpoint.reset()
    scripted = endpoint.script("agents", Script(echo=r"EXEC-\w+"))
    runtimes = AgentRuntimes(model_url=scripted, processes=1, **options)
    return dg.materialize(
        assets, resources={"agent_runtimes": runtimes}, raise_on_error=False, instance=instance
    )


@pytest.fixture
def prices(tmp_path: Path) -> str:
    file = tmp_path / "prices.yaml"
    file.write_text("version: '7'\nmodels: {smollm2: {input: 1000, output: 1000}}\n")
    return str(file)


@pytest.mark.usefixtures("fake_framework")
def test_a_step_whose_budget_is_used_up_fails_without_a_retry_and_says_it(
    endpoint: ModelEndpoint, prices: str
) -> None:
    asset = agent_asset(
        fake_agent(budget=BudgetSpec(cost_usd=0.0001), retries=RetrySpec(max=3, delay_seconds=0)),
        asset=dg.AssetSpec("dear"),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        endpoint.reset()
        first = materialize([asset], endpoint, instance, prices=prices)
        assert first.success and metadata(first, "dear")["cost_usd"] > 0.0001, (
            "the call that crosses it is made"
        )
        second = materialize(
            [asset], endpoint, instance, prices=prices, budgets=[BudgetConfig(scope="agent", calls=1)]
        )
        code, description = failure(second)
    assert code == "budget_exceeded" and endpoint.count == 0
    assert (
        "the budget of the agent 'dear' is used up: 1 of 1 calls in this day; it is renewed at" in description
    )
    retried = [event for event in second.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert not retried


@pytest.mark.usefixtures("fake_framework")
def test_what_executions_cost_is_in_the_metadata(endpoint: ModelEndpoint, prices: str) -> None:
    @dg.asset
    def documents() -> list[str]:
        return ["EXEC-1", "EXEC-2"]

    asset = agent_asset(
        fake_agent(
            inputs={"document": InputSpec(asset="documents")},
            prompt="{document}",
            for_each=ForEachSpec(input="document"),
        ),
        asset=dg.AssetSpec("read"),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        told = metadata(materialize([documents, asset], endpoint, instance, prices=prices), "read")
        tokens = told["input_tokens"] + told["output_tokens"]
        assert told["cost_usd"] == pytest.approx(tokens / 1000)
        assert (
            told["cost"] == f"{tokens / 1000:.9f}".rstrip("0") + " USD, by table 7"
            and told["model_calls"] == 2
        )
        unknown = agent_asset(
            fake_agent(portable=PortableSpec(instructions="Help.", model_name="new")),
            asset=dg.AssetSpec("new"),
        )
        told = metadata(materialize([unknown], endpoint, instance, prices=prices), "new")
        assert told["cost"] == "unknown: 1 of 1 calls were of models that have no price in table 7"
        assert "cost_usd" not in told


@pytest.mark.usefixtures("fake_framework")
def test_a_failed_step_tells_what_it_spent(endpoint: ModelEndpoint, prices: str) -> None:
    asset = agent_asset(
        fake_agent(
            portable=PortableSpec(instructions="Help.", model_name="smollm2"),
            output_schema={"type": "object", "properties": {"city": {"const": "Oslo"}}, "required": ["city"]},
        ),
        asset=dg.AssetSpec("wrong"),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize([asset], endpoint, instance, prices=prices)
    (event,) = result.get_step_failure_events()
    data: Any = event.event_specific_data
    told = {name: value.value for name, value in data.user_failure_data.metadata.items()}
    assert told["code"] == "output_schema_mismatch"
    assert endpoint.count == told["model_calls"] == 1
    call = endpoint.calls[0]
    assert (told["input_tokens"], told["output_tokens"]) == (call.input_tokens, call.output_tokens)
    assert told["tokens_spent"] == call.input_tokens + call.output_tokens
    assert told["cost_usd"] == pytest.approx(told["tokens_spent"] / 1000)


@pytest.mark.usefixtures("fake_framework")
def test_a_wrong_budget_of_the_resource_is_refused_by_name(endpoint: ModelEndpoint) -> None:
    asset = agent_asset(fake_agent(), asset=dg.AssetSpec("x"))
    runtimes = AgentRuntimes(model_url=endpoint.base_url, budgets=[BudgetConfig(scope="agent")])
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.DagsterError) as caught:
        dg.materialize([asset], resources={"agent_runtimes": runtimes}, instance=instance)
    assert "budgets of agent_runtimes: a budget needs tokens, cost_usd or calls" in str(
        caught.value.__cause__
    )
