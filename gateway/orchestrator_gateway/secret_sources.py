"""Where a secret stands: never in the configuration file itself, which is kept with the code."""

import os
from dataclasses import dataclass
from pathlib import Path

_LONGEST_BYTES = 65_536


class SecretMissing(Exception):
    """A secret is not where the configuration says; the text names the place and never what stands there."""


@dataclass(frozen=True, kw_only=True)
class SecretSource:
    """A place of one secret: exactly one of the two.

    Attributes:
        env: Name of an environment variable of the process that reads it.
        file: Path of a file, such as a mounted Kubernetes secret; space around its text does not count.
    """

    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        """Refuse a source that names both places or none."""
        if (self.env is None) == (self.file is None):
            raise ValueError("a secret is {env: NAME} or {file: path}, and one of them only")

    def read(self, folder: Path) -> str:
        """Return the secret as it is now.

        Args:
            folder: What a relative path is relative to.

        Raises:
            SecretMissing: It is not there, or empty.
        """
        if self.env is not None:
            text = os.environ.get(self.env, "").strip()
            place = f"the variable {self.env!r}"
        else:
            assert self.file is not None
            path = folder / self.file
            place = f"the file {str(path)!r}"
            try:
                with path.open("rb") as opened:
                    text = opened.read(_LONGEST_BYTES).decode().strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is no text"
                raise SecretMissing(f"{place} cannot be read: {why}") from error
        if not text:
            raise SecretMissing(f"{place} is empty or not set")
        return text
