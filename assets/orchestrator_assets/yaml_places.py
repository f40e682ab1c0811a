"""Where in a YAML file something is wrong."""

import dagster as dg
from dagster.components.resolved.errors import ResolutionException
from pydantic import ValidationError

from orchestrator_assets.spec_fields import WrongValue


def wrong_value(error: ValidationError) -> WrongValue:
    """Return the first fault of a model, with its place where the model's own validators tell one."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    below = cause.path if isinstance(cause, WrongValue) else ()
    return WrongValue(str(cause) if isinstance(cause, ValueError) else first["msg"], *first["loc"], *below)


def placed(error: WrongValue, context: dg.ResolutionContext) -> ResolutionException:
    """Return an error that shows where in the YAML a wrong value stands."""
    path = [*context.path, *error.path]
    place = ".".join(str(part) for part in path)
    if context.source_position_tree is None:
        return ResolutionException(f"{place}: {error}")
    found = context.source_position_tree.source_error(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own
        path, str(error), value_error=True
    )
    return ResolutionException(f"{found.file_name}:{found.start_line_no} - {place}: {error}\n{found.snippet}")
