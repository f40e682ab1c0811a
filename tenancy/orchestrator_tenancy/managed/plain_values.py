"""Values of components as they stand: what Dagster renders with Jinja is here never evaluated.

Dagster renders each text of a component's YAML with an unrestricted Jinja, in the process that loads it: a template
reads its environment, and reaches any object of Python from there. A managed location takes no templates but a few
whole ones that stand for automation conditions, and these are looked up, not run.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import dagster as dg

from orchestrator_tenancy.managed.refusals import NotManaged

_MARKS: Final = ("{{", "{%", "{#")

_CONDITIONS: Final[Mapping[str, Callable[..., dg.AutomationCondition[Any]]]] = {
    "dg.AutomationCondition.eager": dg.AutomationCondition.eager,
    "dg.AutomationCondition.on_cron": dg.AutomationCondition.on_cron,
    "dg.AutomationCondition.on_missing": dg.AutomationCondition.on_missing,
}
_CONDITION_FIELD: Final = ("attributes", "asset", "automation_condition")
_LONGEST: Final = 200


class PlainValues(dg.ResolutionContext):
    """What components resolve their values with; nothing is evaluated."""

    def resolve_value(self, val: Any, as_type: type | None = None) -> Any:
        """Return a value as it stands, with the automation conditions that are allowed in it.

        Raises:
            NotManaged: It is a template, or has one in it.
        """
        if isinstance(val, str):
            return plain(val, self.path)
        if isinstance(val, Mapping):
            named = cast("Mapping[str, object]", val)
            return {key: self.at_path(key).resolve_value(value) for key, value in named.items()}
        if isinstance(val, list | tuple):
            listed = cast("Sequence[Any]", val)
            kept = [self.at_path(index).resolve_value(value) for index, value in enumerate(listed)]
            return tuple(kept) if isinstance(val, tuple) else kept
        return val


def refuse_templates(value: Any, path: Sequence[str | int]) -> None:
    """Refuse templates anywhere in a value, keys of mappings among them.

    Raises:
        NotManaged: There is one that is not allowed.
    """
    if isinstance(value, str):
        plain(value, path)
    elif isinstance(value, Mapping):
        for key, below in cast("Mapping[str, object]", value).items():
            refuse_templates(str(key), [*path, "…"])
            refuse_templates(below, [*path, key])
    elif isinstance(value, list):
        for index, below in enumerate(cast("list[object]", value)):
            refuse_templates(below, [*path, index])


def plain(text: str, path: Sequence[str | int]) -> Any:
    """Return a text, or the automation condition that it stands for where one may stand.

    Raises:
        NotManaged: It holds a template.
    """
    if not any(mark in text for mark in _MARKS):
        return text
    if tuple(path) == _CONDITION_FIELD:
        return _condition(text)
    raise NotManaged(
        "is a template, which managed locations do not take: write the value (braces of a prompt cannot be doubled"
        " either)"
    )


def _condition(text: str) -> dg.AutomationCondition[Any]:
    known = ", ".join(f"{{{{ {name}(…) }}}}" for name in _CONDITIONS)
    refused = NotManaged(f"must be one of {known}, with texts as arguments")
    inner = text.strip()
    if len(inner) > _LONGEST or not (inner.startswith("{{") and inner.endswith("}}")):
        raise refused
    try:
        call = ast.parse(inner[2:-2].strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise refused from error
    if not isinstance(call, ast.Call):
        raise refused
    make = _CONDITIONS.get(ast.unparse(call.func))
    given = [*call.args, *(word.value for word in call.keywords)]
    if make is None or not all(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in given):
        raise refused
    names = [word.arg for word in call.keywords]
    if None in names:
        raise refused
    values = [cast("str", cast("ast.Constant", one).value) for one in given]
    positional, named = values[: len(call.args)], values[len(call.args) :]
    try:
        return make(*positional, **dict(zip(cast("list[str]", names), named, strict=True)))
    except Exception as error:  # Dagster's own checks have no public type
        raise NotManaged(str(error).splitlines()[0]) from error
