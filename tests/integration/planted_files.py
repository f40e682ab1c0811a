"""Looks for values in all that stands in folders: in files, in the cells of databases, compressed or in base64."""

import base64
import contextlib
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path


def readings(data: bytes, depth: int = 3) -> Iterator[bytes]:
    """Yield what bytes may be read as: themselves, and what they hold compressed or in base64."""
    yield data
    if depth == 0:
        return
    with contextlib.suppress(zlib.error):
        yield from readings(zlib.decompress(data), depth - 1)
    for alphabet in (None, b"-_"):
        with contextlib.suppress(ValueError):
            yield from readings(base64.b64decode(data, alphabet, validate=True), depth - 1)
    start, _, rest = data.partition(b":")
    if rest and len(start) < 20:
        yield from readings(rest, depth - 1)


def kept(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield all that stands in the files of a folder, and in the cells of its databases."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield file.name, file.read_bytes()
        if file.suffix != ".db":
            continue
        with contextlib.closing(sqlite3.connect(file)) as database:
            tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for row in database.execute(f"SELECT * FROM {table}").fetchall():
                    for cell in row:
                        yield f"{file.name}: {table}", cell if isinstance(cell, bytes) else str(cell).encode()


def planted_in(*folders: Path, values: Sequence[str], logs: str = "") -> set[tuple[str, str]]:
    """Return where which of some values stand."""
    places = [one for folder in folders for one in kept(folder)]
    return {
        (place, value)
        for place, data in [*places, ("logs", logs.encode())]
        for reading in readings(data)
        for value in values
        if value.encode() in reading
    }
