"""What `orchestrator daemon` refuses before it starts anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator_defs.cli import main


@pytest.mark.parametrize("given", ["option", "variable"])
def test_a_marketplace_is_an_address(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    words = ["daemon", "--empty-workspace"]
    if given == "option":
        words += ["--marketplace", "marketplace.example"]
    else:
        monkeypatch.setenv("ORCHESTRATOR_MARKETPLACES", "https://marketplace.example marketplace.example")
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "--marketplace: 'marketplace.example' is no address: write such as https://…" in done.output
