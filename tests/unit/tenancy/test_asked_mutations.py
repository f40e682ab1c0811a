"""Which mutations an operation asks for, however it is written."""

import pytest

from orchestrator_tenancy.web.asked_mutations import asked_mutations


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("{ runsOrError { __typename } }", []),
        ("mutation { a: launchRun { __typename } b: launchRun { __typename } c }", ["launchRun", "c"]),
        (
            "mutation { ... { deleteRun } ...more } fragment more on Mutation { wipeAssets }",
            ["deleteRun", "wipeAssets"],
        ),
        ("query q { x } mutation m { terminateRun }", ["terminateRun"]),
        ("mutation { ...loop } fragment loop on Mutation { ...loop deleteRun }", ["deleteRun"]),
        ("mutation { ...missing }", []),
        ("mutation {", []),
    ],
)
def test_every_mutation_is_found(query: str, found: list[str]) -> None:
    assert asked_mutations(query) == found
