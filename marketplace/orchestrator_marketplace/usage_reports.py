"""What a platform tells a publisher, by a marketplace, of how their agents were used in a month: counts alone.

What leaves a platform is what these classes hold: versions of the publisher's agents, how many tenants and executions
used them, calls, tokens, cost and time. No name of a tenant, a run, an asset or a person, no input and no output.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from orchestrator_marketplace.names import is_part, parse_version
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_runtimes.codec import encode
from orchestrator_runtimes.json_values import dump

MOST_LINES: Final = 1_000
MOST_SEQUENCES: Final = 1_000
"""Corrections of one report, the first included."""

_MONTH: Final = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")
_DAY: Final = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
_HIGHEST: Final = 2**62


@dataclass(frozen=True, kw_only=True)
class UsageLine:
    """How one version was used.

    Attributes:
        agent: Without the publisher.
        version: As the manifest has it.
        tenants: How many used it.
        executions: How many began; the tries of one are one.
        calls: Model calls that were answered; answers from a journal are none.
        tokens: Input and output together.
        cost_nanodollars: What the models cost the platform, by its table of prices.
        milliseconds: For which models were at work; calls at the same time count each.
        unpriced_calls: Those of models without a price: the cost lacks them.
        estimated_calls: Those whose tokens were estimated, since the model's endpoint told none.
    """

    agent: str
    version: str
    tenants: int
    executions: int
    calls: int
    tokens: int
    cost_nanodollars: int = 0
    milliseconds: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0

    def __post_init__(self) -> None:
        """Refuse what counts nothing that is."""
        if not is_part(self.agent):
            raise ValueError(f"agent: {self.agent!r:.80} is no name")
        try:
            parse_version(self.version)
        except BundleRefused as error:
            raise ValueError(error.message) from error
        counts = (
            self.tenants, self.executions, self.calls, self.tokens, self.cost_nanodollars, self.milliseconds,
            self.unpriced_calls, self.estimated_calls,
        )  # fmt: skip
        if not all(0 <= count < _HIGHEST for count in counts):
            raise ValueError(f"{self.agent} {self.version}: a count is below 0, or more than there can be")


@dataclass(frozen=True, kw_only=True)
class UsageReport:
    """How a publisher's agents were used on a platform in a month.

    Attributes:
        marketplace: The name of the one that it is for.
        platform: Who reports, as it was registered.
        publisher: Whose agents.
        month: Such as `2026-11`, of UTC.
        through: Last day that is counted; the last of the month when the report is whole.
        sequence: From 1; a higher one takes the place of all lower ones.
        lines: By agent and version; none when nothing was used.
    """

    marketplace: str
    platform: str
    publisher: str
    month: str
    through: str
    sequence: int
    lines: tuple[UsageLine, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no report."""
        for name in ("platform", "publisher"):
            value: str = getattr(self, name)
            if not is_part(value):
                raise ValueError(f"{name}: {value!r:.80} is no name")
        if _MONTH.fullmatch(self.month) is None:
            raise ValueError(f"month: {self.month!r:.20} is no month, such as 2026-11")
        if _DAY.fullmatch(self.through) is None or not self.through.startswith(self.month):
            raise ValueError(f"through: {self.through!r:.20} is no day of {self.month}")
        if not 1 <= self.sequence <= MOST_SEQUENCES:
            raise ValueError(f"sequence: 1 to {MOST_SEQUENCES}")
        if len(self.lines) > MOST_LINES:
            raise ValueError(f"lines: at most {MOST_LINES}")
        named = [(line.agent, line.version) for line in self.lines]
        if len(set(named)) != len(named):
            raise ValueError("lines: a version is there twice")

    @property
    def id(self) -> str:
        """What all corrections of this report have in common: 32 hexadecimal digits."""
        return hashlib.sha256(dump([self.platform, self.publisher, self.month])).hexdigest()[:32]

    def digest(self) -> str:
        """Return what is another one when something else is reported, whatever the sequence: 64 hexadecimal digits."""
        said = [self.id, self.through, *(encode(line) for line in self.lines)]
        return hashlib.sha256(dump(said)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class UsageReceipt:
    """Which report counts at a marketplace after one was sent.

    Attributes:
        id: Of the report.
        sequence: Of the one that counts.
        digest: Of the one that counts.
        taken: Whether the one that was sent was taken now; not where it came late, or again.
    """

    id: str
    sequence: int
    digest: str
    taken: bool


@dataclass(frozen=True, kw_only=True)
class UsageReports:
    """A page of reports that count, by platform; `after` asks for the next one, None when it is the last."""

    reports: tuple[UsageReport, ...]
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class UsageQuestion:
    """What a publisher asks for, signed with a key of theirs.

    Attributes:
        marketplace: The name of the one that is asked.
        at: When, RFC 3339.
        publisher: Whose agents.
        month: Such as `2026-11`.
        after: Name of the last platform of the page before; None begins.
    """

    marketplace: str
    at: str
    publisher: str
    month: str
    after: str | None = None

    def __post_init__(self) -> None:
        """Refuse what asks for nothing."""
        if not is_part(self.publisher):
            raise ValueError(f"publisher: {self.publisher!r:.80} is no name")
        if _MONTH.fullmatch(self.month) is None:
            raise ValueError(f"month: {self.month!r:.20} is no month, such as 2026-11")
