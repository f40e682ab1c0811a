"""What a tenant gets when it leaves: a tar.gz of JSON lines, written whole or not at all."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator_tenancy.private_files import replace_private_file


def write_export(file: Path, parts: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Write an archive, durable when this returns.

    Args:
        file: Where to; one that is there is replaced.
        parts: Rows by what they are; the first row of `tenant` says whose export it is.

    Raises:
        AgentError: `invalid_input` when it cannot be written.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, rows in parts.items():
            data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
            member = tarfile.TarInfo(f"{name}.jsonl")
            member.size, member.mode = len(data), 0o600
            archive.addfile(member, io.BytesIO(data))
    replace_private_file(file, content.getvalue())


def exported_tenant(file: Path) -> str | None:
    """Return whose export a file is; None when it is none."""
    rows = read_export(file).get("tenant", ())
    return str(rows[0].get("tenant")) if rows else None


def read_export(file: Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the rows of an export by what they are; empty when it is none."""
    found = dict[str, Sequence[Mapping[str, Any]]]()
    try:
        with tarfile.open(file, mode="r:gz") as archive:
            for member in archive:
                opened = archive.extractfile(member)
                lines = [] if opened is None else opened.read().decode().splitlines()
                found[member.name.removesuffix(".jsonl")] = [json.loads(line) for line in lines]
    except (OSError, tarfile.TarError, EOFError, ValueError):
        return {}
    return found
