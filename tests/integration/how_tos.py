"""The projects that the how-tos show: files in a document, written where a test wants them."""

import re
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[2]
HOW_TO: Final = CHECKOUT / "docs" / "how-to"
_FILE: Final = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
_FIRST: Final = "write-an-agent"
"""The page with the project that the others add to."""


def files_of(page: Path) -> dict[str, str]:
    """Return the files that a page shows, by path in the project."""
    return dict(_FILE.findall(page.read_text()))


def write_project(folder: Path, name: str) -> None:
    """Write the project of a how-to: that of the first page without its agent, and what the page adds."""
    for path, text in {**files_of(HOW_TO / f"{_FIRST}.md"), **files_of(HOW_TO / f"{name}.md")}.items():
        if name == _FIRST or "/defs/forecast/" not in path:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
