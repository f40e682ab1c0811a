"""Text without what looks like a key, for logs of bodies."""

import re
from collections.abc import Collection
from typing import Final

_SHOWN: Final = "***"
_KEYS: Final = re.compile(
    r"(?i)(?P<named>\\?[\"']?[a-z_-]*(?:api[_-]?key|secret|password|passwd|access[_-]?token|authorization)\\?[\"']?\s*[:=]\s*\\?[\"']?"
    r"(?:bearer\s+|basic\s+)?)[^\s\"'\\,;&]{4,}"
    r"|\bbearer\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|\b(?:sk|pk|rk|gh[opsu]|xox[abp]|hf|glpat|AKIA|AIza)[-_A-Za-z0-9]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_LEAST: Final = 6
"""Shorter secrets are not looked for by what they are: they would blank half of the text."""


def redacted(text: str, secrets: Collection[str]) -> str:
    """Return a text in which keys are blanked.

    Args:
        text: Any.
        secrets: Those that are known; others are found by what keys look like, as far as that goes.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _LEAST:
            text = text.replace(secret, _SHOWN)
    return _KEYS.sub(lambda found: (found["named"] or "") + _SHOWN, text)
