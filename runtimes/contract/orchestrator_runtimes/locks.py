"""What an environment is made of, as text: the locks of its Python and Node packages."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NodeLock:
    """Node packages: the texts of `package.json`, and of the `package-lock.json` that pins them by hash."""

    package: str
    lock: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """All that an environment is made of.

    Attributes:
        python: Hashed requirements.
        node: None when it needs none.
        wheels_only: Whether it is refused what only comes as source: installing that runs code of whoever wrote it.
    """

    python: str
    node: NodeLock | None = None
    wheels_only: bool = False
