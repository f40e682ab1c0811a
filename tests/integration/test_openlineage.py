"""Runs are told to a real HTTP receiver: by OpenLineage's own classes, nothing lost, and runs know nothing of it."""

import json
import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args, get_type_hints
from uuid import UUID

import attr
import dagster as dg
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from openlineage.client.event_v2 import RunEvent, RunState
from openlineage.client.generated import (
    base,
    dataset_version_dataset,
    error_message_run,
    parent_run,
    tags_run,
)
from openlineage.client.serde import Serde
from pydantic import TypeAdapter

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.json_values import Json
from orchestrator_sensors import OpenLineageComponent, openlineage_events
from orchestrator_sensors.openlineage_component import told
from orchestrator_sensors.openlineage_cursors import Cursor, Told, read_cursor, written_cursor
from orchestrator_sensors.openlineage_events import PRODUCER, RunFacts, run_events, step_run_id
from tests.integration.bundle_registries import real_registry
from tests.integration.how_tos import HOW_TO
from tests.integration.published_bundles import Location, Publisher

pytestmark = pytest.mark.filterwarnings(
    "ignore:`parse_obj_as` is deprecated"
)  # Dagster's own, where YAML is read

FACETS = {
    kind._get_schema(): kind  # pyright: ignore[reportPrivateUsage]  # the client tells a class's schema nowhere else
    for module in (base, dataset_version_dataset, error_message_run, parent_run, tags_run, openlineage_events)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, base.BaseFacet)
}
OWN = re.compile("agentOrchestrator_[a-z]+$")
"""Names of facets that the specification does not have: it wants a prefix."""


class Receiver:
    """A backend: keeps what it is sent, and is away when it is told to be."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.away_after: int | None = None
        self.asked = 0
        self.url = ""

    def of_run(self, run: str) -> list[dict[str, Any]]:
        """Return the events of a run."""
        return [event for event in self.events if event["run"]["runId"] == run]


@contextmanager
def receiving() -> Generator[Receiver]:
    """Serve a backend."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # a name of the base class
            content = self.rfile.read(int(self.headers["content-length"]))
            found.asked += 1
            away = found.away_after is not None and len(found.events) >= found.away_after
            if not away:
                assert self.path == "/api/v1/lineage"
                found.events.append(json.loads(content))
            self.send_response(503 if away else 201)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as made:
        yield made


class Sensor:
    """A sensor of the component, looked with as the daemon does."""

    def __init__(self, instance: dg.DagsterInstance, transport: dict[str, Any]) -> None:
        component = OpenLineageComponent.resolve_from_dict({"namespace": "team", "transport": transport})
        self._sensor = component.sensor()
        self._instance = instance
        self.cursor: str | None = None

    def look(self, *, patient: bool = False) -> str:
        """Look once, past a pause unless it is to be kept; return what is said."""
        if self.cursor is not None and not patient:
            self.cursor = self.cursor.replace('"pause_until":', '"was":')
        with dg.build_sensor_context(instance=self._instance, cursor=self.cursor) as context:
            tick = self._sensor.evaluate_tick(context)
        self.cursor = tick.cursor or self.cursor
        return tick.skip_message or ""


def http(backend: Receiver) -> dict[str, Any]:
    return {"type": "http", "url": backend.url}


@dg.asset(key=["team", "texts"])
def texts() -> dg.MaterializeResult[str]:
    return dg.MaterializeResult(
        value="MIT", metadata={"input_tokens": 3, "output_tokens": 4, "model_calls": 1}
    )


@dg.asset(key=["team", "report"], ins={"texts": dg.AssetIn(key=["team", "texts"])})
def report(texts: str) -> str:
    return f"all in all: {texts}"


@dg.asset(key=["team", "broken"])
def broken() -> str:
    raise RuntimeError("what somebody said in private")


def run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> str:
    return dg.materialize(list(assets), instance=instance, raise_on_error=False).run_id


def of_client(value: Mapping[str, Any], kind: type) -> None:
    """Hold an object to a class that the official client generates from the specification, and what it holds, too."""
    hints = get_type_hints(kind)
    fields = attr.fields(kind)
    assert set(value) <= {field.name for field in fields}, f"{kind.__name__} has no such field"
    for field in fields:
        if field.name not in value:
            assert field.default is not attr.NOTHING, f"{kind.__name__}.{field.name} is missing"
        elif field.name in ("facets", "inputFacets", "outputFacets"):
            for name, facet in value[field.name].items():
                of_client(facet, FACETS[facet["_schemaURL"]])
                assert facet["_producer"] == PRODUCER
                assert not facet["_schemaURL"].startswith(PRODUCER) or OWN.match(name)
        elif kinds := classes_in(hints[field.name]):
            single = attr.has(hints[field.name])
            several: list[Any] = [value[field.name]] if single else value[field.name]
            for one in several:
                of_client(one, kinds[0])
        else:
            TypeAdapter(hints[field.name]).validate_json(json.dumps(value[field.name]), strict=True)


def classes_in(hint: Any) -> list[type]:
    """Return the classes of the client that a hint names."""
    return [hint] if attr.has(hint) else [kind for part in get_args(hint) for kind in classes_in(part)]


def checked(event: Mapping[str, Any]) -> None:
    """Hold an event to the specification, as far as the official client's classes tell it: names, types, ids, times."""
    of_client(event, RunEvent)
    assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    assert event["producer"] == PRODUCER
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    parents = [event["run"]["facets"]["parent"]["run"]] if "parent" in event["run"].get("facets", {}) else []
    for run_of_it in (event["run"], *parents):
        UUID(run_of_it["runId"])


def states(events: list[dict[str, Any]]) -> list[str]:
    return [event["eventType"] for event in events]


WRONG: list[tuple[str, Json]] = [
    ("producer", ""),
    ("eventType", "DONE"),
    ("eventTime", "2026-11-27T07:00:00"),
    ("run.runId", "seven"),
    ("run.facets.parent.run", {}),
    ("run.facets.parent.run.runId", "seven"),
    ("run.facets.errorMessage.message", 7),
    ("run.facets.errorMessage.said", "so"),
    ("job", {"namespace": "team"}),
    ("inputs", [{"namespace": "team"}]),
    ("outputs", [{"namespace": "team", "name": "report", "facets": {"version": {}}}]),
]


@pytest.mark.parametrize(("path", "wrong"), WRONG)
def test_what_the_specification_does_not_have_is_seen(path: str, wrong: Json) -> None:
    run_id, parent = "0195e9a0-0000-7000-8000-000000000001", "0195e9a0-0000-7000-8000-000000000002"
    at = datetime(2026, 11, 27, tzinfo=UTC)
    facts = RunFacts(
        run=run_id,
        parent=parent,
        namespace="team",
        job="job",
        began=at,
        ended=at,
        state=RunState.FAIL,
        error="x",
    )
    event = json.loads(Serde.to_json(run_events(facts)[-1]))
    checked(event)
    *names, last = path.split(".")
    place = event
    for name in names:
        place = place[name]
    place[last] = wrong
    with pytest.raises((AssertionError, ValueError, KeyError)):
        checked(event)


def test_a_run_is_told_with_its_steps_and_what_they_made(
    instance: dg.DagsterInstance, backend: Receiver
) -> None:
    sensor = Sensor(instance, http(backend))
    assert sensor.look() == "nothing is new"
    first, failed = run(instance, texts, report), run(instance, broken)
    assert sensor.look().endswith("events were taken")
    for event in backend.events:
        checked(event)
    assert (
        states(backend.of_run(first))[:2] == ["START", "RUNNING"]
        and states(backend.of_run(first))[-1] == "COMPLETE"
    )
    step = backend.of_run(step_run_id(first, "team__report"))
    assert set(states(step)) == {"START", "COMPLETE"}
    (last,) = {json.dumps(one) for one in step if one["eventType"] == "COMPLETE"}
    told_last = json.loads(last)
    assert [one["name"] for one in told_last["inputs"]] == ["team/texts"]
    assert [one["name"] for one in told_last["outputs"]] == ["team/report"]
    assert told_last["inputs"][0]["facets"]["version"]["datasetVersion"]
    assert told_last["run"]["facets"]["parent"]["run"]["runId"] == first
    usage = backend.of_run(step_run_id(first, "team__texts"))[-1]["run"]["facets"]["agentOrchestrator_usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["modelCalls"]) == (3, 4, 1)
    assert states(backend.of_run(failed))[-1] == "FAIL"
    error = backend.of_run(failed)[-1]["run"]["facets"]["errorMessage"]
    assert error["message"] == "failed: team__broken"
    assert "private" not in json.dumps(backend.events), "what errors say stays in Dagster"
    count = len(backend.events)
    assert sensor.look() == "nothing is new" and len(backend.events) == count
    run(instance, texts)
    assert sensor.look() != "nothing is new" and len(backend.events) > count


def test_a_backend_that_is_away_loses_nothing_and_runs_are_unharmed(
    instance: dg.DagsterInstance, backend: Receiver
) -> None:
    sensor = Sensor(instance, http(backend))
    runs = [run(instance, texts) for _ in range(4)]
    backend.away_after = 5
    pauses: list[float] = []
    for _ in range(6):
        said = sensor.look()
        assert " events were taken, then: RetryError: " in said and "503" in said
        pauses.append(read_cursor(sensor.cursor).pause_until - time.time())
        assert sensor.look(patient=True).startswith("the backend did not answer; asked again in")
    assert [round(pause, -1) for pause in pauses] == [30, 60, 120, 240, 480, 600]
    asked = backend.asked
    assert "asked again" in sensor.look(patient=True) and backend.asked == asked
    assert instance.get_run_by_id(run(instance, texts)) is not None
    backend.away_after = None
    assert sensor.look().endswith("events were taken")
    for one in runs:
        assert {"START", "COMPLETE"} <= set(states(backend.of_run(one)))
        assert len({event["job"]["name"] for event in backend.of_run(one)}) == 1
    assert read_cursor(sensor.cursor).failures == 0


def test_one_whose_look_was_cut_off_tells_it_again_with_the_same_ids(
    instance: dg.DagsterInstance, backend: Receiver
) -> None:
    sensor = Sensor(instance, http(backend))
    one = run(instance, texts, report)
    before = sensor.cursor
    sensor.look()
    ids = {event["run"]["runId"] for event in backend.events}
    count, sensor.cursor = len(backend.events), before
    sensor.look()
    assert len(backend.events) == 2 * count and {event["run"]["runId"] for event in backend.events} == ids
    assert ids == {one, step_run_id(one, "team__texts"), step_run_id(one, "team__report")}


def test_a_file_and_the_console_are_told_too(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Receiver
) -> None:
    run(instance, texts)
    file = tmp_path / "lineage.jsonl"
    Sensor(instance, {"type": "file", "log_file_path": str(file), "append": True}).look()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert "COMPLETE" in states(lines)
    for line in lines:
        checked(line)
    assert Sensor(instance, {"type": "console"}).look().endswith("events were taken")
    monkeypatch.setenv("OPENLINEAGE_URL", backend.url)
    by_variables = OpenLineageComponent(namespace="team").sensor()
    with dg.build_sensor_context(instance=instance) as context:
        by_variables.evaluate_tick(context)
    assert len(backend.events) == len(lines)


def test_what_the_how_to_shows_is_a_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (HOW_TO / "tell-openlineage.md").read_text(), re.DOTALL)
    monkeypatch.setenv("LINEAGE_KEY", "of this test")
    shown = yaml.safe_load(text)
    assert shown["type"] == "orchestrator_sensors.OpenLineageComponent"
    component = OpenLineageComponent.resolve_from_yaml(yaml.safe_dump(shown["attributes"]))
    assert component.transport is not None and component.transport["auth"]["apiKey"] == "of this test"
    assert component.sensor().name == "openlineage"


@pytest.mark.usefixtures("fake_framework")
def test_a_published_agent_is_told_with_its_publish(
    tmp_path: Path, endpoint: ModelEndpoint, instance: dg.DagsterInstance, backend: Receiver
) -> None:
    endpoint.reset()
    for folder in ("registry", "publisher"):
        (tmp_path / folder).mkdir()
    with real_registry(tmp_path / "registry") as registry:
        publisher = Publisher(tmp_path / "publisher", registry)
        url = endpoint.script("openlineage", Script())
        location = Location(publisher.trust, instance, url, registry=registry)
        digest = publisher.publish("1.2.0")
        (asked,) = location.look()
        result = location.run(asked.tags)
    assert result.success
    Sensor(instance, http(backend)).look()
    last = backend.of_run(step_run_id(result.run_id, "team__reviews"))[-1]
    checked(last)
    bundle = last["run"]["facets"]["agentOrchestrator_bundle"]
    assert (bundle["bundle"], bundle["publisher"], bundle["digest"]) == (
        "acme/reviewer 1.2.0",
        "acme",
        digest,
    )
    assert [one["name"] for one in last["inputs"]] == ["team/bundles/acme/reviewer"]
    assert last["inputs"][0]["facets"]["version"]["datasetVersion"] == digest


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=40))
def test_a_cursor_forgets_only_what_is_told_and_settled(steps: list[tuple[int, bool]]) -> None:
    done, seen = Told(), set[int]()
    for number, settles in steps:
        done = done.with_event(number) if number > done.after else done
        seen.add(number)
        if settles:
            done = done.settled(number)
        assert all(one in done.young or one <= done.after for one in seen)
    cursor = Cursor(kinds={"RUN": done}, failures=2, pause_until=3.5)
    assert read_cursor(written_cursor(cursor)) == cursor


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"kinds": 3}'])
def test_a_cursor_that_cannot_be_read_begins_anew(text: str | None, instance: dg.DagsterInstance) -> None:
    assert read_cursor(text) == Cursor()
    assert told(instance, read_cursor(text), "team", lambda _event: None)[1] == "nothing is new"
