"""Values of a Dagster instance that are changed only from what they are known to be.

Dagster's own methods write whatever was there before; of two who want one thing, both would believe to have it. The
table is the one that `DagsterInstance.run_storage` keeps its cursors in. Checked against Dagster 1.13; where it moves,
`tests/integration/test_instance_values.py` fails.
"""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from dagster import DagsterInstance
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import KeyValueStoreTable
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

_KEY: Final[Any] = KeyValueStoreTable.c.key
_VALUE: Final[Any] = KeyValueStoreTable.c.value


class NoValues(RuntimeError):
    """The instance keeps its runs in no SQL database; the text says what to change."""


class InstanceValues:
    """Texts by key, in the database of an instance's runs.

    Args:
        instance: Whose they are.

    Raises:
        NoValues: It keeps its runs elsewhere.
        sqlalchemy.exc.DBAPIError: From every method, when the database does not answer.
    """

    def __init__(self, instance: DagsterInstance) -> None:
        """Connect to nothing yet."""
        storage = instance.run_storage
        if not isinstance(storage, SqlRunStorage):
            raise NoValues(
                f"runs are kept in a {type(storage).__name__}: set `storage` in dagster.yaml to PostgreSQL"
            )
        self._storage: Final = storage

    def add(self, key: str, value: str) -> bool:
        """Set a value that is not there; return False where there is one."""
        try:
            with self._connection() as database:
                database.execute(insert(KeyValueStoreTable).values(key=key, value=value))
        except IntegrityError:
            return False
        return True

    def swap(self, key: str, old: str, new: str) -> bool:
        """Change a value from one to another; return False where it was not that one."""
        command = update(KeyValueStoreTable).where(key == _KEY, old == _VALUE).values(value=new)
        with self._connection() as database:
            return database.execute(command).rowcount == 1

    def read(self, key: str) -> str | None:
        """Return a value; None where there is none."""
        with self.reading() as read:
            return read(key)

    def below(self, prefix: str) -> Mapping[str, str]:
        """Return all values whose keys begin so, by the rest of their keys."""
        command = select(_KEY, _VALUE).where(_KEY.startswith(prefix, autoescape=True))
        with self._connection() as database:
            return {str(key)[len(prefix) :]: str(value) for key, value in database.execute(command)}

    def remove(self, key: str) -> None:
        """Forget a value, if it is there."""
        with self._connection() as database:
            database.execute(delete(KeyValueStoreTable).where(key == _KEY))

    @contextlib.contextmanager
    def reading(self) -> Generator[Callable[[str], str | None]]:
        """Hold one connection, for who reads many times a second; each time what is there then is read."""
        with self._connection() as database:

            def read(key: str) -> str | None:
                found: Any = database.execute(select(_VALUE).where(key == _KEY)).scalar_one_or_none()
                return None if found is None else str(found)

            yield read

    def _connection(self) -> contextlib.AbstractContextManager[Connection]:
        return self._storage.connect()
