"""Assets whose executions wait for decisions: what a later run of the same asset goes on with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_resources.state_databases import StateDatabase

_HOLDS: Final = "waiting assets"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS waiting_assets"
    " (name TEXT PRIMARY KEY, root TEXT NOT NULL, run TEXT NOT NULL, resumed_by TEXT)",
)


@dataclass(frozen=True, kw_only=True)
class WaitingAsset:
    """An asset, or one partition of it, that a run left without a value.

    Attributes:
        asset: Its key, with slashes.
        partition: None where it has none.
        root: What names its executions, whichever run goes on with them: the first run.
        run: The run that ended with it waiting.
        resumed_by: The run that goes on with it; None while there is none.
    """

    asset: str
    partition: str | None
    root: str
    run: str
    resumed_by: str | None = None


class WaitingAssets:
    """Waiting assets, in the database of the approvals.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database takes no more or does not answer.
    """

    def __init__(self, database: StateDatabase) -> None:
        """Prepare the table."""
        self._database = database
        database.prepare(_HOLDS, _TABLES)

    def list(self) -> Sequence[WaitingAsset]:
        """Return every waiting asset, by name."""
        with self._database.transaction(_HOLDS) as database:
            rows = database.execute("SELECT name, root, run, resumed_by FROM waiting_assets ORDER BY name")
            return [_waiting(*row) for row in rows.fetchall()]

    def find(self, asset: str, partition: str | None) -> WaitingAsset | None:
        """Return a waiting asset; None when it does not wait."""
        wanted = "SELECT name, root, run, resumed_by FROM waiting_assets WHERE name = ?"
        with self._database.transaction(_HOLDS) as database:
            row = database.execute(wanted, (_name(asset, partition),)).fetchone()
        return None if row is None else _waiting(*row)

    def wait(self, asset: str, partition: str | None, *, root: str, run: str) -> None:
        """Note that a run ends with an asset waiting."""
        with self._database.transaction(_HOLDS) as database:
            database.execute(
                "INSERT INTO waiting_assets (name, root, run) VALUES (?, ?, ?) ON CONFLICT (name)"
                " DO UPDATE SET root = excluded.root, run = excluded.run, resumed_by = NULL",
                (_name(asset, partition), root, run),
            )

    def resume(self, asset: str, partition: str | None, run: str) -> None:
        """Note that a run goes on with a waiting asset."""
        with self._database.transaction(_HOLDS) as database:
            database.execute(
                "UPDATE waiting_assets SET resumed_by = ? WHERE name = ?", (run, _name(asset, partition))
            )

    def end(self, asset: str, partition: str | None) -> None:
        """Note that an asset has its value."""
        with self._database.transaction(_HOLDS) as database:
            database.execute("DELETE FROM waiting_assets WHERE name = ?", (_name(asset, partition),))


def _name(asset: str, partition: str | None) -> str:
    return json.dumps([asset, partition])


def _waiting(name: str, root: str, run: str, resumed_by: str | None) -> WaitingAsset:
    asset, partition = json.loads(name)
    return WaitingAsset(asset=asset, partition=partition, root=root, run=run, resumed_by=resumed_by)
