"""What an installation without the room of bundles says, and what words do not go together."""

import pytest
from click.testing import CliRunner

from orchestrator_defs.cli import main


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, words)
    return done.exit_code, done.output


@pytest.mark.parametrize("group", ["bundle", "marketplace"])
def test_a_missing_library_is_told(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_name: str) -> None:
        return None

    monkeypatch.setattr("orchestrator_defs.bundle_commands.find_spec", nothing)
    words = {"bundle": ["bundle", "check"], "marketplace": ["marketplace", "search", "--at", "http://x"]}[
        group
    ]
    status, said = run(*words)
    assert status == 1 and "install agent-orchestrator[marketplace]" in said


def test_a_name_that_is_none_is_told() -> None:
    status, said = run("bundle", "init", "acme")
    assert status == 1 and "Error: malformed: name: 'acme' must be publisher/agent" in said
