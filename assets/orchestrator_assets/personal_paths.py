"""Marked fields in the YAML of agents: each path names a field that may be there, and none that Dagster shows."""

from typing import TYPE_CHECKING

from orchestrator_assets.spec_fields import WrongValue
from orchestrator_resources.personal_fields import WHOLE, Path, may_have, read_path

if TYPE_CHECKING:
    from orchestrator_assets.execution_specs import ExecutionSpec


def check_personal(spec: "ExecutionSpec") -> None:
    """Refuse a path that leads nowhere, or to what stands in the clear whatever is marked.

    Raises:
        WrongValue: One does; the text says why and what to do.
    """
    for number, text in enumerate(spec.personal):
        try:
            path = read_path(text)
        except ValueError as error:
            raise WrongValue(str(error), "personal", number) from error
        why = _refusal(spec, text, path)
        if why is not None:
            raise WrongValue(why, "personal", number)


def output_paths(spec: "ExecutionSpec") -> tuple[tuple[Path, bool], ...]:
    """Return the paths that are looked for in outputs, each with whether it names nothing else.

    One that begins with the name of an input marks that input, and a field of the output only where there is one.
    """
    paths = [read_path(text) for text in spec.personal]
    return tuple(
        ((), True) if path == (WHOLE,) and WHOLE not in spec.inputs else (path, path[0] not in spec.inputs)
        for path in paths
    )


def input_paths(spec: "ExecutionSpec", name: str) -> tuple[Path, ...]:
    """Return the marked paths below an input."""
    paths = (read_path(text) for text in spec.personal)
    return tuple(path[1:] for path in paths if path[0] == name)


def _refusal(spec: "ExecutionSpec", text: str, path: Path) -> str | None:
    source = spec.inputs.get(path[0])
    if source is None:
        schema = spec.known_output_schema
        if path == (WHOLE,) or schema is None or may_have(schema, path):
            return None
        known = ", ".join((*sorted(spec.inputs), WHOLE))
        return (
            f"{text!r} names no field: the output's schema has none there, and no input is named {path[0]!r};"
            f" a path begins with a field of the output or with one of {known}"
        )
    if source.partition_key:
        return f"{text!r} is the partition's key, which Dagster shows everywhere: take it from an asset"
    if source.value is not None:
        return f"{text!r} is a fixed value, which stands here in the clear: take it from an asset"
    each = spec.for_each
    if each is not None and each.input == path[0] and each.key is not None and path[1:] in ((), (each.key,)):
        return f"{text!r} names the rows, by for_each.key: name them by a field that is not personal"
    return None
