"""How bad a weakness is: what a record of OSV says, or what its CVSS vector comes to."""

import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from orchestrator_marketplace.osv_records import Affected, Record


class Severity(IntEnum):
    """The words of databases, in their order; what nobody judged may be anything, malicious packages among it."""

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4
    UNKNOWN = 5

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()


WORDS: Final[Mapping[str, Severity]] = {severity.word: severity for severity in Severity}

_DATABASES: Final[Mapping[str, Severity]] = {**WORDS, "moderate": Severity.MEDIUM, "important": Severity.HIGH}
_UNCHANGED: Final[Mapping[str, Mapping[str, float]]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "PR": {"N": 0.85, "L": 0.62, "H": 0.27},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_CHANGED_PRIVILEGES: Final[Mapping[str, float]] = {"N": 0.85, "L": 0.68, "H": 0.5}


def severity_of(record: Record, affected: Affected) -> Severity:
    """Return the worst that a record, or its part about a package, says; `UNKNOWN` when they say nothing known."""
    judged = (record.database_specific, affected.database_specific, affected.ecosystem_specific)
    named = [one.severity for one in judged if one is not None]
    words = [word.lower() for word in named if isinstance(word, str)]
    said = [_DATABASES[word] for word in words if word in _DATABASES]
    scores = [one.score for one in (*record.severity, *affected.severity) if one.type == "CVSS_V3"]
    said += [severity_of_score(base_score(score)) for score in scores]
    return max((one for one in said if one is not Severity.UNKNOWN), default=Severity.UNKNOWN)


def severity_of_score(score: float | None) -> Severity:
    """Return the word for a CVSS score of 0 to 10; `UNKNOWN` for None."""
    if score is None:
        return Severity.UNKNOWN
    bounds = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM), (0.1, Severity.LOW))
    return next((word for least, word in bounds if score >= least), Severity.NONE)


def base_score(vector: str) -> float | None:
    """Return the base score of a CVSS 3.0 or 3.1 vector, 0 to 10; None when it is none.

    https://www.first.org/cvss/v3.1/specification-document, section 7.1 and appendix A.
    """
    version, _, rest = vector.partition("/")
    metrics = dict(part.split(":", 1) for part in rest.split("/") if ":" in part)
    if version not in ("CVSS:3.0", "CVSS:3.1") or metrics.get("S") not in ("U", "C"):
        return None
    changed = metrics["S"] == "C"
    tables = {**_UNCHANGED, "PR": _CHANGED_PRIVILEGES} if changed else _UNCHANGED
    try:
        value = {name: table[metrics[name]] for name, table in tables.items()}
    except KeyError:
        return None
    base = 1 - (1 - value["C"]) * (1 - value["I"]) * (1 - value["A"])
    impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * value["AV"] * value["AC"] * value["PR"] * value["UI"]
    return _up(min((impact + exploitability) * (1.08 if changed else 1.0), 10.0))


def _up(score: float) -> float:
    """Round to one digit, upwards, as the specification does without errors of floating point."""
    whole = round(score * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (math.floor(whole / 10_000) + 1) / 10
