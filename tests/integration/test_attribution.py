"""Whose model call is it? Many executions in one process of each framework, counted by a witness outside."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.gateway import LocalGateway
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import Target
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import ModelAddress
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.attribution_trials import EXECUTIONS, WITNESS, Tally, run_at_once, shapes
from tests.integration.gateway_calls import ask
from tests.integration.local_gateways import local_gateway

FRAMEWORKS = sorted(set(installed_frameworks()) - {"fake"})
PYTHON = [name for name in FRAMEWORKS if installed_frameworks()[name].adapter]
"""The others' model calls are told apart by their addresses; see `model_proxy.test.js`."""

STRAY = """
import contextvars
import openai

def stray(city: str) -> str:
    'Call the model where nobody knows for which execution.'
    def call():
        messages = [{"role": "user", "content": "I am lost"}]
        openai.OpenAI(max_retries=0).chat.completions.create(model="m", messages=messages)
    try:
        contextvars.Context().run(call)
    except Exception as error:
        return f"{error} {error.__cause__}"
    return "it went through"
"""
ON_THE_PAGE = 200
PAGE = Path(__file__).parents[2] / "docs" / "attribution.md"


@pytest.fixture(scope="module", params=FRAMEWORKS)
def target(request: pytest.FixtureRequest, endpoint: ModelEndpoint) -> Iterator[Target]:
    """One guest of a framework, for all of its shapes."""
    profile = installed_frameworks()[request.param]
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    assert environment is not None, f"install it first: orchestrator runtimes install {request.param}"
    target = Target(
        GuestCommand.of(profile, environment.python, max_executions=EXECUTIONS), profile, endpoint
    )
    yield target
    target.close()


@pytest.fixture
def gateway(target: Target, tmp_path: Path) -> Iterator[LocalGateway]:
    """A gateway to the witness."""
    with local_gateway(tmp_path / "journal.db", target.endpoint.script(WITNESS, Script())) as running:
        yield running


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("shape", ["plain", "streamed", "threads", "several agents"])
def test_of_executions_at_once_every_call_is_attributed_and_none_to_another(
    target: Target, gateway: LocalGateway, shape: str
) -> None:
    tally = run_at_once(target, gateway, shapes(target)[shape])
    assert (tally.missing, tally.wrong) == (0, 0)
    assert tally.executions == EXECUTIONS and tally.calls >= EXECUTIONS
    assert row(target.profile.name, shape, tally) in PAGE.read_text().splitlines(), "the page says otherwise"


@pytest.mark.parametrize("target", PYTHON, indirect=True)
def test_a_call_of_no_execution_leaves_no_guest(
    target: Target, gateway: LocalGateway, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "suite_tools.py").write_text(STRAY)
    digest, archive = bundles.pack(tmp_path / "code")
    target.bundles["stray"] = Bundle(digest=digest, archive=archive)
    target.endpoint.reset()
    target.endpoint.script(WITNESS, Script())
    address = gateway.model(execution="lost", agent="a", inputs="hi", seconds=60)
    target.run(target.portable("stray"), bundle="stray", model=address, execution="lost")
    first, second = (json.dumps(call.body) for call in target.endpoint.calls)
    assert "a model call outside of any execution is refused" in second and "I am lost" not in first + second


def test_a_call_of_no_execution_passes_no_gateway(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    endpoint.reset()
    with local_gateway(tmp_path / "journal.db", endpoint.base_url) as gateway:
        address = gateway.model(execution="", agent="", inputs=None, seconds=60)
        assert ask(ModelAddress(base_url=address.base_url), "hi").status == 401
        assert ask(address, "hi").status == 403, "a token for loading an agent"
    assert endpoint.count == 0


def row(framework: str, shape: str, tally: Tally) -> str:
    """Return the line of the page's table, whose executions are more, and each makes as many calls."""
    assert tally.calls % EXECUTIONS == 0, "each execution makes as many calls as the others"
    calls = tally.calls // EXECUTIONS * ON_THE_PAGE
    cells = (framework, shape, ON_THE_PAGE, calls, tally.missing, tally.wrong)
    return f"| {' | '.join(map(str, cells))} |"
