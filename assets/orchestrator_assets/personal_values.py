"""Marked fields of one step: opened where its executions get them, sealed or masked in all that Dagster is given."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import dagster as dg

from orchestrator_assets.materialization import data_version
from orchestrator_assets.personal_paths import input_paths, output_paths
from orchestrator_resources.execution_batches import Item, Row
from orchestrator_resources.personal_fields import (
    PLACE,
    changed_at,
    changed_sealed,
    changed_where,
    found_at,
    is_sealed,
    to_look_for,
)
from orchestrator_resources.sealed_texts import SealedTexts
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json, dump, parse

if TYPE_CHECKING:
    from orchestrator_assets.execution_specs import ExecutionSpec

MASK: Final = "[personal]"
"""What people see in place of a marked field."""


class FieldRefused(AgentError):
    """Something is wrong with a marked field; the text says nothing of what is in it."""


class PersonalValues:
    """What of a step's values is personal; without marks and sealed inputs it changes nothing.

    Args:
        spec: The agent.
        texts: Gives what seals; asked when something is to be sealed or opened.
    """

    def __init__(self, spec: "ExecutionSpec", texts: Callable[[], SealedTexts]) -> None:
        """Begin with what the agent's YAML marks.

        Raises:
            AgentError: `invalid_input` when something is marked and the run has no key.
        """
        self._spec, self._texts = spec, texts
        self._paths = output_paths(spec)
        self.some = bool(self._paths)
        """Whether anything is personal; errors and lines of the log quote nothing then."""
        if self.some:
            texts()

    def read(self, name: str, value: Json) -> tuple[Json, frozenset[str]]:
        """Return an input as the agent gets it, and what its marked fields hold.

        Raises:
            AgentError: `state_unavailable` when a field does not open, `invalid_input` when the run has no key.
        """
        opened = list[Json]()

        def open_one(text: str) -> Json:
            texts = self._texts()
            self.some = True
            try:
                found = parse(texts.open(PLACE, text).encode(errors="surrogatepass"))
            except AgentError as error:
                raise FieldRefused(
                    error.code,
                    f"a marked field of the input {name!r} does not open: it is another tenant's, or its key is gone",
                    cause=error.cause,
                ) from None
            opened.append(
                changed_sealed(found, open_one)
            )  # an object may have been sealed with fields that were
            return opened[-1]

        clear = changed_sealed(value, open_one)
        marked = [found for path in input_paths(self._spec, name) for found in found_at(clear, path)]
        return clear, to_look_for([*opened, *marked])

    def refuse_in_clear(self, name: str, value: Json) -> None:
        """Refuse an input of the run's config whose marked fields are not sealed: Dagster has stored it.

        Raises:
            AgentError: `invalid_input`.
        """
        for path in input_paths(self._spec, name):
            if any(found is not None and not is_sealed(found) for found in found_at(value, path)):
                field = ".".join((name, *path))
                raise FieldRefused(
                    ErrorCode.INVALID_INPUT,
                    f"the run's config gives the marked field {field!r} in the clear, where Dagster keeps and shows it:"
                    " give it by an upstream asset",
                )

    def kept(self, items: Sequence[Item], rows: Sequence[Row]) -> list[Row]:
        """Return rows as the asset's value holds them: marked fields, what repeats them, and errors are sealed."""
        return self._changed(items, rows, self._sealed, self.told)

    def shown(self, items: Sequence[Item], rows: Sequence[Row]) -> list[Row]:
        """Return rows as people see them: the same masked."""
        return self._changed(items, rows, _masked, lambda _: f"{MASK}: the asset's value has it, sealed")

    def told(self, text: str) -> str:
        """Return a text that may quote marked fields as it may be told: sealed, where anything is personal."""
        return self._texts().seal_for_people(text) if self.some else text

    def version(self, value: Json) -> dg.DataVersion:
        """Return the data version of a value as the agent gave it; it tells nobody without the key what that is."""
        if not self.some:
            return data_version(value)
        return dg.DataVersion(self._texts().scope(dump(value).decode())[:32])

    def scope(self, text: str) -> str:
        """Return what executions are named by: digests of inputs tell nobody without the key what they are."""
        return self._texts().scope(text) if self.some else text

    def _sealed(self, value: Json) -> Json:
        # one path may lead to what is below another
        return value if is_sealed(value) else self._texts().seal(PLACE, dump(value).decode())

    def _changed(
        self,
        items: Sequence[Item],
        rows: Sequence[Row],
        change: Callable[[Json], Json],
        tell: Callable[[str], str],
    ) -> list[Row]:
        if not self.some:
            return list(rows)
        found = {item.key: item.personal for item in items}
        return [self._row(row, found.get(row.key, frozenset()), change, tell) for row in rows]

    def _row(
        self, row: Row, personal: frozenset[str], change: Callable[[Json], Json], tell: Callable[[str], str]
    ) -> Row:
        if row.error is not None:
            # the code stays: policies and retries go by it, and it quotes nothing
            told = AgentError(row.error.code, tell(str(row.error)))
            vars(told).update(usage=row.usage)
            return replace(row, error=told)
        if row.result is None:
            return row
        output = row.result.output
        for path, only in self._paths:
            output = changed_at(output, path, change, strictly=only)
        output = changed_where(output, personal, change)
        return replace(row, result=replace(row.result, output=output))


def _masked(_value: Json) -> Json:
    return MASK
