"""What was sealed opens here alone, and for its purpose alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tenancy.sign_in.sealing import NotSealed, Sealer, mark_key

OLD, NEW = "o" * 32, "n" * 32


def test_what_was_sealed_opens_under_the_next_secret_too() -> None:
    sealed = Sealer([OLD], "person").seal({"name": "Ada"})
    assert "Ada" not in sealed
    assert Sealer([NEW, OLD], "person").open(sealed) == {"name": "Ada"}
    for other in (Sealer([NEW], "person"), Sealer([OLD], "attempt")):
        with pytest.raises(NotSealed):
            other.open(sealed)


@given(
    st.text(max_size=200)
    | st.from_regex(r"[A-Za-z0-9_-]*\.\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True)
)
def test_nothing_else_opens(text: str) -> None:
    with pytest.raises(NotSealed):
        Sealer([OLD], "person").open(text)


@given(st.integers(min_value=0, max_value=400))
def test_a_changed_text_does_not_open(at: int) -> None:
    sealed = Sealer([OLD], "person").seal(["a", 1])
    at %= len(sealed) - 1  # the last letter may have bits that do not count
    changed = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
    with pytest.raises(NotSealed):
        Sealer([OLD], "person").open(changed)


def test_keys_differ_by_purpose() -> None:
    assert len({mark_key(OLD, "audit"), mark_key(OLD, "other"), mark_key(NEW, "audit")}) == 3
