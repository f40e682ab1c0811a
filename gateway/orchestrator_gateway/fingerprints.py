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

# begins with a set of characters, as such a pattern skips all others at five times the speed; what must be true of the
# first character, or stand before it, is looked back at
_VOLATILE: Final = re.compile(
    r"""
    [\da-fA-F] (?:
        (?<=\d) (?:
            \d{3}[-/.]\d{1,2}[-/.]\d{1,2} (?:[T\ ] \d{1,2} {time})?      # a date, with or without a time
            | (?<=\b\d) \d? {time}
        )
        | (?<=\b.) [0-9a-fA-F]{7}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b  # a UUID
        | (?<=[0-9a-f]) (?<![0-9a-zA-Z].) [0-9a-f]{11,} (?![0-9a-zA-Z])
        | (?<=\d) \d{7,}
    )
    """.replace("{time}", r":\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[AaPp][Mm]\b)?(?:Z|[+-]\d{2}:?\d{2})?"),
    re.VERBOSE,
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

    text, ordered = _text(body), _with_results_in_order(body)
    loose = _VOLATILE.sub(blanked, text if ordered == body else _text(ordered))
    return Fingerprint(exact=_hash(endpoint, text), loose=_hash(endpoint, loose))


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
