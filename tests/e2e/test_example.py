"""The example's agents of all frameworks, in one pod."""

import pytest

from tests.e2e.images import FRAMEWORKS
from tests.e2e.platforms import Platform

pytestmark = pytest.mark.timeout(1_500)


def test_the_examples_agents_of_all_frameworks_review_in_one_pod(platform: Platform) -> None:
    assets = [["distributions"], ["declared_licences"]]
    assets += [["reviews", kind, name] for kind in ("native", "portable") for name in FRAMEWORKS]
    one_row = {"ops": {"distributions": {"config": {"rows": 1}}}}
    run_id = platform.launch("dependency_review", "__ASSET_JOB", assets=assets, config=one_row)
    run = platform.ends(run_id, "SUCCESS", 1_200)
    sidecars = [one["name"].split("-")[-1] for one in platform.pod(run_id)["spec"]["initContainers"]]
    assert sorted(sidecars) == sorted(FRAMEWORKS)
    for path in assets:
        assert f"Materialized value {' '.join(path)}." in run.text
    assert len(platform.answered("smollm2")) == 2 * len(FRAMEWORKS), (
        "each agent had an execution, and an answer"
    )
