"""Which call is the same call in a retry? Exactly the same request, or one that differs only in what the guest made up.

Frameworks put the time of day, random names and identifiers into prompts, so a retried request may differ from the one
that was answered. Words that look volatile (times, UUIDs, long runs of digits or hex) do not count, unless they came
from outside: from the execution's inputs or from an earlier answer. Those are what the request is about. Nor does the
order in which the results of parallel tool calls stand: some frameworks write them down as they come.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from orchestrator_runtimes.json_values import Json

_DATE: Final = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
_TIME: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[AaPp][Mm]\b)?(?:Z|[+-]\d{2}:?\d{2})?"
_VOLATILE: Final = re.compile(
    rf"{_DATE}(?:[T ]{_TIME})?|\b{_TIME}"
    r"|\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
    r"|(?<![0-9a-zA-Z])[0-9a-f]{12,}(?![0-9a-zA-Z])|\d{8,}"
)
_RESULTS: Final = (
    ("messages", ("role", "tool"), "tool_call_id"),
    ("input", ("type", "function_call_output"), "call_id"),
)
"""Where results of tool calls stand, what marks one, and what names its call: chat completions and responses."""

_BLANK: Final = "\x00"
_DIGEST_CHARACTERS: Final = 12

ALL_KNOWN: Final = "*"
"""Stands for the digest of any word."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Two names of a request: `exact` of every byte that counts, `loose` without what the guest made up."""

    exact: str
    loose: str


def fingerprint(endpoint: str, body: Json, known: Collection[str]) -> Fingerprint:
    """Name a request.

    Args:
        endpoint: Path below the base URL.
        body: The parsed request; the order of its keys does not count.
        known: Digests of words that are not volatile, though they look so; with `ALL_KNOWN` none is.
    """
    all_known = ALL_KNOWN in known

    def blanked(found: "re.Match[str]") -> str:
        return found[0] if all_known or digest_of(found[0]) in known else _BLANK

    loose = _VOLATILE.sub(blanked, _text(_with_results_in_order(body)))
    return Fingerprint(exact=_hash(endpoint, _text(body)), loose=_hash(endpoint, loose))


def _with_results_in_order(body: Json) -> Json:
    """Return a request whose neighbouring tool results stand in the order of their calls' names."""
    if not isinstance(body, Mapping):
        return body
    ordered = dict(body)
    for field, mark, name in _RESULTS:
        items = body.get(field)
        if isinstance(items, list | tuple):
            ordered[field] = list(_in_order(items, mark, name))
    return ordered


def _in_order(items: Sequence[Json], mark: tuple[str, str], name: str) -> Iterator[Json]:
    def is_result(item: Json) -> bool:
        return isinstance(item, Mapping) and item.get(mark[0]) == mark[1]

    def call_of(item: Json) -> str:
        return str(item.get(name)) if isinstance(item, Mapping) else ""

    for results, group in groupby(items, is_result):
        found = list(group)
        yield from sorted(found, key=call_of) if results else found


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def volatile_words(text: str) -> Iterator[str]:
    """Yield the words of a text that look volatile."""
    return (found[0] for found in _VOLATILE.finditer(text))


def digests_in(text: str) -> frozenset[str]:
    """Return the digests of the words of a text that look volatile."""
    return frozenset(digest_of(word) for word in volatile_words(text))


def digest_of(word: str) -> str:
    """Return the name under which a word is known: it need not be shown to anybody."""
    return hashlib.sha256(word.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def _hash(endpoint: str, text: str) -> str:
    return hashlib.sha256(f"{endpoint}\n{text}".encode()).hexdigest()
