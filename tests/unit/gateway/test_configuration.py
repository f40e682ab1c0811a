"""A gateway's configuration file: what it says is what is used, and a mistake is one line that says what to change."""

import re
import secrets
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.budget_settings import Budget
from orchestrator_gateway.configuration import BadConfiguration, load
from orchestrator_gateway.mcp_settings import read_servers
from orchestrator_gateway.routes import Default, Model, Target
from orchestrator_gateway.secret_sources import SecretMissing, SecretSource

WHOLE = """
secret: {env: GATEWAY_SECRET}
journal: {sqlite: calls.db}
upstreams:
  near: {base_url: http://127.0.0.1:1/v1, max_concurrent: 4}
  far:
    base_url: https://example.org/v1
    api_key: {file: keys/far}
    requests_per_minute: 60
    breaker: {failures: 3}
models:
  fast:
    targets: [{upstream: near, model: small, weight: 3}, {upstream: far, model: mini}]
    fallbacks: [{upstream: far, model: large}]
default: {upstream: near, fallbacks: [far]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


def test_a_whole_file_is_read(file: Path) -> None:
    file.write_text(WHOLE)
    read = load(file)
    assert read.secret == SecretSource(env="GATEWAY_SECRET") and read.journal.sqlite == "calls.db"
    assert read.upstreams["near"].max_concurrent == 4 and read.upstreams["near"].api_key is None
    assert read.upstreams["far"].breaker.failures == 3 and read.upstreams["far"].breaker.open_seconds == 5
    assert read.models["fast"] == Model(
        targets=(Target(upstream="near", model="small", weight=3.0), Target(upstream="far", model="mini")),
        fallbacks=(Target(upstream="far", model="large"),),
    )
    assert read.default == Default(upstream="near", fallbacks=("far",)) and not read.log_bodies


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("models:", "model:", "unknown key 'model'; did you mean 'models'?"),
        (
            "max_concurrent: 4",
            "color: red",
            "upstreams.near: unknown key 'color'; there are base_url, api_key,",
        ),
        (
            "max_concurrent: 4",
            "max_concurrent: four",
            "upstreams.near.max_concurrent: expected a whole number, got a",
        ),
        ("max_concurrent: 4", "max_concurrent: 0", "upstreams.near: max_concurrent must be above 0, not 0"),
        (
            "max_concurrent: 4",
            "max_concurrent: yes",
            "upstreams.near.max_concurrent: expected a whole number, got true",
        ),
        ("weight: 3", "weight: -1", "models.fast.targets[0]: weight must be above 0, not -1"),
        ("weight: 3", "weight: .nan", "models.fast.targets[0]: weight must be above 0, not nan"),
        ("weight: 3", "weight: .inf", "models.fast.targets[0]: weight must be above 0, not inf"),
        ("model: small, ", "", "models.fast.targets[0].model: missing"),
        (
            "model: small",
            "model: 2026-01-01",
            "models.fast.targets[0].model: '2026-01-01' is read as a date",
        ),
        ("model: small", "model: 4.1", "models.fast.targets[0].model: expected a string, got a number"),
        (
            "upstream: near, model",
            "upstream: nera, model",
            "models.fast.targets[0]: no upstream is named 'nera'; there",
        ),
        (
            "upstream: near, fallbacks",
            "upstream: x, fallbacks",
            "default: no upstream is named 'x'; there are far, near",
        ),
        ("{env: GATEWAY_SECRET}", "secret-word", "secret: expected an object, got a string"),
        (
            "{env: GATEWAY_SECRET}",
            "{env: A, file: b}",
            "secret: a secret is {env: NAME} or {file: path}, and one",
        ),
        ("{sqlite: calls.db}", "{}", "journal: a journal is {sqlite: path} or"),
        (
            "http://127.0.0.1:1/v1",
            "127.0.0.1:1/v1",
            "upstreams.near: base_url must be an http or https address",
        ),
        (
            "http://127.0.0.1:1/v1",
            "'http://[::1/v1'",
            "upstreams.near: base_url must be an http or https address",
        ),
        ("http://127.0.0.1:1", "http://user:word@127.0.0.1:1", "upstreams.near: base_url must hold no key"),
        ("  fast:", "  1:", "models: the key 1 must be text: put it in quotes"),
        ("  far:", "  near:", "line 6: the key 'near' is there twice"),
        ("fallbacks: [far]}", "fallbacks: [far]", "line 16: expected ',' or"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(file: Path, old: str, new: str, words: str) -> None:
    file.write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(BadConfiguration) as caught:
        load(file)
    text = str(caught.value)
    assert text.startswith(f"{file}: {words}"), text
    assert "\n" not in text


def test_text_that_would_grow_without_end_is_not_read(file: Path) -> None:
    file.write_text(
        WHOLE.replace("{upstream: near, fallbacks", "&a {upstream: near, fallbacks") + "again: *a\n"
    )
    with pytest.raises(BadConfiguration, match="line 16: anchors and aliases are not read here"):
        load(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected an object, got null"),
        ("[]", "expected an object, got list"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("[" * 5_000, "maximum recursion depth"),
        ("\x00", "line 1|not YAML"),
        (WHOLE.partition("models:")[0], "models: there are none and no default either"),
        (WHOLE.replace("upstreams:", "upstreams: {}\nx:"), "unknown key 'x'"),
        ("secret: {env: A}\njournal: {sqlite: a}\nupstreams: {}", "upstreams: there must be one at least"),
    ],
    ids=["empty", "list", "object", "deep", "control", "no models", "foreign", "no upstreams"],
)
def test_what_is_no_configuration_is_refused(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(BadConfiguration, match=words):
        load(file)


def test_a_file_that_is_not_there_or_too_long_is_refused(file: Path) -> None:
    with pytest.raises(BadConfiguration, match="cannot be read: No such file"):
        load(file)
    file.write_bytes(b"#" * (5 * 2**20))
    with pytest.raises(BadConfiguration, match="longer than"):
        load(file)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_way(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as opened:
        opened.write(content)
        opened.flush()
        with pytest.raises(BadConfiguration):
            load(Path(opened.name))


def test_a_secret_is_read_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("  word\n")
    assert SecretSource(file="key").read(tmp_path) == "word"
    monkeypatch.setenv("A_SECRET", "other")
    assert SecretSource(env="A_SECRET").read(tmp_path) == "other"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (SecretSource(env="NOT_SET_ANYWHERE"), "the variable 'NOT_SET_ANYWHERE' is empty or not set"),
        (SecretSource(file="none"), "none' cannot be read: No such file"),
        (SecretSource(file="bytes"), "bytes' cannot be read: it is no text"),
        (SecretSource(file="blank"), "blank' is empty or not set"),
    ],
    ids=["variable", "no file", "bytes", "blank"],
)
def test_a_secret_that_is_not_there_is_said_by_its_place(
    tmp_path: Path, source: SecretSource, words: str
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "blank").write_text(" \n")
    with pytest.raises(SecretMissing, match=words):
        source.read(tmp_path)


def test_budgets_and_prices_are_read(file: Path) -> None:
    more = "budgets: [{scope: agent, tokens: 5}, {scope: tenant, name: acme, cost_usd: 0.5, per: month}]\n"
    file.write_text(f"{WHOLE}{more}prices: ours.yaml\n")
    read = load(file)
    assert read.prices == "ours.yaml"
    assert read.budgets == (
        Budget(scope="agent", name="*", tokens=5, per="day"),
        Budget(scope="tenant", name="acme", cost_usd=0.5, per="month"),
    )


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("scope: agent", "budgets[0]: a budget needs tokens, cost_usd or calls"),
        ("scope: team, tokens: 1", "budgets[0].scope: expected one of ['agent', 'location', 'tenant']"),
        ("scope: agent, tokens: -1", "budgets[0]: tokens must be 0 to"),
        ("scope: agent, cost_usd: .nan", "budgets[0]: cost_usd must be 0 to"),
        ("scope: agent, calls: 1, per: week", "budgets[0].per: expected one of ['day', 'month']"),
        ("scope: agent, calls: 1, name: ''", "budgets[0]: name must be that of the agent, or '*' for each"),
    ],
)
def test_a_wrong_budget_is_one_line_that_says_what_to_change(file: Path, budget: str, words: str) -> None:
    file.write_text(f"{WHOLE}budgets: [{{{budget}}}]\n")
    with pytest.raises(BadConfiguration) as caught:
        load(file)
    assert words in str(caught.value)


def test_the_file_that_the_how_to_shows_can_be_used(file: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "run-a-gateway.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    file.write_text(text)
    read = load(file)
    assert [target.weight for target in read.models["fast"].targets] == [3.0, 1.0]
    assert set(read.upstreams) == {"openai", "own"}


def test_the_servers_that_the_how_to_shows_can_be_used(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "use-mcp-servers.md"
    servers, agent = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    file.write_text(servers)
    key = secrets.token_hex(8)
    monkeypatch.setenv("TICKETS_KEY", key)
    (read,) = read_servers(file).values()
    assert read.headers["authorization"] == f"Bearer {key}" and read.settings.once == ("create",)
    assert {tool["mcp"]["server"] for tool in yaml.safe_load(agent)["portable"]["tools"]} == {"tickets"}
