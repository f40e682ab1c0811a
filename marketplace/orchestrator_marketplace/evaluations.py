"""Evaluation cases of a bundle: inputs, and what a good output holds; one JSON object a line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.codec import InvalidMessage, decode
from orchestrator_runtimes.json_values import Json, NotJson, parse
from orchestrator_runtimes.output_schemas import mismatch

MOST_CASES: Final = 1_000
LONGEST_NAME: Final = 100


@dataclass(frozen=True, kw_only=True)
class EvaluationCase:
    """One case.

    Attributes:
        name: What it is about; no two have the same.
        inputs: By name, as the manifest's schema has them.
        output: What the output must equal; None when it may be anything that fits the manifest's schema.
        contains: Texts that the output, as text, must hold.
    """

    name: str
    inputs: Mapping[str, Json]
    output: Json = None
    contains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a name that could not be shown."""
        if not (self.name.strip() and self.name.isprintable() and len(self.name) <= LONGEST_NAME):
            raise ValueError(f"name: write one line of at most {LONGEST_NAME} characters")


def parse_cases(content: bytes, manifest: Manifest) -> tuple[EvaluationCase, ...]:
    """Return the cases of a file, each of which fits the manifest.

    Raises:
        BundleRefused: `malformed` or `oversized`, with the line.
    """
    lines = content.splitlines()
    if len(lines) > MOST_CASES:
        raise BundleRefused(Refusal.OVERSIZED, f"evaluation: {len(lines)} cases; the limit is {MOST_CASES}")
    cases = tuple(_case(line, number, manifest) for number, line in enumerate(lines, start=1))
    seen = set[str]()
    for number, case in enumerate(cases, start=1):
        if case.name in seen:
            raise _refused(number, f"two cases are named {case.name!r:.80}")
        seen.add(case.name)
    return cases


def _case(line: bytes, number: int, manifest: Manifest) -> EvaluationCase:
    try:
        case = decode(EvaluationCase, parse(line), "", strict=True)
    except (NotJson, InvalidMessage, RecursionError) as error:
        raise _refused(number, str(error).removeprefix(": ")) from error
    if reason := mismatch(manifest.inputs, case.inputs):
        raise _refused(number, f"inputs{reason.removeprefix('output')}")
    if case.output is not None and (reason := mismatch(manifest.output or {"type": "string"}, case.output)):
        raise _refused(number, reason)
    return case


def _refused(number: int, why: str) -> BundleRefused:
    return BundleRefused(Refusal.MALFORMED, f"evaluation, line {number}: {why}")
