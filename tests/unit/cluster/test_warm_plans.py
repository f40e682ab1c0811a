"""Which warm pods are made and which removed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_cluster.warm_plans import AT_ONCE, Wanted, WarmPod, warm_plan

NOW = 10_000.0
KINDS = ("a", "b", "c")


def pod(job: str, digest: str = "a", **changes: object) -> WarmPod:
    made = WarmPod(namespace="acme", job=job, digest=digest, made=NOW - 10, state="waiting")
    return replace(made, **changes)  # type: ignore[arg-type]


def wanted(**counts: int) -> dict[str, Wanted]:
    return {digest: Wanted(count=count, seconds=100) for digest, count in counts.items()}


@pytest.mark.parametrize(
    "bad",
    [
        pod("bad", digest="old"),
        pod("bad", made=NOW - 100),
        pod("bad", lost="it is failed"),
        pod("bad", state="closed"),
        pod("bad", state="starting", lost="no quota"),
    ],
    ids=["another manifest", "too old", "failed", "closed before", "never began"],
)
def test_a_pod_that_may_serve_no_run_is_replaced(bad: WarmPod) -> None:
    plan = warm_plan(wanted(a=1), [bad], NOW)
    assert list(plan.remove) == [bad] and list(plan.make) == ["a"]


def test_what_is_not_wanted_any_more_goes_and_nothing_is_made() -> None:
    assert list(warm_plan({}, [pod("one")], NOW).remove) == [pod("one")]


def test_a_pod_that_a_run_has_is_neither_kept_nor_removed() -> None:
    plan = warm_plan(wanted(a=1), [pod("run", state="claimed", made=0, digest="old")], NOW)
    assert list(plan.remove) == [] and list(plan.make) == ["a"]


def test_of_too_many_those_are_kept_that_wait_and_are_young() -> None:
    pods = [pod("starts", state="starting", made=NOW), pod("old", made=NOW - 50), pod("young")]
    assert [one.job for one in warm_plan(wanted(a=1), pods, NOW).remove] == ["old", "starts"]


def test_few_start_at_once_and_none_that_rests() -> None:
    assert list(warm_plan(wanted(a=9), [], NOW).make) == ["a"] * AT_ONCE
    assert list(warm_plan(wanted(a=9), [pod("s", state="starting")], NOW).make) == ["a"] * (AT_ONCE - 1)
    assert list(warm_plan(wanted(a=1, b=1), [], NOW, resting={"a"}).make) == ["b"]


@given(
    st.dictionaries(st.sampled_from(KINDS), st.integers(0, 4)),
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.sampled_from(["starting", "waiting", "closed", "claimed"]),
            st.floats(0, 200),
            st.booleans(),
        ),
        max_size=12,
    ),
)
def test_the_pool_comes_to_what_is_wanted_and_stays_there(
    counts: dict[str, int], there: list[tuple[str, str, float, bool]]
) -> None:
    pods = [
        pod(f"p{number}", digest, state=state, made=NOW - age, lost="lost" if lost else None)
        for number, (digest, state, age, lost) in enumerate(there)
    ]
    claimed = [one for one in pods if one.state == "claimed"]
    made = 0
    for _ in range(20):
        plan = warm_plan(wanted(**counts), pods, NOW)
        assert not any(one.state == "claimed" for one in plan.remove)
        pods = [one for one in pods if one not in plan.remove]
        pods = [replace(one, state="waiting") if one.state == "starting" else one for one in pods]
        for digest in plan.make:
            made += 1
            pods.append(pod(f"new{made}", digest, made=NOW, state="starting"))
    kept = [one for one in pods if one.state != "claimed"]
    assert {digest: sum(one.digest == digest for one in kept) for digest in KINDS} == {
        digest: counts.get(digest, 0) for digest in KINDS
    }
    assert [one for one in pods if one.state == "claimed"] == claimed
    still = warm_plan(wanted(**counts), pods, NOW)
    assert not still.make and not still.remove
