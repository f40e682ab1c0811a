"""From a registry into a folder: fetched, checked, and installed whole or not at all."""

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator_marketplace.acceptance import Accepted, accept_bundle
from orchestrator_marketplace.installations import Installations
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.publishers import Publishers
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.registry_errors import RegistryUnavailable
from orchestrator_marketplace.transfers import fetch_bundle

_FETCHING: Final = ".fetching"


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A bundle that is installed.

    Attributes:
        accepted: What it is, and whose.
        folder: Where it is.
        fetched: Blobs that came now; what an earlier try had fetched did not come again.
    """

    accepted: Accepted
    folder: Path
    fetched: int


def pull_bundle(
    repository: Repository,
    installations: Installations,
    publishers: Publishers,
    now: datetime,
    *,
    lower: bool = False,
    decide: Callable[[Accepted], None] = lambda _accepted: None,
) -> Pulled:
    """Fetch a bundle, and install it when every check allows it.

    Args:
        repository: Whose reference says which bundle.
        installations: Where it is installed.
        publishers: Who is trusted.
        now: When.
        lower: Whether a lower version is meant.
        decide: Raises `BundleRefused` for what a policy does not allow.

    Raises:
        BundleRefused: Why it is not taken; nothing of it is left.
        RegistryUnavailable: It broke off; what came is kept, and the next try goes on.
        RegistryDenied: It cannot be had.
    """
    name = hashlib.sha256(str(repository.reference).encode()).hexdigest()[:16]
    with _fetching(installations.root / _FETCHING, name) as folder:
        layout = Layout(folder)
        transfer = fetch_bundle(repository, layout)
        accepted = accept_bundle(
            layout,
            transfer.entry,
            publishers,
            now,
            reference=repository.reference,
            installations=installations,
            lower=lower,
        )
        decide(accepted)
        place = installations.install(accepted.bundle, lower=lower, until=accepted.verified.expires)
    return Pulled(accepted=accepted, folder=place, fetched=transfer.moved)


@contextlib.contextmanager
def _fetching(parent: Path, name: str) -> Generator[Path]:
    """Have a folder for what comes, alone; it stays only when the registry broke off."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / name
    with (parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        except RegistryUnavailable:
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder)
