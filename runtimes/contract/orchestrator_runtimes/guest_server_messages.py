"""What a guest server and the trusted side say to each other over a control connection: one JSON object a line.

The trusted side says `Hello`, once. The server answers with lines that hold a `Told`; a socket to the guest comes as
the one descriptor beside `Connected`. The trusted side ends the guest by closing its half of the connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

HELLO_BYTES: Final = 2**16
HELLO_SECONDS: Final = 5.0
"""How long the trusted side may take to say its hello."""

TOLD_BYTES: Final = 2**19
"""Longest line of a server: of a guest's standard error 64 KiB, each byte of which may need six in JSON."""


@dataclass(frozen=True, kw_only=True)
class Hello:
    """How a guest is to be started; see `GuestCommand`."""

    framework: str
    max_executions: int
    grace_seconds: float
    memory_mb: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Reject numbers that no guest can be started with."""
        if not 0 < self.max_executions <= 10_000 or not 0 <= self.grace_seconds <= 3_600:
            raise ValueError("max_executions or grace_seconds is out of range")
        if self.memory_mb is not None and not 0 < self.memory_mb <= 2**30:
            raise ValueError("memory_mb is out of range")


@dataclass(frozen=True, kw_only=True)
class Connected:
    """The guest listens; a connected socket to it comes with this line.

    Attributes:
        gateway_port: All that it can connect to by TCP; None where its container leaves the network open.
    """

    gateway_port: int | None = None
    kind: Literal["connected"] = "connected"


@dataclass(frozen=True, kw_only=True)
class Words:
    """A line of the guest's standard error, without its end."""

    text: str
    kind: Literal["words"] = "words"


@dataclass(frozen=True, kw_only=True)
class Resident:
    """The guest's resident memory in MiB, where a guest of its framework is replaced for it."""

    mb: float
    kind: Literal["resident"] = "resident"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The guest has ended; `status` is its exit status, or 128 plus a signal's number."""

    status: int
    kind: Literal["ended"] = "ended"

    def __post_init__(self) -> None:
        """Reject what is no exit status."""
        if not 0 <= self.status <= 255:
            raise ValueError("an exit status is 0 to 255")


@dataclass(frozen=True, kw_only=True)
class Refused:
    """No guest is started: the server has as many as it may, serves another framework, or cannot start one."""

    reason: Literal["full", "framework", "not_started"]
    message: str = ""
    kind: Literal["refused"] = "refused"


@dataclass(frozen=True, kw_only=True)
class Told:
    """A line of the server."""

    told: Connected | Words | Resident | Ended | Refused


def server_name(framework: str, environment: str) -> str:
    """Return what the folder of an environment's server is called; `environment` is a lock's digest.

    A framework's name alone is that of its only server.
    """
    return f"{framework}-{environment[:12]}"


def server_socket(folder: Path) -> Path:
    """Return where a guest server listens in its folder, which no other server sees: a guest may write to it."""
    return folder / "guests.sock"
