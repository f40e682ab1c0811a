"""Whether an SPDX expression can be kept with a list of licences that are allowed."""

from collections.abc import Collection

from packaging.licenses import canonicalize_license_expression


def is_allowed(expression: str, allowed: Collection[str]) -> bool:
    """Tell whether somebody may use what is under an expression: one side of `OR`, both of `AND`.

    Args:
        expression: Of SPDX; the innermost parts are licences, perhaps `WITH` an exception, which is part of the name.
        allowed: Licences, as SPDX spells them, with their exceptions.

    Raises:
        packaging.licenses.InvalidLicenseExpression: It is none.
    """
    canonical = canonicalize_license_expression(expression)
    words = canonical.replace("(", " ( ").replace(")", " ) ").split()
    value, rest = _either(words, frozenset(allowed))
    assert not rest  # the library has parsed it
    return value


def _either(words: list[str], allowed: frozenset[str]) -> tuple[bool, list[str]]:
    value, words = _both(words, allowed)
    while words and words[0] == "OR":
        other, words = _both(words[1:], allowed)
        value = value or other
    return value, words


def _both(words: list[str], allowed: frozenset[str]) -> tuple[bool, list[str]]:
    value, words = _one(words, allowed)
    while words and words[0] == "AND":
        other, words = _one(words[1:], allowed)
        value = value and other
    return value, words


def _one(words: list[str], allowed: frozenset[str]) -> tuple[bool, list[str]]:
    if words[0] == "(":
        value, rest = _either(words[1:], allowed)
        return value, rest[1:]
    if words[1:2] == ["WITH"]:
        return " ".join(words[:3]) in allowed, words[3:]
    return words[0] in allowed, words[1:]
