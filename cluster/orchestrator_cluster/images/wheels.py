"""Wheels of what is installed here: an image holds the same code as the process that has it built.

They are made of the installed packages, so this works without the sources, and the same code makes the same bytes.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from orchestrator_runtimes.guest_commands import package_folder

_WHEEL: Final = (
    "Wheel-Version: 1.0\nGenerator: agent-orchestrator\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
)
_WHEN: Final = (1980, 1, 1, 0, 0, 0)
"""The oldest time that an archive can tell."""


class ImageError(Exception):
    """An image cannot be made or sent; the message says what is wrong and what to do."""


@dataclass(frozen=True, kw_only=True)
class OwnDistribution:
    """A distribution that goes into images as it is installed here.

    Attributes:
        name: As in a package index.
        packages: Import names of its packages.
    """

    name: str
    packages: tuple[str, ...]

    @property
    def wheel_name(self) -> str:
        """Return the file name of its wheel.

        Raises:
            ImageError: It is not installed here.
        """
        return f"{self._stem}-py3-none-any.whl"

    def wheel(self) -> bytes:
        """Return the wheel.

        Raises:
            AgentError: `agent_load_failed` when one of its packages is not installed here.
            ImageError: The distribution is not.
        """
        installed, stem = self._installed(), self._stem
        files = dict(_package_files(self.packages))
        told = {"METADATA": installed.read_text("METADATA"), "WHEEL": _WHEEL}
        told["entry_points.txt"] = installed.read_text("entry_points.txt")
        files |= {f"{stem}.dist-info/{name}": text.encode() for name, text in told.items() if text}
        record = f"{stem}.dist-info/RECORD"
        lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
        files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:  # not compressed: no library's version changes the bytes
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name, _WHEN), content)
        return made.getvalue()

    @property
    def _stem(self) -> str:
        return f"{self.name.replace('-', '_')}-{self._installed().version}"

    def _installed(self) -> Distribution:
        try:
            return distribution(self.name)
        except PackageNotFoundError as error:
            raise ImageError(f"the distribution {self.name!r} is not installed here") from error


def _package_files(packages: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for package in packages:
        folder = package_folder(package)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(Path(package, path.relative_to(folder))), path.read_bytes()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
