"""Components of agents in YAML: what is wrong with one is told with its place."""

import contextlib
from collections.abc import Generator
from typing import Annotated, ClassVar, Self

import dagster as dg
from dagster.components.resolved.core_models import ResolvedAssetSpec
from dagster.components.resolved.errors import ResolutionException
from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from orchestrator_assets.agent_specs import SPECS
from orchestrator_assets.execution_specs import ExecutionSpec
from orchestrator_assets.spec_fields import WrongValue
from orchestrator_assets.yaml_schemas import told_to_users


class YamlComponent(ExecutionSpec, dg.Component):
    """A component that is an asset of an agent, whichever agent that is."""

    asset: Annotated[
        ResolvedAssetSpec, Field(description="Key, owners, description, partitions and the like.")
    ]

    tags: ClassVar[tuple[str, ...]]
    """What the Dagster UI tells beside the documentation."""

    _read_from: dg.ResolutionContext | None = PrivateAttr(default=None)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return what the YAML is checked against."""
        whole = ("asset", "inputs", "for_each", "limits", "budget", "retries")
        return told_to_users(cls.model(), specs=(cls, *SPECS), whole=whole)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what the Dagster UI tells beside the documentation."""
        return dg.ComponentTypeSpec(tags=list(cls.tags))

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """Make the component of its YAML.

        Raises:
            ResolutionException: A value is wrong; the message holds the file, the line and what to change.
        """
        try:
            made: Self = super().resolve_from_model(context, model)
        except ValidationError as error:
            raise _placed(_wrong_value(error), context) from error
        made._read_from = context
        return made

    @contextlib.contextmanager
    def placing(self) -> Generator[None]:
        """Tell what is wrong in a block with its place in the YAML.

        Raises:
            ResolutionException: Something is.
            WrongValue: The component was made in Python, where the traceback is the place.
        """
        try:
            yield
        except WrongValue as error:
            if self._read_from is None:
                raise
            raise _placed(error, self._read_from) from error


def _wrong_value(error: ValidationError) -> WrongValue:
    """Return the first fault of a model, with its place where the model's own validators tell one."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    below = cause.path if isinstance(cause, WrongValue) else ()
    return WrongValue(str(cause) if isinstance(cause, ValueError) else first["msg"], *first["loc"], *below)


def _placed(error: WrongValue, context: dg.ResolutionContext) -> ResolutionException:
    """Return an error that shows where in the YAML a wrong value stands."""
    path = [*context.path, *error.path]
    place = ".".join(str(part) for part in path)
    if context.source_position_tree is None:
        return ResolutionException(f"{place}: {error}")
    found = context.source_position_tree.source_error(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own
        path, str(error), value_error=True
    )
    return ResolutionException(f"{found.file_name}:{found.start_line_no} - {place}: {error}\n{found.snippet}")
