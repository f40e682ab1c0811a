"""A browser for tests: Debian's Chromium without a screen, unpacked into the cache; the machine stays as it is.

Debian brings each of Chromium's releases to bookworm and takes the one before away, so no version can be named for
long: the newest is taken, once, and kept.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.caches import cached
from orchestrator_tools.cluster.commands import ClusterError
from orchestrator_tools.cluster.debian import RELEASE, require_release, unpack
from orchestrator_tools.cluster.places import places

PACKAGES: Final = ("chromium-headless-shell", "fonts-dejavu-core", "fonts-dejavu-extra")
"""Fonts of its own: pages look the same wherever they are looked at."""

_FONTS: Final = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>{fonts}</dir>
  <cachedir>{cache}</cachedir>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
  <match target="pattern">
    <edit name="family" mode="append_last"><string>DejaVu Sans</string></edit>
  </match>
</fontconfig>
"""
_VERSION_SECONDS: Final = 60


@dataclass(frozen=True, kw_only=True)
class BrowserProgram:
    """A browser that can be started.

    Attributes:
        path: Its program.
        environment: Variables beside those of whoever starts it.
    """

    path: Path
    environment: dict[str, str]

    def version(self) -> str:
        """Return what it says of itself.

        Raises:
            ClusterError: It does not start.
        """
        done = subprocess.run(
            [self.path, "--version"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            check=False,
        )
        if done.returncode:
            raise ClusterError(f"the browser does not start: {done.stderr.strip()[-1_000:]}")
        return done.stdout.strip()


def browser_program(cache: Path | None = None) -> BrowserProgram:
    """Return the browser; download and unpack it when it is not there.

    Args:
        cache: Where it is kept; None for that of the test cluster.

    Raises:
        ClusterError: The machine runs another system than Debian bookworm, or the packages cannot be had.
    """
    tree = cached((cache or places().cache) / f"chromium-{RELEASE}", _unpack)
    libraries = next((tree / "usr" / "lib").glob("*-linux-gnu"), tree / "usr" / "lib")
    settings = tree / "fonts.conf"
    return BrowserProgram(
        path=tree / "usr" / "lib" / "chromium" / "chromium-headless-shell",
        environment={
            "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'pulseaudio'}",
            "FONTCONFIG_FILE": str(settings),
        },
    )


def _unpack(tree: Path) -> None:
    require_release(Path("/etc/os-release").read_text())
    unpack(tree, PACKAGES)
    # the folder gets its name when all of it is there
    final = tree.with_name(tree.name.removeprefix(".").removesuffix(".new"))
    (tree / "fonts.conf").write_text(
        _FONTS.format(fonts=final / "usr" / "share" / "fonts", cache=final / "fontcache")
    )
