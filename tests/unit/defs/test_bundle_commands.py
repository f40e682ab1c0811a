"""What an installation without the room of bundles says, and what words do not go together."""

from click.testing import CliRunner

from orchestrator_defs.cli import main


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, words)
    return done.exit_code, done.output


def test_a_name_that_is_none_is_told() -> None:
    status, said = run("bundle", "init", "acme")
    assert status == 1 and "Error: malformed: name: 'acme' must be publisher/agent" in said
