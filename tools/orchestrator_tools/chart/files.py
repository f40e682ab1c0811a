"""The files of the chart that are generated from the models of its values."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator_tools.chart.schema import ITEM, NAME, Schema, Value, parts_of, values, values_schema
from orchestrator_tools.steps import CHECKOUT

CHART: Final = CHECKOUT / "helm" / "orchestrator"

TABLE: Final = "<!-- values: written by `make format` -->\n"
"""Where the table begins in the README of the chart; it ends with the file."""
APART: Final = {
    "Toleration": "A toleration (of `tolerations`)",
    "Calls": "Allowed calls (of `calls`)",
    "Peer": "A peer (of `to`, `callers`, `metricsCallers`, `peers`, `dns`, `apiServer`)",
}
"""Definitions that several values have, with the headings of their tables."""
PARTIAL: Final = {
    "tenant": "Tenant",
    "location": "Location",
    "marketplace": "Marketplace",
    "ownPostgresql": "OwnPostgresql",
    "tls": "Tls",
}
"""What has defaults that `values.yaml` cannot have: parts of mappings, and what is null by itself."""

_WIDTH: Final = 110


def generated() -> Mapping[Path, str]:
    """Return the text of each generated file, by its path."""
    schema = values_schema()
    readme = CHART / "README.md"
    by_hand, _, _ = readme.read_text().partition(TABLE)
    return {
        CHART / "values.schema.json": json.dumps(schema, indent=1) + "\n",
        CHART / "values.yaml": values_file(schema),
        CHART / "templates" / "_defaults.tpl": defaults_template(schema),
        readme: by_hand + TABLE + tables(schema),
    }


def values_file(schema: Schema) -> str:
    """Return `values.yaml`: each value with what it is above it; those that have to be set are comments."""
    lines = [
        "# Written by `make format`. What is `(needed)` has no default: set it in a file of your own.",
    ]
    before: tuple[str, ...] = ()
    for value in values(schema):
        if {NAME, ITEM} & {*value.path} or _is_inside_null(value, schema):
            continue
        *folders, key = value.path
        shared = next((n for n, (a, b) in enumerate(zip(folders, before, strict=False)) if a != b), None)
        same = min(len(folders), len(before)) if shared is None else shared
        for depth in range(same, len(folders)):
            empty = " {}" if value.required and _is_all_needed(value.path[: depth + 1], schema) else ""
            lines += [*([""] if depth == 0 else []), f"{'  ' * depth}{folders[depth]}:{empty}"]
        before = tuple(folders)
        indent = "  " * len(folders)
        lines += [f"{indent}# {line}" for line in textwrap.wrap(value.description, _WIDTH - len(indent))]
        needed = f"# {key}:  # (needed)"
        lines.append(indent + (needed if value.required else f"{key}: {json.dumps(value.default)}"))
    return "\n".join(lines) + "\n"


def defaults_template(schema: Schema) -> str:
    """Return templates with the defaults of what `values.yaml` does not have, as JSON."""
    lines = ["{{- /* Written by `make format`. */ -}}"]
    for name, definition in PARTIAL.items():
        made: dict[str, Any] = {}
        for value in parts_of(schema, definition):
            if ITEM in value.path or value.default is None:
                continue
            place = made
            for key in value.path[:-1]:
                place = place.setdefault(key, {})
            place[value.path[-1]] = value.default
        lines += [f'{{{{- define "orchestrator.defaults.{name}" -}}}}', json.dumps(made), "{{- end -}}"]
    return "\n".join(lines) + "\n"


def tables(schema: Schema) -> str:
    """Return the values as Markdown: one table for each key, and one for each definition that several values have."""
    sections: dict[str, list[Value]] = {"Common": []}
    for value in values(schema, APART):
        first = value.path[0]
        sections.setdefault(first if len(value.path) > 1 else "Common", []).append(value)
    mappings = {value.path[0] for value in sections["Common"]} & sections.keys()
    lines: list[str] = []
    for heading, rows in sections.items():
        lines += [f"\n### {heading if heading == 'Common' else f'`{heading}`'}\n"]
        lines += _table(row for row in rows if row.path[-1] not in mappings or len(row.path) > 1)
    for definition, heading in APART.items():
        lines += [f"\n### {heading}\n", *_table(parts_of(schema, definition))]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[Value]) -> Iterator[str]:
    yield "| value | what it is | default |"
    yield "|---|---|---|"
    for value in rows:
        default = "needed" if value.required else f"`{json.dumps(value.default)}`"
        path = ".".join(value.path).replace(f".{ITEM}", ITEM)
        yield f"| `{path}` | {value.description.replace('|', chr(92) + '|')} | {default} |"


def _is_all_needed(path: tuple[str, ...], schema: Schema) -> bool:
    """Return whether nothing at a path has a default, so that `values.yaml` has an empty mapping there."""
    return all(value.required for value in values(schema) if value.path[: len(path)] == path)


def _is_inside_null(value: Value, schema: Schema) -> bool:
    """Return whether a value is part of one that is null by itself."""
    place: Any = schema
    for key in value.path:
        if "properties" not in place:
            return True
        part = place["properties"][key]
        place = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    return False
