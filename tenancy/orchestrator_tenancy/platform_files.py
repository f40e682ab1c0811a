"""How an operator says where the platform is: the release that tenants share, and those of tenants with their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator_cluster.bindings import Name
from orchestrator_tenancy.chart_values import ManagedLocations, Values, chart_values, own_releases
from orchestrator_tenancy.tenants import BadTenancy, Tenancy, first_fault


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Managed(_Strict):
    """What managed locations run.

    Attributes:
        image: Of the trusted side.
        images: Image of each runtime, by the name of its framework.
    """

    image: Annotated[str, Field(min_length=1)]
    images: Mapping[str, str] = {}


class OwnRelease(_Strict):
    """The release of one tenant, whose plan has `instance: own`.

    Attributes:
        namespace: Of the release; None means the platform's, a hyphen and the tenant.
        values: In place of the platform's, part by part: its database at least.
    """

    namespace: Name | None = None
    values: Mapping[str, Any] = {}


class PlatformFile(_Strict):
    """What stands in a file, in YAML.

    Attributes:
        release: Name of the Helm release.
        namespace: Of it.
        chart: Folder or address of the chart.
        values: Of the chart, without tenants.
        managed: What managed locations run.
        own: Releases of tenants with an instance of their own.
    """

    release: Name = "agents"
    namespace: Name = "agents"
    chart: Annotated[str, Field(min_length=1)]
    values: Mapping[str, Any]
    managed: Managed
    own: Mapping[str, OwnRelease] = {}


class Release(_Strict):
    """What Helm is told.

    Attributes:
        name: Of the release.
        namespace: Of it.
        chart: Folder or address of the chart.
        values: All of them.
    """

    name: str
    namespace: str
    chart: str
    values: Mapping[str, Any]


def read_platform(file: Path) -> PlatformFile:
    """Return what stands in a file.

    Raises:
        BadTenancy: It cannot be read, or is none; the text says where and what to change.
    """
    try:
        return PlatformFile.model_validate(yaml.safe_load(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadTenancy(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise BadTenancy(f"{file}: {first_fault(error)}") from error


def releases(platform: PlatformFile, tenancy: Tenancy) -> list[Release]:
    """Return what is to be installed: the release that tenants share, then those of tenants with their own.

    Raises:
        BadTenancy: A tenant needs a release of its own, and nothing says where its database is.
    """
    managed = ManagedLocations(image=platform.managed.image, images=platform.managed.images)
    found = [
        Release(
            name=platform.release,
            namespace=platform.namespace,
            chart=platform.chart,
            values=chart_values(tenancy, platform.values, managed),
        )
    ]
    for tenant in own_releases(tenancy):
        own = platform.own.get(tenant)
        if own is None:
            raise BadTenancy(
                f"the plan of {tenant!r} has `instance: own`: say in the platform's file, below own.{tenant}.values,"
                " what is its own, such as `postgresql`"
            )
        found.append(
            Release(
                name=f"{platform.release}-{tenant}",
                namespace=own.namespace or f"{platform.namespace}-{tenant}",
                chart=platform.chart,
                values=chart_values(tenancy, _merged(platform.values, own.values), managed, only=tenant),
            )
        )
    return found


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Return values with others in their place: mappings part by part, all else as a whole, as Helm does it."""
    made = {**values}
    for key, value in over.items():
        before = made.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        made[key] = _merged(cast("Values", before), cast("Values", value)) if both else value
    return made
