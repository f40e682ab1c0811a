"""What agents write stays text in the UI."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_assets.markdown import fenced


@given(st.text(alphabet="`~\n ab[](*"))
def test_no_text_ends_its_code_block(text: str) -> None:
    lines = fenced(text).split("\n")
    fence = lines[0]
    assert set(fence) == {"`"} and len(fence) >= 3
    assert lines[-1] == fence
    assert "\n".join(lines[1:-1]) == text
    assert not any(line.strip().startswith(fence) for line in lines[1:-1])
