"""From a tenant's folder to Dagster's definitions, without running or importing anything of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import dagster as dg
from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import BaseModel, ValidationError

from orchestrator_assets.spec_fields import WrongValue
from orchestrator_tenancy.custom_locations import refuse_foreign
from orchestrator_tenancy.location_names import foreign_names
from orchestrator_tenancy.managed.component_types import MANAGED_TYPES, ManagedType
from orchestrator_tenancy.managed.folders import refuse_imports_from, yaml_files
from orchestrator_tenancy.managed.plain_values import PlainValues, refuse_templates
from orchestrator_tenancy.managed.plain_yaml import Document, read_documents
from orchestrator_tenancy.managed.refusals import NotManaged
from orchestrator_tenancy.names import BadName

_PLACED: Final = re.compile(r"\S+:\d+ - [\w.]+: ")
"""How errors begin that say where a value stands."""

_FIELDS: Final = {
    "template_vars_module": "is Python, which managed locations do not load: write the values",
    "post_processing": "is not taken: write the attributes at the assets",
    "requirements": "is not taken: no variable of the platform is there to be required",
}


def managed_definitions(folder: Path, tenant: str) -> dg.Definitions:
    """Return the definitions of a managed location; every name in them is the tenant's.

    Args:
        folder: Of `defs.yaml` files, at any depth, each beside the code of its agents.
        tenant: Whose location it is.

    Raises:
        NotManaged: It holds what a managed location does not take, or a wrong value; the text says where.
    """
    root = folder.resolve()
    refuse_imports_from(root)
    made = list[dg.Definitions]()
    owners = dict[str, str]()
    for file in yaml_files(root):
        name = file.relative_to(root).as_posix()
        for document in read_documents(file, name):
            one = _definitions(document, file.parent, name, tenant)
            for thing in _names(one):
                if thing in owners:
                    raise NotManaged(
                        f"{name}: makes {thing!r}, and so does {owners[thing]}: change one of the two"
                    )
                owners[thing] = name
            made.append(one)
    definitions = dg.Definitions.merge(*made)
    # whatever a component type has forgotten
    refuse_foreign(foreign_names(definitions, tenant), tenant, "the location")
    return definitions


def _names(definitions: dg.Definitions) -> list[str]:
    keys = list[str]()
    for asset in definitions.assets or ():
        made = [asset.key] if isinstance(asset, dg.AssetSpec) else cast("dg.AssetsDefinition", asset).keys
        keys += [key.to_user_string() for key in made]
    named = [*(definitions.jobs or ()), *(definitions.sensors or ())]
    return [*keys, *(one.name for one in named)]


def _definitions(document: Document, folder: Path, name: str, tenant: str) -> dg.Definitions:
    """Return the definitions of one document."""
    kind = _type(document, name)
    try:
        context = PlainValues(scope={}, source_position_tree=document.positions).at_path("attributes")
        attributes: object = document.values.get("attributes") or {}
        if not isinstance(attributes, dict):
            raise NotManaged("attributes: must be a mapping")
        component = _component(kind, cast("dict[str, Any]", attributes), context)
        return kind.build(component, folder, tenant)
    except _Placed as error:
        raise NotManaged(f"{_line(document, name, error.path)}: {_path(error.path)}{error}") from error
    except NotManaged as error:
        raise NotManaged(f"{_line(document, name, ('attributes',))}: {error}") from error
    except Exception as error:  # the boundary: a component says what is wrong in errors of many kinds
        told = _told(error).replace(f"{folder}/", "")
        beside = name.rpartition("/")[2]
        place = f"{name.removesuffix(beside)}{told}" if told.startswith(f"{beside}:") else f"{name}: {told}"
        raise NotManaged(place) from error


class _Placed(NotManaged):
    """A value is wrong.

    Attributes:
        path: Where it stands in the document.
    """

    def __init__(self, message: str, path: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.path = path


def _type(document: Document, name: str) -> ManagedType:
    named = document.values.get("type")
    for field in document.values:
        if field in ("type", "attributes"):
            continue
        why = _FIELDS.get(field, "is unknown; there are type and attributes")
        raise NotManaged(f"{_line(document, name, (field,))}: {str(field)[:80]}: {why}")
    kind = MANAGED_TYPES.get(named) if isinstance(named, str) else None
    if kind is None:
        known = ", ".join(MANAGED_TYPES)
        raise NotManaged(
            f"{_line(document, name, ('type',))}: type: {str(named)[:80]!r} is not for managed locations; there are"
            f" {known}"
        )
    return kind


def _component(kind: ManagedType, attributes: dict[str, Any], context: dg.ResolutionContext) -> dg.Component:
    """Return a component of its attributes, without Dagster's rendering."""
    component: Any = kind.component
    _refuse_templates(attributes)
    model: type[BaseModel] = component.get_model_cls()
    try:
        written = model.model_validate(attributes)
    except ValidationError as error:
        first = error.errors()[0]
        below = tuple(part for part in first["loc"] if not _is_branch(part, attributes))
        raise _Placed(first["msg"], ("attributes", *below)) from error
    made: dg.Component = component.resolve_from_model(context, written)
    return made


def _refuse_templates(attributes: Mapping[str, Any]) -> None:
    for key, value in attributes.items():
        try:
            refuse_templates(value, ["attributes", key])
        except NotManaged as error:
            raise _Placed(str(error), ("attributes", key)) from error


def _is_branch(part: str | int, attributes: Mapping[str, Any]) -> bool:
    """Return whether a part of pydantic's path names a type of a union, not a field."""
    return (
        isinstance(part, str) and part not in attributes and part in ("str", "int", "float", "bool", "none")
    )


def _told(error: Exception) -> str:
    """Return what an error says in one line, without Dagster's traceback, whose paths are the platform's."""
    chain = list[BaseException]()
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if _PLACED.match(lines[0]):
        return lines[0]
    for cause in chain:
        if isinstance(cause, NotManaged | WrongValue | BadName):
            return str(cause)
    return lines[-1] if "Traceback" in str(error) else lines[0]


def _line(document: Document, name: str, path: tuple[str | int, ...]) -> str:
    tree: SourcePositionTree = document.positions
    for part in path:
        if part not in tree.children:
            break
        tree = tree.children[part]
    return f"{name}:{tree.position.start.line}"


def _path(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path[1:])) + ": " if len(path) > 1 else ""
