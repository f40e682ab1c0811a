"""Values of a real instance: of many who want the same, one has it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance

from orchestrator_cluster.instance_values import InstanceValues
from tests.integration.postgres_servers import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def values(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path
) -> Iterator[InstanceValues]:
    storage = {"storage": {"postgres": {"postgres_url": postgres.database()}}}
    config = {"telemetry": {"enabled": False}, **(storage if request.param == "postgres" else {})}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        yield InstanceValues(instance)


def at_once(act: Callable[[int], bool], count: int = 8) -> Counter[bool]:
    """Let many threads act; return how often each answer was given."""
    told, start = Counter[bool](), threading.Barrier(count)

    def one(number: int) -> None:
        start.wait()
        told[act(number)] += 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_of_many_who_set_a_value_one_does(values: InstanceValues) -> None:
    assert at_once(lambda number: values.add("key", str(number))) == {True: 1, False: 7}
    assert values.read("key") in {str(number) for number in range(8)}


def test_of_many_who_change_a_value_one_does(values: InstanceValues) -> None:
    assert values.add("key", "waiting")
    assert at_once(lambda number: values.swap("key", "waiting", f"run {number}")) == {True: 1, False: 7}
    assert (values.read("key") or "").startswith("run ")


def test_values_are_found_by_their_prefix_which_is_no_pattern(values: InstanceValues) -> None:
    for key in ("a_b/one", "a_b/two", "axb/three", "a%/four"):
        assert values.add(key, key)
    assert values.below("a_b/") == {"one": "a_b/one", "two": "a_b/two"}
    values.remove("a_b/one")
    values.remove("a_b/one")
    assert values.below("a_b/") == {"two": "a_b/two"} and values.read("a_b/one") is None
    assert not values.swap("a_b/one", "a_b/one", "new")


def test_who_reads_many_times_reads_what_others_have_written(values: InstanceValues) -> None:
    with values.reading() as read:
        assert read("key") is None
        assert values.add("key", "waiting") and read("key") == "waiting"
        assert values.swap("key", "waiting", "run 1") and read("key") == "run 1"
