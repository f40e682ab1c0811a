"""The matrix of what each runtime was proved to do: framework, version, capability."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator_defs.text_tables import text_table
from orchestrator_runtimes.capabilities import Capability


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the suite found out about one capability of one runtime.

    Attributes:
        supported: Whether the adapter declares it.
        reason: Why not, or how far; empty when there is nothing to add.
        proofs: Tests that ran for it.
        failed: How many of them failed.
    """

    supported: bool
    reason: str
    proofs: int
    failed: int

    @property
    def holds(self) -> bool:
        """True when what is declared was proved, or nothing is declared."""
        return not self.supported or (self.proofs > 0 and self.failed == 0)

    def __str__(self) -> str:
        """Return the cell of the matrix."""
        if not self.supported:
            return "no"
        if not self.proofs:
            return "UNPROVED"
        return f"{self.failed}/{self.proofs} FAILED" if self.failed else f"yes ({self.proofs})"


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """One runtime: the framework's version is empty when its guest did not start."""

    framework: str
    version: str
    proofs: Mapping[Capability, Proof]

    def to_json(self) -> str:
        """Return the row as the suite wrote it."""
        capabilities = {capability.value: asdict(proof) for capability, proof in self.proofs.items()}
        return json.dumps(
            {"framework": self.framework, "version": self.version, "capabilities": capabilities}
        )


def read_matrix(file: Path) -> list[MatrixRow]:
    """Read the lines that the conformance suite wrote with `--matrix`; a missing file has none."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [_row(json.loads(line)) for line in lines]


def _row(line: Mapping[str, Any]) -> MatrixRow:
    return MatrixRow(
        framework=line["framework"],
        version=line["version"],
        proofs={capability: Proof(**line["capabilities"][capability.value]) for capability in Capability},
    )


def cells(rows: Sequence[MatrixRow]) -> list[list[str]]:
    """Return the matrix with a line for each capability and a column for each runtime, headings first.

    Runtimes side by side fit a terminal: there are fewer of them than capabilities.
    """
    head = ["capability", *(f"{row.framework} {row.version}".strip() for row in rows)]
    return [
        head,
        *([capability.value, *(str(row.proofs[capability]) for row in rows)] for capability in Capability),
    ]


def as_text(rows: Sequence[MatrixRow]) -> str:
    """Return the matrix for a terminal."""
    return text_table(cells(rows))


def as_page(rows: Sequence[MatrixRow], command: str) -> str:
    """Return the matrix as a page of Markdown, with the reason for every `no`.

    Args:
        rows: What was proved.
        command: What wrote the page, for people who want to write it again.
    """
    head, *body = cells(rows)
    lines = [
        "# Conformance",
        "",
        f"Written by `{command}`: `yes (tests that proved it)`, `no` with its reason below.",
        "",
    ]
    lines += [_line(head), _line(["---"] * len(head)), *map(_line, body), "", "## Reasons", ""]
    lines += [
        f"- **{row.framework}**, {capability.value}: {proof.reason}"
        for row in rows
        for capability, proof in row.proofs.items()
        if proof.reason
    ]
    return "\n".join(lines) + "\n"


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"
