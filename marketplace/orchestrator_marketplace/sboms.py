"""The bill of materials beside each bundle: CycloneDX 1.6 as JSON, https://cyclonedx.org/docs/1.6/json/."""

from collections.abc import Sequence
from typing import Any, Final, cast

from orchestrator_marketplace.locked_packages import Package
from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.json_values import NotJson, dump, parse

SBOM_BYTES: Final = 8 * 2**20


def sbom_bytes(manifest: Manifest, packages: Sequence[Package]) -> bytes:
    """Return the bill of a bundle; it has no time and no serial number, so that the same bundle has the same bill."""
    return dump(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "bom-ref": f"{manifest.name}@{manifest.version}",
                    "group": manifest.bundle_name.publisher,
                    "name": manifest.bundle_name.agent,
                    "version": manifest.version,
                    "description": manifest.summary,
                    "licenses": [{"expression": manifest.licence}],
                }
            },
            "components": [
                {
                    "type": "library",
                    "bom-ref": package.purl,
                    "name": package.name,
                    "version": package.version,
                    "purl": package.purl,
                }
                for package in packages
            ],
        }
    )


def check_sbom(content: bytes, packages: Sequence[Package]) -> None:
    """Refuse a bill that does not name exactly the packages of the lock.

    Raises:
        BundleRefused: `malformed`.
    """
    try:
        value = cast("Any", parse(content))
        named = sorted(component["purl"] for component in value["components"])
    except (NotJson, TypeError, KeyError) as error:
        raise BundleRefused(
            Refusal.MALFORMED, "the bill of materials is no CycloneDX", cause=str(error)
        ) from error
    if named != sorted(package.purl for package in packages):
        raise BundleRefused(Refusal.MALFORMED, "the bill of materials does not name what the lock holds")
