"""Keys do not get into logs, whatever they look like as far as that can be told."""

import json

import pytest

from orchestrator_gateway.redaction import redacted

LONG = "a1B2c3D4" * 4


@pytest.mark.parametrize(
    "text",
    [
        f"use sk-{LONG} here",
        f"sk-proj-{LONG}",
        f"ghp_{LONG}",
        f"Authorization: Bearer {LONG}",
        f'{{"api_key": "{LONG}"}}',
        json.dumps({"content": json.dumps({"api_key": LONG})}),
        f"OPENAI_API_KEY={LONG}",
        f"password: {LONG}",
        f"client_secret='{LONG}'",
        f"eyJ{LONG}.eyJ{LONG}.{LONG}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{LONG}\n{LONG}",
    ],
)
def test_what_looks_like_a_key_is_blanked(text: str) -> None:
    assert LONG not in redacted(text, ()) and "***" in redacted(text, ())


def test_what_is_known_is_blanked_wherever_it_stands() -> None:
    assert redacted("xhunter22y and hunter2", ["hunter2", "hunter22", "ab"]) == "x***y and ***"
    assert redacted("about", ["ab"]) == "about", "too short to be looked for"


@pytest.mark.parametrize("text", ["the secret of good tea", "a password is a word", "skating", "tokens: 12"])
def test_words_stay(text: str) -> None:
    assert redacted(text, ()) == text
