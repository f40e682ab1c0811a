"""Dagster's records, changed; checked against dagster-shared 1.13.27."""

from typing import Any, TypeVar

from dagster_shared.record import copy  # pyright: ignore[reportUnknownVariableType] # its keywords have no types

_Record = TypeVar("_Record")


def changed(record: _Record, **fields: Any) -> _Record:
    """Return a record like another but for some fields; what a new Dagster adds to it stays."""
    return copy(record, **fields)
