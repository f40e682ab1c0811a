"""What a sensor remembers between looks."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_sensors.publish_sensors import Seen, read_cursor, written_cursor

VERSIONS = st.dictionaries(st.from_regex(r"[0-9]\.[0-9]\.[0-9]", fullmatch=True), st.text(max_size=80))


@given(versions=VERSIONS)
def test_a_cursor_is_read_as_it_was_written(versions: dict[str, str]) -> None:
    assert read_cursor(written_cursor(Seen(versions=versions))) == Seen(versions=versions)


@given(text=st.none() | st.text())
def test_what_is_no_cursor_is_as_none(text: str | None) -> None:
    assert read_cursor(text) is None or (text or "").lstrip().startswith("{")
