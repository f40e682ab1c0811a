"""A tenant's folder: plain files and folders alone, of which only `defs.yaml` means something to the trusted side."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from orchestrator_runtimes.bundles import IGNORED
from orchestrator_tenancy.managed.refusals import NotManaged

YAML_NAMES: Final = ("defs.yaml", "defs.yml")
_COMPONENTS_IN_OTHER_FORMS: Final = frozenset({"component.yaml", "component.py"})

ENTRIES: Final = 10_000
DEPTH: Final = 16
YAML_FILES: Final = 500


def yaml_files(root: Path) -> list[Path]:
    """Return the component files of a folder, sorted by their places.

    Args:
        root: Absolute, and no link itself.

    Raises:
        NotManaged: There is a link, a device, a pipe or a socket, a component in Python, or too much of anything.
    """
    if not root.is_dir():
        raise NotManaged(
            f"there is no folder {str(root)!r}: set ORCHESTRATOR_DEFINITIONS to the location's YAML"
        )
    found = list[Path]()
    for count, entry in enumerate(_entries(root)):
        name = Path(entry.path).relative_to(root).as_posix()
        if count == ENTRIES:
            raise NotManaged(f"holds more than {ENTRIES} files and folders: keep data out of it")
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise NotManaged(
                f"{name}: is a link or a special file, which managed locations do not take: copy it"
            )
        if len(Path(name).parts) > DEPTH:
            raise NotManaged(f"{name}: is deeper than {DEPTH} folders")
        if entry.name in _COMPONENTS_IN_OTHER_FORMS:
            raise NotManaged(
                f"{name}: managed locations load no Python, and YAML only of the name defs.yaml; an agent's code may"
                " have any other name"
            )
        if entry.name in YAML_NAMES:
            found.append(Path(entry.path))
    folders = [file.parent for file in found]
    for folder in folders:
        if folders.count(folder) > 1:
            raise NotManaged(f"{folder.relative_to(root).as_posix()}: has defs.yaml and defs.yml: keep one")
    if len(found) > YAML_FILES:
        raise NotManaged(f"holds more than {YAML_FILES} defs.yaml: split it into several locations")
    return sorted(found)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise NotManaged(f"{folder.name}: cannot be read: {error.strerror}") from error
    for entry in listed:
        if entry.name in IGNORED and entry.is_dir(follow_symlinks=False):
            continue  # nothing reads these, bundles neither
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))


def refuse_imports_from(root: Path, path: Sequence[str] | None = None, here: Path | None = None) -> None:
    """Refuse to go on where Python would import from a tenant's folder, or Dagster read an `.env` of it.

    Args:
        root: The folder.
        path: Where Python imports from; None means `sys.path`.
        here: The working folder; None means that of this process.

    Raises:
        NotManaged: It would.
    """
    working = (here or Path.cwd()).resolve()
    places = [working / place for place in (sys.path if path is None else path)]  # "" is the working folder
    for place in [working, *places]:
        if place.resolve().is_relative_to(root):
            raise NotManaged(
                f"Python would import from {str(root)!r}, the tenant's folder: start the code server elsewhere, without"
                " the folder in PYTHONPATH"
            )
