"""The fair queue over Dagster's own storage, in files and in PostgreSQL: what starts, what is refused, what is told."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance, DagsterRunStatus

from orchestrator_defs.cli import main
from orchestrator_resources.agent_needs import TAG, AgentNeed, need_tag
from orchestrator_resources.gpus import GpuRequest
from orchestrator_tenancy import tenant_store
from orchestrator_tenancy.queue import seam_daemon
from orchestrator_tenancy.queue.seam_coordinator import StockDaemon
from orchestrator_tenancy.queue.seam_daemon import FairQueueDaemon, NoFairQueue, daemons, fair_coordinator
from tests.integration.queue_instances import (
    TENANTS,
    begin,
    end,
    job_of,
    launcher_of,
    log,
    opened,
    prepare,
    start_stock_daemons,
    status,
    submit,
    tick,
    write_tenants,
)
from tests.integration.tenant_directories import Directory

QUEUED, FAILED = DagsterRunStatus.QUEUED, DagsterRunStatus.FAILURE


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def instance(home: Path, stored: str) -> Iterator[DagsterInstance]:
    prepare(home, stored, runs=6, starts_per_tick=4)
    with opened(home) as found:
        yield found


def gpu_tag(count: int) -> dict[str, str]:
    return {TAG: need_tag(AgentNeed(framework="crewai", environment="abc", gpu=GpuRequest(count=count)))}


def test_a_backlog_of_one_tenant_shares_the_places_by_weight_with_others(instance: DagsterInstance) -> None:
    many = [submit(instance, "free_for_all") for _ in range(8)]
    few = [submit(instance, "blue") for _ in range(6)]
    first = tick(instance)
    assert len(first) == 4, "no more are started at a tick"
    second = tick(instance)
    assert len(second) == 2, "all places are taken"
    started = {*first, *second}
    assert sum(run.run_id in started for run in few) >= 4, "a weight of 4 beside 1"
    assert sum(run.run_id in started for run in many) >= 1
    assert tick(instance) == []


def test_a_tenants_own_quota_holds_over_all_its_locations_and_leaves_the_rest_to_others(
    instance: DagsterInstance,
) -> None:
    mine = [submit(instance, location) for location in ("red-one", "red-two", "red-one")]
    other = submit(instance, "blue")
    started = [*tick(instance), *tick(instance)]
    assert set(started) == {mine[0].run_id, mine[1].run_id, other.run_id}
    begin(instance, started)
    end(instance, [mine[0].run_id])
    assert tick(instance) == [mine[2].run_id]


def test_more_than_the_queue_of_a_tenant_takes_is_refused_with_the_reason_and_not_tried_again(
    instance: DagsterInstance,
) -> None:
    taken = [submit(instance, "red-one") for _ in range(5)]
    refused = submit(instance, "red-two")
    assert {status(instance, run) for run in taken} == {QUEUED}
    assert status(instance, refused) is FAILED
    assert any(
        "the tenant 'red' has 5 runs waiting of its 5: submit it when some have started" in line
        for line in log(instance, refused)
    )
    assert refused.tags["dagster/max_retries"] == "0"
    assert status(instance, submit(instance, "blue")) is QUEUED
    assert len(tick(instance)) == 3 and status(instance, submit(instance, "red-one")) is QUEUED


def test_gpus_are_those_of_the_steps_of_the_plan_whatever_the_runs_tags_say(
    instance: DagsterInstance,
) -> None:
    lies = {TAG: "", "orchestrator/gpus": "0"}
    one, two = (
        submit(instance, "red-one", job=job_of("red-one", tags=gpu_tag(1)), tags=lies) for _ in range(2)
    )
    plain = submit(instance, "red-two")
    assert tick(instance) == [one.run_id, plain.run_id], "its quota is one GPU"
    assert status(instance, two) is QUEUED
    big = submit(instance, "red-one", job=job_of("red-one", tags=gpu_tag(2)))
    assert status(instance, big) is FAILED
    assert any("it needs 2 GPUs, and the tenant 'red' may have 1" in line for line in log(instance, big))


def test_a_suspended_tenant_starts_nothing_and_goes_on_when_it_is_resumed(
    home: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_store, "FRESH_SECONDS", 0.0)
    before = submit(instance, "blue")

    def suspend(yes: bool) -> None:
        written = {**TENANTS, "tenants": {**TENANTS["tenants"]}}
        written["tenants"]["blue"] = {**written["tenants"]["blue"], "suspended": yes}
        write_tenants(home, written)

    suspend(True)
    assert tick(instance) == []
    refused = submit(instance, "blue")
    assert status(instance, refused) is FAILED
    assert any("the tenant 'blue' is suspended" in line for line in log(instance, refused))
    suspend(False)
    assert tick(instance) == [before.run_id]


def test_a_quota_below_what_goes_on_ends_nothing_and_another_plan_counts_at_once(
    home: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_store, "FRESH_SECONDS", 0.0)
    runs = [submit(instance, "blue") for _ in range(6)]
    going = tick(instance)
    assert going == [run.run_id for run in runs[:4]]
    begin(instance, going)

    def blue(**fields: Any) -> None:
        tenants = {**TENANTS["tenants"], "blue": {**TENANTS["tenants"]["blue"], **fields}}
        write_tenants(home, {**TENANTS, "tenants": tenants})

    blue(quotas={"runs": 1})
    assert tick(instance) == []
    assert {status(instance, run) for run in going} == {DagsterRunStatus.STARTED}
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    told = json.loads(ran("queue", "--json", "--tenant", "blue"))["waiting"]
    assert [row["run"] for row in told] == [run.run_id for run in runs[4:]]
    assert told[0]["why"] == "the tenant 'blue' has 4 of its 1 runs going"
    end(instance, going[:3])
    assert tick(instance) == [], "one goes on, which is all that it may have"
    end(instance, going[3:])
    assert tick(instance) == [runs[4].run_id] and tick(instance) == []
    blue(plan="free")  # two runs at once
    assert tick(instance) == [runs[5].run_id]


def test_gpus_that_a_tenant_may_no_more_have_keep_a_run_waiting_and_it_says_why(
    home: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_store, "FRESH_SECONDS", 0.0)
    run = submit(instance, "red-one", job=job_of("red-one", tags=gpu_tag(1)))
    red = {**TENANTS["tenants"]["red"], "quotas": {"gpus": 0}}
    write_tenants(home, {**TENANTS, "tenants": {**TENANTS["tenants"], "red": red}})
    assert tick(instance) == [] and status(instance, run) is QUEUED
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert "it needs 1 GPUs, and the tenant 'red' may have 0: it cannot start" in ran("queue", run.run_id[:8])
    write_tenants(home, TENANTS)
    assert tick(instance) == [run.run_id]


def test_pools_and_limits_by_tag_hold_and_let_others_pass(home: Path, stored: str) -> None:
    limit = {"key": "heavy", "value": "yes", "limit": 1}
    prepare(home, stored, concurrency={"runs": {"max_concurrent_runs": 6, "tag_concurrency_limits": [limit]}})
    with opened(home) as instance:
        instance.event_log_storage.set_concurrency_slots("blue_pool", 1)
        pooled = [submit(instance, "blue", job=job_of("blue", "blue_pool")) for _ in range(2)]
        heavy = [submit(instance, "blue", tags={"heavy": "yes"}) for _ in range(2)]
        plain = submit(instance, "blue")
        assert tick(instance) == [pooled[0].run_id, heavy[0].run_id, plain.run_id]


def test_priority_orders_the_runs_of_a_tenant(instance: DagsterInstance) -> None:
    low, odd, high = (submit(instance, "blue", priority=priority) for priority in (-1, None, 2))
    assert tick(instance) == [high.run_id, odd.run_id, low.run_id]


def test_the_log_of_a_run_says_why_it_waits_once(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seam_daemon, "TELL_AFTER_SECONDS", 0.0)
    runs = [submit(instance, "red-one") for _ in range(3)]
    daemon = FairQueueDaemon(1)
    assert len(tick(instance, daemon)) == 2
    for _ in range(3):
        assert tick(instance, daemon) == []
    told = [line for line in log(instance, runs[2]) if "The run waits" in line]
    assert told == ["The run waits: the tenant 'red' has 2 of its 2 runs going."]


def test_tenants_that_the_process_has_open_are_not_opened_again(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.delenv("ORCHESTRATOR_CONTROL_URL", raising=False)
    fair_coordinator(instance).use(Directory(TENANTS))
    runs = [submit(instance, "red-one") for _ in range(3)]
    assert tick(instance) == [run.run_id for run in runs[:2]], "the free plan has two places"


def test_what_is_told_does_not_hold_up_what_starts(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seam_daemon, "TELL_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(seam_daemon, "TELL_SECONDS", -1.0)
    runs = [submit(instance, "red-one") for _ in range(3)]
    assert len(tick(instance)) == 2
    assert not [line for line in log(instance, runs[2]) if "The run waits" in line]


def test_a_long_queue_is_read_in_portions_the_oldest_first(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seam_daemon, "NEW_PER_TICK", 2)
    runs = [submit(instance, "blue").run_id for _ in range(5)]
    daemon = FairQueueDaemon(1)
    assert [tick(instance, daemon) for _ in range(3)] == [runs[:2], runs[2:4], runs[4:]]


def test_a_new_daemon_takes_back_what_the_last_one_did_not_start(instance: DagsterInstance) -> None:
    lost, done = submit(instance, "blue"), submit(instance, "blue")
    assert tick(instance) == [lost.run_id, done.run_id]
    launcher_of(instance).file.write_text(f"{done.run_id}\n")
    assert tick(instance) == [lost.run_id]


def test_dagsters_own_daemon_does_not_start_over_a_fair_queue_and_ours_only_over_one(
    instance: DagsterInstance,
) -> None:
    with pytest.raises(StockDaemon, match="start `orchestrator daemon`"):
        start_stock_daemons(instance)
    kinds = [type(daemon).__name__ for daemon in daemons(instance)]
    assert {"FairQueueDaemon", "WokenSensorDaemon", "SchedulerDaemon"} <= {*kinds}
    assert "QueuedRunCoordinatorDaemon" not in kinds
    with DagsterInstance.local_temp() as other, pytest.raises(NoFairQueue, match="run_coordinator"):
        list(daemons(other))


def test_the_command_line_tells_of_every_run_that_waits_why(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(home, "", runs=6)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with opened(home) as instance:
        runs = [submit(instance, "red-one") for _ in range(3)]
        other = submit(instance, "nobodys")
        assert "it is about to start" in ran("queue", other.run_id[:8])
        assert len(tick(instance)) == 3
    shown = ran("queue")
    assert re.search(r"^red +1 +2 of 2 +0 of 1 +1$", shown, re.MULTILINE)
    assert re.search(r"^all +3 of 6 +0 +1$", shown, re.MULTILINE)
    assert f"{runs[2].run_id[:8]}  red" in shown and "the tenant 'red' has 2 of its 2 runs going" in shown
    told = json.loads(ran("queue", "--json", "--tenant", "red"))
    assert [(row["run"], row["place"], row["location"]) for row in told["waiting"]] == [
        (runs[2].run_id, 1, "red-one")
    ]
    assert "no run that waits begins with 'zzzz'" in ran("queue", "zzzz", fails=True)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert "the instance has no fair queue" in ran("queue", fails=True)
    assert "the instance has no fair queue" in ran("daemon", "--empty-workspace", fails=True)


def ran(*words: str, fails: bool = False) -> str:
    result = CliRunner().invoke(main, words)
    assert (result.exit_code != 0) is fails, result.output
    return result.output
