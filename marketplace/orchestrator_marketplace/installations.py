"""Where bundles are installed: each version in a folder that is there whole or not at all, and what was seen before.

ROOT/acme/reviewer/1.2.0/     the bundle's folder form, with its lock and bill of materials
ROOT/known-bundles.json       which digest each version had, and the highest that was installed
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator_marketplace.bundle_artifacts import CODE_TYPE, PARTS, Bundle
from orchestrator_marketplace.code_archives import unpack_code
from orchestrator_marketplace.folders import CODE, MANIFEST
from orchestrator_marketplace.layouts import read_file
from orchestrator_marketplace.manifests import Manifest, manifest_bytes
from orchestrator_marketplace.names import parse_version
from orchestrator_marketplace.oci import digest_of
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import NotJson, dump, parse

DIGEST: Final = "bundle.digest"
"""File of an installed bundle: the digest that it came by."""

_KNOWN: Final = "known-bundles.json"
_STAGING: Final = ".installing-"
_KNOWN_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class KnownBundle:
    """What is remembered of a name.

    Attributes:
        digests: Of each version that was seen.
        highest: The highest version that was installed; None before the first.
        until: When the signature of each version ends, RFC 3339; empty for one without end. Of versions that were
            installed before this was kept, nothing is said.
    """

    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    highest: str | None = None
    until: Mapping[str, str] = field(default_factory=dict[str, str])

    def holds(self, version: str, now: datetime) -> bool:
        """Tell whether the signature of an installed version is known to hold."""
        until = self.until.get(version)
        return until is not None and (not until or now < datetime.fromisoformat(until))

    def check(self, manifest: Manifest, digest: str, *, lower: bool) -> None:
        """Refuse a version that was another bundle, or that is lower than what was installed.

        Raises:
            BundleRefused: `moved_tag`, `rolled_back`.
        """
        seen = self.digests.get(manifest.version)
        if seen not in (None, digest):
            raise BundleRefused(
                Refusal.MOVED_TAG, f"{manifest.name} {manifest.version} was {seen}, and is {digest} now"
            )
        if not lower and self.highest is not None and manifest.bundle_version < parse_version(self.highest):
            raise BundleRefused(
                Refusal.ROLLED_BACK,
                f"{manifest.name} {manifest.version} is lower than {self.highest}, which was here",
            )

    def with_installed(self, manifest: Manifest, digest: str, until: datetime | None) -> "KnownBundle":
        """Return it with a version that was installed, whose signature ends then; None for never."""
        versions = [manifest.version, *(() if self.highest is None else (self.highest,))]
        return replace(
            self,
            digests={**self.digests, manifest.version: digest},
            highest=max(versions, key=parse_version),
            until={**self.until, manifest.version: "" if until is None else until.isoformat()},
        )


@dataclass(frozen=True, kw_only=True)
class _Known:
    bundles: Mapping[str, KnownBundle] = field(default_factory=dict[str, KnownBundle])


class Installations:
    """The bundles of a folder; several processes may install there at once.

    Args:
        root: Made with the first bundle.
    """

    def __init__(self, root: Path) -> None:
        """Use a folder."""
        self.root = root

    def known(self, name: str) -> KnownBundle:
        """Return what is remembered of a name.

        Raises:
            BundleRefused: `malformed` when the record cannot be read: nothing is taken until somebody looked.
        """
        return self._read().bundles.get(name, KnownBundle())

    def check(self, bundle: Bundle, *, lower: bool = False) -> None:
        """Refuse what `install` would refuse for what was seen before."""
        manifest = bundle.contents.manifest
        self.known(manifest.name).check(manifest, bundle.digest, lower=lower)

    def install(self, bundle: Bundle, *, lower: bool = False, until: datetime | None = None) -> Path:
        """Install a bundle that is trusted, and return its folder; one that is there already stays.

        Args:
            bundle: As it was opened and verified.
            lower: Whether a lower version than the highest is meant.
            until: When its signature ends; None for never.

        Raises:
            BundleRefused: `moved_tag`, `rolled_back`; what is wrong with its code. Nothing of it is left.
            OSError: The folder cannot be written. Nothing of it is left.
        """
        manifest = bundle.contents.manifest
        name = manifest.bundle_name
        place = self.root / name.publisher / name.agent
        place.mkdir(parents=True, exist_ok=True)
        with self._alone():
            known = self._read()
            before = known.bundles.get(manifest.name, KnownBundle())
            before.check(manifest, bundle.digest, lower=lower)
            for left in place.glob(f"{_STAGING}*"):  # of a process that was killed
                shutil.rmtree(left)
            target = place / manifest.version
            if not target.exists():
                _write_bundle(bundle, place, target)
            elif installed_digest(target) != bundle.digest:
                raise BundleRefused(Refusal.MOVED_TAG, f"{target} holds {installed_digest(target)}")
            after = before.with_installed(manifest, bundle.digest, until)
            self._write(_Known(bundles={**known.bundles, manifest.name: after}))
        return target

    @contextlib.contextmanager
    def _alone(self) -> Generator[None]:
        with (self.root / f".{_KNOWN}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> _Known:
        file = self.root / _KNOWN
        if not os.path.lexists(file):
            return _Known()
        try:
            return decode(_Known, parse(read_file(file, _KNOWN_BYTES)), "", strict=True)
        except (NotJson, InvalidMessage) as error:
            raise BundleRefused(
                Refusal.MALFORMED, f"{file}: is no record of bundles: restore it, or remove it to begin anew"
            ) from error

    def _write(self, known: _Known) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.root, prefix=f".{_KNOWN}-")
        with open(descriptor, "wb") as file:
            file.write(dump(encode(known)))
            file.flush()
            os.fsync(file.fileno())
        Path(name).rename(self.root / _KNOWN)


def installed_digest(folder: Path) -> str:
    """Return the digest that an installed bundle came by.

    Raises:
        BundleRefused: `malformed`, when there is none.
    """
    return read_file(folder / DIGEST, 100).decode().strip()


def _write_bundle(bundle: Bundle, place: Path, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(dir=place, prefix=_STAGING))
    try:
        unpack_code(bundle.contents.code, digest_of(bundle.contents.code), staging / CODE)
        files = {PARTS[kind].file: content for kind, content in bundle.parts.items() if kind != CODE_TYPE}
        files |= {MANIFEST: manifest_bytes(bundle.contents.manifest), DIGEST: f"{bundle.digest}\n".encode()}
        for name, content in files.items():
            (staging / name).write_bytes(content)
        _flush(staging)
        staging.chmod(0o755)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _flush(folder: Path) -> None:
    """Make files durable before they get their name: a machine that loses power must not leave half of them."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
